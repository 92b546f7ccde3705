"""QRS complexes, resampling, hum and median beats."""

import numpy as np
import pytest

from ecg_siglip.signals import median_beats
from ecg_siglip.signals.median_beats import FS

TIMES = np.arange(5000) / FS


def ecg(period_s=0.8, t_mv=0.3):
    """Make three leads with narrow QRS complexes and T waves; return them and the times of QRS."""
    at = np.arange(0.5, 9.6, period_s)
    beat = sum(np.exp(-0.5 * ((TIMES - time) / 0.01) ** 2) for time in at)
    t_wave = sum(np.exp(-0.5 * ((TIMES - time - 0.3) / 0.04) ** 2) for time in at)
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 5000))
    return np.outer([1.0, -0.7, 0.4], beat + t_mv * t_wave) + noise, at


@pytest.mark.parametrize("t_mv", [0.0, 0.3, 1.2])
def test_each_qrs_complex_is_found_and_no_t_wave(t_mv):
    signal, at = ecg(t_mv=t_mv)
    found = median_beats.find_qrs(signal)
    assert len(found) == len(at)
    np.testing.assert_allclose(found / FS, at, atol=0.02)


def test_resampling_keeps_a_signal_of_low_frequencies():
    times = np.arange(1000) / 100
    wave = np.sin(2 * np.pi * 3 * times)[None]
    np.testing.assert_allclose(
        median_beats.to_fs(wave, 100)[0, 500:4500],
        np.sin(2 * np.pi * 3 * TIMES)[500:4500],
        atol=0.02,
    )
    assert median_beats.to_fs(wave, FS) is wave


def test_hum_is_removed_and_a_signal_without_hum_is_not_changed():
    signal, _ = ecg()
    assert median_beats.without_hum(signal) is signal
    hum = 0.1 * np.sin(2 * np.pi * 50 * TIMES)
    assert np.abs(median_beats.without_hum(signal + hum) - signal)[:, 300:-300].max() < 0.03


def test_the_median_ignores_samples_that_are_missing():
    cut = np.array([[[1.0, np.nan, np.nan]], [[2.0, 5.0, np.nan]], [[9.0, 7.0, np.nan]]])
    np.testing.assert_array_equal(median_beats.median_beat(cut), [[2.0, 6.0, np.nan]])


def test_beats_are_cut_without_baseline_and_without_their_neighbours():
    signal, at = ecg()
    moving = signal + 0.5 * np.sin(2 * np.pi * 0.2 * TIMES) + 3
    beats = median_beats.cut_beats(
        moving, np.zeros(moving.shape, bool), median_beats.find_qrs(moving)
    )
    assert len(beats.cut) == len(at)
    beat = median_beats.median_beat(beats.cut)
    center = round(median_beats.BEFORE_S * FS)
    assert beat[0, center - 4 : center + 5].max() == pytest.approx(1.0, abs=0.05)
    assert np.abs(beat[0, center - 60 : center - 30]).max() < 0.03
    assert np.isnan(beats.cut[3][:, -1]).all()  # the next QRS complex


def test_pacing_spikes_are_removed_and_qrs_complexes_are_not():
    times = np.arange(2000) / FS
    qrs = np.exp(-0.5 * (((times % 0.8) - 0.4) / 0.008) ** 2)
    signal = np.outer([1.0, -2.0, 1.5], qrs)
    paced = signal.copy()
    for at in range(180, 2000, 400):
        paced[:, at : at + 2] += np.array([[1.5], [-2.0], [1.0]])
    np.testing.assert_array_equal(median_beats.without_spikes(signal), signal)
    np.testing.assert_allclose(median_beats.without_spikes(paced), signal, atol=0.1)
