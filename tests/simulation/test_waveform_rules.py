"""Findings of scars, chambers, ST-T and voltage meet their definitions, on hearts without noise."""

import numpy as np
import pytest
from simulated_hearts import LEAD, hearts, peaks, st_height, t_height

from ecg_siglip.simulation.heart import sum_waves, twelve_leads
from ecg_siglip.simulation.measurements import axis_degrees, qrs_of, qrs_peaks, sokolow_lyon


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
        early = qrs_of(heart)[:, 400 : 400 + int(0.45 * heart.qrs * 1000)].min(axis=1)
        depths = [-early[LEAD[lead]] for lead in leads] if leads else [(-early).max()]
        assert min(depths) > 0.1


def test_hypertrophy_meets_its_voltage_criterion():
    for code in ("LVH", "VCLVH"):
        assert all(sokolow_lyon(heart) >= 3.5 for heart in hearts(code, "SR"))
    for heart in hearts("RVH", "SR"):
        high, low = peaks(heart, "V1")
        assert high > -low
        assert axis_degrees(qrs_of(heart)) > 90


def test_low_and_high_voltage_are_measured_on_the_result():
    for heart in hearts("LVOLT", "SR"):
        high, low = qrs_peaks(heart)
        assert (high - low)[:6].max() < 0.5
    for heart in hearts("HVOLT", "SR"):
        high, low = qrs_peaks(heart)
        assert (high - low).max() > 3.5


def p_wave(heart):
    """Compute the P wave in the twelve leads, (12, 250), mV."""
    dipole = sum_waves(list(heart.p), np.arange(250) / 1000)
    return twelve_leads(heart.leads @ dipole)


def test_enlarged_atria_change_the_p_wave():
    for heart in hearts("LAO/LAE", "SR"):
        p = p_wave(heart)
        assert p[LEAD["V1"]].min() < -0.05
        size = np.abs(p[LEAD["II"]])
        above = np.flatnonzero(size > 0.1 * size.max())
        assert above[-1] - above[0] >= 110
    for heart in hearts("RAO/RAE", "SR"):
        assert p_wave(heart)[LEAD["II"]].max() > 0.22


def test_repolarisation_findings_meet_their_definitions():
    assert all(heart.qtc >= 0.46 for heart in hearts("LNGQT", "SR"))
    assert all(heart.qtc < 0.45 for heart in hearts("NORM", "SR"))
    assert all(t_height(heart, "V5") < -0.05 for heart in hearts("INVT", "SR"))
    assert all(st_height(heart, "V5") < -0.08 for heart in hearts("STD_", "SR"))
    assert all(st_height(heart, "V4") > 0.08 for heart in hearts("STE_", "SR"))
    assert all(t_height(heart, "V6") < 0 for heart in hearts("ISC_", "SR"))
    assert all(t_height(heart, "V2") < 0 for heart in hearts("ISCAS", "SR"))
    flat = [abs(t_height(heart, "II")) for heart in hearts("NDT", "SR")]
    normal = [abs(t_height(heart, "II")) for heart in hearts("NORM", "SR")]
    assert np.mean(flat) < 0.5 * np.mean(normal)
