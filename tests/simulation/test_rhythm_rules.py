"""Findings of rhythm and conduction meet their definitions, on hearts without noise."""

import numpy as np
import pytest
from simulated_hearts import LEAD, hearts, peaks, qrs_onsets, qrs_width, t_height

from ecg_siglip.simulation.measurements import axis_degrees, qrs_of


@pytest.mark.parametrize(
    ("code", "low", "high"), [("SR", 60, 100), ("SBRAD", 0, 60), ("STACH", 100, 200)]
)
def test_the_rate_is_within_the_definition(code, low, high):
    for heart in hearts(code):
        rate = 60 / np.diff(qrs_onsets(heart)).mean()
        assert low <= rate <= high


def test_intervals_vary_more_in_sinus_arrhythmia_than_in_sinus_rhythm():
    for heart in hearts("SARRH"):
        assert np.ptp(np.diff(qrs_onsets(heart))) > 0.12
    for heart in hearts("SR"):
        assert np.ptp(np.diff(qrs_onsets(heart))) < 0.2


def test_fibrillation_is_irregular_without_p_and_with_f_waves():
    for heart in hearts("AFIB"):
        intervals = np.diff(qrs_onsets(heart))
        assert intervals.std() / intervals.mean() > 0.1
        correlation = np.corrcoef(intervals[:-1], intervals[1:])[0, 1]
        assert abs(correlation) < 0.6
        assert heart.p == ()


def test_flutter_waves_run_at_250_to_350_and_conduct_by_whole_numbers():
    for heart in hearts("AFLT"):
        assert 250 <= heart.atrial_rate <= 350
        ratios = np.diff(qrs_onsets(heart)) * heart.atrial_rate / 60
        assert np.abs(ratios - ratios.round()).max() < 0.02
        assert set(ratios.round()) <= {2, 3, 4}


def test_first_degree_block_prolongs_pr_and_preexcitation_shortens_it():
    assert all(heart.pr > 0.20 for heart in hearts("1AVB", "SR"))
    for heart in hearts("WPW", "SR"):
        assert heart.pr < 0.12
        assert qrs_width(heart) >= 0.11


def test_second_degree_block_drops_beats_and_third_degree_block_separates_the_rates():
    for heart in hearts("2AVB", "SR"):
        intervals = np.diff(qrs_onsets(heart))
        assert intervals.max() > 1.3 * 60 / heart.rate
    for heart in hearts("3AVB"):
        assert heart.rate <= 45 < heart.atrial_rate


@pytest.mark.parametrize("code", ["CLBBB", "CRBBB", "PACE"])
def test_complete_blocks_are_wide_and_normal_beats_are_not(code):
    assert all(qrs_width(heart) >= 0.12 for heart in hearts(code))
    assert all(qrs_width(heart) < 0.12 for heart in hearts("NORM"))


def test_left_block_is_positive_in_v6_without_q_and_negative_in_v1_with_discordant_t():
    for heart in hearts("CLBBB", "SR"):
        high, low = peaks(heart, "V6")
        assert high > 0.5
        assert low > -0.1 * high
        assert -peaks(heart, "V1")[1] > 2 * peaks(heart, "V1")[0]
        assert t_height(heart, "V6") < 0 < t_height(heart, "V1")


def test_right_block_ends_positive_in_v1_and_negative_in_v6():
    for heart in hearts("CRBBB", "SR"):
        late = qrs_of(heart)[:, 400 + int(0.75 * heart.qrs * 1000)]
        assert late[LEAD["V1"]] > 0.2
        assert late[LEAD["V6"]] < -0.1
        assert late[LEAD["I"]] < -0.1


def test_fascicular_blocks_change_the_axis():
    assert all(axis_degrees(qrs_of(heart)) <= -45 for heart in hearts("LAFB"))
    assert all(axis_degrees(qrs_of(heart)) >= 90 for heart in hearts("LPFB"))


def test_premature_beats_are_early_and_in_bigeminy_every_second_one():
    for heart in hearts("PVC", "SR"):
        intervals = np.diff(qrs_onsets(heart, duration=10.0))
        assert intervals.min() < 0.8 * np.median(intervals)
    for heart in hearts("BIGU", "SR"):
        intervals = np.diff(qrs_onsets(heart))[1:-1]
        short, long = intervals[::2].mean(), intervals[1::2].mean()
        assert min(short, long) < 0.85 * max(short, long)
