"""Signals of several caches, or of some of their records, as one array that is read by rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SignalRows:
    """Chosen rows of memory-mapped arrays, one array after the other.

    Parameters
    ----------
    parts : sequence of array of shape (n, 12, n_samples), int16, uV
        They stay on disk: only the rows of an index are read.
    rows : sequence of ndarray of int64
        Rows of each part, in the order of the result.

    Notes
    -----
    Supports what training and evaluation need of an array: ``len``, ``shape``, ``nbytes``, and
    ``[...]`` with a slice, a row or an array of rows; the result is an ndarray.
    """

    def __init__(
        self, parts: Sequence[np.ndarray | SignalRows], rows: Sequence[np.ndarray]
    ) -> None:
        self.parts = list(parts)
        self.part_of = np.repeat(np.arange(len(parts)), [len(each) for each in rows])
        self.row_of = np.concatenate([np.asarray(each, np.int64) for each in rows])
        self.shape: tuple[int, ...] = (len(self.row_of), *parts[0].shape[1:])
        self.dtype: np.dtype[np.int16] = parts[0].dtype

    @classmethod
    def of(cls, signals: np.ndarray | SignalRows, rows: np.ndarray) -> SignalRows:
        """Return rows of a memory-mapped array that are read when they are needed."""
        return cls([signals], [rows])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size of all rows in memory."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        part_of, row_of = self.part_of[index], self.row_of[index]
        if np.ndim(part_of) == 0:
            row: np.ndarray = self.parts[part_of][row_of]
            return row
        signals = np.empty((len(row_of), *self.shape[1:]), self.dtype)
        for number, part in enumerate(self.parts):
            mine = np.flatnonzero(part_of == number)
            signals[mine] = part[row_of[mine]]
        return signals
