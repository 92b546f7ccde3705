"""Thresholds: the best of each rule, between scores, applied with >=."""

import numpy as np
import pytest
from scipy.special import expit
from scored_folds import scored_fold

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.thresholds import apply_thresholds, predictions, tune_thresholds


def test_f1_thresholds_beat_every_other_threshold_on_the_tuning_scored_fold():
    y_true, y_prob = scored_fold()
    thresholds = tune_thresholds(y_true, y_prob, "f1")
    best = multilabel.f1_scores(y_true, apply_thresholds(y_prob, thresholds))
    for candidate in np.linspace(0, 1, 201):
        other = multilabel.f1_scores(y_true, y_prob >= candidate)
        assert not (other > best + 1e-12).any()


def test_the_threshold_is_midway_between_neighbouring_scores():
    y_prob = np.array([[0.9], [0.7], [0.4], [0.1]])
    y_true = np.array([[1], [1], [0], [0]])
    assert tune_thresholds(y_true, y_prob, "f1") == pytest.approx([0.55])
    assert tune_thresholds(y_true, y_prob, "prevalence") == pytest.approx([0.55])
    assert tune_thresholds(y_true, y_prob, "global") == pytest.approx([0.55])


@pytest.mark.parametrize("rule", ["f1", "prevalence"])
@pytest.mark.parametrize("highest", [0.3, np.float32(1 - 2**-24), 1.0])
def test_without_positives_no_score_of_the_fold_reaches_the_threshold(rule, highest):
    y_prob = np.array([[0.0], [0.1], [highest]])
    thresholds = tune_thresholds(np.zeros((3, 1)), y_prob, rule)
    assert not apply_thresholds(y_prob, thresholds).any()
    if highest < 0.5:
        assert thresholds == pytest.approx([(1 + highest) / 2])


def test_with_positives_only_all_are_predicted():
    y_prob = np.array([[0.0], [0.5]])
    for rule in ("f1", "prevalence", "global"):
        assert apply_thresholds(y_prob, tune_thresholds([[1], [1]], y_prob, rule)).all()


def test_expected_f1_is_the_best_threshold_of_calibrated_probabilities():
    """On a fold far larger than any tuning fold, where labels determine the best threshold."""
    rng = np.random.default_rng(0)
    y_prob = expit(rng.normal([-1.0, -2.5], [1.5, 1.2], (200_000, 2)))
    y_true = rng.random(y_prob.shape) < y_prob
    expected = tune_thresholds(np.zeros_like(y_true[:400]), y_prob[:400], "expected_f1")
    best = multilabel.f1_scores(y_true, y_prob >= tune_thresholds(y_true, y_prob, "f1"))
    assert multilabel.f1_scores(y_true, y_prob >= expected) == pytest.approx(best, abs=0.01)
    # The threshold is half the F1 that it reaches.
    assert expected == pytest.approx(best / 2, abs=0.03)


def test_expected_f1_never_predicts_an_unlikely_finding():
    y_prob = np.full((50, 1), 0.02)
    assert tune_thresholds(y_prob > 1, y_prob, "expected_f1") == 0.1


def test_prevalence_predicts_as_many_as_are_positive():
    y_true, y_prob = scored_fold(decimals=16)
    y_pred = apply_thresholds(y_prob, tune_thresholds(y_true, y_prob, "prevalence"))
    np.testing.assert_array_equal(y_pred.sum(axis=0), y_true.sum(axis=0))


def test_prevalence_never_splits_equal_scores():
    y_prob = np.array([[0.8], [0.5], [0.5], [0.5], [0.1]])
    y_true = np.array([[1], [1], [1], [0], [0]])
    y_pred = apply_thresholds(y_prob, tune_thresholds(y_true, y_prob, "prevalence"))
    assert y_pred.sum() == 4


def test_global_is_one_threshold_with_the_largest_macro_f1():
    y_true, y_prob = scored_fold()
    thresholds = tune_thresholds(y_true, y_prob, "global")
    assert len(set(thresholds)) == 1
    best = multilabel.macro_f1(y_true, apply_thresholds(y_prob, thresholds))
    scan = [multilabel.macro_f1(y_true, y_prob >= t) for t in np.linspace(0, 1, 201)]
    assert best >= max(scan) - 1e-12
    assert best == pytest.approx(max(scan))


def test_neighbouring_doubles_are_separated():
    low = 0.3
    high = np.nextafter(low, 1)
    thresholds = tune_thresholds([[0], [1]], [[low], [high]], "f1")
    np.testing.assert_array_equal(apply_thresholds([[low], [high]], thresholds), [[0], [1]])


def test_predictions_come_from_thresholds_or_are_given():
    y_prob = np.array([[0.2, 0.9], [0.6, 0.1]])
    expected = [[False, True], [True, False]]
    np.testing.assert_array_equal(predictions(y_prob, [0.5, 0.5]), expected)
    np.testing.assert_array_equal(predictions(y_prob, expected), expected)
    with pytest.raises(ValueError, match="y_pred: expected only 0 and 1, got 2"):
        predictions(y_prob, [[2, 0], [0, 0]])


def test_an_unknown_rule_and_wrong_thresholds_are_rejected():
    y_true, y_prob = scored_fold()
    with pytest.raises(
        ValueError, match="expected one of fixed_0.5, f1, prevalence, global, expected_f1"
    ):
        tune_thresholds(y_true, y_prob, "best")
    with pytest.raises(ValueError, match=r"expected shape \(9,\), got \(8,\)"):
        apply_thresholds(y_prob, np.zeros(8))
    with pytest.raises(ValueError, match="NaN"):
        apply_thresholds(y_prob, np.full(9, np.nan))
