"""Read text tables: CSV, TSV, tables with blanks, and the exports of watches and phones.

A table has one row per sample and one column per lead, one lead per row, or one row per sample and
lead. Above it may be lines of any kind, of which some state sampling rate, unit or lead.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.clock import TIME_NAME
from ecg_siglip.readers.columns import MAX_COLUMNS, Column, is_lead, read_columns, split_unit
from ecg_siglip.readers.json_exports import has_lists, read_lists
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
MAX_ROW_BYTES = 1 << 20
N_QUOTED = 40  # characters of a cell in a message
NULLS = ["", "NaN", "nan", "NA", "null", "NULL"]  # the other words of MISSING are rare
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
MINUS_SIGNS = "\u2212\u2013\ufe63\uff0d"
LABCHART = re.compile(rb"^\"?Interval=", re.M)
LABCHART_REMARK = re.compile(rb"\t#[^\t\n]*$", re.M)  # a cell more at the end of a row
ECG_NAME = re.compile(r"(?:ecg|ekg)[\s_]*\d*|.*\b(?:ecg|ekg) (?:signal|lead|data).*", re.I)
N_NUMBERED = 100  # numbers of samples in a row by which it is recognized
MIN_ROWS = 8  # of numbers without names that may be an ECG
N_HEAD = 1000  # rows by which the kind of a column is recognized
MAX_CELL = 1000  # characters
DECIMAL = {sign: rf"^['\s]*[+-]?\d*{re.escape(sign)}\d+['\s]*$" for sign in ",."}
GROUPED = {sign: rf"^[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+$" for sign in ",."}
WHOLE, FROM_1000 = r"^[+-]?\d+$", r"^[+-]?\d{4,}$"


class Text(NamedTuple):
    """A column of a text: its name and unit, "" where it has none, and its cells, as in Arrow."""

    name: str
    unit: str
    cells: Any


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
    for pattern, what in WITHOUT_SAMPLES:
        if pattern.match(text):
            raise ValueError(what)
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
    columns, words = _read_numbers(texts, body, layout)
    columns, more = _by_lead(columns, words)
    comments = ([comment] for comment in layout.comments)
    header = read_statements([*layout.header, *comments, *settings, *more])
    stated = read_columns(columns, header, layout.comments)
    return stated._replace(warnings=[*warnings, *stated.warnings])


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
    text = _plain(head)
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
    cells = split_line(rows[0], layout.delimiter)
    if any(normalized_key(name) in LEAD_KEYS for name in layout.names) and any(map(is_lead, cells)):
        return True
    has_words = any(layout.names) or any(layout.header)
    return (
        layout.n_columns > 1
        and len(rows) >= MIN_ROWS
        and not has_words
        and all(map(is_number, cells))
        and any(map(NUMBER.fullmatch, cells))
    )


def has_columns(head: bytes) -> bool:
    """Return whether the first line of a text after its comments has delimited cells."""
    lines = [line for line in decode(head).splitlines() if line.strip() and line[0] != "#"]
    return bool(lines) and any(delimiter in lines[0] for delimiter in ",;\t|")


def _is_row_of_lead(line: str) -> bool:
    """Return whether a line, which may be cut off, is a lead, or the names above such lines."""
    for delimiter in ",;\t |":
        cells = split_line(line, delimiter)[:-1]
        names = numbered_names(cells) if len(cells) > N_NUMBERED else []
        is_row = len(cells) > MIN_ROWS and any(map(is_lead, cells[:4]))
        if names in ([""], ["lead"]) or (is_row and all(map(is_number, cells[4:]))):
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
    if len(cells) < layout.n_columns and any(map(NUMBER.fullmatch, cells)):
        body, warnings = rest, ["the last row of the table is cut off and left out"]
    arrays = [column.combine_chunks() for column in _parse(body, layout).columns]
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
            settings.append([name, _only_value(name, column)])
    names = [next(filter(_is_time_name, cells), "") for cells in head] + names
    return list(map(Text, names, [""] * len(head) + units, arrays)), settings, []


def _only_value(name: str, values: Sequence[str]) -> str:
    """Return the value that all rows of a column have; refuse several recordings."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) > 1:
        listed = ", ".join(value[:N_QUOTED] for value in distinct[:2])
        raise ValueError(
            f"column {name or '(no name)'} has several values ({listed}): expected a table of one "
            "recording"
        )
    return distinct[0]


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


def _by_lead(columns: list[Column], words: list[Text]) -> tuple[list[Column], list[list[str]]]:
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
        [text.name, _only_value(text.name, text.cells.unique().to_pylist()[:2])]
        for text in words
        if text is not of_leads[0] and not text.cells.null_count
    ]
    if len(leads) == 1:
        return columns, [*settings, ["lead", names[leads[0]]]]
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
    signals = [samples[0].values[each] for each in rows]
    named = zip([names[k] for k in leads], signals, strict=True)
    return [*clocks, *(Column(name, signal, unit) for name, signal in named)], settings


def _has_leads(text: Text) -> bool:
    """Return whether the cells of a column are names of leads."""
    names = text.cells[:N_HEAD].unique().to_pylist()
    if normalized_key(text.name) in LEAD_KEYS:
        return len(text.cells.unique()) <= MAX_COLUMNS
    return all(name and is_lead(name) for name in names)


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
    import pyarrow.compute as pc

    def with_sign(cells: Any, sign: str) -> Any:
        return pc.filter(cells, pc.match_substring(cells, sign))

    def each_is(cells: Any, pattern: str) -> bool:
        heads = (cells[:N_HEAD], cells)
        return all(pc.all(pc.match_substring_regex(head, pattern)).as_py() for head in heads)

    found = {
        sign: [
            (each, text.cells)
            for text in texts
            if len(each := with_sign(text.cells, sign)) and each_is(each[:N_HEAD], DECIMAL[sign])
        ]
        for sign in ",."
    }
    if found[","] and found["."]:
        raise ValueError(
            f"numbers with a decimal point ({found['.'][0][0][0]}) and with a comma "
            f"({found[','][0][0][0]}), expected one kind"
        )
    for sign, columns in found.items():
        grouped = [cells for each, cells in columns if each_is(each, GROUPED[sign])]
        # Points are decimal ones, unless a column has whole numbers below 1000 as well.
        if sign == ".":
            grouped = [
                cells
                for cells in grouped
                if pc.any(pc.match_substring_regex(cells, WHOLE)).as_py()
                and not pc.any(pc.match_substring_regex(cells, FROM_1000)).as_py()
            ]
        if grouped and (sign == "." or len(grouped) == len(columns)):
            raise ValueError(
                f"numbers such as {with_sign(grouped[0], sign)[0]}, whose {sign!r} may be between "
                "thousands: expected numbers without it, or with decimals in all of a column"
            )


def _numbers(array: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a column as numbers, NaN where they are none, and rows of other words."""
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
            text = pc.utf8_trim(text, characters=QUOTES)
            is_one = pc.fill_null(pc.match_substring_regex(text, NUMBER_OF_ARROW), False)
            is_known = pc.or_(is_one, pc.match_substring_regex(text, f"^(?:{MISSING})$"))
            values = pc.cast(pc.if_else(is_one, text, None), pa.float64())
            is_bad = pc.invert(pc.fill_null(is_known, True))
            bad = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
    return values.to_numpy(zero_copy_only=False), bad


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
