"""Wrong cells of a table: the first one is raised as an error, or all of them are collected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

N_EXAMPLES = 20  # cells of a kind that are listed


class NumberedRows(Protocol):
    """Rows of a table, such as ``table_file.Table``."""

    @property
    def row_numbers(self) -> np.ndarray:
        """Number of each row as a spreadsheet shows it."""

    def where(self, row: int, column: str = "") -> str:
        """Return the name of a cell or, without a column, of a row, for messages."""


@dataclass(frozen=True)
class WrongCell:
    """A wrong cell.

    Attributes
    ----------
    row : int
        Number of the row as a spreadsheet shows it.
    column, message : str
    """

    row: int
    column: str
    message: str


@dataclass
class WrongCells:
    """Wrong cells of one kind.

    Attributes
    ----------
    n : int
        How many there are.
    n_subjects : int
        How many things, for example codes, they have in common.
    cells : list of WrongCell
        The first ``N_EXAMPLES`` of them.
    """

    n: int = 0
    n_subjects: int = 1
    cells: list[WrongCell] = field(default_factory=list)


class Problems:
    """Wrong cells as a table is parsed.

    Parameters
    ----------
    collect : bool
        Collect them in ``found``, by kind and subject, instead of raising the first one.
    """

    def __init__(self, collect: bool = False) -> None:
        self.collect = collect
        self.found: dict[tuple[str, str], WrongCells] = {}

    def add(
        self,
        kind: str,
        table: NumberedRows,
        column: str,
        rows: np.ndarray,
        message: str | Callable[[int], str],
        *,
        n: int | None = None,
        subject: str = "",
        n_subjects: int = 1,
    ) -> None:
        """Raise, or collect, that some cells of a column are wrong.

        Parameters
        ----------
        kind : str
            What is wrong.
        table : NumberedRows
        column : str
            Empty if the whole row is wrong.
        rows : ndarray of int
            Positions of the rows, in order; nothing happens if there is none.
        message : str, or function of int to str
            What is wrong in a row.
        n : int, optional
            Number of wrong cells, if `rows` has only some of them.
        subject : str
            What the cells have in common, for example a code.
        n_subjects : int
            How many things these are.

        Raises
        ------
        ValueError
            Naming table, row and column, unless problems are collected.
        """
        if not len(rows):
            return
        texts = (message if isinstance(message, str) else message(int(row)) for row in rows)
        if not self.collect:
            raise ValueError(f"{table.where(int(rows[0]), column)}: {next(texts)}")
        entry = self.found.setdefault((kind, subject), WrongCells(0, n_subjects))
        entry.n += len(rows) if n is None else n
        for row, text in zip(rows[: N_EXAMPLES - len(entry.cells)], texts, strict=False):
            entry.cells.append(WrongCell(int(table.row_numbers[row]), column, text))
