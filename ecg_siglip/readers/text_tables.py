"""Read text tables: CSV, TSV, tables with blanks, and the exports of watches and phones.

A table has one row per sample and one column per lead, or one lead per row. Above it may be lines
of any kind, of which some state the sampling rate, the unit or the lead.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecg_siglip.readers.acqknowledge import with_names
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.clock import TIME_NAME
from ecg_siglip.readers.columns import Column, is_lead, read_columns, split_unit
from ecg_siglip.readers.json_formats import has_lists, read_lists
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import is_unit, read_statements
from ecg_siglip.readers.table_layout import (
    MISSING,
    N_LINES,
    QUOTES,
    Layout,
    find_layout,
    is_number,
    split_line,
)
from ecg_siglip.readers.text_encoding import decode

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT_BYTES = 1 << 26
MAX_CELLS = 1 << 25  # 256 MiB as float64
MAX_ROW_BYTES = 1 << 20
N_QUOTED = 40  # characters of a cell in a message
NULLS = [*MISSING, *(word.upper() for word in MISSING), "NaN", "Null", "None", "nA"]
# What an export contains whose samples are elsewhere, and the way out.
WITHOUT_SAMPLES = (
    (
        re.compile(r"com\.samsung\.(?:s?health)\.ecg"),
        "a list of Samsung Health, which has no samples: export each ECG as PDF is all that "
        "Samsung offers",
    ),
)
TIME_OF_DAY = r"(?:^['\"]?|[T\s])(?:(?P<h>\d{1,3}):)?(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)"
NUMBER_OF_ARROW = r"(?i)^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)$"
ECG_NAME = re.compile(r"(?:ecg|ekg)[\s_]*\d*|.*\b(?:ecg|ekg) (?:signal|lead|data).*", re.I)
MIN_ROWS = 8  # of numbers without names that may be an ECG
N_HEAD = 1000  # rows by which the kind of a column is recognized
MAX_CELL = 1000  # characters
COMMA_NUMBER = r"^['\s]*[+-]?\d*,\d+['\s]*$"
POINT_NUMBER = r"^['\s]*[+-]?\d*\.\d+['\s]*$"
GROUPED = r"^[+-]?[1-9]\d{0,2}(,\d{3})+$"


class Cells(NamedTuple):
    """A column of a text, as numbers.

    Attributes
    ----------
    values : ndarray of shape (n_rows,), float64
        NaN where a cell is empty or no number.
    first_bad : int
        Row of the first cell that is no number; -1 if all are.
    n_bad, n_filled : int
        Number of cells that are no numbers, and that are not empty.
    """

    values: np.ndarray
    first_bad: int
    n_bad: int
    n_filled: int


def read_text(content: bytes) -> Stated:
    """Read a table from a text.

    Parameters
    ----------
    content : bytes
        In any of the encodings of ``text_encoding``. Columns are delimited by tabs, semicolons,
        ``|``, commas or blanks; unless it is commas, or if cells are in quotes, numbers may have a
        decimal comma. Lines above the numbers may state sampling rate, unit and lead
        (``statements``), the names of the columns and, below them, their units.

    Returns
    -------
    Stated
        Samples are NaN where a cell is empty.

    Raises
    ------
    ValueError
        If a cell is not a number, a row is longer or shorter than the others, the time does not
        increase in even steps, sampling rates or units contradict each other, or there are more
        than 64 MiB or 1000 columns.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"a table of {len(content)} bytes, expected at most {MAX_TEXT_BYTES}")
    text = decode(content)
    for pattern, what in WITHOUT_SAMPLES:
        if pattern.match(text):
            raise ValueError(what)
    if "\r" in text:
        text = re.sub(r"\r+\n?", "\n", text)
    text = with_names(text)
    body = text.encode("utf-8", "replace")
    del text
    lines = _first_lines(body)
    if has_lists(lines):
        return read_lists(body.decode())
    layout = find_layout(lines)
    header = read_statements([*layout.header, *([comment] for comment in layout.comments)])
    if layout.is_transposed:
        return read_columns(_rows_of_leads(body, layout), header, layout.comments)
    columns, warnings = _columns(body, layout)
    stated = read_columns(columns, header, layout.comments)
    return stated._replace(warnings=[*warnings, *stated.warnings])


def is_ecg_table(head: bytes) -> bool:
    """Return whether the beginning of a text is that of a table with an ECG.

    That is the case if a column is named after a lead or ``ECG``, or is in a unit of voltage; if a
    row is a lead; if the lines above state a lead and a unit; or if there are only numbers.
    """
    try:
        text = with_names(re.sub(r"\r+\n?", "\n", decode(head)))
    except ValueError:
        return True  # reading it gives what is wrong
    lines = text.split("\n")
    if any(map(_is_row_of_lead, lines)):
        return True
    if any(pattern.match(text) for pattern, _ in WITHOUT_SAMPLES):
        return False
    if has_lists(lines):
        return True
    if len(lines) > 2:
        lines.pop()  # it may be cut off
    try:
        layout = find_layout(lines)
    except ValueError:
        return False
    if layout.is_transposed or any(map(is_lead, layout.names)):
        return True
    try:
        header = read_statements(layout.header)
    except ValueError:
        return True  # reading it gives the contradiction
    if header.lead and header.unit:
        return True
    units = [*layout.units, *(split_unit(name)[1] for name in layout.names)]
    if any(map(is_voltage, units)) or any(map(ECG_NAME.fullmatch, layout.names)):
        return True
    rows = [line for line in lines[layout.first_line :] if line.strip()]
    has_words = any(layout.names) or any(layout.header)
    return (
        layout.n_columns > 1
        and len(rows) >= MIN_ROWS
        and not has_words
        and all(map(is_number, split_line(rows[0], layout.delimiter)))
    )


def has_columns(head: bytes) -> bool:
    """Return whether the first line of a text after its comments has delimited cells."""
    lines = [line for line in decode(head).splitlines() if line.strip() and line[0] != "#"]
    return bool(lines) and any(delimiter in lines[0] for delimiter in ",;\t|")


def _is_row_of_lead(line: str) -> bool:
    """Return whether a line, which may be cut off, has the name of a lead and many numbers."""
    for delimiter in ",;\t |":
        cells = split_line(line, delimiter)[:-1]
        if len(cells) > MIN_ROWS and is_lead(cells[0]) and all(map(is_number, cells[2:])):
            return True
    return False


def _first_lines(body: bytes) -> list[str]:
    """Return the lines by which the layout of a text is recognized."""
    lines = body.split(b"\n", N_LINES)
    return [line.decode("utf-8", "replace") for line in lines[:N_LINES]]


def _columns(body: bytes, layout: Layout) -> tuple[list[Column], list[str]]:
    """Return the columns of a table, and warnings."""
    table, warnings = _parse(_from_line(body, layout.first_line), layout, layout.first_line)
    arrays: list[Any] = [column.combine_chunks() for column in table.columns]
    del table
    _check_cells(arrays)
    _check_decimals(arrays)
    names = layout.names
    is_empty = [array.null_count == len(array) for array in arrays]
    if not names[0] and names[-1] and is_empty[-1] and not is_empty[0]:
        names = [*names[1:], ""]  # each row ends with a delimiter, the row of names does not
    has_leads = any(map(is_lead, names))
    columns: list[Column] = []
    for i, (name, unit) in enumerate(zip(names, layout.units, strict=True)):
        # Words of a column that is no lead are recognized by the first rows.
        head = _numbers(arrays[i][:N_HEAD])
        is_words = 2 * head.n_bad > head.n_filled and not is_lead(name)
        cells = head if is_words else _numbers(arrays[i])
        is_needed = is_lead(name) or (
            2 * cells.n_bad < cells.n_filled and (not has_leads or _is_time_name(name))
        )
        if cells.n_bad and is_needed:
            cell = str(arrays[i][cells.first_bad])
            line = _line_of_row(body, layout, cells.first_bad)
            raise ValueError(
                f"line {line}, column {name or i + 1}: not a number: {cell[:N_QUOTED]!r}"
            )
        times = _times_of_day(arrays[i]) if cells.n_bad else None
        if times is not None:
            columns.append(Column(name, times, is_time=True))
        elif not cells.n_bad:
            columns.append(Column(name, cells.values, unit))
        arrays[i] = None
    return columns, warnings


def _is_time_name(name: str) -> bool:
    """Return whether a column has the name of a time."""
    return TIME_NAME.fullmatch(split_unit(name)[0]) is not None


def _from_line(body: bytes, first: int) -> bytes:
    """Return a text from a line on."""
    start = 0
    for _ in range(first):
        start = body.index(b"\n", start) + 1
    return body[start:]


def _parse(data: bytes, layout: Layout, first_line: int = 0) -> tuple[pa.Table, list[str]]:
    """Return the cells of a table as text, and warnings; a last row that is cut off is left out."""
    import pyarrow as pa
    from pyarrow import csv

    delimiter, n_columns = layout.delimiter, layout.n_columns
    if delimiter == " ":
        data = _single_blanks(data)
    if n_columns == 1:
        data = data.rstrip(b"\n")
    if data.count(delimiter.encode() or b"\n") + data.count(b"\n") > MAX_CELLS:
        raise ValueError(f"more than {MAX_CELLS} cells, which is the most that is read")
    names = [str(i) for i in range(n_columns)]
    bad_rows: list[Any] = []

    def skip(row: Any) -> str:
        bad_rows.append(row)
        return "skip" if len(bad_rows) < N_HEAD else "error"

    n_rows = 0
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(use_threads=False, column_names=names, block_size=1 << 24),
            csv.ParseOptions(
                # The table of a single column has no unit separators.
                delimiter=delimiter or "\x1f",
                quote_char='"' if b'"' in data else False,
                invalid_row_handler=skip,
                ignore_empty_lines=n_columns > 1,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )
        n_rows = table.num_rows
    except pa.ArrowInvalid:
        if not bad_rows:
            raise
    if not bad_rows:
        return table, []
    row = bad_rows[0]
    is_last = row.number == n_rows + 1 and row.actual_columns < n_columns
    if is_last and any(map(is_number, split_line(row.text[:MAX_CELL], delimiter))):
        return table, ["the last row of the table is cut off and left out"]
    line = first_line + _line_of_row(data, layout._replace(first_line=0), row.number - 1)
    raise ValueError(
        f"line {line}: expected {n_columns} columns as in the other rows, got {row.actual_columns}"
    )


def _single_blanks(data: bytes) -> bytes:
    """Return a text with one blank between cells and none around lines."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.replace(b"\n ", b"\n").replace(b" \n", b"\n").strip(b" ")


def _line_of_row(body: bytes, layout: Layout, row: int) -> int:
    """Return the number of the line, from 1, with a row of numbers, from 0."""
    lines = itertools.islice(enumerate(io.BytesIO(body), 1), layout.first_line, None)
    rows = (number for number, line in lines if line.strip() or layout.n_columns == 1)
    return next(itertools.islice(rows, row, None), 0)


def _check_cells(arrays: Sequence[Any]) -> None:
    """Refuse tables with long cells, as where a quote is not closed."""
    import pyarrow.compute as pc

    longest = max(pc.max(pc.binary_length(array)).as_py() or 0 for array in arrays)
    if longest > MAX_CELL:
        raise ValueError(f"a cell of {longest} characters, expected at most {MAX_CELL}")


def _check_decimals(arrays: Sequence[Any]) -> None:
    """Refuse tables with decimal points and commas, and with commas between thousands."""
    import pyarrow.compute as pc

    commas = [pc.filter(array, pc.match_substring(array, ",")) for array in arrays]
    commas = [
        array
        for array in commas
        if len(array) and pc.all(pc.match_substring_regex(array[:N_HEAD], COMMA_NUMBER)).as_py()
    ]
    if not commas:
        return
    for array in arrays:
        points = pc.filter(array, pc.match_substring(array, "."))
        if len(points) and pc.any(pc.match_substring_regex(points, POINT_NUMBER)).as_py():
            raise ValueError(
                f"numbers with a decimal point ({points[0]}) and with a comma ({commas[0][0]}), "
                "expected one kind"
            )
    for n in (N_HEAD, None):
        if not all(pc.all(pc.match_substring_regex(each[:n], GROUPED)).as_py() for each in commas):
            return
    raise ValueError(
        f"numbers such as {commas[0][0]}, whose comma may be between thousands: expected numbers "
        "without commas"
    )


def _numbers(array: Any) -> Cells:
    """Return the cells of a column as numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bad = np.empty(0, np.int64)
    text = array
    try:
        values = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        text = pc.replace_substring(array, ",", ".")
        try:
            values = pc.cast(text, pa.float64())
        except pa.ArrowInvalid:
            text = pc.replace_substring(pc.utf8_trim(text, characters=QUOTES), "\u2212", "-")
            is_missing = pc.is_in(pc.utf8_lower(text), value_set=pa.array(sorted(MISSING)))
            is_one = pc.fill_null(pc.match_substring_regex(text, NUMBER_OF_ARROW), False)
            is_bad = pc.and_not(pc.is_valid(text), pc.or_(is_one, is_missing))
            values = pc.cast(pc.if_else(is_one, text, None), pa.float64())
            bad = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
    n_filled = len(values) - values.null_count + bad.size
    first = int(bad[0]) if bad.size else -1
    return Cells(values.to_numpy(zero_copy_only=False), first, int(bad.size), n_filled)


def _times_of_day(array: Any) -> np.ndarray | None:
    """Return dates with times, or times of day, in s from midnight of the first; None if none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.extract_regex(array[:N_HEAD], TIME_OF_DAY).null_count:
        return None
    parts = pc.extract_regex(array, TIME_OF_DAY)
    if parts.null_count:
        return None
    total = np.zeros(len(array))
    for field, seconds in (("h", 3600), ("m", 60), ("s", 1)):
        text = pc.replace_substring(pc.struct_field(parts, field), ",", ".")
        text = pc.if_else(pc.equal(text, ""), "0", text)
        total += seconds * pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    day_s = 43_200 if re.search(r"\d\s*[ap]\.?m", str(array[0]), re.I) else 86_400
    return total + day_s * np.cumsum(np.diff(total, prepend=total[:1]) < -day_s / 4)


def _rows_of_leads(body: bytes, layout: Layout) -> list[Column]:
    """Return the lines of a table with one lead per row, as columns."""
    columns = []
    delimiter = layout.delimiter.encode()
    for line in _from_line(body, layout.first_line).split(b"\n"):
        if not line.strip():
            continue
        if layout.delimiter == " ":
            line = _single_blanks(line)
        cells = split_line(line[:1000].decode("utf-8", "replace"), layout.delimiter)
        n_words = next((i for i, cell in enumerate(cells) if is_number(cell)), 0)
        unit = cells[1] if n_words == 2 and is_unit(cells[1]) else ""
        numbers = line.split(delimiter, n_words)[-1].rstrip(delimiter + b" ")
        table, _ = _parse(
            numbers.replace(delimiter, b"\n"),
            layout._replace(delimiter="", n_columns=1, first_line=0),
        )
        found = _numbers(table.column(0).combine_chunks())
        name = cells[0] if n_words else ""
        if found.n_bad:
            at = found.first_bad + n_words + 1
            cell = str(table.column(0)[found.first_bad])[:N_QUOTED]
            raise ValueError(f"row {name}, cell {at}: not a number: {cell!r}")
        columns.append(Column(name, found.values, unit))
    return _without_numbers_of_rows(columns)


def _without_numbers_of_rows(rows: list[Column]) -> list[Column]:
    """Return leads without their numbers before the samples; refuse another number there.

    Notes
    -----
    Numbers before the samples, as of pandas' index, are one sample each to a reader of lines.
    """
    if len(rows) < 2 or min(len(row.values) for row in rows) < 2:
        return rows
    first, second = np.array([row.values[:2] for row in rows]).T
    # A row that numbers the samples has none.
    numbers = first[1:] if np.isnan(first[0]) else first
    if len(numbers) > 1 and numbers[0] in (0, 1) and (np.diff(numbers) == 1).all():
        return [row._replace(values=row.values[1:]) for row in rows]
    value = first[0]
    # Leads that begin with a pause have its value more than once.
    if len(rows) > 2 and value.is_integer() and (first == value).all() and value not in second:
        raise ValueError(
            f"all rows of leads begin with {value:g}: if it is a gain or another number, expected "
            "rows of the lead and its samples alone"
        )
    return rows
