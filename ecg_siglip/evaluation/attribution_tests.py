"""Tests of attributions: pointing game and deletion curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ecg_siglip.inference.attribution import cell_size


def pointing(
    importance: np.ndarray, truth: np.ndarray, share: float = 0.1
) -> tuple[float, float, float]:
    """How well an explanation points at where a finding is known to be.

    Parameters
    ----------
    importance : ndarray of shape (12, C)
        As ``cells`` gives it.
    truth : ndarray of shape (12, C), bool
        The cells with the finding, see ``finding_masks.finding_masks``.
    share : float in (0, 1]
        Part of all cells that counts as pointed at.

    Returns
    -------
    hits : float in [0, 1]
        Share of the most important cells that lie within the truth.
    chance : float in [0, 1]
        What a random explanation reaches: the truth's share of all cells.
    mass : float in [0, 1]
        The truth's share of all that speaks for the finding; NaN if nothing does.

    Notes
    -----
    The pointing game of Zhang et al. 2018 (doi:10.1007/s11263-017-1059-x), of many points.
    """
    top = np.argsort(-importance, axis=None, kind="stable")[: round(share * importance.size)]
    speaks_for = importance.clip(min=0)
    total = float(speaks_for.sum())
    mass = float(speaks_for[truth].sum()) / total if total else float("nan")
    return float(truth.ravel()[top].mean()), float(truth.mean()), mass


def deletion_curve(
    probability: Callable[[np.ndarray], np.ndarray],
    signal: np.ndarray,
    importance: np.ndarray,
    shares: np.ndarray,
    fs: float,
) -> np.ndarray:
    """Log-odds of a finding while the ECG is blanked, what matters most first.

    Parameters
    ----------
    probability : function
        From ECGs (n, 12, n_samples) int16, uV to the probability of the finding in each, (n,).
    signal : ndarray of shape (12, n_samples), int16, uV
    importance : ndarray of shape (12, C)
        As ``cells`` gives it; what is higher goes first.
    shares : ndarray of float in [0, 1]
        Parts of all cells that are blanked.
    fs : float, Hz

    Returns
    -------
    ndarray of the shape of ``shares``, float64

    Notes
    -----
    Petsiuk et al. 2018 (arXiv:1806.07421): an explanation that is right makes the curve fall faster
    than blanking at random. Blanked is 0 mV, the baseline of ``attribute``.
    """
    size = cell_size(fs)
    order = np.argsort(-importance, axis=None, kind="stable")
    blanked = []
    for share in shares:
        gone = np.zeros(importance.size, bool)
        gone[order[: round(share * importance.size)]] = True
        mask = np.repeat(gone.reshape(importance.shape), size, axis=1)[:, : signal.shape[1]]
        blanked.append(np.where(mask, 0, signal))
    p = probability(np.stack(blanked)).clip(1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))
