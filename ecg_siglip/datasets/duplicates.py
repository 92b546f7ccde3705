"""Find the same ECG in several places by its signal, whatever file it came from."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from tqdm import tqdm

N_SKETCH = 64  # random projections per ECG
SKETCH_COSINE = 0.6  # least cosine of two sketches for a comparison of the signals
CORRELATION = 0.9  # least mean correlation of the leads of two copies
N_READ, N_COMPARE = 512, 2048  # records read, and sketches compared, at one time
N_EXACT = 20_000  # records of which every pair of sketches is compared
# Of more records, only pairs that share the signs of some dimensions of their sketches: about
# N_BUCKET records share them by chance. Copies with a correlation of 0.9 have each sign in common
# with a probability of 0.86, and one of the tables finds them with 0.99 for a million records.
N_BUCKET, N_TABLES = 512, 24


class Signals(Protocol):
    """Signals of shape (n_records, 12, n_samples): an array, or rows that are read on demand."""

    shape: tuple[int, ...]

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


def find_duplicates(
    signals: Signals, progress: bool = False, sketches: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Find pairs of records with the same ECG.

    Parameters
    ----------
    signals : array of shape (n_records, 12, n_samples), int16
        Prepared signals; copies may have been resampled, filtered or scaled per lead.
    progress : bool
        Show a bar on stderr if that is a terminal.
    sketches : ndarray of shape (n_records, 64), float32, optional
        What ``sketch`` returns of the signals, if it has been computed.

    Returns
    -------
    list of (int, int)
        Rows of two copies, the earlier one first; of several copies, each with the first.

    Notes
    -----
    Pairs with similar sketches are compared in full: copies have a mean correlation of the leads of
    at least 0.9. Among 3,835 ECGs of PTB-XL, the highest correlation of two recordings is far below
    (docs/LOG.md). Copies that are shifted in time are not found. Of more than 20,000 records, only
    those with common signs in their sketches are compared, so that the time grows with their
    number and not with its square; a few copies that differ much may then not be found.
    """
    n = signals.shape[0]
    if sketches is None:
        sketches = sketch_rows(signals, np.arange(n), progress)
    first_copy: dict[int, int] = {}
    different: set[tuple[int, int]] = set()
    for bucket in tqdm(_buckets(sketches), "copies", disable=None if progress else True):
        for start in range(0, len(bucket), N_COMPARE):
            for other in range(0, start + 1, N_COMPARE):
                rows = [
                    i for i in bucket[start : start + N_COMPARE].tolist() if i not in first_copy
                ]
                for i, j in _similar(sketches, np.array(rows, int), bucket[other:][:N_COMPARE]):
                    if i in first_copy or (i, j) in different:
                        continue
                    if _correlation(signals, i, j) > CORRELATION:
                        first_copy[i] = j
                    else:
                        different.add((i, j))
    for later in sorted(first_copy):
        first_copy[later] = first_copy.get(first_copy[later], first_copy[later])
    return sorted((first, later) for later, first in first_copy.items())


def _buckets(sketches: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows, in order, whose sketches are compared; flat records are in none."""
    rows = np.flatnonzero(sketches.any(1))
    if len(rows) <= N_EXACT:
        yield rows
        return
    rng, n_signs = np.random.default_rng(0), math.ceil(math.log2(len(rows) / N_BUCKET))
    for _ in range(N_TABLES):
        chosen = rng.choice(sketches.shape[1], n_signs, replace=False)
        signs = (sketches[np.ix_(rows, chosen)] > 0) @ (1 << np.arange(n_signs))
        order = np.argsort(signs, kind="stable")
        yield from np.split(rows[order], np.flatnonzero(np.diff(signs[order])) + 1)


def _similar(sketches: np.ndarray, rows: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of a row and an earlier one whose sketches are similar."""
    a, b = np.nonzero(sketches[rows] @ sketches[others].T > SKETCH_COSINE)
    is_earlier = others[b] < rows[a]
    return list(zip(rows[a[is_earlier]].tolist(), others[b[is_earlier]].tolist(), strict=True))


def sketch_rows(signals: Signals, rows: np.ndarray, progress: bool = False) -> np.ndarray:
    """Return what ``sketch`` does of some records, a few of which are read at a time."""
    starts = tqdm(range(0, len(rows), N_READ), "duplicates", disable=None if progress else True)
    parts = [sketch(signals[rows[start : start + N_READ]]) for start in starts]
    return np.concatenate([np.empty((0, N_SKETCH), np.float32), *parts])


def sketch(signals: np.ndarray) -> np.ndarray:
    """Return a short description of each ECG by which copies are found.

    Parameters
    ----------
    signals : ndarray of shape (n_records, 12, n_samples), int16

    Returns
    -------
    ndarray of shape (n_records, 64), float32
        Of unit norm; 0 if all leads are flat.

    Notes
    -----
    Each lead is brought to unit norm, and all of them are projected on 64 random directions, which
    keeps cosines to about 0.12.
    """
    projected = _unit_leads(signals).reshape(len(signals), -1) @ _directions(signals.shape[1:])
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    unit: np.ndarray = projected / np.maximum(norms, 1e-12)
    return unit


@functools.lru_cache(1)
def _directions(shape: tuple[int, ...]) -> np.ndarray:
    """Return the random directions for signals of a shape, (n_leads * n_samples, 64)."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((int(np.prod(shape)), N_SKETCH), np.float32)


def _unit_leads(signals: np.ndarray) -> np.ndarray:
    """Return signals with each lead centred and of unit norm, float32; a flat lead is 0."""
    centred = signals - signals.mean(axis=2, keepdims=True, dtype=np.float32)
    norms = np.linalg.norm(centred, axis=2, keepdims=True)
    unit: np.ndarray = centred / np.maximum(norms, 1e-6)
    return unit


def _correlation(signals: Signals, i: int, j: int) -> float:
    """Return the mean correlation of the leads of two records; flat leads do not count."""
    a, b = _unit_leads(signals[np.array([i, j])])
    correlations = (a * b).sum(1)
    used = (np.abs(a).sum(1) > 0) & (np.abs(b).sum(1) > 0)
    return float(correlations[used].mean()) if used.any() else 0.0
