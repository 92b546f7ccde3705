"""Embeddings of ECGs and texts on the unit sphere, and their cosines.

Shape letters: N records, T texts, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional

from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.signals.preprocessing import from_int16


@torch.inference_mode()
def embed_signals(
    model: Model, signals: np.ndarray | SignalRows, batch_size: int = 256
) -> np.ndarray:
    """Embed prepared records.

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    signals : ndarray of shape (N, 12, n_samples), int16, uV
    batch_size : int

    Returns
    -------
    ndarray of shape (N, D), float32, unit norm
        Of a supervised head: the features of the ECG encoder.
    """
    parts = (signals[i : i + batch_size] for i in range(0, len(signals), batch_size))
    batches = (torch.from_numpy(from_int16(np.asarray(part))) for part in parts)
    embedding_ND = torch.cat([model.encode_ecg(batch.to(model.device)) for batch in batches])
    return functional.normalize(embedding_ND.float(), dim=1).cpu().numpy()


@torch.inference_mode()
def embed_texts(model: Model, texts: str | Sequence[str], batch_size: int = 256) -> np.ndarray:
    """Embed texts of any words.

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    texts : str, or sequence of str, T of them, at least one
    batch_size : int

    Returns
    -------
    ndarray of shape (T, D), float32, unit norm

    Raises
    ------
    ValueError
        If there is no text, or the model is a supervised head and the text none of its prompts.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise ValueError("no text: expected at least one")
    # Texts of similar length share a batch: all are padded to its longest.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    embedding_TD = torch.cat([model.encode_text([texts[i] for i in part]) for part in parts])
    ordered = np.empty(embedding_TD.shape, np.float32)
    ordered[order] = functional.normalize(embedding_TD.float(), dim=1).cpu().numpy()
    return ordered


def cosines(one_ND: ArrayLike, other_TD: ArrayLike) -> np.ndarray:
    """Compute the cosine of each pair of two sets of embeddings.

    Parameters
    ----------
    one_ND, other_TD : array of shape (N, D) and (T, D); (D,) is one embedding

    Returns
    -------
    ndarray of shape (N, T), float32 in [-1, 1]

    Raises
    ------
    ValueError
        If they are not of this shape.

    Examples
    --------
    >>> cosines([[2.0, 0.0], [1.0, 1.0]], [0.0, 3.0]).round(3).tolist()
    [[0.0], [0.7070000171661377]]
    """
    one, other = (np.atleast_2d(np.asarray(each, np.float32)) for each in (one_ND, other_TD))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(
            f"embeddings: expected shapes (n, n_dims) and (m, n_dims), got {one.shape} and "
            f"{other.shape}"
        )
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    return np.asarray(one @ other.T)
