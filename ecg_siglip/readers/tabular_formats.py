"""Read ECGs as plain numbers: CSV and TSV, Parquet, NumPy's ``.npy`` and ``.npz``.

Every reader takes the bytes of a file and returns what the file states. A table has one row per
sample and one column per lead, with an optional column of time; the unit is part of a column's
name, as in ``II (mV)``, or is the same for all columns.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Stated, make_channels

# Largest content that a header may promise, or that is unpacked: 256 MiB, of samples as float64.
MAX_BYTES = 1 << 28
MAX_TEXT_BYTES = 1 << 26
MAX_COMMENT = 1 << 16  # characters before the first row
MAX_COLUMNS = 1000
MAX_NAME = 200  # characters
# `# fs: 500 Hz` or `# sampling_rate=500`; `# units: mV`
FS_KEYS = ("fs", "sampling_rate", "sampling_frequency", "sample_rate")
UNIT_KEYS = ("unit", "units")
# Units of columns of time, in s. A column `time` states none.
TIME_S = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
TIME = re.compile(r"(?:time|t)(?:[\s_]*[(\[]?(\w+)[)\]]?)?|(seconds|milliseconds)", re.I)
SIGNAL_KEYS = ("signal", "fs", "units", "leads")


def read_text(content: bytes) -> Stated:
    """Read a CSV or TSV file.

    Parameters
    ----------
    content : bytes
        Lines that begin with ``#`` may state ``# fs: 500`` and ``# units: mV``. A row with the
        names of the columns may follow. The delimiter is a comma, semicolon or tab; unless it is a
        comma, numbers may have a decimal comma.

    Returns
    -------
    Stated
        Signal: NaN where a cell is empty; (n_columns, n_samples).

    Raises
    ------
    ValueError
        If a cell is not a number, a row is longer than the first, the time does not increase in
        even steps, sampling rates or units contradict each other, or there are more than 64 MiB or
        1000 columns.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"a table of {len(content)} bytes, expected at most {MAX_TEXT_BYTES}")
    comments, body = _split_comments(_decode(content))
    cells, delimiter = _split_first_line(body)
    # With a single column there is nothing to delimit, and a comma is a decimal comma.
    delimiter = delimiter if len(cells) > 1 else ";"
    _check_table(body, cells, delimiter)
    names = None if all(map(is_number, cells)) else cells
    values = _parse_numbers(body, delimiter, len(cells), has_names=names is not None)
    return _columns(names, values, _notes(comments), comments)


def _split_comments(text: str) -> tuple[list[str], str]:
    """Split a text into its comments, without ``#``, and the table below them."""
    comments, start = [], 0
    while text.startswith("#", start) and start < MAX_COMMENT:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        comments.append(text[start:end].strip("# \t\r\n"))
        start = end
    return comments, text[start:].lstrip("\r\n")


def _check_table(body: str, cells: list[str], delimiter: str) -> None:
    """Check that a text is a table of acceptable size, by the cells of its first line."""
    # A single column is a table if a number follows; otherwise it is a text.
    second_line = body.split("\n", 2)[1:2]
    is_column = second_line and second_line[0].strip() and is_number(second_line[0])
    min_cells = 1 if is_column else 2
    if not min_cells <= len(cells) <= MAX_COLUMNS or max(map(len, cells)) > MAX_NAME:
        raise ValueError(
            f"expected a table of up to {MAX_COLUMNS} columns with , ; or tab between them, got "
            f"{len(cells)} and no number below"
        )
    if 8 * (body.count(delimiter) + body.count("\n")) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 8} cells, which is the most that is read")
    if len(cells) > 2 and cells in (
        [str(i + first) for i in range(len(cells))] for first in (0, 1)
    ):
        raise ValueError(
            "the first row numbers the columns, expected names of leads or no such row"
        )


def _parse_numbers(body: str, delimiter: str, n_columns: int, has_names: bool) -> np.ndarray:
    """Return the cells of a table as numbers, (n_columns, n_samples) float64."""
    # pandas takes half a second to import.
    import pandas as pd

    rows = body.split("\n", 2)[1 if has_names else 0 :]
    decimal = "," if delimiter != "," and rows and "," in rows[0] else "."
    frame = pd.read_csv(
        io.StringIO(body),
        sep=delimiter,
        decimal=decimal,
        header=None,
        skiprows=int(has_names),
        names=range(n_columns + 1),
        index_col=False,
        dtype=np.float64,
        skipinitialspace=True,
    )
    values = frame.to_numpy().T
    # A delimiter at the end of every row is not followed by a column.
    if not np.isnan(values[-1]).all():
        raise ValueError(f"expected {n_columns} columns as in the first row, got more")
    return values[:-1]


def read_parquet(content: bytes) -> Stated:
    """Read a Parquet file; the metadata of its schema may state ``fs`` and ``units``.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If a column does not contain numbers, the time does not increase in even steps, or there are
        more than 256 MiB or 1000 columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    summary = file.metadata
    row_groups = [summary.row_group(i) for i in range(summary.num_row_groups)]
    if summary.num_columns > MAX_COLUMNS:
        raise ValueError(f"expected at most {MAX_COLUMNS} columns, got {summary.num_columns}")
    n_bytes = max(
        8 * summary.num_rows * summary.num_columns,
        sum(group.total_byte_size for group in row_groups),
    )
    if n_bytes > MAX_BYTES:
        raise ValueError(f"the file promises {n_bytes} bytes, expected at most {MAX_BYTES}")
    for field in file.schema_arrow:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise ValueError(f"expected numbers, got {field.type} in column {field.name}")
    table = file.read(use_threads=False)
    values = np.array(
        [column.to_numpy().astype(np.float64) for column in table.columns], np.float64
    ).reshape(table.num_columns, table.num_rows)
    metadata = file.schema_arrow.metadata or {}
    notes = {_decode(key).lower(): _decode(value) for key, value in metadata.items()}
    return _columns(list(table.column_names), values, notes, [])


def read_npy(content: bytes) -> Stated:
    """Read a NumPy array of shape (n_leads, n_samples) or (n_samples, n_leads).

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        The signal as it is stored; nothing else is stated.

    Raises
    ------
    ValueError
        If the array is not two-dimensional, does not contain real numbers, or is not as long as its
        header states.
    """
    return Stated(make_channels(_oriented(_signal(_array(content))), None, ""))


def read_npz(content: bytes) -> Stated:
    """Read a NumPy archive with the arrays ``signal`` and optionally ``fs``, ``units``, ``leads``.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Without ``leads``, the signal as it is stored.

    Raises
    ------
    ValueError
        If an array is missing, pickled, of another kind, or more than 256 MiB when unpacked.
    """
    arrays = {}
    if content.count(b"PK\x01\x02") > MAX_COLUMNS:
        raise ValueError(f"expected an archive of at most {MAX_COLUMNS} files, got more")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if "signal" not in members:
            raise ValueError(f"expected an array `signal`, got {', '.join(members) or 'nothing'}")
        members = {key: members[key] for key in SIGNAL_KEYS if key in members}
        n_bytes = sum(member.file_size for member in members.values())
        if n_bytes > MAX_BYTES:
            raise ValueError(f"{n_bytes} bytes when unpacked, expected at most {MAX_BYTES}")
        for key, member in members.items():
            with archive.open(member) as file:
                # Unpack no more than the archive states, whatever it contains.
                arrays[key] = _array(file.read(member.file_size))
    signal = _signal(arrays["signal"])
    leads = _strings(arrays["leads"]) if "leads" in arrays else None
    units = _strings(arrays["units"]) if "units" in arrays else [""]
    fs = arrays.get("fs")
    if fs is not None and (fs.size != 1 or fs.dtype.kind not in "iuf"):
        raise ValueError(f"expected one number as fs, got {fs.dtype} of shape {fs.shape}")
    signal = orient_signal(signal, len(leads)) if leads else _oriented(signal)
    units = units * len(signal) if len(units) == 1 else units
    if len(units) != len(signal):
        raise ValueError(f"expected a unit for each of {len(signal)} leads, got {len(units)}")
    rate = None if fs is None else float(fs.ravel()[0])
    return Stated(make_channels(signal, rate, units, leads))


def orient_signal(signal: np.ndarray, n_leads: int) -> np.ndarray:
    """Return a signal with one row per lead, transposed if it has one column per lead.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples) or (n_samples, n_leads)
    n_leads : int

    Returns
    -------
    ndarray of shape (n_leads, n_samples)

    Raises
    ------
    ValueError
        If neither side has the length ``n_leads``, or both have.
    """
    if signal.shape == (n_leads, n_leads):
        raise ValueError(f"shape {signal.shape} does not distinguish leads from samples")
    if n_leads not in signal.shape:
        raise ValueError(f"expected {n_leads} leads as named, got shape {signal.shape}")
    return signal if signal.shape[0] == n_leads else signal.T


def _oriented(signal: np.ndarray) -> np.ndarray:
    """Return a signal with one row per lead: an ECG has fewer leads than samples."""
    if signal.shape[0] == signal.shape[1]:
        raise ValueError(f"shape {signal.shape} does not distinguish leads from samples")
    return signal if signal.shape[0] < signal.shape[1] else signal.T


def first_row(head: bytes) -> list[str]:
    """Return the cells of the first row of a table after its comments; [] if there is none."""
    lines = [line for line in _decode(head).splitlines() if line and not line.startswith("#")]
    return _split_first_line(lines[0])[0] if lines else []


def split_unit(column: str) -> tuple[str, str]:
    """Return name and unit of a column, as in ``II (mV)``, ``II [mV]`` or ``II_mV``; "" if none."""
    match = re.fullmatch(r"(.*?)\s*(?:[(\[]\s*(\S+?)\s*[)\]]|_([um\u00b5\u03bc]?v))", column, re.I)
    return (match[1], match[2] or match[3]) if match else (column, "")


def is_number(cell: str) -> bool:
    """Return whether a cell is empty or contains a number, with a decimal point or comma."""
    try:
        float(cell.strip().replace(",", ".") or "nan")
    except ValueError:
        return False
    return True


def _split_first_line(text: str) -> tuple[list[str], str]:
    """Return the cells of the first line and the delimiter between them."""
    line = text.partition("\n")[0].rstrip("\r")
    delimiter = next((each for each in "\t;" if each in line), ",")
    row = next(csv.reader([line], delimiter=delimiter), [])
    return [cell.strip() for cell in row], delimiter


def _notes(comments: list[str]) -> dict[str, str]:
    """Return what comments state as ``key: value`` or ``key=value``."""
    pairs = (re.split("[:=]", comment, maxsplit=1) for comment in comments)
    return {
        pair[0].strip().lower().replace(" ", "_"): pair[1].strip()
        for pair in pairs
        if len(pair) == 2
    }


def _columns(
    names: list[str] | None, values: np.ndarray, notes: dict[str, str], comments: list[str]
) -> Stated:
    """Turn columns (n_columns, n_samples) into leads, without columns of time or row numbers."""
    fs = next((_parse_rate(notes[key]) for key in FS_KEYS if key in notes), None)
    unit = next((notes[key].strip() for key in UNIT_KEYS if key in notes), "")
    if names is None:
        return Stated(make_channels(values, fs, unit), comments)
    leads, units, lead_columns = [], [], []
    for i, name in enumerate(names):
        time = TIME.fullmatch(name.strip())
        if time:
            scale = TIME_S.get((time[1] or time[2] or "").lower())
            if scale is None:
                continue  # seconds or milliseconds: unknown
            rate = _rate_of_times(values[i] * scale)
            if fs is not None and not abs(rate - fs) <= 1e-3 * fs:
                raise ValueError(f"column {name} goes at {rate:g} Hz, but the file states {fs:g}")
            fs = rate if fs is None else fs
        elif not name and (
            np.isnan(values[i]).all() or np.array_equal(values[i], np.arange(values.shape[1]))
        ):
            continue  # the number of the row, or a delimiter at its end
        elif not name:
            raise ValueError(f"column {i + 1} has no name")
        else:
            lead, own_unit = split_unit(name)
            if own_unit and unit and own_unit.lower() != unit.lower():
                raise ValueError(f"column {name} contradicts the file's unit {unit}")
            leads.append(lead)
            units.append(own_unit or unit)
            lead_columns.append(i)
    return Stated(make_channels(values[lead_columns], fs, units, leads), comments)


def _parse_rate(text: str) -> float:
    """Return a sampling rate that is given as in ``500`` or ``500 Hz``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:hz)?\s*", text, re.I)
    if not match:
        raise ValueError(f"expected a sampling rate in Hz, got {text[:40]!r}")
    return float(match[1])


def _rate_of_times(time_s: np.ndarray) -> float:
    """Return the sampling rate of a column of time, in Hz.

    It is a whole number if that fits every row to half a sample.
    """
    n = len(time_s) - 1
    if n < 1 or not np.isfinite(time_s).all() or not time_s[-1] > time_s[0]:
        raise ValueError("expected a column of time that increases, with a number in every row")
    elapsed = time_s - time_s[0]
    fs = n / float(elapsed[-1])
    for rate in (float(round(fs)), fs):
        if rate > 0 and (np.abs(elapsed * rate - np.arange(n + 1)) < 0.5).all():
            return rate
    raise ValueError("expected a column of time with even steps, without gaps")


def _array(content: bytes) -> np.ndarray:
    """Read an array of numbers or strings in NumPy's format, after checking its size."""
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    version = npy.read_magic(file)
    readers: dict[Any, Callable[..., Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"expected an array of version 1.0 or 2.0, got {version}")
    shape, in_fortran_order, dtype = readers[version](file)
    if dtype.kind not in "iufU":
        raise ValueError(f"expected an array of numbers or strings, got {dtype}")
    n_promised, n_bytes = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if n_promised != n_bytes or dtype.itemsize == 0:
        raise ValueError(f"the array promises {n_promised} bytes, the file has {n_bytes}")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if in_fortran_order else "C")


def _strings(array: np.ndarray) -> list[str]:
    """Return the strings of an array."""
    if array.size > MAX_COLUMNS or array.dtype.kind != "U":
        raise ValueError(
            f"expected at most {MAX_COLUMNS} strings, got {array.dtype} of shape {array.shape}"
        )
    return list(map(str, array.ravel()))


def _signal(array: np.ndarray) -> np.ndarray:
    """Return a two-dimensional array of real numbers as float64."""
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"expected numbers of shape (n_leads, n_samples), got {array.dtype} of shape "
            f"{array.shape}"
        )
    if 8 * array.size > MAX_BYTES:
        raise ValueError(f"{array.size} samples, expected at most {MAX_BYTES // 8}")
    return array.astype(np.float64)


def _decode(raw: bytes) -> str:
    """Decode UTF-8, or Latin-1 where it is none."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
