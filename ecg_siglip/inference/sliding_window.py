"""Records longer than the model's window: cut into windows, predicted one by one, and aggregated.

Shape letters: W windows, F findings.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit
from tqdm import tqdm

from ecg_siglip.core.files import one_line
from ecg_siglip.readers.record import Record, Source

TOLERANCE_S = 0.05  # a shorter rest at the end of a record is a rounding error
SUSTAINED_S = 30.0
N_WARNINGS = 3
# The parts of a warning that differ from window to window.
NUMBERS = re.compile(r" \([^)]*\)| for [\d.]+ s( or less)?| at -?[\d.]+ mV( or less)?")


@dataclass(frozen=True)
class Windows:
    """Probabilities of the findings in each window of a record.

    Attributes
    ----------
    starts_s : ndarray of shape (W,), s
        Starts of the windows that were used.
    window_s : float, s
    probabilities : ndarray of shape (W, F), float in [0, 1]
    skipped : sequence of (start, reason)
        Starts of the windows that could not be used, s, each with the reason.
    warnings : sequence of str
    step_s : float, s, optional
        Time from one window to the next within a stretch; null: the length of a window.
    """

    starts_s: np.ndarray
    window_s: float
    probabilities: np.ndarray
    skipped: Sequence[tuple[float, str]] = ()
    warnings: Sequence[str] = ()
    step_s: float | None = None

    @property
    def n(self) -> int:
        """Number of all windows, with those that could not be used."""
        return len(self.starts_s) + len(self.skipped)

    @property
    def duration_s(self) -> float:
        """Length of the record: its last window ends where the record ends."""
        starts = [*self.starts_s.tolist(), *(start for start, _ in self.skipped)]
        return float(max(starts)) + self.window_s

    @property
    def n_used(self) -> int:
        """Number of windows that were predicted."""
        return len(self.starts_s)

    def has_stretch(self, sustained_s: float) -> bool:
        """Return whether there are windows without a gap for ``sustained_s``."""
        step_s = self.step_s or self.window_s
        n_run = run_length(sustained_s, self.window_s, step_s)
        extent_s = self.starts_s[n_run - 1 :] - self.starts_s[: max(0, self.n_used - n_run + 1)]
        return bool((extent_s <= (n_run - 1) * step_s + TOLERANCE_S).any())

    def overall(self, sustained_s: float = SUSTAINED_S) -> tuple[np.ndarray, np.ndarray]:
        """Compute the probability of each finding in the record, and its most likely window.

        Parameters
        ----------
        sustained_s : float, s
            For how long a finding must be present.

        Returns
        -------
        ndarray of shape (F,), float64 in [0, 1]
            Probability in the stretch of that length in which the finding is most likely: the mean
            of the log-odds of its windows, as a probability.
        ndarray of shape (F,), int
            The window of that stretch in which the finding is most likely.

        Notes
        -----
        The maximum over windows gives more false positives the longer a record is; the mean over
        all windows misses findings that are present in a part of it:
        docs/decisions/0011-longer-records.md.
        """
        runs_RF, windows_RN = self._runs(sustained_s)
        best_F = self._likeliest(windows_RN[runs_RF.argmax(axis=0)])
        return expit(runs_RF.max(axis=0)), best_F

    def sustained(
        self,
        present: Callable[[np.ndarray], np.ndarray],
        exclusive_FF: np.ndarray,
        sustained_s: float = SUSTAINED_S,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decide which findings are sustained, without those that a likelier finding excludes.

        Parameters
        ----------
        present : function of ndarray (n, F) to ndarray (n, F), bool
            Decides from the probabilities of stretches.
        exclusive_FF : ndarray of shape (F, F), bool
            Findings that cannot be present at the same time, see ``vocabulary.exclusive``.
        sustained_s : float, s

        Returns
        -------
        ndarray of shape (F,), bool
            Findings that are present in a stretch of that length in which no finding that excludes
            them is present and more probable.
        ndarray of shape (F,), int
            The most likely window of that stretch; of other findings, as in ``overall``.

        Notes
        -----
        Two findings that exclude each other are both sustained only in different stretches. A
        record of which fewer stretches are predicted has no finding that it would not have with
        more of them: each stretch is decided by itself.
        """
        runs_RF, windows_RN = self._runs(sustained_s)
        is_sustained_RF = present(expit(runs_RF)) & ~excluded(
            runs_RF, present(expit(runs_RF)), exclusive_FF
        )
        sustained_F = is_sustained_RF.any(axis=0)
        candidates_RF = np.where(is_sustained_RF | ~sustained_F, runs_RF, -np.inf)
        return sustained_F, self._likeliest(windows_RN[candidates_RF.argmax(axis=0)])

    def _likeliest(self, windows_FN: np.ndarray) -> np.ndarray:
        """Return the most likely of some windows of each finding, (F,)."""
        columns_F = np.arange(len(windows_FN))
        log_odds_FN = _log_odds(self.probabilities)[windows_FN, columns_F[:, None]]
        return np.asarray(windows_FN[columns_F, log_odds_FN.argmax(axis=1)])

    def _runs(self, sustained_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the stretches of that length: mean log-odds (R, F), and windows of each (R, N).

        A stretch has no gap. If none is that long because windows were skipped, the longest
        stretches are returned.
        """
        starts_s = self.starts_s
        step_s = self.step_s or self.window_s
        n_run = run_length(sustained_s, self.window_s, step_s)
        for n in range(min(n_run, len(starts_s)), 0, -1):
            extent_s = starts_s[n - 1 :] - starts_s[: len(starts_s) - n + 1]
            firsts = np.flatnonzero(extent_s <= (n - 1) * step_s + TOLERANCE_S)
            if len(firsts):
                break
        log_odds_WF = _log_odds(self.probabilities)
        sums_WF = np.cumsum(np.vstack([np.zeros_like(log_odds_WF[:1]), log_odds_WF]), axis=0)
        return (sums_WF[firsts + n] - sums_WF[firsts]) / n, firsts[:, None] + np.arange(n)


def run_length(sustained_s: float, window_s: float, step_s: float) -> int:
    """Return the number of windows in a stretch of ``sustained_s``, at least one."""
    return max(1, int((sustained_s - window_s) / step_s + 1e-6) + 1)


def excluded(
    log_odds_RF: np.ndarray, present_RF: np.ndarray, exclusive_FF: np.ndarray
) -> np.ndarray:
    """Return the present findings that a likelier one excludes, stretch by stretch.

    A finding that is itself excluded excludes no other.

    Parameters
    ----------
    log_odds_RF : ndarray of shape (R, F)
    present_RF : ndarray of shape (R, F), bool
    exclusive_FF : ndarray of shape (F, F), bool

    Returns
    -------
    ndarray of shape (R, F), bool
        Of equally likely findings the first in the order of the model stays.
    """
    accepted_RF = np.zeros_like(present_RF)
    rows = np.arange(len(log_odds_RF))
    for finding_R in np.argsort(-log_odds_RF, axis=1, kind="stable").T:
        is_excluded_R = (accepted_RF & exclusive_FF[finding_R]).any(axis=1)
        accepted_RF[rows, finding_R] = present_RF[rows, finding_R] & ~is_excluded_R
    return present_RF & ~accepted_RF


@dataclass(frozen=True)
class Timeline:
    """Times at which the findings of a record are present.

    Attributes
    ----------
    windows : Windows
    codes : sequence of str, length F
    present : ndarray of shape (W, F), bool
    best : ndarray of shape (F,), int
        The most likely window of each finding, see ``Windows.sustained``.
    shown : int
        The representative window of the record, see ``representative_window``.
    sustained_s : float, s
        For how long a finding had to be present.
    """

    windows: Windows
    codes: Sequence[str]
    present: np.ndarray
    best: np.ndarray
    shown: int
    sustained_s: float = SUSTAINED_S

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per window, in the order of time, with findings and probabilities."""
        windows, window_s = self.windows, self.windows.window_s
        content: dict[float, dict[str, Any]] = {
            start: {"skipped": reason} for start, reason in windows.skipped
        }
        for start, y_prob, present in zip(
            windows.starts_s.tolist(), windows.probabilities.tolist(), self.present, strict=True
        ):
            findings = zip(self.codes, y_prob, present.tolist(), strict=True)
            content[start] = {
                "findings": {code: round(p, 4) for code, p, is_present in findings if is_present}
            }
        return [
            {"start_s": round(start, 3), "end_s": round(start + window_s, 3), **content[start]}
            for start in sorted(content)
        ]

    def at_s(self, code: str) -> float:
        """Return the start of the most likely window of a finding, s."""
        return round(float(self.windows.starts_s[self.best[self.codes.index(code)]]), 3)

    def note(self) -> str:
        """Return a sentence about the part of the record that is shown."""
        start = float(self.windows.starts_s[self.shown])
        number = (
            1
            + int(np.sum(self.windows.starts_s < start))
            + sum(skipped < start for skipped, _ in self.windows.skipped)
        )
        return (
            f"Shown: {format_time(start)} to {format_time(start + self.windows.window_s)}, window "
            f"{number} of {self.windows.n}, the one that supports the findings of the whole record "
            "most."
        )

    def stretches(self, code: str) -> list[tuple[float, float]]:
        """Return start and end of each stretch in which a finding is present, s.

        Windows that touch or overlap are one stretch.
        """
        present = self.present[:, self.codes.index(code)]
        spans: list[tuple[float, float]] = []
        for start in self.windows.starts_s[present].tolist():
            end = start + self.windows.window_s
            if spans and start <= spans[-1][1] + TOLERANCE_S:
                start = spans.pop()[0]
            spans.append((start, end))
        return spans


def representative_window(
    probabilities: np.ndarray, thresholds: np.ndarray, present: np.ndarray
) -> int:
    """Return the window that supports the present findings most, or any finding if none is present.

    A finding that is present in few windows has more weight: the other windows do not show it.

    Parameters
    ----------
    probabilities : ndarray of shape (W, F), float in [0, 1]
    thresholds : ndarray of shape (F,), float in [0, 1]
    present : ndarray of shape (F,), bool
        Findings of the whole record.
    """
    above_WF = _log_odds(probabilities) - _log_odds(thresholds)
    if not present.any():
        return int(above_WF.max(axis=1).argmax())
    above_WF = above_WF[:, present].clip(min=0)
    weight_F = 1 / np.maximum((above_WF > 0).mean(axis=0), 1 / len(above_WF))
    return int((above_WF * weight_F).sum(axis=1).argmax())


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
        for start_s, record, signal in _usable_windows(source, batch, size, prepare, skipped):
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
    skipped: list[tuple[float, str]],
) -> Iterator[tuple[float, Record, np.ndarray]]:
    """Yield start (s), record and prepared signal of each usable window; others are ``skipped``."""
    for first in firsts:
        start_s = first / source.fs
        try:
            record = source.piece(int(first), int(first) + size)
            signal = prepare(record)
        except ValueError as error:
            reason = one_line(error).removeprefix(f"record {source.name}: ")
            skipped.append((start_s, reason.removeprefix(f"{source.name}: ")))
            continue
        yield start_s, record, signal


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


def _log_odds(p: np.ndarray) -> np.ndarray:
    """Return finite log-odds, also of probabilities of 0 and 1."""
    log_odds: np.ndarray = logit(np.clip(p, 1e-9, 1 - 1e-9))
    return log_odds


def format_time(time_s: float) -> str:
    """Format a time within a record as h:mm:ss.

    Examples
    --------
    >>> format_time(3725.4)
    '1:02:05'
    """
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
