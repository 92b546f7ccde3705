"""Exact 95 % intervals of proportions, for few records or where every resample is the same.

A bootstrap of five right predictions is five right predictions each time: it has no width. The
interval of Clopper and Pearson has at least its nominal coverage for any number of records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from ecg_siglip.metrics.validation import Bool, Float

ALPHA = 0.05


def proportion_interval(
    n_right: ArrayLike, n: ArrayLike, alpha: ArrayLike = ALPHA
) -> tuple[Float, Float]:
    """Return the interval of Clopper and Pearson for a proportion; NaN of no trial.

    Parameters
    ----------
    n_right, n : arrays of the same shape, integers
        Successes and trials.
    alpha : float or array
        1 - coverage.

    Returns
    -------
    low, high : ndarrays of float64 in [0, 1]

    Notes
    -----
    Clopper and Pearson 1934 (doi:10.1093/biomet/26.4.404), by quantiles of the beta distribution.
    """
    k, n, half = np.asarray(n_right, float), np.asarray(n, float), np.asarray(alpha, float) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, beta.ppf(half, np.maximum(k, 1), n - k + 1), 0.0)
        high = np.where(k < n, beta.ppf(1 - half, k + 1, np.maximum(n - k, 1)), 1.0)
    none = n < 1
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def f1_interval(
    true_positive: ArrayLike, predicted: ArrayLike, positive: ArrayLike, alpha: ArrayLike = ALPHA
) -> tuple[Float, Float]:
    """Return the exact interval of the F1 of a finding; NaN without a positive.

    Parameters
    ----------
    true_positive, predicted, positive : arrays of the same shape, integers
        Numbers of records of the finding.
    alpha : float or array
        1 - coverage.

    Returns
    -------
    low, high : ndarrays of float64 in [0, 1]

    Notes
    -----
    F1 = 2 TP / (2 TP + FP + FN) increases with the proportion J = TP / (TP + FP + FN): F1 = 2 J /
    (1 + J). Of the records that are positive, predicted or both, each is a true positive with the
    probability that J estimates, so that the interval of J is one of a proportion.
    """
    tp, positive = np.asarray(true_positive, float), np.asarray(positive, float)
    either = np.asarray(predicted, float) + positive - tp
    ends = proportion_interval(tp, either, alpha)
    low, high = (np.where(positive > 0, 2 * end / (1 + end), np.nan) for end in ends)
    return low, high


def lowest_separation(
    n_positive: ArrayLike, n_negative: ArrayLike, alpha: ArrayLike = ALPHA
) -> Float:
    """Return the lower end of the interval of an AUROC of 1; NaN without a positive or negative.

    Parameters
    ----------
    n_positive, n_negative : arrays of the same shape, integers
    alpha : float or array
        1 - coverage.

    Notes
    -----
    The smaller of the two numbers is that of disjoint pairs of a positive and a negative record.
    Each is in the right order with a probability of at most the AUROC, independently of the others:
    all are with at most its power. The interval is exact, and conservative.
    """
    n_pairs = np.minimum(n_positive, n_negative)
    return proportion_interval(n_pairs, n_pairs, alpha)[0]


def interval_without_width(
    name: str, value: float, y_true: Bool, known: Bool, y_pred: Bool | None
) -> tuple[float, float]:
    """Return the interval of a score of a fold of which every resample has the same value.

    Parameters
    ----------
    name : str
        ``macro_f1``, ``micro_f1``, ``samples_f1`` or ``macro_auroc``; any other has no such
        interval.
    value : float
        The score.
    y_true, known : ndarrays of shape (n_records, n_findings), bool
        Of the findings of the score.
    y_pred : ndarray of the same shape, bool, optional
        False where the label is unknown; None for a score of rankings.

    Returns
    -------
    low, high : float
        NaN if there is none.

    Notes
    -----
    A macro mean has the mean of the ends of its findings, each with the n-th part of 1 - coverage
    for n findings (Bonferroni). A mean over records that all have the value v is at least v P and
    at most 1 - (1 - v) P, where P is the probability of v. A micro F1 of 0 or 1 counts each record
    with a finding as one trial: its pairs may go wrong together.
    """
    positive = y_true.sum(axis=0)
    alpha = ALPHA / max(1, (positive > 0).sum())
    if name == "macro_auroc" and value == 1:
        lows = lowest_separation(positive, (known & ~y_true).sum(axis=0), alpha)
        return _mean(lows), 1.0
    if y_pred is None:
        return np.nan, np.nan
    if name == "macro_f1":
        low, high = f1_interval((y_true & y_pred).sum(axis=0), y_pred.sum(axis=0), positive, alpha)
        return _mean(low), _mean(high)
    if name == "samples_f1":
        n_records = int(known.any(axis=1).sum())
        share = float(proportion_interval(n_records, n_records)[0])
        return value * share, 1 - (1 - value) * share
    if name == "micro_f1" and value in (0, 1):
        n_records = int((y_true | y_pred).any(axis=1).sum())
        low, high = f1_interval(int(value) * n_records, int(value) * n_records, n_records)
        return float(low), float(high)
    return np.nan, np.nan


def _mean(values: Float) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
