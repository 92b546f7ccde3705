"""Text tables as spreadsheets and databases write them: separators, empty rows, wrong rows."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ecg_siglip.core.files import one_line, shown

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a |"}
HEAD_CHARACTERS = 1 << 20
UTF8 = "expected UTF-8 text; save it as CSV (UTF-8)"


class CsvRow(NamedTuple):
    """A row that is not empty.

    Attributes
    ----------
    number : int
        As a spreadsheet shows it: a row with line breaks in a cell counts once, empty rows count,
        and the header is row 1.
    cells : list of str
    """

    number: int
    cells: list[str]


class CsvForm(NamedTuple):
    """How a text table is written.

    Attributes
    ----------
    separator : str
    header : list of str
        Names of the columns, without spaces around them.
    n_before : int
        Lines before the header: 1 if the first line is ``sep=;``, as spreadsheets read it.
    """

    separator: str
    header: list[str]
    n_before: int


def csv_form(path: Path, name: str, expected: str = "") -> CsvForm:
    """Return how a text table is written: its separator gives the most columns.

    Parameters
    ----------
    path : Path
    name : str
        For messages.
    expected : str
        A column that the right separator gives.

    Raises
    ------
    ValueError
        If it has no header, or is no UTF-8 text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [*io.StringIO(file.read(HEAD_CHARACTERS), newline="")]
    except UnicodeDecodeError:
        raise ValueError(_not_utf8(path, name)) from None
    except OSError as error:
        raise ValueError(f"{name}: cannot be read: {one_line(error)}") from None
    if "\0" in "".join(lines[:2]):
        raise ValueError(f"{name}: expected text, got binary data")
    stated = lines[0].strip("\r\n").strip('"') if lines else ""
    separators: tuple[str, ...] = SEPARATORS
    n_before = 0
    if stated.lower().startswith("sep=") and len(stated) == len("sep=;"):
        separators, n_before = (stated[-1],), 1
    if not any(line.strip() for line in lines[n_before : n_before + 1]):
        raise ValueError(
            f"{name}: expected a header row with the names of the columns in line "
            f"{n_before + 1}, got none"
        )
    forms = []
    for separator in separators:
        reader = csv.reader(lines[n_before:], delimiter=separator)
        try:
            header = [unicodedata.normalize("NFC", cell.strip()) for cell in next(reader)]
        except csv.Error as error:
            raise ValueError(f"{name}: row 1: {one_line(error)}") from None
        forms.append(CsvForm(separator, header, n_before))

    def rank(form: CsvForm) -> tuple[bool, bool, int]:
        # A wrong separator leaves quotes within the cells.
        is_clean = not any('"' in cell for cell in form.header)
        return expected in form.header, is_clean, len(form.header)

    return max(forms, key=rank)


def csv_rows(path: Path, name: str, form: CsvForm) -> Iterator[CsvRow]:
    """Yield the rows below the header; empty ones, also those of separators only, are left out.

    Raises
    ------
    ValueError
        If the text is not UTF-8, or a quote is not closed; the message names the row.
    """
    number = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for _ in range(form.n_before):
                file.readline()
            rows = csv.reader(file, delimiter=form.separator, strict=True)
            next(rows)
            for number, cells in enumerate(rows, 2):
                if any(cell and not cell.isspace() for cell in cells):
                    yield CsvRow(number, cells)
    except UnicodeDecodeError:
        raise ValueError(_not_utf8(path, name)) from None
    except csv.Error as error:
        raise ValueError(
            f"{name}: row {number + 1}: is no row of cells: {one_line(error)}; is a quote missing? "
            'A quote within a cell in quotes is written twice ("")'
        ) from None


def check_cells(number: int, cells: list[str], form: CsvForm, name: str) -> None:
    """Check that a row has no more cells than the header has columns.

    Raises
    ------
    ValueError
        If it has; the message names file and row.
    """
    if any(cell.strip() for cell in cells[len(form.header) :]):
        raise ValueError(
            f"{name}: row {number}: has {len(cells)} cells, expected {len(form.header)}; a cell "
            f"with {SEPARATOR_NAMES.get(form.separator, form.separator)} in it needs quotes"
        )


def _not_utf8(path: Path, name: str) -> str:
    """Return a message that names the line of the first byte that is not UTF-8."""
    with open(path, "rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return f"{name}: {UTF8}, not as Unicode text (UTF-16)"
        file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                before = line[: error.start].decode("utf-8")
                return f"{name}: line {number}, after {shown(before[-20:])!r}: {UTF8}"
    return f"{name}: {UTF8}"
