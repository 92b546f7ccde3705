"""Resampling equals SciPy's, and is done once for several uses."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import resample_poly

from ecg_siglip.signals import resampling as module
from ecg_siglip.signals.resampling import SharedResampling, resample


@pytest.mark.parametrize("steep", [True, False])
@pytest.mark.parametrize("n", [2, 37, 1000, 5003])
@pytest.mark.parametrize("rates", [(500, 100), (360, 100), (257, 100), (100, 500), (250, 240)])
def test_blocks_give_what_scipy_gives(rates, n, steep):
    fs, to_fs = rates
    signal = (5 + np.random.default_rng(n).normal(size=(3, n)).cumsum(axis=1)).astype(np.float32)
    up, down = Fraction(to_fs, fs).as_integer_ratio()
    window = module._taps(up, down, steep and up < down) if steep else ("kaiser", 5.0)
    expected = resample_poly(
        signal.astype(np.float64), up, down, axis=1, padtype="line", window=window
    )
    resampled = resample(signal, fs, to_fs, steep)
    assert module._block_filter(up, down, steep and up < down) is not None
    assert resampled.dtype == np.float32 and resampled.shape == expected.shape
    np.testing.assert_allclose(resampled, expected, rtol=1e-6, atol=1e-6)


def test_rates_without_a_simple_ratio_need_no_large_matrix():
    assert module._block_filter(20_000, 19_999, False) is None
    signal = np.ones((1, 300))
    assert resample(signal, 99.995, 100).shape == (1, 301)


@pytest.fixture
def calls(monkeypatch):
    """Return the sampling rates of the calls that resample."""
    seen = []

    def counted(signal, fs, to_fs, steep=True):
        seen.append((fs, to_fs, steep))
        return resample(signal, fs, to_fs, steep)

    monkeypatch.setattr(module, "resample", counted)
    return seen


def test_equal_signals_are_resampled_once(calls):
    signal = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    resampling = SharedResampling()
    expected = resample(signal, 500, 100)
    np.testing.assert_array_equal(resampling(signal, 500, 100), expected)
    np.testing.assert_array_equal(resampling(signal.astype(np.float64), 500, 100, True), expected)
    assert len(calls) == 1


def test_other_signals_rates_and_filters_are_resampled_again(calls):
    signal = np.random.default_rng(0).normal(size=(2, 500))
    resampling = SharedResampling()
    for other in (signal, signal[:, ::-1], signal[:, :250], np.where(signal > 3, np.nan, signal)):
        np.testing.assert_array_equal(resampling(other, 500, 100), resample(other, 500, 100))
    np.testing.assert_array_equal(resampling(signal, 250, 100), resample(signal, 250, 100))
    no_steep = resample(signal, 250, 100, False)
    np.testing.assert_array_equal(resampling(signal, 250, 100, False), no_steep)
    assert len(calls) == 6
