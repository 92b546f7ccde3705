"""Sampling rates that columns of time state."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

# Units of time in s, and their names.
UNITS = {
    86_400.0: "d day days tag tage",
    3600.0: "h hr hrs hour hours std stunde stunden",
    60.0: "min mins minute minutes minuten",
    1.0: "s sec secs second seconds sek sekunden 秒",
    1e-3: "ms msec msecs millis millisec millisecs millisecond milliseconds 毫秒",
    1e-6: "us µs μs usec micros microsecond microseconds",
    1e-9: "ns nsec nanos nanosecond nanoseconds",
}
TIME_S = {name: scale for scale, names in UNITS.items() for name in names.split()}
NUMBER_UNIT = re.compile(r"(\d*[.,]?\d+(?:e[+-]?\d+)?)?\s*(\D*)", re.I)
# Units of a column of time that states none, and the rates of which no two of them can be; but for
# tenths of a ms, which are rarer than 100 to 200 Hz in ms.
GUESSED_UNITS = ("d", "h", "min", "s", "ms", "us", "ns", "0.1 ms")
GUESSED_HZ = (89.0, 2050.0)
# Names of columns of time, the last word of them.
TIME_NAME = re.compile(
    r"(?:.*[\s_.-]|date|.*time)?(?:t|times?|time\s?stamps?|date|clock|seconds|milliseconds|zeit|"
    r"zeitstempel|temps|horodatage|tiempo|tempo|tijd|czas|tid|время|时间|時間|時刻)",
    re.I,
)
# Steps that differ by more from even ones are no clock of the samples, s: watches and phones
# deliver samples in groups.
JITTER_S = 0.05
# A missing sample moves all later ones by one step; less than this share of it is jitter.
GAP_STEPS = 0.75
GAP_JITTERS = 8.0  # by which a gap exceeds what the time of rows varies otherwise
N_AROUND = 6  # rows before and after a gap


class Clock(NamedTuple):
    """The sampling rate that a column of time states.

    Attributes
    ----------
    name : str
        Of the column.
    fs : float, Hz
    jitter_s : float, s
        Largest deviation from even steps; 0 where it is below half a sample.
    """

    name: str
    fs: float
    jitter_s: float = 0.0


class UnevenSteps(ValueError):
    """Steps of time that are no clock of the samples."""


def time_scale(unit: str) -> float | None:
    """Return a unit of time, as ``ms`` or ``0.1 ms``, in s; None for another unit."""
    match = NUMBER_UNIT.fullmatch(unit.strip().casefold())
    scale = TIME_S.get(match[2]) if match else None
    if not match or scale is None:
        return None
    return float((match[1] or "1").replace(",", ".")) * scale or None


def unit_of_steps(times: np.ndarray) -> str:
    """Return the unit of a column of time that states none, by its steps.

    Parameters
    ----------
    times : ndarray of shape (n_rows,)

    Returns
    -------
    str
        The one in which the sampling rate is that of most ECGs. "" where it is in no unit, or
        where the steps are 1: these may be samples as well as ms.
    """
    if len(times) < 2 or not np.isfinite(times).all():
        return ""
    step = float(times[-1] - times[0]) / (len(times) - 1)
    if step <= 0 or abs(step - 1) < 1e-6:
        return ""
    return next((unit for unit in GUESSED_UNITS if _is_rate(step * (time_scale(unit) or 0))), "")


def read_clock(name: str, times_s: np.ndarray) -> Clock | None:
    """Return the sampling rate that a column of time states.

    Parameters
    ----------
    name : str
    times_s : ndarray of shape (n_rows,), s

    Returns
    -------
    Clock or None
        The rate is a whole number if that fits every row to half a sample. None where most rows
        repeat the time of the row before: a clock in whole seconds, or times of groups of samples.

    Raises
    ------
    ValueError
        If a time is missing or earlier than the one before, or there is a gap.
    UnevenSteps
        If the steps are more uneven than ``JITTER_S``.
    """
    n = len(times_s) - 1
    if n < 1:
        return None
    bad = np.flatnonzero(~np.isfinite(times_s))
    if bad.size:
        raise ValueError(f"column {name} has no time in row {bad[0] + 1}")
    elapsed = times_s - times_s[0]
    steps = np.diff(elapsed)
    if (steps < 0).any():
        raise ValueError(f"the time in column {name} goes back in row {steps.argmin() + 2}")
    if 2 * np.count_nonzero(steps == 0) > n or elapsed[-1] == 0:
        return None
    # The median over a tenth of the record is not affected by a few gaps.
    span = max(1, n // 10)
    step = float(np.median(elapsed[span:] - elapsed[:-span])) / span
    if step <= 0:
        raise UnevenSteps(f"the time in column {name} stands still and jumps")
    _check_gaps(name, elapsed, steps, step)
    rows = np.arange(n + 1)
    mean_fs = n / float(elapsed[-1])
    whole_fs = float(round(mean_fs))
    for fs in (whole_fs, mean_fs, 1 / step):
        if fs > 0 and (np.abs(elapsed * fs - rows) < 0.5).all():
            return Clock(name, fs)
    shift = elapsed - rows / mean_fs
    jitter_s = float(np.abs(shift - np.median(shift)).max())
    if jitter_s > JITTER_S:
        raise UnevenSteps(
            f"the time in column {name} differs by up to {jitter_s:.3g} s from even steps"
        )
    is_whole = abs(whole_fs - mean_fs) <= mean_fs * jitter_s / float(elapsed[-1])
    return Clock(name, whole_fs if is_whole else mean_fs, jitter_s)


def agreed_clock(clocks: list[Clock]) -> Clock | None:
    """Return the clock with the least jitter.

    Raises
    ------
    ValueError
        If clocks state different sampling rates.
    """
    if not clocks:
        return None
    best = min(clocks, key=lambda clock: clock.jitter_s)
    for clock in clocks:
        allowed = 1e-3 if max(clock.jitter_s, best.jitter_s) == 0 else 0.02
        if abs(clock.fs - best.fs) > allowed * best.fs:
            raise ValueError(
                f"column {best.name} goes at {best.fs:g} Hz, but column {clock.name} at "
                f"{clock.fs:g} Hz"
            )
    return best


def _is_rate(step_s: float) -> bool:
    """Return whether steps in s are those of most ECGs."""
    return GUESSED_HZ[0] * step_s <= 1.0 <= GUESSED_HZ[1] * step_s


def _check_gaps(name: str, elapsed: np.ndarray, steps: np.ndarray, step: float) -> None:
    """Refuse a column of time after whose long steps all times are later than even steps."""
    behind = elapsed / step - np.arange(len(elapsed))
    around = np.pad(behind, N_AROUND - 1, mode="edge")
    mean = np.convolve(around, np.full(N_AROUND, 1 / N_AROUND), "valid")
    # From the rows up to one, to the rows after it.
    later = mean[N_AROUND:] - mean[: len(steps)]
    allowed = max(GAP_STEPS, GAP_JITTERS * float(np.median(np.abs(later))))
    gaps = np.flatnonzero((steps > 1.5 * step) & (later > allowed))
    if gaps.size:
        i = gaps[0]
        raise ValueError(
            f"column {name} has a gap of {steps[i]:.3g} s after {elapsed[i]:.6g} s (row {i + 1}); "
            "expected samples without gaps"
        )
