"""Onset and end of P, QRS and T in a median beat, from all leads together."""

from __future__ import annotations

import functools

import numpy as np

from ecg_siglip.signals.median_beats import BEFORE_S, FS
from ecg_siglip.signals.small_arrays import convolve_rows, quantiles

CENTER = round(BEFORE_S * FS)
MAX_HALF_QRS_S = 0.22  # from the centre of QRS to its onset or end
EDGE_S = 0.010  # slopes stay below the limit for so long outside of QRS
SLOPE_MV_S = 8.0  # lowest limit of the slopes of twelve leads together, mV/s
NOISE_FACTOR = 2.2  # of the slopes outside of QRS
SHARE = 0.062  # of the largest slope
# The last forces of a QRS complex longer than this are slow, as in right bundle branch block.
LONG_QRS_S, LONG_SHARE = 0.11, 0.042
WIDTHS_S = (0.0, 0.008, 0.012, 0.016, 0.02, 0.026)
FAST, BRIDGE_S = 0.15, 0.05  # slopes of the QRS complex, of the largest, and gaps between them
T_AFTER_S = 0.05  # after the end of QRS
T_RISE = 0.15  # from the ST segment to the peak, of its height; below, it is the ST segment itself
T_DESCENT_S = 0.16  # after the peak
MAX_PR_S, MIN_PR_S = 0.34, 0.05
REPEATED_S, REPEATED = 0.15, 0.7  # distance and height of another wave like the P wave
FLUTTER_S, COPY = (0.17, 0.28), 0.8  # cycle of flutter, and correlation of its waves
COPY_SIZE = (0.4, 2.5)
P_RISE_S = 0.13  # from onset to peak at most
NOTCH = 0.25  # size of all leads at the onset, of that at the peak of P: more is within the P wave


def slope_of(beat: np.ndarray) -> np.ndarray:
    """Compute the root of the summed squared slopes over leads, (n_samples,), mV/s."""
    slopes = np.zeros_like(beat)
    slopes[:, 2:-2] = (beat[:, 4:] - beat[:, :-4]) / (4 / FS)
    return np.asarray(np.sqrt(np.square(slopes).sum(axis=0)))


def noise_width(beat: np.ndarray) -> float:
    """Return over how many seconds a median beat is to be smoothed before its slopes are used.

    Parameters
    ----------
    beat : ndarray of shape (n_leads, n_samples), mV

    Returns
    -------
    float, s
        The smallest of ``WIDTHS_S`` after which the noise is well below the slopes of the QRS
        complex, or the largest.
    """
    for width in WIDTHS_S[:-1]:
        slope, noise = _slope_and_noise(beat, width)
        if NOISE_FACTOR * noise <= SHARE * float(np.nanmax(slope)):
            return width
    return WIDTHS_S[-1]


def _slope_and_noise(beat: np.ndarray, width_s: float) -> tuple[np.ndarray, float]:
    """Return the slopes around QRS of a smoothed beat, and the usual slope outside, mV/s."""
    half = round(MAX_HALF_QRS_S * FS)
    # The part that is needed, and what smoothing and the slopes at its ends need.
    first, last, margin = CENTER - half - 20, CENTER + half + 40, round(WIDTHS_S[-1] * FS)
    part = _smooth(beat[:, first - margin : last + margin], width_s)
    slope = slope_of(part)[margin : margin + last - first]
    outside = np.concatenate([slope[: half - 10], slope[half + 80 :]])
    return slope[20 : 20 + 2 * half], float(quantiles(outside, (0.2,))[0])


def qrs_bounds(beat: np.ndarray, width_s: float = 0.0) -> tuple[float, float] | None:
    """Find onset and end of QRS.

    Parameters
    ----------
    beat : ndarray of shape (n_leads, n_samples), mV
        Median beat, without NaN around the QRS complex.
    width_s : float, s
        It is smoothed over so long before, see ``noise_width``.

    Returns
    -------
    tuple of float, samples, or None
        None if the slopes do not become small on both sides.
    """
    around, noise = _slope_and_noise(beat, width_s)
    lowest = max(SLOPE_MV_S * np.sqrt(len(beat) / 12), NOISE_FACTOR * noise)
    top = float(np.nanmax(around))
    bounds = _small_around(around, max(lowest, SHARE * top))
    if bounds and bounds[1] - bounds[0] > LONG_QRS_S * FS:
        bounds = _small_around(around, max(lowest, LONG_SHARE * top)) or bounds
    return bounds


def _small_around(around: np.ndarray, limit: float) -> tuple[float, float] | None:
    """Return where the slopes around the QRS complex stay below a limit, before and after it."""
    half, edge = round(MAX_HALF_QRS_S * FS), round(EDGE_S * FS)
    is_small = around < limit
    # Of each sample: whether it and those before (after) it for EDGE_S are small.
    runs = np.convolve(is_small, np.ones(edge), "valid") > edge - 0.5
    first, last = _fast_part(np.where(np.isnan(around), 0, around))
    before = np.flatnonzero(runs[: max(first - edge, 0)])
    after = np.flatnonzero(runs[last:])
    if not len(before) or not len(after):
        return None
    onset = _crossing(around, before[-1] + edge - 1, 1, limit)
    end = _crossing(around, last + after[0], -1, limit)
    return CENTER - half + onset, CENTER - half + end


def _fast_part(slope: np.ndarray) -> tuple[int, int]:
    """Return the first and the last sample of large slopes around the largest one.

    In a notched QRS complex all leads may be level for a moment.
    """
    top = int(slope.argmax())
    fast = np.flatnonzero(slope > FAST * slope[top])
    gaps = np.flatnonzero(np.diff(fast) > BRIDGE_S * FS)
    at_top = int(np.searchsorted(fast, top))
    start = gaps[gaps < at_top]
    stop = gaps[gaps >= at_top]
    return int(fast[start[-1] + 1 if len(start) else 0]), int(fast[stop[0] if len(stop) else -1])


def _crossing(slope: np.ndarray, small: int, step: int, limit: float) -> float:
    """Return where the slope crosses a limit, between a sample below it and the next one."""
    low, high = slope[small], slope[small + step]
    return small + step * float(np.clip((limit - low) / max(high - low, 1e-9), 0, 1))


def main_component(part: np.ndarray) -> np.ndarray:
    """Project leads (n_leads, n) on the direction in which they vary most, largest value positive.

    The result is scaled as the lead with the largest share.
    """
    # The first left singular vector, by the eigenvectors of a much smaller matrix.
    direction = np.linalg.eigh(part @ part.T)[1][:, -1]
    weights = direction / np.abs(direction).max()
    component = weights @ part / float(weights @ weights)
    return np.asarray(component if component.max() >= -component.min() else -component)


def t_bounds(beat: np.ndarray, end: float, last: float) -> tuple[float, float, float] | None:
    """Find the peak and the end of the T wave.

    Parameters
    ----------
    beat : ndarray of shape (n_leads, n_samples), mV
    end : float, samples
        End of QRS.
    last : float, samples
        The T wave ends before it.

    Returns
    -------
    peak, t_end : float, samples
        The end is where the tangent at the steepest descent reaches the baseline (Lepeschkin &
        Surawicz 1952).
    height : float, mV
        Of the main component of all leads.
    None
        If there is no wave with a descent.
    """
    first, last = round(end + T_AFTER_S * FS), int(min(last, beat.shape[1] - 1))
    finite = np.isfinite(beat[:, max(first, 0) : last]).all(axis=0)
    last = first + (int(finite.argmin()) if not finite.all() else len(finite))
    if last - first < round(0.08 * FS):
        return None
    smooth = _smooth(beat[:, first:last], 0.02)
    t_wave = main_component(smooth)
    peak = _last_top(t_wave, 0.5)
    if peak is None or t_wave[peak] - t_wave[: peak + 1].min() < T_RISE * t_wave[peak]:
        return None
    descent = np.diff(t_wave[peak : peak + round(T_DESCENT_S * FS)])
    if not len(descent) or descent.min() >= 0:
        return None
    steepest = int(descent.argmin())
    value = t_wave[peak + steepest : peak + steepest + 2].mean()
    t_end = peak + steepest + 0.5 + value / -descent[steepest]
    if t_end > len(t_wave) + 0.03 * FS:
        return None  # the next wave begins before the end
    return float(first + peak), float(first + t_end), float(t_wave[peak])


def p_bounds(beat: np.ndarray, onset: float, first: float) -> tuple[float, float, float] | None:
    """Find the onset, the peak and the end of the P wave.

    Parameters
    ----------
    beat : ndarray of shape (n_leads, n_samples), mV
    onset : float, samples
        Of QRS.
    first : float, samples
        The P wave begins after it.

    Returns
    -------
    p_onset, peak, p_end : float, samples
    None
        If no wave stands out of a straight line.
    """
    first, last = int(max(first, onset - MAX_PR_S * FS, 0)), int(onset)
    finite = np.isfinite(beat[:, first:last]).all(axis=0)
    first += len(finite) - int(finite[::-1].argmin()) if not finite.all() else 0
    if last - first < round(MIN_PR_S * FS):
        return None
    part = _smooth(beat[:, first:last], 0.014)
    level = part[:, -3:].mean(axis=1, keepdims=True)
    wave = main_component(part - level)
    peak = _last_top(wave[: len(wave) - 4], 0.5)
    if peak is None or _is_repeated(wave, peak):
        return None
    p_onset = _rise_onset(wave, peak)
    size = np.sqrt(np.square(part - level).sum(axis=0))
    if p_onset is not None and size[round(max(p_onset, 0))] > NOTCH * size[peak]:
        # Within a notched P wave, whose first part has another direction.
        p_onset = _rise_onset(size, peak)
    if p_onset is None:
        return None
    return float(first + p_onset), float(first + peak), float(last)


def _rise_onset(wave: np.ndarray, peak: int) -> float | None:
    """Return where the tangent at the first steep rise to a peak begins; None without a rise."""
    left = max(peak - round(P_RISE_S * FS), 0)
    base_at = left + int(wave[left : peak + 1].argmin())
    base = wave[base_at]
    rise = np.diff(wave[base_at : peak + 1])
    if not len(rise) or rise.max() <= 0:
        return None
    # The first steep rise: a notched P wave has two.
    steep = int(np.flatnonzero(rise >= 0.6 * rise.max())[0])
    while steep + 1 < len(rise) and rise[steep + 1] > rise[steep]:
        steep += 1
    value = wave[base_at + steep : base_at + steep + 2].mean() - base
    return base_at + steep + 0.5 - float(value / rise[steep])


def _last_top(wave: np.ndarray, share: float) -> int | None:
    """Return the last local maximum of a wave that has at least a share of the highest one."""
    inner = wave[1:-1]
    tops = np.flatnonzero((inner >= wave[:-2]) & (inner > wave[2:])) + 1
    if not len(tops) or wave[tops].max() <= 0:
        return None
    return int(tops[wave[tops] >= share * wave[tops].max()][-1])


def _is_repeated(wave: np.ndarray, peak: int) -> bool:
    """Return whether another wave as high as the one at a peak is a flutter cycle away from it."""
    inner = wave[1:-1]
    tops = np.flatnonzero((inner >= wave[:-2]) & (inner > wave[2:])) + 1
    for top in tops[np.abs(tops - peak) >= REPEATED_S * FS].tolist():
        first, last = sorted((top, peak))
        valley = wave[first:last].min()
        if wave[top] - valley >= REPEATED * (wave[peak] - valley):
            return True
    return False


def has_copy(beat: np.ndarray, part: slice) -> bool:
    """Return whether a wave of a median beat is there a second time, a flutter cycle before it."""
    wave = beat[:, part] - beat[:, part].mean(axis=1, keepdims=True)
    power = float(np.square(wave).sum())
    low, high = (round(seconds * FS) for seconds in FLUTTER_S)
    for lag in range(low, min(high, part.start), 4):
        other = beat[:, part.start - lag : part.stop - lag]
        other = other - other.mean(axis=1, keepdims=True)
        if not np.isfinite(other).all():
            continue
        size = float((wave * other).sum()) / power
        if COPY_SIZE[0] < size < COPY_SIZE[1] and size * power > COPY * np.sqrt(
            power * float(np.square(other).sum())
        ):
            return True
    return False


def _smooth(part: np.ndarray, width_s: float) -> np.ndarray:
    """Smooth leads by a raised cosine, with the first and the last value held at the ends."""
    n = round(width_s * FS) // 2
    if not n:
        return part
    padded = part[:, np.arange(-n, part.shape[1] + n).clip(0, part.shape[1] - 1)]
    return convolve_rows(padded, _window(n))


@functools.lru_cache
def _window(n: int) -> np.ndarray:
    """Return a raised cosine of 2 n + 1 samples with the sum 1."""
    window = np.hanning(2 * n + 3)[1:-1]
    return np.asarray(window / window.sum())
