"""Cut a record that is longer than the model's window into windows, and predict them one by one.

Shape letters: W windows, F findings.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from ecg_siglip.core.files import one_line
from ecg_siglip.core.work_limit import checkpoint
from ecg_siglip.inference.timeline import (
    SUSTAINED_S,
    TOLERANCE_S,
    Windows,
    format_time,
    run_length,
)
from ecg_siglip.readers.record import Record, Source
from ecg_siglip.signals.gaps import GAPS_ALLOWED, MAX_GAP_S, bridge_ends, longest_gap
from ecg_siglip.signals.leads import LEADS, lead_list, lead_name, record_prefix

N_WARNINGS = 3
# The parts of a warning that differ from window to window.
NUMBERS = re.compile(r" \([^)]*\)| for [\d.]+ s( or less)?| at -?[\d.]+ mV( or less)?")


def window_starts(n_samples: int, size: int, step: int, tolerance: int = 0) -> np.ndarray:
    """Return the first samples of the windows; the last window ends where the record ends.

    Parameters
    ----------
    n_samples : int
        Samples of the record, at least ``size``.
    size, step : int
        Samples of a window, and from one window to the next.
    tolerance : int
        Number of samples that may remain at the end.

    Returns
    -------
    ndarray of shape (W,), int

    Examples
    --------
    >>> window_starts(34, size=10, step=10)
    array([ 0, 10, 20, 24])
    """
    last = n_samples - size
    starts = np.arange(0, last + 1, step)
    return starts if last - starts[-1] <= tolerance else np.append(starts, last)


def chosen_windows(n_windows: int, n_run: int, n_step: int) -> np.ndarray:
    """Return which windows are predicted with a step longer than a window.

    Parameters
    ----------
    n_windows : int
    n_run : int
        Windows in a stretch.
    n_step : int
        Windows from the beginning of a stretch to that of the next.

    Returns
    -------
    ndarray of int
        Windows of the stretches; the last stretch ends where the record ends.

    Examples
    --------
    >>> chosen_windows(17, n_run=3, n_step=6)
    array([ 0,  1,  2,  6,  7,  8, 12, 13, 14, 15, 16])
    """
    last = max(0, n_windows - n_run)
    stretches = np.append(np.arange(0, last + 1, n_step), last)
    chosen = np.unique(stretches[:, None] + np.arange(n_run))
    return chosen[chosen < n_windows]


def predict_windows(
    source: Source,
    window_s: float,
    step_s: float,
    batch_size: int,
    prepare: Callable[[Record], np.ndarray],
    probabilities: Callable[[np.ndarray], np.ndarray],
    warnings: Callable[[Record], list[str]],
    sustained_s: float = SUSTAINED_S,
    allow_gaps: bool = False,
) -> Windows:
    """Predict the windows of a record, with at most one batch of them in memory.

    Parameters
    ----------
    source : Source
        A record that is at least as long as a window.
    window_s, step_s : float, s
        With a step longer than a window, stretches of adjacent windows are predicted, one at each
        step; the step is rounded down to whole windows.
    batch_size : int
        Windows at one time.
    prepare : function of Record to ndarray of shape (12, n_samples)
    probabilities : function of ndarray (n, 12, n_samples) to ndarray (n, F)
    warnings : function of Record to list of str
    sustained_s : float, s
        Length of a stretch.
    allow_gaps : bool
        ``prepare`` interpolates gaps: those that two windows share are judged as a whole first, see
        ``bridge_gaps``.

    Returns
    -------
    Windows

    Raises
    ------
    ValueError
        If no window can be used, with the reason of the first.

    Notes
    -----
    If windows of every stretch have to be skipped, all windows are predicted.
    """
    size = round(window_s * source.fs)
    step = max(1, round(min(step_s, window_s) * source.fs))
    firsts = window_starts(source.n_samples, size, step, round(TOLERANCE_S * source.fs))
    predict = functools.partial(
        _predict_at,
        source,
        size=size,
        batch_size=batch_size,
        prepare=prepare,
        allow_gaps=allow_gaps,
        probabilities=probabilities,
        warnings=warnings,
    )
    every = np.arange(len(firsts))
    n_run = run_length(sustained_s, window_s, window_s)
    chosen = every
    if step_s > window_s:
        chosen = chosen_windows(len(firsts), n_run, int(step_s / window_s + 1e-6))
    windows = predict(firsts[chosen])
    if len(chosen) < len(every) and not windows.has_stretch(sustained_s):
        windows = predict(firsts)
    if not windows.n_used:
        raise ValueError(
            f"record {source.name}: none of its {len(firsts)} windows can be used; the first: "
            f"{windows.skipped[0][1]}"
        )
    return replace(windows, step_s=min(step_s, window_s))


def _predict_at(
    source: Source,
    firsts: np.ndarray,
    size: int,
    batch_size: int,
    prepare: Callable[[Record], np.ndarray],
    allow_gaps: bool,
    probabilities: Callable[[np.ndarray], np.ndarray],
    warnings: Callable[[Record], list[str]],
) -> Windows:
    """Predict the windows that begin at some samples; see ``predict_windows``."""
    counts: Counter[str] = Counter()
    starts_s: list[float] = []
    skipped: list[tuple[float, str]] = []
    y_prob: list[np.ndarray] = []
    bar = tqdm(total=len(firsts), desc="windows", disable=None, leave=False)
    for begin in range(0, len(firsts), batch_size):
        batch, prepared = firsts[begin : begin + batch_size], []
        for start_s, record, signal in _usable_windows(
            source, batch, size, prepare, allow_gaps, skipped
        ):
            starts_s.append(start_s)
            prepared.append(signal)
            counts.update({NUMBERS.sub("", sentence) for sentence in warnings(record)})
        if prepared:
            y_prob.append(probabilities(np.stack(prepared)))
        bar.update(len(batch))
    bar.close()
    summary = _summarize_warnings(counts, skipped, len(firsts))
    y_prob_WF = np.concatenate(y_prob) if y_prob else np.empty((0, 0))
    return Windows(np.array(starts_s), size / source.fs, y_prob_WF, skipped, summary)


def _usable_windows(
    source: Source,
    firsts: np.ndarray,
    size: int,
    prepare: Callable[[Record], np.ndarray],
    allow_gaps: bool,
    skipped: list[tuple[float, str]],
) -> Iterator[tuple[float, Record, np.ndarray]]:
    """Yield start (s), record and prepared signal of each usable window; others are ``skipped``."""
    for first in firsts:
        checkpoint()
        start_s = first / source.fs
        try:
            record = source.piece(int(first), int(first) + size)
            signal = prepare(bridge_gaps(source, record, int(first)) if allow_gaps else record)
        except ValueError as error:
            reason = one_line(error).removeprefix(f"record {source.name}: ")
            skipped.append((start_s, reason.removeprefix(f"{source.name}: ")))
            continue
        yield start_s, record, signal


def bridge_gaps(source: Source, window: Record, first: int) -> Record:
    """Interpolate the gaps of a window that reach one of its ends.

    Parameters
    ----------
    source : Source
    window : Record
        The piece of ``source`` that begins at sample ``first``.
    first : int

    Returns
    -------
    Record
        The window itself if there is no such gap. Other gaps stay.

    Raises
    ------
    ValueError
        If such a gap, with what is outside of the window, is longer than ``MAX_GAP_S``.

    Notes
    -----
    Only ``MAX_GAP_S`` on both sides of the window is read in addition.
    """
    rows = [i for i, name in enumerate(window.leads) if lead_name(name) in LEADS]
    signal, last = window.signal[rows], first + window.signal.shape[1]
    if np.isfinite(signal[:, [0, -1]]).all():
        return window
    n = longest_gap(source.fs)
    nothing = signal[:, :0]
    before = source.piece(max(0, first - n), first).signal[rows] if first else nothing
    after = nothing
    if last < source.n_samples:
        after = source.piece(last, min(last + n, source.n_samples)).signal[rows]
    bridged, is_long = bridge_ends(before, signal, after, source.fs)
    if is_long.any():
        names = {lead_name(window.leads[rows[i]]) for i in np.flatnonzero(is_long)}
        raise ValueError(
            f"{record_prefix(source.name)}expected finite samples, got NaN or infinity in "
            f"{lead_list(lead in names for lead in LEADS)} for more than {MAX_GAP_S:g} s across an "
            f"end of the window, expected {GAPS_ALLOWED}"
        )
    whole = window.signal.copy()
    whole[rows] = bridged
    return replace(window, signal=whole)


def _summarize_warnings(
    counts: Counter[str], skipped: Sequence[tuple[float, str]], n_windows: int
) -> list[str]:
    """Return the most frequent warnings of the windows, after one about skipped windows."""
    summary = [
        f"{sentence} (in {n} of {n_windows} windows)"
        for sentence, n in counts.most_common(N_WARNINGS)
    ]
    if skipped:
        start_s, reason = skipped[0]
        summary.insert(
            0,
            f"{len(skipped)} of {n_windows} windows were left out, the first at "
            f"{format_time(start_s)}: {reason}",
        )
    return summary
