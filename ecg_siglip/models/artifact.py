"""What a run leaves on disk: the artifact (to predict) and the training state (to resume).

Both appear whole or not at all: they are written beside their place and moved into it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import replace_folder
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.models.dual_encoder import Model, find_model_folder, load_model
from ecg_siglip.models.model_card import model_card
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.vocabulary import findings


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
        Keyword arguments of ``preprocessing.prepare_signal``.
    calibration : ndarray of shape (n_findings, 2), float64
        Slope and intercept, see ``multilabel.calibrate``.
    thresholds : dict of str to ndarray of shape (n_findings,), float64
        By threshold rule.
    operating : dict of str to ndarray of shape (n_findings,), float64
        By wanted sensitivity or precision, see ``operating_points.operating_thresholds``; empty in models from
        before them.
    provenance : Provenance
        Where it comes from: run, data, folds, earlier models, scores on the tuning fold.
    fewer_leads : dict of str to Tuning
        By ``leads.LEAD_SETS``, without all 12; empty if it was not trained to see fewer.
    neighbors : Neighbors, optional
        The training records in the embedding; null for models saved without.
    """

    model: Model
    codes: tuple[str, ...]
    prompts: list[str]
    waveform: dict[str, Any]
    calibration: np.ndarray
    thresholds: dict[str, np.ndarray]
    operating: dict[str, np.ndarray]
    provenance: Provenance
    fewer_leads: dict[str, Tuning] = field(default_factory=dict)
    neighbors: Neighbors | None = None

    @property
    def default_rule(self) -> str:
        """The default threshold rule, or the former default for a model saved before it."""
        return DEFAULT_RULE if DEFAULT_RULE in self.thresholds else "prevalence"

    def tuning(self, lead_set: str = "12") -> Tuning:
        """Calibration and thresholds for records with these leads, see ``leads.LEAD_SETS``.

        Raises
        ------
        ValueError
            If the model was not trained to see fewer leads.
        """
        if lead_set == "12":
            return Tuning(self.calibration, self.thresholds, self.operating)
        if lead_set not in self.fewer_leads:
            raise ValueError(
                f"{self.provenance.run}: has calibration and thresholds for all 12 leads only; "
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
    with replace_folder(folder) as partial:
        artifact.model.save_pretrained(
            partial,
            codes=list(artifact.codes),
            prompts=artifact.prompts,
            waveform=artifact.waveform,
            **artifact.tuning().to_json(),
            fewer_leads={name: t.to_json() for name, t in artifact.fewer_leads.items()},
            about=artifact.provenance.to_json(),
        )
        if artifact.neighbors:
            artifact.neighbors.save(partial)
        (partial / "README.md").write_text(card)


def load_artifact(name: str | Path) -> Artifact:
    """Read an artifact from a folder or the Hugging Face hub.

    Raises
    ------
    ValueError
        If it is not there or not whole, or its vocabulary is not that of this version.
    """
    folder = find_model_folder(name)
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
            provenance=Provenance.from_json(config["about"]),
            fewer_leads={
                name: Tuning.from_json(values)
                for name, values in config.get("fewer_leads", {}).items()
            },
            neighbors=Neighbors.load(folder, len(codes)),
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
    from ecg_siglip.models import hub  # its library takes a third of a second to import

    name = f"{repo}@{revision}" if revision else repo
    card = model_card(artifact.provenance, artifact.codes, artifact.waveform, name, folds)
    with tempfile.TemporaryDirectory() as folder:
        # What says which records a model learned from stays with those who have the records.
        bare = replace(artifact, neighbors=None)
        save_artifact(Path(folder) / "model", bare, card)
        message = f"{artifact.provenance.run}, ecg_siglip {artifact.provenance.version}"
        return hub.upload(Path(folder) / "model", repo, message, private, revision)
