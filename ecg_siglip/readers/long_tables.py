"""Split tables with one row per sample and lead ("long" or "tidy") into columns of leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ecg_siglip.readers.columns import MAX_COLUMNS, Column, is_lead, split_unit
from ecg_siglip.readers.statements import LEAD_KEYS, is_unit, normalized_key
from ecg_siglip.readers.table_layout import QUOTES

N_QUOTED = 40  # characters of a cell in a message
N_HEAD = 1000  # rows by which a column with names of leads is recognized


class Text(NamedTuple):
    """A column of a text: its name and unit, "" where it has none, and its cells, as in Arrow."""

    name: str
    unit: str
    cells: Any


def split_by_lead(columns: list[Column], words: list[Text]) -> tuple[list[Column], list[list[str]]]:
    """Return the columns of a table with one row per sample and lead, and what the others state.

    Another table is returned as it is.

    Raises
    ------
    ValueError
        If leads differ in length or time, or there are several recordings or columns of samples.
    """
    of_leads = [text for text in words if _has_leads(text)]
    if len(of_leads) != 1 or any(is_lead(column.name) for column in columns):
        return columns, []
    encoded = of_leads[0].cells.fill_null("").dictionary_encode()
    names = [name.strip(QUOTES) for name in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    leads = [k for k, name in enumerate(names) if is_lead(name)] or range(len(names))
    is_of_lead = np.isin(codes, leads)
    settings = [
        [text.name, only_value(text.name, text.cells.unique().to_pylist()[:2])]
        for text in words
        if text is not of_leads[0] and not text.cells.null_count
    ]
    if len(leads) == 1:
        lead = names[leads[0]]
        columns = [
            each._replace(name=f"{lead} [{each.name}]") if is_unit(each.name) else each
            for each in columns
        ]
        return columns, [*settings, ["lead", lead]]
    times, samples = [], []
    for column in columns:
        values, n_rows = np.unique(column.values[is_of_lead], return_counts=True)
        if len(values) == 1:
            settings.append([column.name, f"{values[0]:g}"])
        elif (n_rows == len(leads)).all():
            times.append(column)
        elif not (len(values) == is_of_lead.sum() == values[-1] - values[0] + 1):
            samples.append(column)  # and not the number of the row
    if len(samples) != 1:
        listed = ", ".join(column.name for column in samples)[:100]
        raise ValueError(
            f"columns {listed or '(none)'} for {len(leads)} leads: expected one with samples, and "
            "times that each lead has once, of one recording"
        )
    order = np.argsort(times[0].values, kind="stable") if times else np.arange(len(codes))
    rows = [order[codes[order] == k] for k in leads]
    for time in times:
        if not all(np.array_equal(time.values[each], time.values[rows[0]]) for each in rows):
            raise ValueError(f"leads have different times in column {time.name}")
    name, unit = split_unit(samples[0].name)
    unit = unit or samples[0].unit or (name if is_unit(name) else "")
    clocks = [time._replace(values=time.values[rows[0]]) for time in times]
    signals = [
        Column(names[k], samples[0].values[each], unit) for k, each in zip(leads, rows, strict=True)
    ]
    return [*clocks, *signals], settings


def _has_leads(text: Text) -> bool:
    """Return whether the cells of a column are names of leads."""
    names = text.cells[:N_HEAD].unique().to_pylist()
    if normalized_key(text.name) in LEAD_KEYS:
        return len(text.cells.unique()) <= MAX_COLUMNS
    return all(name and is_lead(name) for name in names)


def only_value(name: str, values: Sequence[str]) -> str:
    """Return the value that all rows of a column have; refuse several recordings."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) > 1:
        listed = ", ".join(value[:N_QUOTED] for value in distinct[:2])
        raise ValueError(
            f"column {name or '(no name)'} has several values ({listed}): expected a table of one "
            "recording"
        )
    return distinct[0]
