"""What a run leaves on disk: the artifact (to predict) and the training state (to resume).

Both appear whole or not at all: they are written beside their place and moved into it.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import findings
from ecg_siglip.card import model_card
from ecg_siglip.model import Model, folder_of, load_model
from ecg_siglip.neighbours import Neighbours


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it is.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission); nothing is left behind.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        # A failed write does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state: tensors, numbers, strings, lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state back, on the CPU; no pickled code is run.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises half a dozen kinds, one of them from pickle
        raise ValueError(
            f"{path}: damaged, or no training state ({type(error).__name__}); delete it to start "
            "the run anew"
        ) from error


@dataclass(frozen=True)
class Tuning:
    """What the tuning fold said of a model that sees certain leads.

    Attributes
    ----------
    calibration, thresholds, operating
        As those of ``Artifact``.
    """

    calibration: np.ndarray
    thresholds: dict[str, np.ndarray]
    operating: dict[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        return {
            "calibration": self.calibration.tolist(),
            "thresholds": {rule: t.tolist() for rule, t in self.thresholds.items()},
            "operating": {wanted: t.tolist() for wanted, t in self.operating.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tuning:
        return cls(
            np.array(values["calibration"], dtype=np.float64),
            {rule: np.array(t) for rule, t in values["thresholds"].items()},
            {k: np.array(t) for k, t in values.get("operating", {}).items()},
        )


@dataclass(frozen=True)
class Artifact:
    """A model with all that it needs to answer.

    Attributes
    ----------
    model : EcgTextModel or Ensemble
    codes : tuple of str
        The findings, in the order of all arrays.
    prompts : list of str
        What the model is asked, one text a finding.
    waveform : dict
        Keyword arguments of ``waveform.prepare``.
    calibration : ndarray of shape (n_findings, 2), float64
        Slope and intercept, see ``metrics.calibrate``.
    thresholds : dict of str to ndarray of shape (n_findings,), float64
        By threshold rule.
    operating : dict of str to ndarray of shape (n_findings,), float64
        By wanted sensitivity or precision, see ``operating.thresholds``; empty in models from
        before them.
    about : dict
        Where it comes from: run, data version, folds, scores on the tuning fold.
    fewer_leads : dict of str to Tuning
        By ``lead_sets.SETS``, without all 12; empty if it was not trained to see fewer.
    neighbours : Neighbours, optional
        The training records in the embedding; null for models saved without.
    """

    model: Model
    codes: tuple[str, ...]
    prompts: list[str]
    waveform: dict[str, Any]
    calibration: np.ndarray
    thresholds: dict[str, np.ndarray]
    operating: dict[str, np.ndarray]
    about: dict[str, Any]
    fewer_leads: dict[str, Tuning] = field(default_factory=dict)
    neighbours: Neighbours | None = None

    def tuning(self, lead_set: str = "12") -> Tuning:
        """Calibration and thresholds for records with these leads, see ``lead_sets.SETS``.

        Raises
        ------
        ValueError
            If the model was not trained to see fewer leads.
        """
        if lead_set == "12":
            return Tuning(self.calibration, self.thresholds, self.operating)
        if lead_set not in self.fewer_leads:
            raise ValueError(
                f"{self.about['run']}: has calibration and thresholds for all 12 leads only; "
                "expected a model trained with augment.fewer_leads above 0"
            )
        return self.fewer_leads[lead_set]


def save_artifact(folder: Path, artifact: Artifact, card: str) -> None:
    """Write an artifact and its model card (``README.md``) as one folder.

    Raises
    ------
    OSError
        If it cannot be written; an artifact that was there before stays.
    """
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        artifact.model.save_pretrained(
            beside,
            codes=list(artifact.codes),
            prompts=artifact.prompts,
            waveform=artifact.waveform,
            **artifact.tuning().to_json(),
            fewer_leads={name: t.to_json() for name, t in artifact.fewer_leads.items()},
            about=artifact.about,
        )
        if artifact.neighbours:
            artifact.neighbours.save(beside)
        (beside / "README.md").write_text(card)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    except OSError as error:
        # A failed write does not say where.
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load_artifact(name: str | Path) -> Artifact:
    """Read an artifact from a folder or the Hugging Face hub.

    Raises
    ------
    ValueError
        If it is not there or not whole, or its vocabulary is not that of this version.
    """
    folder = folder_of(name)
    model = load_model(folder)
    config = model.config
    try:
        codes = tuple(config["codes"])
        artifact = Artifact(
            model=model,
            codes=codes,
            prompts=list(config["prompts"]),
            waveform=dict(config["waveform"]),
            **vars(Tuning.from_json(config)),
            about=dict(config["about"]),
            fewer_leads={
                name: Tuning.from_json(values)
                for name, values in config.get("fewer_leads", {}).items()
            },
            neighbours=Neighbours.load(folder, len(codes)),
        )
    except KeyError as error:
        raise ValueError(f"model {name}: config.json lacks {error}; a bare model?") from error
    findings.names(codes)
    sizes = {"prompts": len(artifact.prompts)}
    for leads, tuning in {"": artifact.tuning(), **artifact.fewer_leads}.items():
        sizes[f"{leads} calibration".strip()] = len(tuning.calibration)
        sizes |= {f"{leads} thresholds/{k}".strip(): len(t) for k, t in tuning.thresholds.items()}
        sizes |= {f"{leads} operating/{k}".strip(): len(t) for k, t in tuning.operating.items()}
    for part, size in sizes.items():
        if size != len(codes):
            raise ValueError(f"model {name}: {size} {part}, expected one for {len(codes)} codes")
    return artifact


def push_to_hub(
    artifact: Artifact,
    repo: str,
    private: bool = True,
    revision: str | None = None,
    folds: Mapping[int, Mapping[str, float | None]] | None = None,
) -> str:
    """Put a model with its card on the Hugging Face hub; returns the address of the commit.

    Parameters
    ----------
    artifact : Artifact
    repo : str
        ``owner/name``; made if it is not there.
    private : bool
        Of a new repository; one that is there stays as it is.
    revision : str, optional
        A branch; made if it is not there.
    folds : mapping of fold to scores, optional
        For the card, as ``metrics.json`` has them.

    Raises
    ------
    ValueError
        As ``hub.upload``: no ``owner/name``, no token, no connection.
    """
    from ecg_siglip import hub  # its library takes a third of a second to import

    about = artifact.about
    name = f"{repo}@{revision}" if revision else repo
    card = model_card(about, artifact.codes, artifact.waveform, name, folds)
    with tempfile.TemporaryDirectory() as folder:
        # What says which records a model learned from stays with those who have the records.
        bare = replace(artifact, neighbours=None)
        save_artifact(Path(folder) / "model", bare, card)
        message = f"{about['run']}, ecg_siglip {about['version']}"
        return hub.upload(Path(folder) / "model", repo, message, private, revision)


def ancestors(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An ``about``, then those of the models it comes from: its encoder's start, its teachers."""
    yield about
    for before in (about.get("pretrained"), *about.get("teachers", ())):
        if before:
            yield from ancestors(before)


def same_records(ours: str, theirs: str) -> bool:
    """Whether two ``PtbXl.version`` are of one table, however many of its records lay there."""
    return ours.rpartition(" ")[2] == theirs.rpartition(" ")[2]


def same_vocabulary(ours: Iterable[str], theirs: Iterable[str], where: str) -> None:
    """Hold two vocabularies against each other.

    Raises
    ------
    ValueError
        If they differ in content or order, saying in what.
    """
    ours, theirs = list(ours), list(theirs)
    if ours == theirs:
        return
    missing, unknown = [c for c in ours if c not in theirs], [c for c in theirs if c not in ours]
    how = "in another order" if not missing and not unknown else ""
    how += f"without {', '.join(missing[:5])} " if missing else ""
    how += f"with {', '.join(unknown[:5])}" if unknown else ""
    raise ValueError(
        f"{where}: another vocabulary: {len(theirs)} findings {how.strip()}; expected {len(ours)}"
    )


def clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that later steps do not change."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
