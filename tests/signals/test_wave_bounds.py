"""Onsets and ends of waves in a beat without noise."""

import numpy as np
import pytest

from ecg_siglip.signals import wave_bounds
from ecg_siglip.signals.median_beats import AFTER_S, BEFORE_S, FS

TIMES = np.arange(-round(BEFORE_S * FS), round(AFTER_S * FS)) / FS
LEADS = np.array([1.0, 0.6, -0.8])


def bell(at, width, height=1.0):
    return np.outer(LEADS, height * np.exp(-0.5 * ((TIMES - at) / width) ** 2))


def beat(p_mv=0.15, t_mv=0.3):
    """Make a beat: P at -0.12 s, QRS, and T at 0.3 s."""
    return bell(-0.12, 0.016, p_mv) + bell(0, 0.012) + bell(0.3, 0.04, t_mv)


def seconds(samples):
    return samples / FS - BEFORE_S


def test_qrs_is_as_wide_as_its_slopes():
    onset, end = map(seconds, wave_bounds.qrs_bounds(beat()))
    # A Gaussian is above 5 % of its steepest slope until 3 deviations from its center.
    assert onset == pytest.approx(-0.036, abs=0.006) and end == pytest.approx(0.036, abs=0.006)


def test_a_notch_that_is_level_does_not_end_the_qrs():
    notched = bell(-0.03, 0.012) + bell(0.03, 0.012)
    onset, end = map(seconds, wave_bounds.qrs_bounds(notched))
    assert end - onset == pytest.approx(0.06 + 0.072, abs=0.012)


@pytest.mark.parametrize("t_mv", [0.3, -0.3])
def test_t_ends_where_the_steepest_tangent_reaches_the_baseline(t_mv):
    whole = beat(t_mv=t_mv)
    _, end = wave_bounds.qrs_bounds(whole)
    peak, t_end, height = wave_bounds.t_bounds(whole, end, len(TIMES))
    assert seconds(peak) == pytest.approx(0.3, abs=0.004)
    assert seconds(t_end) == pytest.approx(0.3 + 2 * 0.04, abs=0.006)
    assert height == pytest.approx(0.3, abs=0.02)


def test_p_begins_two_deviations_before_its_peak():
    whole = beat()
    onset, _ = wave_bounds.qrs_bounds(whole)
    p_onset, peak, _ = wave_bounds.p_bounds(whole, onset, 0)
    assert seconds(peak) == pytest.approx(-0.12, abs=0.004)
    assert seconds(p_onset) == pytest.approx(-0.12 - 2 * 0.016, abs=0.007)


def test_a_wave_that_is_repeated_like_flutter_is_no_p_wave():
    whole = beat() + bell(-0.32, 0.016, 0.15)
    onset, _ = wave_bounds.qrs_bounds(whole)
    assert wave_bounds.p_bounds(whole, onset, 0) is None


def test_noise_needs_a_smoother_beat():
    rng = np.random.default_rng(0)
    widths = [
        wave_bounds.noise_width(beat() + rng.normal(0, noise_mv, (3, len(TIMES))))
        for noise_mv in (0.0, 0.02, 0.1)
    ]
    assert widths == sorted(widths) and widths[0] == 0 < widths[-1]
