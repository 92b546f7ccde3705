"""Break the scores of a fold down: fewer leads, other languages, held-out findings, reports."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.evaluation.zero_shot import scores_of_held_out
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel, retrieval
from ecg_siglip.signals.leads import (
    LEAD_SET_TITLES,
    LEAD_SETS,
    available_leads,
    mask_leads,
)
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
class Layout:
    """How a breakdown is presented.

    Attributes
    ----------
    title, about : str
        For a reader.
    head : mapping
        Keys of the rows that are shown, with their column titles.
    """

    title: str
    about: str
    head: Mapping[str, str]


LAYOUTS = {
    "sources": Layout(
        "By data set",
        "The records of each data set of the training. Known: pairs of a record and a finding "
        "whose label is known; only these are scored. Thresholds: of all data sets, or of the data "
        "set itself.",
        {
            "source": "data set",
            "n_records": "records",
            "n_known": "known",
            "n_findings_min5": "findings with 5 positives",
            "tuned_on": "thresholds",
            **HEADS,
            "expected_f1/micro_f1": "micro F1, expected_f1",
        },
    ),
    "leads": Layout(
        "With fewer leads",
        "The same records, with the other leads removed. Calibration and thresholds are those of "
        "each set of leads. A finding whose criteria need missing leads is not assessed; the AUROC "
        "that it would have had is in the last column.",
        {
            "title": "leads",
            "n_findings": "findings assessed",
            **HEADS,
            "unseen_macro_auroc_min5": "macro AUROC, not assessed",
        },
    ),
    "languages": Layout(
        "Prompts in other languages",
        "The same records, with prompts in other languages. Calibration and thresholds are those "
        "of the first language. Same predictions: of the findings predicted positive in the first "
        "or the other language, the share that is positive in both.",
        {
            "language": "language",
            **HEADS,
            "mean_change": "mean change of a probability",
            "same_calls": "same predictions",
        },
    ),
    "held_out": Layout(
        "Findings held out from training",
        "Predicted from the words of the finding's prompt alone. Concepts: the words for its kind, "
        "site and side, learned from other findings. For "
        "comparison: the trained finding with the most similar prompt, the 95th percentile of "
        "random directions of the embedding, and a linear model trained on 1, 5 or 20 examples. "
        "Simulated: whether the model that training started from knows it from simulated ECGs.",
        {
            "code": "finding",
            "n_positive": "positives",
            "simulated": "simulated",
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
    ),
    "retrieval": Layout(
        "Retrieval of reports by ECGs, and of ECGs by reports",
        "The query is each record's ECG among the different reports of the fold, or each record's "
        "report among all ECGs; any of several equal reports is right. R@k: a right one is among "
        "the first k; of two with equal similarity the wrong one counts as first.",
        {
            "direction": "direction",
            "whose": "reports",
            "sizes": "queries, candidates",
            "recall_1": "R@1",
            "recall_5": "R@5",
            "recall_10": "R@10",
            "median_rank": "median rank",
        },
    ),
    "entailment": Layout(
        "Prompts entailed by the reports",
        "Similarity of each record's report with the prompt of each finding, against the labels; "
        "0.5: no better than chance. For comparison, the AUROC of the ECGs.",
        {
            "code": "finding",
            "name": "name",
            "n_positive": "positives",
            "report_auroc": "AUROC of the report",
            "ecg_auroc": "of the ECG",
        },
    ),
}


@dataclass(frozen=True)
class Breakdown:
    """One breakdown of the scores.

    Attributes
    ----------
    name : str
        Of its file, and its entry of ``LAYOUTS``.
    rows : list of dict
    formatted : list of dict, optional
        The rows as a reader sees them, if that differs.
    """

    name: str
    rows: list[dict[str, Any]]
    formatted: list[dict[str, Any]] | None = None

    def section(self) -> dict[str, Any]:
        """Return the section of a report, see ``FoldReport.tables``."""
        layout = LAYOUTS[self.name]
        rows = self.formatted or self.rows
        return {
            "title": layout.title,
            "about": layout.about,
            "head": list(layout.head.values()),
            "rows": [[row.get(key, math.nan) for key in layout.head] for row in rows],
        }


def breakdown_tables(
    predictor: Predictor,
    data: LabelledRecords,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
    n_bootstrap: int = 1000,
    own_data: bool = True,
) -> list[Breakdown]:
    """Compute all breakdowns that the model allows.

    Parameters
    ----------
    predictor : Predictor
    data : LabelledRecords
        With signals, and the labels of all findings.
    rows : ndarray of int
        The records reported on.
    trained : TrainConfig
        Of the run.
    batch_size : int
    n_bootstrap : int
        Resamples for the intervals of the retrieval.
    own_data : bool
        Whether the data are those of the training; if not, held-out findings are not compared with
        models of a few examples, which come from the training folds.

    Returns
    -------
    list of Breakdown
        Those with rows: a model without text encoder, trained with all leads, has none.
    """
    assert data.signals is not None
    trained_findings = drop_findings(data, trained.data.held_out)
    signals, y_true = data.signals[rows], trained_findings.labels(rows)
    retrieved, entailed = scores_of_reports(predictor, data, rows, y_true, batch_size, n_bootstrap)
    held_out = scores_of_held_out(predictor, data, rows, trained, batch_size) if own_data else []
    tables = [
        Breakdown("leads", scores_by_leads(predictor, signals, y_true, batch_size)),
        Breakdown("languages", scores_by_language(predictor, signals, y_true, batch_size)),
        Breakdown("held_out", held_out),
        Breakdown("retrieval", retrieved, retrieval.format_rows(retrieved)),
        Breakdown("entailment", entailed),
    ]
    return [table for table in tables if table.rows]


def scores_by_leads(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """Score the records with smaller sets of leads, one row per set.

    Parameters
    ----------
    predictor : Predictor
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    batch_size : int

    Returns
    -------
    list of dict
        ``leads``, ``title``, the scores over the findings that can be assessed with them, and
        ``unseen_macro_auroc_min5`` over those that cannot: above 0.5 where they occur together
        with others. Empty if the model was not trained with fewer leads.
    """
    if not predictor.artifact.fewer_leads:
        return []
    vocabulary = predictor.artifact.vocabulary
    if not vocabulary.states_leads:
        print(
            f"evaluate: vocabulary={vocabulary.name} does not state which leads a finding needs: "
            "with fewer leads all findings are scored",
            file=sys.stderr,
        )
    rows = []
    for name, leads in LEAD_SETS.items():
        y_prob = predictor.probabilities(mask_leads(signals, name), batch_size, lead_set=name)
        unseen = vocabulary.not_assessable(predictor.artifact.codes, available_leads(leads))
        thresholds = predictor.artifact.tuning(name).thresholds
        scores = _scores_of_columns(~unseen, y_true, y_prob, thresholds)
        unseen_scores = _scores_of_columns(unseen, y_true, y_prob, thresholds)
        row: dict[str, Any] = {"leads": name, "title": LEAD_SET_TITLES[name]}
        row |= {"n_findings": int((~unseen).sum())}
        row |= {key: scores.get(key, math.nan) for key in SHORT_SCORES}
        row["unseen_macro_auroc_min5"] = unseen_scores.get("macro_auroc_min5", math.nan)
        rows.append(row)
    return rows


def _scores_of_columns(
    columns: np.ndarray,
    y_true: np.ndarray,
    y_prob: np.ndarray,
    thresholds: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Score some findings; empty if there are none."""
    if not columns.any():
        return {}
    chosen = {rule: values[columns] for rule, values in thresholds.items()}
    return multilabel.scores(y_true[:, columns], y_prob[:, columns], chosen, n_bootstrap=0)


def scores_by_language(
    predictor: Predictor, signals: np.ndarray, y_true: np.ndarray, batch_size: int
) -> list[dict[str, Any]]:
    """Score the records with prompts in each language, one row per language.

    Calibration and thresholds stay those of the language that the model was tuned with: another
    language must not need labels.

    Returns
    -------
    list of dict
        ``language``, the scores; ``mean_change`` of a probability against the tuned language, and
        ``same_calls``: of all findings that are positive in either language, the share positive in
        both, 1 if there is none. Empty if the model was trained in one language, or without a text
        encoder.
    """
    artifact = predictor.artifact
    if artifact.provenance.language != "mixed" or not artifact.provenance.has_text:
        return []
    thresholds = artifact.thresholds
    tuned_prob, tuned_pred = None, None
    rows = []
    for language in artifact.vocabulary.languages:
        translated = Predictor(artifact, artifact.model.device, language)
        y_prob = translated.probabilities(signals, batch_size)
        y_pred = multilabel.apply_thresholds(y_prob, thresholds[artifact.default_rule])
        if tuned_prob is None or tuned_pred is None:
            tuned_prob, tuned_pred = y_prob, y_pred
        scores = multilabel.scores(y_true, y_prob, thresholds, n_bootstrap=0)
        row: dict[str, Any] = {"language": language}
        row |= {key: scores[key] for key in SHORT_SCORES if key in scores}
        row["mean_change"] = float(np.abs(y_prob - tuned_prob).mean())
        n_either = (y_pred | tuned_pred).sum()
        row["same_calls"] = float((y_pred & tuned_pred).sum() / n_either) if n_either else 1.0
        rows.append(row)
    return rows


def scores_of_reports(
    predictor: Predictor,
    data: LabelledRecords,
    rows: np.ndarray,
    y_true: np.ndarray,
    batch_size: int,
    n_bootstrap: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Score the retrieval of reports and ECGs, and which prompts the reports entail.

    Reports are cleaned, see ``report_text.clean_report``; records without a report are left out.

    Returns
    -------
    list of dict
        See ``retrieval.scores``, once with ``whose`` all reports, once among those that were not
        written by a machine first. Empty if the model has no text encoder or the records no
        reports.
    list of dict
        See ``retrieval.entailment_rows``.
    """
    cleaned = np.array([clean_report(data.reports[row]) for row in rows], dtype=object)
    with_text = np.flatnonzero(cleaned != "")
    if not predictor.artifact.provenance.has_text or not len(with_text) or data.signals is None:
        return [], []
    ecg_ND = predictor.forward(data.signals[rows[with_text]], batch_size)[1]
    texts, own_N = np.unique(cleaned[with_text].astype(str), return_inverse=True)
    text_RD = predictor.encode_text(texts.tolist(), batch_size)
    by_hand = np.flatnonzero(~data.autogenerated[rows[with_text]])
    retrieved = []
    for whose, part in (("all", np.arange(len(with_text))), ("not by a machine", by_hand)):
        if len(part):
            used, own = np.unique(own_N[part], return_inverse=True)
            scores = retrieval.scores(ecg_ND[part], text_RD[used], own, n_bootstrap)
            retrieved += [{"whose": whose, **row} for row in scores]
    prompt_FD = predictor.text_FD.float().cpu().numpy()
    artifact = predictor.artifact
    names = dict(zip(artifact.codes, artifact.names, strict=True))
    entailed = retrieval.entailment_rows(
        text_RD[own_N], ecg_ND, prompt_FD, y_true[with_text], names
    )
    return retrieved, entailed
