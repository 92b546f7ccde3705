"""Read Excel workbooks (XLSX), for a process of its own (``isolated``).

A workbook is XML of any size and depth when unpacked, of which ``openpyxl`` makes objects; the
process is limited in time and memory. The first page with a table of an ECG is written as a text,
which ``text_tables`` reads: the lines above the numbers, the names and the units are the same.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from typing import Any

from ecg_siglip.readers.channels import Stated, import_reader
from ecg_siglip.readers.text_tables import is_ecg_table, read_text

MAX_CELLS = 600_000  # 12 leads and the time for 90 s at 500 Hz; takes 10 s
MAX_ROWS = 300_000
MAX_XML_BYTES = 1 << 26  # of all parts of a workbook, unpacked
MAX_PARTS = 1000
MAX_PAGES = 20
N_HEAD_ROWS = 60
# A workbook is XML without definitions of entities.
ENTITIES = (b"<!DOCTYPE", b"<!ENTITY")


def read_xlsx(content: bytes) -> Stated:
    """Read an Excel workbook.

    Parameters
    ----------
    content : bytes
        Values that formulas had when the workbook was stored are read; no formula is evaluated.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If no page has a table with leads, or the workbook is damaged, has more than 64 MiB when
        unpacked or 600,000 cells.
    """
    return read_text(ecg_page(content, MAX_ROWS))


def find_page(content: bytes) -> Stated:
    """Return nothing; raise a ValueError if a workbook has no page with a table of an ECG."""
    ecg_page(content, N_HEAD_ROWS)
    return Stated([])


def ecg_page(content: bytes, n_rows: int) -> bytes:
    """Return the first rows of the first page with an ECG as a text table.

    Raises
    ------
    ValueError
        If there is none, or the workbook is too large.
    """
    openpyxl = import_reader("openpyxl")
    _check_parts(content)
    book = openpyxl.load_workbook(
        io.BytesIO(content), read_only=True, data_only=True, keep_links=False
    )
    for page in book.worksheets[:MAX_PAGES]:
        if is_ecg_table(_text(page, N_HEAD_ROWS)):
            return _text(page, n_rows)
    names = ", ".join(page.title for page in book.worksheets)[:100]
    raise ValueError(f"no table with leads in the pages {names or '(none)'}")


def _check_parts(content: bytes) -> None:
    """Check the parts of a workbook before it is opened: their number, size, and entities."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        n_bytes = sum(part.file_size for part in parts)
        if len(parts) > MAX_PARTS or n_bytes > MAX_XML_BYTES:
            raise ValueError(
                f"{n_bytes} bytes in {len(parts)} parts when unpacked, expected at most "
                f"{MAX_XML_BYTES} in {MAX_PARTS}: save it as CSV"
            )
        for part in parts:
            with archive.open(part) as file:
                head = file.read(1 << 12)
            if b"\0" in head and part.filename.endswith((".xml", ".rels")):
                raise ValueError(f"{part.filename[:80]} is not in UTF-8")
            if any(word in head for word in ENTITIES):
                raise ValueError(f"{part.filename[:80]} defines entities, which are not read")


def _text(page: Any, n_rows: int) -> bytes:
    """Return the first rows of a page as a text, with tabs between the cells.

    Raises
    ------
    ValueError
        If there are more than ``MAX_ROWS`` or ``MAX_CELLS``: a cell far to the right or below
        stands for all cells before it.
    """
    page.reset_dimensions()
    rows: list[list[str]] = []
    n_cells = 0
    for row in page.iter_rows(values_only=True):
        if len(rows) == n_rows < MAX_ROWS:
            break
        n_cells += len(row)
        if n_cells > MAX_CELLS or len(rows) == MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS} rows or {MAX_CELLS} cells: save it as CSV")
        rows.append(list(map(_cell, row)))
    # A row ends with its last cell that is not empty.
    width = max(map(len, rows), default=0)
    if width * len(rows) > 2 * MAX_CELLS:
        raise ValueError(f"more than {MAX_CELLS} cells: save it as CSV")
    lines = ["\t".join([*row, *[""] * (width - len(row))]) for row in rows]
    return "\n".join([*lines, ""]).encode()


def _cell(cell: Any) -> str:
    """Return the value of a cell as text."""
    if cell is None:
        return ""
    if isinstance(cell, (datetime.datetime, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return f"{cell.total_seconds():.6f}"
    return " ".join(cell.split()) if isinstance(cell, str) else str(cell)
