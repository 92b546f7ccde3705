"""Training state: the weights of a model, and the file from which a run is resumed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecg_siglip.core.files import write_file
from ecg_siglip.models.dual_encoder import EcgTextModel


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


def weights(model: EcgTextModel) -> dict[str, Tensor]:
    """Return parameters and running statistics, not copied."""
    return {name: w for name, w in model.state_dict().items() if w.is_floating_point()}


@contextlib.contextmanager
def weights_of(model: EcgTextModel, values: dict[str, Tensor]) -> Iterator[None]:
    """Give the model other weights inside the ``with`` block, and its own back afterwards."""
    own = clone_tensors(weights(model))

    def copy_to_model(values: dict[str, Tensor]) -> None:
        for name, weight in weights(model).items():
            weight.copy_(values[name])

    copy_to_model(values)
    try:
        yield
    finally:
        copy_to_model(own)
