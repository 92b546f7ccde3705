"""What the columns of a table mean: leads, time, numbers of rows, and columns of no signal.

Shared by the readers of text tables, Excel workbooks and Parquet files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated
from ecg_siglip.readers.clock import (
    TIME_NAME,
    Clock,
    UnevenSteps,
    agreed_clock,
    read_clock,
    time_scale,
    unit_of_steps,
)
from ecg_siglip.readers.selection import is_voltage, same_unit
from ecg_siglip.readers.statements import Statements
from ecg_siglip.signals.leads import LEADS, lead_name

MAX_COLUMNS = 1000
MAX_NAME = 200  # characters; a longer one is no name of a lead
# A column that has this many rows in even steps is a clock although it has no name.
N_ROWS_OF_CLOCK = 50
UNIT_IN_NAME = re.compile(
    r"(.*?)\s*(?:[(\[{]\s*([^()\[\]{}]{1,20}?)\s*[)\]}]"
    r"|_([num\u00b5\u03bc]?v|[num\u00b5\u03bc]?s|m?sec)|[,/]\s*([num\u00b5\u03bc]?v))",
    re.I,
)


class Column(NamedTuple):
    """A column of numbers.

    Attributes
    ----------
    name : str
        As spelled in the file; "" where it has none.
    values : ndarray of shape (n_rows,), float64
        NaN where a cell is empty.
    unit : str
        Where it is stated apart from the name.
    is_time : bool
        Dates or times of day, as s.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    is_time: bool = False


def split_unit(column: str) -> tuple[str, str]:
    """Return name and unit of a column, as in ``II (mV)``, ``II [mV]`` or ``II_mV``; "" if none."""
    column = column.strip()
    match = UNIT_IN_NAME.fullmatch(column) if len(column) <= MAX_NAME else None
    if not match:
        return column, ""
    return match[1], (match[2] or match[3] or match[4]).strip()


def is_lead(name: str) -> bool:
    """Return whether a column has the name of a lead, whatever its unit."""
    return lead_name(split_unit(name)[0]) in LEADS


def read_columns(
    columns: Sequence[Column], header: Statements, comments: Sequence[str] = ()
) -> Stated:
    """Return what the columns of a table and the lines before it state.

    Parameters
    ----------
    columns : sequence of Column
    header : Statements
    comments : sequence of str

    Returns
    -------
    Stated
        Channels: the columns but for those of time, of the number of the row, and empty ones
        without a name.

    Raises
    ------
    ValueError
        If sampling rates, units or leads contradict each other; if the time has gaps or does not
        increase in even steps; if a column with numbers has no name although others have.
    """
    clocks: list[Clock] = []
    guesses: list[str] = []
    uneven: list[UnevenSteps] = []
    warnings: list[str] = []
    channels: list[Channel] = []
    has_names = any(column.name for column in columns)
    for i, column in enumerate(columns):
        scale, warning = _time_scale(column)
        if scale is not None:
            try:
                clock = read_clock(column.name or str(i + 1), column.values * scale)
            except UnevenSteps as error:
                uneven.append(error)
                continue
            clocks += [clock] if clock else []
            guesses += [warning] if clock else []
        elif not _is_no_signal(column):
            if has_names and not column.name:
                raise ValueError(f"column {i + 1} has no name")
            channels.append(_channel(column, header.unit))
    if uneven and not clocks:
        raise ValueError(f"{uneven[0]}; expected samples in even steps, without gaps")
    clock = agreed_clock(clocks)
    if guesses and all(guesses) and header.fs is None:
        warnings += guesses[:1]
    warnings += [f"{error}: not used" for error in uneven]
    if clock and clock.jitter_s:
        warnings.append(
            f"the time in column {clock.name} is uneven by up to {1000 * clock.jitter_s:.0f} ms, "
            f"read as {clock.fs:g} Hz"
        )
    fs = _agreed_fs(header.fs, clock)
    channels = [channel._replace(fs=fs) for channel in _with_lead(channels, header.lead)]
    return Stated(channels, comments, warnings, header.scale)


def _time_scale(column: Column) -> tuple[float | None, str]:
    """Return the unit of a column of time in s, None for another column, and a warning."""
    if is_lead(column.name):
        return None, ""
    name, unit = split_unit(column.name)
    unit = unit or column.unit
    is_named = column.is_time or TIME_NAME.fullmatch(name.strip()) is not None
    # A column may be called "ms".
    scale = 1.0 if column.is_time else time_scale(unit or name)
    if scale is not None and (is_named or _is_increasing(column.values)):
        return scale, ""
    if unit or not (is_named or (not name and _is_even(column.values))):
        return None, ""
    unit = unit_of_steps(column.values)
    of = f"column {name}" if name else "a column without a name"
    return time_scale(unit), f"{of} has no unit, read as the time in {unit}"


def _is_no_signal(column: Column) -> bool:
    """Return whether a column is the number of the row, empty, or a time in an unknown unit."""
    is_counter = _is_counter(column.values)
    if is_lead(column.name):
        # No lead rises by 1 in every row; numbers of rows may be called `i`.
        return is_counter and len(column.values) >= N_ROWS_OF_CLOCK
    name, unit = split_unit(column.name)
    if is_counter or np.isnan(column.values).all():
        return True
    is_time = TIME_NAME.fullmatch(name.strip()) is not None or time_scale(unit) is not None
    return is_time and not is_voltage(unit or column.unit)


def _is_increasing(values: np.ndarray) -> bool:
    """Return whether numbers increase, as a time does in rows of the same rounded time."""
    return len(values) > 2 and bool((np.diff(values) >= 0).all()) and values[0] < values[-1]


def _is_even(values: np.ndarray) -> bool:
    """Return whether many numbers increase in even steps, to a fifth of a step."""
    if len(values) < N_ROWS_OF_CLOCK or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool((np.abs(steps - steps.mean()) < 0.2 * steps.mean()).all())


def _is_counter(values: np.ndarray) -> bool:
    """Return whether numbers are those of the rows, from any first one."""
    return len(values) > 1 and bool((np.diff(values) == 1).all())


def _channel(column: Column, stated_unit: str) -> Channel:
    """Return a column as a channel, with its unit or that of the file."""
    name, unit = split_unit(column.name)
    if unit and column.unit and not same_unit(unit, column.unit):
        raise ValueError(f"column {column.name} contradicts the unit {column.unit} below its name")
    unit = unit or column.unit
    if is_voltage(unit) and is_voltage(stated_unit) and not same_unit(unit, stated_unit):
        raise ValueError(f"column {column.name} contradicts the file's unit {stated_unit}")
    return Channel(name, column.values, unit or stated_unit)


def _with_lead(channels: Sequence[Channel], lead: str) -> list[Channel]:
    """Return channels, of which the only one has the name of the lead that the file states."""
    if len(channels) != 1 or not lead:
        return list(channels)
    name = lead_name(channels[0].name)
    if name in LEADS and name != lead:
        raise ValueError(f"column {channels[0].name} contradicts the file's lead {lead}")
    return [channels[0]._replace(name=lead)]


def _agreed_fs(stated: float | None, clock: Clock | None) -> float | None:
    """Return the sampling rate that the file states, in one or both ways."""
    if clock is None:
        return stated
    allowed = 1e-3 if clock.jitter_s == 0 else 0.02
    if stated is not None and abs(clock.fs - stated) > allowed * stated:
        raise ValueError(
            f"column {clock.name} goes at {clock.fs:g} Hz, but the file states {stated:g}"
        )
    return clock.fs if stated is None else stated
