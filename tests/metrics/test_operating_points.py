"""With calibrated probabilities the target sensitivity and precision are reached."""

import numpy as np
import pytest

from ecg_siglip.metrics.decision_rules import PRECISIONS, SENSITIVITIES
from ecg_siglip.metrics.operating_points import operating_thresholds, sensitivity_and_precision


@pytest.fixture(scope="module")
def folds():
    """Two halves of calibrated probabilities of one common and one rare finding."""
    rng = np.random.default_rng(0)
    y_prob = rng.beta([1.0, 0.1], [2.0, 0.9], (20000, 2))
    y_true = rng.random(y_prob.shape) < y_prob
    return y_prob[::2], y_prob[1::2], y_true[1::2]


@pytest.mark.parametrize("target", SENSITIVITIES)
def test_the_target_sensitivity_is_reached_on_other_records(folds, target):
    tune_prob, y_prob, y_true = folds
    threshold = operating_thresholds(tune_prob)[f"sensitivity_{target:g}"]
    sensitivity, _ = sensitivity_and_precision(y_true, y_prob >= threshold)
    assert sensitivity == pytest.approx(target, abs=0.03)


@pytest.mark.parametrize("target", PRECISIONS)
def test_the_target_precision_is_reached_on_other_records(folds, target):
    tune_prob, y_prob, y_true = folds
    threshold = operating_thresholds(tune_prob)[f"precision_{target:g}"]
    _, precision = sensitivity_and_precision(y_true, y_prob >= threshold)
    assert precision == pytest.approx(target, abs=0.06)
    assert (precision > target - 0.04).all()


def test_more_sensitivity_is_a_lower_threshold_and_more_precision_a_higher_one(folds):
    thresholds = operating_thresholds(folds[0])
    for kind, levels, sign in (
        ("sensitivity", SENSITIVITIES, -1),
        ("precision", PRECISIONS, 1),
    ):
        ordered = np.array([thresholds[f"{kind}_{level:g}"] for level in levels])
        assert (sign * np.diff(ordered, axis=0) >= 0).all()


def test_of_equal_probabilities_all_are_predicted_or_none():
    thresholds = operating_thresholds(np.array([[0.99], *[[0.75]] * 6]))
    assert thresholds["precision_0.8"] == [0.99]
    assert thresholds["precision_0.7"] == [0.75]


def test_a_precision_that_no_record_reaches_is_the_threshold_itself():
    thresholds = operating_thresholds(np.full((50, 1), 0.01))
    assert thresholds["precision_0.8"] == [0.8]
    assert thresholds["sensitivity_0.95"] == [0.01]


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(4), np.array([[0.5, 1.5]])])
def test_values_that_are_no_probabilities_are_rejected(bad):
    with pytest.raises(ValueError, match="y_prob: expected"):
        operating_thresholds(bad)


def test_sensitivity_and_precision_by_hand():
    y_true = np.array([[1, 0], [1, 0], [0, 0]])
    y_pred = np.array([[1, 0], [0, 0], [1, 0]])
    sensitivity, precision = sensitivity_and_precision(y_true, y_pred)
    assert (sensitivity[0], precision[0]) == (0.5, 0.5)
    assert np.isnan([sensitivity[1], precision[1]]).all()
