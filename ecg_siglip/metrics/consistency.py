"""The most probable consistent set of findings: none of them excludes another.

Shape letters: N records or stretches, F findings. Sets of findings are bits of an int.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logit

# Of the exact search in one record: choices, and choices that depend on each other. Beyond these
# the strongest finding goes first.
MAX_STEPS, MAX_DEPTH = 2000, 100
TIE = 1e-3  # weight of the probability itself, which decides where nothing reaches its threshold


def evidence(y_prob: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Compute how far probabilities are above the thresholds of the findings.

    Parameters
    ----------
    y_prob : ndarray of shape (N, F), float in [0, 1]
        Calibrated.
    thresholds : ndarray of shape (F,), float in [0, 1]
        Of the model's default rule, whatever the operating point is: which of two findings is
        reported does not depend on it.

    Returns
    -------
    ndarray of shape (N, F), float64, 0 or more
        Log-odds above the threshold, 0 below it, plus ``TIE`` times the probability.
    """
    above = _log_odds(y_prob) - _log_odds(thresholds)
    return np.asarray(np.maximum(above, 0) + TIE * np.asarray(y_prob))


def consistent(
    present: np.ndarray, weights: np.ndarray, exclusive: np.ndarray, implied: np.ndarray
) -> np.ndarray:
    """Choose the findings without contradiction whose weights have the largest sum.

    Parameters
    ----------
    present : ndarray of shape (N, F), bool
        Findings that reach their threshold.
    weights : ndarray of shape (N, F), float, 0 or more
        See ``evidence``.
    exclusive : ndarray of shape (F, F), bool
        See ``Vocabulary.exclusive_pairs``.
    implied : ndarray of shape (F, F), bool
        See ``relations.implied_pairs``; what a chosen finding implies is added.

    Returns
    -------
    ndarray of shape (N, F), bool
        Of equal sums the one with the finding that is first in the order of the model.

    Notes
    -----
    A maximum-weight independent set of the present findings. It is searched exactly: parts of the
    graph that do not exclude each other separately, in each the finding that excludes most is in
    the set or not. After ``MAX_STEPS`` such choices in a record, or ``MAX_DEPTH`` that depend on
    each other, the strongest findings go first.
    """
    chosen = np.array(present, bool)
    for row in np.flatnonzero(contradictory(chosen, exclusive)):
        columns = np.flatnonzero(chosen[row] & (exclusive & chosen[row]).any(axis=1))
        pairs = exclusive[np.ix_(columns, columns)]
        bits = _Search(weights[row, columns].tolist(), pairs).best((1 << len(columns)) - 1)[1]
        chosen[row, columns] = [bool(bits >> i & 1) for i in range(len(columns))]
    return chosen | (chosen.astype(np.uint8) @ implied.astype(np.uint8)).astype(bool)


def contradictory(present: np.ndarray, exclusive: np.ndarray) -> np.ndarray:
    """Return which records have two findings that exclude each other, (N,) bool."""
    partners = present.astype(np.float32) @ exclusive.astype(np.float32)
    return np.asarray(((partners > 0) & present).any(axis=1))


def strongest_exclusion(
    chosen: np.ndarray, weights: np.ndarray, exclusive: np.ndarray
) -> np.ndarray:
    """Return which chosen finding excludes each finding of one record.

    Parameters
    ----------
    chosen : ndarray of shape (F,), bool
    weights : ndarray of shape (F,), float
    exclusive : ndarray of shape (F, F), bool

    Returns
    -------
    ndarray of shape (F,), int
        The one with the largest weight; -1 if none excludes the finding.
    """
    candidates = exclusive & chosen
    strongest = np.where(candidates, weights, -np.inf).argmax(axis=1)
    return np.where(candidates.any(axis=1), strongest, -1)


class _Search:
    """Exact search for the heaviest set of findings without contradiction.

    Parameters
    ----------
    weights : list of float
    pairs : ndarray of shape (F, F), bool
        Which findings exclude each other.
    """

    def __init__(self, weights: list[float], pairs: np.ndarray):
        self.weights, self.n_steps, self.depth = weights, 0, 0
        self.excluded = [sum(1 << int(j) for j in np.flatnonzero(row)) for row in pairs]

    def best(self, left: int) -> tuple[float, int]:
        """Return the largest sum of weights of the findings that are left, and their set."""
        total, chosen = 0.0, 0
        while left:
            part = self._connected(left)
            left &= ~part
            value, found = self._best_of_part(part)
            total, chosen = total + value, chosen | found
        return total, chosen

    def _best_of_part(self, part: int) -> tuple[float, int]:
        """Return the same for findings that all exclude each other, directly or by others."""
        members = _members(part)
        if len(members) == 1:
            return self.weights[members[0]], part
        if self.n_steps >= MAX_STEPS or self.depth >= MAX_DEPTH:
            return self._strongest_first(members)
        self.n_steps, self.depth = self.n_steps + 1, self.depth + 1
        most = max(members, key=lambda i: ((self.excluded[i] & part).bit_count(), -i))
        value, chosen = self.best(part & ~self.excluded[most] & ~(1 << most))
        with_most = value + self.weights[most], chosen | 1 << most
        without = self.best(part & ~(1 << most))
        self.depth -= 1
        return with_most if with_most[0] >= without[0] else without

    def _strongest_first(self, members: list[int]) -> tuple[float, int]:
        total, chosen = 0.0, 0
        for i in sorted(members, key=lambda i: -self.weights[i]):
            if not self.excluded[i] & chosen:
                total, chosen = total + self.weights[i], chosen | 1 << i
        return total, chosen

    def _connected(self, left: int) -> int:
        """Return the lowest finding with all that it excludes, directly or by others."""
        part, new = 0, left & -left
        while new:
            part |= new
            reached = 0
            for i in _members(new):
                reached |= self.excluded[i]
            new = reached & left & ~part
        return part


def _members(bits: int) -> list[int]:
    """Return the numbers of the bits that are set, in ascending order."""
    members = []
    while bits:
        members.append((bits & -bits).bit_length() - 1)
        bits &= bits - 1
    return members


def _log_odds(p: np.ndarray) -> np.ndarray:
    """Return finite log-odds, also of probabilities of 0 and 1."""
    return np.asarray(logit(np.clip(p, 1e-9, 1 - 1e-9)))
