"""ECG encoder and text encoder with a shared embedding, a logit scale and a logit bias.

Shape letters: B records, L leads (12), S samples, T texts, N tokens, D embedding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecg_siglip.models.ecg_encoders import BatchNorm, ecg_encoder
from ecg_siglip.models.text_encoders import LinearHead, TextEncoder, load_text_encoder

WEIGHTS, CONFIG = "model.safetensors", "config.json"


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
        _write_config(folder, self.config | extra)

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
        return cls._from_folder(folder, name)

    @classmethod
    def _from_folder(cls, folder: Path, name: str | Path) -> EcgTextModel:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for part in (CONFIG, WEIGHTS, "text"):
            if not (folder / part).exists():
                raise ValueError(f"model {name}: {part} is missing")
        config = _read_config(folder, name)
        try:
            text_settings = {k: v for k, v in config["text"].items() if k != "vocab_size"}
            model = cls(config, load_text_encoder(folder=folder / "text", **text_settings))
            weights = load_file(folder / WEIGHTS)
        except (json.JSONDecodeError, SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"model {name}: damaged: {error}") from error
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"model {name}: weights and config.json differ: {error}") from error
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
        _write_config(folder, self.config | extra)


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
    if not (folder / CONFIG).exists():
        raise ValueError(f"model {name}: {CONFIG} is missing")
    config = _read_config(folder, name)
    if "members" not in config:
        return EcgTextModel._from_folder(folder, name)
    if not isinstance(config["members"], int) or config["members"] < 1:
        raise ValueError(f"model {name}: damaged: members {config['members']!r}")
    folders = [folder / f"member{i}" for i in range(config["members"])]
    ensemble = Ensemble([EcgTextModel._from_folder(part, part) for part in folders])
    ensemble.config = config
    return ensemble.eval()


def _read_config(folder: Path, name: str | Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"model {name}: damaged: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"model {name}: damaged: {CONFIG} is not a JSON object")
    return config


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False))


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
