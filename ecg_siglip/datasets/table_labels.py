"""Labels of a table of ECGs: which findings are present, absent or unknown in each record."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.records import first_of
from ecg_siglip.datasets.table_file import Table

ALL = "*"  # in the column `unknown`: no finding of the record has been assessed
PRESENT, ABSENT = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


def read_labels(table: Table, codes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the labels of every record.

    Parameters
    ----------
    table : Table
        With a column `findings` of codes (``A;B``, or a JSON list), columns named after codes (1, 0
        or empty for not assessed), or both; without any, nothing is known. The column `unknown`
        lists codes that were not assessed, ``*`` for all of them.
    codes : sequence of str
        Codes of the vocabulary, one per column of the result.

    Returns
    -------
    y_true, known : ndarray of shape (n_records, n_findings), bool
        `y_true` is False where `known` is.

    Raises
    ------
    ValueError
        If a code is not in the vocabulary, a label is neither 1, 0 nor empty, a list cannot be
        parsed, a finding is both present and unknown, or a code is stated in two columns; the
        message names row and column.
    """
    n, column_of = len(table), {code: i for i, code in enumerate(codes)}
    y_true = np.zeros((n, len(codes)), bool)
    in_columns = [code for code in codes if code in table.frame.columns]
    if "findings" in table.frame.columns:
        y_true = _sets(table, "findings", column_of)
        known = np.ones(y_true.shape, bool)
        stated = np.array([codes[i] in in_columns for i in range(len(codes))])
        if (twice := y_true & stated).any():
            row, column = np.argwhere(twice)[0]
            raise ValueError(
                f"{table.where(row, 'findings')}: {codes[column]} also has a column of its own; "
                "expected one of the two"
            )
    else:
        known = np.zeros(y_true.shape, bool)
    for code in in_columns:
        y_true[:, column_of[code]], known[:, column_of[code]] = _zeros_and_ones(table, code)
    if "unknown" in table.frame.columns:
        unknown = _sets(table, "unknown", column_of)
        if (both := unknown & y_true).any():
            row, column = np.argwhere(both)[0]
            all_unknown = unknown[row].all()
            raise ValueError(
                f"{table.where(row, 'unknown')}: {ALL if all_unknown else codes[column]} is "
                f"unknown, but {codes[column]} is present"
            )
        known &= ~unknown
    return y_true, known


def absent_codes(table: Table, codes: Sequence[str]) -> list[str]:
    """Return the codes that occur in `findings` or `unknown` but not in the vocabulary, sorted."""
    absent: set[str] = set()
    for name in ("findings", "unknown"):
        if name in table.frame.columns:
            for text in _distinct(table.frame[name])[1]:
                absent |= {code for code in _split(text) if code != ALL} - set(codes)
    return sorted(absent)


def _sets(table: Table, name: str, column_of: dict[str, int]) -> np.ndarray:
    """Return which codes each cell of a column lists, (n_records, n_findings) bool."""
    numbers, texts = _distinct(table.frame[name])
    # Most rows repeat the cell of another: parse each different cell once.
    members = np.zeros((len(texts) + 1, len(column_of)), bool)  # the last row: an empty cell, -1
    for i, text in enumerate(texts):
        row = int(np.argmax(numbers == i))
        try:
            listed = _split(text)
        except ValueError as error:
            raise ValueError(f"{table.where(row, name)}: {error}") from None
        if ALL in listed and name == "unknown":
            members[i] = True
            listed = [code for code in listed if code != ALL]
        for code in listed:
            if code not in column_of:
                raise ValueError(f"{table.where(row, name)}: {unknown_code(code, column_of)}")
            members[i, column_of[code]] = True
    return members[numbers]


def _distinct(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return the number of each cell's text, -1 for an empty one, and the different texts."""
    as_text: Callable[[object], object] = lambda cell: (  # noqa: E731
        json.dumps([str(code) for code in cell])
        if isinstance(cell, (list, tuple, np.ndarray))
        else cell
    )
    if column.dtype == object:
        column = column.map(as_text)
    numbers, texts = pd.factorize(column)
    return numbers, [str(text) for text in texts]


def _split(text: str) -> list[str]:
    """Return the codes of a cell: a JSON list, or separated by semicolons.

    Raises
    ------
    ValueError
        If it begins like a JSON list and is none.
    """
    text = text.strip()
    if not text.startswith("["):
        return [code.strip() for code in text.split(";") if code.strip()]
    try:
        codes = json.loads(text)
    except (ValueError, RecursionError):
        codes = None
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f'expected codes as A;B or ["A", "B"], got {shown(text)}')
    return [code.strip() for code in codes]


def _zeros_and_ones(table: Table, code: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where a column of labels has 1, and where it has a label at all."""
    numbers, texts = _distinct(table.frame[code])
    values = []
    for i, text in enumerate(texts):
        word = text.strip().lower()
        if word not in PRESENT | ABSENT:
            row = int(np.argmax(numbers == i))
            raise ValueError(
                f"{table.where(row, code)}: expected 1, 0 or an empty cell (not assessed), got "
                f"{shown(text)}"
            )
        values.append(word in PRESENT)
    return np.array([*values, False])[numbers], numbers >= 0


def unknown_code(code: str, known: Sequence[str] | dict[str, int]) -> str:
    """Return a message about a code that is not in the vocabulary, with similar codes."""
    near = difflib.get_close_matches(code.upper(), list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "add it to the vocabulary file"
    return f"code {shown(code)} is not in the vocabulary ({first_of([*known], 3)}); {hint}"
