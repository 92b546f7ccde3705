"""ECGs as plain numbers: CSV and TSV, Parquet, NumPy's ``.npy`` and ``.npz``.

Every reader takes the bytes of a file and returns what it states: ``(signal, fs, units, leads,
comments)``, with None for a rate or leads that are not stated, and "" for such a unit. A table has
a row a sample and a column a lead, with an optional column of time; a unit stands behind the name
of a column, ``II (mV)``, or is the same for all.
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

from ecg_siglip.readers.stated import Stated

# Most that a header may promise, or that is unpacked: 256 MiB, or as many samples as float64.
MAX_BYTES = 1 << 28
MAX_TEXT_BYTES = 1 << 26
MAX_COMMENT = 1 << 16  # characters before the first row
MAX_COLUMNS = 1000
MAX_NAME = 200  # characters
# `# fs: 500 Hz` or `# sampling_rate=500`; `# units: mV`
FS_KEYS = ("fs", "sampling_rate", "sampling_frequency", "sample_rate")
UNIT_KEYS = ("unit", "units")
# Columns of time by the unit they state, in s. Bare `time` states none.
TIME_S = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
TIME = re.compile(r"(?:time|t)(?:[\s_]*[(\[]?(\w+)[)\]]?)?|(seconds|milliseconds)", re.I)
SIGNAL_KEYS = ("signal", "fs", "units", "leads")


def read_text(content: bytes) -> Stated:
    """A CSV or TSV file.

    Parameters
    ----------
    content : bytes
        Lines that begin with ``#`` may state ``# fs: 500`` and ``# units: mV``. Then a row with
        the names of the columns, or none. Between numbers a comma, semicolon or tab; where it is
        no comma, the decimal sign may be one.

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
        NaN where a cell is empty.
    fs : float, Hz, or None
    units : list of str
    leads : list of str, or None
    comments : list of str

    Raises
    ------
    ValueError
        If a cell is no number, a row longer than the first, the time does not go forward evenly,
        rates or units contradict each other, or there are more than 64 MiB or 1000 columns.
    """
    # pandas takes half a second to import.
    import pandas as pd

    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"a table of {len(content)} bytes, expected at most {MAX_TEXT_BYTES}")
    text = _decoded(content)
    comments, start = [], 0
    while text.startswith("#", start) and start < MAX_COMMENT:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        comments.append(text[start:end].strip("# \t\r\n"))
        start = end
    body = text[start:].lstrip("\r\n")
    cells, mark = _cells(body)
    # A single column is a table if a number follows; a line of words alone is a text.
    below = body.split("\n", 2)[1:2]
    fewest = 1 if below and below[0].strip() and is_number(below[0]) else 2
    mark = mark if len(cells) > 1 else ";"  # with nothing to part, a comma is a decimal sign
    if not fewest <= len(cells) <= MAX_COLUMNS or max(map(len, cells)) > MAX_NAME:
        raise ValueError(
            f"expected a table of up to {MAX_COLUMNS} columns with , ; or tab between them, got "
            f"{len(cells)} and no number below"
        )
    if 8 * (body.count(mark) + body.count("\n")) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 8} cells, which is the most that is read")
    named = not all(map(is_number, cells))
    if len(cells) > 2 and cells in (
        [str(i + first) for i in range(len(cells))] for first in (0, 1)
    ):
        raise ValueError(
            "the first row numbers the columns, expected names of leads or no such row"
        )
    rows = body.split("\n", 2)[1 if named else 0 :]
    decimal = "," if mark != "," and rows and "," in rows[0] else "."
    frame = pd.read_csv(
        io.StringIO(body),
        sep=mark,
        decimal=decimal,
        header=None,
        skiprows=int(named),
        names=range(len(cells) + 1),
        index_col=False,
        dtype=np.float64,
        skipinitialspace=True,
    )
    values = frame.to_numpy().T
    # A mark at the end of every row is no column.
    if not np.isnan(values[-1]).all():
        raise ValueError(f"expected {len(cells)} columns as in the first row, got more")
    values = values[:-1]
    return _columns(cells if named else None, values, _notes(comments), comments)


def read_parquet(content: bytes) -> Stated:
    """A Parquet file; its schema's metadata may state ``fs`` and ``units``.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal, fs, units, leads, comments
        As ``read_text``.

    Raises
    ------
    ValueError
        If a column is no number, the time does not go forward evenly, or there are too many cells.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    about = file.metadata
    row_groups = [about.row_group(i) for i in range(about.num_row_groups)]
    if about.num_columns > MAX_COLUMNS:
        raise ValueError(f"expected at most {MAX_COLUMNS} columns, got {about.num_columns}")
    n_bytes = max(
        8 * about.num_rows * about.num_columns,
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
    notes = {_decoded(key).lower(): _decoded(value) for key, value in metadata.items()}
    return _columns(list(table.column_names), values, notes, [])


def read_npy(content: bytes) -> Stated:
    """A NumPy array of shape (n_leads, n_samples) or (n_samples, n_leads); nothing else is stated.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal, fs, units, leads, comments
        The array as it is stored, None, [""], None, [].

    Raises
    ------
    ValueError
        If it is not two-dimensional, holds no real numbers, or is not as long as it says.
    """
    return _signal(_array(content)), None, [""], None, []


def read_npz(content: bytes) -> Stated:
    """A NumPy archive with the arrays ``signal`` and, where stated, ``fs``, ``units``, ``leads``.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
        As it is stored if there are no ``leads``.
    fs : float, Hz, or None
    units : list of str
        One for each lead, or one for all.
    leads : list of str, or None
    comments : list of str
        Empty.

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
                # No further than the archive promises, whatever it holds.
                arrays[key] = _array(file.read(member.file_size))
    signal = _signal(arrays["signal"])
    leads = _words(arrays["leads"]) if "leads" in arrays else None
    units = _words(arrays["units"]) if "units" in arrays else [""]
    fs = arrays.get("fs")
    if fs is not None and (fs.size != 1 or fs.dtype.kind not in "iuf"):
        raise ValueError(f"expected one number as fs, got {fs.dtype} of shape {fs.shape}")
    if leads and len(units) not in (1, len(leads)):
        raise ValueError(f"expected a unit for each of {len(leads)} leads, got {len(units)}")
    if leads:
        signal = oriented(signal, len(leads))
    return signal, None if fs is None else float(fs.ravel()[0]), units, leads, []


def oriented(signal: np.ndarray, n_leads: int) -> np.ndarray:
    """The signal with a row a lead, turned if it has a column a lead.

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
        If neither side is as long as there are leads, or both are.
    """
    if signal.shape == (n_leads, n_leads):
        raise ValueError(f"shape {signal.shape} does not tell leads from samples")
    if n_leads not in signal.shape:
        raise ValueError(f"expected {n_leads} leads as named, got shape {signal.shape}")
    return signal if signal.shape[0] == n_leads else signal.T


def first_row(head: bytes) -> list[str]:
    """The cells of the first row of a table that is no comment; [] if there is none."""
    lines = [line for line in _decoded(head).splitlines() if line and not line.startswith("#")]
    return _cells(lines[0])[0] if lines else []


def split_unit(column: str) -> tuple[str, str]:
    """Name and unit of a column: ``II (mV)``, ``II [mV]`` or ``II_mV``; "" if it has no unit."""
    match = re.fullmatch(r"(.*?)\s*(?:[(\[]\s*(\S+?)\s*[)\]]|_([um\u00b5\u03bc]?v))", column, re.I)
    return (match[1], match[2] or match[3]) if match else (column, "")


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, with a decimal point or a decimal comma."""
    try:
        float(cell.strip().replace(",", ".") or "nan")
    except ValueError:
        return False
    return True


def _cells(text: str) -> tuple[list[str], str]:
    """Cells of the first line and what stands between them."""
    line = text.partition("\n")[0].rstrip("\r")
    mark = next((mark for mark in "\t;" if mark in line), ",")
    row = next(csv.reader([line], delimiter=mark), [])
    return [cell.strip() for cell in row], mark


def _notes(comments: list[str]) -> dict[str, str]:
    """``key: value`` and ``key=value`` among the comments."""
    pairs = (re.split("[:=]", comment, maxsplit=1) for comment in comments)
    return {p[0].strip().lower().replace(" ", "_"): p[1].strip() for p in pairs if len(p) == 2}


def _columns(
    names: list[str] | None, values: np.ndarray, notes: dict[str, str], comments: list[str]
) -> Stated:
    """Columns (n_columns, n_samples) as leads, without those that count or tell the time."""
    fs = next((_rate(notes[key]) for key in FS_KEYS if key in notes), None)
    unit = next((notes[key].strip() for key in UNIT_KEYS if key in notes), "")
    if names is None:
        return values, fs, [unit], None, comments
    leads, units, kept = [], [], []
    for i, name in enumerate(names):
        time = TIME.fullmatch(name.strip())
        if time:
            scale = TIME_S.get((time[1] or time[2] or "").lower())
            if scale is None:
                continue  # it does not say whether it is in s or ms
            found = _rate_of(values[i] * scale)
            if fs is not None and not abs(found - fs) <= 1e-3 * fs:
                raise ValueError(f"column {name} goes at {found:g} Hz, but the file states {fs:g}")
            fs = found if fs is None else fs
        elif not name and (
            np.isnan(values[i]).all() or np.array_equal(values[i], np.arange(values.shape[1]))
        ):
            continue  # the row's number, or a mark at its end
        elif not name:
            raise ValueError(f"column {i + 1} has no name")
        else:
            lead, own = split_unit(name)
            if own and unit and own.lower() != unit.lower():
                raise ValueError(f"column {name} contradicts the file's unit {unit}")
            leads.append(lead)
            units.append(own or unit)
            kept.append(i)
    return values[kept], fs, units, leads, comments


def _rate(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:hz)?\s*", text, re.I)
    if not match:
        raise ValueError(f"expected a sampling rate in Hz, got {text[:40]!r}")
    return float(match[1])


def _rate_of(time_s: np.ndarray) -> float:
    """Hz of a column of time, whole if a whole number explains every row to half a sample."""
    n = len(time_s) - 1
    if n < 1 or not np.isfinite(time_s).all() or not time_s[-1] > time_s[0]:
        raise ValueError("expected a column of time that goes forward, with a number in every row")
    elapsed = time_s - time_s[0]
    fs = n / float(elapsed[-1])
    for rate in (float(round(fs)), fs):
        if rate > 0 and (np.abs(elapsed * rate - np.arange(n + 1)) < 0.5).all():
            return rate
    raise ValueError("expected a column of time with even steps, without gaps")


def _array(content: bytes) -> np.ndarray:
    """An array in NumPy's format, of numbers or words, held to its own size."""
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
        raise ValueError(f"expected an array of numbers or words, got {dtype}")
    n_promised, n_bytes = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if n_promised != n_bytes or dtype.itemsize == 0:
        raise ValueError(f"the array promises {n_promised} bytes, the file has {n_bytes}")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if in_fortran_order else "C")


def _words(array: np.ndarray) -> list[str]:
    if array.size > MAX_COLUMNS or array.dtype.kind != "U":
        raise ValueError(
            f"expected at most {MAX_COLUMNS} words, got {array.dtype} of shape {array.shape}"
        )
    return list(map(str, array.ravel()))


def _signal(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"expected numbers of shape (n_leads, n_samples), got {array.dtype} of shape "
            f"{array.shape}"
        )
    if 8 * array.size > MAX_BYTES:
        raise ValueError(f"{array.size} samples, expected at most {MAX_BYTES // 8}")
    return array.astype(np.float64)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
