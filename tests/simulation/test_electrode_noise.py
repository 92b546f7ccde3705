"""Noise has its spectrum, acts on electrodes, and is noted in the columns of PTB-XL."""

import numpy as np
import pytest

from ecg_siglip.signals.preprocessing import bandpass
from ecg_siglip.simulation import dataset
from ecg_siglip.simulation.electrode_noise import (
    ELECTRODES,
    FAULTS,
    NOISE_COLUMNS,
    at_electrodes,
    at_leads,
    draw_noise,
    with_faults,
)


def test_faults_are_noted_in_the_columns_of_ptbxl():
    records = [dataset.make_record(0, ecg_id, 60.0, False) for ecg_id in range(1, 60)]
    noted = [row for _, row in records if "baseline_drift" in row]
    assert noted
    clean = [x for x, row in records if not set(row) & set(NOISE_COLUMNS.values())]
    noisy = [x for x, row in records if "electrodes_problems" in row or "baseline_drift" in row]

    def drift(x):
        return np.abs(bandpass(x, 500, high_hz=10.0)[:, ::50].mean(axis=1)).max()

    assert np.mean([drift(x) for x in noisy]) > np.mean([drift(x) for x in clean])


def test_noise_of_every_kind_has_its_spectrum():
    rng = np.random.default_rng(0)
    spectrum = {}
    for kind in FAULTS:
        power = np.abs(np.fft.rfft(draw_noise(kind, 5000, 500, rng))) ** 2
        spectrum[kind] = power[1:] / power[1:].sum()
    hz = np.fft.rfftfreq(5000, 1 / 500)[1:]
    assert spectrum["wander"][hz < 1].sum() > 0.9
    assert spectrum["mains"][np.abs(hz - 50) < 1].sum() > 0.9
    assert spectrum["muscle"][hz > 20].sum() > 0.8


def test_electrodes_and_leads_are_inverse():
    independent = np.random.default_rng(0).normal(size=(8, 50))
    electrodes = at_electrodes(independent)
    assert electrodes.shape == (len(ELECTRODES), 50)
    np.testing.assert_allclose(at_leads(electrodes), independent, atol=1e-12)


def test_the_leads_with_noise_obey_einthoven():
    signal, _ = with_faults(np.zeros((8, 1000)), np.random.default_rng(2))
    assert np.abs(signal).max() > 0
    np.testing.assert_allclose(signal[2], signal[1] - signal[0], atol=1e-12)


def test_an_unknown_kind_of_noise_is_rejected():
    with pytest.raises(ValueError, match="noise 'hiss': expected wander"):
        draw_noise("hiss", 100, 500, np.random.default_rng(0))
