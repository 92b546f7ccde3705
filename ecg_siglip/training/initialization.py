"""What a run starts with: the model, at random or with an encoder of another, and its optimizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.ecg_encoders import BatchNorm, ecg_encoder
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.models.text_encoders import LinearHead, TextEncoder, text_encoder
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.targets import Term, bias_from_rate
from ecg_siglip.vocabulary import findings


def check_locks(settings: config.TrainConfig) -> None:
    """Refuse to lock what has learned nothing, or what is then told to learn.

    Raises
    ------
    ValueError
        Naming the knob to change.
    """
    ecg, text = settings.ecg, settings.text
    if ecg.locked and not ecg.weights and text.name != "none":
        raise ValueError(
            "ecg.locked=true (freeze=ecg): an ECG encoder at random has nothing to say; "
            "expected ecg.weights=<finished run>"
        )
    if text.locked and text.name == "none":
        raise ValueError(
            "text.locked=true (freeze=text) with text=none: the head would stay at random; "
            "expected freeze=none"
        )
    if text.locked and text.lora_rank:
        raise ValueError(
            f"text.locked=true (freeze=text) with text.lora_rank={text.lora_rank}: LoRA learns; "
            "expected one of the two"
        )


def new_model(settings: config.TrainConfig, data: TrainingData, terms: list[Term]) -> EcgTextModel:
    """An untrained model; its bias starts at the log-odds of the measured positive rate."""
    torch.manual_seed(settings.seed)
    ecg_knobs, text_knobs = dataclasses.asdict(settings.ecg), dataclasses.asdict(settings.text)
    ecg_locked, text_locked = ecg_knobs.pop("locked"), text_knobs.pop("locked")
    ecg_knobs.pop("weights")
    text_knobs.pop("language")
    texts = [data.reports[row] for row in data.train_rows]
    for language in findings.LANGUAGES:
        texts += findings.prompts(data.codes, language)
    bias = settings.objective.logit_bias
    model_config = {
        "embed_dim": settings.embed_dim,
        "ecg": ecg_knobs,
        "text": text_knobs,
        "objective": {
            "terms": settings.objective.terms,
            "loss": settings.objective.loss,
            "n_chunk": settings.objective.n_chunk,
            "across": settings.objective.across,
        },
        "logit_scale": settings.objective.logit_scale,
        "logit_bias": bias_from_rate(data.positive_rate(terms[0])) if bias is None else bias,
    }
    text: TextEncoder
    if settings.text.name == "none":
        text = LinearHead(data.prompts, ecg_encoder(**ecg_knobs).n_features)
        with torch.no_grad():
            text.bias.copy_(data.prior_logits())
    else:
        text = text_encoder(texts=texts, **text_knobs)
    model = EcgTextModel(model_config, text)
    if text_locked:
        model.text.requires_grad_(False)
    if ecg_locked:
        model.ecg.requires_grad_(False)
        for module in model.ecg.modules():
            if isinstance(module, BatchNorm):
                # A residual branch that starts at 0 would stay there.
                torch.nn.init.ones_(module.weight)
    return model.to(data.device)


def new_optimizer(settings: config.TrainConfig, model: EcgTextModel) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors and scalars do not; the text encoder has its own rate."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = settings.optim.text_lr if name.startswith("text.") else 1.0
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


def find_encoder(name: str, settings: config.TrainConfig) -> str | Path:
    """Folder of the model meant by ``ecg.weights``, or its name on the hub (``owner/name``).

    Raises
    ------
    ValueError
        If it is neither.
    """
    run = Path(settings.run.root) / name
    if (run / "model").is_dir():
        return run / "model"
    if (Path(name) / "config.json").is_file() or (name.count("/") == 1 and not run.exists()):
        return name
    found = "has not finished its training" if run.exists() else "is no run there"
    hint = "; `make pretrain` makes it" if name == "pretrain" else ""
    raise ValueError(
        f"ecg.weights={name}: {run} {found}; expected a finished run, the folder of a model, or "
        f"owner/name on the hub{hint}"
    )


def load_encoder(
    model: EcgTextModel, name: str, settings: config.TrainConfig, data: TrainingData
) -> dict[str, Any]:
    """Give the model the ECG encoder of a finished run.

    Parameters
    ----------
    model : EcgTextModel
        Its ECG encoder is overwritten; projection, text encoder, scale and bias stay.
    name : str
        Name of a run in ``settings.run.root``, folder of a model, or name on the hub.
    settings : config.TrainConfig
    data : TrainingData

    Returns
    -------
    dict
        Provenance of the encoder, see ``Provenance.summary``.

    Raises
    ------
    ValueError
        If there is no such model, if its encoder is another one or sees other signals, or if it
        has learned from records that this run shall not see before it is scored.
    """
    where = f"ecg.weights={name}"
    artifact = load_artifact(find_encoder(name, settings))
    if not isinstance(artifact.model, EcgTextModel):
        raise ValueError(f"{where}: an ensemble has no one encoder; expected one of its members")
    seen, wanted = artifact.waveform, ptbxl.waveform_spec(settings.waveform)
    sees = {"fs": "to_fs", "duration_s": "duration_s", "low_hz": "low_hz", "high_hz": "high_hz"}
    differing = [
        f"waveform.{knob}={seen.get(k)}" for knob, k in sees.items() if seen.get(k) != wanted[k]
    ]
    theirs, ours = artifact.model.config["ecg"], model.config["ecg"]
    # Dropout belongs to the run, not to the weights.
    shape = [k for k in ours if k not in ("dropout", "drop_path")]
    differing += [f"ecg.{k}={theirs.get(k)}" for k in shape if theirs.get(k) != ours[k]]
    if differing:
        raise ValueError(f"{where}: its encoder has {', '.join(differing)}; expected the same here")
    check_provenance(where, artifact.provenance, settings, data.version)
    model.ecg.load_state_dict(artifact.model.ecg.state_dict())
    return artifact.provenance.summary()


def check_provenance(
    where: str, provenance: Provenance, settings: config.TrainConfig, version: str
) -> None:
    """Refuse what another model would bring along of records and findings kept from this run.

    Parameters
    ----------
    where : str
        The knob that names the model.
    provenance : Provenance
        Of the model; the models that it comes from are checked as well.
    settings : TrainConfig
        Of this run.
    version : str
        Of this run's data, ``PtbXl.version``.

    Raises
    ------
    ValueError
        If it knows a finding of ``data.held_out``, or has seen a fold of the same records that this
        run does not learn from.
    """
    for before in provenance.lineage():
        knew = set(settings.data.held_out) - set(before.held_out)
        if knew:
            raise ValueError(
                f"{where}: {before.run} knows {', '.join(sorted(knew))}, which data.held_out "
                "keeps from this run; expected a model that was trained without"
            )
        folds = before.folds_seen - {*settings.data.train_folds}
        folds -= {settings.data.tune_fold} - {*before.train_folds}
        if not before.same_records(version):
            print(f"{where}: {before.run} learned from other records ({before.data})")
        elif folds:
            raise ValueError(
                f"{where}: {before.run} has seen fold {min(folds)} of the same records, which "
                "this run does not learn from: its scores would be too good"
            )
