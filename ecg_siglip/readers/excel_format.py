"""Read Excel workbooks (XLSX), for a process of its own (``isolated``).

A workbook is XML of any size and depth when unpacked, of which ``openpyxl`` makes objects; next to
defusedxml it refuses entities. The first page with a table of an ECG is written as a text, which
``text_tables`` reads: the lines above the numbers, the names and the units are the same.
"""

from __future__ import annotations

import datetime
import io
import itertools
from typing import Any

from ecg_siglip.readers.channels import Stated, import_reader
from ecg_siglip.readers.text_tables import is_ecg_table, read_text

MAX_PAGES = 20
N_HEAD_ROWS = 60


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
        If no page has a table with leads, or the workbook is damaged.
    """
    return read_text(ecg_page(content, None))


def find_page(content: bytes) -> Stated:
    """Return nothing; raise a ValueError if a workbook has no page with a table of an ECG."""
    ecg_page(content, N_HEAD_ROWS)
    return Stated([])


def ecg_page(content: bytes, n_rows: int | None) -> bytes:
    """Return the first rows of the first page with an ECG as a text table.

    Raises
    ------
    ValueError
        If there is none, or the workbook is too large.
    """
    openpyxl = import_reader("openpyxl")
    book = openpyxl.load_workbook(
        io.BytesIO(content), read_only=True, data_only=True, keep_links=False
    )
    for page in book.worksheets[:MAX_PAGES]:
        if is_ecg_table(_text(page, N_HEAD_ROWS)):
            return _text(page, n_rows)
    names = ", ".join(page.title for page in book.worksheets)[:100]
    raise ValueError(f"no table with leads in the pages {names or '(none)'}")


def _text(page: Any, n_rows: int | None) -> bytes:
    """Return the first rows of a page as a text, with tabs between the cells."""
    page.reset_dimensions()
    table = itertools.islice(page.iter_rows(values_only=True), n_rows)
    rows = [list(map(_cell, row)) for row in table]
    width = max(map(len, rows), default=0)  # a row ends with its last cell that is not empty
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
