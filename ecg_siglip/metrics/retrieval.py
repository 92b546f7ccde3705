"""Retrieval of reports by ECGs and of ECGs by reports, and which prompts a report entails.

Shape letters: N records, R different reports, F findings, D embedding, Q queries, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecg_siglip.metrics import multilabel

DEPTHS = (1, 5, 10)


def ranks(score_QC: np.ndarray, relevant_QC: np.ndarray) -> np.ndarray:
    """Compute the rank of the best relevant candidate of each query, 1 is first.

    Parameters
    ----------
    score_QC : ndarray of shape (Q, C), float
    relevant_QC : ndarray of shape (Q, C), bool
        Relevant candidates; each query has at least one.

    Returns
    -------
    ndarray of shape (Q,), int64
        An irrelevant candidate of the same score is ranked before it, so that a model with equal
        scores for everything retrieves nothing.

    Examples
    --------
    >>> ranks(np.array([[0.9, 0.5, 0.5]]), np.array([[False, True, False]]))
    array([3])
    """
    assert relevant_QC.any(axis=1).all()
    best_Q1 = np.where(relevant_QC, score_QC, -np.inf).max(axis=1, keepdims=True)
    before_QC: np.ndarray = ~relevant_QC & (score_QC >= best_Q1)
    return before_QC.sum(axis=1) + 1


def by_chance(n_relevant_Q: np.ndarray, n_candidates: int) -> np.ndarray:
    """Compute the mean probability of a relevant candidate among the first 1, 2, ... C by chance.

    Parameters
    ----------
    n_relevant_Q : ndarray of shape (Q,), int
        Number of relevant candidates of each query.
    n_candidates : int, C

    Returns
    -------
    ndarray of shape (C,), float in [0, 1]
    """
    counts, n_queries = np.unique(n_relevant_Q, return_counts=True)
    position = np.arange(n_candidates)
    # Without replacement: all candidates so far are irrelevant, and so is the next.
    irrelevant = np.clip(
        (n_candidates - counts[:, None] - position) / (n_candidates - position), 0, None
    )
    return 1 - (n_queries[:, None] * irrelevant.cumprod(axis=1)).sum(axis=0) / n_queries.sum()


def scores(
    ecg_ND: np.ndarray,
    text_RD: np.ndarray,
    own_N: np.ndarray,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compute how well ECGs retrieve their reports and reports their ECGs, one row per direction.

    Parameters
    ----------
    ecg_ND, text_RD : ndarrays of shape (N, D) and (R, D), float
        Embeddings; the R reports differ from each other.
    own_N : ndarray of shape (N,), int in [0, R)
        Report of each record. A report of several records is relevant for each of them.
    n_bootstrap : int
        Resamples of the queries; the candidates stay the same.

    Returns
    -------
    list of dict
        ``direction``, ``n_queries`` (one per record, also of records with the same report),
        ``n_candidates``; ``recall_1``, ``recall_5``, ``recall_10`` (a relevant candidate is among
        the first), ``median_rank``; each with ``.../low``, ``.../high`` (95 %) and ``.../chance``.
    """
    score_NR = ecg_ND.astype(np.float64) @ text_RD.T.astype(np.float64)
    relevant_NR = own_N[:, None] == np.arange(len(text_RD))
    rng = np.random.default_rng(seed)
    rows = []
    for direction, score_QC, relevant_QC in (
        ("ECG to report", score_NR, relevant_NR),
        ("report to ECG", score_NR.T[own_N], relevant_NR.T[own_N]),
    ):
        rank_Q = ranks(score_QC, relevant_QC)
        chance_C = by_chance(relevant_QC.sum(axis=1), relevant_QC.shape[1])
        resampled_BQ = rank_Q[rng.integers(len(rank_Q), size=(n_bootstrap, len(rank_Q)))]
        row: dict[str, Any] = {"direction": direction}
        row |= {"n_queries": len(rank_Q), "n_candidates": relevant_QC.shape[1]}
        for depth in DEPTHS:
            row |= _with_interval(
                f"recall_{depth}", (rank_Q <= depth).mean(), (resampled_BQ <= depth).mean(axis=1)
            )
            row[f"recall_{depth}/chance"] = float(chance_C[min(depth, len(chance_C)) - 1])
        row |= _with_interval("median_rank", np.median(rank_Q), np.median(resampled_BQ, axis=1))
        row["median_rank/chance"] = float(np.argmax(chance_C >= 0.5) + 1)
        rows.append(row)
    return rows


def _with_interval(name: str, value: Any, values_B: np.ndarray) -> dict[str, float]:
    """Return a score with the interval of its resamples, as entries of a row."""
    low, high = multilabel.interval(values_B)
    return {name: float(value), f"{name}/low": low, f"{name}/high": high}


def entailment_rows(
    text_ND: np.ndarray,
    ecg_ND: np.ndarray,
    prompt_FD: np.ndarray,
    y_true: np.ndarray,
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Compute how well the text of a report identifies the findings of its record.

    Parameters
    ----------
    text_ND, ecg_ND : ndarrays of shape (N, D), float
        Embeddings of each record's report and signal.
    prompt_FD : ndarray of shape (F, D), float
    y_true : ndarray of shape (N, F), bool, or float with NaN where unknown
    names : mapping of str to str
        Name by code of the F findings.

    Returns
    -------
    list of dict
        One row per finding with a positive, best entailed first: ``code``, ``name``,
        ``n_positive``, ``report_auroc`` (of the similarity of report and prompt against the
        labels; 0.5: no better than chance), ``ecg_auroc`` (the same for ECG and prompt).
    """
    n_positive = np.nansum(y_true, axis=0)
    report_auroc, ecg_auroc = (
        _auroc(embedding @ prompt_FD.T, y_true) for embedding in (text_ND, ecg_ND)
    )
    rows = [
        {"code": code, "name": name, "n_positive": int(n_positive[i])}
        | {"report_auroc": float(report_auroc[i]), "ecg_auroc": float(ecg_auroc[i])}
        for i, (code, name) in enumerate(names.items())
        if not math.isnan(report_auroc[i])
    ]
    return sorted(rows, key=lambda row: -row["report_auroc"])


def _auroc(score_NF: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Compute the AUROC of each column of similarities, (F,)."""
    # `multilabel` takes probabilities; only the order of the scores matters.
    return multilabel.auroc_scores(y_true, 1 / (1 + np.exp(-score_NF.astype(np.float64))))


def format_rows(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> list[dict[str, Any]]:
    """Format the rows of ``scores``: each value with its interval and the value by chance."""
    return [
        {key: value for key, value in row.items() if "/" not in key and "_" not in key}
        | {
            key: f"{row[key]:.{n}f} [{row[f'{key}/low']:.{n}f}, {row[f'{key}/high']:.{n}f}], "
            f"chance {row[f'{key}/chance']:.{n}f}"
            for key, n in [*((f"recall_{k}", digits) for k in DEPTHS), ("median_rank", 0)]
        }
        | {"sizes": f"{row['n_queries']} in {row['n_candidates']}"}
        for row in rows
    ]
