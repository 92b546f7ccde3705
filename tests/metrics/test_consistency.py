"""The consistent set of findings is the heaviest one, whatever the graph of exclusions is."""

import itertools
import time

import numpy as np
import pytest

from ecg_siglip.metrics import consistency
from ecg_siglip.metrics.consistency import (
    consistent,
    contradictory,
    evidence,
    strongest_exclusion,
)


def drawn(seed, n_records=20, n_findings=7):
    rng = np.random.default_rng(seed)
    exclusive = np.triu(rng.random((n_findings, n_findings)) < rng.choice([0.2, 0.5, 0.9]), 1)
    present = rng.random((n_records, n_findings)) < 0.7
    weights = rng.random((n_records, n_findings)).round(1)
    return present, weights, exclusive | exclusive.T


def nothing(exclusive):
    return np.zeros_like(exclusive)


def is_consistent(members, exclusive):
    return not any(exclusive[a, b] for a, b in itertools.combinations(members, 2))


@pytest.mark.parametrize("seed", range(30))
def test_the_set_is_that_of_an_exhaustive_search(seed):
    present, weights, exclusive = drawn(seed)
    chosen = consistent(present, weights, exclusive, nothing(exclusive))
    assert (chosen <= present).all() and not contradictory(chosen, exclusive).any()
    for row in range(len(present)):
        candidates = np.flatnonzero(present[row])
        best = max(
            weights[row, list(some)].sum()
            for n in range(len(candidates) + 1)
            for some in itertools.combinations(candidates, n)
            if is_consistent(some, exclusive)
        )
        assert weights[row, chosen[row]].sum() == pytest.approx(best)


@pytest.mark.parametrize("seed", range(10))
def test_records_are_resolved_one_by_one_and_what_excludes_nothing_stays(seed):
    present, weights, exclusive = drawn(seed)
    chosen = consistent(present, weights, exclusive, nothing(exclusive))
    alone = [
        consistent(present[i : i + 1], weights[i : i + 1], exclusive, nothing(exclusive))[0]
        for i in range(len(present))
    ]
    assert np.array_equal(chosen, alone)
    without = present & ~contradictory(present, exclusive)[:, None]
    assert (without <= chosen).all()
    again = consistent(chosen, weights, exclusive, nothing(exclusive))
    assert np.array_equal(again, chosen)


def test_of_two_equal_ones_the_first_stays_and_two_outweigh_one():
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    present = np.ones((1, 3), bool)
    pair = consistent(present[:, :2], np.ones((1, 2)), path[:2, :2], nothing(path[:2, :2]))
    assert pair.tolist() == [[True, False]]
    for weights, expected in (
        ([1.0, 1.0, 1.0], [True, False, True]),
        ([1.0, 3.0, 1.0], [False, True, False]),
    ):
        chosen = consistent(present, np.array([weights]), path, nothing(path))
        assert chosen.tolist() == [expected]


def test_what_a_finding_implies_is_present():
    implied = np.zeros((3, 3), bool)
    implied[0, 2] = True
    present = np.array([[True, False, False], [False, True, False]])
    chosen = consistent(present, np.ones((2, 3)), nothing(implied), implied)
    assert chosen.tolist() == [[True, False, True], [False, True, False]]


def test_the_work_is_bounded_and_the_set_consistent(monkeypatch):
    rng = np.random.default_rng(0)
    exclusive = np.triu(rng.random((120, 120)) < 0.1, 1)
    exclusive |= exclusive.T
    present, weights = np.ones((3, 120), bool), rng.random((3, 120))
    start = time.perf_counter()
    chosen = consistent(present, weights, exclusive, nothing(exclusive))
    assert time.perf_counter() - start < 10
    assert not contradictory(chosen, exclusive).any()
    monkeypatch.setattr(consistency, "MAX_STEPS", 0)
    greedy = consistent(present, weights, exclusive, nothing(exclusive))
    assert not contradictory(greedy, exclusive).any()
    assert (weights * chosen).sum() >= (weights * greedy).sum()
    clique = ~np.eye(2000, dtype=bool)
    one = consistent(np.ones((1, 2000), bool), rng.random((1, 2000)), clique, nothing(clique))
    assert one.sum() == 1


def test_evidence_is_what_exceeds_the_threshold_and_then_the_probability():
    y_prob = np.array([[0.2, 0.1, 0.9, 0.0, 1.0]])
    weights = evidence(y_prob, np.full(5, 0.3))
    assert (weights >= 0).all() and np.isfinite(weights).all()
    assert np.argsort(weights[0]).tolist() == [3, 1, 0, 2, 4]
    assert weights[0, 0] < 0.001


def test_the_strongest_finding_is_named_as_what_excludes_another():
    exclusive = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    chosen = np.array([False, True, True, True])
    winner = strongest_exclusion(chosen, np.array([9.0, 1.0, 2.0, 3.0]), exclusive)
    assert winner.tolist() == [2, -1, -1, -1]
