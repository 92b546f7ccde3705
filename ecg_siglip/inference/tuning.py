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
    """Calibration and, on calibrated probabilities, every rule's thresholds, of the tuning fold.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]

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
    y_true: np.ndarray, ask: Callable[[np.ndarray], np.ndarray], signals: np.ndarray
) -> dict[str, Tuning]:
    """What ``tuning.tune_fold`` finds, for each smaller set of leads, see ``leads.LEAD_SETS``.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool
    ask : function
        Prepared records (n_records, 12, n_samples), int16, uV, to probabilities.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    """
    found = {}
    for name in LEAD_SETS:
        if name != "12":
            calibration, thresholds, calibrated = tune_fold(y_true, ask(mask_leads(signals, name)))
            found[name] = Tuning(calibration, thresholds, operating_thresholds(calibrated))
    return found
