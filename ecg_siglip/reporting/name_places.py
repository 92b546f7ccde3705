"""Places for names on a figure where no trace runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MM_PER_PT = 25.4 / 72
LETTER, CAPITAL = 0.75, 0.73  # width of a bold letter and height of a capital, of the font size
AROUND = 0.5  # free space around a name, mm
STEP = 0.5  # between places, mm
BELOW = 4.0  # so far below the usual place, a place counts as twice as far away, mm


def segments(lines: Iterable[tuple[NDArray, NDArray] | NDArray]) -> NDArray[np.float64]:
    """Return the pieces of lines (x, y) as rows of left, right, low and high, mm."""
    pieces = []
    for x, y in lines:
        pairs_x, pairs_y = np.stack([x[:-1], x[1:]]), np.stack([y[:-1], y[1:]])
        pieces.append(np.array([*_range(pairs_x), *_range(pairs_y)]).T)
    found = np.concatenate(pieces) if pieces else np.zeros((0, 4))
    return found[np.isfinite(found).all(axis=1)]


def free_place(
    name: str,
    size: float,
    start: tuple[float, float],
    most: tuple[float, float, float],
    drawn: NDArray[np.float64],
) -> tuple[float, float]:
    """Find the place for a name, near the usual one, where nothing is drawn.

    Parameters
    ----------
    name : str
    size : float, pt
    start : (float, float), mm
        The usual place, its lower left corner.
    most : (float, float, float), mm
        How far from it the name may move to the right, up and down.
    drawn : array of shape (n, 4), mm
        See ``segments``.

    Returns
    -------
    (float, float)
        Lower left corner, mm. Where no place is free, the one with the fewest pieces behind it.
    """
    width, height = len(name) * LETTER * size * MM_PER_PT, CAPITAL * size * MM_PER_PT
    (x, y), (right, up, down) = start, most
    near = (drawn[:, 1] >= x - AROUND) & (drawn[:, 0] <= x + right + width + AROUND)
    drawn = drawn[near]
    moves = itertools.product(
        np.arange(0, right + STEP / 2, STEP), np.arange(-down, up + STEP / 2, STEP)
    )
    places = sorted(moves, key=lambda move: _distance(*move))
    fewest, best = len(drawn) + 1, start
    for along, upwards in places:
        left, low = x + float(along) - AROUND, y + float(upwards) - AROUND
        is_behind = (drawn[:, 1] >= left) & (drawn[:, 0] <= left + width + 2 * AROUND)
        is_behind &= (drawn[:, 3] >= low) & (drawn[:, 2] <= low + height + 2 * AROUND)
        n_behind = int(is_behind.sum())
        if n_behind < fewest:
            fewest, best = n_behind, (left + AROUND, low + AROUND)
        if not fewest:
            break
    return best


def _distance(along: float, upwards: float) -> float:
    return abs(upwards) + 0.7 * along + (BELOW if upwards < -BELOW else 0.0)


def _range(pairs: NDArray) -> tuple[NDArray, NDArray]:
    return pairs.min(axis=0), pairs.max(axis=0)
