"""Chance is not reported as a difference; fast computations equal the direct ones."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from ecg_siglip.metrics import multilabel, paired_tests
from ecg_siglip.metrics.paired_tests import ModelOutput


def fold(n_records: int, n_findings: int, skill: float, seed: int = 0):
    """Make labels that are the same for a seed, and runs of a model with some skill."""
    y_true = np.random.default_rng(seed).random((n_records, n_findings)) < 0.2

    def run(number: int) -> ModelOutput:
        noise = np.random.default_rng([seed, number]).normal(size=y_true.shape)
        y_prob = expit(skill * (2 * y_true - 1) + noise)
        thresholds = {"fixed_0.5": np.full(n_findings, 0.5), "f1": np.full(n_findings, 0.6)}
        return ModelOutput(y_prob, thresholds)

    return y_true, run


def test_a_better_model_is_better_in_every_score():
    y_true, good = fold(300, 6, 1.0)
    _, bad = fold(300, 6, 0.0)
    result = paired_tests.compare_recipes(
        y_true, [good(1), good(2)], [bad(3), bad(4)], n_resamples=60
    )
    expected = {f"{r}/{k}" for r in ("fixed_0.5", "f1") for k in ("macro_f1", "macro_f1_min5")}
    expected |= {f"{r}/{k}" for r in ("fixed_0.5", "f1") for k in ("micro_f1", "samples_f1")}
    expected |= {f"macro_{k}{m}" for k in ("auroc", "auprc") for m in ("", "_min5")}
    assert set(result) == expected
    for name, row in result.items():
        assert 0 < row["low"] < row["difference"] < row["high"], name
        assert row["p"] == pytest.approx(1 / 61), name


def test_one_model_against_itself_differs_in_nothing():
    y_true, run = fold(120, 5, 1.0)
    for row in paired_tests.compare_recipes(y_true, [run(1)], [run(1)], n_resamples=20).values():
        assert row == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_exchanging_the_models_only_changes_the_sign():
    y_true, run = fold(120, 5, 1.0)
    forward = paired_tests.compare_recipes(y_true, [run(1)], [run(2)], n_resamples=40)
    backward = paired_tests.compare_recipes(y_true, [run(2)], [run(1)], n_resamples=40)
    for name, row in forward.items():
        assert backward[name]["difference"] == -row["difference"]
        assert (backward[name]["low"], backward[name]["high"]) == pytest.approx(
            (-row["high"], -row["low"])
        )
        assert backward[name]["p"] == row["p"]


def test_calibration_does_not_change_the_comparison_of_rankings():
    y_true, run = fold(150, 4, 1.0)
    other = ModelOutput(run(1).y_prob ** 3, run(1).thresholds)
    result = paired_tests.compare_recipes(y_true, [run(1)], [other], n_resamples=20)
    assert result["macro_auroc"] == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_the_permutation_equals_scoring_the_exchanged_outputs():
    y_true, run = fold(80, 4, 0.7)
    a, b = [run(1), run(2)], [run(3), run(4)]
    permuted = paired_tests._permuted(y_true, a, b, n_resamples=5, seed=3)
    swap_NR = np.random.default_rng(3).integers(2, size=(80, 5)).astype(bool)
    for r in range(5):
        swap = swap_NR[:, r, None]
        expected = {"f1/macro_f1": [], "f1/micro_f1": [], "f1/samples_f1": []}
        for one, other in zip(a, b, strict=True):
            y_pred = [x.y_prob >= x.thresholds["f1"] for x in (one, other)]
            first, second = np.where(swap, *y_pred[::-1]), np.where(swap, *y_pred)
            for name, score in (
                ("macro_f1", multilabel.macro_f1),
                ("micro_f1", multilabel.micro_f1),
                ("samples_f1", multilabel.samples_f1),
            ):
                expected[f"f1/{name}"].append(score(y_true, first) - score(y_true, second))
        for name, differences in expected.items():
            assert permuted[name][r] == pytest.approx(np.mean(differences)), name


def test_areas_with_ties_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, score = rng.random((90, 7)) < 0.3, rng.integers(0, 12, (90, 7)) / 12
    auroc, average_precision = paired_tests._areas(y_true, np.ones_like(y_true), score)
    for f in range(7):
        assert auroc[f] == pytest.approx(roc_auc_score(y_true[:, f], score[:, f]))
        assert average_precision[f] == pytest.approx(
            average_precision_score(y_true[:, f], score[:, f])
        )


def test_p_is_uniform_when_models_are_equally_good():
    p = []
    for seed in range(80):
        y_true, run = fold(60, 3, 0.5, seed)
        result = paired_tests.compare_recipes(y_true, [run(1)], [run(2)], n_resamples=99, seed=seed)
        p.append(result["fixed_0.5/micro_f1"]["p"])
    # Binomial(80, 0.1) exceeds 16 in one of 500 draws, the mean of 80 uniforms 0.5 +- 0.13 so too.
    assert np.mean(np.array(p) <= 0.1) <= 16 / 80
    assert 0.37 < np.mean(p) < 0.63


def test_the_mean_over_runs_includes_the_variance_between_seeds():
    y_true, run = fold(200, 5, 0.8)
    runs = [run(number) for number in range(1, 5)]
    scores = paired_tests.mean_scores(y_true, runs, n_resamples=200)
    each = [multilabel.macro_auroc(y_true, output.y_prob) for output in runs]
    assert scores["macro_auroc"]["mean"] == pytest.approx(np.mean(each))
    assert scores["macro_auroc"]["sd"] == pytest.approx(np.std(each, ddof=1))
    assert scores["macro_auroc"]["low"] < np.mean(each) < scores["macro_auroc"]["high"]
    # The same run twice has no variance between seeds, and a narrower interval than two runs that
    # differ widely.
    _, worse = fold(200, 5, 0.0)
    wide = paired_tests.mean_scores(y_true, [run(1), worse(1)], n_resamples=200)["macro_auroc"]
    narrow = paired_tests.mean_scores(y_true, [run(1), run(1)], n_resamples=200)["macro_auroc"]
    assert narrow["sd"] == 0
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_models_of_unequal_numbers_of_runs_have_an_interval_but_no_p():
    y_true, run = fold(100, 4, 0.8)
    row = paired_tests.compare_recipes(y_true, [run(1)], [run(2), run(3)], n_resamples=30)[
        "macro_auroc"
    ]
    assert np.isnan(row["p"])
    assert row["low"] < row["high"]


def test_differences_by_finding_are_those_of_the_scores():
    y_true, run = fold(100, 4, 0.8)
    y_true[:, 3] = False
    rows = paired_tests.finding_differences(y_true, [run(1)], [run(2)], "f1")
    y_pred = [run(i).y_prob >= 0.6 for i in (1, 2)]
    expected = multilabel.f1_scores(y_true, y_pred[0]) - multilabel.f1_scores(y_true, y_pred[1])
    assert [row["f1_difference"] for row in rows[:3]] == pytest.approx(expected[:3])
    assert np.isnan(rows[3]["f1_difference"])
    assert rows[0]["n_positive"] == y_true[:, 0].sum()


def test_a_model_without_runs_is_rejected():
    y_true, run = fold(20, 2, 1.0)
    with pytest.raises(ValueError, match="without a run"):
        paired_tests.compare_recipes(y_true, [], [run(1)])


def test_a_score_that_is_undefined_in_the_fold_has_no_p():
    y_true, run = fold(40, 3, 1.0)
    y_true[:] = False
    y_true[:3] = True  # below the 5 positives of the _min5 means
    result = paired_tests.compare_recipes(y_true, [run(1)], [run(2)], n_resamples=20)
    for name in ("macro_auroc_min5", "f1/macro_f1_min5"):
        assert np.isnan(result[name]["difference"])
        assert np.isnan(result[name]["p"])
    assert 0 < result["macro_auroc"]["p"] <= 1


def test_without_resamples_there_is_a_difference_and_no_p():
    y_true, run = fold(60, 3, 1.0)
    row = paired_tests.compare_recipes(y_true, [run(1)], [run(2)], n_resamples=0)["macro_auroc"]
    assert row["difference"] != 0
    assert np.isnan([row["p"], row["low"], row["high"]]).all()


def test_min5_and_rankings_are_exchanged_as_by_direct_computation():
    y_true, run = fold(80, 5, 0.7)
    y_true[:, 4] = False
    y_true[:3, 4] = True
    a, b = run(1), run(3)
    permuted = paired_tests._permuted(y_true, [a], [b], n_resamples=4, seed=5)
    swap_NR = np.random.default_rng(5).integers(2, size=(80, 4)).astype(bool)
    ranks = [np.argsort(np.argsort(x.y_prob, axis=0), axis=0) / 80 for x in (a, b)]
    y_pred = [x.y_prob >= x.thresholds["f1"] for x in (a, b)]
    for r in range(4):
        swap = swap_NR[:, r, None]
        first, second = np.where(swap, *y_pred[::-1]), np.where(swap, *y_pred)
        f1 = [multilabel.f1_scores(y_true, x)[:4].mean() for x in (first, second)]
        assert permuted["f1/macro_f1_min5"][r] == pytest.approx(f1[0] - f1[1])
        first, second = np.where(swap, *ranks[::-1]), np.where(swap, *ranks)
        for name, areas in (
            ("macro_auroc", multilabel.auroc_scores),
            ("macro_auprc", multilabel.auprc_scores),
        ):
            both = [areas(y_true, x) for x in (first, second)]
            assert permuted[name][r] == pytest.approx(both[0].mean() - both[1].mean())
            assert permuted[f"{name}_min5"][r] == pytest.approx(
                both[0][:4].mean() - both[1][:4].mean()
            )
