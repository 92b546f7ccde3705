"""Labels of a table of ECGs: which findings are present, absent or unknown in each record."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.records import first_of
from ecg_siglip.datasets.table_file import Table
from ecg_siglip.datasets.table_problems import N_EXAMPLES, Problems

ALL = "*"  # in the column `unknown`: no finding of the record has been assessed
VOCABULARY = "the vocabulary"
MAPPING = "the mapping (data.codes)"
UNKNOWN_CODE = "code without a vocabulary entry"
OTHER_SEPARATORS = (re.compile(r"[,|/+、，；]+"), re.compile(r"[,|/+\s、，；]+"))
PRESENT, ABSENT = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


def read_labels(
    table: Table,
    codes: Sequence[str],
    problems: Problems | None = None,
    listed_in: str = VOCABULARY,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the labels of every record.

    Parameters
    ----------
    table : Table
        With a column `findings` of codes (``A;B``, or a JSON list), columns named after codes (1, 0
        or empty for not assessed), or both; without any, nothing is known. The column `unknown`
        lists codes that were not assessed, ``*`` for all of them.
    codes : sequence of str
        Codes of the vocabulary, one per column of the result.
    problems : Problems, optional
        Collects wrong cells, which count as empty; None: the first one raises an error.
    listed_in : str
        What lists the codes, for messages.

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
    problems = problems or Problems()
    n, column_of = len(table), {code: i for i, code in enumerate(codes)}
    y_true = np.zeros((n, len(codes)), bool)
    in_columns = [code for code in codes if code in table.frame.columns]
    if "findings" in table.frame.columns:
        y_true = _sets(table, "findings", column_of, problems, listed_in)
        known = np.ones(y_true.shape, bool)
        stated = np.array([code in table.frame.columns for code in codes], bool)
        twice = y_true & stated
        problems.add(
            "code in two columns",
            table,
            "findings",
            np.flatnonzero(twice.any(1)),
            lambda row: (
                f"{codes[twice[row].argmax()]} also has a column of its own; expected one of the "
                "two"
            ),
        )
    else:
        known = np.zeros(y_true.shape, bool)
    for code in in_columns:
        i = column_of[code]
        y_true[:, i], known[:, i] = _zeros_and_ones(table, code, problems)
    if "unknown" in table.frame.columns:
        unknown = _sets(table, "unknown", column_of, problems, listed_in)
        both = unknown & y_true

        def contradiction(row: int) -> str:
            code = codes[both[row].argmax()]
            return f"{ALL if unknown[row].all() else code} is unknown, but {code} is present"

        rows = np.flatnonzero(both.any(1))
        problems.add("present and unknown", table, "unknown", rows, contradiction)
        known &= ~unknown
        y_true &= known
    return y_true, known


def absent_codes(table: Table, codes: Sequence[str]) -> list[str]:
    """Return the codes that occur in `findings` or `unknown` but not in the vocabulary, sorted."""
    absent: set[str] = set()
    for name in ("findings", "unknown"):
        if name in table.frame.columns:
            for text in _distinct(table.frame[name])[1]:
                absent |= {code for code in _split(text) if code != ALL} - set(codes)
    return sorted(absent)


def _sets(
    table: Table, name: str, column_of: dict[str, int], problems: Problems, listed_in: str
) -> np.ndarray:
    """Return which codes each cell of a column lists, (n_records, n_findings) bool."""
    numbers, texts = _distinct(table.frame[name])
    # Most rows repeat the cell of another: parse each different cell once.
    members = np.zeros((len(texts) + 1, len(column_of)), bool)  # the last row: an empty cell, -1
    absent: dict[str, list[int]] = {}
    malformed: dict[int, str] = {}
    for i, text in enumerate(texts):
        try:
            listed = _split(text)
        except ValueError as error:
            malformed[i] = str(error)
            continue
        if ALL in listed and name == "unknown":
            members[i] = True
            listed = [code for code in listed if code != ALL]
        for code in listed:
            if code in column_of:
                members[i, column_of[code]] = True
            else:
                absent.setdefault(code, []).append(i)
    rows = np.flatnonzero(np.isin(numbers, [*malformed])) if malformed else numbers[:0]
    problems.add("list", table, name, rows, lambda row: malformed[int(numbers[row])])
    if absent:
        _add_absent(absent, table, name, numbers, column_of, problems, listed_in)
    return members[numbers]


def _add_absent(
    absent: dict[str, list[int]],
    table: Table,
    name: str,
    numbers: np.ndarray,
    column_of: dict[str, int],
    problems: Problems,
    listed_in: str,
) -> None:
    """Add codes that are not in the vocabulary, with the numbers of the texts that have them."""
    n_texts = numbers.max() + 1
    n_rows = np.bincount(numbers[numbers >= 0], minlength=n_texts)
    first = np.empty(n_texts + 1, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    n_of = {code: int(n_rows[texts].sum()) for code, texts in absent.items()}
    listed = sorted(absent, key=lambda code: -n_of[code]) if problems.collect else list(absent)
    # Similar codes are searched for the most frequent ones only: the column may hold free text.
    for code in listed[:N_EXAMPLES]:
        problems.add(
            UNKNOWN_CODE,
            table,
            name,
            first[absent[code]],
            unknown_code(code, column_of, listed_in),
            n=n_of[code],
            subject=code,
        )
    rest = listed[N_EXAMPLES:]
    problems.add(
        UNKNOWN_CODE,
        table,
        name,
        np.array([first[absent[code][0]] for code in rest[:N_EXAMPLES]], np.int64),
        f"code that is not in {listed_in}",
        n=sum(n_of[code] for code in rest),
        n_subjects=len(rest),
    )


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
        return [code for code in map(plain_code, text.split(";")) if code]
    try:
        codes = json.loads(text)
    except (ValueError, RecursionError):
        codes = None
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f'expected codes as A;B or ["A", "B"], got {shown(text)}')
    return [plain_code(code) for code in codes]


def plain_code(text: str) -> str:
    """Return a code as a vocabulary has it: single spaces, letters with accents as one character.

    Examples
    --------
    >>> plain_code(" ST\\u00a0T ")
    'ST T'
    """
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _zeros_and_ones(table: Table, code: str, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """Return where a column of labels has 1, and where it has a label at all."""
    numbers, texts = _distinct(table.frame[code])
    words = [text.strip().lower() for text in texts]
    present = np.array([*(word in PRESENT for word in words), False])
    known = np.array([*(word in PRESENT | ABSENT for word in words), False])
    problems.add(
        "label",
        table,
        code,
        np.flatnonzero((numbers >= 0) & ~known[numbers]),
        lambda row: (
            f"expected 1, 0 or an empty cell (not assessed), got {shown(texts[numbers[row]])}"
        ),
    )
    return present[numbers], known[numbers]


def unknown_code(
    code: str, known: Sequence[str] | dict[str, int], listed_in: str = VOCABULARY
) -> str:
    """Return a message about a code that is not in the vocabulary, with similar codes."""
    splits = ([part.strip() for part in each.split(code)] for each in OTHER_SEPARATORS)
    is_list = any(len(parts) > 1 and all(part in known for part in parts) for parts in splits)
    near = [each for each in known if each.casefold() == code.casefold()]
    near = near or difflib.get_close_matches(code.upper(), list(known), n=3, cutoff=0.5)
    if is_list:
        hint = "codes are separated by ;"
    elif near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = "add it to the vocabulary file"
        if listed_in != VOCABULARY:
            hint = "add it there, with empty findings if it means none of them"
    return f"code {shown(code)} is not in {listed_in} ({first_of([*known], 3)}); {hint}"
