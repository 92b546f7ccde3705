"""Read tables in Parquet and Feather (Arrow IPC), for a process of its own (``isolated``)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.columns import MAX_COLUMNS, Column, is_lead, read_columns
from ecg_siglip.readers.json_formats import read_document
from ecg_siglip.readers.statements import read_statements
from ecg_siglip.readers.text_encoding import decode

MAX_LIST_ROWS = 100  # rows of lists of samples: one for each lead


def read_parquet(content: bytes) -> Stated:
    """Read a Parquet file; the metadata of its schema may state ``fs`` and ``units``.

    Parameters
    ----------
    content : bytes
        With one column per lead; columns of times, and of words, which are left out. Or one row
        whose cells are lists of samples, or one row per lead with its name and such a list.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If a column with the name of a lead has no numbers, the time does not increase in even
        steps, there are several recordings, or more than 1000 columns.
    """
    import pyarrow.parquet as pq

    return _read_table(pq.read_table(io.BytesIO(content), use_threads=False))


def read_feather(content: bytes) -> Stated:
    """Read a Feather file (Arrow IPC), as a Parquet file.

    Raises
    ------
    ValueError
        As ``read_parquet``.
    """
    import pyarrow as pa

    return _read_table(pa.ipc.open_file(pa.BufferReader(content)).read_all())


def _read_table(table: Any) -> Stated:
    """Return what an Arrow table states."""
    import pyarrow as pa

    if table.num_columns > MAX_COLUMNS:
        raise ValueError(f"expected at most {MAX_COLUMNS} columns, got {table.num_columns}")
    metadata = table.schema.metadata or {}
    pairs = [[decode(key), decode(value)] for key, value in metadata.items() if len(value) < 1000]
    if any(_is_list(field.type) for field in table.schema):
        if table.num_rows > MAX_LIST_ROWS:
            raise ValueError(f"{table.num_rows} rows of lists, expected one for each lead")
        rows = [
            {
                field.name: _cell(cells[i])
                for field, cells in zip(table.schema, table.columns, strict=True)
            }
            for i in range(table.num_rows)
        ]
        stated = read_document({"metadata": dict(pairs), "rows": rows})
        if stated is None:
            raise ValueError(
                f"no lists of samples of leads in {', '.join(table.column_names)[:100]}"
            )
        return stated
    header = read_statements(pairs)
    columns = []
    for field, values in zip(table.schema, table.columns, strict=True):
        if _is_numeric(field.type):
            columns.append(Column(field.name, values.to_numpy().astype(np.float64)))
        elif pa.types.is_timestamp(field.type) or pa.types.is_duration(field.type):
            per_s = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[field.type.unit]
            ticks = values.cast(pa.int64()).to_numpy().astype(np.float64)
            columns.append(Column(field.name, (ticks - ticks[:1]) / per_s, is_time=True))
        elif is_lead(field.name):
            raise ValueError(f"expected numbers, got {field.type} in column {field.name}")
    return read_columns(columns, header)


def _is_list(kind: Any) -> bool:
    """Return whether a type is a list of numbers."""
    import pyarrow as pa

    is_list = isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType))
    return is_list and _is_numeric(kind.value_type)


def _is_numeric(kind: Any) -> bool:
    """Return whether a type is one of real numbers."""
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _cell(cell: Any) -> Any:
    """Return a list of samples as an array, and any other value of a table as it is."""
    if not _is_list(cell.type):
        return cell.as_py()
    return [] if cell.values is None else cell.values.to_numpy(zero_copy_only=False).astype(float)
