"""Public ECG encoders: their published weights, licence and training data.

The weights are read from files of the user, or downloaded from the hub by a fixed list of names.
No code of a repository is run: files are safetensors, or PyTorch files of tensors and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecg_siglip.core.files import one_line, sha256_of, shown
from ecg_siglip.models import ecgfounder, hubert_ecg
from ecg_siglip.models.model_files import CONFIG, WEIGHTS, explain_damage, read_json

ALL_FOLDS = tuple(range(1, 11))


@dataclass(frozen=True)
class PublicEncoder:
    """An encoder whose weights others have published.

    Attributes
    ----------
    title : str
    encoder : class
        Keyword arguments: ``fs``, ``drop_path``, and sizes that follow from the published files.
    own_name : function
        Name of a published weight and sizes -> name in ``encoder``; None: not used.
    licence : str
        Of the published weights, as an SPDX identifier.
    data : str
        What they were trained on.
    ptbxl_folds : tuple of int
        Folds of PTB-XL that they may have seen.
    repositories : tuple of str
        Where they are on the Hugging Face hub.
    files : tuple of str
        Names of the weights in a folder or repository; the first one that exists is read.
    """

    title: str
    encoder: type[nn.Module]
    own_name: Callable[[str, Mapping[str, Any]], str | None]
    licence: str
    data: str
    ptbxl_folds: tuple[int, ...]
    repositories: tuple[str, ...]
    files: tuple[str, ...]


PUBLIC_ENCODERS = {
    "hubert_ecg": PublicEncoder(
        title="HuBERT-ECG",
        encoder=hubert_ecg.HubertEcg,
        own_name=hubert_ecg.own_name,
        licence="CC-BY-NC-4.0",
        data="9.1 million ECGs of four countries, without labels",
        ptbxl_folds=ALL_FOLDS,  # not stated, and PTB-XL is one of the data sets of its authors
        repositories=tuple(f"Edoardo-BS/hubert-ecg-{size}" for size in ("small", "base", "large")),
        files=(WEIGHTS,),
    ),
    "ecgfounder": PublicEncoder(
        title="ECGFounder",
        encoder=ecgfounder.EcgFounder,
        own_name=ecgfounder.own_name,
        licence="MIT",
        data="HEEDB, 7.5 million ECGs with labels",
        ptbxl_folds=(),
        repositories=("PKUDigitalHealth/ECGFounder",),
        files=(WEIGHTS, "12_lead_ECGFounder.pth"),
    ),
}


def public_encoder(name: str, options: Mapping[str, Any], drop_path: float = 0.0) -> nn.Module:
    """Return a new public encoder, at random weights.

    Parameters
    ----------
    name : str
        A key of ``PUBLIC_ENCODERS``.
    options : mapping
        As ``encoder_options`` returns them; a trained model stores them.
    drop_path : float
        Dropout within its layers, if it has dropout.

    Raises
    ------
    ValueError
        If options are missing, unknown or out of range.
    """
    if not options:
        raise ValueError(needs_weights(name))
    try:
        return PUBLIC_ENCODERS[name].encoder(**options, drop_path=drop_path)
    except (TypeError, ValueError) as error:
        raise ValueError(f"ecg.name={name}: {one_line(error)}") from error


def encoder_options(name: str, weights: str | None, fs: float) -> dict[str, Any]:
    """Return the arguments of a public encoder for its published weights.

    Parameters
    ----------
    name : str
        A key of ``PUBLIC_ENCODERS``.
    weights : str, optional
        Value of ``ecg.weights``: a file, a folder, or ``owner/name[@revision]`` on the hub.
    fs : float, Hz
        Sampling rate of the run.

    Raises
    ------
    ValueError
        If no weights are named, there are no such files, or they are not those of this encoder.
    """
    if weights is None:
        raise ValueError(needs_weights(name))
    path = find_weights(name, weights)
    with explain_damage(f"ecg.weights={shown(weights)}"):
        if name == "hubert_ecg":
            sizes = hubert_ecg.published_sizes(read_json(path.parent / CONFIG, CONFIG))
        else:
            sizes = ecgfounder.published_sizes({k: v.shape for k, v in read_weights(path).items()})
    return {"fs": fs, **sizes}


def load_published(encoder: nn.Module, name: str, weights: str, options: Mapping[str, Any]) -> Path:
    """Load published weights into an encoder; return the file that was read.

    Parameters
    ----------
    encoder : nn.Module
        Of ``public_encoder``, with the same options.
    name, weights
        As in ``encoder_options``.
    options : mapping

    Raises
    ------
    ValueError
        If the file is missing or damaged, or its weights have other names or shapes.
    """
    path = find_weights(name, weights)
    with explain_damage(f"ecg.weights={shown(weights)}"):
        own_name = PUBLIC_ENCODERS[name].own_name
        named = {own_name(key, options): value for key, value in read_weights(path).items()}
        found = {key: value for key, value in named.items() if key is not None}
        expected = encoder.state_dict()
        for key in sorted({*found} | {*expected}):
            ours = tuple(expected[key].shape) if key in expected else "none"
            theirs = tuple(found[key].shape) if key in found else "none"
            if ours != theirs:
                raise ValueError(
                    f"expected weights of {PUBLIC_ENCODERS[name].title}: {shown(key)} has shape "
                    f"{theirs}, expected {ours}"
                )
            # A sum is faster than a look at each, and not finite if one of them is not.
            if not found[key].sum(dtype=torch.float64).isfinite():
                raise ValueError(f"{shown(key)} has values that are not finite")
        encoder.load_state_dict(found)
    return path


def stated_origin(name: str, path: Path) -> dict[str, Any]:
    """Return run, data, licence and folds of a public encoder, see ``stated_provenance``.

    Parameters
    ----------
    name : str
    path : Path
        The file with its weights; its hash becomes part of the name.
    """
    public = PUBLIC_ENCODERS[name]
    return {
        "run": f"{public.title} ({path.name}, SHA-256 {sha256_of(path)[:12]})",
        "data": public.data,
        "licence": public.licence,
        "ptbxl_folds": list(public.ptbxl_folds),
    }


def find_weights(name: str, weights: str) -> Path:
    """Return the file with the published weights of an encoder.

    Raises
    ------
    ValueError
        If there is no such file; as ``hub.download_weights``.
    """
    path, names = Path(weights), PUBLIC_ENCODERS[name].files
    if path.is_file():
        return path
    if not path.exists() and weights.count("/") == 1 and weights[0] not in "./~":
        from ecg_siglip.models import hub  # its library takes time to load

        path = hub.download_weights(weights, [CONFIG, *names])
    for file in names:
        if (path / file).is_file():
            return path / file
    problem = f"has no {' or '.join(names)}" if path.is_dir() else "does not exist"
    raise ValueError(f"ecg.weights={shown(weights)}: {problem}; {_expected(name)}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from a file of safetensors, or of PyTorch without code.

    Raises
    ------
    ValueError
        If it contains anything else.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with explain_damage(f"{path.name}: damaged"):
            return dict(load_file(path))
    try:
        # Besides tensors only numbers of NumPy: a score, in a file of ECGFounder.
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises several kinds, one of them from pickle
        raise ValueError(
            f"{path.name}: damaged, or has more than tensors and numbers, which is not read; "
            "expected weights as published, or as safetensors"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"{path.name}: expected tensors by name, or under state_dict")
    return dict(state)


def _numpy_numbers() -> list[Any]:
    """Return what a pickled number of NumPy consists of, also as NumPy 1 named it."""
    import numpy as np
    from numpy._core.multiarray import scalar

    kinds = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]


def needs_weights(name: str) -> str:
    """Return the error for a public encoder without weights."""
    return f"ecg.name={name}: needs its published weights: {_expected(name)}"


def _expected(name: str) -> str:
    public = PUBLIC_ENCODERS[name]
    return (
        f"expected ecg.weights=<file or folder with {' or '.join(public.files)}>, or one of "
        f"{', '.join(public.repositories)} on the hub"
    )
