"""Training state on disk, to resume an interrupted run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecg_siglip.core.files import write_file


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, which may hold tensors, numbers, strings, lists and dicts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Load a training state on the CPU, without running pickled code.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises several kinds, one of them from pickle
        raise ValueError(
            f"{path}: damaged, or no training state ({type(error).__name__}); delete it to start "
            "the run again"
        ) from error


def clone_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors, so that later steps do not change them."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
