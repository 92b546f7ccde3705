"""Where the numbers of a text table begin, how its cells are delimited, and what is above them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ecg_siglip.readers.clock import TIME_NAME, time_scale
from ecg_siglip.readers.columns import MAX_COLUMNS, is_lead, split_unit
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import is_unit

N_LINES = 400  # from whose end the layout is recognized; the lines before the table are fewer
N_REFERENCE = 40  # lines with numbers by which the layout is recognized
MAX_LINE = 20_000  # characters of a line that are looked at
MAX_LEAD_ROWS = 100  # of a table with one lead per row
DELIMITERS = ("\t", ";", "|", ",", " ", "")  # "" is a single column
MISSING = frozenset(
    ("", "-", "--", "nan", "null", "na", "n/a", "#n/a", "none", "nil", "?", "missing", "nd", "n.a.")
)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\d*[.,]\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.I)
# A single column of numbers with decimal commas: no whole number begins with 0, or is -0.
SINGLE_COLUMN = re.compile(r"[+-]?\d+(?:,\d+)?")
LEADING_ZERO = re.compile(r"[+-]?\d+,0\d+|[+-]0,\d+")
COMMENT = re.compile(r"\s*(?:#|%|//|!)+")
QUOTES = " \t'\"\u00a0"


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
        Whether each line is a lead.
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
    """Return whether a cell contains a number, with a decimal point or comma, or none."""
    cell = cell.strip(QUOTES)
    return cell.lower() in MISSING or NUMBER.fullmatch(cell) is not None


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
    rows = [i for i, line in enumerate(lines) if line.strip()]
    if not 1 <= len(rows) <= MAX_LEAD_ROWS or len(lines) >= N_LINES:
        return None
    delimiter = _best_delimiter([lines[i][:2000] for i in rows[-12:]], n_names=1)
    if not delimiter:
        return None
    cells = {i: split_line(lines[i][:2000], delimiter)[:-1] for i in rows}
    long = [i for i in rows if len(cells[i]) > max(N_REFERENCE, len(rows))]
    if not long or not all(_n_words(cells[i]) <= 2 for i in long):
        return None
    has_names = any(is_lead(cells[i][0]) for i in long)
    if not has_names and (len(long) < len(rows) or not all(is_number(cells[i][0]) for i in long)):
        return None
    above = [split_line(lines[i], delimiter) for i in rows if i < long[0]]
    return Layout(delimiter, 0, above, [], [], [], long[0], is_transposed=True)


def _n_words(cells: Sequence[str]) -> int:
    """Return the number of cells up to the last that is no number."""
    words = [i for i, cell in enumerate(cells) if not is_number(cell)]
    return words[-1] + 1 if words else 0


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
    first = _first_row(lines, filled, delimiter, is_numeric)
    if first is None:
        return None
    above, names, units = _read_header(lines[:first], delimiter, n_columns)
    _check_names(lines[first], names, delimiter)
    header = [_split_statement(COMMENT.sub("", line), delimiter) for line in above]
    comments = [line.strip("# \t\r\n") for line in above if line.startswith("#")]
    return Layout(delimiter, n_columns, header, comments, names, units, first)


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
            sum(NUMBER.fullmatch(cell) is not None for cell in row) / max(1, len(row) - n_names)
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


def _first_row(
    lines: Sequence[str], filled: Sequence[int], delimiter: str, is_numeric: Sequence[bool]
) -> int | None:
    """Return the number of the first of two lines with numbers where the table has them."""

    def is_row(i: int) -> bool:
        cells = split_line(lines[i], delimiter)
        if len(cells) == len(is_numeric) + 1 and not cells[-1]:
            cells.pop()
        if len(cells) != len(is_numeric):
            return False
        numeric = [cell for cell, is_one in zip(cells, is_numeric, strict=True) if is_one]
        if _is_key(cells[0]):
            return False
        # A word among the numbers is a defect or a remark, not a name.
        n_words = sum(not is_number(cell) for cell in numeric)
        return sum(NUMBER.fullmatch(cell) is not None for cell in numeric) > n_words

    for i, after in zip(filled, [*filled[1:], filled[-1]], strict=True):
        if is_row(i) and is_row(after):
            return i
    return None


def _read_header(
    lines: Sequence[str], delimiter: str, n_columns: int
) -> tuple[list[str], list[str], list[str]]:
    """Return the lines above the names of columns, the names, and the units below them."""
    names, units = [""] * n_columns, [""] * n_columns
    above = list(lines)
    rows: list[tuple[int, list[str]]] = []
    cells_of = {
        i: split_line(COMMENT.sub("", line), delimiter)
        for i, line in enumerate(lines)
        if COMMENT.sub("", line).strip()
    }
    # LabChart writes names and units in rows that begin with a key, among others of its settings.
    filled = [
        i
        for i, cells in cells_of.items()
        if not _is_key(cells[0]) or any(map(is_lead, cells)) or _are_units(cells)
    ]
    for i in filled[:-4:-1]:
        cells = _fitted(cells_of[i], delimiter, n_columns)
        if cells is None or not _may_be_names(lines[i], cells, len(rows)):
            break
        if not all(map(str.strip, lines[i + 1 :])) and not any(map(is_lead, cells)):
            break  # empty lines below it
        rows.append((i, cells))
    with_units = [row for row in rows if _are_units(row[1])]
    if with_units:
        units = ["" if _is_word(cell) else cell.strip("()[]") for cell in with_units[0][1]]
    others = [row for row in rows if row not in with_units]
    if others:
        # The row with most names of leads, and the lowest of those.
        at, names = max(others, key=lambda row: sum(map(is_lead, row[1])))
        names = ["" if name.endswith("=") else name for name in names]
        above = list(lines[:at])
    elif rows:
        above = list(lines[: rows[-1][0]])
    return above, names, units


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


def _are_units(cells: Sequence[str]) -> bool:
    """Return whether the cells of a line are units, of one column at least a voltage or time."""
    filled = [cell.strip("()[]") for cell in cells if cell.strip("()[]")]
    if any(map(NUMBER.fullmatch, filled)):
        return False  # a statement such as `Calibration,1,mV`
    known = [cell for cell in filled if is_unit(cell) or time_scale(cell) is not None]
    return any(is_voltage(cell) for cell in filled) and 2 * len(known) >= len(filled)


def _is_key(cell: str) -> bool:
    """Return whether the first cell of a row is a key of a setting, as in LabChart's exports."""
    return cell.endswith(("=", ":"))


def _is_word(cell: str) -> bool:
    """Return whether a cell in a line of units is none, as in ``hh:mm:ss`` or ``sample``."""
    text = cell.strip("()[]")
    return not is_unit(text) and time_scale(text) is None


def _split_statement(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line before the table, delimited as the table or by commas."""
    cells = split_line(line, delimiter.strip(" "))
    if len(cells) > 1:
        return cells
    for other in ("\t", ";", "|", ","):
        if other in line and not re.search("[:=]", line.partition(other)[0]):
            return split_line(line, other)
    return [line.strip(QUOTES)]


def _check_names(first: str, names: Sequence[str], delimiter: str) -> None:
    """Refuse numbers of columns in place of names, which would be a sample of each lead."""
    cells = split_line(first, delimiter)
    if len(cells) > 2 and not any(names):
        numbers = [[str(i + start) for i in range(len(cells))] for start in (0, 1)]
        if cells in numbers or ["", *cells[1:]] in [["", *row[:-1]] for row in numbers]:
            raise ValueError(
                "the first row numbers the columns, expected names of leads or no such row"
            )
