"""Calibration: recovers known curves, helps on other records, is cautious with rare findings."""

import numpy as np
import pytest
from scipy.special import expit
from scored_folds import scored_fold

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.calibration import MIN_SLOPE, calibrate, fit_calibration


def test_calibration_finds_a_known_slope_and_intercept():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (50_000, 1))
    y_true = rng.random(logits.shape) < expit(0.6 * logits - 0.8)
    (slope, intercept) = fit_calibration(y_true, expit(logits))[0]
    assert slope == pytest.approx(0.6, abs=0.03)
    assert intercept == pytest.approx(-0.8, abs=0.05)


def test_calibration_lowers_the_loss_on_other_records_and_keeps_ranks():
    def sample(seed):
        rng = np.random.default_rng(seed)
        logits = rng.normal(-2, 1.5, (3000, 6))
        return rng.random(logits.shape) < expit(logits), expit(1.8 * logits + 1)

    def loss(y_true, y_prob):
        return -np.log(np.where(y_true, y_prob, 1 - y_prob)).mean()

    calibration = fit_calibration(*sample(0))
    y_true, y_prob = sample(1)
    calibrated = calibrate(y_prob, calibration)
    assert loss(y_true, calibrated) < 0.95 * loss(y_true, y_prob)
    error = multilabel.expected_calibration_error
    assert error(y_true, calibrated) < 0.5 * error(y_true, y_prob)
    np.testing.assert_array_equal(np.argsort(calibrated, axis=0), np.argsort(y_prob, axis=0))


@pytest.mark.parametrize("n_positive", range(6))
def test_calibration_barely_changes_rare_findings(n_positive):
    """About three positives are expected; up to five at any rank at most double a probability."""
    y_prob = expit(np.random.default_rng(n_positive).normal(-7, 1, (2000, 1)))
    assert 2.5 < y_prob.sum() < 3.5
    y_true = np.zeros((2000, 1), dtype=bool)
    y_true[np.argsort(-y_prob[:, 0])[10 : 10 + n_positive]] = True
    ratio = calibrate(y_prob, fit_calibration(y_true, y_prob)) / y_prob
    assert 0.5 < ratio.min() < ratio.max() < 2


def test_calibration_slope_stays_positive_for_an_inverted_finding():
    rng = np.random.default_rng(0)
    y_true = rng.random((2000, 1)) < 0.5
    y_prob = expit(rng.normal(0, 1, y_true.shape) - 3 * y_true)
    assert fit_calibration(y_true, y_prob)[0, 0] == pytest.approx(MIN_SLOPE)


def test_calibration_takes_saturated_probabilities():
    y_prob = np.array([[0.0], [1e-30], [0.5], [1.0]])
    calibration = fit_calibration([[0], [0], [1], [1]], y_prob)
    calibrated = calibrate(y_prob, calibration)
    assert np.isfinite(calibration).all()
    assert (np.diff(calibrated[:, 0]) > 0).all()


def test_wrong_calibrations_are_rejected():
    _, y_prob = scored_fold()
    with pytest.raises(ValueError, match=r"expected shape \(9, 2\), got \(2, 9\)"):
        calibrate(y_prob, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="slopes above 0"):
        calibrate(y_prob, np.zeros((9, 2)))
