"""Reports found by ECGs and ECGs by reports, and which prompts a report entails.

Shape letters: N records, R different reports, F findings, D embedding, Q queries, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecg_siglip.metrics import multilabel
from ecg_siglip.vocabulary import findings

DEPTHS = (1, 5, 10)


def ranks(score_QC: np.ndarray, right_QC: np.ndarray) -> np.ndarray:
    """Place of the best right candidate of each query, 1 is first.

    Parameters
    ----------
    score_QC : ndarray of shape (Q, C), float
    right_QC : ndarray of shape (Q, C), bool
        Each query has a right candidate at least.

    Returns
    -------
    ndarray of shape (Q,), int64
        A wrong candidate of the same score counts as before it: a model to which everything is
        alike finds nothing.

    Examples
    --------
    >>> ranks(np.array([[0.9, 0.5, 0.5]]), np.array([[False, True, False]]))
    array([3])
    """
    assert right_QC.any(axis=1).all()
    best_Q1 = np.where(right_QC, score_QC, -np.inf).max(axis=1, keepdims=True)
    before_QC: np.ndarray = ~right_QC & (score_QC >= best_Q1)
    return before_QC.sum(axis=1) + 1


def by_chance(n_right_Q: np.ndarray, n_candidates: int) -> np.ndarray:
    """Mean chance that a random order has a right candidate among its first 1, 2, ... C.

    Parameters
    ----------
    n_right_Q : ndarray of shape (Q,), int
        Right candidates of each query.
    n_candidates : int, C

    Returns
    -------
    ndarray of shape (C,), float in [0, 1]
    """
    counts, n_queries = np.unique(n_right_Q, return_counts=True)
    place = np.arange(n_candidates)
    # Drawn without putting back: all wrong so far, and the next is wrong as well.
    wrong = np.clip((n_candidates - counts[:, None] - place) / (n_candidates - place), 0, None)
    return 1 - (n_queries[:, None] * wrong.cumprod(axis=1)).sum(axis=0) / n_queries.sum()


def scores(
    ecg_ND: np.ndarray,
    text_RD: np.ndarray,
    own_N: np.ndarray,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How well ECGs find their reports and reports their ECGs, a row a direction.

    Parameters
    ----------
    ecg_ND, text_RD : ndarrays of shape (N, D) and (R, D), float
        Embeddings; the R reports differ from each other.
    own_N : ndarray of shape (N,), int in [0, R)
        Which of them is the record's. A report that several records have is right for each.
    n_bootstrap : int
        Resamples of the queries, the candidates staying as they are.

    Returns
    -------
    list of dict
        ``direction``, ``n_queries`` (one a record, also of records with the same report),
        ``n_candidates``; ``recall_1``, ``recall_5``, ``recall_10`` (a right one is among the
        first), ``median_rank``; each with ``.../low``, ``.../high`` (95 %) and ``.../chance``.
    """
    score_NR = ecg_ND.astype(np.float64) @ text_RD.T.astype(np.float64)
    right_NR = own_N[:, None] == np.arange(len(text_RD))
    rng = np.random.default_rng(seed)
    rows = []
    for direction, score_QC, right_QC in (
        ("ECG to report", score_NR, right_NR),
        ("report to ECG", score_NR.T[own_N], right_NR.T[own_N]),
    ):
        rank_Q = ranks(score_QC, right_QC)
        chance_C = by_chance(right_QC.sum(axis=1), right_QC.shape[1])
        drawn_BQ = rank_Q[rng.integers(len(rank_Q), size=(n_bootstrap, len(rank_Q)))]
        row: dict[str, Any] = {"direction": direction}
        row |= {"n_queries": len(rank_Q), "n_candidates": right_QC.shape[1]}
        for depth in DEPTHS:
            row |= _with_interval(
                f"recall_{depth}", (rank_Q <= depth).mean(), (drawn_BQ <= depth).mean(axis=1)
            )
            row[f"recall_{depth}/chance"] = float(chance_C[min(depth, len(chance_C)) - 1])
        row |= _with_interval("median_rank", np.median(rank_Q), np.median(drawn_BQ, axis=1))
        row["median_rank/chance"] = float(np.argmax(chance_C >= 0.5) + 1)
        rows.append(row)
    return rows


def _with_interval(name: str, value: Any, values_B: np.ndarray) -> dict[str, float]:
    low, high = multilabel.interval(values_B)
    return {name: float(value), f"{name}/low": low, f"{name}/high": high}


def entailment_rows(
    text_ND: np.ndarray,
    ecg_ND: np.ndarray,
    prompt_FD: np.ndarray,
    y_true: np.ndarray,
    codes: Sequence[str],
) -> list[dict[str, Any]]:
    """How well the words of a report alone tell which findings its record has, a row a finding.

    Parameters
    ----------
    text_ND, ecg_ND : ndarrays of shape (N, D), float
        Embeddings of each record's report and signal.
    prompt_FD : ndarray of shape (F, D), float
    y_true : ndarray of shape (N, F), bool
    codes : sequence of str, F of them

    Returns
    -------
    list of dict
        ``code``, ``name``, ``n_positive``, ``report_auroc`` (similarity of report and prompt
        against the labels; 0.5: the prompt hears nothing in reports), ``ecg_auroc`` (that of ECG
        and prompt, on the same records); best entailed first, those without a positive left out.
    """
    n_positive = y_true.sum(axis=0)
    told, seen = (_auroc(embedding @ prompt_FD.T, y_true) for embedding in (text_ND, ecg_ND))
    names = findings.names(codes)
    rows = [
        {"code": codes[i], "name": names[i], "n_positive": int(n_positive[i])}
        | {"report_auroc": float(told[i]), "ecg_auroc": float(seen[i])}
        for i in range(len(codes))
        if not math.isnan(told[i])
    ]
    return sorted(rows, key=lambda row: -row["report_auroc"])


def _auroc(score_NF: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    # As probabilities, which the room of the metrics wants; the order is all that counts.
    return multilabel.auroc_scores(y_true, 1 / (1 + np.exp(-score_NF.astype(np.float64))))


def format_rows(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> list[dict[str, Any]]:
    """``scores`` for a reader: each value with its interval and what chance would reach."""
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
