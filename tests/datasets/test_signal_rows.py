"""Rows of memory-mapped signals: those of plain indexing, read when they are needed."""

import numpy as np
import pytest

from ecg_siglip.datasets.signal_rows import SignalRows


class Recorded(np.ndarray):
    """An array that records how many rows each index reads."""

    n_read: list[int]

    def __getitem__(self, index):
        value = np.asarray(self)[index]
        self.n_read.append(len(value))
        return value


@pytest.fixture
def signals():
    whole = np.random.default_rng(0).integers(-9, 9, (20, 12, 5)).astype(np.int16).view(Recorded)
    whole.n_read = []
    return whole


def test_a_slice_reads_its_own_rows_alone(signals):
    rows = np.array([3, 17, 4, 11, 0])
    chosen = SignalRows.of(signals, rows)
    assert signals.n_read == [] and chosen.shape == (5, 12, 5)
    np.testing.assert_array_equal(chosen[1:3], np.asarray(signals)[[17, 4]])
    assert signals.n_read == [2]


def test_all_rows_are_those_of_plain_indexing(signals):
    rows = np.array([3, 17, 4, 11, 0])
    np.testing.assert_array_equal(SignalRows.of(signals, rows)[:], np.asarray(signals)[rows])
