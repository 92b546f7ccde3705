"""Warnings about the quality of a recording: noise, baseline, gaps, calibration, electrodes.

The limits were set on PTB-XL, folds 1-7 (docs/LOG.md). Of its 2,932 records at 100 Hz each warning
names less than 1 %, but for those of noise and of a moving baseline, about half of whose records
its annotators noted as noisy or drifting.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ecg_siglip.signals.electrodes import electrode_warnings
from ecg_siglip.signals.gaps import interpolate_gaps, recorded_span
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import INT16_LIMIT, UV_PER_MV
from ecg_siglip.signals.resampling import resample
from ecg_siglip.signals.small_arrays import median_of_arrays, row_medians

FS = 100.0  # Hz, the sampling rate at which the limits were set
NOISE_MV = 0.04  # standard deviation in the noisiest second
DRIFT_MV = 2.0  # range of the medians of all seconds
OFFSET_MV = 1.0
FLAT_S = 0.5
CLIPPED_S = 0.03  # at the largest or smallest value of the lead
CLIPPED_MV = 1.0  # amplifiers do not clip below it
MAINS_HZ = (50.0, 60.0)
MAINS_MV = 0.05  # amplitude
# Sampled at less than about 90 Hz, hum appears at the frequencies of the ECG itself.
MIN_SEEN_HZ = 35.0
MAX_KEPT = 1 << 17  # samples of a signal whose window is kept for the next one of that length
SLOW_HZ = 20.0  # most of the power of an ECG is below it
# Power of the mains hum, of that of everything else, above which there is hardly an ECG.
MOSTLY_MAINS = 4.0
PULSE_MV = (0.4, 2.5)
PULSE_S = (0.04, 1.0)
EDGE = 4  # samples at FS in which a pulse rises
# Leads that a device does not compute from others: a pulse of 1 mV is 1 mV in each.
MEASURED = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]


def quality_warnings(
    signal: np.ndarray,
    fs: float,
    available: np.ndarray | None = None,
    offset_removed: bool = False,
    resampler: Callable[[np.ndarray, float, float], np.ndarray] = resample,
) -> list[str]:
    """Return warnings about the quality of a record, one sentence each; empty for a clean one.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), float, mV
        Leads in the order of ``leads.LEADS``, as recorded, at least a second; NaN in gaps.
    fs : float, Hz
    available : ndarray of shape (12,), bool, optional
        Leads that the record has, see ``leads.available_leads`` (None: all); there are no
        warnings about others.
    offset_removed : bool
        The model does not see constant offsets: the preparation removes the baseline.
    resampler : callable
        ``resampling.resample``, or one that shares its results.

    Returns
    -------
    list of str

    Notes
    -----
    Noise: median absolute second difference in each second, which the QRS complex hardly changes.
    Mains: at the sampling rate of the record; 60 Hz in a record of 100 Hz appears as 40 Hz, and is
    recognized there. Electrodes: see ``electrodes.electrode_warnings``.
    """
    signal = np.asarray(signal, np.float64)
    is_available = np.ones(len(signal), bool) if available is None else np.asarray(available)
    warnings = _gaps(signal)
    signal = interpolate_gaps(signal)
    # Before the padding is taken off: a pulse may be next to it.
    at_fs = np.asarray(resampler(signal, fs, FS), np.float64)
    calibration = _calibration(at_fs, is_available)
    signal, padding = _without_padding(signal, fs, is_available)
    is_flat, flat = _flat(signal, fs, is_available)
    median_mv = row_medians(signal)
    is_clipped, clipped = _clipped(signal, fs, median_mv)
    # The top of a pulse is flat, too.
    warnings += [*padding, *flat, *calibration, *([] if calibration else clipped)]
    warnings += _spikes(signal, median_mv)
    if signal.shape[1] < fs:
        return warnings
    mains, is_ecg = _mains(signal, fs, is_available, median_mv)
    if not is_ecg:
        return warnings + mains
    at_fs = np.asarray(resampler(signal, fs, FS), np.float64) if padding else at_fs
    noise_mv = _noise_mv(at_fs)
    warnings += [*mains, *_above_limit("noise", noise_mv, NOISE_MV)]
    drift_mv = _drift_mv(at_fs)
    warnings += _above_limit("a moving baseline", drift_mv, DRIFT_MV)
    baseline_mv = median_mv if fs == FS else row_medians(at_fs)
    warnings += _offset(np.where(drift_mv > DRIFT_MV, 0, baseline_mv), offset_removed)
    is_clear = (noise_mv <= NOISE_MV) & ~is_flat & ~is_clipped
    return warnings + electrode_warnings(at_fs - baseline_mv[:, None], is_available, is_clear)


def _gaps(signal: np.ndarray) -> list[str]:
    """Return at most one warning of samples that were interpolated."""
    is_gap = ~np.isfinite(signal)
    if not is_gap.any():
        return []
    share = is_gap.mean(axis=1)
    return [f"gaps in {_listed(share > 0)} interpolated ({_percent(share.max())} of the samples)"]


def _without_padding(
    signal: np.ndarray, fs: float, is_available: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Return the part of a record between its padded ends, and a warning for each such end."""
    span = recorded_span(signal if is_available.all() else signal[is_available], fs)
    warnings = [
        f"no lead has a signal at the {where} ({n_samples / fs:.1f} s): padded?"
        for where, n_samples in (
            ("beginning", span.start),
            ("end", signal.shape[1] - span.stop),
        )
        if n_samples
    ]
    return signal[:, span], warnings


def _offset(baseline_mv: np.ndarray, offset_removed: bool) -> list[str]:
    """Return at most one warning of leads whose baseline is far from zero."""
    offset_mv = np.abs(baseline_mv)
    where = _listed(offset_mv > OFFSET_MV)
    if not where:
        return []
    done = ", taken off" if offset_removed else ""
    return [f"baseline of {where} off zero ({offset_mv.max():.3g} mV): an electrode offset{done}"]


def _flat(signal: np.ndarray, fs: float, is_available: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the available leads that are constant for ``FLAT_S``, and at most one warning."""
    is_constant = signal[:, 1:] == signal[:, :-1]
    is_flat = is_available & _has_run(is_constant, math.ceil(FLAT_S * fs) - 1)
    if not is_flat.any():
        return is_flat, []
    constant_s = (_longest_run(is_constant) + 1) / fs
    gap_s = (_longest_run(is_constant[is_available].all(axis=0)[None])[0] + 1) / fs
    if gap_s >= FLAT_S and is_available.sum() > 1:
        return is_flat, [f"no lead moves for {gap_s:.1f} s: a gap in the recording?"]
    longest_s, leads = constant_s[is_flat].max(), _listed(is_flat)
    if is_flat.sum() == 1:
        return is_flat, [f"lead {leads} does not move for {longest_s:.1f} s: a loose electrode?"]
    return is_flat, [f"{leads} do not move for {longest_s:.1f} s or less: loose electrodes?"]


def _clipped(signal: np.ndarray, fs: float, baseline: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the leads that stay at their largest or smallest value, and at most one warning."""
    min_run = max(3, round(CLIPPED_S * fs))
    limit_mv = np.zeros(len(signal))
    for extreme in (signal.min(axis=1), signal.max(axis=1)):
        is_far = np.abs(extreme - baseline) >= CLIPPED_MV
        for i in np.flatnonzero(is_far):
            is_there = signal[i] == extreme[i]
            if is_there.sum() >= min_run and _longest_run(is_there[None])[0] >= min_run:
                limit_mv[i] = extreme[i]
    is_clipped = limit_mv != 0
    if not is_clipped.any():
        return is_clipped, []
    largest = limit_mv[np.abs(limit_mv).argmax()]
    if is_clipped.sum() == 1:
        return is_clipped, [f"lead {_listed(is_clipped)} is cut off at {largest:.1f} mV"]
    return is_clipped, [f"{_listed(is_clipped)} are cut off at {largest:.1f} mV or less"]


def _spikes(signal: np.ndarray, median_mv: np.ndarray) -> list[str]:
    """Return at most one warning of leads beyond the range of the model's input."""
    limit_mv = INT16_LIMIT / UV_PER_MV
    if np.ptp(signal, axis=1).max() <= limit_mv:
        return []
    largest_mv = np.abs(signal - median_mv[:, None]).max(axis=1)
    if largest_mv.max() <= limit_mv:
        return []
    where = _listed(largest_mv > limit_mv)
    return [f"spikes in {where} ({largest_mv.max():.3g} mV), removed beyond {limit_mv:.1f} mV"]


def _mains(
    signal: np.ndarray, fs: float, is_available: np.ndarray, median_mv: np.ndarray
) -> tuple[list[str], bool]:
    """Return at most one warning of hum of 50 or 60 Hz, and whether there is an ECG besides."""
    n = signal.shape[1]
    make = _window_and_bands if n <= MAX_KEPT else _window_and_bands.__wrapped__
    window, bands = make(n, fs)
    spectrum = np.fft.rfft((signal - median_mv[:, None]) * window, axis=1)

    def power(which: np.ndarray | slice) -> np.ndarray:
        part = spectrum[:, which]
        return np.asarray(2 * (part.real**2 + part.imag**2) / n**2)

    def is_most(hum: np.ndarray, others: np.ndarray | slice) -> bool:
        ratio = hum / power(others).sum(axis=1).clip(1e-9)
        return bool(np.median(ratio[is_available]) > MOSTLY_MAINS)

    # Nearly all records have less power than that at these frequencies, whether it is hum or not.
    most = [power(band.hum).sum(axis=1) for band in bands]
    limit = MAINS_MV**2 / 2
    if all(
        hum.max() <= limit and not is_most(hum, band.slow)
        for hum, band in zip(most, bands, strict=True)
    ):
        return [], True
    hums = []
    for band in bands:
        # What the neighboring frequencies have as well is noise or a spike.
        level = row_medians(power(band.near))
        hums.append((power(band.hum) - level[:, None]).sum(axis=1).clip(min=0))
    at = max(range(len(bands)), key=lambda i: hums[i].max())
    hum, mains_hz = hums[at], bands[at].mains_hz
    if is_most(hum, bands[at].other):
        return [
            f"hardly more than mains hum of {mains_hz:g} Hz ({np.sqrt(2 * hum.max()):.2g} mV): "
            "electrodes not connected?"
        ], False
    return _above_limit(f"mains hum of {mains_hz:g} Hz", np.sqrt(2 * hum), MAINS_MV), True


class _Band(NamedTuple):
    """Frequencies at which a record shows the hum of the mains.

    Attributes
    ----------
    mains_hz : float, Hz
    hum, near, other : ndarray of int
        Frequencies of the spectrum at that of the mains, next to it, and all others of an ECG.
    slow : slice
        Those of the others in which an ECG has most of its power.
    """

    mains_hz: float
    hum: np.ndarray
    near: np.ndarray
    other: np.ndarray
    slow: slice


@functools.lru_cache(maxsize=8)
def _window_and_bands(n: int, fs: float) -> tuple[np.ndarray, list[_Band]]:
    """Return the window of a spectrum of n samples, and the bands in which it may have hum."""
    # Of unit power, so that the square of the amplitude is that of a sine.
    window = np.hanning(n) / np.sqrt(3 / 8)
    hz = np.fft.rfftfreq(n, 1 / fs)
    bands = []
    for mains_hz in MAINS_HZ:
        seen_hz = abs(mains_hz - round(mains_hz / fs) * fs)
        if seen_hz >= MIN_SEEN_HZ:
            distance = np.abs(hz - seen_hz)
            is_near = (distance > 1) & (distance <= 4)
            is_in = (distance <= 0.5, is_near, (hz > 1) & (distance > 1))
            slow = slice(*np.searchsorted(hz, (1.0, SLOW_HZ), side="right"))
            hum, near, other = map(np.flatnonzero, is_in)
            bands.append(_Band(mains_hz, hum, near, other, slow))
    return window, bands


def _drift_mv(signal: np.ndarray) -> np.ndarray:
    """Return the range of the medians of all seconds of each lead, mV; 0 if it is small."""
    drift_mv = np.zeros(len(signal))
    may_drift = np.ptp(signal, axis=1) > DRIFT_MV
    if may_drift.any():
        drift_mv[may_drift] = np.ptp(row_medians(_seconds(signal[may_drift])), axis=1)
    return drift_mv


def _noise_mv(signal: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise in the noisiest second of each lead, mV.

    0 if it is clearly below the limit: the median of values that are not negative is at most twice
    their mean.
    """
    # 1.4826: standard deviation from the median; 6: the variance that second differences add.
    mv_per_median = 1.4826 / np.sqrt(6)
    second_difference = np.abs(np.diff(_seconds(signal), n=2, axis=2))
    may_be_noisy = 2 * mv_per_median * second_difference.mean(axis=2) > NOISE_MV
    noise_mv = np.zeros(may_be_noisy.shape)
    noise_mv[may_be_noisy] = mv_per_median * row_medians(second_difference[may_be_noisy])
    return np.asarray(noise_mv.max(axis=1))


def _calibration(signal: np.ndarray, is_available: np.ndarray) -> list[str]:
    """Return at most one warning of rectangular pulses, the same in all leads at the same time."""
    leads = [i for i in MEASURED if is_available[i]]
    if len(leads) < 4:
        return []
    low, high = PULSE_MV
    chosen = signal[leads]
    change = chosen[:, EDGE:] - chosen[:, :-EDGE]
    least, largest = change.min(axis=0), change.max(axis=0)
    # Either the rise or the fall of a pulse is upwards; few other records have such a step in all
    # leads.
    if not (least > 0.8 * low).any():
        return []
    step_mv = median_of_arrays(change)
    size_mv = np.abs(step_mv)
    is_same = np.maximum(largest - step_mv, step_mv - least) <= 0.15 * size_mv
    edges = np.flatnonzero(is_same & (low <= size_mv) & (size_mv <= high))
    shortest, longest = (round(seconds * FS) for seconds in PULSE_S)
    for rise in edges:
        falls = edges[(edges >= rise + EDGE + shortest) & (edges <= rise + EDGE + longest)]
        for fall in falls[np.abs(step_mv[falls] + step_mv[rise]) <= 0.15 * size_mv[rise]]:
            top = signal[leads, rise + EDGE : fall + 1]
            if np.ptp(top, axis=1).max() <= 0.15 * size_mv[rise]:
                pulse_mv = np.median(np.median(top, axis=1) - signal[leads, rise])
                return [
                    f"a calibration pulse ({abs(pulse_mv):.1f} mV, {rise / FS:.1f} s after the "
                    "beginning): no part of the ECG"
                ]
    return []


def _above_limit(quantity: str, value_mv: np.ndarray, limit_mv: float) -> list[str]:
    """Return at most one warning that lists the leads above a limit, with the largest value."""
    is_above = value_mv > limit_mv
    return [f"{quantity} in {_listed(is_above)} ({value_mv.max():.2g} mV)"] * bool(is_above.any())


def _listed(is_listed: Sequence[bool] | np.ndarray) -> str:
    """Return the names of some of the twelve leads."""
    names = [lead for lead, listed in zip(LEADS, is_listed, strict=True) if listed]
    return "all leads" if len(names) == len(LEADS) else ", ".join(names)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _seconds(signal: np.ndarray) -> np.ndarray:
    """Split (12, n_samples) at ``FS`` into whole seconds, (12, n_seconds, samples per second)."""
    size = min(int(FS), signal.shape[1])
    n = signal.shape[1] // size
    return signal[:, : n * size].reshape(len(signal), n, size)


def _has_run(flags: np.ndarray, n: int) -> np.ndarray:
    """Return whether each row has n True in succession."""
    size = 1
    while size < n:
        step = min(size, n - size)
        flags = flags[:, step:] & flags[:, :-step]  # runs of size + step that begin here
        size += step
    return np.asarray(flags.any(axis=1))


def _longest_run(flags: np.ndarray) -> np.ndarray:
    """Return the length of the longest run of True in each row."""
    n = flags.shape[1] + 2
    padded = np.zeros((len(flags), n), np.int8)
    padded[:, 1:-1] = flags
    # Between the rows there is no run: all of them at the same time.
    change = np.diff(padded.ravel())
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    longest = np.zeros(len(flags), np.int64)
    np.maximum.at(longest, starts // n, stops - starts)
    return longest
