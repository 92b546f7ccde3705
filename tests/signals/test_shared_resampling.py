"""One resampling for several uses."""

import numpy as np
import pytest

from ecg_siglip.signals import shared_resampling
from ecg_siglip.signals.preprocessing import resample


@pytest.fixture
def calls(monkeypatch):
    """Return the sampling rates of the calls that resample."""
    seen = []

    def counted(signal, fs, to_fs, steep=True):
        seen.append((fs, to_fs, steep))
        return resample(signal, fs, to_fs, steep)

    monkeypatch.setattr(shared_resampling, "resample", counted)
    return seen


def test_equal_signals_are_resampled_once(calls):
    signal = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    resampling = shared_resampling.SharedResampling()
    expected = resample(signal, 500, 100)
    np.testing.assert_array_equal(resampling(signal, 500, 100), expected)
    np.testing.assert_array_equal(resampling(signal.astype(np.float64), 500, 100, True), expected)
    assert len(calls) == 1


def test_other_signals_rates_and_filters_are_resampled_again(calls):
    signal = np.random.default_rng(0).normal(size=(2, 500))
    resampling = shared_resampling.SharedResampling()
    for other in (signal, signal[:, ::-1], signal[:, :250], np.where(signal > 3, np.nan, signal)):
        np.testing.assert_array_equal(resampling(other, 500, 100), resample(other, 500, 100))
    np.testing.assert_array_equal(resampling(signal, 250, 100), resample(signal, 250, 100))
    no_steep = resample(signal, 250, 100, False)
    np.testing.assert_array_equal(resampling(signal, 250, 100, False), no_steep)
    assert len(calls) == 6
