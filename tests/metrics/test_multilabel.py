"""Every score equals scikit-learn's, on the fold and on every bootstrap resample."""

import numpy as np
import pytest
from scored_folds import scored_fold
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import tune_thresholds


def sklearn_f1(y_true, y_pred, average):
    return f1_score(y_true, y_pred, average=average, zero_division=1)


def test_f1_equals_scikit_learn():
    y_true, y_prob = scored_fold()
    y_pred = y_prob >= 0.4
    has_positive = y_true.any(axis=0)
    each = multilabel.f1_scores(y_true, y_pred)
    expected = f1_score(
        y_true[:, has_positive], y_pred[:, has_positive], average=None, zero_division=0
    )
    np.testing.assert_allclose(each[has_positive], expected)
    assert np.isnan(each[~has_positive]).all() and (~has_positive).any()
    assert multilabel.macro_f1(y_true, y_pred) == pytest.approx(
        sklearn_f1(y_true[:, has_positive], y_pred[:, has_positive], "macro")
    )
    assert multilabel.micro_f1(y_true, y_pred) == pytest.approx(sklearn_f1(y_true, y_pred, "micro"))
    assert multilabel.samples_f1(y_true, y_pred) == pytest.approx(
        sklearn_f1(y_true, y_pred, "samples")
    )


def test_samples_f1_is_1_for_a_record_without_findings_and_predictions():
    assert multilabel.samples_f1([[0, 0], [1, 0]], [[0, 0], [0, 0]]) == 0.5


def test_ranking_equals_scikit_learn_with_ties():
    y_true, y_prob = scored_fold(decimals=1)
    has_positive = y_true.any(axis=0)
    for values, reference in (
        (multilabel.auroc_scores(y_true, y_prob), roc_auc_score),
        (multilabel.auprc_scores(y_true, y_prob), average_precision_score),
    ):
        np.testing.assert_allclose(
            values[has_positive],
            reference(y_true[:, has_positive], y_prob[:, has_positive], average=None),
        )
        assert np.isnan(values[~has_positive]).all()


def test_auroc_needs_a_negative():
    assert np.isnan(multilabel.auroc_scores([[1], [1]], [[0.2], [0.9]])).all()
    assert np.isnan(multilabel.macro_auroc([[1], [1]], [[0.2], [0.9]]))


def naive_scores(y_true, y_prob, thresholds, enough):
    """Compute the scores of `multilabel.scores` with scikit-learn."""
    expected = {}
    has_positive = y_true.any(axis=0)
    both = has_positive & ~y_true.all(axis=0)
    for rule, values in thresholds.items():
        y_pred = y_prob >= values
        each = f1_score(y_true, y_pred, average=None, zero_division=0)
        expected[f"{rule}/macro_f1"] = each[has_positive].mean()
        expected[f"{rule}/macro_f1_min5"] = each[has_positive & enough].mean()
        expected[f"{rule}/micro_f1"] = sklearn_f1(y_true, y_pred, "micro")
        expected[f"{rule}/samples_f1"] = sklearn_f1(y_true, y_pred, "samples")
    for name, chosen in (("", slice(None)), ("_min5", enough)):
        included = np.zeros(len(has_positive), dtype=bool)
        included[chosen] = True
        for score, function, defined in (
            ("macro_auroc", roc_auc_score, both & included),
            ("macro_auprc", average_precision_score, has_positive & included),
        ):
            each = [function(y_true[:, f], y_prob[:, f]) for f in np.flatnonzero(defined)]
            expected[score + name] = np.mean(each)
    expected["micro_auprc"] = average_precision_score(y_true.ravel(), y_prob.ravel())
    bins = np.digitize(y_prob.ravel(), np.arange(1, 15) / 15)
    label, probability = y_true.ravel(), y_prob.ravel()
    expected["ece"] = sum(
        (bins == b).mean() * abs(label[bins == b].mean() - probability[bins == b].mean())
        for b in set(bins)
    )
    return expected


def test_scores_and_their_intervals_equal_naive_resampling():
    """The weighted bootstrap equals scikit-learn on each resample of the same draws, with ties."""
    n_bootstrap, seed = 25, 3
    y_true, y_prob = scored_fold(60, 7, seed=5)
    thresholds = {
        rule: tune_thresholds(*scored_fold(60, 7, seed=6), rule) for rule in THRESHOLD_RULES
    }
    enough = y_true.sum(axis=0) >= 5
    assert 0 < enough.sum() < y_true.any(axis=0).sum() < y_true.shape[1]
    result = multilabel.scores(y_true, y_prob, thresholds, n_bootstrap, seed=seed)

    draws = np.random.default_rng(seed).integers(60, size=(n_bootstrap, 60))
    full = naive_scores(y_true, y_prob, thresholds, enough)
    each = [naive_scores(y_true[d], y_prob[d], thresholds, enough) for d in draws]
    expected = {}
    for name, value in full.items():
        expected[name] = value
        low, high = np.percentile([e[name] for e in each], (2.5, 97.5))
        expected[f"{name}/low"], expected[f"{name}/high"] = low, high
    expected |= {"n_records": 60, "n_findings": y_true.any(axis=0).sum()}
    expected["n_findings_min5"] = enough.sum()
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, abs=1e-12), name


def test_large_folds_are_scored_in_blocks_with_the_same_result(monkeypatch):
    y_true, y_prob = scored_fold(200)
    thresholds = {"fixed_0.5": np.full(9, 0.5)}
    whole = multilabel.scores(y_true, y_prob, thresholds, 30)
    monkeypatch.setattr(multilabel, "BLOCK", 1500)
    assert multilabel.scores(y_true, y_prob, thresholds, 30) == pytest.approx(whole, rel=1e-12)


def test_same_seed_same_interval_and_none_without_resamples():
    y_true, y_prob = scored_fold()
    thresholds = {"fixed_0.5": np.full(9, 0.5)}
    first, again, other = (multilabel.scores(y_true, y_prob, thresholds, 50, s) for s in (0, 0, 1))
    assert first == again
    assert first["macro_auroc"] == other["macro_auroc"]
    assert first["macro_auroc/low"] != other["macro_auroc/low"]
    plain = multilabel.scores(y_true, y_prob, thresholds, 0)
    points = {k: v for k, v in first.items() if not k.endswith(("/low", "/high"))}
    assert plain == pytest.approx(points, rel=1e-12)


def test_expected_calibration_error_by_hand():
    """Bin of 0.1: frequency 0.5. Bin of 0.9: frequency 1. Half of the pairs each."""
    y_true, y_prob = [[1, 1], [0, 1]], [[0.1, 0.9], [0.1, 0.9]]
    assert multilabel.expected_calibration_error(y_true, y_prob) == pytest.approx(0.25)
    assert multilabel.expected_calibration_error([[1]], [[1.0]]) == 0


def test_per_finding_rows():
    y_true, y_prob = scored_fold()
    thresholds = {rule: tune_thresholds(y_true, y_prob, rule) for rule in THRESHOLD_RULES}
    rows = multilabel.per_finding(y_true, y_prob, thresholds)
    assert len(rows) == 9
    row = rows[1]
    label, probability = y_true[:, 1], y_prob[:, 1]
    is_predicted = probability >= thresholds["f1"][1]
    assert row["n_positive"] == label.sum() and row["prevalence"] == label.mean()
    assert row["auroc"] == pytest.approx(roc_auc_score(label, probability))
    assert row["brier"] == pytest.approx(np.mean((probability - label) ** 2))
    assert row["ece"] == pytest.approx(
        multilabel.expected_calibration_error(label[:, None], probability[:, None])
    )
    assert row["f1/threshold"] == thresholds["f1"][1]
    assert row["f1/precision"] == pytest.approx(label[is_predicted].mean())
    assert row["f1/recall"] == pytest.approx(is_predicted[label].mean())
    assert row["f1/specificity"] == pytest.approx((~is_predicted[~label]).mean())
    assert row["f1/f1"] == pytest.approx(f1_score(label, is_predicted))
    assert row["f1/f1/low"] < row["f1/f1"] < row["f1/f1/high"]
    assert rows[-1]["n_positive"] == 0
    assert np.isnan(rows[-1]["auroc"]) and np.isnan(rows[-1]["f1/f1"])
    assert set(rows[0]) == set(rows[-1])


@pytest.mark.parametrize(
    "function",
    [
        lambda y, p: tune_thresholds(y, p, "f1"),
        multilabel.fit_calibration,
        lambda y, p: multilabel.scores(y, p, {}, 0),
        lambda y, p: multilabel.per_finding(y, p, {}),
        multilabel.macro_auroc,
    ],
)
def test_bad_arrays_are_rejected(function):
    y_true, y_prob = scored_fold()
    with pytest.raises(ValueError, match=r"\(300, 9\).*\(300, 8\)"):
        function(y_true, y_prob[:, 1:])
    y_prob[4, 2] = np.nan
    with pytest.raises(ValueError, match="nan in row 4, column 2"):
        function(y_true, y_prob)
    y_prob[4, 2] = 1.5
    with pytest.raises(ValueError, match="1.5 in row 4"):
        function(y_true, y_prob)


def test_labels_and_predictions_of_other_values_or_shapes_are_rejected():
    with pytest.raises(ValueError, match="only 0 and 1, got 2"):
        multilabel.f1_scores([[2]], [[1]])
    with pytest.raises(ValueError, match=r"\(1, 1\), got \(1, 2\)"):
        multilabel.f1_scores([[1]], [[1, 0]])
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        multilabel.scores(np.zeros((0, 3)), np.zeros((0, 3)), {}, 0)


def test_predictions_can_be_given_instead_of_thresholds():
    rng = np.random.default_rng(3)
    y_prob = rng.random((40, 3))
    y_true = rng.random((40, 3)) < y_prob
    thresholds = {"f1": np.array([0.3, 0.5, 0.7])}
    y_pred = {"f1": multilabel.apply_thresholds(y_prob, thresholds["f1"])}
    assert multilabel.scores(y_true, y_prob, y_pred, 10) == multilabel.scores(
        y_true, y_prob, thresholds, 10
    )
    rows = multilabel.per_finding(y_true, y_prob, y_pred)
    assert all(np.isnan(row.pop("f1/threshold")) for row in rows)
    expected = multilabel.per_finding(y_true, y_prob, thresholds)
    assert [row | {"f1/threshold": 0} for row in expected] == [
        row | {"f1/threshold": 0} for row in rows
    ]


def test_a_score_that_is_undefined_becomes_null():
    assert multilabel.without_nan({"a": float("nan"), "b": 0.5, "c": 3}) == {
        "a": None,
        "b": 0.5,
        "c": 3,
    }


def test_the_names_of_thresholds_and_calibration_are_those_of_their_modules():
    from ecg_siglip.metrics import calibration, thresholds

    assert multilabel.calibrate is calibration.calibrate
    assert multilabel.fit_calibration is calibration.fit_calibration
    assert multilabel.apply_thresholds is thresholds.apply_thresholds
    assert multilabel.tune_thresholds is thresholds.tune_thresholds
