"""Input of public ECG encoders: their sampling rate, and windows of their length.

Shape letters: B records, L leads (12), S samples of the run, M samples at the encoder's rate, W
windows, N samples of a window, T taps of a filter.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ecg_siglip.signals.resampling import KAISER, LOW_PASS_CORNER, LOW_PASS_PERIODS

FS_RANGE = (50.0, 1000.0)  # of a run, as ``waveform.fs``


class Resample(nn.Module):
    """Resample signals to the rate of an encoder: (B, L, S) -> (B, L, M), M = ceil(S to_fs / fs).

    Parameters
    ----------
    fs, to_fs : float, Hz
        Sampling rate of the signals and of the result.

    Raises
    ------
    ValueError
        If ``fs`` is not from 50 to 1000 Hz.

    Notes
    -----
    The filter and the ends are those of ``signals.resampling.resample``, as a convolution that
    has a gradient and runs on any device.
    """

    def __init__(self, fs: float, to_fs: float):
        super().__init__()
        if not (isinstance(fs, int | float) and FS_RANGE[0] <= fs <= FS_RANGE[1]):
            raise ValueError(f"fs={fs!s:.40}: expected {FS_RANGE[0]:g} to {FS_RANGE[1]:g} Hz")
        ratio = (Fraction(to_fs) / Fraction(fs)).limit_denominator(1000)
        self.up, self.down = ratio.numerator, ratio.denominator
        # Not stored with the weights: it follows from the rates.
        self.register_buffer("taps_T", torch.tensor(self._taps()), persistent=False)
        self.taps_T: Tensor

    def _taps(self) -> np.ndarray:
        """Return the low-pass (T,) float32, with the gain that makes up for inserted zeros."""
        from scipy.signal import firwin  # takes long to import

        if self.up == self.down:
            return np.ones(1, np.float32)
        if self.up < self.down:
            n_half, corner = LOW_PASS_PERIODS * self.down, LOW_PASS_CORNER / self.down
        else:
            n_half, corner = 10 * self.up, 1 / self.up
        taps = firwin(2 * n_half + 1, corner, window=KAISER)
        return np.asarray(self.up * taps, np.float32)

    def forward(self, signal_BLS: Tensor) -> Tensor:
        if self.up == self.down:
            return signal_BLS
        n_records, n_leads, n_samples = signal_BLS.shape
        n_half = len(self.taps_T) // 2
        n_beyond = -(-n_half // self.up)
        # Beyond its ends a signal goes on along the line from its first to its last sample.
        slope_BL1 = (signal_BLS[:, :, -1:] - signal_BLS[:, :, :1]) / max(1, n_samples - 1)
        step = torch.arange(1, n_beyond + 1, device=signal_BLS.device)
        before = signal_BLS[:, :, :1] - slope_BL1 * step.flip(0)
        after = signal_BLS[:, :, -1:] + slope_BL1 * step
        longer = torch.cat([before, signal_BLS, after], dim=2).reshape(n_records * n_leads, 1, -1)
        taps, first = self.taps_T[None, None], n_beyond * self.up
        if self.down == 1:  # without a product with each inserted zero
            filtered = functional.conv_transpose1d(longer, taps, stride=self.up)
            filtered = filtered[:, :, first + n_half :]
        else:
            spaced = functional.pad(longer[..., None], (0, self.up - 1)).flatten(2)
            filtered = functional.conv1d(spaced[:, :, first - n_half :], taps, stride=self.down)
        n_out = math.ceil(n_samples * self.up / self.down)
        return filtered[:, 0, :n_out].reshape(n_records, n_leads, n_out)


def cut_windows(signal_BLM: Tensor, n_samples: int) -> Tensor:
    """Cut signals into as few windows as cover them, evenly placed: (B, L, M) -> (B, W, L, N).

    A signal that is shorter than a window is padded with 0 at its end.
    """
    n = signal_BLM.shape[2]
    if n < n_samples:
        return functional.pad(signal_BLM, (0, n_samples - n))[:, None]
    n_windows = math.ceil(n / n_samples)
    starts = [round(i * (n - n_samples) / max(1, n_windows - 1)) for i in range(n_windows)]
    return torch.stack([signal_BLM[:, :, start : start + n_samples] for start in starts], dim=1)
