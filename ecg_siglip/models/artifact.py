"""Artifact: a trained model with all that prediction needs, as one folder on disk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import replace_folder
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.models.dual_encoder import (
    Ensemble,
    Model,
    build_model,
    find_model_folder,
)
from ecg_siglip.models.model_card import model_card
from ecg_siglip.models.model_files import (
    CARD,
    CONFIG,
    NEIGHBORS,
    VOCABULARY,
    explain_damage,
    read_config,
    read_json,
)
from ecg_siglip.models.model_schema import check_artifact, check_prompts
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.models.public_encoders import PUBLIC_ENCODERS
from ecg_siglip.models.text_encoders import LinearHead
from ecg_siglip.signals.leads import NO_TUNING
from ecg_siglip.vocabulary.relations import with_relations_of
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import PTBXL, ptbxl, vocabulary_from_json


@dataclass(frozen=True)
class Tuning:
    """Calibration and thresholds of a model for records with certain leads.

    Attributes
    ----------
    calibration, thresholds, operating
        As in ``Artifact``.
    """

    calibration: np.ndarray
    thresholds: dict[str, np.ndarray]
    operating: dict[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        """Return the arrays as lists, as ``config.json`` stores them."""
        return {
            "calibration": self.calibration.tolist(),
            "thresholds": {rule: t.tolist() for rule, t in self.thresholds.items()},
            "operating": {target: t.tolist() for target, t in self.operating.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tuning:
        """Read what ``to_json`` returned; models of earlier versions lack ``operating``."""
        return cls(
            np.array(values["calibration"], dtype=np.float64),
            {rule: np.array(t) for rule, t in values["thresholds"].items()},
            {k: np.array(t) for k, t in values.get("operating", {}).items()},
        )


@dataclass(frozen=True)
class Artifact:
    """A trained model with all that it needs to predict.

    Attributes
    ----------
    model : EcgTextModel or Ensemble
    codes : tuple of str
        The findings, in the order of all arrays.
    prompts : list of str
        The text for which the model predicts a probability, one per finding.
    waveform : dict
        Keyword arguments of ``preprocessing.prepare_signal``.
    calibration : ndarray of shape (n_findings, 2), float64
        Slope and intercept, see ``multilabel.calibrate``.
    thresholds : dict of str to ndarray of shape (n_findings,), float64
        By threshold rule.
    operating : dict of str to ndarray of shape (n_findings,), float64
        By target sensitivity or precision, see ``operating_points.operating_thresholds``; empty in
        models of earlier versions.
    provenance : Provenance
        Origin of the model: run, data, folds, earlier models, scores on the tuning fold.
    vocabulary : Vocabulary
        All that is known about the findings; models saved without one have that of PTB-XL.
    fewer_leads : dict of str to Tuning
        By ``leads.LEAD_SETS``, without the set of all 12; empty if the model was not trained with
        fewer leads.
    sources : dict of str to dict of str to Tuning
        By data set of the training and set of leads, the set of all 12 among them; empty if the
        model was not trained with ``data.tune_per_source``.
    neighbors : Neighbors, optional
        Embeddings of the training records; None for models saved without them.
    source : str, optional
        Data set whose calibration and thresholds these are; None: all of the training.
    is_verified : bool
        Whether all files were compared with the hashes in ``config.json``; False for a model that
        was not loaded, or saved by a version without hashes.
    """

    model: Model
    codes: tuple[str, ...]
    prompts: list[str]
    waveform: dict[str, Any]
    calibration: np.ndarray
    thresholds: dict[str, np.ndarray]
    operating: dict[str, np.ndarray]
    provenance: Provenance
    vocabulary: Vocabulary = field(default_factory=ptbxl)
    fewer_leads: dict[str, Tuning] = field(default_factory=dict)
    sources: dict[str, dict[str, Tuning]] = field(default_factory=dict)
    neighbors: Neighbors | None = None
    source: str | None = None
    is_verified: bool = False

    @property
    def title(self) -> str:
        """Run, version and data set of the thresholds, as predictions name their model."""
        title = self.provenance.title
        return title if self.source is None else f"{title}, source {self.source}"

    @property
    def names(self) -> list[str]:
        """Names of the findings."""
        return self.vocabulary.names(self.codes)

    def card(
        self,
        name: str = "path/to/this/folder",
        folds: Mapping[int, Mapping[str, float | None]] | None = None,
    ) -> str:
        """Return the model card, see ``model_card.model_card``."""
        return model_card(
            self.provenance,
            dict(zip(self.codes, self.names, strict=True)),
            self.waveform,
            self.vocabulary.name,
            name,
            folds,
            list(self.sources),
        )

    @property
    def default_rule(self) -> str:
        """The default threshold rule, or the former default for a model saved before it."""
        return DEFAULT_RULE if DEFAULT_RULE in self.thresholds else "prevalence"

    def tuning(self, lead_set: str = "12") -> Tuning:
        """Return calibration and thresholds for a set of leads, see ``leads.LEAD_SETS``.

        Raises
        ------
        ValueError
            If the model was not trained with fewer leads.
        """
        if lead_set == "12":
            return Tuning(self.calibration, self.thresholds, self.operating)
        if lead_set not in self.fewer_leads:
            raise ValueError(f"{self.provenance.run}: {NO_TUNING}")
        return self.fewer_leads[lead_set]

    def for_source(self, name: str) -> Artifact:
        """Return the same model with the calibration and thresholds of one data set.

        Parameters
        ----------
        name : str
            A data set of the training.

        Raises
        ------
        ValueError
            If the model has none of its own for this data set.
        """
        if name not in self.sources:
            run = self.provenance.run
            raise ValueError(
                f"source={name}: {run} has calibration and thresholds of "
                f"{', '.join(self.sources)}; expected one of them"
                if self.sources
                else f"source={name}: {run} has calibration and thresholds of all its data "
                "together only; expected a model trained with data.tune_per_source=true, and with "
                "enough labels of each data set in its tuning fold"
            )
        tuning = self.sources[name]
        fewer_leads = {leads: each for leads, each in tuning.items() if leads != "12"}
        return replace(self, **vars(tuning["12"]), fewer_leads=fewer_leads, source=name)


def save_artifact(folder: Path, artifact: Artifact, card: str) -> None:
    """Write an artifact and its model card (``README.md``) as one folder.

    Raises
    ------
    OSError
        If it cannot be written; an existing artifact is then kept.
    """
    with replace_folder(folder) as partial:
        if artifact.neighbors:
            artifact.neighbors.save(partial)
        content = json.dumps(artifact.vocabulary.to_json(), indent=1, ensure_ascii=False)
        (partial / VOCABULARY).write_bytes(content.encode("utf-8"))
        (partial / CARD).write_text(card, encoding="utf-8")
        # Last, since ``config.json`` has the hashes of the other files.
        artifact.model.save_pretrained(
            partial,
            codes=list(artifact.codes),
            prompts=artifact.prompts,
            waveform=artifact.waveform,
            **artifact.tuning().to_json(),
            fewer_leads=_tunings_to_json(artifact.fewer_leads),
            **(
                {"sources": {name: _tunings_to_json(t) for name, t in artifact.sources.items()}}
                if artifact.sources
                else {}
            ),
            about=artifact.provenance.to_json(),
        )


def load_artifact(name: str | Path) -> Artifact:
    """Read an artifact from a folder or the Hugging Face hub.

    Raises
    ------
    ValueError
        If it does not exist or is incomplete, a file is not the one that was saved, a value is out
        of its range, or its findings are not in its vocabulary.
    """
    folder = find_model_folder(name)
    content, is_verified = read_config(folder, name)
    with explain_damage(f"model {name}: {CONFIG}"):
        check_artifact(content)
    codes = tuple(content["codes"])
    vocabulary = _load_vocabulary(folder, name)
    with explain_damage(f"model {name}"):
        vocabulary.names(codes)
        check_prompts(codes, content["prompts"], vocabulary)
        neighbors = Neighbors.load(folder, len(codes))
    artifact = Artifact(
        model=build_model(folder, name, content),
        codes=codes,
        prompts=list(content["prompts"]),
        waveform={"version": 1, **content["waveform"]},  # earlier models state no version
        **vars(Tuning.from_json(content)),
        provenance=Provenance.from_json(content["about"]),
        vocabulary=vocabulary,
        fewer_leads=_tunings_from_json(content.get("fewer_leads", {})),
        sources={
            source: _tunings_from_json(values)
            for source, values in content.get("sources", {}).items()
        },
        neighbors=neighbors,
        is_verified=is_verified,
    )
    with explain_damage(f"model {name}"):
        _check_parts(artifact)
    return artifact


def _tunings_to_json(tunings: Mapping[str, Tuning]) -> dict[str, Any]:
    return {name: tuning.to_json() for name, tuning in tunings.items()}


def _tunings_from_json(values: Mapping[str, Any]) -> dict[str, Tuning]:
    return {name: Tuning.from_json(each) for name, each in values.items()}


def _load_vocabulary(folder: Path, name: str | Path) -> Vocabulary:
    """Return the vocabulary that is stored with a model; that of PTB-XL if there is none.

    The relations of PTB-XL's findings are those of this version, see ``with_relations_of``.
    """
    path = folder / VOCABULARY
    if not path.exists():
        return ptbxl()
    where = f"model {name}: {VOCABULARY}"
    stored = vocabulary_from_json(read_json(path, where), where)
    return with_relations_of(stored, ptbxl()) if stored.name == PTBXL else stored


def _check_parts(artifact: Artifact) -> None:
    """Check that encoders, embeddings of training records and findings belong together."""
    model, neighbors = artifact.model, artifact.neighbors
    members = model.members if isinstance(model, Ensemble) else [model]
    to_fs = artifact.waveform["to_fs"]
    configs: list[Any] = [member.config for member in members]
    for ecg in (config["ecg"] for config in configs):
        if ecg["name"] in PUBLIC_ENCODERS and ecg["options"]["fs"] != to_fs:
            raise ValueError(
                f"ecg.options: fs={ecg['options']['fs']} Hz; expected {to_fs:g} Hz, as waveform has"
            )
    for text in (member.text for member in members):
        if isinstance(text, LinearHead) and list(text.texts) != artifact.prompts:
            raise ValueError(f"text/table.json has other texts than the prompts of {CONFIG}")
    if neighbors and neighbors.embedding_ND.shape[1] != model.n_dims:
        raise ValueError(
            f"{NEIGHBORS}: embeddings of {neighbors.embedding_ND.shape[1]} dimensions; expected "
            f"{model.n_dims}, as the model has"
        )


def push_to_hub(
    artifact: Artifact,
    repo: str,
    private: bool = True,
    revision: str | None = None,
    folds: Mapping[int, Mapping[str, float | None]] | None = None,
) -> str:
    """Upload a model with its card to the Hugging Face hub; return the address of the commit.

    Parameters
    ----------
    artifact : Artifact
    repo : str
        ``owner/name``; created if it does not exist.
    private : bool
        Whether a new repository is private; an existing one is not changed.
    revision : str, optional
        A branch; created if it does not exist. The main branch by default.
    folds : mapping of fold to scores, optional
        Scores for the card, as in ``metrics.json``.

    Raises
    ------
    ValueError
        As ``hub.upload``: the name is not ``owner/name``, no token, no connection.
    """
    from ecg_siglip.models import hub  # its library takes a third of a second to import

    name = f"{repo}@{revision}" if revision else repo
    card = artifact.card(name, folds)
    with tempfile.TemporaryDirectory() as folder:
        # The embeddings and ecg_ids of the training records are not published.
        published = replace(artifact, neighbors=None)
        save_artifact(Path(folder) / "model", published, card)
        message = f"{artifact.provenance.run}, ecg_siglip {artifact.provenance.version}"
        return hub.upload(Path(folder) / "model", repo, message, private, revision)
