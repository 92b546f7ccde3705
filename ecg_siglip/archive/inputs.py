"""Inputs of a job: the records that paths, patterns, folders, lists, tables and stdin name."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecg_siglip.core.csv_text import csv_form, csv_rows
from ecg_siglip.core.files import one_line, shown
from ecg_siglip.readers.folders import Found, Skipped, choose_records, expand_paths

STDIN = "-"
LIST = "@"  # before the name of a list or table of paths
# Names of a column with paths, the first that a table has.
PATH_COLUMNS = ("path", "record", "file", "filename", "file_name", "filepath", "ecg_path")
TABLES = (".csv", ".tsv", ".parquet")
DATABASE = "env:"
WFDB_PARTS = (".dat", ".mat")


@dataclass(frozen=True)
class Inputs:
    """The records of a job.

    Attributes
    ----------
    paths : list of str
        In the order in which they were named or found, each one time.
    skipped : Skipped
        What else the folders contain, and what else matches the patterns.
    n_repeated : int
        Records that were named again.
    """

    paths: list[str]
    skipped: Skipped
    n_repeated: int = 0

    def in_words(self) -> str:
        """Return what was found next to the records, on one line."""
        parts = [f"predict: {len(self.paths):,} record{'s' * (len(self.paths) != 1)} found"]
        for is_ecg, word in ((True, "not read"), (False, "skipped")):
            if text := self.skipped.in_words(is_ecg):
                parts.append(f"{word}: {text}")
        return "; ".join(parts)


def find_inputs(
    records: Sequence[str],
    column: str | None = None,
    query: str | None = None,
    leads_given: bool = True,
    out: str | None = None,
) -> Inputs:
    """Find the records that the setting ``records`` names.

    Parameters
    ----------
    records : sequence of str
        Records; folders: every record below them; patterns with ``*``, ``?``, ``[...]`` or ``**``
        (any folders), unless there is a file of that name; ``-``: paths from stdin; ``@FILE``: a
        list with a path per line, or the column of a table (CSV, TSV, Parquet); ``@ADDRESS``: the
        column of a query in a database. Paths are separated by line breaks or, if there are any,
        by zero bytes. Relative ones begin at the current folder.
    column : str, optional
        Of the table or query; None: its only column, or the first of ``PATH_COLUMNS``.
    query : str, optional
    leads_given : bool
        See ``folders.expand_paths``.
    out : str, optional
        Where the job writes: nothing there is an input.

    Returns
    -------
    Inputs

    Raises
    ------
    ValueError
        If there is no record, a pattern matches nothing, or a list, table or database cannot be
        read, is empty or lacks the column.
    """
    skipped = Skipped()
    named: list[str] = []
    for text in records:
        named += _expand(text, column, query, skipped, leads_given)
    found = expand_paths(named, leads_given) if named or not records else Found([], Skipped())
    skipped.update(found.skipped)
    paths, seen, n_repeated = [], set(), 0
    written = _written_by(out)
    for path in found.paths:
        key = _identity(path)
        if written and key.startswith(written):
            continue
        n_repeated += key in seen
        if key not in seen:
            seen.add(key)
            paths.append(path)
    if not paths:
        kinds = ", ".join(filter(None, (skipped.kinds(is_ecg) for is_ecg in (True, False))))
        raise ValueError(
            f"records={shown(','.join(records))}: no record there{kinds and f', but {kinds}'}"
        )
    return Inputs(paths, skipped, n_repeated)


def _written_by(out: str | None) -> tuple[str, ...]:
    """Return how the paths begin that a job writes."""
    if out is None or "://" in out:
        return ()
    path = os.path.abspath(out)
    folder, name = os.path.split(path)
    is_file = os.path.splitext(name)[1] and not os.path.isdir(path)
    return (path, os.path.join(folder, f".{name}.")) if is_file else (path + os.sep,)


def _expand(
    text: str, column: str | None, query: str | None, skipped: Skipped, leads_given: bool
) -> list[str]:
    """Return the paths that one item of ``records`` names; folders are not searched yet."""
    if text == STDIN:
        return _lines(sys.stdin.buffer.read())
    if text.startswith(LIST) and not os.path.lexists(text):
        return _listed(text[len(LIST) :], column, query)
    if "://" in text or os.path.lexists(text) or not glob.has_magic(text):
        return [text]
    matches = sorted(glob.glob(text, recursive=True))
    if not matches:
        raise ValueError(f"records: {shown(text)}: no file matches")
    folders = [path for path in matches if os.path.isdir(path)]
    files = [path for path in matches if not os.path.isdir(path)]
    # "**" also matches the folders above the files that it matches.
    is_deep = "**" in text and bool(files)
    return choose_records(files, skipped, leads_given) + ([] if is_deep else folders)


def _listed(source: str, column: str | None, query: str | None) -> list[str]:
    """Return the paths of a list, a table or a database."""
    if "://" in source or source.startswith(DATABASE):
        from ecg_siglip.datasets.table_file import read_sql

        name, frame = read_sql(source, query, "records=@", "records_query")
        column = _choose_column([str(each) for each in frame.columns], column, name)
        return _checked([str(cell) for cell in frame[column].dropna()], name)
    path, name = Path(source), shown(source)
    if not path.is_file():
        raise ValueError(f"records=@{name}: no such file; expected a list or table of paths")
    if path.suffix.lower() not in TABLES:
        return _checked(_lines(path.read_bytes()), name)
    if path.suffix.lower() == ".parquet":
        return _checked(list(_parquet_cells(path, column, name)), name)
    form = csv_form(path, name, column or "")
    i = form.header.index(_choose_column(form.header, column, name))
    cells = (row.cells[i].strip() for row in csv_rows(path, name, form) if i < len(row.cells))
    return _checked([cell for cell in cells if cell], name)


def _parquet_cells(path: Path, column: str | None, name: str) -> Iterator[str]:
    """Yield the paths of a Parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        column = _choose_column(file.schema_arrow.names, column, name)
        for batch in file.iter_batches(columns=[column]):
            yield from (str(cell) for cell in batch.column(0).to_pylist() if cell is not None)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{name}: cannot be read as Parquet: {one_line(error)}") from None


def _choose_column(columns: Sequence[str], column: str | None, name: str) -> str:
    """Return the column with the paths."""
    for each in [column] if column is not None else PATH_COLUMNS:
        if each in columns:
            return each
    if column is None and len(columns) == 1:
        return columns[0]
    wanted = "none of the columns holds paths" if column is None else f"no column {shown(column)}"
    raise ValueError(
        f"records=@{name}: {wanted}; expected records_column={'|'.join(map(shown, columns[:12]))}"
    )


def _checked(paths: list[str], name: str) -> list[str]:
    """Return paths, at least one."""
    if not paths:
        raise ValueError(f"records=@{name}: names no record; expected at least one path")
    return paths


def _lines(content: bytes) -> list[str]:
    """Return the paths in a list."""
    separator = b"\0" if b"\0" in content else b"\n"
    lines = content.removeprefix(b"\xef\xbb\xbf").split(separator)
    return [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]


def _identity(path: str) -> str:
    """Return the same text for the same record, by whatever part of it and relative to what."""
    whole = os.path.abspath(path)
    stem, suffix = os.path.splitext(whole)
    if suffix == ".hea" or (suffix in WFDB_PARTS and os.path.exists(f"{stem}.hea")):
        return stem
    return whole
