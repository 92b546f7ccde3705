"""Rows of a job in a table of a SQL database, through SQLAlchemy: SQLite, PostgreSQL and others.

The rows of a block are written in one transaction under the primary key (block, number), so a block
is in the table as a whole or not at all, and never twice. A second table, ``<table>_job``, states
what the job is and which blocks are finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecg_siglip.archive.outputs import Job
from ecg_siglip.archive.part_formats import LIST_SEPARATOR
from ecg_siglip.archive.rows import Column, Row, count_records, table_row
from ecg_siglip.core.files import hold, one_line, shown

if TYPE_CHECKING:
    import sqlalchemy

ENVIRONMENT = "env:"  # before the name of an environment variable that holds an address
DATABASES = (
    "sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql", "duckdb", "cockroachdb",
    "redshift", "snowflake", "bigquery", "databricks", "clickhouse", "trino",
)  # fmt: skip
ADDRESS = re.compile(rf"({'|'.join(DATABASES)})(\+\w+)?://", re.IGNORECASE)
KEYS = ("block", "number")
JOB_ROW = -1  # in place of the number of a block: the description of the job
MAX_NAME = 60  # characters; PostgreSQL keeps 63 of a name


class SqlOutput:
    """A table of a SQL database with the rows of a job.

    Parameters
    ----------
    address : str
        SQLAlchemy address (``postgresql+psycopg://user@host/database``, ``sqlite:///file.db``), or
        ``env:NAME`` for one that the environment variable NAME holds.
    columns : sequence of Column
    table : str

    Raises
    ------
    ValueError
        If SQLAlchemy or the driver is missing, it is no address, or no name of a table.
    """

    def __init__(self, address: str, columns: Sequence[Column], table: str = "predictions"):
        sql = _sqlalchemy()
        url = _url(address)
        if not re.fullmatch(r"[A-Za-z_]\w{0,50}", table, re.ASCII):
            raise ValueError(f"out_table={shown(table)}: expected letters, digits and _ alone")
        self.name = shown(f"{url.render_as_string(hide_password=True)} ({table})", 200)
        self.columns = columns
        self.file = _sqlite_file(url)
        try:
            # A connection that is closed, not kept for later, gives its lock back.
            self.engine = sql.create_engine(url, hide_parameters=True, poolclass=sql.pool.NullPool)
        except (ImportError, sql.exc.SQLAlchemyError) as error:
            raise ValueError(f"out={self.name}: {one_line(error)}") from None
        types = {"int": sql.Integer, "float": sql.Double, "bool": sql.Boolean}
        cells = [
            sql.Column(name, types.get(column.kind, sql.Text), comment=column.doc)
            for name, column in zip(column_names(columns), columns, strict=True)
        ]
        keys = [sql.Column(n, sql.Integer, primary_key=True, autoincrement=False) for n in KEYS]
        self.metadata = sql.MetaData()
        self.table = sql.Table(table, self.metadata, *keys, *cells)
        self.jobs = sql.Table(
            f"{table}_job",
            self.metadata,
            sql.Column("block", sql.Integer, primary_key=True, autoincrement=False),
            sql.Column("content", sql.Text, nullable=False),
        )

    def hold(self, wait_s: float) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from writing to the table, in SQLite and PostgreSQL."""
        if self.file is not None:
            return hold(self.file, wait_s)
        return self._hold_in_database()

    @contextlib.contextmanager
    def _hold_in_database(self) -> Iterator[None]:
        """Hold a lock of PostgreSQL, which ends with the connection of the process."""
        if self.engine.dialect.name != "postgresql":
            yield
            return
        digest = hashlib.sha256(f"ecg_siglip {self.table.name}".encode()).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        with contextlib.ExitStack() as stack:
            with self._errors():
                connection = stack.enter_context(self.engine.connect())
                query = _sqlalchemy().text("SELECT pg_try_advisory_lock(:number)")
                is_free = connection.execute(query, {"number": number}).scalar()
                connection.commit()
            if not is_free:
                raise ValueError(
                    f"out={self.name}: in use by another process; wait until it has finished"
                )
            yield

    def read_job(self) -> Job | None:
        """Return the job of the table; None if there is no such table.

        Raises
        ------
        ValueError
            If there is a table of that name that another program made.
        """
        with self._errors():
            if self.file is not None and not self.file.exists():
                return None
            known = set(_sqlalchemy().inspect(self.engine).get_table_names())
            if self.jobs.name in known:
                with self.engine.connect() as connection:
                    text = connection.scalar(self._content(JOB_ROW))
                if text is not None:
                    job = dict(json.loads(text))
                    is_whole = len(self.finished()) == job["n_blocks"]
                    return job | {"complete": bool(job.get("complete")) and is_whole}
        if self.table.name in known:
            raise ValueError(
                f"out={self.name}: the database has a table {self.table.name} that predict did not "
                "make; expected another name (out_table)"
            )
        return None

    def write_job(self, job: Job) -> None:
        """Make the tables if necessary and store what the job is."""
        content = json.dumps(job)
        with self._errors():
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.engine.begin() as connection:
                self.metadata.create_all(connection)
                self._replace(connection, JOB_ROW, content)

    def clear(self) -> None:
        """Remove both tables."""
        with self._errors(), self.engine.begin() as connection:
            self.metadata.drop_all(connection)

    def finished(self) -> set[int]:
        """Return the numbers of the blocks that are stored."""
        return set(self._finished())

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Store the rows of a block in one transaction."""
        counts = count_records((row["status"], row.get("window")) for row in rows)
        names = column_names(self.columns)
        cells = [
            dict(zip(names, map(_cell, table_row(row, self.columns)), strict=True))
            | {"block": block, "number": number}
            for number, row in enumerate(rows)
        ]
        with self._errors(), self.engine.begin() as connection:
            connection.execute(self.table.delete().where(self.table.c.block == block))
            if cells:
                connection.execute(self.table.insert(), cells)
            self._replace(connection, block, json.dumps(counts))

    def counts(self) -> Counter[str]:
        """Return the number of stored records by status."""
        return sum(map(Counter, self._finished().values()), Counter())

    def finish(self, n_blocks: int) -> None:
        """Check that every block is stored.

        Raises
        ------
        ValueError
            If rows were removed while the job ran.
        """
        missing = sorted(set(range(n_blocks)) - self.finished())
        if missing:
            raise ValueError(
                f"out={self.name}: block {missing[0]} was removed while the job ran; repeat it"
            )

    def tidy(self) -> None:
        """Leave the second table: it states what the rows were made from."""

    def _finished(self) -> dict[int, dict[str, int]]:
        """Return the counts of the blocks that are stored."""
        query = self.jobs.select().where(self.jobs.c.block != JOB_ROW)
        with self._errors(), self.engine.connect() as connection:
            rows = connection.execute(query).all()
        return {block: json.loads(content) for block, content in rows}

    def _content(self, block: int) -> Any:
        return _sqlalchemy().select(self.jobs.c.content).where(self.jobs.c.block == block)

    def _replace(self, connection: sqlalchemy.Connection, block: int, content: str) -> None:
        """Store the description of the job or the counts of a block."""
        connection.execute(self.jobs.delete().where(self.jobs.c.block == block))
        connection.execute(self.jobs.insert(), {"block": block, "content": content})

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn an error of the database into one line without a password and without rows."""
        try:
            yield
        except (_sqlalchemy().exc.SQLAlchemyError, ImportError) as error:
            reason = one_line(getattr(error, "orig", None) or error)
            raise OSError(f"out={self.name}: {reason}") from None


def is_database(out: str) -> bool:
    """Return whether an output is the address of a database.

    Examples
    --------
    >>> is_database("sqlite:///x.db"), is_database("env:ECG_DATABASE"), is_database("x.parquet")
    (True, True, False)
    """
    return bool(ADDRESS.match(out)) or out.startswith(ENVIRONMENT)


def column_names(columns: Sequence[Column]) -> list[str]:
    """Return the names of columns in a database, which need no quotes there.

    Examples
    --------
    >>> names = ("record", "probability/LAO/LAE", "rate [1/min]")
    >>> column_names([Column(name, "float", "") for name in names])
    ['record', 'probability_lao_lae', 'rate_1_min']
    """
    names: list[str] = []
    for column in columns:
        plain = re.sub(r"[^0-9a-z]+", "_", column.name.lower()).strip("_") or "column"
        name, n = plain[:MAX_NAME], 1
        while name in (*names, *KEYS):
            n += 1
            name = f"{plain[: MAX_NAME - 4]}_{n}"
        names.append(name)
    return names


def _cell(value: Any) -> Any:
    """Return a cell as databases take it: texts of a list joined, no characters they refuse."""
    if isinstance(value, list):
        value = LIST_SEPARATOR.join(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return value


def _url(address: str) -> sqlalchemy.URL:
    """Return the address of a database, which an environment variable may hold."""
    sql = _sqlalchemy()
    where = "out"
    if address.startswith(ENVIRONMENT):
        variable = address.removeprefix(ENVIRONMENT)
        where, address = f"out={address}", os.environ.get(variable, "")
        if not address:
            raise ValueError(f"{where}: the environment has no variable {variable}")
    try:
        return sql.engine.make_url(address)
    except sql.exc.ArgumentError:
        raise ValueError(
            f"{where}: expected the address of a database, such as sqlite:///predictions.db"
        ) from None


def _sqlite_file(url: sqlalchemy.URL) -> Path | None:
    """Return the file of a SQLite database; None for any other."""
    if url.get_backend_name() != "sqlite":
        return None
    if url.database in (None, "", ":memory:"):
        raise ValueError("out: a SQLite database in memory is lost; expected sqlite:///file.db")
    return Path(str(url.database))


def _sqlalchemy() -> Any:
    """Return SQLAlchemy.

    Raises
    ------
    ValueError
        If it is not installed.
    """
    try:
        import sqlalchemy
    except ImportError:
        raise ValueError(
            "out: a database needs the package sqlalchemy: pip install 'ecg_siglip[sql]'"
        ) from None
    return sqlalchemy
