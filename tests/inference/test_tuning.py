"""Calibration and thresholds of the tuning fold, for all leads and for fewer."""

import numpy as np
import pytest

from ecg_siglip.inference.tuning import tune_fewer_leads, tune_fold
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import calibrate
from ecg_siglip.signals.leads import LEAD_SETS, LEADS


@pytest.fixture
def fold():
    """Labels of 400 records and 2 findings, and probabilities that are too high."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-1, 1.5, (400, 2))
    y_true = rng.random((400, 2)) < 1 / (1 + np.exp(-log_odds))
    return y_true, 1 / (1 + np.exp(-(log_odds + 1.5)))


def test_calibration_corrects_probabilities_that_are_too_high(fold):
    y_true, y_prob = fold
    calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
    assert calibration.shape == (2, 2)
    assert np.array_equal(calibrated, calibrate(y_prob, calibration))
    error = np.abs(calibrated.mean(axis=0) - y_true.mean(axis=0))
    assert (error < 0.03).all() and (y_prob.mean(axis=0) - y_true.mean(axis=0) > 0.1).all()
    assert set(thresholds) == set(THRESHOLD_RULES)
    assert all(values.shape == (2,) for values in thresholds.values())


def test_fewer_leads_are_tuned_on_masked_signals(fold):
    y_true, y_prob = fold
    signals = np.ones((len(y_true), len(LEADS), 3), np.int16)
    n_leads = []

    def probabilities(masked):
        n_leads.append(int(masked[0, :, 0].sum()))
        return y_prob

    tuning = tune_fewer_leads(y_true, probabilities, signals)
    names = [name for name in LEAD_SETS if name != "12"]
    assert list(tuning) == names
    assert n_leads == [len(LEAD_SETS[name]) for name in names]
    assert np.array_equal(tuning[names[0]].calibration, tune_fold(y_true, y_prob)[0])
    assert signals.all(), "the signals of the caller are changed"
