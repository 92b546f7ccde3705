"""Values and marks that are read off one median beat."""

import numpy as np
import pytest

from ecg_siglip.signals.beat_measurements import read_beat
from ecg_siglip.signals.median_beats import FS
from ecg_siglip.signals.wave_bounds import CENTER

NAMES = ("I", "II", "III", "aVR", "aVL", "aVF")


def beat(heights, p=0.15, t=0.3):
    """Return a beat of limb leads: P wave, triangle of 80 ms as QRS, T wave; (6, 600)."""
    times = (np.arange(600) - CENTER) / FS
    wave = np.maximum(1 - np.abs(times) / 0.04, 0)
    wave = wave + p * np.exp(-0.5 * ((times + 0.16) / 0.02) ** 2)
    wave = wave + t * np.exp(-0.5 * ((times - 0.3) / 0.04) ** 2)
    return np.array(heights)[:, None] * wave


def leads_at(degrees):
    """Return the sizes of a wave in the limb leads that points to an angle."""
    angles = np.radians([0, 60, 120, -150, -30, 90])
    sizes = np.cos(np.radians(degrees) - angles)
    return sizes * np.array([1, 1, 1, *[np.sqrt(3) / 2] * 3])


def read(beat, names=NAMES):
    return read_beat(beat, np.ones(len(beat), bool), 0.0, names, 1.0)


@pytest.mark.parametrize("degrees", [-120, -30, 0, 60, 100])
def test_axes_are_those_of_the_waves(degrees):
    values = read(beat(leads_at(degrees))).values
    for name in ("p_axis", "qrs_axis", "t_axis"):
        assert values[name] == pytest.approx(degrees, abs=1), name


def test_intervals_are_the_distances_of_the_marks():
    values, reasons, marks = read(beat(leads_at(60)))
    assert not reasons
    assert values["qrs"] == pytest.approx(80, abs=10)
    for name, first, last in (
        ("pr", "p_onset", "qrs_onset"),
        ("qrs", "qrs_onset", "qrs_end"),
        ("qt", "qrs_onset", "t_end"),
    ):
        assert values[name] == pytest.approx(1000 * (marks[last] - marks[first]) / FS)
    assert values["r II"] == pytest.approx(1, abs=0.05) and abs(values["s II"]) < 0.01


@pytest.mark.parametrize(("waves", "missing"), [({"p": 0.0}, "p_onset"), ({"t": 0.0}, "t_end")])
def test_a_missing_wave_has_a_reason_and_no_mark(waves, missing):
    reading = read(beat(leads_at(60), **waves))
    name = {"p_onset": "pr", "t_end": "qt"}[missing]
    assert name not in reading.values and reading.reasons[name]
    assert missing not in reading.marks and "qrs_end" in reading.marks
