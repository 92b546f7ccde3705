"""Waves are bells in time, leads follow from the dipole, QT follows Fridericia."""

import numpy as np
import pytest

from ecg_siglip.simulation import heart as model
from ecg_siglip.simulation.heart import Force, Heart, Wave, make_vector

TIMES = np.arange(1000) / 1000


def test_the_twelve_leads_obey_einthoven_and_goldberger():
    independent = np.random.default_rng(0).normal(size=(8, 20))
    one, two, three, avr, avl, avf, *chest = model.twelve_leads(independent)
    np.testing.assert_allclose(three, two - one)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-12)
    np.testing.assert_allclose(avl, (one - three) / 2)
    np.testing.assert_array_equal(chest, independent[2:])


def test_a_wave_has_its_peak_and_width():
    wave = Wave(0.4, 0.02, 0.05, make_vector(1.0, 0.0, -2.0))
    x, y, z = model.sum_waves([wave], TIMES)
    assert x[400] == pytest.approx(1.0)
    assert z[400] == pytest.approx(-2.0)
    assert not y.any()
    assert x[380] == pytest.approx(np.exp(-0.5))  # one standard deviation before the peak
    assert x[450] == pytest.approx(np.exp(-0.5))  # and after it


def test_a_wave_can_be_flat_at_the_top():
    wave = Wave(0.5, 0.01, 0.01, make_vector(1.0, 0.0, 0.0), top=0.2)
    x = model.sum_waves([wave], TIMES)[0]
    np.testing.assert_allclose(x[401:600], 1.0)
    assert x[350] < 0.01


def test_waves_add_up_and_those_outside_are_left_out():
    wave = Wave(0.5, 0.02, 0.02, make_vector(0.3, 0.2, 0.1))
    once = model.sum_waves([wave], TIMES)
    outside = Wave(9.0, 0.02, 0.02, make_vector(1.0, 1.0, 1.0))
    np.testing.assert_allclose(model.sum_waves([wave, wave, outside], TIMES), 2 * once)


def test_shifted_waves_are_later():
    (wave,) = model.shift_waves([Wave(0.1, 0.02, 0.02, make_vector(1, 0, 0))], 0.25)
    assert wave.at == pytest.approx(0.35)


@pytest.mark.parametrize("rr", [0.6, 1.0, 1.4])
def test_the_t_wave_moves_with_the_cube_root_of_the_interval(rr):
    heart = Heart(qtc=0.42)
    t_wave = model.conducted(heart, rr)[-2]
    assert t_wave.at + 2.2 * t_wave.fall == pytest.approx(0.42 * rr ** (1 / 3))


def test_an_ectopic_beat_is_wide_with_a_t_wave_opposite_to_its_qrs():
    heart = Heart(ectopic={"main": Force(0.5, 0.2, make_vector(1.0, 0.5, 0.2))}, ectopic_qrs=0.16)
    qrs, _, t_wave, _ = model.ectopic(heart, 0.8)
    assert qrs.at == pytest.approx(0.08)
    assert t_wave.vector @ qrs.vector < 0


def test_hearts_do_not_share_what_rules_change():
    first, second = Heart(), Heart()
    first.forces["main"] = Force(0.1, 0.1, make_vector(0, 0, 0))
    first.leads[0, 0] = 9.0
    assert second.forces["main"].at == 0.5
    assert second.leads[0, 0] != 9.0
