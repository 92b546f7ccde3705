"""Why a finding: which leads and moments of the ECG speak for it, and which against.

Shape letters: K findings asked about, L leads (12), S samples, C cells of a lead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.signals.preprocessing import from_int16

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

    signal_1LS = torch.from_numpy(from_int16(signal)[None]).to(model.device)
    method = IntegratedGradients(logits)
    found = [
        method.attribute(signal_1LS, target=column, n_steps=n_steps, internal_batch_size=n_steps)
        for column in columns
    ]
    shape = (0, *signal.shape)
    return torch.cat(found).float().cpu().numpy() if found else np.zeros(shape, np.float32)


def sum_cells(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Attributions (..., 12, n_samples) added up by stretches of 0.1 s: (..., 12, C)."""
    edges = np.arange(0, attribution.shape[-1], cell_size(fs))
    return np.add.reduceat(attribution, edges, axis=-1)


def cell_size(fs: float) -> int:
    return max(1, round(CELL_S * fs))
