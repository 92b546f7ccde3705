"""ECG encoder and text encoder with a shared embedding, a logit scale and a logit bias.

Shape letters: B records, L leads (12), S samples, T texts, N tokens, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecg_siglip.models.ecg_encoders import BatchNorm, ecg_encoder
from ecg_siglip.models.model_files import (
    CONFIG,
    WEIGHTS,
    explain_damage,
    read_config,
    write_config,
)
from ecg_siglip.models.model_schema import check_encoders, check_members
from ecg_siglip.models.text_encoders import LinearHead, TextEncoder, load_text_encoder


class EcgTextModel(nn.Module):
    """Dual encoder of ECGs and texts: ``logit = exp(log_scale) * cosine + logit_bias``.

    Parameters
    ----------
    config : dict
        ``ecg`` and ``text`` (settings of the encoders), ``embed_dim``, ``logit_scale`` and
        ``logit_bias`` (initial values). Stored as ``config``, saved as ``config.json``.
    text : SmallTextEncoder, HfTextEncoder or LinearHead
        The text encoder, see ``text_encoders``. With a ``LinearHead`` the model is a supervised
        classifier: ``logit = weight . features + bias``, no text and no norm.

    Notes
    -----
    SigLIP, Zhai et al. 2023, arXiv:2303.15343.
    """

    def __init__(self, config: dict[str, Any], text: TextEncoder):
        super().__init__()
        self.config = config
        self.ecg = ecg_encoder(**config["ecg"])
        self.text = text
        self.dropout = nn.Dropout(config["ecg"]["dropout"])
        self.log_scale = nn.Parameter(torch.tensor(math.log(config["logit_scale"])))
        self.logit_bias = nn.Parameter(torch.tensor(float(config["logit_bias"])))
        self.norm_ecg: nn.Module = nn.Identity()
        self.project_ecg: nn.Module = nn.Identity()
        self.project_text: nn.Module = nn.Identity()
        self.is_linear = isinstance(text, LinearHead)
        if self.is_linear:
            self.log_scale.requires_grad_(False).zero_()
            self.logit_bias.requires_grad_(False).zero_()
        else:
            # Features are means and maxima of non-negative values. Without centring, all ECGs
            # would point in similar directions, and cosines would start near 1.
            self.norm_ecg = BatchNorm(self.ecg.n_features)
            self.project_ecg = nn.Linear(self.ecg.n_features, config["embed_dim"])
            self.project_text = nn.Linear(self.text.n_features, config["embed_dim"])

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.logit_bias.device

    @property
    def n_dims(self) -> int:
        """D of the embeddings."""
        return self.text.n_features if self.is_linear else int(self.config["embed_dim"])

    def encode_ecg(self, signal_BLS: Tensor) -> Tensor:
        """Embed signals in mV at the model's sampling rate: (B, D) float32, unit norm."""
        return self.embed_ecg(self.ecg(signal_BLS))

    def embed_ecg(self, features_BF: Tensor) -> Tensor:
        """Embed features of the ECG encoder (B, n_features): (B, D) float32, unit norm."""
        features_BF = self.norm_ecg(features_BF[:, :, None, None])[:, :, 0, 0]
        features_BF = self.dropout(features_BF)
        if self.is_linear:
            # An additional feature of 1: the last number of a finding's row is its bias.
            return functional.pad(features_BF.to(self.log_scale.dtype), (0, 1), value=1.0)
        return self._embed(self.project_ecg(features_BF))

    def encode_text(self, texts: list[str]) -> Tensor:
        """Embed texts: (T, D) float32, unit norm."""
        tokens_TN, mask_TN = self.text.tokenize(texts)
        return self.encode_tokens(tokens_TN.to(self.device), mask_TN.to(self.device))

    def encode_tokens(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        """Embed tokens and their mask, as ``text.tokenize`` returns them: (T, D)."""
        return self.embed_text(self.text(tokens_TN, mask_TN))

    def embed_text(self, features_TF: Tensor) -> Tensor:
        """Embed features of the text encoder (T, n_features): (T, D) float32, unit norm."""
        return features_TF if self.is_linear else self._embed(self.project_text(features_TF))

    def _embed(self, projected: Tensor) -> Tensor:
        # Autocast may return bfloat16; cosines and loss need the precision of the weights.
        return functional.normalize(projected.to(self.log_scale.dtype), dim=1)

    def logits(self, ecg_BD: Tensor, text_TD: Tensor) -> Tensor:
        """Return the log-odds that each text is true of each record, (B, T)."""
        return self.log_scale.exp() * ecg_BD @ text_TD.T + self.logit_bias

    def save_pretrained(self, folder: str | Path, **extra: Any) -> None:
        """Write weights (safetensors), ``config.json`` and the text encoder's files to a folder.

        Parameters
        ----------
        folder : path
            Created if it does not exist.
        **extra
            Further entries of ``config.json``; any values that JSON can store.
        """
        from safetensors.torch import save

        folder = Path(folder)
        (folder / "text").mkdir(parents=True, exist_ok=True)
        self.text.save(folder / "text")
        # Not by safetensors' own function, whose error for a full disk is no OSError.
        weights = save({k: v.contiguous() for k, v in self.state_dict().items()})
        (folder / WEIGHTS).write_bytes(weights)
        write_config(folder, self.config | extra)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> EcgTextModel:
        """Load the model that ``save_pretrained`` wrote, on the CPU, in evaluation mode.

        Parameters
        ----------
        name : path or str
            A folder, or a repository on the Hugging Face hub: ``owner/name``, or
            ``owner/name@revision``.

        Raises
        ------
        ValueError
            If there is no such folder and no such repository, or if a part of the model is missing
            or does not fit the rest.
        """
        folder = find_model_folder(name)
        content, _ = read_config(folder, name)
        return cls._from_folder(folder, name, content)

    @classmethod
    def _from_folder(cls, folder: Path, name: str | Path, config: dict[str, Any]) -> EcgTextModel:
        """Build the model of a configuration and load its weights."""
        for part, is_there in (
            (WEIGHTS, (folder / WEIGHTS).is_file()),
            ("text", (folder / "text").is_dir()),
        ):
            if not is_there:
                raise ValueError(f"model {name}: {part} is missing")
        with explain_damage(f"model {name}: {CONFIG}"):
            check_encoders(config)

        def build() -> EcgTextModel:
            text_settings = {k: v for k, v in config["text"].items() if k != "vocab_size"}
            return cls(config, load_text_encoder(folder=folder / "text", **text_settings))

        with explain_damage(f"model {name}"):
            # First without memory: the weights have the sizes of the configuration.
            with torch.device("meta"):
                expected = build().state_dict()
            weights = _load_weights(folder / WEIGHTS, expected)
            model = build()
            model.load_state_dict(weights)
        return model.eval()


class Ensemble(nn.Module):
    """Ensemble of models: its logits are the mean of its members' logits.

    Parameters
    ----------
    members : sequence of EcgTextModel

    Notes
    -----
    The mean of scaled cosines equals a product of concatenated vectors, so an ensemble has
    embeddings like a single model: ECGs (B, sum of D), not of unit norm, texts (T, sum of D).
    """

    def __init__(self, members: Sequence[EcgTextModel]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.config: dict[str, Any] = {"members": len(members)}

    def _members(self) -> list[EcgTextModel]:
        return [member for member in self.members if isinstance(member, EcgTextModel)]

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self._members()[0].device

    @property
    def n_dims(self) -> int:
        """D of the embeddings."""
        return sum(member.n_dims for member in self._members())

    def encode_ecg(self, signal_BLS: Tensor) -> Tensor:
        """Embed signals in mV at the model's sampling rate: (B, D of all members) float32."""
        n = len(self.members)
        parts = [m.encode_ecg(signal_BLS) * (m.log_scale.exp() / n) for m in self._members()]
        return torch.cat(parts, dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Embed texts: (T, D of all members) float32."""
        return torch.cat([member.encode_text(texts) for member in self._members()], dim=1)

    def logits(self, ecg_BD: Tensor, text_TD: Tensor) -> Tensor:
        """Return the log-odds that each text is true of each record, (B, T), member mean."""
        bias = torch.stack([member.logit_bias for member in self._members()]).mean()
        return ecg_BD @ text_TD.T + bias

    def save_pretrained(self, folder: str | Path, **extra: Any) -> None:
        """Write each member to a folder of its own, and one ``config.json`` for all."""
        folder = Path(folder)
        for i, member in enumerate(self._members()):
            member.save_pretrained(folder / f"member{i}")
        write_config(folder, self.config | extra)


Model = EcgTextModel | Ensemble


def load_model(name: str | Path) -> Model:
    """Load the model or ensemble that ``save_pretrained`` wrote, on the CPU, to predict with.

    Parameters
    ----------
    name : path or str
        A folder, or a repository on the Hugging Face hub: ``owner/name``, or
        ``owner/name@revision``.

    Raises
    ------
    ValueError
        As ``EcgTextModel.from_pretrained``.
    """
    folder = find_model_folder(name)
    content, _ = read_config(folder, name)
    return build_model(folder, name, content)


def build_model(folder: Path, name: str | Path, config: dict[str, Any]) -> Model:
    """Build the model or ensemble of a folder and load its weights, see ``load_model``.

    Parameters
    ----------
    folder : Path
    name : path or str
        Name of the model, for messages.
    config : dict
        As ``model_files.read_config`` returned it.
    """
    if "members" not in config:
        return EcgTextModel._from_folder(folder, name, config)
    with explain_damage(f"model {name}: {CONFIG}"):
        n_members = check_members(config["members"])
    members = []
    for i in range(n_members):
        part = f"{name}/member{i}"
        content, _ = read_config(folder / f"member{i}", part)
        members.append(EcgTextModel._from_folder(folder / f"member{i}", part, content))
    ensemble = Ensemble(members)
    ensemble.config = config
    return ensemble.eval()


def _load_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Load weights, after a check of their names and shapes.

    Raises
    ------
    ValueError
        If they are not those that are expected, or not finite.
    """
    from safetensors import safe_open

    with explain_damage(f"{path.name}: damaged"), safe_open(path, framework="pt") as file:
        names = list(file.keys())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        differing = sorted(
            name
            for name in {*shapes, *expected}
            if name not in expected or shapes.get(name) != tuple(expected[name].shape)
        )
        if differing:
            first = differing[0]
            ours = tuple(expected[first].shape) if first in expected else "none"
            raise ValueError(
                f"weights and config.json differ: {first} has shape {shapes.get(first, 'none')}, "
                f"expected {ours}"
            )
        weights = {name: file.get_tensor(name) for name in shapes}
        for name, values in weights.items():
            if values.is_floating_point() != expected[name].is_floating_point():
                raise ValueError(f"{name} has the type {values.dtype}")
            # A sum is faster than a look at each, and not finite if one of them is not.
            if values.is_floating_point() and not values.sum(dtype=torch.float64).isfinite():
                raise ValueError(f"{name} has values that are not finite")
    return weights


def find_model_folder(name: str | Path) -> Path:
    """Return the folder of a model: the given folder, or a download from the hub.

    Raises
    ------
    ValueError
        If there is no such folder and no such repository.
    """
    if Path(name).is_dir():
        return Path(name)
    # Imported only if needed: the hub's library takes time to load.
    from ecg_siglip.models import hub

    return hub.download(str(name))
