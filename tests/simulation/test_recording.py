"""Leads obey Einthoven, noise has its level, faults are noted, devices filter."""

import numpy as np

from ecg_siglip.simulation import recording
from ecg_siglip.simulation.electrode_noise import FS, NOISE_COLUMNS
from ecg_siglip.simulation.heart import DOWER

HZ = np.fft.rfftfreq(5000, 1 / FS)


def test_the_leads_obey_einthoven_and_goldberger():
    silent = np.zeros((8, 5000))
    for seed in range(5):
        signal, _ = recording.record(silent, np.random.default_rng(seed))
        one, two, three, avr, avl, avf = signal[:6]
        np.testing.assert_allclose(three, two - one, atol=1e-9)
        np.testing.assert_allclose(avr, -(one + two) / 2, atol=1e-9)
        np.testing.assert_allclose(avl - avf, 1.5 * (one - two), atol=1e-9)


def test_noise_has_its_level_and_its_spectrum():
    levels = []
    for seed in range(60):
        spectrum, _ = recording.noise_spectrum(HZ, np.random.default_rng(seed))
        noise = np.fft.irfft(spectrum, 5000)
        fast = np.fft.irfft(spectrum * (HZ > 20), 5000)
        levels.append((noise.std(axis=1).mean(), fast.std(axis=1).mean()))
    total, fast = np.median(levels, axis=0)
    assert 0.5 * recording.WANDER[0] < total < 2.5 * recording.WANDER[0]
    assert 0.5 * recording.MUSCLE[0] < fast < 2 * recording.MUSCLE[0]


def test_faults_are_noted_in_the_columns_of_ptbxl():
    columns = {}
    for seed in range(400):
        _, noted = recording.record(np.zeros((8, 5000)), np.random.default_rng(seed))
        columns |= noted
    assert set(columns) == set(NOISE_COLUMNS.values())


def test_electrodes_are_displaced_but_view_the_same_heart():
    rng = np.random.default_rng(0)
    for _ in range(20):
        leads = recording.displaced_leads(DOWER, rng)
        cosine = (leads * DOWER).sum(1) / np.linalg.norm(leads, axis=1)
        cosine = cosine / np.linalg.norm(DOWER, axis=1)
        assert cosine.min() > 0.2
        assert np.median(cosine) > 0.8


def test_two_neighbouring_electrodes_are_exchanged():
    electrodes = np.random.default_rng(0).normal(size=(9, 100))
    pairs = set()
    for seed in range(40):
        exchanged = electrodes.copy()
        recording.exchange(exchanged, np.random.default_rng(seed))
        first, second = np.flatnonzero((exchanged != electrodes).any(axis=1))
        np.testing.assert_array_equal(exchanged[[first, second]], electrodes[[second, first]])
        pairs.add((int(first), int(second)))
    # Both arms, or two of V1 to V6.
    assert pairs == {(0, 1), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)}


def test_a_device_passes_the_ecg_and_no_constant():
    for seed in range(20):
        response = recording.device_response(HZ, np.random.default_rng(seed))
        assert response[0] == 0
        assert np.abs(response[(HZ > 5) & (HZ < 15)]).min() > 0.9
        assert np.abs(response[-1]) < 0.5
