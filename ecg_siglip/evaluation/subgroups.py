"""A fold's scores taken apart: with fewer leads, in other languages, of findings never heard of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.evaluation.zero_shot import scores_of_held_out
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel, retrieval
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.signals.leads import (
    LEAD_SET_TITLES,
    LEAD_SETS,
    available_leads,
    mask_leads,
    not_assessable,
)
from ecg_siglip.vocabulary import findings
from ecg_siglip.vocabulary.report_text import clean_report

SHORT_SCORES = (
    "macro_auroc_min5",
    "macro_auprc_min5",
    "prevalence/macro_f1_min5",
    "expected_f1/macro_f1_min5",
    "fixed_0.5/micro_f1",
)
HEADS = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AP",
    "prevalence/macro_f1_min5": "macro F1, prevalence",
    "expected_f1/macro_f1_min5": "macro F1, expected_f1",
    "fixed_0.5/micro_f1": "micro F1, fixed_0.5",
}


@dataclass(frozen=True)
class Breakdown:
    """One way to take the scores apart.

    Attributes
    ----------
    name : str
        Of its file.
    title, about : str
        For a reader.
    head : mapping
        Keys of the rows that a reader wants, with what stands above them.
    rows : list of dict
    shown : list of dict, optional
        The rows as a reader wants them, where that is not as they are.
    """

    name: str
    title: str
    about: str
    head: Mapping[str, str]
    rows: list[dict[str, Any]]
    shown: list[dict[str, Any]] | None = None

    def section(self) -> dict[str, Any]:
        """As ``fold_report.write_fold_report`` takes it."""
        rows = [[row.get(key, math.nan) for key in self.head] for row in self.shown or self.rows]
        return {
            "title": self.title,
            "about": self.about,
            "head": list(self.head.values()),
            "rows": rows,
        }


def breakdown_tables(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
    n_bootstrap: int = 1000,
) -> list[Breakdown]:
    """All that the model can be asked for beyond the plain scores.

    Parameters
    ----------
    predictor : Predictor
    data : PtbXl
        With signals, and the labels of all findings.
    rows : ndarray of int
        The records reported on.
    trained : TrainConfig
        Of the run.
    batch_size : int
    n_bootstrap : int
        Resamples for the intervals of the retrieval.

    Returns
    -------
    list of Breakdown
        Those that have something to say: a model without words, trained with all leads, has none.
    """
    assert data.signals is not None
    known = drop_findings(data, trained.data.held_out)
    signals, y_true = data.signals[rows], known.y_true[rows]
    found_by, entailed = scores_of_reports(predictor, data, rows, y_true, batch_size, n_bootstrap)
    found = [
        Breakdown(
            "leads",
            "With fewer leads",
            "The same records, with the other leads taken away. Calibration and thresholds are "
            "those of each set of leads. A finding whose criteria lie in leads that are not there "
            "gets no answer; its AUROC, had it been answered, stands in the last column.",
            {
                "title": "leads",
                "n_findings": "findings answered",
                **HEADS,
                "unseen_macro_auroc_min5": "macro AUROC, not answered",
            },
            scores_by_leads(predictor, signals, y_true, batch_size),
        ),
        Breakdown(
            "languages",
            "Asked in other languages",
            "The same records, asked in other words. Calibration and thresholds are those of the "
            "first language. Same calls: of the findings called in it or in the other language, "
            "the share called in both.",
            {
                "language": "language",
                **HEADS,
                "mean_change": "mean change of a probability",
                "same_calls": "same calls",
            },
            scores_by_language(predictor, signals, y_true, batch_size),
        ),
        Breakdown(
            "held_out",
            "Findings that training never heard of",
            "Asked for by the words of its prompt alone. Concepts: the words for its kind, site "
            "and side, learned from other findings. Beside it the trained finding whose words lie "
            "nearest, what 95 of 100 random directions of the embedding stay below, and a linear "
            "model that has seen 1, 5 or 20 examples.",
            {
                "code": "finding",
                "n_positive": "positives",
                "auroc": "AUROC",
                "composed": "concepts",
                "both": "prompt and concepts",
                "nearest": "nearest",
                "nearest_auroc": "its AUROC",
                "random_high": "random directions",
                "probe_1": "1 example",
                "probe_5": "5",
                "probe_20": "20",
                "f1": "F1",
                "f1_chance": "F1 by chance",
            },
            scores_of_held_out(predictor, data, rows, trained, batch_size),
        ),
        Breakdown(
            "retrieval",
            "Reports found by ECGs, and ECGs by reports",
            "Each record's ECG asks for its report among the different reports of the fold, each "
            "record's report for its ECG among all ECGs; any of equal reports is right. R@k: a "
            "right one is among the first k; of equal similarity the wrong one counts as first.",
            {
                "direction": "direction",
                "whose": "reports",
                "sizes": "queries, candidates",
                "recall_1": "R@1",
                "recall_5": "R@5",
                "recall_10": "R@10",
                "median_rank": "median rank",
            },
            found_by,
            retrieval.format_rows(found_by),
        ),
        Breakdown(
            "entailment",
            "Which prompts the reports entail",
            "Similarity of each record's report with the prompt of each finding, against the "
            "labels; 0.5: the model hears nothing of the finding in reports. Beside it the ECG's.",
            {
                "code": "finding",
                "name": "name",
                "n_positive": "positives",
                "report_auroc": "AUROC of the report",
                "ecg_auroc": "of the ECG",
            },
            entailed,
        ),
    ]
    return [part for part in found if part.rows]


def scores_by_leads(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """How well the records are answered with smaller sets of leads, a row a set.

    Parameters
    ----------
    predictor : Predictor
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    y_true : ndarray of shape (n_records, n_findings), bool
    batch_size : int

    Returns
    -------
    list of dict
        ``leads``, ``title``, the scores over the findings that can be seen in them, and
        ``unseen_macro_auroc_min5`` over those that cannot: above 0.5 where they
        come along with others.
        Empty if the model was not trained to see fewer leads.
    """
    if not predictor.artifact.fewer_leads:
        return []
    rows = []
    for name, leads in LEAD_SETS.items():
        kept = mask_leads(signals, name)
        y_prob = predictor.probabilities(kept, batch_size, lead_set=name)
        unseen = not_assessable(predictor.artifact.codes, available_leads(leads))
        thresholds = predictor.artifact.tuning(name).thresholds

        def scored(
            columns: np.ndarray, p: np.ndarray = y_prob, known: Any = thresholds
        ) -> dict[str, float]:
            if not columns.any():
                return {}
            taken = {rule: values[columns] for rule, values in known.items()}
            return multilabel.scores(y_true[:, columns], p[:, columns], taken, n_bootstrap=0)

        seen_scores, unseen_scores = scored(~unseen), scored(unseen)
        row: dict[str, Any] = {"leads": name, "title": LEAD_SET_TITLES[name]}
        row |= {"n_findings": int((~unseen).sum())}
        row |= {key: seen_scores.get(key, math.nan) for key in SHORT_SCORES}
        row["unseen_macro_auroc_min5"] = unseen_scores.get("macro_auroc_min5", math.nan)
        rows.append(row)
    return rows


def scores_by_language(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """How well the records are answered when asked in each language, a row a language.

    Calibration and thresholds stay those of the language that the model was tuned with: to change
    the language needs no labels.

    Returns
    -------
    list of dict
        ``language``, the scores; ``mean_change`` of a probability against the tuned language, and
        ``same_calls``, of all findings called in either language, the share called in both.
        Empty if the model was trained in one language, or without words.
    """
    artifact = predictor.artifact
    if artifact.provenance.language != "mixed" or not artifact.provenance.has_text:
        return []
    limits = artifact.thresholds
    rule = DEFAULT_RULE if DEFAULT_RULE in limits else "prevalence"
    tuned, called = None, None
    rows = []
    for language in findings.LANGUAGES:
        asked = Predictor(artifact, artifact.model.device, language)
        y_prob = asked.probabilities(signals, batch_size)
        said = multilabel.apply_thresholds(y_prob, limits[rule])
        if tuned is None or called is None:
            tuned, called = y_prob, said
        scores = multilabel.scores(y_true, y_prob, limits, n_bootstrap=0)
        row: dict[str, Any] = {"language": language}
        row |= {key: scores[key] for key in SHORT_SCORES if key in scores}
        row["mean_change"] = float(np.abs(y_prob - tuned).mean())
        row["same_calls"] = float((said & called).sum() / max(1, (said | called).sum()))
        rows.append(row)
    return rows


def scores_of_reports(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    y_true: np.ndarray,
    batch_size: int,
    n_bootstrap: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How ECGs and reports find each other, and which prompts the reports entail.

    Reports are cleaned, see ``report_text.clean_report``; records of which nothing is said are left out.

    Returns
    -------
    list of dict
        See ``retrieval.scores``, once with ``whose`` all reports, once among those that no machine
        wrote first. Empty if the model has no words or the records no reports.
    list of dict
        See ``retrieval.entailment_rows``.
    """
    cleaned = np.array([clean_report(data.reports[row]) for row in rows], dtype=object)
    told = np.flatnonzero(cleaned != "")
    if not predictor.artifact.provenance.has_text or not len(told) or data.signals is None:
        return [], []
    ecg_ND = predictor.forward(data.signals[rows[told]], batch_size)[1]
    texts, own_N = np.unique(cleaned[told].astype(str), return_inverse=True)
    text_RD = predictor.encode_texts(texts.tolist(), batch_size)
    by_hand = np.flatnonzero(~data.autogenerated[rows[told]])
    found = []
    for whose, part in (("all", np.arange(len(told))), ("not by a machine", by_hand)):
        if len(part):
            used, own = np.unique(own_N[part], return_inverse=True)
            scored = retrieval.scores(ecg_ND[part], text_RD[used], own, n_bootstrap)
            found += [{"whose": whose, **row} for row in scored]
    prompt_FD = predictor.text_FD.float().cpu().numpy()
    codes = predictor.artifact.codes
    return found, retrieval.entailment_rows(text_RD[own_N], ecg_ND, prompt_FD, y_true[told], codes)
