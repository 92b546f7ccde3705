"""The codes that a table of ECGs uses, how often, and what a hospital calls them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecg_siglip.core.csv_text import check_cells, csv_form, csv_rows
from ecg_siglip.core.files import shown
from ecg_siglip.datasets.records import first_of
from ecg_siglip.datasets.table_file import COLUMNS, Table, read_table
from ecg_siglip.datasets.table_labels import absent_codes, read_labels
from ecg_siglip.vocabulary.starter import StarterCode
from ecg_siglip.vocabulary.vocabulary_file import (
    MAX_CODE,
    MAX_FINDINGS,
    MAX_TEXT,
    NOT_IN_CODES,
    RESERVED,
)


def read_codes(
    source: str,
    query: str | None = None,
    columns: Sequence[str] = (),
    names: str | Path | None = None,
) -> tuple[list[StarterCode], Table]:
    """Read the codes of a table of ECGs with their counts and names.

    Parameters
    ----------
    source, query
        See ``table_file.read_table``.
    columns : sequence of str
        Columns named after codes, with 1, 0 or empty cells.
    names : path, optional
        CSV file with the columns code and name.

    Returns
    -------
    codes : list of StarterCode
        Those of ``names`` in its order, then the others, the most frequent first. Codes of
        ``names`` that no record has are among them.
    table : Table

    Raises
    ------
    ValueError
        If the table or the file of names is wrong or states no code, or a code cannot be one of a
        vocabulary; the message names file and row.
    """
    if reserved := [column for column in columns if column in COLUMNS]:
        raise ValueError(f"columns: {reserved[0]} is not named after a code; leave it out")
    table = read_table(source, query, columns)
    if absent := [column for column in columns if column not in table.frame.columns]:
        raise ValueError(
            f"columns: {table.name} has no column {shown(absent[0])}; it has "
            f"{first_of([*map(shown, table.frame.columns), *map(shown, table.ignored)], 12)}"
        )
    if not columns and not {"findings", "unknown"} & {*table.frame.columns}:
        raise ValueError(
            f"{table.name}: no column findings with codes; expected one, or columns=[...] with the "
            f"columns that are named after codes, of {first_of([*map(shown, table.ignored)], 12)}"
        )
    codes, n_present, n_unknown, first_row = _count(table, columns)
    wrong = [(i, code) for i, code in enumerate(codes) if not _is_code(code)]
    if wrong:
        i, code = wrong[0]
        raise ValueError(
            f"{table.where(first_row[i], code if code in columns else 'findings')}: "
            f"{shown(code)} {_problem(code)}; rename it in the table"
        )
    known_names = read_names(names) if names is not None else {}
    order = {code: i for i, code in enumerate(known_names)}
    counts = {code: (n_present[i], n_unknown[i]) for i, code in enumerate(codes)}
    ranked = sorted(
        {*codes, *order}, key=lambda c: (order.get(c, len(order)), -counts.get(c, (0, 0))[0], c)
    )
    if not ranked:
        raise ValueError(f"{table.name}: no code in any row")
    if len(ranked) > MAX_FINDINGS:
        raise ValueError(f"{table.name}: {_too_many(len(ranked))}")
    starters = [
        StarterCode(code, known_names.get(code, code), *counts.get(code, (0, 0))) for code in ranked
    ]
    return starters, table


def _too_many(n: int) -> str:
    return f"{n} different codes; expected {MAX_FINDINGS} at most: is `findings` a text?"


def _count(
    table: Table, columns: Sequence[str]
) -> tuple[list[str], list[int], list[int], list[int]]:
    """Return the codes of a table, the records with each, without a label, and the first row."""
    try:
        listed = absent_codes(table, columns)
    except ValueError as error:
        raise ValueError(f"{table.name}: {error}") from None
    codes = [*columns, *listed]
    if len(codes) > MAX_FINDINGS:  # before a column for each of them
        raise ValueError(f"{table.name}: {_too_many(len(codes))}")
    if not codes:
        return [], [], [], []
    y_true, known = read_labels(table, codes)
    mentioned = y_true | ~known
    first = np.argmax(mentioned, axis=0)
    return codes, y_true.sum(0).tolist(), (~known).sum(0).tolist(), first.tolist()


def _is_code(code: str) -> bool:
    return len(code) <= MAX_CODE and not NOT_IN_CODES.search(code) and code not in RESERVED


def _problem(code: str) -> str:
    """Return why a text cannot be a code of a vocabulary."""
    if code in RESERVED:
        return "cannot be a code: it has another meaning in a table"
    wrong = NOT_IN_CODES.search(code)
    if wrong:
        return f"cannot be a code, because of {shown(wrong[0])!r}"
    return f"cannot be a code: {len(code)} characters, {MAX_CODE} at most"


def read_names(path: str | Path) -> dict[str, str]:
    """Read the names of codes from a CSV file with the columns code and name.

    Returns
    -------
    dict of str to str
        By code, in the order of the file; a code without a name has itself.

    Raises
    ------
    ValueError
        If the file is missing, is no such table, or has a code twice; the message names file and
        row.
    """
    name = shown(str(path))
    if not Path(path).is_file():
        raise ValueError(f"names={name}: there is no such file")
    form = csv_form(Path(path), name)
    fields = [field.lower() for field in form.header]
    if not {"code", "name"} <= {*fields}:
        listed = first_of([*map(shown, fields)], 8)
        raise ValueError(f"{name}: expected the columns code and name, got {listed}")
    cells = []
    for number, row in csv_rows(Path(path), name, form):
        check_cells(number, row, form, name)
        by_field = dict(zip(fields, row, strict=False))
        cells.append((number, by_field.get("code", ""), by_field.get("name", "")))
    names: dict[str, str] = {}
    for row_number, code, text in cells:
        code, text = code.strip(), " ".join(text.split())
        if not code and not text:
            continue
        if not code or code in names:
            problem = f"code {shown(code)} occurs twice" if code else "no code"
            raise ValueError(f"{name}: row {row_number}: {problem}")
        if not _is_code(code):
            raise ValueError(f"{name}: row {row_number}: {shown(code)} {_problem(code)}")
        if len(text) > MAX_TEXT - MAX_CODE or shown(text, MAX_TEXT) != text:
            what = "has a control character" if len(text) < MAX_TEXT - MAX_CODE else "is too long"
            raise ValueError(f"{name}: row {row_number}: the name of {shown(code)} {what}")
        names[code] = text or code
    return names
