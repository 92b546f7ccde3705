"""What the windows of a long record have in common: sustained findings, and when they are present.

Shape letters: W windows, F findings, R stretches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from ecg_siglip.core.translation import Translate

TOLERANCE_S = 0.05  # a shorter rest at the end of a record is a rounding error
SUSTAINED_S = 30.0


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
        sustained_s: float = SUSTAINED_S,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decide which findings are sustained.

        Parameters
        ----------
        present : function of ndarray (n, F) to ndarray (n, F), bool
            Decides from the probabilities of stretches, each by itself, see ``Decision.present``.
        sustained_s : float, s

        Returns
        -------
        ndarray of shape (F,), bool
            Findings that are present in a stretch of that length.
        ndarray of shape (F,), int
            The most likely window of that stretch; of other findings, as in ``overall``.

        Notes
        -----
        Two findings that exclude each other are both sustained only in different stretches. A
        record of which fewer stretches are predicted has no finding that it would not have with
        more of them: each stretch is decided by itself.
        """
        runs_RF, windows_RN = self._runs(sustained_s)
        is_sustained_RF = present(expit(runs_RF))
        sustained_F = np.asarray(is_sustained_RF.any(axis=0))
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

    def note(self, _: Translate = str) -> str:
        """Return a sentence about the part of the record that is shown."""
        start = float(self.windows.starts_s[self.shown])
        number = 1 + int(np.sum(self.windows.starts_s < start))
        number += sum(at < start for at, _reason in self.windows.skipped)
        text = _(
            "Shown: %(start)s to %(end)s, window %(number)d of %(n)d, the one that supports the "
            "findings of the whole record most."
        )
        values = {"number": number, "n": self.windows.n, "start": format_time(start)}
        return text % (values | {"end": format_time(start + self.windows.window_s)})

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
