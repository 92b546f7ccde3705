"""The metadata of PTB-XL, ``ptbxl_database.csv``: every row is checked."""

from __future__ import annotations

import ast
import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ecg_siglip.core.csv_text import csv_form, csv_rows
from ecg_siglip.core.files import one_line, shown
from ecg_siglip.datasets.table_labels import UNKNOWN_CODE
from ecg_siglip.datasets.table_problems import Problems
from ecg_siglip.vocabulary.vocabulary import Vocabulary

FILENAMES = {100: "filename_lr", 500: "filename_hr"}
COLUMNS = ("patient_id", "report", "scp_codes", "strat_fold", *FILENAMES.values())


class MetadataRows(NamedTuple):
    """Rows of the metadata, for messages."""

    path: Path
    row_numbers: np.ndarray
    ecg_ids: list[object]

    def where(self, row: int, column: str = "") -> str:
        """Return the name of a cell or, without a column, of a row, for messages."""
        place = f", column {column}" if column else ""
        return f"{self.path}: row {self.row_numbers[row]}{place}"

    def take(self, rows: np.ndarray) -> MetadataRows:
        """Return some of the rows."""
        return MetadataRows(self.path, self.row_numbers[rows], [self.ecg_ids[i] for i in rows])


def read_metadata(root: str | os.PathLike[str], problems: Problems | None = None) -> pd.DataFrame:
    """Read ``ptbxl_database.csv`` as a table indexed by ``ecg_id``, in the order of the file.

    Parameters
    ----------
    root : path
        Folder with the file.
    problems : Problems, optional
        Collects wrong rows, which are left out; None: the first one raises an error.

    Returns
    -------
    DataFrame
        All columns of the file; ``scp_codes`` as dictionaries from code to likelihood (float,
        0 to 100), ``patient_id`` and ``strat_fold`` as int64, ``report`` as str.

    Raises
    ------
    ValueError
        If the file is missing or is not such a table, a column is missing, an ``ecg_id`` occurs
        twice, a row cannot be parsed, a fold is not 1 to 10, or a patient has records in several
        folds (scores would then be too high).
    """
    return read_numbered_metadata(root, problems or Problems())[0]


def read_numbered_metadata(
    root: str | os.PathLike[str], problems: Problems
) -> tuple[pd.DataFrame, MetadataRows]:
    """Return the metadata, see ``read_metadata``, and its rows for messages."""
    path = Path(root) / "ptbxl_database.csv"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: download PTB-XL with `python -m ecg_siglip.ptbxl data.root={root}`"
            f" or simulate one with `python -m ecg_siglip.simulate data.root={root}`"
        )
    table, rows = _read_rows(path, problems)
    if absent := [name for name in ("ecg_id", *COLUMNS) if name not in table.columns]:
        raise ValueError(f"{path}: expected the columns of PTB-XL, missing: {', '.join(absent)}")
    if not len(table):
        raise ValueError(f"{path}: expected at least one record, got none")
    wrong = _parse_integers(table, rows, problems)
    wrong |= _check_ids_and_folds(table, rows, ~wrong, problems)
    wrong |= _parse_codes(table, rows, problems)
    kept = np.flatnonzero(~wrong)
    if not len(kept):
        raise ValueError(f"{path}: no row is right")
    rows = rows.take(kept)
    table = table.iloc[kept].copy()
    for name in ("ecg_id", "patient_id", "strat_fold"):
        table = table.assign(**{name: table[name].astype(np.int64)})
    table = table.set_index("ecg_id")
    table = table.assign(report=table["report"].fillna("").astype(str))
    return table, rows


def _read_rows(path: Path, problems: Problems) -> tuple[pd.DataFrame, MetadataRows]:
    """Return the rows of the file as they are; those of another length are filled or cut."""
    form = csv_form(path, str(path))
    rows = list(csv_rows(path, str(path), form))
    n = len(form.header)
    numbers = np.array([row.number for row in rows], np.int64)
    wrong = [i for i, row in enumerate(rows) if len(row.cells) != n]
    content: Path | io.StringIO = path
    if wrong:
        content = io.StringIO()
        cells = (row.cells[:n] + [""] * (n - len(row.cells)) for row in rows)
        csv.writer(content, delimiter=form.separator).writerows([form.header, *cells])
        content.seek(0)
    try:
        table = pd.read_csv(content, sep=form.separator, skip_blank_lines=False)
    except ValueError as error:
        raise ValueError(f"{path}: expected a table in CSV form, got: {one_line(error)}") from error
    if content is path:
        table = table.iloc[numbers - 2].reset_index(drop=True)
    table.columns = [str(name).strip() for name in table.columns]
    ids = table["ecg_id"].tolist() if "ecg_id" in table else [""] * len(table)
    found = MetadataRows(path, numbers, ids)
    problems.add(
        "number of cells",
        found,
        "",
        np.array(wrong, np.int64),
        lambda row: f"has {len(rows[row].cells)} cells, expected {n}",
    )
    return table, found


def _parse_integers(table: pd.DataFrame, rows: MetadataRows, problems: Problems) -> np.ndarray:
    """Convert the columns of ids and folds to numbers, in place; return which rows are wrong."""
    any_wrong = np.zeros(len(table), bool)
    for name in ("ecg_id", "patient_id", "strat_fold"):
        texts, numbers = table[name], pd.to_numeric(table[name], errors="coerce")
        wrong = ~(numbers % 1 == 0).to_numpy()

        def message(i: int, texts: pd.Series = texts, name: str = name) -> str:
            return f"ecg_id {rows.ecg_ids[i]}: expected an integer {name}, got {texts[i]}"

        problems.add(name, rows, name, np.flatnonzero(wrong), message)
        any_wrong |= wrong
        table[name] = numbers
    return any_wrong


def _check_ids_and_folds(
    table: pd.DataFrame, rows: MetadataRows, parsed: np.ndarray, problems: Problems
) -> np.ndarray:
    """Return which rows have an id again, or a wrong fold."""
    doubled = table["ecg_id"].duplicated().to_numpy() & parsed
    problems.add(
        "doubled ecg_id",
        rows,
        "ecg_id",
        np.flatnonzero(doubled),
        lambda i: f"ecg_id {rows.ecg_ids[i]} occurs more than once",
    )
    no_fold = ~table["strat_fold"].between(1, 10).to_numpy() & parsed
    problems.add(
        "fold",
        rows,
        "strat_fold",
        np.flatnonzero(no_fold),
        lambda i: f"ecg_id {rows.ecg_ids[i]}: expected a strat_fold of 1 to 10",
    )
    usable = table[parsed & ~no_fold]
    first_fold = usable.groupby("patient_id")["strat_fold"].transform("first")
    crossing = usable.index[usable["strat_fold"] != first_fold].to_numpy()
    problems.add(
        "patient in several folds",
        rows,
        "strat_fold",
        crossing,
        lambda i: f"patient_id {table['patient_id'][i]:.0f} has records in several folds",
    )
    return np.asarray(doubled | no_fold)


def _parse_codes(table: pd.DataFrame, rows: MetadataRows, problems: Problems) -> np.ndarray:
    """Convert ``scp_codes`` to dictionaries, in place; return which rows are wrong."""
    parsed: dict[str, dict[str, float] | None] = {}  # three of four rows repeat another's text
    texts = table["scp_codes"].map(str)
    for text in texts.unique():
        try:
            codes = ast.literal_eval(text)
            parsed[text] = {str(code): float(likelihood) for code, likelihood in codes.items()}
        except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
            parsed[text] = None
    wrong = np.array([parsed[text] is None for text in texts], bool)
    problems.add(
        "scp_codes",
        rows,
        "scp_codes",
        np.flatnonzero(wrong),
        lambda i: (
            f"ecg_id {rows.ecg_ids[i]}: expected scp_codes like {{'NORM': 100.0}}, got "
            f"{shown(texts[i])}"
        ),
    )
    table["scp_codes"] = pd.Series(
        [dict(parsed[text] or {}) for text in texts], table.index, dtype=object
    )
    return wrong


def check_codes(
    table: pd.DataFrame, rows: MetadataRows, vocabulary: Vocabulary, problems: Problems
) -> None:
    """Take off codes that are not in the vocabulary, in place."""
    known = {*vocabulary.codes}
    absent: dict[str, list[int]] = {}
    for i, codes in enumerate(table["scp_codes"]):
        for code in [code for code in codes if code not in known]:
            absent.setdefault(code, []).append(i)
            del codes[code]
    for code, found in absent.items():
        message = f"ecg_id {rows.ecg_ids[found[0]]}: {vocabulary.unknown(code)}"
        problems.add(
            UNKNOWN_CODE,
            rows,
            "scp_codes",
            np.array(found, np.int64),
            message,
            subject=code,
        )


def file_names(table: pd.DataFrame, rows: MetadataRows, fs: int, problems: Problems) -> pd.Series:
    """Return the file of each record at a sampling rate, relative to the root; "" for none."""
    name = FILENAMES[fs]
    is_text = table[name].map(lambda cell: isinstance(cell, str)).to_numpy(bool)
    problems.add(
        name,
        rows,
        name,
        np.flatnonzero(~is_text),
        lambda i: f"ecg_id {rows.ecg_ids[i]}: expected a file in {name}, got {table[name].iloc[i]}",
    )
    return table[name].where(is_text, "")
