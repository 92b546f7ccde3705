"""The input of public encoders: resampled as in the preparation, windows that cover a record."""

import numpy as np
import pytest
import torch

from ecg_siglip.models.encoder_input import Resample, cut_windows
from ecg_siglip.signals.resampling import resample


@pytest.mark.parametrize(
    ("fs", "to_fs"), [(100, 500), (500, 100), (250, 100), (100, 250), (128, 500), (1000, 100)]
)
def test_resampling_is_that_of_the_preparation(fs, to_fs):
    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(size=(12, 1001)), axis=1).astype(np.float32) / 10 + 3
    expected = resample(signal, fs, to_fs)
    found = Resample(fs, to_fs)(torch.from_numpy(signal)[None])[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_the_same_rate_changes_nothing_and_there_are_no_weights():
    signal = torch.randn(2, 12, 100)
    layer = Resample(100, 100)
    assert layer(signal) is signal
    assert not layer.state_dict() and not Resample(100, 500).state_dict()


@pytest.mark.parametrize("fs", [0, 49, 1001, "100", None, float("nan")])
def test_a_rate_out_of_range_is_an_error(fs):
    with pytest.raises(ValueError, match="expected 50 to 1000 Hz"):
        Resample(fs, 500)


def test_windows_cover_the_signal_evenly():
    signal = torch.arange(1200.0).expand(2, 12, -1)
    windows = cut_windows(signal, 500)
    assert windows.shape == (2, 3, 12, 500)
    assert windows[0, :, 0, 0].tolist() == [0, 350, 700]
    assert torch.equal(cut_windows(signal[:, :, :1000], 500)[:, 1], signal[:, :, 500:1000])
    short = cut_windows(signal[:, :, 1:301], 500)
    assert torch.equal(short[:, 0, :, :300], signal[:, :, 1:301])
    assert not short[:, 0, :, 300:].any()
