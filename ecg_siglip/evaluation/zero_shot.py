"""Scores of findings that were held out from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.ptbxl import PtbXl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.neighbors import unit
from ecg_siglip.vocabulary import concepts, findings

SHOTS = (1, 5, 20)
N_DRAWS = 10
N_DIRECTIONS = 300
N_NEGATIVES = 200


def zero_shot_scores(
    data: PtbXl,
    held_out: Sequence[str],
    folds: dict[str, np.ndarray],
    embed: Callable[[np.ndarray], np.ndarray],
    ask: Callable[[list[str]], np.ndarray],
    language: str = "en",
) -> list[dict[str, Any]]:
    """How well findings are found that training never heard of, a row a finding.

    Parameters
    ----------
    data : PtbXl
        With the labels of all findings.
    held_out : sequence of str
    folds : dict
        Rows ``train``, ``tune``, ``report``, all records of these folds.
    embed : function
        Rows to embeddings (N, D).
    ask : function
        Texts to embeddings (T, D), unit norm.
    language : {"en", "de", "ja"}

    Returns
    -------
    list of dict
        ``code``, ``n_positive``; AUROC of the finding's prompt (``auroc``), of its concepts
        together (``composed``), of ``both``; ``nearest``, the trained finding whose prompt lies
        nearest, and its AUROC; ``random_high``, what 95 of 100 random directions of the embedding
        stay below; ``probe_1``, ``probe_5``, ``probe_20``: a linear model that has seen so many
        positives of the training folds, mean of 10 draws; ``f1`` of the prompt's answers, cut where
        as many are called as the tuning fold has, and ``f1_chance``, of as many called at random.
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import

    rest = drop_findings(data, held_out)
    embedding = {name: unit(embed(rows)) for name, rows in folds.items()}
    prompts = findings.prompts(rest.codes, language)
    prompt_TD = ask(prompts)
    here = embedding["report"]
    rng = np.random.default_rng(0)
    random_TD = rng.normal(size=(N_DIRECTIONS, here.shape[1]))
    found = []
    for code in held_out:
        truth = {name: data.y_true[rows, data.codes.index(code)] for name, rows in folds.items()}
        row: dict[str, Any] = {
            "code": code,
            "name": findings.names([code])[0],
            "n_positive": int(truth["report"].sum()),
        }
        found.append(row)
        if not 0 < row["n_positive"] < len(here):
            continue

        def auroc(text_D: np.ndarray, y: np.ndarray = truth["report"]) -> float:
            return float(roc_auc_score(y, here @ text_D))

        own_D = ask(findings.prompts([code], language))[0]
        row["auroc"], row["composed"], row["both"] = auroc(own_D), np.nan, np.nan
        if words := concepts.concepts_of(code, language, rest.codes):
            shared_D = unit(ask(words).mean(axis=0, keepdims=True))[0]
            row["composed"], row["both"] = auroc(shared_D), auroc(own_D + shared_D)
        nearest = int((prompt_TD @ own_D).argmax())
        row["nearest"] = rest.codes[nearest]
        row["nearest_auroc"] = auroc(prompt_TD[nearest])
        row["random_high"] = float(np.quantile([auroc(one) for one in random_TD], 0.95))
        for n_shots in SHOTS:
            row[f"probe_{n_shots}"] = _probe(embedding, truth, n_shots, rng)
        row |= _f1(embedding, truth, own_D)
    return found


def _probe(
    embedding: dict[str, np.ndarray], truth: dict[str, np.ndarray], n_shots: int, rng: Any
) -> float:
    """AUROC of a linear model on a few positives; NaN where there are not so many."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    positives, negatives = np.flatnonzero(truth["train"]), np.flatnonzero(~truth["train"])
    if len(positives) < n_shots:
        return float("nan")
    reached = []
    for _ in range(N_DRAWS):
        chosen = rng.choice(positives, n_shots, replace=False)
        others = rng.choice(negatives, min(N_NEGATIVES, len(negatives)), replace=False)
        x = embedding["train"][np.r_[chosen, others]]
        y = np.r_[np.ones(len(chosen)), np.zeros(len(others))]
        probe = LogisticRegression(class_weight="balanced", max_iter=1000).fit(x, y)
        reached.append(roc_auc_score(truth["report"], probe.decision_function(embedding["report"])))
    return float(np.mean(reached))


def _f1(
    embedding: dict[str, np.ndarray], truth: dict[str, np.ndarray], text_D: np.ndarray
) -> dict[str, float]:
    """F1 of as many calls as the tuning fold has positives, and of as many at random."""
    n_tune = max(1, int(truth["tune"].sum()))
    limit = np.sort(embedding["tune"] @ text_D)[-n_tune]
    called = embedding["report"] @ text_D >= limit
    n_true, n_called = int(truth["report"].sum()), int(called.sum())
    right = int((called & truth["report"]).sum())
    at_random = n_called * n_true / len(called)
    return {
        "f1": 2 * right / max(1, n_true + n_called),
        "f1_chance": 2 * at_random / max(1, n_true + n_called),
    }


def scores_of_held_out(
    predictor: Predictor,
    data: ptbxl.PtbXl,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
) -> list[dict[str, Any]]:
    """How well findings are found that training never heard of, see ``zero_shot.zero_shot_scores``.

    Empty if it has heard of all, or has no words to ask with.
    """
    artifact, signals = predictor.artifact, data.signals
    if not trained.data.held_out or not artifact.provenance.has_text or signals is None:
        return []

    def embed(rows: np.ndarray) -> np.ndarray:
        return predictor.forward(signals[rows], batch_size)[1]

    def ask(texts: list[str]) -> np.ndarray:
        return predictor.encode_texts(texts, batch_size)

    folds = {
        "train": data.fold(*trained.data.train_folds),
        "tune": data.fold(trained.data.tune_fold),
        "report": rows,
    }
    language = "en" if trained.text.language == "mixed" else trained.text.language
    return zero_shot_scores(data, trained.data.held_out, folds, embed, ask, language)
