"""The two towers joined: unit-norm embeddings of ECGs and texts, a scale and a bias.

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
    """ECG encoder and text encoder with one embedding: ``logit = exp(log_scale) cos + bias``.

    Parameters
    ----------
    config : dict
        ``ecg`` and ``text`` (the knobs of the encoders), ``embed_dim``, ``logit_scale`` and
        ``logit_bias`` (where they start). Kept as ``config``, saved as ``config.json``.
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
        self.features_of: dict[str, Tensor] = {}  # of texts, where the encoder is locked
        self.kept: dict[tuple[str, ...], tuple[Tensor, Tensor]] = {}  # texts and their tokens
        self.ecg_is_finished = False  # locked, with the weights of another run
        self.is_linear = isinstance(text, LinearHead)
        if self.is_linear:
            self.log_scale.requires_grad_(False).zero_()
            self.logit_bias.requires_grad_(False).zero_()
        else:
            # Features are means and maxima of what is not negative: uncentred, all ECGs would lie
            # in one corner of the sphere, and cosines would start near 1.
            self.norm_ecg = BatchNorm(self.ecg.n_features)
            self.project_ecg = nn.Linear(self.ecg.n_features, config["embed_dim"])
            self.project_text = nn.Linear(self.text.n_features, config["embed_dim"])

    def train(self, mode: bool = True) -> EcgTextModel:
        """Training mode; a locked text encoder and a finished ECG encoder stay as they predict,
        without dropout, with the statistics that they have."""
        super().train(mode)
        if self.ecg_is_finished:
            self.ecg.eval()
        if self.text_is_locked:
            self.text.eval()
        return self

    @property
    def text_is_locked(self) -> bool:
        return not any(p.requires_grad for p in self.text.parameters())

    @property
    def device(self) -> torch.device:
        return self.logit_bias.device

    def encode_ecg(self, signal_BLS: Tensor) -> Tensor:
        """Signals in mV at the model's sampling rate -> (B, D) float32, unit norm."""
        return self.embed_ecg(self.ecg(signal_BLS))

    def embed_ecg(self, features_BF: Tensor) -> Tensor:
        """What the ECG encoder has found -> (B, D) float32, unit norm."""
        features_BF = self.norm_ecg(features_BF[:, :, None, None])[:, :, 0, 0]
        features_BF = self.dropout(features_BF)
        if self.is_linear:
            # One more feature, always 1: a finding's bias is the last number of its row.
            return functional.pad(features_BF.to(self.log_scale.dtype), (0, 1), value=1.0)
        return self._embed(self.project_ecg(features_BF))

    def encode_tokens(self, tokens_TN: Tensor, mask_TN: Tensor) -> Tensor:
        """Tokens and their mask, as ``text.tokenize`` gives them -> (T, D) float32, unit norm."""
        text_TF = self.text(tokens_TN, mask_TN)
        return text_TF if self.is_linear else self._embed(self.project_text(text_TF))

    def _embed(self, projected: Tensor) -> Tensor:
        # Autocast may have left bfloat16; cosines and loss want the precision of the weights.
        return functional.normalize(projected.to(self.log_scale.dtype), dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts -> (T, D) float32, unit norm."""
        known = [self.features_of[text] for text in texts if text in self.features_of]
        if texts and len(known) == len(texts):
            return self._embed(self.project_text(torch.stack(known)))
        if tuple(texts) in self.kept:
            return self.encode_tokens(*self.kept[tuple(texts)])
        tokens_TN, mask_TN = self.text.tokenize(texts)
        return self.encode_tokens(tokens_TN.to(self.device), mask_TN.to(self.device))

    def keep_tokens(self, texts: list[str]) -> None:
        """Tokenize once what every step will ask; the tokens stay on the device that the model
        has now."""
        tokens_TN, mask_TN = self.text.tokenize(texts)
        self.kept[tuple(texts)] = tokens_TN.to(self.device), mask_TN.to(self.device)

    @torch.no_grad()
    def read_locked(self, texts: list[str], batch_size: int = 64) -> None:
        """Let the locked text encoder read these texts once and for all.

        From then on ``encode_text`` only projects them. The same texts give the same numbers, in
        whatever batches they are asked for later.
        """
        assert self.text_is_locked
        # Texts of a batch are padded to the longest.
        texts = sorted(dict.fromkeys(texts), key=lambda text: (len(text), text))
        for start in range(0, len(texts), batch_size):
            part = texts[start : start + batch_size]
            tokens_TN, mask_TN = self.text.tokenize(part)
            found_TF = self.text(tokens_TN.to(self.device), mask_TN.to(self.device))
            self.features_of.update(zip(part, found_TF, strict=True))

    @torch.no_grad()
    def ecg_features(self, signal_BLS: Tensor) -> Tensor:
        """What a finished ECG encoder finds, once and for all: (B, F), for ``embed_ecg``."""
        assert self.ecg_is_finished
        return self.ecg(signal_BLS)

    def logits(self, ecg_BD: Tensor, text_TD: Tensor) -> Tensor:
        """(B, T): the log-odds that the text is true of the record."""
        return self.log_scale.exp() * ecg_BD @ text_TD.T + self.logit_bias

    def save_pretrained(self, folder: str | Path, **extra: Any) -> None:
        """Write weights (safetensors), ``config.json`` and the text encoder's files to a folder.

        Parameters
        ----------
        folder : path
            Made if it does not exist.
        **extra
            Further entries of ``config.json``, anything that JSON holds.
        """
        from safetensors.torch import save

        folder = Path(folder)
        (folder / "text").mkdir(parents=True, exist_ok=True)
        self.text.save(folder / "text")
        # Written by us, so that a full disk is an OSError like any other.
        weights = save({k: v.contiguous() for k, v in self.state_dict().items()})
        (folder / WEIGHTS).write_bytes(weights)
        self.config |= extra
        (folder / CONFIG).write_text(json.dumps(self.config, indent=1, ensure_ascii=False))

    @classmethod
    def from_pretrained(cls, name: str | Path) -> EcgTextModel:
        """The model that ``save_pretrained`` wrote, on the CPU, ready to predict.

        Parameters
        ----------
        name : path or str
            A folder, or a repository on the Hugging Face hub: ``owner/name``, or
            ``owner/name@revision``.

        Raises
        ------
        ValueError
            If there is no such folder and no such repository, or if a part of it is missing or
            does not fit the rest.
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
            text_knobs = {k: v for k, v in config["text"].items() if k != "vocab_size"}
            model = cls(config, load_text_encoder(folder=folder / "text", **text_knobs))
            weights = load_file(folder / WEIGHTS)
        except (json.JSONDecodeError, SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"model {name}: damaged: {error}") from error
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"model {name}: weights and config.json differ: {error}") from error
        return model.eval()


class Ensemble(nn.Module):
    """Several models as one: its logits are the mean of theirs.

    Parameters
    ----------
    members : sequence of EcgTextModel

    Notes
    -----
    The mean of scaled cosines is one product of longer vectors, so an ensemble has embeddings like
    any other model: ECGs (B, sum of D), not of unit norm, texts (T, sum of D).
    """

    def __init__(self, members: Sequence[EcgTextModel]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.config: dict[str, Any] = {"members": len(members)}

    def _members(self) -> list[EcgTextModel]:
        return [member for member in self.members if isinstance(member, EcgTextModel)]

    @property
    def device(self) -> torch.device:
        return self._members()[0].device

    def encode_ecg(self, signal_BLS: Tensor) -> Tensor:
        """Signals in mV at the model's sampling rate -> (B, D of all members) float32."""
        n = len(self.members)
        parts = [m.encode_ecg(signal_BLS) * (m.log_scale.exp() / n) for m in self._members()]
        return torch.cat(parts, dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts -> (T, D of all members) float32."""
        return torch.cat([member.encode_text(texts) for member in self._members()], dim=1)

    def logits(self, ecg_BD: Tensor, text_TD: Tensor) -> Tensor:
        """(B, T): the log-odds that the text is true of the record, mean of the members'."""
        bias = torch.stack([member.logit_bias for member in self._members()]).mean()
        return ecg_BD @ text_TD.T + bias

    def save_pretrained(self, folder: str | Path, **extra: Any) -> None:
        """Write each member to a folder of its own, ``config.json`` beside them."""
        folder = Path(folder)
        for i, member in enumerate(self._members()):
            member.save_pretrained(folder / f"member{i}")
        self.config |= extra
        (folder / CONFIG).write_text(json.dumps(self.config, indent=1, ensure_ascii=False))


Model = EcgTextModel | Ensemble


def load_model(name: str | Path) -> Model:
    """The model or ensemble that ``save_pretrained`` wrote, on the CPU, ready to predict.

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
        raise ValueError(f"model {name}: damaged: {CONFIG} holds no table")
    return config


def find_model_folder(name: str | Path) -> Path:
    """Where a model lies: the folder itself, or what was fetched from the hub.

    Raises
    ------
    ValueError
        If there is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    # Whoever has a folder does not wait for the hub's library.
    from ecg_siglip.models import hub

    return hub.download(str(name))
