"""Exact intervals: known values, coverage, and folds of which every resample is the same."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.exact_intervals import (
    f1_interval,
    lowest_separation,
    proportion_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (5, 5), (3, 17), (40, 400)])
def test_a_proportion_has_the_interval_of_clopper_and_pearson(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert proportion_interval(k, n) == pytest.approx((expected.low, expected.high))


def test_known_values():
    low, high = proportion_interval([10, 0, 0], [10, 10, 0])
    assert low[:2] == pytest.approx([0.025**0.1, 0])  # 0.6915, the rule of ten right of ten
    assert high[:2] == pytest.approx([1, 1 - 0.025**0.1])
    assert np.isnan([low[2], high[2]]).all()
    low, high = f1_interval(5, 5, 5)
    share = 0.025**0.2
    assert (low, high) == (pytest.approx(2 * share / (1 + share)), 1)
    assert np.isnan(f1_interval(0, 3, 0)).all()  # no positive: no F1
    assert f1_interval(0, 0, 4)[0] == 0 and f1_interval(0, 0, 4)[1] < 1
    assert lowest_separation(5, 200) == pytest.approx(0.025**0.2)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
def test_intervals_of_a_proportion_cover_it(share):
    """Summed over all outcomes, not drawn: the coverage itself."""
    for n in (1, 5, 20):
        low, high = proportion_interval(np.arange(n + 1), np.full(n + 1, n))
        covered = (low <= share) & (share <= high)
        assert binom.pmf(np.arange(n + 1), n, share)[covered].sum() >= 0.95


@pytest.mark.parametrize("cells", [(0.1, 0.05, 0.05), (0.3, 0.0, 0.02), (0.02, 0.1, 0.1)])
def test_intervals_of_an_f1_cover_it(cells):
    """Over all outcomes of 12 records: true positive, false positive, false negative, the rest."""
    tp, fp, fn = cells
    true_f1, n = 2 * tp / (2 * tp + fp + fn), 12
    outcomes = np.array([x for x in product(range(n + 1), repeat=3) if sum(x) <= n])
    low, high = f1_interval(
        outcomes[:, 0], outcomes[:, 0] + outcomes[:, 1], outcomes[:, 0] + outcomes[:, 2]
    )
    counts = np.column_stack([outcomes, n - outcomes.sum(axis=1)])
    probability = multinomial.pmf(counts, n, [*cells, 1 - sum(cells)])
    has_f1 = ~np.isnan(low)
    covered = has_f1 & (low <= true_f1) & (true_f1 <= high)
    assert probability[covered].sum() / probability[has_f1].sum() >= 0.95


def perfect_fold(n=12, n_findings=2):
    """Each finding in half of the records, and every prediction right."""
    y_true = np.arange(n)[:, None] % 2 == np.arange(n_findings) % 2
    return y_true, np.where(y_true, 0.9, 0.1)


def test_a_perfect_fold_has_intervals_with_a_width():
    y_true, y_prob = perfect_fold()
    scores = multilabel.scores(y_true, y_prob, {"half": np.full(2, 0.5)}, n_bootstrap=200)
    for name in ("half/macro_f1", "half/macro_f1_min5", "half/micro_f1", "half/samples_f1"):
        assert scores[name] == 1
        assert 0.3 < scores[f"{name}/low"] < scores[f"{name}/high"] == 1
    share = 0.0125 ** (1 / 6)  # two findings with six positives each
    assert scores["half/macro_f1/low"] == pytest.approx(2 * share / (1 + share))
    assert scores["macro_auroc/low"] == pytest.approx(share)
    assert scores["half/samples_f1/low"] == pytest.approx(0.025 ** (1 / 12))
    assert np.isnan(scores["macro_auprc/low"])  # an interval of width 0 would be wrong


def test_a_fold_that_is_all_wrong_has_an_upper_end():
    y_true, y_prob = perfect_fold()
    scores = multilabel.scores(y_true, 1 - y_prob, {"half": np.full(2, 0.5)}, n_bootstrap=200)
    assert scores["half/macro_f1"] == 0 == scores["half/macro_f1/low"]
    assert 0 < scores["half/macro_f1/high"] < 0.7
    assert 0 == scores["half/micro_f1/low"] < scores["half/micro_f1/high"] < 0.7


def test_other_intervals_are_those_of_the_bootstrap():
    rng = np.random.default_rng(0)
    y_true = rng.random((200, 3)) < 0.3
    y_prob = np.clip(0.3 * y_true + 0.7 * rng.random((200, 3)), 0, 1)
    thresholds = {"half": np.full(3, 0.5)}
    scores = multilabel.scores(y_true, y_prob, thresholds, n_bootstrap=100)
    curves = multilabel.resampled_scores(y_true, y_prob, thresholds, 100, 0)
    ends = multilabel.interval(curves["half/macro_f1"][1:])
    assert (scores["half/macro_f1/low"], scores["half/macro_f1/high"]) == ends


def test_each_finding_has_exact_intervals():
    y_true, y_prob = perfect_fold()
    [row, _] = multilabel.per_finding(y_true, y_prob, {"half": np.full(2, 0.5)})
    for name in ("precision", "recall", "specificity"):
        assert row[f"half/{name}"] == 1
        assert row[f"half/{name}/low"] == pytest.approx(0.025 ** (1 / 6))
    assert (row["half/f1/low"], row["half/f1/high"]) == f1_interval(6, 6, 6)
