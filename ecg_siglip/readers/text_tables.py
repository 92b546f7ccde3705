"""Read text tables: CSV, TSV, tables with blanks, and the exports of watches and phones.

A table has one row per sample and one column per lead, one lead per row, or one row per sample and
lead. Above it may be lines of any kind, of which some state sampling rate, unit or lead.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_siglip.readers.acqknowledge import with_names
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.clock import TIME_NAME
from ecg_siglip.readers.columns import Column, is_lead, read_columns, split_unit
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.json_formats import has_lists, read_lists
from ecg_siglip.readers.json_identity import apple_table
from ecg_siglip.readers.long_tables import N_QUOTED, Text, only_value, split_by_lead
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import LEAD_KEYS, is_unit, normalized_key, read_statements
from ecg_siglip.readers.table_layout import (
    MISSING,
    N_LINES,
    NUMBER,
    QUOTES,
    Layout,
    find_layout,
    is_count,
    is_number,
    numbered_names,
    split_line,
)
from ecg_siglip.readers.text_encoding import decode

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT_BYTES = 1 << 26
MAX_CELLS = 1 << 25  # 256 MiB as float64
MAX_ROW_BYTES = 1 << 16  # of the last row, which may be cut off
NULLS = ["", "NaN", "nan", "NA", "null", "NULL"]  # the other words of MISSING are rare
# A list without samples.
SAMSUNG = re.compile(r"com\.samsung\.(?:s?health)\.ecg")
TIME_OF_DAY = r"(?:^['\"]?|[T\s])(?:(?P<h>\d{1,3}):)?(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)"
NUMBER_OF_ARROW = r"(?i)^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)$"
MINUS_SIGNS = "\u2212\u2013\ufe63\uff0d"
LABCHART = re.compile(rb"^\"?Interval=", re.M)
LABCHART_REMARK = re.compile(rb"\t#[^\t\n]*$", re.M)  # a cell more at the end of a row
ECG_NAME = re.compile(r"(?:ecg|ekg)[\s_]*\d*|.*\b(?:ecg|ekg) (?:signal|lead|data).*", re.I)
N_NUMBERED = 100  # numbers of samples in a row by which it is recognized
RECORD_NAME = re.compile(
    r"(?:(?:record(?:ing)?|patient|subject|study|exam|file)[\s_]*(?:id|name|no)?|ecg[\s_]*id)", re.I
)
MIN_ROWS = 8  # of numbers without names that may be an ECG
N_HEAD = 1000  # rows by which the kind of a column is recognized
MAX_CELL = 1000  # characters
DECIMAL = {sign: rf"^['\s]*[+-]?\d*{re.escape(sign)}\d+['\s]*$" for sign in ",."}
GROUPED = {sign: rf"^[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+$" for sign in ",."}
WHOLE, FROM_1000 = r"^[+-]?\d+$", r"^[+-]?\d{4,}$"


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
        Samples are NaN where a cell is empty or has a word for it, such as ``NA`` or ``OFF``.

    Raises
    ------
    ValueError
        If a cell is not a number, a row is longer or shorter than the others, the time does not
        increase in even steps, sampling rates or units contradict each other, it is not clear
        whether a comma or point is a decimal one, or there are several recordings, or more than
        64 MiB or 1000 columns.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"a table of {len(content)} bytes, expected at most {MAX_TEXT_BYTES}")
    text = _plain(content)
    if SAMSUNG.match(text):
        raise ValueError(
            "a list of Samsung Health, which has no samples: export each ECG as PDF is all that "
            "Samsung offers"
        )
    text = with_names(text)
    body = text.encode("utf-8", "replace")
    del text
    if n_blocks := len(LABCHART.findall(body)):
        if n_blocks > 1:
            raise ValueError(
                f"{n_blocks} blocks of LabChart, each below a line Interval=, expected one: export "
                "one block, or store each in a file of its own"
            )
        body = LABCHART_REMARK.sub(b"", body)
    lines = _first_lines(body)
    if has_lists(lines):
        return read_lists(body.decode())
    layout = find_layout(lines)
    texts, settings, warnings = (_rows_of_leads if layout.is_transposed else _columns)(body, layout)
    _check_cells(texts)
    _check_decimals(texts)
    for name, _, cells in texts:
        values = cells.unique() if RECORD_NAME.fullmatch(name) else ()
        if 0 < 2 * len(values) < len(cells):  # otherwise numbers of rows
            only_value(name, list(map(str, values[:2])))
    columns, words = _read_numbers(texts, body, layout)
    columns, more = split_by_lead(columns, words)
    comments = ([comment] for comment in layout.comments)
    header = read_statements([*layout.header, *comments, *settings, *more])
    stated = read_columns(columns, header, layout.comments)
    identity, device = unless_malformed(
        lambda: apple_table(layout.header), (Identity(), DeviceResults())
    )
    return stated._replace(warnings=[*warnings, *stated.warnings], identity=identity, device=device)


def _plain(content: bytes) -> str:
    """Return a text with one kind of line ends and of minus signs."""
    text = decode(content)
    if "\r" in text:
        text = re.sub(r"\r+\n?", "\n", text)
    for sign in MINUS_SIGNS:
        text = text.replace(sign, "-")
    return text


def is_ecg_table(head: bytes) -> bool:
    """Return whether the beginning of a text is that of a table with an ECG.

    That is the case if a column is named after a lead or ``ECG``, or is in a unit of voltage; if a
    row is a lead; if the lines above state a lead and a unit; or if there are only numbers.
    """
    try:
        text = with_names(_plain(head))
    except ValueError:
        return True  # reading it gives what is wrong
    lines = text.split("\n")
    if any(map(_is_row_of_lead, lines)):
        return True
    if SAMSUNG.match(text) or has_lists(lines):
        return not SAMSUNG.match(text)
    if len(lines) > 2:
        lines.pop()  # it may be cut off
    try:
        layout = find_layout(lines)
    except ValueError:
        return False
    try:
        header = read_statements(layout.header)
    except ValueError:
        return True  # reading it gives the contradiction
    names = layout.names
    rows = [line for line in lines[layout.first_line :] if line.strip()]
    cells = split_line(rows[0], layout.delimiter)
    is_numbers = len(rows) >= MIN_ROWS and all(map(is_number, cells)) and len(cells) > 1
    return bool(
        layout.is_transposed
        or any(map(is_lead, names))
        or (header.lead and header.unit)
        or any(map(is_voltage, [*layout.units, *(split_unit(name)[1] for name in names)]))
        or any(map(ECG_NAME.fullmatch, names))
        or (_has_lead_key(names) and any(map(is_lead, cells)))
        or (is_numbers and not any(names) and not any(layout.header))
    )


def has_columns(head: bytes) -> bool:
    """Return whether the first line of a text after its comments has delimited cells."""
    lines = [line for line in decode(head).splitlines() if line.strip() and line[0] != "#"]
    return bool(lines) and any(delimiter in lines[0] for delimiter in ",;\t|")


def _has_lead_key(names: Sequence[str]) -> bool:
    """Return whether one of the names of columns is a word for leads."""
    return any(normalized_key(name) in LEAD_KEYS for name in names)


def _is_row_of_lead(line: str) -> bool:
    """Return whether a line, which may be cut off, is a lead, or the names above such lines."""
    for delimiter in ",;\t |":
        cells = split_line(line, delimiter)[:-1]
        names = numbered_names(cells) if len(cells) > N_NUMBERED else []
        is_row = len(cells) > MIN_ROWS and any(map(is_lead, cells[:4]))
        has_names = names == [""] or _has_lead_key(names)
        if has_names or (is_row and all(map(is_number, cells[4:]))):
            return True
    return False


def _first_lines(body: bytes) -> list[str]:
    """Return the lines by which the layout of a text is recognized."""
    lines = body.split(b"\n", N_LINES)
    return [line.decode("utf-8", "replace") for line in lines[:N_LINES]]


def _columns(body: bytes, layout: Layout) -> tuple[list[Text], list[list[str]], list[str]]:
    """Return the columns of a table, nothing that they state, and warnings."""
    body, warnings = body.split(b"\n", layout.first_line)[-1].rstrip(b"\n"), []
    rest, _, row = body.rpartition(b"\n")
    cells = split_line(row[:MAX_ROW_BYTES].decode("utf-8", "replace"), layout.delimiter)
    is_short = len(cells) < layout.n_columns and len(row) <= MAX_ROW_BYTES
    if is_short and any(map(NUMBER.fullmatch, cells)):
        body, warnings = rest, ["the last row of the table is cut off and left out"]
    arrays = [column.combine_chunks() for column in _parse(body, layout).columns]
    if arrays[-1][:1].to_pylist() == [str(len(arrays[-1]) - 1)]:
        # BIOPAC writes the number of samples of each channel above them.
        arrays = [array[1:] for array in arrays]
    names = layout.names
    is_empty = [array.null_count == len(array) for array in arrays]
    if not names[0] and names[-1] and is_empty[-1] and not is_empty[0]:
        names = [*names[1:], ""]  # each row ends with a delimiter, the row of names does not
    return list(map(Text, names, layout.units, arrays)), [], warnings


def _rows_of_leads(body: bytes, layout: Layout) -> tuple[list[Text], list[list[str]], list[str]]:
    """Return the rows of a table with one lead per row as columns, what they state, no warnings."""
    delimiter, n_before = layout.delimiter.encode(), layout.n_columns
    arrays, rows = [], []
    for line in body.split(b"\n")[layout.first_line :]:
        if not line.strip():
            continue
        if layout.delimiter == " ":
            line = _single_blanks(line)
        cells = split_line(line[:MAX_CELL].decode("utf-8", "replace"), layout.delimiter)
        numbers = line.split(delimiter, n_before)[-1].rstrip(delimiter + b" ")
        single = layout._replace(delimiter="", n_columns=1, first_line=0)
        arrays.append(_parse(numbers.replace(delimiter, b"\n"), single).column(0).combine_chunks())
        rows.append((cells + [""] * n_before)[:n_before])
    # The numbers of the samples, or their times.
    head = [rows.pop(0)] if n_before and rows[0] == layout.names else []
    names, units, settings = [""] * len(rows), [""] * len(rows), []
    for name, *column in zip(layout.names, *rows, strict=True):
        if any(map(is_lead, column)):
            names = column
        elif not is_count(column) and any(map(is_unit, column)):
            units = column
        elif not is_count(column):
            settings.append([name, only_value(name, column)])
    names = [next(filter(_is_time_name, cells), "") for cells in head] + names
    return list(map(Text, names, [""] * len(head) + units, arrays)), settings, []


def _read_numbers(
    texts: list[Text], body: bytes, layout: Layout
) -> tuple[list[Column], list[Text]]:
    """Return the columns of numbers and of times, and those of words."""
    has_leads = any(is_lead(text.name) for text in texts)
    columns: list[Column] = []
    words: list[Text] = []
    for i, (name, unit, cells) in enumerate(texts):
        texts[i] = Text(name, unit, None)
        # Words of a column that is no lead are recognized by the first rows.
        values, bad = _numbers(cells[:N_HEAD])
        if is_lead(name) or 2 * len(bad) <= np.isfinite(values).sum() + len(bad):
            values, bad = _numbers(cells)
        n_filled = np.isfinite(values).sum() + len(bad)
        is_needed = is_lead(name) or (
            2 * len(bad) < n_filled and (not has_leads or _is_time_name(name))
        )
        if len(bad) and is_needed:
            cell = str(cells[bad[0]])[:N_QUOTED]
            at = f"line {_line_of_row(body, layout, bad[0])}, column {name or i + 1}"
            if layout.is_transposed:
                at = f"row {name}, cell {bad[0] + layout.n_columns + 1}"
            raise ValueError(f"{at}: not a number: {cell!r}")
        times = _times_of_day(cells) if len(bad) else None
        if times is not None:
            columns.append(Column(name, times, is_time=True))
        elif not len(bad):
            columns.append(Column(name, values, unit))
        else:
            words.append(Text(name, unit, cells))
    return columns, words


def _is_time_name(name: str) -> bool:
    """Return whether a column has the name of a time."""
    return TIME_NAME.fullmatch(split_unit(name)[0]) is not None


def _parse(data: bytes, layout: Layout) -> pa.Table:
    """Return the cells of a table as text."""
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

    def stop(row: Any) -> str:
        bad_rows.append(row)
        return "error"

    try:
        return csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(use_threads=False, column_names=names, block_size=1 << 24),
            csv.ParseOptions(
                # The table of a single column has no unit separators.
                delimiter=delimiter or "\x1f",
                quote_char='"' if b'"' in data else False,
                invalid_row_handler=stop,
                ignore_empty_lines=n_columns > 1,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        if not bad_rows:
            raise
    row = bad_rows[0]
    line = layout.first_line + _line_of_row(data, layout._replace(first_line=0), row.number - 1)
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


def _check_cells(texts: Sequence[Text]) -> None:
    """Refuse tables with long cells, as where a quote is not closed."""
    import pyarrow.compute as pc

    longest = max(pc.max(pc.binary_length(text.cells)).as_py() or 0 for text in texts)
    if longest > MAX_CELL:
        raise ValueError(f"a cell of {longest} characters, expected at most {MAX_CELL}")


def _check_decimals(texts: Sequence[Text]) -> None:
    """Refuse numbers whose commas or points may be between thousands, or that have both."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def has(cells: Any, pattern: str, which: Any = pc.any) -> bool:
        return bool(which(pc.match_substring_regex(cells, pattern)).as_py())

    found: dict[str, list[tuple[str, bool]]] = {",": [], ".": []}
    leads = pa.chunked_array([text.cells for text in texts if is_lead(text.name)], pa.string())
    columns = [*(text.cells for text in texts), leads]  # each column, and all leads as one
    for sign, column in itertools.product(found, columns):
        cells = pc.filter(column, pc.match_substring(column, sign))
        if len(cells) and has(cells[:N_HEAD], DECIMAL[sign], pc.all):
            is_grouped = all(has(each, GROUPED[sign], pc.all) for each in (cells[:N_HEAD], cells))
            # Points are decimal ones, unless a column has whole numbers below 1000 as well.
            if is_grouped and sign == ".":
                is_grouped = has(column, WHOLE) and not has(column, FROM_1000)
            found[sign].append((str(cells[0]), is_grouped))
    commas, points = found.values()
    if commas and points:
        raise ValueError(
            f"numbers with a decimal point ({points[0][0]}) and with a comma ({commas[0][0]}), "
            "expected one kind"
        )
    grouped = [cell for cell, is_grouped in commas + points if is_grouped]
    if grouped and (points or len(grouped) == len(commas)):
        raise ValueError(
            f"numbers such as {grouped[0]}, whose comma or point may be between thousands: "
            "expected numbers without it"
        )


def _to_numpy(array: Any) -> np.ndarray:
    """Return an Arrow array of numbers, NaN where there is none."""
    if array.null_count:
        return array.to_numpy(zero_copy_only=False)  # imports pandas, which takes 0.3 s
    return np.from_dlpack(array)


def _numbers(array: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a column as numbers, NaN where they are none, and rows of other words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for text in (array, pc.replace_substring(array, ",", ".")):
        try:
            return _to_numpy(pc.cast(text, pa.float64())), np.empty(0, int)
        except pa.ArrowInvalid:
            continue
    text = pc.utf8_trim(text, characters=QUOTES)
    is_one = pc.fill_null(pc.match_substring_regex(text, NUMBER_OF_ARROW), False)
    is_known = pc.or_(is_one, pc.match_substring_regex(text, f"^(?:{MISSING})$"))
    values = pc.cast(pc.if_else(is_one, text, None), pa.float64())
    bad = pc.indices_nonzero(pc.invert(pc.fill_null(is_known, True)))
    return _to_numpy(values), np.from_dlpack(bad).astype(int)


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
        total += seconds * _to_numpy(pc.cast(text, pa.float64()))
    day_s = 43_200 if re.search(r"\d\s*[ap]\.?m", str(array[0]), re.I) else 86_400
    return total + day_s * np.cumsum(np.diff(total, prepend=total[:1]) < -day_s / 4)
