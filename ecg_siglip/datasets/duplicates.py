"""Find the same ECG in several places by its signal, whatever file it came from."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from ecg_siglip.datasets.signal_rows import SignalRows

N_SKETCH = 64  # random projections per ECG
SKETCH_COSINE = 0.6  # least cosine of two sketches for a comparison of the signals
CORRELATION = 0.9  # least mean correlation of the leads of two copies
N_READ, N_COMPARE = 512, 2048  # records read, and sketches compared, at one time


def find_duplicates(
    signals: np.ndarray | SignalRows, progress: bool = False
) -> list[tuple[int, int]]:
    """Find pairs of records with the same ECG.

    Parameters
    ----------
    signals : array of shape (n_records, 12, n_samples), int16
        Prepared signals; copies may have been resampled, filtered or scaled per lead.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    list of (int, int)
        Rows of two copies, the earlier one first; of several copies, each with the first.

    Notes
    -----
    Each lead is brought to unit norm, and all of them are projected on 64 random directions, which
    keeps cosines to about 0.12. Pairs with similar sketches are compared in full: copies have a
    mean correlation of the leads of at least 0.9. Among 3,835 ECGs of PTB-XL, the highest
    correlation of two recordings is far below (docs/LOG.md). Copies that are shifted in time are
    not found.
    """
    n = len(signals)
    directions = np.random.default_rng(0).standard_normal(
        (int(np.prod(signals.shape[1:])), N_SKETCH), np.float32
    )
    sketches = np.empty((n, N_SKETCH), np.float32)
    starts = range(0, n, N_READ)
    for start in tqdm(starts, "duplicates", disable=None if progress else True):
        rows = slice(start, min(start + N_READ, n))
        projected = _unit_leads(signals[rows]).reshape(rows.stop - start, -1) @ directions
        norms = np.linalg.norm(projected, axis=1, keepdims=True)
        sketches[rows] = projected / np.maximum(norms, 1e-12)
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


def _unit_leads(signals: np.ndarray) -> np.ndarray:
    """Return signals with each lead centred and of unit norm, float32; a flat lead is 0."""
    centred = signals - signals.mean(axis=2, keepdims=True, dtype=np.float32)
    norms = np.linalg.norm(centred, axis=2, keepdims=True)
    unit: np.ndarray = centred / np.maximum(norms, 1e-6)
    return unit


def _correlation(signals: np.ndarray | SignalRows, i: int, j: int) -> float:
    """Return the mean correlation of the leads of two records; flat leads do not count."""
    a, b = _unit_leads(signals[np.array([i, j])])
    correlations = (a * b).sum(1)
    used = (np.abs(a).sum(1) > 0) & (np.abs(b).sum(1) > 0)
    return float(correlations[used].mean()) if used.any() else 0.0
