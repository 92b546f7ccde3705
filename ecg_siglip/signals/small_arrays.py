"""Operations on small arrays: faster than those of NumPy, and with the same results.

NumPy's own take tens of microseconds per call whatever the size, and sort along the first axis one
column at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

MAX_NETWORK = 24  # arrays; of more, NumPy's median is faster


def convolve_rows(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Convolve each row with a window, without the ends, in one call.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n)
    window : ndarray of shape (n_window,), not longer than a row

    Returns
    -------
    ndarray of shape (n_rows, n - n_window + 1)
        As ``np.convolve(row, window, "valid")`` of each row.
    """
    n_rows, n = rows.shape
    n_whole = n - len(window) + 1
    whole = np.empty(n_rows * n)
    # The results that reach over two rows are left out.
    whole[: len(whole) - len(window) + 1] = np.convolve(rows.ravel(), window, "valid")
    return whole.reshape(n_rows, n)[:, :n_whole]


def median_of_arrays(arrays: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Compute the median of some arrays, element by element: ``np.median(arrays, axis=0)``.

    Parameters
    ----------
    arrays : sequence of n ndarrays of the same shape, float64

    Returns
    -------
    ndarray of that shape
        NaN where any is.
    """
    n = len(arrays)
    if n > MAX_NETWORK:
        return np.asarray(np.median(arrays, axis=0))
    ordered = _sorted(arrays, _median_network(n))
    return np.asarray((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def sort_arrays(arrays: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Sort some arrays without NaN, element by element: ``np.sort(arrays, axis=0)``."""
    if len(arrays) > MAX_NETWORK:
        return np.sort(arrays, axis=0)
    return np.array(_sorted(arrays, _network(len(arrays))))


def _sorted(
    arrays: Sequence[np.ndarray] | np.ndarray, pairs: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Order the arrays of each pair, element by element, one pair after the other."""
    ordered = list(arrays)
    for i, j in pairs:
        one, other = ordered[i], ordered[j]
        ordered[i], ordered[j] = np.minimum(one, other), np.maximum(one, other)
    return ordered


@functools.lru_cache(maxsize=MAX_NETWORK + 1)
def _network(n: int) -> list[tuple[int, int]]:
    """Return the pairs that Batcher's merge exchange compares to sort n values, in order.

    They do not depend on the values (Batcher 1968, "Sorting networks and their applications"), so
    that whole arrays are compared at the same time.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    step = top if n > 1 else 0
    while step:
        size, rest, distance = top, 0, step
        while True:
            pairs += [(i, i + distance) for i in range(n - distance) if i & step == rest]
            if size == step:
                break
            distance, size, rest = size - step, size >> 1, step
        step >>= 1
    return pairs


@functools.lru_cache(maxsize=MAX_NETWORK + 1)
def _median_network(n: int) -> list[tuple[int, int]]:
    """Return the pairs of ``_network`` on which the values in the middle depend."""
    needed, used = {(n - 1) // 2, n // 2}, []
    for pair in reversed(_network(n)):
        if needed & set(pair):
            needed |= set(pair)
            used.append(pair)
    return used[::-1]


def row_medians(rows: np.ndarray) -> np.ndarray:
    """Compute the median along the last axis without NaN: ``np.median(rows, axis=-1)``.

    One value of a row is brought to its place, not two at the same time, which takes NumPy much
    longer.

    Parameters
    ----------
    rows : ndarray of shape (..., n), float, n > 0

    Returns
    -------
    ndarray of shape (...), of the same dtype
    """
    n = rows.shape[-1]
    middle = n // 2
    parted = np.partition(rows, middle, axis=-1)
    if n % 2:
        return np.asarray(parted[..., middle])
    return np.asarray((parted[..., :middle].max(axis=-1) + parted[..., middle]) / 2)


def quantiles(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Compute quantiles along the last axis, ignoring NaN, interpolated linearly between values.

    Parameters
    ----------
    values : ndarray of shape (..., n)
    shares : tuple of float, 0 to 1

    Returns
    -------
    ndarray of shape (..., n_shares)
        As ``np.nanquantile(values, shares, axis=-1)`` with the shares last; NaN without any value.
    """
    ordered = np.sort(values, axis=-1)  # NaN last
    last = np.array(values.shape[-1] - 1)
    if has_nan := np.isnan(ordered[..., -1]).any():
        last = np.maximum((~np.isnan(ordered)).sum(axis=-1, keepdims=True) - 1, 0)
    at = last * np.array(shares)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, last)
    if has_nan:
        below, above = (np.take_along_axis(ordered, index, -1) for index in (low, high))
    else:
        below, above = ordered[..., low], ordered[..., high]
    part = at - low
    # From the nearer end, as NumPy does.
    step = above - below
    return np.where(part >= 0.5, above - step * (1 - part), below + step * part)
