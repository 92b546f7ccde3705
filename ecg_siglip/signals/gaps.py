"""Gaps and padded ends of a signal: a few invalid samples are interpolated on request."""

from __future__ import annotations

import numpy as np

from ecg_siglip.signals.leads import lead_list, record_prefix
from ecg_siglip.signals.small_arrays import row_medians

# Shorter than a QRS complex, so that none is lost, and few.
MAX_GAP_S = 0.1
MAX_GAP_SHARE = 0.05
# Ends in which no lead changes for longer than this are padding.
PADDING_S = 0.2
GAPS_ALLOWED = (
    f"gaps of at most {MAX_GAP_S:g} s that are at most {100 * MAX_GAP_SHARE:g} % of a lead"
)


def interpolate_gaps(signal: np.ndarray) -> np.ndarray:
    """Replace NaN and infinity by linear interpolation in time.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)

    Returns
    -------
    ndarray of the same shape and dtype
        The same object if all samples are finite. Gaps at an end have the value next to them, and
        a lead without any sample is 0.
    """
    is_gap = ~np.isfinite(signal)
    if not is_gap.any():
        return signal
    filled, samples = signal.copy(), np.arange(signal.shape[1])
    for row, gap in zip(filled, is_gap, strict=True):
        if gap.any():
            row[gap] = 0 if gap.all() else np.interp(samples[gap], samples[~gap], row[~gap])
    return filled


def longest_gap(fs: float) -> int:
    """Return the number of samples in the longest gap that is interpolated."""
    return max(1, round(MAX_GAP_S * fs))


def bridge_ends(
    before: np.ndarray, signal: np.ndarray, after: np.ndarray, fs: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate the gaps of a part of a recording that reach its first or last sample.

    Parameters
    ----------
    before, after : ndarray of shape (n_leads, n)
        The ``longest_gap(fs)`` samples next to the part, or as many as there are.
    signal : ndarray of shape (n_leads, n_samples)
        The part; NaN or infinity where a sample is invalid.
    fs : float, Hz

    Returns
    -------
    ndarray of the shape and dtype of ``signal``
        Gaps inside of the part stay, and so do those of a lead with more than ``MAX_GAP_SHARE`` of
        them, which ``fill_gaps`` refuses.
    ndarray of shape (n_leads,), bool
        Leads with a gap that is longer than ``MAX_GAP_S``, together with what is outside of the
        part; it stays, too.
    """
    whole = np.hstack([before, signal, after])
    is_gap = ~np.isfinite(whole)
    inner = slice(before.shape[1], before.shape[1] + signal.shape[1])
    filled, is_long = whole.copy(), np.zeros(len(whole), bool)
    for i in np.flatnonzero(is_gap[:, inner].mean(axis=1) <= MAX_GAP_SHARE):
        finite = np.flatnonzero(~is_gap[i])
        for end in (inner.start, inner.stop - 1):
            if not is_gap[i, end]:
                continue
            after_gap = np.searchsorted(finite, end)
            first = finite[after_gap - 1] + 1 if after_gap else 0
            gap = np.arange(first, finite[after_gap] if after_gap < len(finite) else len(whole[i]))
            if len(gap) > longest_gap(fs):
                is_long[i] = True
            else:
                filled[i, gap] = np.interp(gap, finite, whole[i, finite])
    return filled[:, inner], is_long


def fill_gaps(signal: np.ndarray, fs: float, record: str = "") -> np.ndarray:
    """Interpolate a few invalid samples of a record.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), mV
        Leads in the order of ``LEADS``; NaN or infinity where a sample is invalid.
    fs : float, Hz
    record : str
        Name of the record, for messages.

    Returns
    -------
    ndarray of the same shape and dtype
        See ``interpolate_gaps``.

    Raises
    ------
    ValueError
        If a gap is longer than ``MAX_GAP_S``, or those of a lead together are more than
        ``MAX_GAP_SHARE`` of it.

    Notes
    -----
    A straight line over more than the duration of a QRS complex, about 0.1 s, can replace a
    complex, and the record then seems to have a pause.
    """
    is_gap = ~np.isfinite(signal)
    if not is_gap.any():
        return signal
    longest = longest_gap(fs)
    # A gap is too long if one more sample than allowed is invalid in a row.
    n_before = np.cumsum(np.pad(is_gap, ((0, 0), (1, 0))), axis=1)
    is_long = (n_before[:, longest + 1 :] - n_before[:, : -longest - 1] > longest).any(axis=1)
    refused = is_long | (is_gap.mean(axis=1) > MAX_GAP_SHARE)
    if refused.any():
        error = gap_error(is_gap & refused[:, None], record)
        raise ValueError(f"{error}, expected {GAPS_ALLOWED}")
    return interpolate_gaps(signal)


def recorded_span(signal: np.ndarray, fs: float) -> slice:
    """Return the samples between the padded ends of a signal.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)
    fs : float, Hz

    Returns
    -------
    slice
        Without the ends in which all leads are constant for longer than ``PADDING_S``; all samples
        if nothing would remain.
    """
    n_samples = signal.shape[1]
    # Of nearly all records, both ends change soon.
    n_end = min(int(PADDING_S * fs) + 1, n_samples)
    if _changes(signal[:, :n_end]).any() and _changes(signal[:, -n_end:]).any():
        return slice(0, n_samples)
    changes = _changes(signal)
    if not changes.any():
        return slice(0, n_samples)
    n_first, n_last = int(changes.argmax()) + 1, int(changes[::-1].argmax()) + 1
    first = n_first if n_first > PADDING_S * fs else 0
    last = n_samples - n_last if n_last > PADDING_S * fs else n_samples
    # A single step between two levels is no recording between padded ends.
    return slice(first, last) if first < last else slice(0, n_samples)


def _changes(signal: np.ndarray) -> np.ndarray:
    """Return which samples of any lead differ from the one before, (n_samples - 1,)."""
    return np.asarray((signal[:, 1:] != signal[:, :-1]).any(axis=0))


def level_padding(signal: np.ndarray, fs: float) -> np.ndarray:
    """Bring the padded ends of a signal to its baseline, so that there is no step.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)
    fs : float, Hz

    Returns
    -------
    ndarray of the same shape and dtype
        Each lead has its median at its padded ends, see ``recorded_span``.
    """
    span = recorded_span(signal, fs)
    recorded = signal[:, span]
    if recorded.shape == signal.shape:
        return signal
    leveled = np.repeat(row_medians(recorded)[:, None], signal.shape[1], axis=1)
    leveled[:, span] = recorded
    return leveled.astype(signal.dtype)


def gap_error(is_gap: np.ndarray, record: str) -> str:
    """Return the beginning of an error about invalid samples.

    Parameters
    ----------
    is_gap : ndarray of shape (12, n_samples), bool
    record : str
        Name of the record.
    """
    n_bad = int(is_gap.any(axis=0).sum())
    has_gap = np.asarray(is_gap.any(axis=1))
    return (
        f"{record_prefix(record)}expected finite samples, got NaN or infinity in "
        f"{lead_list(has_gap)} ({n_bad} of {is_gap.shape[1]} samples)"
    )
