"""Decision thresholds: chosen on the tuning fold by a rule, applied to probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.validation import (
    Bool,
    Float,
    binary,
    labels_and_probabilities,
    probabilities,
)

MIN_EXPECTED_F1_THRESHOLD = 0.1  # expected_f1 predicts no finding that is less likely than this


def tune_thresholds(y_true: ArrayLike, y_prob: ArrayLike, rule: str) -> Float:
    """Choose one threshold per finding on the tuning fold.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
        The threshold of a finding depends on the records whose label is known.
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    rule : {"fixed_0.5", "f1", "prevalence", "global", "expected_f1"}
        ``fixed_0.5``: 0.5 everywhere. ``f1``: the largest F1 of each finding. ``prevalence``: as
        many predicted positives as positives. ``global``: the one threshold with the largest mean
        F1 over the findings that have a positive. ``expected_f1``: half the largest F1 that is
        expected from the probabilities, at least 0.1; for calibrated probabilities.

    Returns
    -------
    ndarray of shape (n_findings,), float64
        To be used with ``>=``.

    Raises
    ------
    ValueError
        For an unknown rule, differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Thresholds are midway between neighbouring scores, so that a finding with a handful of
    positives does not depend on the exact score of one record; of several equally good ones the
    highest is taken. Where predicting no positive at all is best, as for ``f1`` and
    ``prevalence`` of a finding without positives, the threshold is midway between the highest
    score of the fold and 1.

    ``expected_f1`` uses no labels: where probabilities are calibrated, the threshold with the
    largest expected F1 is half that F1 (Lipton et al. 2014, arXiv:1402.1892, theorem 1). A
    handful of positives determines a threshold poorly; hundreds of probabilities determine it well.
    Of a finding without any known label, all probabilities are used.
    """
    if rule not in THRESHOLD_RULES:
        raise ValueError(f"threshold rule {rule}: expected one of {', '.join(THRESHOLD_RULES)}")
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    n_records, n_findings = y_true.shape
    if rule == "fixed_0.5":
        return np.full(n_findings, 0.5)

    # Records whose label is unknown come last, and predicting them too changes no value.
    known = known | ~known.any(axis=0)
    order = np.argsort(np.where(known, -y_prob, 1), axis=0, kind="stable")
    score = np.take_along_axis(np.where(known, y_prob, 0), order, axis=0)
    n_predicted = np.minimum(np.arange(n_records + 1)[:, None], known.sum(axis=0))
    if rule == "expected_f1":
        total = np.maximum(n_predicted[1:] + score.sum(axis=0), 1)
        expected = (2 * np.cumsum(score, axis=0) / total).max(axis=0)
        return np.maximum(expected / 2, MIN_EXPECTED_F1_THRESHOLD)

    n_positive = y_true.sum(axis=0)
    true_positive = np.zeros((n_records + 1, n_findings))
    np.cumsum(np.take_along_axis(y_true, order, axis=0), axis=0, out=true_positive[1:])
    f1 = 2 * true_positive / np.maximum(n_predicted + n_positive, 1)
    if rule == "global":
        return _global_threshold(score, f1, n_positive)
    return _best_cut(score, f1 if rule == "f1" else -np.abs(n_predicted - n_positive))


def _global_threshold(score: NDArray, f1: NDArray, n_positive: NDArray) -> Float:
    """Return the one threshold with the largest macro F1, for every finding: (n_findings,)."""
    # Lowering the threshold past one score changes the F1 of one finding: the sum of those
    # changes, in the order of all scores, is the macro F1 at every possible threshold.
    step = (np.diff(f1, axis=0) * (n_positive > 0)).ravel()
    order = np.argsort(-score.ravel(), kind="stable")
    macro = np.concatenate([[0.0], np.cumsum(step[order])])
    cut = _best_cut(score.ravel()[order][:, None], macro[:, None])
    return np.full(score.shape[1], cut[0])


def _best_cut(score: NDArray, value: NDArray) -> Float:
    """Return the best threshold of each column.

    Parameters
    ----------
    score : ndarray of shape (n_records, n_findings)
        In descending order.
    value : ndarray of shape (n_records + 1, n_findings)
        ``value[k]`` is the value of predicting the first k records as positive.
    """
    above = np.concatenate([np.full((1, score.shape[1]), np.inf), score])
    below = np.concatenate([score, np.zeros((1, score.shape[1]))])
    # No threshold separates records of equal score; one below all of them is always possible.
    possible = above > below
    possible[-1] = True
    best = np.where(possible, value, -np.inf)
    # Sums in another order differ in the last digits: equal means equal to rounding.
    k = np.argmax(best >= best.max(axis=0) - 1e-12, axis=0)[None]
    lowest_in, highest_out = (np.take_along_axis(x, k, axis=0)[0] for x in (above, below))
    is_none = k[0] == 0
    lowest_in = np.where(is_none, np.maximum(1.0, np.nextafter(highest_out, 2)), lowest_in)
    middle = (lowest_in + highest_out) / 2
    return np.where(middle > highest_out, middle, lowest_in)


def apply_thresholds(y_prob: ArrayLike, thresholds: ArrayLike) -> Bool:
    """Return which findings are predicted positive: ``y_prob >= thresholds``.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : array of shape (n_findings,), float

    Returns
    -------
    ndarray of shape (n_records, n_findings), bool

    Raises
    ------
    ValueError
        If the shapes differ or a probability or threshold is NaN.
    """
    y_prob = probabilities("y_prob", y_prob)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.shape != y_prob.shape[1:]:
        raise ValueError(f"thresholds: expected shape {y_prob.shape[1:]}, got {thresholds.shape}")
    if np.isnan(thresholds).any():
        raise ValueError(f"thresholds: expected numbers, got NaN for {np.isnan(thresholds).sum()}")
    return y_prob >= thresholds


def predictions(y_prob: Float, decision: ArrayLike) -> Bool:
    """Return which findings are predicted positive, by thresholds or by given predictions.

    Parameters
    ----------
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
    decision : array of shape (n_findings,), float, or of shape (n_records, n_findings), bool
        Thresholds, or the predictions themselves.
    """
    decision = np.asarray(decision)
    return apply_thresholds(y_prob, decision) if decision.ndim < 2 else binary("y_pred", decision)
