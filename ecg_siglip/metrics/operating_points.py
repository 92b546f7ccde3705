"""Thresholds for a target sensitivity or precision.

They are chosen on the tuning fold by the sensitivity and precision that are expected from the
calibrated probabilities, not by counting: a rare finding has two or three positives there, too few
to count, but as many probabilities as any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.metrics.decision_rules import MIN_CONFIRMED, PRECISIONS, SENSITIVITIES
from ecg_siglip.metrics.validation import labels, labels_and_predictions


def operating_thresholds(
    y_prob: ArrayLike, y_true: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """Compute thresholds of each finding for every target sensitivity and precision.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
        Calibrated probabilities of the tuning fold.
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown, optional
        Labels of the tuning fold. A finding is calibrated on the records whose label is known, and
        only these are used here; all if none is known. The labels themselves are not used.

    Returns
    -------
    dict of str to ndarray of shape (n_findings,)
        ``sensitivity_0.95``: the highest threshold with an expected sensitivity of at least 0.95.
        ``precision_0.8``: the lowest threshold with an expected precision of at least 0.8; 0.8
        itself where no threshold reaches it.

    Raises
    ------
    ValueError
        If there is no record, a value is outside [0, 1], or the shapes differ.
    """
    p_NF = np.asarray(y_prob, np.float64)
    if p_NF.ndim != 2 or not len(p_NF):
        raise ValueError(f"y_prob: expected (n_records, n_findings), got {p_NF.shape}")
    if not ((p_NF >= 0) & (p_NF <= 1)).all():
        raise ValueError("y_prob: expected probabilities from 0 to 1")
    known_NF = np.ones(p_NF.shape, bool) if y_true is None else labels("y_true", y_true)[1]
    if known_NF.shape != p_NF.shape:
        raise ValueError(f"y_true: expected shape {p_NF.shape}, got {known_NF.shape}")
    known_NF = known_NF | ~known_NF.any(axis=0)
    # In descending order: the predicted positives of a threshold are the first k records. Those
    # whose label is unknown are -1, so that they come last and are never one.
    sorted_NF = -np.sort(-np.where(known_NF, p_NF, -1.0), axis=0)
    expected_NF = np.cumsum(np.maximum(sorted_NF, 0), axis=0)
    n_predicted_NF = np.minimum(np.arange(1, len(p_NF) + 1)[:, None], known_NF.sum(axis=0))
    precision_NF = expected_NF / n_predicted_NF
    sensitivity_NF = expected_NF / np.maximum(expected_NF[-1:], 1e-300)
    last_NF = np.diff(sorted_NF, axis=0, append=-1.0) != 0
    columns = np.arange(p_NF.shape[1])
    thresholds = {}
    for target in SENSITIVITIES:
        first_F = np.argmax(sensitivity_NF >= target - 1e-12, axis=0)
        thresholds[f"sensitivity_{target:g}"] = sorted_NF[first_F, columns]
    for target in PRECISIONS:
        # Expected precision falls with every further record: take the last one that still reaches
        # the target, of several with the same probability all or none.
        n_predicted_F = ((precision_NF >= target) & last_NF).cumsum(axis=0).argmax(axis=0) + 1
        n_predicted_F *= ((precision_NF >= target) & last_NF).any(axis=0)
        cut_F = sorted_NF[np.maximum(n_predicted_F - 1, 0), columns]
        thresholds[f"precision_{target:g}"] = np.where(n_predicted_F > 0, cut_F, target)
    return thresholds


def with_minimum(rule: str, thresholds: np.ndarray) -> np.ndarray:
    """Return the thresholds (n_findings,) of a rule; those of a precision are not below a minimum.

    The expected precision is that of all predictions above the threshold together: where most of
    them are certain, the threshold is so low that an improbable finding reaches it.

    Examples
    --------
    >>> with_minimum("precision_0.8", np.array([0.04, 0.7])).tolist()
    [0.3, 0.7]
    """
    is_precision = rule.startswith("precision_")
    return np.maximum(thresholds, MIN_CONFIRMED) if is_precision else thresholds


def sensitivity_and_precision(
    y_true: ArrayLike, y_pred: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Compute sensitivity and precision of each finding, (n_findings,) each; NaN for 0 / 0.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
        Pairs whose label is unknown are left out.
    y_pred : array of shape (n_records, n_findings), bool
    """
    y_true, _, y_pred = labels_and_predictions(y_true, y_pred)
    true_positive = (y_true & y_pred).sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return true_positive / y_true.sum(axis=0), true_positive / y_pred.sum(axis=0)
