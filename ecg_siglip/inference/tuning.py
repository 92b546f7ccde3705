"""Calibration and thresholds from the tuning fold, for all leads and for fewer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.models.artifact import Tuning
from ecg_siglip.signals.leads import LEAD_SETS, mask_leads


def tune_fold(
    y_true: np.ndarray, y_prob: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Fit the calibration and, on calibrated probabilities, every rule's thresholds.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
        Labels of the tuning fold.
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
        Probabilities of the tuning fold, not calibrated.

    Returns
    -------
    calibration : ndarray of shape (n_findings, 2)
    thresholds : dict of str to ndarray of shape (n_findings,)
    calibrated : ndarray of shape (n_records, n_findings)
    """
    calibration = multilabel.fit_calibration(y_true, y_prob)
    calibrated = multilabel.calibrate(y_prob, calibration)
    thresholds = {
        rule: multilabel.tune_thresholds(y_true, calibrated, rule) for rule in THRESHOLD_RULES
    }
    return calibration, thresholds, calibrated


def tune_fewer_leads(
    y_true: np.ndarray,
    probabilities: Callable[[np.ndarray], np.ndarray],
    signals: np.ndarray,
) -> dict[str, Tuning]:
    """Tune as ``tune_fold`` does for each smaller set of leads, see ``leads.LEAD_SETS``.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    probabilities : function
        From prepared records (n_records, 12, n_samples), int16, uV, to probabilities.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    """
    tuning = {}
    for name in LEAD_SETS:
        if name != "12":
            y_prob = probabilities(mask_leads(signals, name))
            calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
            tuning[name] = Tuning(calibration, thresholds, operating_thresholds(calibrated, y_true))
    return tuning
