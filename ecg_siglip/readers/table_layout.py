"""Where the numbers of a text table begin, how its cells are delimited, and what is above them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ecg_siglip.readers.clock import TIME_NAME, time_scale
from ecg_siglip.readers.columns import MAX_COLUMNS, is_lead, split_unit
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import (
    FS_KEYS,
    INTERVAL_KEYS,
    LEAD_KEYS,
    UNIT_KEYS,
    is_scale_key,
    is_unit,
    normalized_key,
)

N_LINES = 400  # from whose end the layout is recognized; the lines before the table are fewer
N_REFERENCE = 40  # lines with numbers by which the layout is recognized
MAX_LINE = 20_000  # characters of a line that are looked at
MAX_ROW_HEAD = 2000  # characters of a row with a lead by which it is recognized
MAX_LEAD_ROWS = 100  # of a table with one lead per row
MAX_BEFORE = 8  # cells of such a row before its samples
DELIMITERS = ("\t", ";", "|", ",", " ", "")  # "" is a single column
# What stands for an invalid sample: a word, an error of a spreadsheet, or no letters and digits.
MISSING = (
    r"(?i)[\s!-+./:<-@\[-`{}~-]*|#?n/?a|n\.a\.|nan|nd|nil|none|null|missing|(?:leads?[ _-]?)?off|"
    r"#(?:div/0|value|ref|name|num|null)[!?]"
)
IS_MISSING = re.compile(MISSING)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\d*[.,]\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.I)
# A single column of numbers with decimal commas: no whole number begins with 0, or is -0.
SINGLE_COLUMN = re.compile(r"[+-]?\d+(?:,\d+)?")
LEADING_ZERO = re.compile(r"[+-]?\d+,0\d+|[+-]0,\d+")
DIGITS = r"\d+(?:\.\d+)?"
COMMENT = re.compile(r"\s*(?:#(?!N/A|[A-Z]+(?:/0)?[!?])|%|//|!)+")
# Between the names and the numbers: a rule, or a row of a spreadsheet without cells.
RULE = re.compile(r"[\s|:+-]*--[\s|:+-]*|[\s=]+|[\s,;|]*")
QUOTES = " \t'\"\u00a0"
KEYS = FS_KEYS | INTERVAL_KEYS | UNIT_KEYS


class Layout(NamedTuple):
    """The layout of a text table.

    Attributes
    ----------
    delimiter : str
        A character, " " for any number of blanks, or "" for a single column.
    n_columns : int
    header : list of list of str
        Cells of the lines before the names of the columns.
    comments : list of str
        Lines that begin with ``#``, without it.
    names, units : list of str, length n_columns
        "" where the table has none.
    first_line : int
        Number of the first line with numbers, from 0.
    is_transposed : bool
        Whether each line is a lead; the columns are then those before its samples.
    """

    delimiter: str
    n_columns: int
    header: list[list[str]]
    comments: list[str]
    names: list[str]
    units: list[str]
    first_line: int
    is_transposed: bool = False


def is_number(cell: str) -> bool:
    """Return whether a cell has a number, with a decimal point or comma, or an invalid sample."""
    cell = cell.strip(QUOTES)
    return NUMBER.fullmatch(cell) is not None or IS_MISSING.fullmatch(cell) is not None


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, without blanks and quotes around them."""
    if delimiter == "":
        return [line.strip(QUOTES)]
    if delimiter == " ":
        return [cell.strip(QUOTES) for cell in line.split()]
    row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [cell.strip(QUOTES) for cell in row]


def find_layout(lines: Sequence[str]) -> Layout:
    """Find the table in a text.

    Parameters
    ----------
    lines : sequence of str
        The first ``N_LINES`` lines of a text, or all; without those that are cut off.

    Returns
    -------
    Layout

    Raises
    ------
    ValueError
        If there are no lines of numbers.
    """
    lines = [line[:MAX_LINE] for line in lines[:N_LINES]]
    found = _find_rows_of_leads(lines) or _find_columns(lines)
    if found is None:
        raise ValueError(
            "no table of numbers, expected rows of up to "
            f"{MAX_COLUMNS} columns with a comma, semicolon, tab, | or blanks between them"
        )
    return found


def _find_rows_of_leads(lines: Sequence[str]) -> Layout | None:
    """Return the layout of a table with one lead per row; None if it is none."""
    filled = [i for i, line in enumerate(lines) if line.strip() and not COMMENT.match(line)]
    if not 1 <= len(filled) <= MAX_LEAD_ROWS or len(lines) >= N_LINES:
        return None
    delimiter = _best_delimiter([lines[i][:MAX_ROW_HEAD] for i in filled[-12:]], n_names=3)
    if not delimiter:
        return None
    cells = {i: split_line(lines[i][:MAX_ROW_HEAD], delimiter)[:-1] for i in filled}
    rows = [i for i in filled if len(cells[i]) > max(N_REFERENCE, len(filled))]
    if not rows:
        return None
    first, above = rows[0], list(lines[: rows[0]])
    names = numbered_names(cells[first])
    if names:
        rows = rows[1:] or rows
        first = first if is_number(cells[first][-1]) else rows[0]
    elif above and any(normalized_key(cell) in LEAD_KEYS for cell in cells.get(first - 1, [])):
        above.pop()
        names = cells[first - 1]  # without the name of all samples
    words = [k for i in rows for k, cell in enumerate(cells[i]) if not is_number(cell)]
    n_before = max(len(names), *(k + 1 for k in words), 0)
    if n_before > MAX_BEFORE:
        return None
    has_leads = any(is_lead(cell) for i in rows for cell in cells[i][:n_before])
    if not has_leads and (words or len(rows) + bool(names) < len(filled)):
        return None
    if not names:
        n_before += _is_numbered([cells[i][n_before : n_before + 2] for i in rows])
    names += [""] * (n_before - len(names))
    return Layout(delimiter, n_before, *_split(above, delimiter), names, [], first, True)


def is_count(cells: Sequence[str]) -> bool:
    """Return whether cells are the numbers 0, 1, 2 ... or 1, 2, 3 ... ."""
    return list(cells) in [[str(k + first) for k in range(len(cells))] for first in (0, 1)]


def _is_numbered(starts: Sequence[Sequence[str]]) -> bool:
    """Return whether leads begin with their numbers; refuse another number before the samples.

    Notes
    -----
    Numbers before the samples, as of pandas' index, are one sample each to a reader of lines.
    """
    value = starts[0][0]
    # Leads that begin with a pause have its value more than once.
    is_other = value.lstrip("-").isdigit() and all(one == value != other for one, other in starts)
    if len(starts) > 2 and is_other:
        raise ValueError(
            f"all rows of leads begin with {value}: if it is a gain or another number, expected "
            "names of the columns above, or rows of the lead and its samples alone"
        )
    return len(starts) > 1 and is_count([start[0] for start in starts])


def numbered_names(cells: Sequence[str]) -> list[str]:
    """Return the names before those of samples, as ``s0``, ``s1`` or their times; none if none."""
    stems = [re.sub(DIGITS, "", cell) if cell else None for cell in cells]
    n = next((i for i in range(len(cells), 0, -1) if stems[i - 1] != stems[-1]), 0)
    numbers = [float(found[0]) for cell in cells[n:] if (found := re.search(DIGITS, cell))]
    is_rising = len(numbers) > 2 and all(one < other for one, other in pairwise(numbers))
    return list(cells[:n]) if is_rising and n <= MAX_BEFORE else []


def _find_columns(lines: Sequence[str]) -> Layout | None:
    """Return the layout of a table with one lead per column; None if there is none."""
    filled = [i for i, line in enumerate(lines) if line.strip() and not COMMENT.match(line)]
    # The last line may be cut off, or a footer.
    reference = [lines[i] for i in filled[-N_REFERENCE - 1 : -1] or filled]
    delimiter = _best_delimiter(reference)
    if delimiter == "," and _has_decimal_commas(reference, lines):
        delimiter = ""
    if delimiter is None:
        return None
    rows = [split_line(line, delimiter) for line in reference]
    n_columns = Counter(map(len, rows)).most_common(1)[0][0]
    if n_columns > MAX_COLUMNS:
        return None
    rows = [row for row in rows if len(row) == n_columns]
    is_numeric = [
        sum(is_number(row[k]) for row in rows) > 0.5 * len(rows) for k in range(n_columns)
    ]

    def is_row(i: int) -> bool:
        cells = split_line(lines[i], delimiter)
        if len(cells) == n_columns + 1 and not cells[-1]:
            cells.pop()
        if len(cells) != n_columns or _is_setting(cells) or _are_numbered(cells):
            return False
        numeric = [cell for cell, is_one in zip(cells, is_numeric, strict=True) if is_one and cell]
        # A word among the numbers is a defect or a remark, not a name.
        return len(numeric) > 2 * sum(not is_number(cell) for cell in numeric)

    # The first of two lines with numbers where the table has them.
    following = zip(filled, [*filled[1:], *filled[-1:]], strict=True)
    first = next((i for i, after in following if is_row(i) and is_row(after)), None)
    if first is None:
        return None
    first, above, names, units = _read_header(lines, first, delimiter, n_columns)
    if RULE.fullmatch(lines[first]):
        after = filled[filled.index(first) + 1 :]
        first = after[0] if after and not RULE.fullmatch(lines[after[0]]) else first
    if n_columns == 3 and not any(names) and is_count(split_line(lines[first], delimiter)):
        raise ValueError(
            "the first row numbers the columns, expected names of leads or no such row"
        )
    return Layout(delimiter, n_columns, *_split(above, delimiter), names, units, first)


def _best_delimiter(lines: Sequence[str], n_names: int = 0) -> str | None:
    """Return the delimiter with which most cells are numbers; None if few are."""
    scores: dict[str, float] = {}
    for delimiter in DELIMITERS:
        rows = [split_line(line, delimiter) for line in lines]
        n = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
        if n < (N_REFERENCE if n_names else 2) and delimiter:
            continue
        rows = [row for row in rows if len(row) == n or (n_names and row)]
        shares = [
            sum(bool(cell) and is_number(cell) for cell in row) / max(1, len(row) - n_names)
            for row in rows
        ]
        scores[delimiter] = sum(min(1.0, share) for share in shares) / max(1, len(lines))
    # The first in DELIMITERS of those with the highest score.
    best = max(scores, key=lambda delimiter: round(scores[delimiter], 3), default=None)
    return best if best is not None and scores[best] >= 0.2 else None


def _has_decimal_commas(reference: Sequence[str], lines: Sequence[str]) -> bool:
    """Return whether lines such as ``-183,740`` are one number each, not two."""
    if not all(SINGLE_COLUMN.fullmatch(line.strip(QUOTES)) for line in reference):
        return False
    texts = [text for line in lines if SINGLE_COLUMN.fullmatch(text := line.strip(QUOTES))]
    return any(map(LEADING_ZERO.fullmatch, texts)) or len({"," in text for text in texts}) == 2


def _read_header(
    lines: Sequence[str], first: int, delimiter: str, n_columns: int
) -> tuple[int, list[str], list[str], list[str]]:
    """Return the first line with numbers, the lines of statements, the names and the units."""
    filled = [i for i in range(first) if COMMENT.sub("", lines[i]).strip()]
    rows: dict[int, list[str]] = {}  # that may be names or units, from the last
    for i in filled[::-1]:
        cells = split_line(COMMENT.sub("", lines[i]), delimiter)
        # LabChart writes names and units in rows that begin with a key, among its settings.
        if _is_setting(cells) and not any(map(is_lead, cells)) and not _are_units(cells):
            filled.remove(i)
            continue
        fitted = _fitted(cells, delimiter, n_columns)
        if fitted is not None and _may_be_names(lines[i], fitted, len(rows)):
            rows[i] = fitted
    with_leads = [i for i, cells in rows.items() if any(map(is_lead, cells))]
    if with_leads and n_columns > 1:
        # Below the names are the numbers, but for units and one row of other names.
        near = [i for i in filled if i >= with_leads[0]]
        words = [i for i in near[1:] if i in rows and not _are_units(rows[i])]
        first = min([first, *(i for i in near if i not in rows), *words[1:]])
        near = [i for i in near if i < first]
    else:
        near = []
        for i in filled[:-4:-1]:
            is_apart = not all(map(str.strip, lines[i + 1 : first]))
            if i not in rows or (is_apart and i not in with_leads):
                break
            near.insert(0, i)
    units_at = next((i for i in near[::-1] if _are_units(rows[i])), -1)
    others = [i for i in near[::-1] if not _are_units(rows[i])]
    names_at = max(others, key=lambda i: sum(map(is_lead, rows[i])), default=-1)
    names = ["" if name.endswith("=") else name for name in rows.get(names_at, [""] * n_columns)]
    names = [""] * n_columns if is_count([name for name in names if name]) else names
    units = list(map(_unit, rows.get(units_at, [""] * n_columns)))
    above = [line for i, line in enumerate(lines[:first]) if i not in (names_at, units_at)]
    return first, above, names, units


def _fitted(cells: list[str], delimiter: str, n_columns: int) -> list[str] | None:
    """Return the cells of a row of names, one for each column; None if their numbers differ."""
    n_more = len(cells) - n_columns
    if delimiter == " " and 0 < n_more < 3:
        return [" ".join(cells[: n_more + 1]), *cells[n_more + 1 :]]  # "Elapsed time"
    if len(cells) == n_columns + 1 and not cells[-1]:
        return cells[:-1]
    if len(cells) == n_columns - 1 and n_columns > 2:
        # R writes no name above the numbers of the rows; others delimit the end of each row.
        return ["", *cells]
    return cells if len(cells) == n_columns else None


def _may_be_names(line: str, cells: Sequence[str], n_below: int) -> bool:
    """Return whether a line above the numbers may be names or units of columns."""
    if any(map(NUMBER.fullmatch, cells)):
        return _are_numbered(cells)
    if all(map(is_number, cells)):
        return False
    is_known = any(map(is_lead, cells)) or _are_units(cells)
    if COMMENT.match(line):
        return is_known and not re.search("[:=]", line)
    if len(cells) == 1:
        return is_known or not re.search("[,;|:=\t]", line)
    if len(cells) == 2:
        # Otherwise the key and the value of a statement.
        names = [split_unit(cell) for cell in cells]
        is_time = any(TIME_NAME.fullmatch(name) for name, _ in names)
        return is_known or is_time or any(unit for _, unit in names) or n_below > 0
    return True


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether names of columns are their numbers, as pandas writes them.

    The first may be a word or empty. Three numbers alone may as well be samples.
    """
    counted = names[not names[0].isdigit() :]
    return is_count(counted) and len(names) > 2 and counted != names[:3]


def _are_units(cells: Sequence[str]) -> bool:
    """Return whether the cells of a line are units, of one column at least a voltage or time."""
    filled = [cell for cell in cells if cell.strip("()[]")]
    if any(map(NUMBER.fullmatch, filled)):
        return False  # a statement such as `Calibration,1,mV`
    units = list(filter(None, map(_unit, filled)))
    return any(map(is_voltage, units)) and 2 * len(units) >= len(filled)


def _unit(cell: str) -> str:
    """Return the unit in a cell; "" for another word, as ``hh:mm:ss`` or ``sample``."""
    text = cell.strip("()[]")
    return text if is_unit(text) or time_scale(text) is not None else ""


def _is_setting(cells: Sequence[str]) -> bool:
    """Return whether a row is a setting of the device, of the file or of each column."""
    key = cells[0]
    return key.endswith(("=", ":")) or normalized_key(key) in KEYS or is_scale_key(key)


def _split(lines: Sequence[str], delimiter: str) -> tuple[list[list[str]], list[str]]:
    """Return the cells of the lines above a table, and those lines that are comments."""
    header = [_split_statement(COMMENT.sub("", line), delimiter) for line in lines]
    return header, [line.strip("# \t\r\n") for line in lines if line.startswith("#")]


def _split_statement(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line before the table, delimited as the table or by commas."""
    cells = split_line(line, delimiter.strip(" "))
    if len(cells) > 1:
        return cells
    for other in ("\t", ";", "|", ","):
        if other in line and not re.search("[:=]", line.partition(other)[0]):
            return split_line(line, other)
    return [line.strip(QUOTES)]
