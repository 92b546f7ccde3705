"""What is wanted is what is reached, where probabilities are calibrated."""

import numpy as np
import pytest

from ecg_siglip.metrics.decision_rules import PRECISIONS, SENSITIVITIES
from ecg_siglip.metrics.operating_points import operating_thresholds, sensitivity_and_precision


@pytest.fixture(scope="module")
def folds():
    """Two halves of calibrated answers for one common and one rare finding."""
    rng = np.random.default_rng(0)
    y_prob = rng.beta([1.0, 0.1], [2.0, 0.9], (20000, 2))
    y_true = rng.random(y_prob.shape) < y_prob
    return y_prob[::2], y_prob[1::2], y_true[1::2]


@pytest.mark.parametrize("wanted", SENSITIVITIES)
def test_the_wanted_sensitivity_is_reached_on_other_records(folds, wanted):
    tune_prob, y_prob, y_true = folds
    threshold = operating_thresholds(tune_prob)[f"sensitivity_{wanted:g}"]
    sensitivity, _ = sensitivity_and_precision(y_true, y_prob >= threshold)
    assert sensitivity == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("wanted", PRECISIONS)
def test_the_wanted_precision_is_reached_on_other_records(folds, wanted):
    tune_prob, y_prob, y_true = folds
    threshold = operating_thresholds(tune_prob)[f"precision_{wanted:g}"]
    _, precision = sensitivity_and_precision(y_true, y_prob >= threshold)
    assert precision == pytest.approx(wanted, abs=0.06)
    assert (precision > wanted - 0.04).all()


def test_more_sensitivity_is_a_lower_threshold_and_more_precision_a_higher_one(folds):
    found = operating_thresholds(folds[0])
    for kind, levels, sign in (
        ("sensitivity", SENSITIVITIES, -1),
        ("precision", PRECISIONS, 1),
    ):
        ordered = np.array([found[f"{kind}_{level:g}"] for level in levels])
        assert (sign * np.diff(ordered, axis=0) >= 0).all()


def test_of_equal_probabilities_all_are_called_or_none():
    found = operating_thresholds(np.array([[0.99], *[[0.75]] * 6]))
    assert found["precision_0.8"] == [0.99]
    assert found["precision_0.7"] == [0.75]


def test_a_finding_that_no_record_comes_near_to_is_called_by_nobody_short_of_the_wanted():
    found = operating_thresholds(np.full((50, 1), 0.01))
    assert found["precision_0.8"] == [0.8]
    assert found["sensitivity_0.95"] == [0.01]


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(4), np.array([[0.5, 1.5]])])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match="y_prob: expected"):
        operating_thresholds(bad)
