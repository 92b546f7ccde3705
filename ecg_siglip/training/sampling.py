"""Which training records an epoch has, and in which order."""

from __future__ import annotations

import numpy as np

from ecg_siglip.datasets.records import LabelledRecords


def select_share(rows: np.ndarray, ecg_id: np.ndarray, share: float) -> np.ndarray:
    """Select a share of the rows, for learning curves.

    A smaller share is part of a larger one. The selection is a function of ``ecg_id`` alone, not
    of the seed of the run: runs that differ in the seed are trained on the same records.
    """
    if share == 1.0:
        return rows
    uniform = [np.random.default_rng([0, int(number)]).random() for number in ecg_id[rows]]
    selected = np.argsort(uniform, kind="stable")[: max(1, round(share * len(rows)))]
    return rows[np.sort(selected)]


def row_weights(data: LabelledRecords, rows: np.ndarray, temperature: float) -> np.ndarray | None:
    """Return how often each training record is in an epoch, on average.

    Parameters
    ----------
    data : LabelledRecords
    rows : ndarray of shape (n,), int64
        The training records.
    temperature : float, 1 or more
        A data set of ``m`` records has a share of the epoch proportional to ``m ** (1 /
        temperature)``.

    Returns
    -------
    ndarray of shape (n,), float64, mean 1; or None
        None: each record once, since all weights are equal.

    Raises
    ------
    ValueError
        If no record has a weight above 0.
    """
    weight = np.ones(len(rows)) if data.weight is None else data.weight[rows].astype(np.float64)
    if not weight.sum() > 0:
        raise ValueError("weight: no training record has a weight above 0")
    total = np.bincount(data.source_of[rows], weight, len(data.sources))
    weight = weight * (np.maximum(total, 1e-12) ** (1 / temperature - 1))[data.source_of[rows]]
    weight *= len(rows) / weight.sum()
    return None if np.allclose(weight, 1.0) else weight


def draw_epoch(rows: np.ndarray, weight: np.ndarray | None, seed: list[int]) -> np.ndarray:
    """Return the records of an epoch in random order, as many as there are.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
    weight : ndarray of shape (n,), mean 1, optional
        See ``row_weights``. A record with weight w occurs w times, rounded up or down.
    seed : list of int
        The order is a function of it alone.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    if weight is None:
        return rows[order]
    # Systematic sampling: evenly spaced points on the records, put in a row by their weights.
    ends = np.cumsum(weight[order])
    points = np.arange(len(rows)) + rng.random()
    chosen = order[np.searchsorted(ends, points, side="right").clip(max=len(rows) - 1)]
    return rows[rng.permutation(chosen)]
