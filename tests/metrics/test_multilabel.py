"""Thresholds and calibration do what they say; every score equals scikit-learn's."""

import time

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ecg_siglip.metrics import calibration, multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import apply_thresholds, tune_thresholds


def fold(n_records=300, n_findings=9, seed=0, decimals=2):
    """A fold with common, rare and absent findings and, by rounding, many equal scores."""
    rng = np.random.default_rng(seed)
    prevalence = np.geomspace(0.6, 0.008, n_findings - 1)
    y_true = np.zeros((n_records, n_findings), dtype=bool)
    y_true[:, :-1] = rng.random((n_records, n_findings - 1)) < prevalence
    base = np.log(np.append(prevalence, 0.01))
    y_prob = expit(base + rng.normal(0, 1, y_true.shape) + 1.5 * y_true)
    return y_true, y_prob.round(decimals)


def sklearn_f1(y_true, y_pred, average):
    return f1_score(y_true, y_pred, average=average, zero_division=1)


# ---------------------------------------------------------------- thresholds


def test_f1_thresholds_beat_every_other_threshold_on_the_tuning_fold():
    y_true, y_prob = fold()
    thresholds = tune_thresholds(y_true, y_prob, "f1")
    best = multilabel.f1_scores(y_true, apply_thresholds(y_prob, thresholds))
    for candidate in np.linspace(0, 1, 201):
        other = multilabel.f1_scores(y_true, y_prob >= candidate)
        assert not (other > best + 1e-12).any()


def test_f1_threshold_lies_midway_between_neighbouring_scores():
    y_prob = np.array([[0.9], [0.7], [0.4], [0.1]])
    y_true = np.array([[1], [1], [0], [0]])
    assert tune_thresholds(y_true, y_prob, "f1") == pytest.approx([0.55])
    assert tune_thresholds(y_true, y_prob, "prevalence") == pytest.approx([0.55])
    assert tune_thresholds(y_true, y_prob, "global") == pytest.approx([0.55])


@pytest.mark.parametrize("rule", ["f1", "prevalence"])
@pytest.mark.parametrize("highest", [0.3, np.float32(1 - 2**-24), 1.0])
def test_without_positives_nothing_seen_is_called(rule, highest):
    y_prob = np.array([[0.0], [0.1], [highest]])
    thresholds = tune_thresholds(np.zeros((3, 1)), y_prob, rule)
    assert not apply_thresholds(y_prob, thresholds).any()
    if highest < 0.5:
        assert thresholds == pytest.approx([(1 + highest) / 2])


def test_all_positive_calls_all_seen():
    y_prob = np.array([[0.0], [0.5]])
    for rule in ("f1", "prevalence", "global"):
        assert apply_thresholds(y_prob, tune_thresholds([[1], [1]], y_prob, rule)).all()


def test_expected_f1_is_the_best_threshold_of_calibrated_probabilities():
    """On a fold far larger than any tuning fold, where labels settle what is best."""
    rng = np.random.default_rng(0)
    y_prob = expit(rng.normal([-1.0, -2.5], [1.5, 1.2], (200_000, 2)))
    y_true = rng.random(y_prob.shape) < y_prob
    expected = tune_thresholds(np.zeros_like(y_true[:400]), y_prob[:400], "expected_f1")
    best = multilabel.f1_scores(y_true, y_prob >= tune_thresholds(y_true, y_prob, "f1"))
    assert multilabel.f1_scores(y_true, y_prob >= expected) == pytest.approx(best, abs=0.01)
    # The threshold is half the F1 that it reaches.
    assert expected == pytest.approx(best / 2, abs=0.03)


def test_expected_f1_never_calls_what_is_unlikely():
    y_prob = np.full((50, 1), 0.02)
    assert tune_thresholds(y_prob > 1, y_prob, "expected_f1") == 0.1


def test_prevalence_calls_as_many_as_are_positive():
    y_true, y_prob = fold(decimals=16)
    called = apply_thresholds(y_prob, tune_thresholds(y_true, y_prob, "prevalence"))
    np.testing.assert_array_equal(called.sum(axis=0), y_true.sum(axis=0))


def test_prevalence_never_splits_equal_scores():
    y_prob = np.array([[0.8], [0.5], [0.5], [0.5], [0.1]])
    y_true = np.array([[1], [1], [1], [0], [0]])
    called = apply_thresholds(y_prob, tune_thresholds(y_true, y_prob, "prevalence"))
    assert called.sum() == 4


def test_global_is_one_threshold_with_the_largest_macro_f1():
    y_true, y_prob = fold()
    thresholds = tune_thresholds(y_true, y_prob, "global")
    assert len(set(thresholds)) == 1
    best = multilabel.macro_f1(y_true, apply_thresholds(y_prob, thresholds))
    scan = [multilabel.macro_f1(y_true, y_prob >= t) for t in np.linspace(0, 1, 201)]
    assert best >= max(scan) - 1e-12
    assert best == pytest.approx(max(scan))


def test_neighbouring_doubles_are_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    thresholds = tune_thresholds([[0], [1]], [[low], [high]], "f1")
    np.testing.assert_array_equal(apply_thresholds([[low], [high]], thresholds), [[0], [1]])


# ---------------------------------------------------------------- calibration


def test_calibration_finds_a_known_slope_and_intercept():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (50_000, 1))
    y_true = rng.random(logits.shape) < expit(0.6 * logits - 0.8)
    (slope, intercept) = multilabel.fit_calibration(y_true, expit(logits))[0]
    assert slope == pytest.approx(0.6, abs=0.03)
    assert intercept == pytest.approx(-0.8, abs=0.05)


def test_calibration_lowers_the_loss_on_other_records_and_keeps_ranks():
    def sample(seed):
        rng = np.random.default_rng(seed)
        truth = rng.normal(-2, 1.5, (3000, 6))
        return rng.random(truth.shape) < expit(truth), expit(1.8 * truth + 1)

    def loss(y_true, y_prob):
        return -np.log(np.where(y_true, y_prob, 1 - y_prob)).mean()

    calibration = multilabel.fit_calibration(*sample(0))
    y_true, y_prob = sample(1)
    calibrated = multilabel.calibrate(y_prob, calibration)
    assert loss(y_true, calibrated) < 0.95 * loss(y_true, y_prob)
    error = multilabel.expected_calibration_error
    assert error(y_true, calibrated) < 0.5 * error(y_true, y_prob)
    np.testing.assert_array_equal(np.argsort(calibrated, axis=0), np.argsort(y_prob, axis=0))


@pytest.mark.parametrize("n_positive", range(6))
def test_calibration_barely_moves_rare_findings(n_positive):
    """Even when said to be three positives, whatever their scores, none becomes twice as likely."""
    y_prob = expit(np.random.default_rng(n_positive).normal(-7, 1, (2000, 1)))
    assert 2.5 < y_prob.sum() < 3.5
    y_true = np.zeros((2000, 1), dtype=bool)
    y_true[np.argsort(-y_prob[:, 0])[10 : 10 + n_positive]] = True
    moved = multilabel.calibrate(y_prob, multilabel.fit_calibration(y_true, y_prob)) / y_prob
    assert 0.5 < moved.min() < moved.max() < 2


def test_calibration_slope_stays_positive_for_an_inverted_finding():
    rng = np.random.default_rng(0)
    y_true = rng.random((2000, 1)) < 0.5
    y_prob = expit(rng.normal(0, 1, y_true.shape) - 3 * y_true)
    assert multilabel.fit_calibration(y_true, y_prob)[0, 0] == pytest.approx(calibration.MIN_SLOPE)


def test_calibration_takes_saturated_probabilities():
    y_prob = np.array([[0.0], [1e-30], [0.5], [1.0]])
    calibration = multilabel.fit_calibration([[0], [0], [1], [1]], y_prob)
    calibrated = multilabel.calibrate(y_prob, calibration)
    assert np.isfinite(calibration).all()
    assert (np.diff(calibrated[:, 0]) > 0).all()


def test_calibration_of_the_full_vocabulary_is_fast():
    y_true, y_prob = fold(2000, 71, decimals=16)
    start = time.process_time()
    multilabel.fit_calibration(y_true, y_prob)
    assert time.process_time() - start < 2


# ---------------------------------------------------------------- scores


def test_f1_equals_scikit_learn():
    y_true, y_prob = fold()
    y_pred = y_prob >= 0.4
    seen = y_true.any(axis=0)
    each = multilabel.f1_scores(y_true, y_pred)
    theirs = f1_score(y_true[:, seen], y_pred[:, seen], average=None, zero_division=0)
    np.testing.assert_allclose(each[seen], theirs)
    assert np.isnan(each[~seen]).all() and (~seen).any()
    assert multilabel.macro_f1(y_true, y_pred) == pytest.approx(
        sklearn_f1(y_true[:, seen], y_pred[:, seen], "macro")
    )
    assert multilabel.micro_f1(y_true, y_pred) == pytest.approx(sklearn_f1(y_true, y_pred, "micro"))
    assert multilabel.samples_f1(y_true, y_pred) == pytest.approx(
        sklearn_f1(y_true, y_pred, "samples")
    )


def test_samples_f1_counts_a_rightly_empty_record_as_right():
    assert multilabel.samples_f1([[0, 0], [1, 0]], [[0, 0], [0, 0]]) == 0.5


def test_ranking_equals_scikit_learn_with_ties():
    y_true, y_prob = fold(decimals=1)
    seen = y_true.any(axis=0)
    for ours, theirs in (
        (multilabel.auroc_scores(y_true, y_prob), roc_auc_score),
        (multilabel.auprc_scores(y_true, y_prob), average_precision_score),
    ):
        np.testing.assert_allclose(
            ours[seen], theirs(y_true[:, seen], y_prob[:, seen], average=None)
        )
        assert np.isnan(ours[~seen]).all()


def test_auroc_needs_a_negative():
    assert np.isnan(multilabel.auroc_scores([[1], [1]], [[0.2], [0.9]])).all()
    assert np.isnan(multilabel.macro_auroc([[1], [1]], [[0.2], [0.9]]))


def naive_scores(y_true, y_prob, thresholds, enough):
    """What `scores` says, written with scikit-learn."""
    found = {}
    seen = y_true.any(axis=0)
    both = seen & ~y_true.all(axis=0)
    for rule, values in thresholds.items():
        y_pred = y_prob >= values
        each = f1_score(y_true, y_pred, average=None, zero_division=0)
        found[f"{rule}/macro_f1"] = each[seen].mean()
        found[f"{rule}/macro_f1_min5"] = each[seen & enough].mean()
        found[f"{rule}/micro_f1"] = sklearn_f1(y_true, y_pred, "micro")
        found[f"{rule}/samples_f1"] = sklearn_f1(y_true, y_pred, "samples")
    for name, chosen in (("", slice(None)), ("_min5", enough)):
        kept = np.zeros(len(seen), dtype=bool)
        kept[chosen] = True
        for score, function, ask in (
            ("macro_auroc", roc_auc_score, both & kept),
            ("macro_auprc", average_precision_score, seen & kept),
        ):
            each = [function(y_true[:, f], y_prob[:, f]) for f in np.flatnonzero(ask)]
            found[score + name] = np.mean(each)
    found["micro_auprc"] = average_precision_score(y_true.ravel(), y_prob.ravel())
    bins = np.digitize(y_prob.ravel(), np.arange(1, 15) / 15)
    truth, probability = y_true.ravel(), y_prob.ravel()
    found["ece"] = sum(
        (bins == b).mean() * abs(truth[bins == b].mean() - probability[bins == b].mean())
        for b in set(bins)
    )
    return found


def test_scores_and_their_intervals_equal_naive_resampling():
    """The weighted bootstrap is the naive one: same draws, scikit-learn on each, with ties."""
    n_bootstrap, seed = 25, 3
    y_true, y_prob = fold(60, 7, seed=5)
    thresholds = {rule: tune_thresholds(*fold(60, 7, seed=6), rule) for rule in THRESHOLD_RULES}
    enough = y_true.sum(axis=0) >= 5
    assert 0 < enough.sum() < y_true.any(axis=0).sum() < y_true.shape[1]
    ours = multilabel.scores(y_true, y_prob, thresholds, n_bootstrap, seed=seed)

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
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_large_folds_are_scored_in_pieces_with_the_same_result(monkeypatch):
    y_true, y_prob = fold(200)
    thresholds = {"fixed_0.5": np.full(9, 0.5)}
    whole = multilabel.scores(y_true, y_prob, thresholds, 30)
    monkeypatch.setattr(multilabel, "BLOCK", 1500)
    assert multilabel.scores(y_true, y_prob, thresholds, 30) == pytest.approx(whole, rel=1e-12)


def test_same_seed_same_interval_and_none_without_resamples():
    y_true, y_prob = fold()
    thresholds = {"fixed_0.5": np.full(9, 0.5)}
    first, again, other = (multilabel.scores(y_true, y_prob, thresholds, 50, s) for s in (0, 0, 1))
    assert first == again
    assert first["macro_auroc"] == other["macro_auroc"]
    assert first["macro_auroc/low"] != other["macro_auroc/low"]
    plain = multilabel.scores(y_true, y_prob, thresholds, 0)
    points = {k: v for k, v in first.items() if not k.endswith(("/low", "/high"))}
    assert plain == pytest.approx(points, rel=1e-12)


def test_expected_calibration_error_by_hand():
    """Bin of 0.1: says 0.1, is 0.5. Bin of 0.9: says 0.9, is 1. Half of the pairs each."""
    y_true, y_prob = [[1, 1], [0, 1]], [[0.1, 0.9], [0.1, 0.9]]
    assert multilabel.expected_calibration_error(y_true, y_prob) == pytest.approx(0.25)
    assert multilabel.expected_calibration_error([[1]], [[1.0]]) == 0


def test_per_finding_rows():
    y_true, y_prob = fold()
    thresholds = {rule: tune_thresholds(y_true, y_prob, rule) for rule in THRESHOLD_RULES}
    rows = multilabel.per_finding(y_true, y_prob, thresholds, n_bootstrap=100)
    assert len(rows) == 9
    row = rows[1]
    truth, probability = y_true[:, 1], y_prob[:, 1]
    called = probability >= thresholds["f1"][1]
    assert row["n_positive"] == truth.sum() and row["prevalence"] == truth.mean()
    assert row["auroc"] == pytest.approx(roc_auc_score(truth, probability))
    assert row["brier"] == pytest.approx(np.mean((probability - truth) ** 2))
    assert row["ece"] == pytest.approx(
        multilabel.expected_calibration_error(truth[:, None], probability[:, None])
    )
    assert row["f1/threshold"] == thresholds["f1"][1]
    assert row["f1/precision"] == pytest.approx(truth[called].mean())
    assert row["f1/recall"] == pytest.approx(called[truth].mean())
    assert row["f1/specificity"] == pytest.approx((~called[~truth]).mean())
    assert row["f1/f1"] == pytest.approx(f1_score(truth, called))
    assert row["f1/f1/low"] < row["f1/f1"] < row["f1/f1/high"]
    assert rows[-1]["n_positive"] == 0
    assert np.isnan(rows[-1]["auroc"]) and np.isnan(rows[-1]["f1/f1"])
    assert set(rows[0]) == set(rows[-1])
    assert not any("/low" in key for key in multilabel.per_finding(y_true, y_prob, thresholds)[0])


# ---------------------------------------------------------------- doors


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
def test_bad_arrays_are_refused(function):
    y_true, y_prob = fold()
    with pytest.raises(ValueError, match=r"\(300, 9\).*\(300, 8\)"):
        function(y_true, y_prob[:, 1:])
    y_prob[4, 2] = np.nan
    with pytest.raises(ValueError, match="nan in row 4, column 2"):
        function(y_true, y_prob)
    y_prob[4, 2] = 1.5
    with pytest.raises(ValueError, match="1.5 in row 4"):
        function(y_true, y_prob)


def test_other_bad_input_is_refused():
    y_true, y_prob = fold()
    with pytest.raises(
        ValueError, match="expected one of fixed_0.5, f1, prevalence, global, expected_f1"
    ):
        tune_thresholds(y_true, y_prob, "best")
    with pytest.raises(ValueError, match=r"expected shape \(9,\), got \(8,\)"):
        apply_thresholds(y_prob, np.zeros(8))
    with pytest.raises(ValueError, match="NaN"):
        apply_thresholds(y_prob, np.full(9, np.nan))
    with pytest.raises(ValueError, match=r"expected shape \(9, 2\), got \(2, 9\)"):
        multilabel.calibrate(y_prob, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="slopes above 0"):
        multilabel.calibrate(y_prob, np.zeros((9, 2)))
    with pytest.raises(ValueError, match="only 0 and 1, got 2"):
        multilabel.f1_scores([[2]], [[1]])
    with pytest.raises(ValueError, match=r"\(1, 1\), got \(1, 2\)"):
        multilabel.f1_scores([[1]], [[1, 0]])
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        multilabel.scores(np.zeros((0, 3)), np.zeros((0, 3)), {}, 0)


def test_what_is_called_can_stand_in_place_of_thresholds():
    rng = np.random.default_rng(3)
    y_prob = rng.random((40, 3))
    y_true = rng.random((40, 3)) < y_prob
    thresholds = {"f1": np.array([0.3, 0.5, 0.7])}
    called = {"f1": multilabel.apply_thresholds(y_prob, thresholds["f1"])}
    assert multilabel.scores(y_true, y_prob, called, 10) == multilabel.scores(
        y_true, y_prob, thresholds, 10
    )
    rows = multilabel.per_finding(y_true, y_prob, called)
    assert all(np.isnan(row.pop("f1/threshold")) for row in rows)
    expected = multilabel.per_finding(y_true, y_prob, thresholds)
    assert [row | {"f1/threshold": 0} for row in expected] == [
        row | {"f1/threshold": 0} for row in rows
    ]
