"""Each finding moves the waveform by its definition, measured on hearts without noise."""

import numpy as np
import pytest

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.heart import (
    axis_degrees,
    one_beat,
    qrs_peaks,
    simulate_ecg,
    sum_waves,
    twelve_leads,
)
from ecg_siglip.vocabulary import findings

LEAD = {name: i for i, name in enumerate(LEADS)}
N = 12


def hearts(*codes):
    for seed in range(N):
        rng = np.random.default_rng([seed, 7])
        yield finding_rules.with_findings(
            finding_rules.person(rng, 55.0, bool(seed % 2)), codes, rng
        )


def onsets(heart, duration=30.0, seed=0):
    return np.array(simulate_ecg(heart, 250, duration, np.random.default_rng(seed))[1])


def qrs_width(heart):
    """From the first to the last sample at which some lead is above 5 % of the QRS, s."""
    size = np.abs(finding_rules.qrs_of(heart)).max(axis=0)
    loud = np.flatnonzero(size > 0.05 * size.max())
    return (loud[-1] - loud[0]) / 1000


def at_t(heart, lead):
    """Height of the T wave, mV: the largest deflection between the end of QRS and that of T."""
    beat = one_beat(heart)[LEAD[lead]]
    stop = 0.4 + heart.qtc * (60 / heart.rate) ** (1 / 3)
    window = beat[int((0.4 + heart.qrs + 0.06) * 1000) : int(stop * 1000)]
    return window[np.argmax(np.abs(window))]


def st(heart, lead):
    """Height of the ST segment 60 ms after the end of the QRS, against the PR segment, mV."""
    beat = one_beat(heart)[LEAD[lead]]
    return beat[int((0.4 + heart.qrs + 0.06) * 1000)] - beat[392]


def peaks(heart, lead):
    high, low = qrs_peaks(heart)
    return high[LEAD[lead]], low[LEAD[lead]]


def test_every_statement_has_a_rule_and_every_rule_is_a_statement():
    assert set(finding_rules.RULES) == set(findings.STATEMENTS)


def test_a_normal_ecg_looks_normal():
    for heart in hearts("NORM", "SR"):
        assert 60 <= heart.rate <= 100
        assert 0.12 <= heart.pr <= 0.20
        assert heart.qrs <= 0.11
        assert -30 <= axis_degrees(finding_rules.qrs_of(heart)) <= 90
        assert finding_rules.sokolow_lyon(heart) < 3.5
        assert all(at_t(heart, lead) > 0 for lead in ("I", "II", "V4", "V5", "V6"))
        assert at_t(heart, "aVR") < 0
        r_waves = [peaks(heart, lead)[0] for lead in ("V1", "V2", "V4")]
        assert r_waves[0] < r_waves[1] < r_waves[2]
        assert -peaks(heart, "V1")[1] > peaks(heart, "V1")[0]


@pytest.mark.parametrize(
    ("code", "low", "high"), [("SR", 60, 100), ("SBRAD", 0, 60), ("STACH", 100, 200)]
)
def test_rates_are_those_of_the_name(code, low, high):
    for heart in hearts(code):
        rate = 60 / np.diff(onsets(heart)).mean()
        assert low <= rate <= high


def test_sinus_arrhythmia_swings_and_sinus_rhythm_does_not():
    for heart in hearts("SARRH"):
        assert np.ptp(np.diff(onsets(heart))) > 0.12
    for heart in hearts("SR"):
        assert np.ptp(np.diff(onsets(heart))) < 0.2


def test_fibrillation_is_irregular_without_p_and_with_f_waves():
    for heart in hearts("AFIB"):
        intervals = np.diff(onsets(heart))
        assert intervals.std() / intervals.mean() > 0.1
        neighbours = np.corrcoef(intervals[:-1], intervals[1:])[0, 1]
        assert abs(neighbours) < 0.6
        assert heart.p == ()


def test_flutter_waves_run_at_250_to_350_and_conduct_by_whole_numbers():
    for heart in hearts("AFLT"):
        assert 250 <= heart.atrial_rate <= 350
        ratios = np.diff(onsets(heart)) * heart.atrial_rate / 60
        assert np.abs(ratios - ratios.round()).max() < 0.02
        assert set(ratios.round()) <= {2, 3, 4}


def test_first_degree_block_prolongs_pr_and_preexcitation_shortens_it():
    assert all(heart.pr > 0.20 for heart in hearts("1AVB", "SR"))
    for heart in hearts("WPW", "SR"):
        assert heart.pr < 0.12
        assert qrs_width(heart) >= 0.11


def test_second_degree_block_drops_beats_and_third_degree_block_parts_the_chambers():
    for heart in hearts("2AVB", "SR"):
        intervals = np.diff(onsets(heart))
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
        assert at_t(heart, "V6") < 0 < at_t(heart, "V1")


def test_right_block_ends_positive_in_v1_and_negative_in_v6():
    for heart in hearts("CRBBB", "SR"):
        late = finding_rules.qrs_of(heart)[:, 400 + int(0.75 * heart.qrs * 1000)]
        assert late[LEAD["V1"]] > 0.2
        assert late[LEAD["V6"]] < -0.1
        assert late[LEAD["I"]] < -0.1


def test_fascicular_blocks_turn_the_axis():
    assert all(axis_degrees(finding_rules.qrs_of(heart)) <= -45 for heart in hearts("LAFB"))
    assert all(axis_degrees(finding_rules.qrs_of(heart)) >= 90 for heart in hearts("LPFB"))


@pytest.mark.parametrize(
    ("code", "leads"),
    [
        ("IMI", ("III", "aVF")),
        ("ASMI", ("V1", "V2")),
        ("AMI", ("V2", "V3")),
        ("LMI", ("I", "aVL")),
        ("QWAVE", None),
    ],
)
def test_an_infarct_begins_with_a_q_wave_over_its_wall(code, leads):
    for heart in hearts(code, "SR"):
        early = finding_rules.qrs_of(heart)[:, 400 : 400 + int(0.45 * heart.qrs * 1000)].min(axis=1)
        depths = [-early[LEAD[lead]] for lead in leads] if leads else [(-early).max()]
        assert min(depths) > 0.1


def test_hypertrophy_meets_its_voltage_criterion():
    for code in ("LVH", "VCLVH"):
        assert all(finding_rules.sokolow_lyon(heart) >= 3.5 for heart in hearts(code, "SR"))
    for heart in hearts("RVH", "SR"):
        high, low = peaks(heart, "V1")
        assert high > -low
        assert axis_degrees(finding_rules.qrs_of(heart)) > 90


def test_low_and_high_voltage_are_measured_on_the_result():
    for heart in hearts("LVOLT", "SR"):
        high, low = qrs_peaks(heart)
        assert (high - low)[:6].max() < 0.5
    for heart in hearts("HVOLT", "SR"):
        high, low = qrs_peaks(heart)
        assert (high - low).max() > 3.5


def p_wave(heart):
    alone = sum_waves(list(heart.p), np.arange(250) / 1000)
    return twelve_leads(heart.leads @ alone)


def test_atria_show_in_the_p_wave():
    for heart in hearts("LAO/LAE", "SR"):
        p = p_wave(heart)
        assert p[LEAD["V1"]].min() < -0.05
        size = np.abs(p[LEAD["II"]])
        loud = np.flatnonzero(size > 0.1 * size.max())
        assert loud[-1] - loud[0] >= 110
    for heart in hearts("RAO/RAE", "SR"):
        assert p_wave(heart)[LEAD["II"]].max() > 0.22


def test_repolarisation_findings_are_what_they_say():
    assert all(heart.qtc >= 0.46 for heart in hearts("LNGQT", "SR"))
    assert all(heart.qtc < 0.45 for heart in hearts("NORM", "SR"))
    assert all(at_t(heart, "V5") < -0.05 for heart in hearts("INVT", "SR"))
    assert all(st(heart, "V5") < -0.08 for heart in hearts("STD_", "SR"))
    assert all(st(heart, "V4") > 0.08 for heart in hearts("STE_", "SR"))
    assert all(at_t(heart, "V6") < 0 for heart in hearts("ISC_", "SR"))
    assert all(at_t(heart, "V2") < 0 for heart in hearts("ISCAS", "SR"))
    flat = [abs(at_t(heart, "II")) for heart in hearts("NDT", "SR")]
    normal = [abs(at_t(heart, "II")) for heart in hearts("NORM", "SR")]
    assert np.mean(flat) < 0.5 * np.mean(normal)


def test_premature_beats_come_early_and_bigeminy_every_second_time():
    for heart in hearts("PVC", "SR"):
        intervals = np.diff(onsets(heart, duration=10.0))
        assert intervals.min() < 0.8 * np.median(intervals)
    for heart in hearts("BIGU", "SR"):
        intervals = np.diff(onsets(heart))[1:-1]
        short, long = intervals[::2].mean(), intervals[1::2].mean()
        assert min(short, long) < 0.85 * max(short, long)


def test_an_unknown_finding_is_refused():
    with pytest.raises(ValueError, match="finding XYZ: no rule"):
        next(hearts("XYZ"))
