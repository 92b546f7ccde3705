"""Tests of attributions: pointing game and deletion curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ecg_siglip.inference.attribution import cell_size


def pointing(
    importance: np.ndarray, mask: np.ndarray, share: float = 0.1
) -> tuple[float, float, float]:
    """Compute how well an attribution points at the known location of a finding.

    Parameters
    ----------
    importance : ndarray of shape (12, C)
        As ``attribution.sum_cells`` returns it.
    mask : ndarray of shape (12, C), bool
        The cells with the finding, see ``finding_masks.finding_masks``.
    share : float in (0, 1]
        Part of all cells that counts as pointed at.

    Returns
    -------
    hits : float in [0, 1]
        Share of the most important cells that are inside the mask.
    chance : float in [0, 1]
        The same for a random attribution: the mask's share of all cells.
    mass : float in [0, 1]
        The mask's share of all positive importance; NaN if there is none.

    Notes
    -----
    The pointing game of Zhang et al. 2018 (doi:10.1007/s11263-017-1059-x), with many points.
    """
    top = np.argsort(-importance, axis=None, kind="stable")[: round(share * importance.size)]
    positive = importance.clip(min=0)
    total = float(positive.sum())
    mass = float(positive[mask].sum()) / total if total else float("nan")
    return float(mask.ravel()[top].mean()), float(mask.mean()), mass


def deletion_curve(
    probability: Callable[[np.ndarray], np.ndarray],
    signal: np.ndarray,
    importance: np.ndarray,
    shares: np.ndarray,
    fs: float,
) -> np.ndarray:
    """Compute the log-odds of a finding while the ECG is blanked, the most important cells first.

    Parameters
    ----------
    probability : function
        From ECGs (n, 12, n_samples) int16, uV to the probability of the finding in each, (n,).
    signal : ndarray of shape (12, n_samples), int16, uV
    importance : ndarray of shape (12, C)
        As ``attribution.sum_cells`` returns it; the highest are blanked first.
    shares : ndarray of float in [0, 1]
        Shares of all cells that are blanked.
    fs : float, Hz

    Returns
    -------
    ndarray of the shape of ``shares``, float64

    Notes
    -----
    Petsiuk et al. 2018 (arXiv:1806.07421): with a correct attribution the curve falls faster than
    with random blanking. Blanked is 0 mV, the baseline of ``attribution.attribute``.
    """
    size = cell_size(fs)
    order = np.argsort(-importance, axis=None, kind="stable")
    blanked = []
    for share in shares:
        is_blank = np.zeros(importance.size, bool)
        is_blank[order[: round(share * importance.size)]] = True
        blank = np.repeat(is_blank.reshape(importance.shape), size, axis=1)[:, : signal.shape[1]]
        blanked.append(np.where(blank, 0, signal))
    p = probability(np.stack(blanked)).clip(1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))
