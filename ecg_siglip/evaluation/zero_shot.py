"""Scores of findings that were held out from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.neighbors import unit

SHOTS = (1, 5, 20)
N_DRAWS = 10
N_DIRECTIONS = 300
N_NEGATIVES = 200


def zero_shot_scores(
    data: LabelledRecords,
    held_out: Sequence[str],
    folds: dict[str, np.ndarray],
    embed: Callable[[np.ndarray], np.ndarray],
    encode_text: Callable[[list[str]], np.ndarray],
    language: str | None = None,
) -> list[dict[str, Any]]:
    """Score the findings that were held out from training, one row per finding.

    Parameters
    ----------
    data : LabelledRecords
        With the labels of all findings.
    held_out : sequence of str
    folds : dict
        Rows ``train``, ``tune``, ``report``, all records of these folds.
    embed : function
        Rows to embeddings (N, D).
    encode_text : function
        Texts to embeddings (T, D), unit norm.
    language : str, optional
        By default that of the vocabulary.

    Returns
    -------
    list of dict
        ``code``, ``n_positive``; AUROC of the finding's prompt (``auroc``), of its concepts
        together (``composed``), of ``both``; ``nearest``, the trained finding with the most similar
        prompt, and its AUROC; ``random_high``, the 95th percentile of random directions of the
        embedding; ``probe_1``, ``probe_5``, ``probe_20``: a linear model trained on so many
        positives of the training folds, mean of 10 draws; ``f1`` of the prompt, with a threshold
        that makes as many records positive as the tuning fold has, and ``f1_chance``, of as many
        random records. A finding is scored on the records whose label of it is known.
    """
    trained, vocabulary = drop_findings(data, held_out), data.vocabulary
    embeddings = {name: unit(embed(rows)) for name, rows in folds.items()}
    prompt_TD = encode_text(vocabulary.prompts(trained.codes, language))
    rng = np.random.default_rng(0)
    random_TD = rng.normal(size=(N_DIRECTIONS, embeddings["report"].shape[1]))
    table = []
    for code in held_out:
        column = data.codes.index(code)
        labels = {name: data.y_true[rows, column] for name, rows in folds.items()}
        embedding = embeddings
        if data.known is not None:  # only the records whose label is known
            known = {name: data.known[rows, column] for name, rows in folds.items()}
            labels = {name: labels[name][known[name]] for name in folds}
            embedding = {name: embeddings[name][known[name]] for name in folds}
        row: dict[str, Any] = {
            "code": code,
            "name": vocabulary.entry(code).name,
            "n_positive": int(labels["report"].sum()),
        }
        table.append(row)
        if not 0 < row["n_positive"] < len(embedding["report"]):
            continue
        own_D = encode_text(vocabulary.prompts([code], language))[0]
        words = vocabulary.concepts_of(code, language, trained.codes)
        concept_TD = encode_text(words) if words else None
        row |= _text_scores(embedding["report"], labels["report"], own_D, concept_TD)
        nearest = int((prompt_TD @ own_D).argmax())
        row["nearest"] = trained.codes[nearest]
        row["nearest_auroc"] = _auroc(embedding["report"], labels["report"], prompt_TD[nearest])
        random = [_auroc(embedding["report"], labels["report"], one) for one in random_TD]
        row["random_high"] = float(np.quantile(random, 0.95))
        for n_shots in SHOTS:
            row[f"probe_{n_shots}"] = _probe(embedding, labels, n_shots, rng)
        row |= _f1(embedding, labels, own_D)
    return table


def _auroc(embedding_ND: np.ndarray, labels_N: np.ndarray, text_D: np.ndarray) -> float:
    """Compute the AUROC of the similarity with a text."""
    from sklearn.metrics import roc_auc_score  # takes a second to import

    return float(roc_auc_score(labels_N, embedding_ND @ text_D))


def _text_scores(
    embedding_ND: np.ndarray,
    labels_N: np.ndarray,
    own_D: np.ndarray,
    concept_TD: np.ndarray | None,
) -> dict[str, float]:
    """Compute the AUROC of a finding's prompt, of its concepts and of both."""
    scores = {"auroc": _auroc(embedding_ND, labels_N, own_D), "composed": np.nan, "both": np.nan}
    if concept_TD is not None:
        shared_D = unit(concept_TD.mean(axis=0, keepdims=True))[0]
        scores["composed"] = _auroc(embedding_ND, labels_N, shared_D)
        scores["both"] = _auroc(embedding_ND, labels_N, own_D + shared_D)
    return scores


def _probe(
    embedding: dict[str, np.ndarray], labels: dict[str, np.ndarray], n_shots: int, rng: Any
) -> float:
    """Compute the AUROC of a linear model on a few positives; NaN if there are not so many."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    positives, negatives = np.flatnonzero(labels["train"]), np.flatnonzero(~labels["train"])
    if len(positives) < n_shots or not len(negatives):
        return float("nan")
    scores = []
    for _ in range(N_DRAWS):
        chosen = rng.choice(positives, n_shots, replace=False)
        others = rng.choice(negatives, min(N_NEGATIVES, len(negatives)), replace=False)
        x = embedding["train"][np.r_[chosen, others]]
        y = np.r_[np.ones(len(chosen)), np.zeros(len(others))]
        probe = LogisticRegression(class_weight="balanced", max_iter=1000).fit(x, y)
        decision = probe.decision_function(embedding["report"])
        scores.append(roc_auc_score(labels["report"], decision))
    return float(np.mean(scores))


def _f1(
    embedding: dict[str, np.ndarray], labels: dict[str, np.ndarray], text_D: np.ndarray
) -> dict[str, float]:
    """Compute F1 with as many positives as the tuning fold has, and F1 by chance."""
    if not len(labels["tune"]):
        return {}
    n_tune = max(1, int(labels["tune"].sum()))
    threshold = np.sort(embedding["tune"] @ text_D)[-n_tune]
    y_pred = embedding["report"] @ text_D >= threshold
    n_true, n_pred = int(labels["report"].sum()), int(y_pred.sum())
    n_right = int((y_pred & labels["report"]).sum())
    n_right_by_chance = n_pred * n_true / len(y_pred)
    return {
        "f1": 2 * n_right / max(1, n_true + n_pred),
        "f1_chance": 2 * n_right_by_chance / max(1, n_true + n_pred),
    }


def scores_of_held_out(
    predictor: Predictor,
    data: LabelledRecords,
    rows: np.ndarray,
    trained: config.TrainConfig,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Score the held-out findings of a run, see ``zero_shot_scores``.

    ``simulated`` is whether an earlier model has learned the finding, on simulated ECGs. Empty if
    none was held out, or the model has no text encoder.
    """
    artifact, signals = predictor.artifact, data.signals
    if not trained.data.held_out or not artifact.provenance.has_text or signals is None:
        return []

    def embed(rows: np.ndarray) -> np.ndarray:
        return predictor.forward(signals[rows], batch_size)[1]

    def encode_text(texts: list[str]) -> np.ndarray:
        return predictor.encode_text(texts, batch_size)

    folds = {
        "train": data.fold(*trained.data.train_folds),
        "tune": data.fold(trained.data.tune_fold),
        "report": rows,
    }
    language = None if trained.text.language == "mixed" else trained.text.language
    simulated = {
        code
        for before in artifact.provenance.lineage()
        for code in {*trained.data.held_out} - {*before.held_out}
    }
    table = zero_shot_scores(data, trained.data.held_out, folds, embed, encode_text, language)
    return [row | {"simulated": row["code"] in simulated} for row in table]
