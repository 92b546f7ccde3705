"""File formats of the parts of a job: Parquet, CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ecg_siglip.archive.rows import SCHEMA_VERSION, Column, Row, count_records, table_row
from ecg_siglip.inference.prediction import json_line

LIST_SEPARATOR = "; "  # between the texts of one cell in CSV


class PartFormat(Protocol):
    """A file format: writes the rows of a block, and joins the files of all blocks.

    Attributes
    ----------
    suffix : str
        Of a file, with its dot.
    """

    suffix: str

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write rows to a new file."""
        ...

    def counts(self, path: Path) -> Counter[str]:
        """Return the number of records in a file by status, see ``rows.count_records``."""
        ...

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the rows of several files to a new one, one part in memory at a time."""
        ...


class JsonLines:
    """Rows as JSON objects, one per line: what ``predict`` prints, with status and reason."""

    suffix = ".jsonl"

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write rows to a new file."""
        path.write_text("".join(f"{json_line(row)}\n" for row in rows), "utf-8", newline="\n")

    def counts(self, path: Path) -> Counter[str]:
        """Return the number of records in a file by status."""
        with open(path, encoding="utf-8") as file:
            rows = map(json.loads, file)
            return count_records((row["status"], row.get("window")) for row in rows)

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the lines of several files to a new one."""
        with open(path, "wb") as out:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, out)


class Csv:
    """Rows as a text table (UTF-8, comma, names of the columns in the first row).

    Parameters
    ----------
    columns : sequence of Column
    """

    suffix = ".csv"

    def __init__(self, columns: Sequence[Column]):
        self.columns = columns

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write rows to a new file; several texts of a cell are joined with ``"; "``."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        for row in rows:
            writer.writerow(map(_csv_cell, table_row(row, self.columns)))
        path.write_text(buffer.getvalue(), "utf-8", newline="\n")

    def counts(self, path: Path) -> Counter[str]:
        """Return the number of records in a file by status."""
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return count_records(
                (row["status"], int(row["window"]) if row.get("window") else None) for row in rows
            )

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the rows of several files to a new one, with the header of the first."""
        with open(path, "wb") as out:
            for i, part in enumerate(parts):
                with open(part, "rb") as file:
                    header = file.readline()
                    out.write(header if i == 0 else b"")
                    shutil.copyfileobj(file, out)


class Parquet:
    """Rows as a Parquet table; the version of the columns is also in its metadata.

    Parameters
    ----------
    columns : sequence of Column
    """

    suffix = ".parquet"

    def __init__(self, columns: Sequence[Column]):
        import pyarrow as pa

        types = {"int": pa.int32(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
        types["texts"] = pa.list_(pa.string())
        self.columns = columns
        fields = [
            pa.field(column.name, types[column.kind], metadata={"description": column.doc})
            for column in columns
        ]
        self.schema = pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION)})

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write rows to a new file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        cells = [table_row(row, self.columns) for row in rows]
        columns = [list(column) for column in zip(*cells, strict=True)]
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns or [[] for _ in self.schema], self.schema, strict=True)
        ]
        pq.write_table(pa.Table.from_arrays(arrays, schema=self.schema), path, compression="zstd")

    def counts(self, path: Path) -> Counter[str]:
        """Return the number of records in a file by status."""
        import pyarrow.parquet as pq

        names = [name for name in ("status", "window") if name in self.schema.names]
        table = pq.read_table(path, columns=names).to_pydict()
        windows = table.get("window") or [None] * len(table["status"])
        return count_records(zip(table["status"], windows, strict=True))

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the rows of several files to a new one, with a row group for each."""
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, self.schema, compression="zstd") as out:
            for part in parts:
                out.write_table(pq.read_table(part, schema=self.schema))


def _csv_cell(cell: Any) -> Any:
    """Return a cell as it is written to CSV: no None, no list."""
    if isinstance(cell, list):
        return LIST_SEPARATOR.join(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else cell
