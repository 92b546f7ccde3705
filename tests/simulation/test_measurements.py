"""Measurements on one beat: axis, peaks, voltages, and the changes that reach a target."""

import numpy as np
import pytest

from ecg_siglip.simulation import measurements
from ecg_siglip.simulation.heart import Heart, make_vector, twelve_leads


@pytest.mark.parametrize("degrees", [-90.0, -30.0, 0.0, 60.0, 135.0])
def test_the_axis_is_the_direction_in_the_frontal_plane(degrees):
    angle = np.radians(degrees)
    one, avf = np.cos(angle), np.sin(angle) * np.sqrt(3) / 2
    independent = np.zeros((8, 4))
    independent[0], independent[1] = one, avf + one / 2
    assert measurements.axis_degrees(twelve_leads(independent)) == pytest.approx(degrees)


@pytest.mark.parametrize("target", [-75.0, -20.0, 40.0, 110.0])
def test_the_axis_is_turned_to_a_target(target):
    heart = Heart()
    measurements.turn_axis(heart, target)
    axis = measurements.axis_degrees(measurements.qrs_of(heart))
    assert axis == pytest.approx(target, abs=3.0)


def test_a_rotation_by_360_degrees_changes_nothing_and_any_keeps_the_posterior_part():
    vector = make_vector(0.5, 0.8, -0.3)
    np.testing.assert_allclose(measurements.rotate(vector, 360.0), vector, atol=1e-12)
    assert measurements.rotate(vector, 77.0)[2] == -0.3


def test_one_beat_has_its_qrs_after_0_4_s():
    heart = Heart()
    beat = measurements.one_beat(heart)
    size = np.abs(beat).max(axis=0)
    assert beat.shape == (12, 1100)
    assert 0.4 < np.argmax(size) / 1000 < 0.4 + heart.qrs


def test_the_qrs_alone_has_no_other_waves():
    qrs = measurements.qrs_of(Heart())
    assert np.abs(qrs[:, :380]).max() < 0.01
    assert np.abs(qrs[:, 560:]).max() < 0.01


def test_peaks_and_sokolow_lyon_scale_with_the_qrs():
    heart = Heart()
    high, low = measurements.qrs_peaks(heart)
    assert (high >= 0).all() and (low <= 0).all()
    before = measurements.sokolow_lyon(heart)
    assert before == pytest.approx(-low[6] + max(high[10], high[11]))
    measurements.scale_qrs(heart, 1.5)
    assert measurements.sokolow_lyon(heart) == pytest.approx(1.5 * before)
