"""Weights that others have trained: how a run loads them, and what they have seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.run_folder import DEFAULT, find_initial_model
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.model_files import VOCABULARY
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.models.public_encoders import (
    PUBLIC_ENCODERS,
    encoder_options,
    load_published,
    stated_origin,
)
from ecg_siglip.training.data import TrainingData


def external_provenance(
    model: EcgTextModel, settings: config.TrainConfig, data: TrainingData
) -> dict[str, Any]:
    """Return the provenance of an encoder of another package that comes with trained weights.

    Its attribute ``pretrained`` is as ``stated_provenance`` takes it. {} for an encoder without it.
    """
    stated = getattr(model.ecg, "pretrained", None)
    if "." not in settings.ecg.name or not stated:
        return {}
    return stated_provenance(stated, settings, data)


def stated_provenance(
    stated: Mapping[str, Any], settings: config.TrainConfig, data: TrainingData
) -> dict[str, Any]:
    """Return the provenance of weights that others have trained.

    Parameters
    ----------
    stated : mapping
        ``run`` (name of the weights), ``data``, ``licence``, and ``ptbxl_folds``: the folds of
        PTB-XL that the weights may have seen.
    settings : config.TrainConfig
    data : TrainingData

    Raises
    ------
    ValueError
        If they have seen a fold of PTB-XL that this run is not trained on.
    """
    name, folds = settings.ecg.name, [*stated.get("ptbxl_folds", ())]
    unseen = {*folds} - {*settings.data.train_folds}
    kinds = {settings.data.kind, *(source.kind for source in settings.data.sources)}
    if unseen and "ptbxl" in kinds and not data.is_simulated:
        raise ValueError(
            f"ecg.name={name}: its weights may have seen fold {min(unseen)} of PTB-XL, which this "
            "run is not trained on: its scores would be too high; expected other weights, or other "
            "data"
        )
    before = Provenance(
        run=str(stated.get("run", name)),
        data=str(stated.get("data", "")),
        train_folds=folds,
        simulated=False,
        licence=str(stated.get("licence", "")),
    )
    return before.summary()


def is_published(settings: config.TrainConfig) -> bool:
    """Return whether ``ecg.weights`` are those of a public encoder, not of a run of this package.

    A name on the hub is that of published weights.
    """
    ecg = settings.ecg
    if ecg.name not in PUBLIC_ENCODERS or ecg.weights == DEFAULT:
        return False
    name = str(ecg.weights)
    is_own = (Path(settings.run.root) / name / "model").is_dir()
    return not is_own and not (Path(name) / VOCABULARY).is_file()


def public_options(settings: config.TrainConfig) -> dict[str, Any]:
    """Return the arguments of a public encoder, from its published weights or an earlier run.

    Raises
    ------
    ValueError
        If options are set, or as ``public_encoders.encoder_options``.
    """
    ecg = settings.ecg
    if ecg.options:
        raise ValueError(
            f"ecg.options={ecg.options}: the sizes of {ecg.name} follow from ecg.weights; expected "
            "options with a class of another package only"
        )
    if is_published(settings):
        return encoder_options(ecg.name, ecg.weights, settings.waveform.fs)
    model = load_artifact(
        find_initial_model(settings.run.root, str(ecg.weights), "ecg.weights")
    ).model
    return dict(model.config.get("ecg", {}).get("options", {}))


def load_public(
    model: EcgTextModel, name: str, settings: config.TrainConfig, data: TrainingData
) -> dict[str, Any]:
    """Load published weights into a model, and print whose they are and their licence.

    Parameters
    ----------
    model : EcgTextModel
        Its ECG encoder is overwritten.
    name : str
        Value of ``ecg.weights``.

    Returns
    -------
    dict
        Provenance of the encoder, see ``Provenance.summary``.

    Raises
    ------
    ValueError
        As ``public_encoders.load_published`` and ``stated_provenance``.
    """
    ecg = settings.ecg.name
    path = load_published(model.ecg, ecg, name, model.config["ecg"]["options"])
    origin = stated_origin(ecg, path)
    provenance = stated_provenance(origin, settings, data)
    if data.distributed.is_first:
        print(
            f"ecg.weights={name}: {origin['run']}, trained on {origin['data']}; licence of the "
            f"weights: {origin['licence']}, which also applies to models that are made from them"
        )
    return provenance
