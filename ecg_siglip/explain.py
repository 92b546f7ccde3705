"""Why a finding: which leads and moments of the ECG speak for it, and which against.

Shape letters: K findings asked about, L leads (12), S samples, C cells of a lead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import waveform
from ecg_siglip.model import Model

CELL_S = 0.1  # about the length of a QRS complex
N_STEPS = 32


def attribute(
    model: Model,
    text_FD: Tensor,
    signal: np.ndarray,
    columns: Sequence[int],
    n_steps: int = N_STEPS,
) -> np.ndarray:
    """How much each sample of each lead adds to the log-odds of each finding.

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    text_FD : Tensor of shape (n_findings, D)
        What ``model.encode_text`` made of the prompts.
    signal : ndarray of shape (12, n_samples), int16, uV
        As ``Predictor.prepare`` gives it.
    columns : sequence of int, K of them
        Which findings.
    n_steps : int
        Points of the path from no signal to this one.

    Returns
    -------
    ndarray of shape (K, 12, n_samples), float32
        Log-odds before calibration, positive where the sample speaks for the finding; all samples
        of a finding add up to the log-odds of the ECG less that of an ECG without any signal.

    Raises
    ------
    ValueError
        If captum is not there.

    Notes
    -----
    Integrated gradients, Sundararajan et al. 2017 (arXiv:1703.01365), from 0 mV in all leads: each
    lead as its own baseline would have it, if nothing happened. Held against where simulated
    findings are (docs/LOG.md), it points there, but not at what is missing: for a low or flat T
    wave it points elsewhere.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ValueError(
            "attribution needs the package captum: pip install 'ecg_siglip[explain]'"
        ) from error
    # Made in inference mode, it could not take part in a gradient.
    asked_FD = text_FD.clone()

    def logits(signal_BLS: Tensor) -> Tensor:
        return model.logits(model.encode_ecg(signal_BLS), asked_FD)

    signal_1LS = torch.from_numpy(waveform.from_int16(signal)[None]).to(model.device)
    method = IntegratedGradients(logits)
    found = [
        method.attribute(signal_1LS, target=column, n_steps=n_steps, internal_batch_size=n_steps)
        for column in columns
    ]
    shape = (0, *signal.shape)
    return torch.cat(found).float().cpu().numpy() if found else np.zeros(shape, np.float32)


def cells(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Attributions (..., 12, n_samples) added up by stretches of 0.1 s: (..., 12, C)."""
    edges = np.arange(0, attribution.shape[-1], _cell_size(fs))
    return np.add.reduceat(attribution, edges, axis=-1)


def _cell_size(fs: float) -> int:
    return max(1, round(CELL_S * fs))


def pointing(
    importance: np.ndarray, truth: np.ndarray, share: float = 0.1
) -> tuple[float, float, float]:
    """How well an explanation points at where a finding is known to be.

    Parameters
    ----------
    importance : ndarray of shape (12, C)
        As ``cells`` gives it.
    truth : ndarray of shape (12, C), bool
        The cells with the finding, see ``truth.masks``.
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
    size = _cell_size(fs)
    order = np.argsort(-importance, axis=None, kind="stable")
    blanked = []
    for share in shares:
        gone = np.zeros(importance.size, bool)
        gone[order[: round(share * importance.size)]] = True
        mask = np.repeat(gone.reshape(importance.shape), size, axis=1)[:, : signal.shape[1]]
        blanked.append(np.where(mask, 0, signal))
    p = probability(np.stack(blanked)).clip(1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))
