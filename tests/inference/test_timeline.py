"""A finding of a long record is sustained, and findings that exclude each other are not both so."""

import numpy as np
import pytest
from scipy.special import expit, logit

from ecg_siglip.inference.timeline import Timeline, Windows, representative_window
from ecg_siglip.metrics.consistency import consistent, contradictory, evidence


def make_windows(log_odds, starts_s=None, skipped=()):
    log_odds = np.array(log_odds, float)
    at = 10.0 * np.arange(len(log_odds)) if starts_s is None else np.array(starts_s, float)
    step_s = float(np.diff(at).min()) if len(at) > 1 else None
    return Windows(at, 10.0, expit(log_odds), skipped, step_s=step_s)


@pytest.mark.parametrize(("sustained_s", "n_run"), [(0, 1), (10, 1), (29, 2), (30, 3), (1000, 8)])
def test_the_probability_of_a_record_is_that_of_its_most_likely_stretch(sustained_s, n_run):
    log_odds = np.random.default_rng(0).normal(-1, 2, (8, 4))
    overall, best = make_windows(log_odds).overall(sustained_s)
    for f in range(4):
        runs = [log_odds[i : i + n_run, f].mean() for i in range(9 - n_run)]
        assert logit(overall[f]) == pytest.approx(max(runs))
        first = int(np.argmax(runs))
        assert best[f] == first + log_odds[first : first + n_run, f].argmax()


def test_a_finding_of_half_a_minute_is_likely_and_one_of_a_moment_is_not():
    log_odds = np.full((60, 2), -3.0)
    log_odds[20:23, 0] = 3.0
    log_odds[40, 1] = 3.0
    overall, best = make_windows(log_odds).overall(30)
    assert overall[0] > 0.9 and best[0] in (20, 21, 22)
    assert overall[1] < 0.5 and best[1] == 40
    assert make_windows(log_odds).overall(10)[0].min() > 0.9


def test_overlapping_windows_count_by_their_time():
    log_odds = np.random.default_rng(1).normal(0, 1, (11, 1))
    overall, _ = make_windows(log_odds, 5.0 * np.arange(11)).overall(30)  # five windows in 30 s
    assert logit(overall[0]) == pytest.approx(max(log_odds[i : i + 5].mean() for i in range(7)))


def test_the_representative_window_shows_rare_findings_first():
    p = np.full((10, 3), 0.01)
    p[:, 0] = 0.95
    p[2, 0] = 0.99
    p[6:8, 1] = [0.8, 0.85]
    half = np.full(3, 0.5)
    assert representative_window(p, half, np.array([True, True, False])) == 7
    assert representative_window(p, half, np.array([True, False, False])) == 2
    p[4, 2] = 0.4
    assert representative_window(p[:, 1:], half[1:], np.zeros(2, bool)) == 7


def test_a_timeline_has_start_and_end_of_each_finding():
    windows = make_windows(np.zeros((4, 2)), [0, 10, 30, 40], skipped=[(20.0, "flat lead V1")])
    present = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], bool)
    timeline = Timeline(windows, ("SR", "AFIB"), present, np.array([1, 2]), shown=2)
    assert timeline.stretches("SR") == [(0.0, 20.0), (30.0, 40.0)]
    assert timeline.stretches("AFIB") == [(30.0, 40.0)]
    assert timeline.at_s("AFIB") == 30.0
    assert "0:00:30 to 0:00:40, window 4 of 5" in timeline.note()
    assert [window["start_s"] for window in timeline.to_json()] == [0, 10, 20, 30, 40]
    assert timeline.to_json()[2] == {"start_s": 20.0, "end_s": 30.0, "skipped": "flat lead V1"}
    assert timeline.to_json()[3]["findings"] == {"SR": 0.5, "AFIB": 0.5}


def test_a_stretch_does_not_extend_over_a_gap():
    p = np.array([0.05, 0.05, 0.99, 0.99, 0.99, 0.05])[:, None]
    gapped = Windows(np.array([0.0, 10, 20, 5000, 5010, 5020]), 10.0, p)
    whole = Windows(np.arange(6) * 10.0, 10.0, p)
    assert whole.overall(30.0)[0] == pytest.approx(0.99)
    # The best 30 s without a gap: two windows with the finding, one without.
    assert gapped.overall(30.0)[0] < 0.9
    assert gapped.overall(20.0)[0] == pytest.approx(0.99)
    alone = Windows(np.array([0.0, 100.0, 200.0]), 10.0, p[:3])
    probability, best = alone.overall(30.0)
    assert (probability[0], best[0]) == (pytest.approx(0.99), 2)


AFIB_OR_SR = np.array([[False, True], [True, False]])


def decided(threshold, exclusive):
    """Return the decision of stretches: the heaviest set, by log-odds above the threshold."""
    implied = np.zeros_like(exclusive)

    def present(p):
        weights = evidence(p, np.full(p.shape[1], threshold))
        return consistent(p >= threshold, weights, exclusive, implied)

    return present


def sustained(log_odds, sustained_s=30.0):
    windows = make_windows(log_odds)
    return windows.sustained(decided(0.4, AFIB_OR_SR), sustained_s)


def test_of_two_rhythms_in_the_same_half_minute_the_likelier_is_present():
    present, _ = sustained(np.tile([1.0, 2.0], (3, 1)))
    assert present.tolist() == [False, True]
    present, _ = sustained(np.tile([1.0, 1.0], (3, 1)))
    assert present.tolist() == [True, False]
    # Over the threshold together for minutes, and one is always less likely.
    present, _ = sustained(np.tile([1.0, 2.0], (30, 1)))
    assert present.tolist() == [False, True]


def test_two_rhythms_in_different_half_minutes_are_both_present_each_in_its_own():
    log_odds = np.tile([-3.0, 4.0], (30, 1))
    log_odds[10:15] = [3.0, 2.0]
    present, best = sustained(log_odds)
    assert present.tolist() == [True, True]
    assert best[0] in range(10, 15) and best[1] not in range(10, 15)


def test_the_window_of_a_rhythm_is_one_in_which_it_is_the_likelier():
    """Its likeliest stretch belongs to the other rhythm; another one is its own."""
    log_odds = np.tile([-3.0, -3.0], (30, 1))
    log_odds[0:3] = [3.0, 4.0]
    log_odds[20:23] = [1.0, -3.0]
    present, best = sustained(log_odds)
    assert present.tolist() == [True, True]
    assert best[0] in (20, 21, 22) and best[1] in (0, 1, 2)
    assert make_windows(log_odds).overall()[1][0] in (0, 1, 2)


@pytest.mark.parametrize("seed", range(30))
def test_in_no_stretch_two_findings_that_exclude_each_other_are_sustained(seed):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 2, (12, 4)).round(1)
    exclusive = np.triu(rng.random((4, 4)) < 0.6, 1)
    exclusive |= exclusive.T
    windows = make_windows(log_odds)
    alone, _ = windows.sustained(lambda p: p >= 0.5)
    present, best = windows.sustained(decided(0.5, exclusive))
    assert (present <= alone).all()
    np.testing.assert_array_equal(present[~exclusive.any(axis=0)], alone[~exclusive.any(axis=0)])
    assert present.any() == alone.any()
    means = np.array([log_odds[i : i + 3].mean(axis=0) for i in range(10)])
    rows = decided(0.5, exclusive)(expit(means))
    assert not contradictory(rows, exclusive).any()
    accepted = [set(np.flatnonzero(row).tolist()) for row in rows]
    assert present.tolist() == [any(f in each for each in accepted) for f in range(4)]
    for f in np.flatnonzero(present):
        own = [i for i, each in enumerate(accepted) if f in each]
        assert any(best[f] in range(i, i + 3) for i in own)
