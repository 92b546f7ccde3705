"""Calibration of probabilities, fitted on the tuning fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from ecg_siglip.metrics.validation import Bool, Float, labels_and_probabilities, probabilities

MIN_SLOPE = 0.05
# Precision of the prior on (slope, shift): 1 / variance of typical values, about 0.15 and 0.45.
PRIOR_PRECISION = np.array([40.0, 5.0])


def fit_calibration(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Fit a slope and an intercept on the logit of each finding, on the tuning fold.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
        Each finding is fitted to the records whose label is known.
    y_prob : array of shape (n_records, n_findings), float in [0, 1]

    Returns
    -------
    ndarray of shape (n_findings, 2), float64
        Slope (at least 0.05, so that the order of the records stays) and intercept; 1 and 0 for a
        finding without a known label.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Platt (1999) with a Gaussian prior: minimises ``sum(binary cross-entropy) + 20 (slope -
    1)**2 + 2.5 shift**2``, where the shift is the change of the logit at the finding's
    centre of information (the mean of the logits, weighted by p (1 - p)), so that slope and shift
    are nearly independent. The evidence for both grows with the number of positives: a finding
    with a handful of them barely changes, one with hundreds is fitted freely.
    """
    from scipy.optimize import minimize  # takes half a second, not needed for a prediction

    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    # A saturated float32 sigmoid does not mean infinite certainty.
    logits = np.clip(_logit(y_prob), -16, 16)
    information = expit(logits) * expit(-logits) * known
    total = np.maximum(information.sum(axis=0), np.finfo(float).tiny)
    centres = (logits * information).sum(axis=0) / total

    def loss(x: Float, z: Float, y: Bool, centre: float) -> tuple[float, Float]:
        u = x[0] * (z - centre) + centre + x[1]
        residual = expit(u) - y
        deviation = x - (1.0, 0.0)
        value = np.logaddexp(0, u).sum() - u[y].sum() + PRIOR_PRECISION @ deviation**2 / 2
        return value, np.array(
            [residual @ (z - centre), residual.sum()]
        ) + PRIOR_PRECISION * deviation

    calibration = np.empty((y_true.shape[1], 2))
    for f, centre in enumerate(centres):
        slope, shift = minimize(
            loss,
            x0=(1.0, 0.0),
            args=(logits[known[:, f], f], y_true[known[:, f], f], centre),
            method="L-BFGS-B",
            jac=True,
            bounds=[(MIN_SLOPE, None), (None, None)],
            options={"ftol": 1e-13, "gtol": 1e-7},
        ).x
        calibration[f] = slope, shift + centre * (1 - slope)
    return calibration


def calibrate(y_prob: ArrayLike, calibration: ArrayLike) -> Float:
    """Return calibrated probabilities: ``sigmoid(slope * logit(y_prob) + intercept)``.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    calibration : array of shape (n_findings, 2), float
        As returned by ``fit_calibration``.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float64 in [0, 1]
        The order within each column does not change.

    Raises
    ------
    ValueError
        If the shapes differ, a probability is NaN, or a slope is not above 0.
    """
    y_prob = probabilities("y_prob", y_prob)
    calibration = np.asarray(calibration, dtype=np.float64)
    if calibration.shape != (y_prob.shape[1], 2):
        raise ValueError(
            f"calibration: expected shape {(y_prob.shape[1], 2)}, got {calibration.shape}"
        )
    slope, intercept = calibration.T
    if not (np.isfinite(calibration).all() and (slope > 0).all()):
        raise ValueError(f"calibration: expected slopes above 0, got {slope.min()}")
    return expit(slope * _logit(y_prob) + intercept)


def _logit(y_prob: Float) -> Float:
    """Return the logits of probabilities, finite also for 0 and 1."""
    return logit(np.clip(y_prob, 1e-300, np.nextafter(1.0, 0.0)))
