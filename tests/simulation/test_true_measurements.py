"""The true measurements follow the parameters of the simulated heart."""

import copy

import numpy as np
import pytest

from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.rhythms import draw_strip, simulate_ecg
from ecg_siglip.simulation.true_measurements import true_measurements


def measured(heart, seed=0):
    return true_measurements(heart, draw_strip(heart, 10.0, np.random.default_rng(seed)))


def test_intervals_are_close_to_the_parameters():
    heart = Heart(hrv=0.0)
    values = measured(heart).values
    assert values["rate"] == pytest.approx(70, abs=0.1)
    assert values["rr_sd"] == pytest.approx(0, abs=0.1)
    assert values["qrs"] == pytest.approx(1000 * heart.qrs, abs=5)
    assert values["pr"] == pytest.approx(1000 * heart.pr, abs=8)
    qt_ms = 1000 * heart.qtc * (60 / 70) ** (1 / 3)
    assert values["qt"] == pytest.approx(qt_ms, abs=10)
    assert values["qtc_fridericia"] == pytest.approx(1000 * heart.qtc, abs=10)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("AFIB", {"pr", "p_axis"}),
        ("AFLT", {"pr", "p_axis"}),
        ("3AVB", {"pr", "p_axis"}),
        ("NORM", set()),
    ],
)
def test_what_a_rhythm_does_not_have_is_absent(code, absent):
    rng = np.random.default_rng(0)
    heart = finding_rules.with_findings(finding_rules.person(rng, 50.0, True), [code], rng)
    true = measured(heart)
    assert true.absent == absent and not true.absent & set(true.values)


def test_wenckebach_has_no_single_pr():
    true = measured(Heart(av="wenckebach"))
    assert "pr" not in true.values and "pr" not in true.absent


def test_a_flat_t_wave_has_no_qt():
    heart = Heart()
    heart.t = 0 * heart.t
    assert {"qt", "qtc_bazett", "qtc_fridericia", "t_axis"} <= measured(heart).absent


def test_the_strip_draws_the_beats_of_the_signal():
    rng = np.random.default_rng(3)
    heart = Heart(rhythm="fibrillation", p=())
    strip = draw_strip(heart, 10.0, copy.deepcopy(rng))
    _, onsets = simulate_ecg(heart, 500, 10.0, rng)
    rate = true_measurements(heart, strip).values["rate"]
    middle = np.array(onsets) + heart.qrs / 2
    whole = middle[(middle >= 0.16) & (middle <= 10 - 0.16)]  # not cut off at an end
    assert rate == pytest.approx(60 / np.diff(whole).mean())
