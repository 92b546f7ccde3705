"""The lines before the numbers in text exports of AcqKnowledge (BIOPAC), as names of columns."""

from __future__ import annotations

import re

MAX_CHANNELS = 100
N_HEAD = 2 * MAX_CHANNELS + 6  # lines
STEP = re.compile(r"[\d.,]+\s*(?:\w+\s*/\s*sample|samples\s*/\s*\w+)", re.I)
N_CHANNELS = re.compile(r"(\d{1,3})\s+channels?", re.I)


def with_names(text: str) -> str:
    """Return a text whose table has names of columns, if it is an export of AcqKnowledge.

    Parameters
    ----------
    text : str
        It begins with the name of the recording, ``2 msec/sample``, ``3 channels``, and name and
        unit of each channel, in lines of their own. Above the numbers are ``min,CH1,CH2,CH3`` and
        the number of samples of each channel.

    Returns
    -------
    str
        With as many lines before the numbers, of which the last has the names with units. Any
        other text as it is.

    Raises
    ------
    ValueError
        If there is another number of columns than of channels, or fewer rows than samples.
    """
    lines = text.split("\n", N_HEAD)
    stated = [line.strip() for line in lines[:N_HEAD]]
    count = N_CHANNELS.fullmatch(stated[2]) if len(lines) > 4 else None
    if not count or not STEP.fullmatch(stated[1]) or not 0 < int(count[1]) <= MAX_CHANNELS:
        return text
    n = int(count[1])
    at = 3 + 2 * n  # of the line with `min,CH1,CH2,CH3`
    if len(lines) < at + 3:
        return text
    delimiter = "\t" if "\t" in lines[at] else ","
    columns = lines[at].rstrip(f"{delimiter} ").split(delimiter)
    names = [f"{name} ({unit})" for name, unit in zip(stated[3:at:2], stated[4:at:2], strict=True)]
    if len(columns) == n + 1:
        names = [f"time ({columns[0]})", *names]
    if len(columns) != len(names):
        found = ", ".join(columns)[:80]
        raise ValueError(f"AcqKnowledge: expected {n} channels and the time, got columns {found}")
    names = [re.sub(rf'[{delimiter}"]', " ", name) for name in names]
    # Each line may end with a delimiter.
    rest = "\n".join(lines[at + 1 :]).replace(f"{delimiter}\n", "\n").removesuffix(delimiter)
    first, _, below = rest.partition("\n")
    counts = [cell.strip() for cell in first.split(delimiter)]
    above = [f"# {line}" for line in stated[:3]] + [""] * (at - 3)
    n_rows = 1 + below.rstrip().count("\n")
    is_counts = all(map(str.isdecimal, filter(None, counts))) and (
        not counts[0] or (len(set(counts)) == 1 and int(counts[0][:9]) >= n_rows)
    )
    if is_counts:
        n_stated = max(int(cell[:9]) for cell in counts if cell)
        if n_stated > n_rows:
            raise ValueError(
                f"AcqKnowledge: {n_stated} samples per channel, got {n_rows}: export it again"
            )
        above, rest = [*above, ""], below
    return "\n".join([*above, delimiter.join(names), rest])
