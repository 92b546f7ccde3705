"""Pairs whose label is unknown are not scored: each score is that of the known pairs alone."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ecg_siglip.metrics import multilabel, paired_tests, retrieval
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.operating_points import operating_thresholds, sensitivity_and_precision
from ecg_siglip.metrics.summary import epoch_scores
from ecg_siglip.metrics.validation import labels

N, F = 120, 6


@pytest.fixture(scope="module")
def fold():
    """Labels with 30 % unknown (float, NaN), labels before, and probabilities with ties."""
    rng = np.random.default_rng(4)
    whole = rng.random((N, F)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.4]
    y_prob = np.round(0.6 * rng.random((N, F)) + 0.4 * whole * rng.random((N, F)), 2)
    y_true = np.where(rng.random((N, F)) < 0.3, np.nan, whole)
    y_true[7] = np.nan  # a record without any known label
    return y_true, whole, y_prob


def column(y_true, y_prob, f):
    """The known records of one finding, as a fold of its own."""
    known = ~np.isnan(y_true[:, f])
    return y_true[known, f][:, None] > 0, y_prob[known, f][:, None]


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b, equal_nan=True)


def tuned(y_true, y_prob):
    return {rule: multilabel.tune_thresholds(y_true, y_prob, rule) for rule in THRESHOLD_RULES}


def test_numbers_without_nan_give_the_same_bits_as_bool(fold):
    _, whole, y_prob = fold
    results = []
    for y_true in (whole, whole.astype(np.float32)):
        calibration = multilabel.fit_calibration(y_true, y_prob)
        thresholds = tuned(y_true, y_prob)
        run = paired_tests.ModelOutput(y_prob, thresholds)
        other = paired_tests.ModelOutput(y_prob[:, ::-1], thresholds)
        results.append(
            [
                calibration,
                thresholds,
                operating_thresholds(y_prob, y_true),
                multilabel.scores(y_true, y_prob, thresholds, 30),
                multilabel.per_finding(y_true, y_prob, thresholds),
                paired_tests.compare_recipes(y_true, [run], [other], 30),
                paired_tests.mean_scores(y_true, [run], 30),
                epoch_scores(y_true, y_prob),
            ]
        )
    assert same(*results)
    assert same(results[0][2], operating_thresholds(y_prob))


@pytest.mark.parametrize("rule", ["f1", "prevalence", "expected_f1", "fixed_0.5"])
def test_thresholds_are_those_of_the_known_records_of_each_finding(fold, rule):
    y_true, _, y_prob = fold
    thresholds = multilabel.tune_thresholds(y_true, y_prob, rule)
    for f in range(F):
        assert thresholds[f] == multilabel.tune_thresholds(*column(y_true, y_prob, f), rule)[0]


def test_the_global_threshold_has_the_largest_macro_f1_of_the_known_pairs(fold):
    y_true, _, y_prob = fold
    chosen = multilabel.tune_thresholds(y_true, y_prob, "global")
    candidates = np.unique(y_prob)
    values = [multilabel.macro_f1(y_true, y_prob >= each) for each in candidates]
    assert len(set(chosen)) == 1
    assert multilabel.macro_f1(y_true, y_prob >= chosen) == pytest.approx(max(values))


def test_operating_points_and_calibration_are_those_of_the_known_records(fold):
    y_true, _, y_prob = fold
    y_prob = np.where(y_prob < 0.1, 0.0, y_prob)  # ties with the lowest probability possible
    points = operating_thresholds(y_prob, y_true)
    calibration = multilabel.fit_calibration(y_true, y_prob)
    for f in range(F):
        labels_f, prob_f = column(y_true, y_prob, f)
        for name, values in operating_thresholds(prob_f).items():
            assert points[name][f] == values[0], name
        own = multilabel.fit_calibration(labels_f, prob_f)[0]
        assert calibration[f] == pytest.approx(own, abs=1e-6)


def test_a_finding_without_a_known_label_has_thresholds_and_no_calibration(fold):
    y_true, _, y_prob = fold
    y_true = y_true.copy()
    y_true[:, 2] = np.nan
    assert multilabel.fit_calibration(y_true, y_prob)[2].tolist() == [1, 0]
    thresholds = tuned(y_true, y_prob)
    assert not (y_prob[:, 2] >= thresholds["f1"][2]).any()
    assert not (y_prob[:, 2] >= thresholds["prevalence"][2]).any()
    alone, none = y_prob[:, [2]], np.zeros((N, 1), bool)
    assert thresholds["expected_f1"][2] == multilabel.tune_thresholds(none, alone, "expected_f1")
    for name, values in operating_thresholds(y_prob, y_true).items():
        assert values[2] == operating_thresholds(alone)[name]
    row = multilabel.per_finding(y_true, y_prob, thresholds)[2]
    assert (row["n_positive"], row["n_known"]) == (0, 0)
    undefined = ("prevalence", "auroc", "auprc", "ece", "brier", "f1/f1", "f1/specificity")
    assert np.isnan([row[name] for name in undefined]).all()
    rest = [0, 1, 3, 4, 5]
    scores = multilabel.scores(y_true, y_prob, thresholds, 0)
    chosen = {rule: values[rest] for rule, values in thresholds.items()}
    without = multilabel.scores(y_true[:, rest], y_prob[:, rest], chosen, 0)
    for name in ("macro_auroc", "macro_auprc_min5", "f1/macro_f1", "f1/micro_f1", "f1/samples_f1"):
        assert scores[name] == pytest.approx(without[name])


def test_the_row_of_a_finding_is_that_of_its_known_records(fold):
    y_true, _, y_prob = fold
    thresholds = tuned(y_true, y_prob)
    for f, row in enumerate(multilabel.per_finding(y_true, y_prob, thresholds)):
        labels_f, prob_f = column(y_true, y_prob, f)
        own = {rule: values[[f]] for rule, values in thresholds.items()}
        expected = multilabel.per_finding(labels_f, prob_f, own)[0]
        assert row.pop("n_known") == len(labels_f)
        assert row == pytest.approx(expected, nan_ok=True)


def test_scores_are_those_of_scikit_learn_on_the_known_pairs(fold):
    y_true, _, y_prob = fold
    known, y_pred = ~np.isnan(y_true), y_prob >= 0.5
    scores = multilabel.scores(y_true, y_prob, {"half": np.full(F, 0.5)}, 0)
    columns = [column(y_true, y_prob, f) for f in range(F)]
    expected = {
        "macro_auroc": np.mean([roc_auc_score(y, p) for y, p in columns]),
        "macro_auprc": np.mean([average_precision_score(y, p) for y, p in columns]),
        "half/macro_f1": np.mean([f1_score(y, p >= 0.5) for y, p in columns]),
        "half/micro_f1": f1_score(y_true[known] > 0, y_pred[known]),
        "micro_auprc": average_precision_score(y_true[known] > 0, y_prob[known]),
    }
    records = [i for i in range(N) if known[i].any()]
    expected["half/samples_f1"] = np.mean(
        [f1_score(y_true[i, known[i]] > 0, y_pred[i, known[i]], zero_division=1) for i in records]
    )
    bins = np.minimum((y_prob[known] * 15).astype(int), 14)
    gaps = [(y_prob[known] - y_true[known])[bins == b].sum() for b in range(15)]
    expected["ece"] = np.abs(gaps).sum() / known.sum()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    assert multilabel.samples_f1(y_true, y_pred) == pytest.approx(expected["half/samples_f1"])
    assert multilabel.micro_f1(y_true, y_pred) == pytest.approx(expected["half/micro_f1"])
    assert multilabel.macro_f1(y_true, y_pred) == pytest.approx(expected["half/macro_f1"])
    assert multilabel.expected_calibration_error(y_true, y_prob) == pytest.approx(expected["ece"])
    sensitivity, precision = sensitivity_and_precision(y_true, y_pred)
    rows = multilabel.per_finding(y_true, y_prob, {"half": np.full(F, 0.5)})
    assert sensitivity == pytest.approx([row["half/recall"] for row in rows])
    assert precision == pytest.approx([row["half/precision"] for row in rows])


def test_what_is_under_an_unknown_label_changes_no_score(fold):
    y_true, _, y_prob = fold
    other = np.where(np.isnan(y_true), 1 - y_prob, y_prob)
    thresholds = tuned(y_true, y_prob)
    results = []
    for each in (y_prob, other):
        run = paired_tests.ModelOutput(each, thresholds)
        baseline = paired_tests.ModelOutput(y_prob[::-1], thresholds)
        results.append(
            [
                multilabel.scores(y_true, each, thresholds, 20),
                multilabel.per_finding(y_true, each, thresholds),
                multilabel.fit_calibration(y_true, each),
                tuned(y_true, each),
                operating_thresholds(each, y_true),
                paired_tests.compare_recipes(y_true, [run], [baseline], 20),
                paired_tests.finding_differences(y_true, [run], [baseline], "f1"),
            ]
        )
    assert same(*results)


def test_a_resample_is_the_fold_with_its_records_drawn(fold):
    y_true, _, y_prob = fold
    thresholds = {"half": np.full(F, 0.5)}
    curves = multilabel.resampled_scores(y_true, y_prob, thresholds, 3, seed=2)
    draws = np.random.default_rng(2).integers(N, size=(3, N))
    for b, draw in enumerate(draws, start=1):
        drawn = multilabel.scores(y_true[draw], y_prob[draw], thresholds, 0)
        for name in ("macro_auroc", "macro_auprc", "ece", "micro_auprc", "half/samples_f1"):
            assert curves[name][b] == pytest.approx(drawn[name]), name


def test_the_permutation_test_exchanges_outputs_of_the_known_pairs(fold):
    y_true, _, y_prob = fold
    rng = np.random.default_rng(6)
    thresholds = {"half": np.full(F, 0.5)}
    other = np.round(rng.random((N, F)), 2)
    a, b = (paired_tests.ModelOutput(each, thresholds) for each in (y_prob, other))
    permuted = paired_tests._permuted(y_true, [a], [b], n_resamples=4, seed=5)
    swaps = np.random.default_rng(5).integers(2, size=(N, 4)) > 0
    for r in range(4):
        swap = swaps[:, r, None]
        first, second = np.where(swap, other, y_prob), np.where(swap, y_prob, other)
        for name, score in (
            ("half/macro_f1", multilabel.macro_f1),
            ("half/micro_f1", multilabel.micro_f1),
            ("half/samples_f1", multilabel.samples_f1),
        ):
            expected = score(y_true, first >= 0.5) - score(y_true, second >= 0.5)
            assert permuted[name][r] == pytest.approx(expected), name


def test_areas_of_the_permutation_test_are_those_of_the_known_records(fold):
    y_true, _, y_prob = fold
    is_positive, known = labels("y_true", y_true)
    areas = paired_tests._areas(is_positive, known, np.where(known, y_prob, -1))
    for f in range(F):
        y, p = column(y_true, y_prob, f)
        assert areas[0, f] == pytest.approx(roc_auc_score(y, p))
        assert areas[1, f] == pytest.approx(average_precision_score(y, p))


def test_entailment_counts_the_known_positives(fold):
    y_true, _, _ = fold
    rng = np.random.default_rng(1)
    text, ecg, prompt = (rng.normal(size=(n, 4)) for n in (N, N, F))
    codes = ["NORM", "AFIB", "IMI", "LVH", "PVC", "SR"]
    rows = retrieval.entailment_rows(text, ecg, prompt, y_true, {code: code for code in codes})
    for row in rows:
        y, similarity = column(y_true, text @ prompt.T, codes.index(row["code"]))
        assert row["n_positive"] == y.sum()
        assert row["report_auroc"] == pytest.approx(roc_auc_score(y, similarity))


@pytest.mark.parametrize("bad", [2.0, -1.0, np.inf, 0.5])
def test_labels_are_0_1_or_nan(bad):
    with pytest.raises(ValueError, match="y_true: expected only 0, 1 and NaN"):
        labels("y_true", [[0.0, np.nan], [1.0, bad]])


def test_a_label_that_is_nan_is_unknown_and_false():
    y_true, known = labels("y_true", [[0.0, np.nan], [1.0, 0.0]])
    assert y_true.tolist() == [[False, False], [True, False]]
    assert known.tolist() == [[True, False], [True, True]]


def test_a_fold_without_any_known_label_has_no_score():
    y_true, y_prob = np.full((4, 2), np.nan), np.full((4, 2), 0.5)
    scores = multilabel.scores(y_true, y_prob, tuned(y_true, y_prob), 3)
    assert np.isnan([scores["ece"], scores["macro_auroc"], scores["f1/samples_f1"]]).all()
    assert np.isnan(multilabel.samples_f1(y_true, y_prob > 0))
