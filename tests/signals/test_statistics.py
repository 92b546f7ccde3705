"""Statistics of signals change with frequencies, rate and leads, and with nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.statistics import BANDS_HZ, frequency_statistics, lead_statistics


@pytest.fixture
def signals() -> np.ndarray:
    rng = np.random.default_rng(0)
    mixed = np.einsum("ij,njs->nis", rng.normal(size=(12, 4)), rng.normal(size=(3, 4, 1000)))
    return (200 * mixed).astype(np.int16)


def test_a_sine_has_its_power_in_its_band():
    times = np.arange(1000) / 100
    wave = (1000 * np.sin(2 * np.pi * 12 * times)).astype(np.int16)
    statistics = frequency_statistics(np.tile(wave, (1, 12, 1)), 100.0)[0]
    highest = int(statistics[: len(BANDS_HZ) - 1].argmax())
    assert BANDS_HZ[highest] <= 12 < BANDS_HZ[highest + 1]


def test_an_offset_changes_nothing(signals):
    for statistics in (lambda x: frequency_statistics(x, 100.0), lead_statistics):
        np.testing.assert_allclose(statistics(signals + 300), statistics(signals), atol=2e-3)


def test_exchanged_leads_change_the_relations_only(signals):
    order = np.arange(12)
    order[[6, 11]] = 11, 6
    exchanged = signals[:, order]
    assert np.abs(lead_statistics(exchanged) - lead_statistics(signals)).max() > 0.5
    np.testing.assert_allclose(
        frequency_statistics(exchanged, 100.0), frequency_statistics(signals, 100.0), atol=1e-4
    )


def test_amplitude_changes_the_frequencies_only(signals):
    np.testing.assert_allclose(lead_statistics(2 * signals), lead_statistics(signals), atol=0.15)
    higher = frequency_statistics(2 * signals, 100.0) - frequency_statistics(signals, 100.0)
    n_bands = len(BANDS_HZ) - 1
    np.testing.assert_allclose(higher[:, :n_bands], np.log(4), atol=1e-3)


@pytest.mark.parametrize(("fs", "n_samples"), [(100, 100), (50, 500), (500, 5000)])
def test_any_rate_length_and_a_flat_signal_give_finite_numbers(fs, n_samples):
    flat = np.zeros((2, len(LEADS), n_samples), np.int16)
    for statistics in (frequency_statistics(flat, fs), lead_statistics(flat)):
        assert np.isfinite(statistics).all() and len(statistics) == 2
