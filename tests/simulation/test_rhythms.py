"""Rhythms place P waves and QRS complexes as they are defined; the spans list what was placed."""

import numpy as np
import pytest

from ecg_siglip.simulation.heart import Heart
from ecg_siglip.simulation.rhythms import RHYTHMS, atrial_oscillation, draw_strip, simulate_ecg


def make_strip(seed=0, duration=20.0, **changes):
    """Draw the strip of a heart that differs from the default one."""
    return draw_strip(Heart(**changes), duration, np.random.default_rng(seed))


def starts(strip, kind):
    """Return the times at which spans of a kind start, within the strip."""
    return np.array(sorted(t for k, t, _ in strip.spans if k == kind and 0 <= t < strip.duration))


def test_every_sinus_beat_has_a_p_wave_before_it():
    strip = make_strip(pr=0.16, rate=75.0)
    p, qrs = starts(strip, "P"), starts(strip, "QRS")
    assert 23 <= len(qrs) <= 27
    for time in qrs[1:]:
        assert np.abs(p - (time - 0.16)).min() < 1e-9


@pytest.mark.parametrize("rhythm", ["fibrillation", "flutter", "supraventricular"])
def test_these_rhythms_have_no_p_wave(rhythm):
    strip = make_strip(rhythm=rhythm, atrial_rate=300.0)
    assert len(starts(strip, "P")) == 0
    assert len(starts(strip, "QRS")) > 15


def test_half_of_the_p_waves_are_conducted_in_2_to_1_block():
    strip = make_strip(av="2:1", rate=90.0)
    assert len(starts(strip, "P")) == pytest.approx(2 * len(starts(strip, "QRS")), abs=1)


def test_a_paroxysm_changes_from_a_slow_to_a_fast_rate():
    intervals = np.diff(starts(make_strip(rhythm="paroxysm", rate=180.0), "QRS"))
    assert intervals[0] > 0.6
    assert intervals[-1] == pytest.approx(60 / 180, rel=0.03)


def test_ventricular_pacing_has_a_spike_before_each_qrs():
    strip = make_strip(rhythm="ventricular pacing", rate=60.0)
    spikes, qrs = starts(strip, "spike"), starts(strip, "QRS")
    for time in qrs[1:]:
        assert np.abs(spikes - (time - 0.014)).min() < 1e-9


def test_premature_ventricular_beats_are_ectopic_and_followed_by_a_pause():
    strip = make_strip(premature="ventricular", premature_every=3, hrv=0.0)
    ectopic, qrs = starts(strip, "ectopic QRS"), starts(strip, "QRS")
    assert len(ectopic) >= 4
    for time in ectopic[1:-1]:
        before, after = qrs[qrs < time].max(), qrs[qrs > time].min()
        assert after - time > time - before


def test_every_rhythm_gives_an_ecg_of_the_requested_length():
    for rhythm in RHYTHMS:
        heart = Heart(rhythm=rhythm, atrial_rate=300.0 if rhythm == "flutter" else 80.0)
        signal, onsets = simulate_ecg(heart, 250, 6.0, np.random.default_rng(1))
        assert signal.shape == (8, 1500)
        assert np.isfinite(signal).all()
        assert all(0 <= onset < 6.0 for onset in onsets)


def test_the_strip_is_that_of_the_ecg_for_an_equal_generator():
    heart = Heart()
    _, onsets = simulate_ecg(heart, 500, 10.0, np.random.default_rng(2))
    strip = draw_strip(heart, 10.0, np.random.default_rng(2))
    assert starts(strip, "QRS").tolist() == onsets


def test_flutter_waves_have_the_atrial_rate():
    times = np.arange(5000) / 500
    heart = Heart(rhythm="flutter", atrial_rate=300.0)
    wave = atrial_oscillation(heart, times, np.random.default_rng(0))[1]
    spectrum = np.abs(np.fft.rfft(wave))
    assert np.fft.rfftfreq(5000, 1 / 500)[spectrum.argmax()] == pytest.approx(5.0)


def test_an_unknown_rhythm_is_rejected():
    with pytest.raises(ValueError, match="rhythm 'waltz': expected one of sinus"):
        simulate_ecg(Heart(rhythm="waltz"), 250, 5.0, np.random.default_rng(0))
