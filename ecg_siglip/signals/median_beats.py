"""Heart beats of a recording: QRS complexes, baseline, and the median beat of the usual ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecg_siglip.signals.gaps import interpolate_gaps
from ecg_siglip.signals.small_arrays import median_of_arrays, row_medians, sort_arrays

FS = 500.0  # Hz, of all signals in this module
MIN_BEATS = 2  # alike, for a median beat
BEFORE_S, AFTER_S = 0.45, 0.75  # of a beat, around the centre of its QRS complex
EDGE, WHOLE_S = (
    20,
    0.16,
)  # samples, s; from an end to a peak of the activity, to a whole QRS complex
REFRACTORY_S = 0.24
PEAK = 0.36  # of the usual peak of the activity: the lowest peak of a QRS complex
# A peak so soon after another, s, and smaller or less steep than these shares of it, is a T wave.
T_SHARE = ((0.36, (0.75, 0.42)), (0.50, (0.70, 0.36)))
TWICE_S, TWICE_RR = 0.32, 0.45  # so soon after a peak, s and of the usual interval, is no beat
CLEAR, QUIET_PERCENT = 4.2, 30  # peak of the activity of a QRS complex, times the activity between
FAST = 0.25  # slope of a QRS complex, of its largest
LARGE = 0.6  # of the beats of the largest group
ALIKE = 0.80  # correlation of beats with their median, around the QRS complex
HUM_HZ, HUM_WIDTH_HZ = (50.0, 60.0, 100.0, 120.0), 0.6
HUM = 8.0  # power of hum, times that of the frequencies next to it
SHORT_GAP_S = 0.02  # interpolated; a beat is used nevertheless
SPIKE_WIDTH, SPIKE_MV = 7, 0.4  # samples; difference from their median, RMS over leads
HALF_QRS_S = 0.09
# An edge at an end of the recording: how long its slope lasts, s and of that of QRS complexes.
EDGE_S, EDGE_SHARE, NEAR_EDGE_S = 0.024, 0.5, 0.06
SHIFT_S = 0.04  # the longest correction of the time of a beat


@dataclass(frozen=True)
class Beats:
    """The beats of a recording, cut out around their QRS complexes.

    Attributes
    ----------
    at : ndarray of shape (n_beats,), samples at ``FS``
        Centres of all QRS complexes.
    cut : ndarray of shape (n_usual, n_leads, n_samples), mV
        The usual beats without baseline; NaN outside of the recording, in gaps, and where the beats
        before and after are.
    """

    at: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """The median of the usual beats of a recording, and where its waves begin and end.

    Attributes
    ----------
    leads : tuple of str
    signal : ndarray of shape (n_leads, n_samples), mV
        From 0.45 s before the centre of the QRS complex to 0.75 s after it, without baseline; NaN
        where the beats before and after are.
    fs : float, Hz
    marks : dict of str to float, s from the first sample
        ``p_onset``, ``qrs_onset``, ``qrs_end`` and ``t_end``, as far as they are measurable.
    n_beats : int
        Of which it is the median.
    """

    leads: tuple[str, ...]
    signal: np.ndarray
    fs: float
    marks: Mapping[str, float]
    n_beats: int


def activity(slopes: np.ndarray) -> np.ndarray:
    """Compute the size of fast changes in all leads together.

    Parameters
    ----------
    slopes : ndarray of shape (n_leads, n_samples), mV per sample at ``FS``

    Returns
    -------
    ndarray of shape (n_samples,)
        Root mean square over leads of the slopes, smoothed over 20 ms, then of all of it over
        80 ms. A lead that is noisier than others has less weight.
    """
    size = _weighted_size(slopes, 10)
    window = np.hanning(42)[1:-1]
    return np.convolve(size, window / window.sum(), "same")


def _weighted_size(slopes: np.ndarray, n_box: int) -> np.ndarray:
    """Compute the root mean square over leads of slopes, smoothed over some samples."""
    box = np.ones(n_box) / n_box
    slopes = np.array([np.convolve(row, box, "same") for row in slopes])
    noise = row_medians(np.abs(slopes))
    weights = 1 / np.maximum(noise, max(float(np.median(noise)), 1e-6))
    return np.asarray(np.sqrt(np.mean(np.square(slopes * weights[:, None]), axis=0)))


def find_qrs(signal: np.ndarray) -> np.ndarray:
    """Find the QRS complexes of a recording by their slopes in all leads.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV, at ``FS``

    Returns
    -------
    ndarray of int64
        Their centres, in order, without those at an end of the recording; empty if nothing stands
        out.
    """
    slopes = np.gradient(signal, axis=1)
    size = activity(slopes)
    n_part = min(len(size), round(1.5 * FS))
    parts = size[: len(size) // n_part * n_part].reshape(-1, n_part)
    usual = float(np.median(parts.max(axis=1)))
    if not usual > CLEAR * float(np.percentile(size, QUIET_PERCENT)):
        return np.zeros(0, np.int64)
    inner = size[1:-1]
    is_peak = (inner >= size[:-2]) & (inner > size[2:]) & (inner > PEAK * usual)
    is_peak[:EDGE] = is_peak[-EDGE:] = False
    peaks = np.flatnonzero(is_peak) + 1
    beats: list[int] = []
    for peak in peaks[np.argsort(-size[peaks], kind="stable")].tolist():
        if all(abs(peak - other) > REFRACTORY_S * FS for other in beats):
            beats.append(peak)
    at = np.sort(np.array(beats, np.int64))
    at = _without_t_waves(at, size, _weighted_size(slopes, 5))
    # A QRS complex that is cut off has its peak elsewhere: its interval would be wrong.
    edge = round(WHOLE_S * FS)
    return at[(at >= edge) & (at < len(size) - edge)]


def _without_t_waves(at: np.ndarray, size: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Leave out peaks shortly after a QRS complex that are smaller or less steep than it."""
    usual, near = float(np.median(slope)), round(0.06 * FS)
    steep = [slope[max(peak - near, 0) : peak + near].max() - usual for peak in at.tolist()]
    kept: list[int] = []
    for i, peak in enumerate(at.tolist()):
        after_s = (peak - at[kept[-1]]) / FS if kept else np.inf
        shares = next((limits for within_s, limits in T_SHARE if after_s < within_s), (0.0, 0.0))
        previous = kept[-1] if kept else i
        is_small = size[peak] < shares[0] * size[at[previous]]
        if not is_small and steep[i] >= shares[1] * steep[previous]:
            kept.append(i)
    at = at[kept]
    # Two peaks of one wide premature beat, or its steep T wave.
    interval = np.diff(at, prepend=-len(size)) / FS
    usual_s = float(np.median(interval[1:])) if len(at) > 3 else 0.0
    at = at[interval > min(TWICE_S, TWICE_RR * usual_s)]
    # The T wave of a beat before the beginning.
    if len(at) > 3 and at[0] < T_SHARE[-1][0] * FS:
        at = at[1:] if size[at[0]] < T_SHARE[0][1][0] * np.median(size[at]) else at
    return at


def without_edges(signal: np.ndarray, at: np.ndarray) -> slice:
    """Return the samples between edges that look like the first or last QRS complex.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV, at ``FS``
    at : ndarray of int64
        See ``find_qrs``.

    Returns
    -------
    slice
        Without the ends from such an edge: a lead comes off, or a pulse of calibration begins. Its
        slope is much shorter than that of QRS complexes; that of premature beats is longer.
    """
    first, last = 0, signal.shape[1]
    half, near = round(HALF_QRS_S * FS), round(NEAR_EDGE_S * FS)
    size = np.sqrt(np.square(np.gradient(signal, axis=1)).sum(axis=0))
    parts = [size[max(peak - half, 0) : peak + half] for peak in at.tolist()]
    width = np.array([(part > FAST * part.max()).sum() for part in parts])
    is_edge = width < min(EDGE_S * FS, EDGE_SHARE * float(np.median(width)) if len(at) else 0)
    if len(at) > MIN_BEATS and is_edge[0]:
        first = int(at[0]) + near
    if len(at) > MIN_BEATS and is_edge[-1]:
        last = int(at[-1]) - near
    return slice(first, last)


def to_fs(signal: np.ndarray, fs: float) -> np.ndarray:
    """Resample a signal (n_leads, n_samples) to ``FS`` by its spectrum.

    Notes
    -----
    The line from the first to the last sample is subtracted before, so that the ends do not ring.
    Unlike ``resampling.resample`` this does not import SciPy.
    """
    n = signal.shape[1]
    n_new = round(n * FS / fs)
    if n_new == n:
        return signal
    line = signal[:, :1] + (signal[:, -1:] - signal[:, :1]) * np.arange(n) / (n - 1)
    spectrum = np.fft.rfft(signal - line, axis=1)
    if n_new < n:
        spectrum = spectrum[:, : n_new // 2 + 1]
    resampled = np.fft.irfft(spectrum, n_new, axis=1) * (n_new / n)
    times = np.arange(n_new) * (n / n_new) / (n - 1)
    return np.asarray(resampled + signal[:, :1] + (signal[:, -1:] - signal[:, :1]) * times)


def without_hum(signal: np.ndarray) -> np.ndarray:
    """Remove mains hum of 50 or 60 Hz and its double where there is any.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV, at ``FS``
    """
    n = signal.shape[1]
    line = np.linspace(0, 1, n) * (signal[:, -1:] - signal[:, :1]) + signal[:, :1]
    spectrum = np.fft.rfft(signal - line, axis=1)
    hz, power = np.arange(spectrum.shape[1]) * FS / n, np.square(np.abs(spectrum)).sum(axis=0)
    found = False
    for mains_hz in HUM_HZ:
        distance = np.abs(hz - mains_hz)
        inside, outside = distance <= HUM_WIDTH_HZ, (distance > 1) & (distance <= 4)
        if power[inside].mean() > HUM * power[outside].mean():
            spectrum[:, inside] = 0
            found = True
    return np.asarray(np.fft.irfft(spectrum, n, axis=1) + line) if found else signal


def without_spikes(signal: np.ndarray) -> np.ndarray:
    """Replace pacing spikes by straight lines.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV, at ``FS``

    Notes
    -----
    A spike is what differs from the median of the samples around it, in all leads together; QRS
    complexes are wider. At low sampling rates, or after a low-pass filter, spikes are as wide as
    these and stay.
    """
    half = SPIKE_WIDTH // 2
    padded = np.pad(signal, ((0, 0), (half, half)), mode="edge")
    # Medians take long, and hardly any sample can be so far from its own.
    most = sum(np.square(_most_from_median(row)) for row in padded)
    candidates = np.flatnonzero(most > 0.99 * len(signal) * SPIKE_MV**2)
    if not len(candidates):
        return signal
    around = [padded[:, candidates + shift] for shift in range(SPIKE_WIDTH)]
    difference = np.zeros_like(signal)
    difference[:, candidates] = signal[:, candidates] - median_of_arrays(around)
    is_spike = np.sqrt(np.square(difference).mean(axis=0)) > SPIKE_MV
    if not is_spike.any():
        return signal
    is_spike = np.convolve(is_spike, np.ones(2 * half + 1), "same") > 0
    return interpolate_gaps(np.where(is_spike, np.nan, signal))


def _most_from_median(padded: np.ndarray) -> np.ndarray:
    """Return how far samples can be at most from the median of the samples around them.

    Parameters
    ----------
    padded : ndarray of shape (n_samples + SPIKE_WIDTH - 1,), mV
        One lead.

    Returns
    -------
    ndarray of shape (n_samples,), mV

    Notes
    -----
    If the median of a sample, three before and three after it is below the sample, four of the
    others are not above the median, and so at least one on either side: the median is not below
    the lowest sample of either side. Upwards it is the same. On a slope both limits are the sample
    itself, and only samples that stick out remain.
    """
    low = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    high = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    middle, before, after = padded[3:-3], slice(None, -4), slice(4, None)
    down = middle - np.maximum(low[before], low[after])
    up = np.minimum(high[before], high[after]) - middle
    return np.asarray(np.maximum(np.maximum(down, up), 0))


def cut_beats(signal: np.ndarray, is_gap: np.ndarray, at: np.ndarray) -> Beats:
    """Cut out the usual beats of a recording.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV, at ``FS``
        Gaps interpolated.
    is_gap : ndarray of the same shape, bool
    at : ndarray of int64
        Centres of all QRS complexes, see ``find_qrs``.

    Returns
    -------
    Beats
        The usual beats are the largest group with alike QRS complexes; of nearly equally large
        groups, as in bigeminy, the one with the narrower complexes.
    """
    signal = without_baseline(signal, at)
    usual = _largest_group(signal, at)
    at = at.copy()
    for _ in range(2):
        at[usual] = _aligned(signal, at[usual])
    before, after = round(BEFORE_S * FS), round(AFTER_S * FS)
    padding = ((0, 0), (before, after))
    padded = np.pad(np.where(_long(is_gap), np.nan, signal), padding, constant_values=np.nan)
    cut = padded[:, at[usual][:, None] + np.arange(before + after)].transpose(1, 0, 2).copy()
    times = np.arange(-before, after)
    order = np.argsort(at)
    previous = dict(zip(order[1:], at[order[:-1]], strict=True))
    following = dict(zip(order[:-1], at[order[1:]], strict=True))
    for row, i in enumerate(usual.tolist()):
        # The T wave of the beat before, and the QRS complex of the one after.
        if i in previous:
            cut[row][:, times < previous[i] - at[i] + 0.12 * FS] = np.nan
        if i in following:
            cut[row][:, times > following[i] - at[i] - 0.08 * FS] = np.nan
    return Beats(np.sort(at), cut)


def _long(is_gap: np.ndarray) -> np.ndarray:
    """Return which samples are in gaps that are longer than ``SHORT_GAP_S``."""
    width = round(SHORT_GAP_S * FS)
    long = np.zeros_like(is_gap)
    for row in np.flatnonzero(is_gap.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.r_[0, is_gap[row].astype(np.int8), 0]))
        for start, stop in edges.reshape(-1, 2):
            long[row, start:stop] = stop - start > width
    return long


def without_baseline(signal: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Subtract the baseline of each lead: slow changes, and the level before each QRS complex."""
    n = signal.shape[1]
    line = np.linspace(0, 1, n) * (signal[:, -1:] - signal[:, :1]) + signal[:, :1]
    spectrum = np.fft.rfft(signal - line, axis=1)
    # Below the rate of the heart there is nothing of a regular ECG.
    rate_hz = FS / float(np.median(np.diff(at))) if len(at) > 1 else 0.5
    spectrum[:, np.arange(spectrum.shape[1]) * FS / n < min(0.5, 0.6 * rate_hz)] = 0
    signal = np.fft.irfft(spectrum, n, axis=1)
    level_at, width = at - _quiet_before(signal, at), round(0.01 * FS)
    inside = (level_at >= width) & (level_at < n - width)
    if not inside.any():
        return signal - np.median(signal, axis=1, keepdims=True)
    level_at = level_at[inside]
    levels = signal[:, level_at[:, None] + np.arange(-width, width)].mean(axis=2)
    samples = np.arange(n)
    return np.asarray(signal - [np.interp(samples, level_at, row) for row in levels])


def _quiet_before(signal: np.ndarray, at: np.ndarray) -> int:
    """Return how many samples before the centres of QRS complexes the signal changes least."""
    first, last = round(0.11 * FS), round(0.04 * FS)
    whole = at[at > first]
    if not len(whole):
        return first
    times = whole[:, None] + np.arange(-first, -last)
    slopes = (signal[:, times + 1] - signal[:, times - 1]) / 2
    mean = median_of_arrays(np.sqrt(np.mean(np.square(slopes), axis=0)))
    smooth = np.convolve(mean, np.ones(9) / 9, "valid")
    return int(first - 4 - smooth.argmin())


def _largest_group(signal: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return which beats are in the largest group with alike QRS complexes."""
    half = round(HALF_QRS_S * FS)
    inside = np.flatnonzero((at >= 2 * half) & (at + 2 * half <= signal.shape[1]))
    if not len(inside):
        return inside
    smooth = np.array([np.convolve(row, np.ones(9) / 9, "same") for row in signal])
    parts = smooth[:, at[inside][:, None] + np.arange(-half, half)].transpose(1, 0, 2)
    flat = parts.reshape(len(inside), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-9)
    wide = smooth[:, at[inside][:, None] + np.arange(-2 * half, 2 * half)].transpose(1, 0, 2)
    norms = _window_norms(wide, 2 * half).clip(1e-9)
    best = np.full((len(inside), len(inside)), -1.0)
    for shift in range(0, 2 * half + 1, 4):
        moved = wide[:, :, shift : shift + 2 * half].reshape(len(inside), -1)
        best = np.maximum(best, flat @ moved.T / norms[:, shift])
    is_alike = np.minimum(best, best.T) > ALIKE
    slope = np.sqrt(np.square(np.diff(parts, axis=2)).sum(axis=1))
    width = (slope > FAST * slope.max(axis=1, keepdims=True)).sum(axis=1)
    n_alike = is_alike.sum(axis=1)
    large = np.flatnonzero(n_alike >= max(min(2, n_alike.max()), LARGE * n_alike.max()))
    # Conducted beats are narrower than those from a ventricle: the narrowest of the large groups,
    # and in it the beat with most others like it.
    widths = np.array([float(np.median(width[is_alike[i]])) for i in large])
    narrow = large[widths <= 1.15 * widths.min()]
    chosen = narrow[n_alike[narrow].argmax()]
    return inside[is_alike[chosen]]


def _aligned(signal: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Move beats, so that each has its highest correlation with their median."""
    half, most = round(HALF_QRS_S * FS), round(SHIFT_S * FS)
    inside = (at >= half + most) & (at + half + most <= signal.shape[1])
    if inside.sum() < 2:
        return at
    wide = signal[:, at[inside][:, None] + np.arange(-half - most, half + most)].transpose(1, 0, 2)
    template = median_of_arrays(wide[:, :, most : most + 2 * half])
    windows = np.lib.stride_tricks.sliding_window_view(wide, 2 * half, axis=2)
    products = np.einsum("blsn,ln->bs", windows, template)
    scores = products / _window_norms(wide, 2 * half).clip(1e-9)
    moved = at.copy()
    moved[inside] += scores.argmax(axis=1) - most
    return moved


def _window_norms(beats: np.ndarray, n: int) -> np.ndarray:
    """Return the norm of each n samples in a row of beats (n_beats, n_leads, n_samples).

    (n_beats, n_samples - n + 1), of all leads together.
    """
    power = np.square(beats).sum(axis=1)
    return np.sqrt(np.lib.stride_tricks.sliding_window_view(power, n, axis=1).sum(axis=2))


def median_beat(beats: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Compute the median of beats (n_leads, n_samples), ignoring NaN; NaN where all are."""
    beat = median_of_arrays(beats)
    # The samples at which some beats are NaN, but not all.
    is_lost = functools.reduce(np.logical_and, map(np.isnan, beats))
    some = np.flatnonzero((np.isnan(beat) & ~is_lost).any(axis=0))
    if not len(some):
        return beat
    parts = np.array([one.take(some, axis=1) for one in beats])
    is_missing = np.isnan(parts)
    n = len(beats) - is_missing.sum(axis=0)
    ordered = sort_arrays(np.where(is_missing, np.inf, parts))
    low, high = np.maximum((n - 1) // 2, 0)[None], np.minimum(n // 2, len(beats) - 1)[None]
    middle = np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0)
    beat[:, some] = np.where(n > 0, middle[0] / 2, np.nan)
    return beat
