"""Records longer than the model's window: cut in windows, an answer for each, one for the whole.

Shape letters: W windows, F findings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from tqdm import tqdm

from ecg_siglip.core.files import one_line
from ecg_siglip.readers.record import Record, Source

LONG = 1.2  # times a window: a shorter record is one window, its middle
TOLERANCE_S = 0.05  # what is left at the end, short of this, is rounding
SUSTAINED_S = 30.0
N_WARNINGS = 3
# What differs from window to window in a warning of the same kind.
NUMBERS = re.compile(r" \([^)]*\)| for [\d.]+ s| at -?[\d.]+ mV")


@dataclass(frozen=True)
class Windows:
    """What was found in the windows of a record.

    Attributes
    ----------
    starts_s : ndarray of shape (W,), s
        Of the windows that were answered for.
    window_s : float, s
    probabilities : ndarray of shape (W, F), float in [0, 1]
    skipped : sequence of (start, reason)
        The windows that could not be used, s, and why not.
    warnings : sequence of str
    step_s : float, s, optional
        From one window to the next; null: as long as a window.
    """

    starts_s: np.ndarray
    window_s: float
    probabilities: np.ndarray
    skipped: Sequence[tuple[float, str]] = ()
    warnings: Sequence[str] = ()
    step_s: float | None = None

    @property
    def n(self) -> int:
        """Of all windows, with those that could not be used."""
        return len(self.starts_s) + len(self.skipped)

    @property
    def duration_s(self) -> float:
        """Of the record: its last window ends where it ends."""
        starts = [*self.starts_s.tolist(), *(start for start, _ in self.skipped)]
        return float(max(starts)) + self.window_s

    def overall(self, sustained_s: float = SUSTAINED_S) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each finding in the record, and the window that speaks most for it.

        Parameters
        ----------
        sustained_s : float, s
            For how long a finding has to be there.

        Returns
        -------
        ndarray of shape (F,), float64 in [0, 1]
            Of the stretch of that length that speaks most for the finding: mean log-odds of its
            windows, as probability.
        ndarray of shape (F,), int
            The best window within that stretch.

        Notes
        -----
        The maximum over windows calls more the longer a record is, the mean over all misses what
        is there in part of it: docs/decisions/0011-longer-records.md.
        """
        log_odds_WF = _log_odds(self.probabilities)
        n_run, firsts = self._runs(sustained_s)
        sums_WF = np.cumsum(np.vstack([np.zeros_like(log_odds_WF[:1]), log_odds_WF]), axis=0)
        runs_RF = (sums_WF[firsts + n_run] - sums_WF[firsts]) / n_run
        first_F = firsts[runs_RF.argmax(axis=0)]
        inside = first_F + np.arange(n_run)[:, None]
        best_F = first_F + np.take_along_axis(log_odds_WF, inside, axis=0).argmax(axis=0)
        return expit(runs_RF.max(axis=0)), best_F

    def _runs(self, sustained_s: float) -> tuple[int, np.ndarray]:
        """Windows in a stretch of that length, and where such stretches without a gap begin.

        Where windows were left out everywhere, the longest stretches that there are.
        """
        starts_s = self.starts_s
        step_s = self.step_s or self.window_s
        n_run = int((sustained_s - self.window_s) / step_s + 1e-6) + 1
        for n in range(int(np.clip(n_run, 1, len(starts_s))), 0, -1):
            lasted_s = starts_s[n - 1 :] - starts_s[: len(starts_s) - n + 1]
            firsts = np.flatnonzero(lasted_s <= (n - 1) * step_s + TOLERANCE_S)
            if len(firsts):
                break
        return n, firsts


@dataclass(frozen=True)
class Timeline:
    """When in a record its findings are there.

    Attributes
    ----------
    windows : Windows
    codes : sequence of str, length F
    present : ndarray of shape (W, F), bool
    best : ndarray of shape (F,), int
        The window that speaks most for each finding.
    shown : int
        The window that speaks most for the findings of the record.
    """

    windows: Windows
    codes: Sequence[str]
    present: np.ndarray
    best: np.ndarray
    shown: int

    def to_json(self) -> list[dict[str, Any]]:
        """Each window in the order of time: its findings with their probabilities."""
        seen, window_s = self.windows, self.windows.window_s
        said: dict[float, dict[str, Any]] = {
            start: {"skipped": reason} for start, reason in seen.skipped
        }
        for start, p, here in zip(
            seen.starts_s.tolist(), seen.probabilities.tolist(), self.present, strict=True
        ):
            found = zip(self.codes, p, here.tolist(), strict=True)
            said[start] = {
                "findings": {code: round(p, 4) for code, p, is_there in found if is_there}
            }
        return [
            {"start_s": round(start, 3), "end_s": round(start + window_s, 3), **said[start]}
            for start in sorted(said)
        ]

    def at_s(self, code: str) -> float:
        """Where the window that speaks most for a finding begins, s."""
        return round(float(self.windows.starts_s[self.best[self.codes.index(code)]]), 3)

    def note(self) -> str:
        """Which part of the record is shown."""
        start = float(self.windows.starts_s[self.shown])
        number = (
            1
            + int(np.sum(self.windows.starts_s < start))
            + sum(skipped < start for skipped, _ in self.windows.skipped)
        )
        return (
            f"Shown: {format_time(start)} to {format_time(start + self.windows.window_s)}, window {number} of "
            f"{self.windows.n}, the one that speaks most for the findings of the whole record."
        )

    def stretches(self, code: str) -> list[tuple[float, float]]:
        """From when to when a finding is there, s: windows that touch are one stretch."""
        here = self.present[:, self.codes.index(code)]
        found: list[tuple[float, float]] = []
        for start in self.windows.starts_s[here].tolist():
            end = start + self.windows.window_s
            if found and start <= found[-1][1] + TOLERANCE_S:
                start = found.pop()[0]  # they touch
            found.append((start, end))
        return found


def representative_window(
    probabilities: np.ndarray, thresholds: np.ndarray, called: np.ndarray
) -> int:
    """The window that speaks most for what is called, or for anything if nothing is.

    What is there in few windows weighs more: it cannot be seen in the others.

    Parameters
    ----------
    probabilities : ndarray of shape (W, F), float in [0, 1]
    thresholds : ndarray of shape (F,), float in [0, 1]
    called : ndarray of shape (F,), bool
        Findings of the whole record.
    """
    above_WF = _log_odds(probabilities) - _log_odds(thresholds)
    if not called.any():
        return int(above_WF.max(axis=1).argmax())
    above_WF = above_WF[:, called].clip(min=0)
    weight_F = 1 / np.maximum((above_WF > 0).mean(axis=0), 1 / len(above_WF))
    return int((above_WF * weight_F).sum(axis=1).argmax())


def is_long(duration_s: float, window_s: float) -> bool:
    """Whether a record is cut in windows; else its middle is looked at."""
    return duration_s >= LONG * window_s


def window_starts(n_samples: int, size: int, step: int, tolerance: int = 0) -> np.ndarray:
    """First samples of the windows; the last window ends where the record ends.

    Parameters
    ----------
    n_samples : int
        Of the record, at least ``size``.
    size, step : int
        Of a window, and from one to the next.
    tolerance : int
        As many samples may be left at the end.

    Returns
    -------
    ndarray of shape (W,), int

    Examples
    --------
    >>> window_starts(34, size=10, step=10)
    array([ 0, 10, 20, 24])
    """
    last = n_samples - size
    found = np.arange(0, last + 1, step)
    return found if last - found[-1] <= tolerance else np.append(found, last)


def predict_windows(
    source: Source,
    window_s: float,
    step_s: float,
    batch_size: int,
    prepare: Callable[[Record], np.ndarray],
    probabilities: Callable[[np.ndarray], np.ndarray],
    warnings: Callable[[Record], list[str]],
) -> Windows:
    """Answer for every window of a record; never more than a batch of them is held.

    Parameters
    ----------
    source : Source
        Of a record that lasts a window or longer.
    window_s, step_s : float, s
    batch_size : int
        Windows at one time.
    prepare : function of Record to ndarray of shape (12, n_samples)
    probabilities : function of ndarray (n, 12, n_samples) to ndarray (n, F)
    warnings : function of Record to list of str

    Returns
    -------
    Windows

    Raises
    ------
    ValueError
        If no window can be used, with the reason of the first.
    """
    size = round(window_s * source.fs)
    step = max(1, round(step_s * source.fs))
    firsts = window_starts(source.n_samples, size, step, round(TOLERANCE_S * source.fs))
    seen: Counter[str] = Counter()
    used: list[float] = []
    skipped: list[tuple[float, str]] = []
    answers: list[np.ndarray] = []
    bar = tqdm(total=len(firsts), desc="windows", disable=None, leave=False)
    for begin in range(0, len(firsts), batch_size):
        prepared = []
        for first in firsts[begin : begin + batch_size]:
            try:
                record = source.piece(int(first), int(first) + size)
                prepared.append(prepare(record))
            except ValueError as error:
                reason = one_line(error).removeprefix(f"record {source.name}: ")
                skipped.append((first / source.fs, reason.removeprefix(f"{source.name}: ")))
                continue
            used.append(first / source.fs)
            seen.update({NUMBERS.sub("", sentence) for sentence in warnings(record)})
        if prepared:
            answers.append(probabilities(np.stack(prepared)))
        bar.update(len(firsts[begin : begin + batch_size]))
    bar.close()
    if not answers:
        raise ValueError(
            f"record {source.name}: none of its {len(firsts)} windows can be used; the first: "
            f"{skipped[0][1]}"
        )
    said = [
        f"{sentence} (in {n} of {len(firsts)} windows)"
        for sentence, n in seen.most_common(N_WARNINGS)
    ]
    if skipped:
        said.insert(
            0,
            f"{len(skipped)} of {len(firsts)} windows were left out, the first at "
            f"{format_time(skipped[0][0])}: {skipped[0][1]}",
        )
    return Windows(np.array(used), window_s, np.concatenate(answers), skipped, said, step_s)


def _log_odds(p: np.ndarray) -> np.ndarray:
    inside: np.ndarray = logit(np.clip(p, 1e-9, 1 - 1e-9))
    return inside


def format_time(time_s: float) -> str:
    """A time within a record as h:mm:ss.

    Examples
    --------
    >>> format_time(3725.4)
    '1:02:05'
    """
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
