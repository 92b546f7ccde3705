"""Find the same ECG in several places by its signal, whatever file it came from."""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
from tqdm import tqdm

N_SKETCH = 64  # random projections per ECG
SKETCH_COSINE = 0.6  # least cosine of two sketches for a comparison of the signals
CORRELATION = 0.9  # least mean correlation of the leads of two copies
N_READ, N_COMPARE = 512, 2048  # records read, and sketches compared, at one time


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
    (docs/LOG.md). Copies that are shifted in time are not found.
    """
    n = signals.shape[0]
    if sketches is None:
        starts = tqdm(range(0, n, N_READ), "duplicates", disable=None if progress else True)
        parts = [sketch(signals[np.arange(start, min(start + N_READ, n))]) for start in starts]
        sketches = np.concatenate([np.empty((0, N_SKETCH), np.float32), *parts])
    first_copy: dict[int, int] = {}
    for start in range(0, n, N_COMPARE):
        stop = min(start + N_COMPARE, n)
        for other in range(0, stop, N_COMPARE):
            cosines = sketches[start:stop] @ sketches[other : other + N_COMPARE].T
            later, earlier = np.nonzero(cosines > SKETCH_COSINE)
            later, earlier = later + start, earlier + other
            for i, j in zip(later[earlier < later], earlier[earlier < later], strict=True):
                if int(i) not in first_copy and _correlation(signals, int(i), int(j)) > CORRELATION:
                    first_copy[int(i)] = first_copy.get(int(j), int(j))
    return sorted((first, later) for later, first in first_copy.items())


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
