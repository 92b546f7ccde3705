"""Attribution of a finding to samples: which leads and moments of the ECG support it.

Shape letters: K findings to explain, L leads (12), S samples, C cells of a lead.
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
    """Compute how much each sample of each lead adds to the log-odds of each finding.

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    text_FD : Tensor of shape (n_findings, D)
        Embeddings of the prompts, from ``model.encode_text``.
    signal : ndarray of shape (12, n_samples), int16, uV
        A prepared record, see ``Predictor.prepare``.
    columns : sequence of int, K of them
        Indices of the findings to explain.
    n_steps : int
        Points on the path from the zero signal to this one.

    Returns
    -------
    ndarray of shape (K, 12, n_samples), float32
        Log-odds before calibration, positive where the sample supports the finding. The sum over
        all samples is the log-odds of the ECG minus those of an ECG without any signal.

    Raises
    ------
    ValueError
        If captum is not installed.

    Notes
    -----
    Integrated gradients, Sundararajan et al. 2017 (arXiv:1703.01365), with 0 mV in all leads as
    the baseline: the signal of each lead if nothing happened. Compared with the known positions of
    simulated findings (docs/LOG.md), it marks what is present, but not what is absent: for a low
    or flat T wave it marks other places.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ValueError(
            "attribution needs the package captum: pip install 'ecg_siglip[explain]'"
        ) from error
    # A tensor that was made in inference mode cannot take part in a gradient.
    prompts_FD = text_FD.clone()

    def logits(signal_BLS: Tensor) -> Tensor:
        return model.logits(model.encode_ecg(signal_BLS), prompts_FD)

    signal_1LS = torch.from_numpy(from_int16(signal)[None]).to(model.device)
    method = IntegratedGradients(logits)
    attributions = [
        method.attribute(signal_1LS, target=column, n_steps=n_steps, internal_batch_size=n_steps)
        for column in columns
    ]
    if not attributions:
        return np.zeros((0, *signal.shape), np.float32)
    return torch.cat(attributions).float().cpu().numpy()


def sum_cells(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Sum attributions (..., 12, n_samples) over cells of 0.1 s: (..., 12, C)."""
    edges = np.arange(0, attribution.shape[-1], cell_size(fs))
    return np.add.reduceat(attribution, edges, axis=-1)


def cell_size(fs: float) -> int:
    """Return the length of a cell in samples."""
    return max(1, round(CELL_S * fs))
