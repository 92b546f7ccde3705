"""Initialize a run: a new model, the ECG encoder of an earlier model, and the optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import config
from ecg_siglip.core.run_folder import find_initial_model
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.duplicates import sketch_rows
from ecg_siglip.models.artifact import Artifact, load_artifact
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.ecg_encoders import BatchNorm, ecg_encoder
from ecg_siglip.models.external_encoders import register_ecg_encoder
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.models.public_encoders import PUBLIC_ENCODERS, needs_weights
from ecg_siglip.models.text_encoders import LinearHead, TextEncoder, text_encoder
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.published_weights import (
    external_provenance,
    is_published,
    load_public,
    public_options,
)
from ecg_siglip.training.targets import Term, bias_from_rate


def check_locks(settings: config.TrainConfig) -> None:
    """Check that no encoder is frozen at random weights, or frozen and trained by LoRA.

    Raises
    ------
    ValueError
        With the setting to change.
    """
    ecg, text = settings.ecg, settings.text
    if settings.init and ecg.weights:
        raise ValueError(
            f"init={settings.init} with ecg.weights={ecg.weights}: both name the initial ECG "
            "encoder; expected one of the two"
        )
    if ecg.name in PUBLIC_ENCODERS and not (ecg.weights or settings.init):
        raise ValueError(needs_weights(ecg.name))
    is_external = "." in ecg.name  # it may come with trained weights
    if ecg.locked and not (ecg.weights or settings.init or is_external) and text.name != "none":
        raise ValueError(
            "ecg.locked=true (freeze=ecg): the ECG encoder would keep its random weights; "
            "expected ecg.weights=<finished run> or init=<finished run>"
        )
    if text.locked and text.name == "none":
        raise ValueError(
            "text.locked=true (freeze=text) with text=none: the head would keep random weights; "
            "expected freeze=none"
        )
    if text.locked and text.lora_rank:
        raise ValueError(
            f"text.locked=true (freeze=text) with text.lora_rank={text.lora_rank}: LoRA trains the "
            "text encoder; expected one of the two"
        )


# Settings of the encoders that belong to a run and do not change the shape of the weights.
OF_THE_RUN = {
    "ecg": ("dropout", "drop_path", "locked", "weights"),
    "text": ("language", "locked", "max_tokens"),
    "waveform": ("allow_short", "allow_flat", "allow_gaps"),
}


def adopt_model_settings(settings: config.TrainConfig) -> config.TrainConfig:
    """Return the settings with the encoders and the waveform of the model of ``init``.

    Raises
    ------
    ValueError
        If there is no such model, it is an ensemble or has no text encoder, or a setting is neither
        the default nor that of the model.
    """
    where = f"init={settings.init}"
    artifact = load_artifact(find_initial_model(settings.run.root, str(settings.init), "init"))
    model = artifact.model
    if not isinstance(model, EcgTextModel):
        raise ValueError(f"{where}: an ensemble has several encoders; expected one of its members")
    if model.is_linear or settings.text.name == "none":
        raise ValueError(
            f"{where}: a supervised head has no text encoder; expected ecg.weights={settings.init}"
        )
    waveform = {**artifact.waveform, "fs": artifact.waveform["to_fs"]}
    theirs = {"ecg": model.config["ecg"], "text": model.config["text"], "waveform": waveform}
    default = config.TrainConfig()
    changed: dict[str, Any] = {}
    for group, values in theirs.items():
        ours = getattr(settings, group)
        adopted = {
            field.name: values[field.name]
            for field in dataclasses.fields(ours)
            if field.name in values and field.name not in OF_THE_RUN[group]
        }
        for name, value in adopted.items():
            if getattr(ours, name) not in (value, getattr(getattr(default, group), name)):
                raise ValueError(
                    f"{where}: the model has {group}.{name}={value}, and this run "
                    f"{getattr(ours, name)}; leave out the setting"
                )
        changed[group] = dataclasses.replace(ours, **adopted)
    return dataclasses.replace(settings, embed_dim=model.config["embed_dim"], **changed)


def model_from(settings: config.TrainConfig, data: TrainingData) -> tuple[EcgTextModel, Provenance]:
    """Return the model of ``init``, to be trained with other findings, and its provenance.

    Projections, scale and bias are kept as well: a new finding begins with the probability that the
    model gives to its words.

    Raises
    ------
    ValueError
        If the model was trained on records that this run must not be trained on.
    """
    artifact = load_artifact(find_initial_model(settings.run.root, str(settings.init), "init"))
    before = artifact.model
    assert isinstance(before, EcgTextModel)
    check_provenance(f"init={settings.init}", artifact.provenance, settings, data.version)
    check_records(f"init={settings.init}", artifact, data)
    model_config = {
        **before.config,
        "ecg": before.config["ecg"]
        | {"dropout": settings.ecg.dropout, "drop_path": settings.ecg.drop_path},
        "objective": _objective(settings),
    }
    model = EcgTextModel(model_config, before.text)
    model.load_state_dict(before.state_dict())
    model.ecg.requires_grad_(not settings.ecg.locked)
    if settings.text.locked:
        model.text.requires_grad_(False)
    return model.to(data.device), artifact.provenance


def _objective(settings: config.TrainConfig) -> dict[str, Any]:
    """Return the part of the objective that a model stores."""
    names = ("terms", "loss", "n_chunk", "across")
    return {name: getattr(settings.objective, name) for name in names}


def initial_model(
    settings: config.TrainConfig, data: TrainingData, terms: list[Term]
) -> tuple[EcgTextModel, dict[str, Any]]:
    """Return the model that a run starts from, and the provenance of ``init``; {} if it is new."""
    if not settings.init:
        if "." in settings.ecg.name:  # named on the user's own command line
            register_ecg_encoder(settings.ecg.name)
        model = new_model(settings, data, terms)
        return model, external_provenance(model, settings, data)
    model, provenance = model_from(settings, data)
    return model, provenance.summary()


def new_model(settings: config.TrainConfig, data: TrainingData, terms: list[Term]) -> EcgTextModel:
    """Return an untrained model, with the log-odds of the measured positive rate as its bias."""
    torch.manual_seed(settings.seed)
    ecg_settings, text_settings = (
        dataclasses.asdict(settings.ecg),
        dataclasses.asdict(settings.text),
    )
    ecg_locked, text_locked = ecg_settings.pop("locked"), text_settings.pop("locked")
    ecg_settings.pop("weights")
    if settings.ecg.name in PUBLIC_ENCODERS:
        ecg_settings["options"] = public_options(settings)
    if not ecg_settings["options"]:  # as models of earlier versions
        ecg_settings.pop("options")
    text_settings.pop("language")
    reports = [(data.reports[row], int(data.patient_id[row])) for row in data.train_rows]
    texts: list[str] = []
    for language in data.vocabulary.languages:
        for prompts in data.vocabulary.wordings(data.codes, language):
            texts += prompts
    bias = settings.objective.logit_bias
    model_config = {
        "embed_dim": settings.embed_dim,
        "ecg": ecg_settings,
        "text": text_settings,
        "objective": _objective(settings),
        "logit_scale": settings.objective.logit_scale,
        "logit_bias": bias_from_rate(data.positive_rate(terms[0])) if bias is None else bias,
    }
    text: TextEncoder
    if settings.text.name == "none":
        text = LinearHead(data.prompts, ecg_encoder(**ecg_settings).n_features)
        with torch.no_grad():
            text.bias.copy_(data.prior_logits())
    else:
        text = text_encoder(texts=texts, reports=reports, **text_settings)
    model = EcgTextModel(model_config, text)
    if text_locked:
        model.text.requires_grad_(False)
    if ecg_locked:
        model.ecg.requires_grad_(False)
        for module in model.ecg.modules():
            if isinstance(module, BatchNorm):
                # A norm that is initialized at 0 would disable its residual branch for good.
                torch.nn.init.ones_(module.weight)
    return model.to(data.device)


def new_optimizer(settings: config.TrainConfig, model: EcgTextModel) -> torch.optim.AdamW:
    """Return AdamW with weight decay for matrices only, and a rate of its own for each encoder."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    factors = {"ecg": settings.optim.ecg_lr, "text": settings.optim.text_lr}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = factors.get(name.partition(".")[0], 1.0)
            decay = settings.optim.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "factor": factor, "weight_decay": decay}
            for (factor, decay), parameters in groups.items()
        ],
        lr=settings.optim.lr,
        fused=model.device.type == "cuda" or None,
    )


def load_encoder(
    model: EcgTextModel, name: str, settings: config.TrainConfig, data: TrainingData
) -> dict[str, Any]:
    """Load the weights of the ECG encoder of a finished run, or published ones, into a model.

    Parameters
    ----------
    model : EcgTextModel
        Its ECG encoder is overwritten; projection, text encoder, scale and bias are kept.
    name : str
        As ``run_folder.find_initial_model``, or ``public_encoders.find_weights``.
    settings : config.TrainConfig
    data : TrainingData

    Returns
    -------
    dict
        Provenance of the encoder, see ``Provenance.summary``.

    Raises
    ------
    ValueError
        If there is no such model, if its encoder or its signals have other settings, or if it was
        trained on records that this run must not be trained on.
    """
    where = f"ecg.weights={name}"
    if is_published(settings):
        return load_public(model, name, settings, data)
    artifact = load_artifact(find_initial_model(settings.run.root, name, "ecg.weights"))
    if not isinstance(artifact.model, EcgTextModel):
        raise ValueError(f"{where}: an ensemble has several encoders; expected one of its members")
    differing = _differing_settings(artifact, model, settings)
    if differing:
        raise ValueError(
            f"{where}: its encoder has {', '.join(differing)}; expected the same settings in this "
            "run"
        )
    check_provenance(where, artifact.provenance, settings, data.version)
    check_records(where, artifact, data)
    model.ecg.load_state_dict(artifact.model.ecg.state_dict())
    return artifact.provenance.summary()


def _differing_settings(
    artifact: Artifact, model: EcgTextModel, settings: config.TrainConfig
) -> list[str]:
    """Return the settings of an artifact's signals and ECG encoder that differ from this run's."""
    theirs, ours = artifact.waveform, ptbxl.waveform_spec(settings.waveform)
    keys = {"fs": "to_fs", "duration_s": "duration_s", "low_hz": "low_hz", "high_hz": "high_hz"}
    differing = [
        f"waveform.{name}={theirs.get(key)}"
        for name, key in keys.items()
        if theirs.get(key) != ours[key]
    ]
    theirs, ours = artifact.model.config["ecg"], model.config["ecg"]
    # Dropout is a setting of the run and does not change the shape of the weights.
    names = [name for name in ours if name not in ("dropout", "drop_path")]
    return differing + [
        f"ecg.{name}={theirs.get(name)}" for name in names if theirs.get(name) != ours[name]
    ]


def check_provenance(
    where: str, provenance: Provenance, settings: config.TrainConfig, version: str
) -> None:
    """Check that an earlier model has not learned what this run must not learn.

    Parameters
    ----------
    where : str
        The setting that names the model, for messages.
    provenance : Provenance
        Of the model; the models that it was derived from are checked as well.
    settings : TrainConfig
        Settings of this run.
    version : str
        Version of this run's data, ``LabelledRecords.version``.

    Raises
    ------
    ValueError
        If the model learned a finding of ``data.held_out`` on real ECGs or the same records, or has
        seen a fold of the same records that this run is not trained on.
    """
    for before in provenance.lineage():
        learned = set(settings.data.held_out) - set(before.held_out)
        if learned and before.simulated and not before.same_records(version):
            print(f"{where}: {before.run} knows {', '.join(sorted(learned))} from simulated ECGs")
        elif learned:
            raise ValueError(
                f"{where}: {before.run} was trained with {', '.join(sorted(learned))}, which "
                "data.held_out hides from this run; expected a model that was trained without"
            )
        folds = before.folds_seen - {*settings.data.train_folds}
        folds -= {settings.data.tune_fold} - {*before.train_folds}
        if not before.same_records(version):
            print(f"{where}: {before.run} was trained on other records ({before.data})")
        elif folds:
            raise ValueError(
                f"{where}: {before.run} has seen fold {min(folds)} of the same records, which this "
                "run is not trained on: its scores would be too high; expected a model that was "
                "trained on other folds"
            )


def check_records(where: str, artifact: Artifact, data: TrainingData) -> None:
    """Check that an earlier model was not trained on records that this run is not trained on.

    Of data that have changed since, such as a table with more rows, other names or other folds, the
    hash does not show that. The signals do, see ``Neighbors.holds``.

    Parameters
    ----------
    where : str
        The setting that names the model, for messages.
    artifact : Artifact
    data : TrainingData
        Of this run.

    Raises
    ------
    ValueError
        If it was.
    """
    if artifact.neighbors is None:
        return
    # Fold 0 is used for nothing, see ``held_out.hide_findings``.
    settings = data.settings.data
    unseen = np.flatnonzero(~np.isin(data.strat_fold, [*settings.train_folds, 0]))
    sketches = sketch_rows(data.reader.mapped, unseen)
    is_learned = artifact.neighbors.holds(data.ecg_id[unseen], sketches)
    is_tuned = artifact.neighbors.holds(data.ecg_id[unseen], sketches, tuned=True)
    is_learned |= is_tuned & (data.strat_fold[unseen] != settings.tune_fold)
    learned = unseen[is_learned]
    if len(learned):
        folds = sorted({int(fold) for fold in data.strat_fold[learned]})
        raise ValueError(
            f"{where}: {artifact.provenance.run} was trained on {len(learned)} records of fold "
            f"{', '.join(map(str, folds))}, which this run is not trained on: its scores would be "
            "too high; expected folds as the model had them (a column `fold`)"
        )
