"""Training state: the weights of a model, and the file from which a run is resumed.

The file is that of ``torch.save``, followed by its SHA-256, which ``torch.load`` ignores.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecg_siglip.core.files import one_line, write_file
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.text_encoders import SmallTextEncoder

END_OF_ZIP = b"PK\5\6"  # begins the last 22 bytes of a file without a hash, of earlier versions
HASH_MARK = b"\nsha256:"
KINDS: dict[str, type | tuple[type, ...]] = {
    "codes": list,
    "data": str,
    "model": dict,
    "averaged": dict,
    "optimizer": dict,
    "losses": list,
    "best": dict,
    "epoch": int,
    "step": int,
    "seconds": (int, float),
    "log_bytes": int,
}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, which may hold tensors, numbers, strings, lists and dicts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_file(path, content + _hash_line(content))


def _hash_line(content: bytes) -> bytes:
    return HASH_MARK + hashlib.sha256(content).hexdigest().encode()


def load_state(path: Path) -> dict[str, Any]:
    """Load a training state on the CPU, without running pickled code.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    content = path.read_bytes()
    line = _hash_line(b"")
    stated = content[-len(line) :]
    what_to_do = "delete it to start the run again"
    if content[-22:-18] != END_OF_ZIP:
        content = content[: -len(line)]
        if stated != _hash_line(content):
            raise ValueError(
                f"{path}: damaged, or no training state (its SHA-256 differs); {what_to_do}"
            )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises several kinds, one of them from pickle
        raise ValueError(
            f"{path}: damaged, or no training state ({type(error).__name__}); {what_to_do}"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: no training state; {what_to_do}")
    return state


def check_content(path: Path, state: Mapping[str, Any]) -> None:
    """Check that a state has what a run is resumed from, in the right types and ranges.

    Parameters
    ----------
    path : Path
        File that it was loaded from, for messages.
    state : mapping
        As ``Trainer.state`` returned it.

    Raises
    ------
    ValueError
        Naming what is missing or wrong.
    """
    for key, kind in KINDS.items():
        if not isinstance(state.get(key), kind) or isinstance(state.get(key), bool):
            problem = f"has no {key}" if key not in state else f"{key} is damaged"
            raise ValueError(f"{path}: {problem}; delete it to start the run again")
    for key in ("epoch", "step", "seconds", "log_bytes"):
        if not (math.isfinite(state[key]) and state[key] >= 0):
            raise ValueError(f"{path}: {key}={state[key]}: expected 0 or more")
    if state["best"] and type(state["best"].get("epoch")) is not int:
        raise ValueError(f"{path}: the best epoch is damaged; delete it to start the run again")
    losses = state["losses"]
    if len(losses) != state["step"] or not all(
        isinstance(loss, Tensor) and loss.ndim == 0 for loss in losses
    ):
        raise ValueError(f"{path}: expected a loss of each of {state['step']} steps")


def load_into(
    path: Path,
    state: Mapping[str, Any],
    model: EcgTextModel,
    optimizer: torch.optim.Optimizer,
    averaged: Mapping[str, Tensor],
) -> None:
    """Load the weights of a state into the model of a run, and its moments into the optimizer.

    Parameters
    ----------
    path : Path
        File that it was loaded from, for messages.
    state : mapping
        After ``check_content``.
    model : EcgTextModel
    optimizer : torch.optim.Optimizer
    averaged : mapping of str to Tensor
        Averaged weights of the run, to compare those of the state with; they are not changed.

    Raises
    ------
    ValueError
        If a tensor has another name, shape or type than the run's, naming it; or if the run has
        another tokenizer, with which the embeddings of tokens would be those of other tokens.
    """
    if state.get("tokenizer", "") != tokenizer_hash(model):
        raise ValueError(
            f"{path}: begun with another tokenizer, by another version or on other reports; take "
            "another run.name, or delete it to start the run again"
        )
    best = state["best"]
    groups: list[tuple[str, Any, Mapping[str, Tensor]]] = [
        ("model", state["model"], model.state_dict()),
        ("averaged", state["averaged"], averaged),
    ]
    if best:
        groups.append(("best", best.get("weights"), averaged))
    for what, tensors, expected in groups:
        if not isinstance(tensors, dict):
            raise ValueError(f"{path}: {what} is damaged; delete it to start the run again")
        for name in {**expected, **tensors}:
            ours, theirs = (_form(each.get(name)) for each in (expected, tensors))
            if ours != theirs:
                raise ValueError(
                    f"{path}: does not fit the model: {what}: {name} is {theirs}, expected {ours}"
                )
    model.load_state_dict(state["model"])
    _load_optimizer(path, optimizer, state["optimizer"])


def _form(tensor: Any) -> str:
    """Return shape and type of a tensor, for a comparison and for messages."""
    if not isinstance(tensor, Tensor):
        return "no tensor"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _load_optimizer(path: Path, optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> None:
    """Load the state of an optimizer, whose moments must have the shapes of the weights."""
    try:
        optimizer.load_state_dict(content)
    except Exception as error:  # PyTorch raises KeyError and others for a damaged one
        raise ValueError(f"{path}: does not fit the model: {one_line(error)}") from error
    for weight, moments in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            moment = moments.get(name)
            if not isinstance(moment, Tensor) or moment.shape != weight.shape:
                raise ValueError(
                    f"{path}: does not fit the model: {name} of the optimizer is {_form(moment)}, "
                    f"expected {_form(weight)}"
                )


def tokenizer_hash(model: EcgTextModel) -> str:
    """Return the SHA-256 of the built-in tokenizer; empty for other text encoders."""
    if not isinstance(model.text, SmallTextEncoder):
        return ""
    return hashlib.sha256(model.text.tokenizer.to_str().encode()).hexdigest()


def hash_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names and values: equal for two runs only if each bit is equal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {_form(values)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
