"""Resample signals: a polyphase filter as products of matrices, and its results shared."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import NamedTuple

import numpy as np

# The low-pass: half its length in periods of the lower rate, and where it halves the amplitude, of
# half that rate. With a Kaiser window of 5 its transition is 0.16 wide.
LOW_PASS_PERIODS = 20
LOW_PASS_CORNER = 0.92
KAISER = ("kaiser", 5.0)
SCIPY_PERIODS = 10  # half the length of the low-pass that SciPy's ``resample_poly`` makes
BLOCK = 40  # samples of the result that are computed together
# Numbers of a matrix (8 MB); of rates without a simple ratio, it would have more.
MAX_MATRIX = 1_000_000


def resample(signal: np.ndarray, fs: float, to_fs: float, steep: bool = True) -> np.ndarray:
    """Resample a signal to another sampling rate.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), finite
    fs, to_fs : float, Hz
        Sampling rate of the signal and of the result.
    steep : bool
        To a lower rate, use a low-pass that removes what is at half of that rate.

    Returns
    -------
    ndarray of shape (n_leads, ceil(n_samples * to_fs / fs)), float32
        The same object if the rates are equal.

    Raises
    ------
    ValueError
        If a rate is not positive.

    Notes
    -----
    Polyphase filter with a linear-phase Kaiser low-pass, as ``scipy.signal.resample_poly`` in a
    fifth of its time: no shift in time, no aliases. The steep one passes up to 0.84 and stops from
    1.0 of half the lower rate: mains hum of 50 Hz is at half of 100 Hz, where SciPy's own filter
    only halves it. Beyond both ends the signal continues on the line from its first to its last
    sample, so that the ends do not ring.
    """
    if not (fs > 0 and to_fs > 0):
        raise ValueError(f"expected sampling rates above 0 Hz, got {fs:g} and {to_fs:g}")
    if fs == to_fs:
        return signal
    ratio = Fraction(to_fs).limit_denominator(1000) / Fraction(fs).limit_denominator(1000)
    # A rate such as 499.973 Hz must not need a filter of gigabytes.
    ratio = ratio.limit_denominator(20_000)
    up, down = ratio.numerator, ratio.denominator
    is_steep = steep and up < down
    filter_ = _block_filter(up, down, is_steep)
    if filter_ is not None and signal.shape[1] > 1:
        return _filtered(signal, up, down, filter_)
    # scipy.signal takes longer to import than a prediction takes.
    from scipy.signal import resample_poly

    resampled = resample_poly(
        signal.astype(np.float64),
        up,
        down,
        axis=1,
        padtype="line",
        window=_taps(up, down, is_steep),
    )
    return resampled.astype(np.float32)


class SharedResampling:
    """``resample`` that keeps its last result, for the next call with equal values.

    The preparation of a record and the warnings about its quality resample the same signal, unless
    the one or the other changes it before.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, tuple[float, float, bool], np.ndarray] | None = None

    def __call__(
        self, signal: np.ndarray, fs: float, to_fs: float, steep: bool = True
    ) -> np.ndarray:
        """Resample a signal, see ``resample``; do not change the result."""
        if fs == to_fs:
            return signal
        settings = (fs, to_fs, steep)
        if self._last is not None:
            source, source_settings, resampled = self._last
            if settings == source_settings and np.array_equal(signal, source):
                return resampled
        resampled = resample(signal, fs, to_fs, steep)
        self._last = (signal.copy(), settings, resampled)
        return resampled


class _BlockFilter(NamedTuple):
    """A polyphase filter that computes blocks of the result from blocks of the signal.

    Attributes
    ----------
    n_before : int
        Samples of the signal before a block on which its result depends.
    matrices : ndarray of shape (n_blocks, n_in, n_out), float64
        A block of the result is the sum of their products with successive blocks of the signal.
    """

    n_before: int
    matrices: np.ndarray


@functools.lru_cache(maxsize=8)
def _taps(up: int, down: int, steep: bool) -> np.ndarray:
    """Return the low-pass; most records of an archive need the same."""
    from scipy.signal import firwin

    longer = max(up, down)
    n_half = (LOW_PASS_PERIODS if steep else SCIPY_PERIODS) * longer
    corner = (LOW_PASS_CORNER if steep else 1.0) / longer
    return np.asarray(firwin(2 * n_half + 1, corner, window=KAISER))


@functools.lru_cache(maxsize=8)
def _block_filter(up: int, down: int, steep: bool) -> _BlockFilter | None:
    """Return the filter for a ratio of sampling rates; None if its matrices are too large."""
    per_block = max(1, BLOCK // up)
    n_in, n_out = per_block * down, per_block * up
    n_half = (LOW_PASS_PERIODS if steep else SCIPY_PERIODS) * max(up, down)
    n_before = n_half // up
    n_needed = n_before + ((n_out - 1) * down + n_half) // up + 1
    n_blocks = -(-n_needed // n_in)
    if n_blocks * n_in * n_out > MAX_MATRIX:
        return None
    taps = up * _taps(up, down, steep)
    position = np.arange(n_blocks * n_in)[:, None] - n_before
    tap = n_half + np.arange(n_out) * down - position * up
    is_tap = (tap >= 0) & (tap < len(taps))
    matrix = np.where(is_tap, taps[tap.clip(0, len(taps) - 1)], 0.0)
    return _BlockFilter(n_before, matrix.reshape(n_blocks, n_in, n_out))


def _filtered(signal: np.ndarray, up: int, down: int, filter_: _BlockFilter) -> np.ndarray:
    """Return a signal of at least two samples, resampled."""
    (n_leads, n), matrices = signal.shape, filter_.matrices
    n_blocks, n_in, n_out = matrices.shape
    n_resampled = -(-n * up // down)
    n_results = -(-n_resampled // n_out)
    # Beyond both ends, the line from the first to the last sample.
    start, stop = filter_.n_before, filter_.n_before + n
    extended = np.empty((n_leads, (n_results + n_blocks - 1) * n_in))
    extended[:, start:stop] = signal
    first = extended[:, start, None]
    slope = (extended[:, stop - 1, None] - first) / (n - 1)
    extended[:, :start] = first + slope * np.arange(-start, 0)
    extended[:, stop:] = first + slope * np.arange(n, extended.shape[1] - start)
    blocks = extended.reshape(n_leads, n_results + n_blocks - 1, n_in)
    results = blocks[:, :n_results] @ matrices[0]
    for i in range(1, n_blocks):
        results += blocks[:, i : i + n_results] @ matrices[i]
    return results.reshape(n_leads, n_results * n_out)[:, :n_resampled].astype(np.float32)
