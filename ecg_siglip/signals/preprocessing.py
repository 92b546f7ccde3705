"""Preprocess a signal in mV: order leads, check, resample, filter, fit length, round to 1 uV.

Every step is a pure function. ``prepare_signal`` runs all of them in the order that training,
evaluation and prediction share.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ecg_siglip.signals.gaps import fill_gaps, interpolate_gaps, level_padding
from ecg_siglip.signals.leads import available_leads, lead_list, order_leads, record_prefix
from ecg_siglip.signals.resampling import resample
from ecg_siglip.signals.signal_checks import check_finite, check_signal
from ecg_siglip.signals.small_arrays import row_medians

# Version of the preparation. A model keeps the one that it was trained with: 1 resamples with
# SciPy's own filter and leaves padded ends and spikes as they are.
VERSION = 2
UV_PER_MV = 1000
# -32768 marks an invalid sample in WFDB files.
INT16_LIMIT = 32767
# A record that is shorter by so little is as long as intended.
ROUNDING_S = 0.05
# Share of the samples of a lead that may exceed the range of 16 bits.
SPIKE = 0.01


@functools.lru_cache(maxsize=64)
def _butterworth(
    fs: float, low_hz: float | None, high_hz: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the second-order sections of ``bandpass``, and their state after a constant 1."""
    from scipy.signal import butter, sosfilt_zi

    corners = [corner for corner in (low_hz, high_hz) if corner is not None]
    kind = "bandpass" if len(corners) == 2 else "lowpass" if low_hz is None else "highpass"
    sections = butter(2, corners if len(corners) == 2 else corners[0], kind, fs=fs, output="sos")
    return sections, sosfilt_zi(sections)[:, None]


def bandpass(
    signal: np.ndarray, fs: float, low_hz: float | None = None, high_hz: float | None = None
) -> np.ndarray:
    """Remove frequencies below ``low_hz`` and above ``high_hz``.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)
    fs : float, Hz
    low_hz, high_hz : float, Hz, optional
        Corner frequencies; None: no filter on that side. If both are None, the same object is
        returned.

    Returns
    -------
    ndarray of shape (n_leads, n_samples), float32

    Raises
    ------
    ValueError
        If not 0 < low_hz < high_hz < fs / 2.

    Notes
    -----
    Second-order Butterworth, run forwards and backwards: -6 dB at the corner and no phase
    distortion, so that a corner of 0.5 Hz does not distort the ST segment (Kligfield et al. 2007,
    doi:10.1161/CIRCULATIONAHA.106.180200). Both ends are padded with their mirror image over one
    period of ``low_hz``, which keeps the baseline where it is even if the record ends within a QRS
    complex; SciPy's default, the point reflection, shifts it by twice the height of the last
    sample.
    """
    corners = [corner for corner in (low_hz, high_hz) if corner is not None]
    if not corners:
        return signal
    if any(not 0 < corner < fs / 2 for corner in corners) or corners != sorted(set(corners)):
        raise ValueError(
            f"expected 0 < low_hz < high_hz < {fs / 2:g} Hz (half of the {fs:g} Hz sampling rate), "
            f"got low_hz={low_hz}, high_hz={high_hz}"
        )
    from scipy.signal import sosfilt

    # As ``scipy.signal.sosfiltfilt``, which computes the state for each signal again.
    sections, state = _butterworth(fs, low_hz, high_hz)
    n = signal.shape[1]
    n_pad = min(n - 1, round(fs / corners[0]) + 3 * (2 * len(sections) + 1))
    mirrored = signal[:, ::-1]
    padded = np.concatenate(
        [mirrored[:, n - 1 - n_pad : n - 1], signal, mirrored[:, 1 : 1 + n_pad]], 1, dtype=float
    )
    forwards, _ = sosfilt(sections, padded, axis=1, zi=state * padded[:, :1])
    backwards, _ = sosfilt(sections, forwards[:, ::-1], axis=1, zi=state * forwards[:, -1:])
    return backwards[:, ::-1][:, n_pad : n_pad + n].astype(np.float32)


def fit_length(
    signal: np.ndarray,
    n_samples: int,
    allow_short: bool = False,
    record: str = "",
    fs: float | None = None,
) -> np.ndarray:
    """Return the middle ``n_samples`` of a signal; a shorter one is padded with zeros at its end.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n)
    n_samples : int
    allow_short : bool
        Pad shorter signals. One missing sample, or with ``fs`` up to ``ROUNDING_S``, is due to
        rounding: it is always accepted, and the last sample is repeated.
    record : str
        Name of the record, for messages.
    fs : float, Hz, optional
        For messages in seconds instead of samples.

    Returns
    -------
    ndarray of shape (n_leads, n_samples)

    Raises
    ------
    ValueError
        If the signal is shorter without ``allow_short``, or empty.
    """
    n = signal.shape[1]
    n_missing = n_samples - n
    n_rounding = max(1, round(ROUNDING_S * fs)) if fs else 1
    if n == 0 or (n_missing > n_rounding and not allow_short):
        got, expected = (
            (f"{n / fs:.4g} s", f"{n_samples / fs:g} s") if fs else (f"{n} samples", f"{n_samples}")
        )
        hint = "; pad with waveform.allow_short=true" if n else ""
        raise ValueError(f"{record_prefix(record)}{got} of signal, expected {expected}{hint}")
    if n_missing > 0:
        mode: Any = "edge" if n_missing <= n_rounding else "constant"
        return np.pad(signal, ((0, 0), (0, n_missing)), mode=mode)
    start = -n_missing // 2
    return signal[:, start : start + n_samples]


def to_int16(signal: np.ndarray) -> np.ndarray:
    """Convert mV to whole uV, clipped to 32.767 mV in either direction.

    Parameters
    ----------
    signal : ndarray, mV, finite

    Returns
    -------
    ndarray of the same shape, int16, uV
    """
    assert np.isfinite(signal).all(), "NaN has no int16: call check_signal first"
    microvolts = np.rint(np.asarray(signal, np.float64) * UV_PER_MV)
    return np.clip(microvolts, -INT16_LIMIT, INT16_LIMIT).astype(np.int16)


def from_int16(microvolts: np.ndarray) -> np.ndarray:
    """Convert whole uV to mV.

    Parameters
    ----------
    microvolts : ndarray, int16, uV

    Returns
    -------
    ndarray of the same shape, float32, mV
    """
    return microvolts.astype(np.float32) / np.float32(UV_PER_MV)


def quantize(signal: np.ndarray) -> np.ndarray:
    """Round a signal to steps of 1 uV, so that storing it as int16 loses nothing.

    Parameters
    ----------
    signal : ndarray, mV, finite

    Returns
    -------
    ndarray of the same shape, float32, mV
    """
    return from_int16(to_int16(signal))


def prepare_signal(
    signal: np.ndarray,
    fs: float,
    leads: Sequence[str],
    *,
    to_fs: float,
    duration_s: float,
    low_hz: float | None = None,
    high_hz: float | None = None,
    allow_short: bool = False,
    allow_flat: bool = False,
    allow_gaps: bool = False,
    allow_missing_leads: bool = False,
    version: int = VERSION,
    record: str = "",
    resampler: Callable[[np.ndarray, float, float, bool], np.ndarray] = resample,
) -> np.ndarray:
    """Turn the signal of a record into the input of a model.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n), mV
    fs : float, Hz
    leads : sequence of str, length n_leads
    to_fs : float, Hz
    duration_s : float, s
    low_hz, high_hz : float, Hz, optional
        Corners of the zero-phase filter.
    allow_short, allow_flat : bool
        Pad shorter records; accept leads without signal.
    allow_gaps : bool
        Interpolate a few invalid samples, see ``fill_gaps``.
    allow_missing_leads : bool
        Compute missing limb leads from two others; set all other missing leads to 0.
    version : int
        See ``VERSION``.
    record : str
        Name of the record, for messages.
    resampler : callable
        ``resample``, or one that shares its results.

    Returns
    -------
    ndarray of shape (12, round(to_fs * duration_s)), float32, mV, in steps of 1 uV

    Raises
    ------
    ValueError
        As the steps ``order_leads``, ``fill_gaps``, ``check_signal``, ``resample``, ``bandpass``
        and ``fit_length``; or if a lead exceeds the range of 16 bits, 32.767 mV in either
        direction, for more than ``SPIKE`` of the time. With a high-pass filter, shorter spikes are
        interpolated, otherwise clipped.

    Notes
    -----
    A 16-bit record with a gain of 1000/mV at ``to_fs`` comes out unchanged if no filter is set.
    With a high-pass filter, padded ends are brought to the baseline first (``level_padding``).
    """
    signal = order_leads(signal, leads, record, allow_missing_leads)
    if allow_gaps:
        signal = fill_gaps(signal, fs, record)
    check_finite(signal, record)
    # The filter would spread a step or a spike over the second around it.
    is_filtered = version >= 2 and low_hz is not None
    signal = level_padding(signal, fs) if is_filtered else signal
    check_signal(signal, record, allow_flat, available_leads(leads))
    signal = _without_spikes(signal, record) if is_filtered else signal
    signal = resampler(signal, fs, to_fs, version >= 2)
    signal = bandpass(signal, to_fs, low_hz, high_hz)
    signal = fit_length(signal, round(to_fs * duration_s), allow_short, record, to_fs)
    _check_range(signal, record)
    return quantize(signal)


def _without_spikes(signal: np.ndarray, record: str) -> np.ndarray:
    """Interpolate the samples that are out of range of the median of their lead."""
    if np.ptp(signal, axis=1).max() <= INT16_LIMIT / UV_PER_MV:
        return signal
    centered = signal - row_medians(signal)[:, None]
    _check_range(centered, record)
    is_spike = np.abs(centered) > INT16_LIMIT / UV_PER_MV
    if not is_spike.any():
        return signal
    return interpolate_gaps(np.where(is_spike, np.float32(np.nan), signal))


def _check_range(signal: np.ndarray, record: str) -> None:
    """Refuse leads of which more than a spike is out of the range of ``to_int16``."""
    limit_mv = INT16_LIMIT / UV_PER_MV
    if signal.max() <= limit_mv and -limit_mv <= signal.min():
        return
    magnitude_mv = np.abs(signal)
    exceeds = (magnitude_mv > limit_mv).mean(axis=1) > SPIKE
    if exceeds.any():
        raise ValueError(
            f"{record_prefix(record)}{lead_list(exceeds)} up to {magnitude_mv.max():.4g} mV, "
            f"expected at most {limit_mv:g} mV"
        )
