"""Resample a signal once for several uses."""

from __future__ import annotations

import numpy as np

from ecg_siglip.signals.preprocessing import resample


class SharedResampling:
    """``preprocessing.resample`` that keeps its last result, for the next call with equal values.

    The preparation of a record and the warnings about its quality resample the same signal, unless
    the one or the other changes it before.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, tuple[float, float, bool], np.ndarray] | None = None

    def __call__(
        self, signal: np.ndarray, fs: float, to_fs: float, steep: bool = True
    ) -> np.ndarray:
        """Resample a signal, see ``preprocessing.resample``; do not change the result."""
        settings = (fs, to_fs, steep)
        if self._last is not None:
            source, source_settings, resampled = self._last
            if settings == source_settings and np.array_equal(signal, source):
                return resampled
        resampled = resample(signal, fs, to_fs, steep)
        self._last = (signal.copy(), settings, resampled)
        return resampled
