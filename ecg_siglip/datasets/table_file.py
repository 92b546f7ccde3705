"""Read a table of ECGs, one row per record: CSV, TSV, Parquet or a SQL query."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ecg_siglip.core.csv_text import csv_form, csv_rows
from ecg_siglip.core.files import one_line, shown, write_file
from ecg_siglip.datasets.table_problems import Problems
from ecg_siglip.vocabulary.vocabulary_file import RESERVED

COLUMNS = tuple(name for name in RESERVED if name != "*")
SUFFIXES = {".csv", ".tsv", ".txt", ".parquet"}
NO_DATABASES = {"http", "https", "ftp", "file", "s3", "gs", "az", "abfs", "hdfs"}
ENVIRONMENT = "env:"  # before the name of an environment variable that holds an address


# Names of columns that tables often have in place of those that are read.
OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "ecg_path"),
    "record": ("record_id", "ecg_id", "study_id", "exam_id"),
    "findings": (
        "labels",
        "label",
        "finding",
        "diagnosis",
        "diagnoses",
        "codes",
        "dx",
        "scp_codes",
    ),
    "patient_id": ("patient", "patientid", "pid", "subject_id", "subject", "pat_id", "mrn"),
    "fold": ("strat_fold", "folds", "split"),
    "report": ("text", "reports", "report_text", "comment", "interpretation", "statement"),
    "fs": ("sampling_rate", "sample_rate", "frequency", "hz"),
    "units": ("unit",),
    "language": ("lang",),
}


@dataclass(frozen=True)
class Table:
    """Rows of a table of ECGs.

    Attributes
    ----------
    name : str
        Its file, or the address of the database without a password; for messages.
    frame : DataFrame
        Columns of ``COLUMNS`` and one per code that the table has; cells are str (columns of codes
        are categories of str), lists for `findings` of a Parquet file that has lists, NaN if empty.
    ignored : list of str
        Columns that are neither.
    like_labels : frozenset of str
        Those of them that have 1, 0 and empty cells only.
    folder : Path
        Where relative paths of the table begin.
    row_numbers : ndarray of shape (n_rows,), int64
        As a spreadsheet shows them: from 2 below a header, from 1 in a query. Empty rows of a text
        are left out, but counted.
    """

    name: str
    frame: pd.DataFrame
    ignored: list[str]
    folder: Path
    row_numbers: np.ndarray
    like_labels: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.frame)

    def hint(self, column: str, codes: Sequence[str]) -> str:
        """Return what an ignored column may have been meant to be, in brackets; "" for no idea."""
        if hint := column_hint(column, codes):
            return hint
        is_code = column in self.like_labels
        return " (1 and 0: a code that is not in the vocabulary?)" if is_code else ""

    def where(self, row: int, column: str = "") -> str:
        """Return the name of a cell or, without a column, of a row, for messages."""
        place = f", column {shown(column)}" if column else ""
        return f"{self.name}: row {self.row_numbers[row]}{place}"


class Rows(NamedTuple):
    """Rows as they were read, see ``Table``.

    Attributes
    ----------
    name, frame, folder, row_numbers
        See ``Table``; ``frame`` has all columns.
    wrong : dict of int to int
        Number of cells of rows that have too few or too many.
    """

    name: str
    frame: pd.DataFrame
    folder: Path
    row_numbers: np.ndarray
    wrong: dict[int, int]


def read_table(
    source: str, query: str | None, codes: Collection[str], problems: Problems | None = None
) -> Table:
    """Read a table of ECGs.

    Parameters
    ----------
    source : str
        File (.csv, .tsv, .txt, .parquet), SQLAlchemy address of a database, or ``env:NAME`` for an
        address that the environment variable NAME holds.
    query : str, optional
        SQL query; for a database only.
    codes : collection of str
        Codes of the vocabulary; a column with the name of a code holds its labels.
    problems : Problems, optional
        Collects rows with too few or too many cells; None: the first one raises an error.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If there is no such file, it is no such table, is empty, has doubled columns or lacks the
        column `path`; if a row has too few or too many cells; if the address has a password, or
        the query fails.
    """
    name, frame, folder, row_numbers, wrong = _read_rows(source, query, codes)
    _check_columns(name, [str(column) for column in frame.columns])
    if not len(frame):
        raise ValueError(f"{name}: has no row; expected one per ECG")
    known = [column for column in frame.columns if column in COLUMNS or column in codes]
    ignored = [str(column) for column in frame.columns if column not in known]
    like_labels = frozenset(
        column
        for column in ignored
        if {*frame[column].dropna().unique()[:5].tolist()} in ({"0", "1"}, {"1"})
    )
    table = Table(
        name, frame[known].reset_index(drop=True), ignored, folder, row_numbers, like_labels
    )
    (problems or Problems()).add(
        "number of cells",
        table,
        "",
        np.array([*wrong], np.int64),
        lambda row: (
            f"has {wrong[row]} cells, expected {len(frame.columns)}; a cell with the separator or "
            "a line break in it needs quotes"
        ),
    )
    return table


def _read_rows(source: str, query: str | None, codes: Collection[str]) -> Rows:
    """Return the rows of a table with all of its columns."""
    if "://" in source or source.startswith(ENVIRONMENT):
        name, frame = read_sql(source, query)
        return Rows(name, frame, Path(), np.arange(1, len(frame) + 1), {})
    if query is not None:
        raise ValueError(f"data.query: {shown(source)} is a file, and only a database has queries")
    path = Path(source)
    name = shown(source)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"data.table={name} {problem}; expected a CSV, TSV or Parquet file")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"data.table={name}: expected a file with the suffix {', '.join(sorted(SUFFIXES))}, or "
            "the address of a database; save the table as CSV (UTF-8)"
        )
    if path.suffix.lower() != ".parquet":
        return _read_text(path, name, codes)
    frame = _read_parquet(path, name)
    return Rows(name, frame, path.parent, np.arange(2, len(frame) + 2), {})


def write_with_folds(source: str, query: str | None, folds: np.ndarray, path: Path) -> None:
    """Write a table again as CSV, with all of its columns and a column `fold`.

    Parameters
    ----------
    source, query
        See ``read_table``.
    folds : ndarray of shape (n_records,), int64
        Of each row.
    path : Path

    Raises
    ------
    ValueError
        If the path is the table itself, or the table has changed.
    OSError
        If it cannot be written.
    """
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"folds={shown(path)} is the table itself; expected another file")
    frame = _read_rows(source, query, ()).frame
    if len(frame) != len(folds):
        raise ValueError(f"{shown(source)}: has changed while it was checked")
    is_list = (list, tuple, np.ndarray)
    for column in [name for name in frame.columns if frame[name].dtype == object]:
        frame[column] = frame[column].map(
            lambda cell: json.dumps([*map(str, cell)]) if isinstance(cell, is_list) else cell
        )
    write_file(path, frame.assign(fold=folds).to_csv(index=False))


def column_hint(name: str, codes: Sequence[str]) -> str:
    """Return the column that an ignored one may have been meant to be."""
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    for column, others in OTHER_NAMES.items():
        if plain in (column, *others):
            return f" (did you mean {column}?)"
    same = [code for code in codes if code.lower() == name.strip().lower()]
    near = same or difflib.get_close_matches(plain, COLUMNS, n=1, cutoff=0.8)
    near = near or difflib.get_close_matches(name.strip().upper(), codes, n=1, cutoff=0.8)
    return f" (did you mean {near[0]}?)" if near else ""


def _check_columns(name: str, texts: list[str]) -> None:
    """Check that columns are named, once each, and that there is one of paths."""
    if doubled := {text for text in texts if texts.count(text) > 1}:
        raise ValueError(f"{name}: column {shown(min(doubled))} occurs more than once")
    if "path" not in texts:
        written = {text.lower(): text for text in texts}
        near = difflib.get_close_matches("path", list(written), n=1, cutoff=0.6)
        hint = f"; rename {shown(written[near[0]])} to path" if near else ""
        listed = ", ".join(map(shown, texts[:8])) + (", ..." if len(texts) > 8 else "")
        raise ValueError(f"{name}: no column path with the files of the ECGs{hint}; has {listed}")


def _read_text(path: Path, name: str, codes: Collection[str]) -> Rows:
    """Read a table with separators, all cells as text."""
    form = csv_form(path, name, "path")
    _check_columns(name, [column for column in form.header if column])
    n = len(form.header)
    numbers: list[int] = []
    wrong: dict[int, int] = {}
    n_most = n
    for row in csv_rows(path, name, form):
        if len(row.cells) < n or any(cell.strip() for cell in row.cells[n:]):
            wrong[len(numbers)] = len(row.cells)
        n_most = max(n_most, len(row.cells))
        numbers.append(row.number)
    try:
        frame = pd.read_csv(
            path,
            sep=form.separator,
            header=None,
            names=range(n_most),
            skiprows=form.n_before + 1,
            # A column of labels has few different cells: categories take a byte per row.
            dtype={
                i: "category" if i < n and form.header[i] in codes else "str" for i in range(n_most)
            },
            keep_default_na=False,  # NA and None may be codes; only an empty cell is empty
            na_values=[""],
            encoding="utf-8-sig",
            index_col=False,
            skip_blank_lines=False,
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame({i: pd.Series(dtype="str") for i in range(n_most)})
    except (ValueError, OverflowError) as error:  # pandas' ParserError is a ValueError
        reason = re.sub(r"^Error tokenizing data\. C error: ", "", one_line(error))
        raise ValueError(f"{name}: is no table of rows of equal length: {reason}") from error
    positions = np.array(numbers, np.int64)
    frame = frame.iloc[positions - 2, :n].reset_index(drop=True)
    frame.columns = [
        column or f"column {i + 1} (without a name)" for i, column in enumerate(form.header)
    ]
    unnamed = [column for column, text in zip(frame.columns, form.header, strict=True) if not text]
    empty = [column for column in unnamed if frame[column].isna().all()]
    return Rows(name, frame.drop(columns=empty), path.parent, positions, wrong)


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (ValueError, OSError, NotImplementedError) as error:
        raise ValueError(f"{name}: cannot be read as Parquet: {one_line(error)}") from error
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return _as_texts(frame, name)


def read_sql(
    source: str, query: str | None, setting: str = "data.table=", query_name: str = "data.query"
) -> tuple[str, pd.DataFrame]:
    """Return the address of a database without a password, and the rows of a query as texts.

    Parameters
    ----------
    source : str
        SQLAlchemy address, or ``env:NAME``.
    query : str, optional
    setting, query_name : str
        What is before the address on the command line, and the setting of the query, for errors.

    Raises
    ------
    ValueError
        As ``read_table``.
    """
    try:
        import sqlalchemy
    except ImportError:
        raise ValueError(
            f"{setting}: a database needs the package sqlalchemy: pip install 'ecg_siglip[sql]'"
        ) from None
    variable = source.removeprefix(ENVIRONMENT) if source.startswith(ENVIRONMENT) else None
    if variable is not None:
        address = os.environ.get(variable, "")
        if not address:
            raise ValueError(f"{setting}{source}: the environment has no variable {variable}")
    else:
        address = source
    try:
        url = sqlalchemy.engine.make_url(address)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(
            f"{setting}: expected the address of a database, such as sqlite:///ecgs.db"
        ) from None
    name = url.render_as_string(hide_password=True)
    if url.drivername in NO_DATABASES:
        raise ValueError(
            f"{setting}{name}: expected a file on this machine, or the address of a database"
        )
    if url.password and variable is None:
        raise ValueError(
            f"{setting}{name}: the settings of a run are stored, and a password must not be; "
            f"put the address into an environment variable and set {setting}{ENVIRONMENT}NAME"
        )
    if not query:
        raise ValueError(f"{setting}{name}: expected '{query_name}=\"SELECT path, ... FROM ...\"'")
    if url.get_backend_name() == "sqlite" and not _sqlite_exists(url.database):
        raise ValueError(f"{setting}{name}: {url.database} does not exist")
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            frame = pd.read_sql_query(
                sqlalchemy.text(query), connection, dtype_backend="numpy_nullable"
            )
    except ImportError as error:
        raise ValueError(f"{setting}{name}: its driver is missing: {one_line(error)}") from error
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
        reason = error.__cause__ or error  # pandas puts the query in front of it
        reason = getattr(reason, "orig", None) or reason
        raise ValueError(f"{setting}{name}: {one_line(reason)}") from None
    return name, _as_texts(frame, name)


def _sqlite_exists(database: str | None) -> bool:
    """Return whether a SQLite file exists; connecting to a missing one would create it."""
    return database is None or database == ":memory:" or Path(database).is_file()


def _as_texts(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a typed table as text; lists of findings stay lists, missing cells are NaN.

    Raises
    ------
    ValueError
        If another column has lists.
    """
    _check_columns(name, [str(column) for column in frame.columns])
    frame.columns = [str(column) for column in frame.columns]
    texts = frame.apply(_as_text)
    for column in texts.columns:
        if column in ("findings", "unknown") or texts[column].dtype != object:
            continue
        is_list = texts[column].map(lambda cell: isinstance(cell, list)).to_numpy(bool)
        if not is_list.any():
            continue
        if column != "leads" and column in COLUMNS:
            raise ValueError(f"{name}: column {shown(column)}: expected single values, got lists")
        texts[column] = texts[column].map(
            lambda cell: ",".join(map(str, cell)) if isinstance(cell, list) else cell
        )
    return texts


def _as_text(column: pd.Series) -> pd.Series:
    """Return the cells of a typed column as text; lists stay lists, missing cells NaN."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.astype(object).map({True: "1", False: "0"}).astype("category")
    # Columns of labels have few different cells: categories take a byte per row.
    if pd.api.types.is_integer_dtype(column.dtype):
        integers = column.astype(object)
        return integers.map(lambda x: np.nan if pd.isna(x) else str(int(x))).astype("category")
    if pd.api.types.is_numeric_dtype(column.dtype):
        # Integers with missing cells may arrive as floats, which have 15 digits.
        numbers = column.astype(object)
        texts = numbers.map(lambda x: np.nan if pd.isna(x) else f"{float(x):.15g}")
        return texts.astype("category")
    return column.astype(object).map(_cell_as_text)


def _cell_as_text(cell: Any) -> Any:
    """Return a cell as text, a list as a list without missing items, or NaN."""
    if isinstance(cell, (list, tuple, np.ndarray)):
        return [item for item in map(_cell_as_text, cell) if item == item]
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace")
    if cell is None or cell is pd.NA or cell != cell or cell == "":
        return np.nan
    return str(int(cell)) if isinstance(cell, float) and cell % 1 == 0 else str(cell)
