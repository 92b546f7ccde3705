"""A fold's scores taken apart: with fewer leads, in other languages, of findings never heard of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ecg_siglip import config, findings, held_out, lead_sets, metrics, ptbxl, waveform
from ecg_siglip.metrics import DEFAULT_RULE
from ecg_siglip.predictor import Predictor

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
    """

    name: str
    title: str
    about: str
    head: Mapping[str, str]
    rows: list[dict[str, Any]]

    def section(self) -> dict[str, Any]:
        """As ``report.write`` takes it."""
        rows = [[row.get(key, math.nan) for key in self.head] for row in self.rows]
        return {
            "title": self.title,
            "about": self.about,
            "head": list(self.head.values()),
            "rows": rows,
        }


def tables(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
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

    Returns
    -------
    list of Breakdown
        Those that have something to say: a model trained with all leads, in one language, on all
        findings has none.
    """
    assert data.signals is not None
    known = held_out.known(data, trained.data.held_out)
    signals, y_true = data.signals[rows], known.y_true[rows]
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
            "Asked for by words alone. Prompt: the finding's own words. Concepts: the words for "
            "its kind, site and side, learned from other findings. Beside it the trained finding "
            "whose words lie nearest, what 95 of 100 random directions of the embedding stay "
            "below, and a linear model that has seen 1, 5 or 20 examples.",
            {
                "code": "finding",
                "n_positive": "positives",
                "auroc": "AUROC, both",
                "prompt": "prompt",
                "composed": "concepts",
                "nearest": "nearest",
                "nearest_auroc": "its AUROC",
                "random_high": "random directions",
                "probe_1": "1 example",
                "probe_5": "5",
                "probe_20": "20",
                "f1": "F1",
                "f1_chance": "F1 by chance",
            },
            scores_of_unheard(predictor, data, rows, trained, batch_size),
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
        ``unseen_macro_auroc_min5`` over those that cannot: near 0.5 if they really cannot.
        Empty if the model was not trained to see fewer leads.
    """
    if not predictor.artifact.fewer_leads:
        return []
    rows = []
    for name, leads in lead_sets.SETS.items():
        kept = lead_sets.kept(signals, name)
        y_prob = predictor.probabilities(kept, batch_size, lead_set=name)
        unseen = lead_sets.unseen(predictor.artifact.codes, waveform.available(leads))
        thresholds = predictor.artifact.tuning(name).thresholds

        def scored(
            columns: np.ndarray, p: np.ndarray = y_prob, known: Any = thresholds
        ) -> dict[str, float]:
            if not columns.any():
                return {}
            taken = {rule: values[columns] for rule, values in known.items()}
            return metrics.scores(y_true[:, columns], p[:, columns], taken, n_bootstrap=0)

        seen_scores, unseen_scores = scored(~unseen), scored(unseen)
        row: dict[str, Any] = {"leads": name, "title": lead_sets.TITLES[name]}
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
    if artifact.about.get("language") != "mixed" or artifact.about["text"] == "none":
        return []
    limits = artifact.thresholds
    rule = DEFAULT_RULE if DEFAULT_RULE in limits else "prevalence"
    tuned, called = None, None
    rows = []
    for language in findings.LANGUAGES:
        asked = Predictor(artifact, artifact.model.device, language)
        y_prob = asked.probabilities(signals, batch_size)
        said = metrics.apply_thresholds(y_prob, limits[rule])
        if tuned is None or called is None:
            tuned, called = y_prob, said
        scores = metrics.scores(y_true, y_prob, limits, n_bootstrap=0)
        row: dict[str, Any] = {"language": language}
        row |= {key: scores[key] for key in SHORT_SCORES if key in scores}
        row["mean_change"] = float(np.abs(y_prob - tuned).mean())
        row["same_calls"] = float((said & called).sum() / max(1, (said | called).sum()))
        rows.append(row)
    return rows


def scores_of_unheard(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
) -> list[dict[str, Any]]:
    """How well findings are found that training never heard of, see ``held_out.scores``.

    Empty if it has heard of all, or has no words to ask with.
    """
    artifact, signals = predictor.artifact, data.signals
    if not trained.data.held_out or artifact.about["text"] == "none" or signals is None:
        return []

    def embed(rows: np.ndarray) -> np.ndarray:
        return predictor.forward(signals[rows], batch_size)[1]

    @torch.inference_mode()
    def ask(texts: list[str]) -> np.ndarray:
        asked: np.ndarray = artifact.model.encode_text(texts).float().cpu().numpy()
        return asked

    folds = {
        "train": data.fold(*trained.data.train_folds),
        "tune": data.fold(trained.data.tune_fold),
        "report": rows,
    }
    language = "en" if trained.text.language == "mixed" else trained.text.language
    return held_out.scores(data, trained.data.held_out, folds, embed, ask, language)
