"""Ensemble of trained runs, as one run: the mean of their logits, or of their weights.

The members are not changed; calibration and thresholds are re-fitted on the tuning fold for the
mean. ``evaluate``, ``predict`` and ``compare`` treat the ensemble like any other run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ecg_siglip import __version__, config
from ecg_siglip.core.distributed import pick_device
from ecg_siglip.core.files import hold, write_file
from ecg_siglip.core.run_folder import check_run_name, find_runs, from_yaml, to_yaml
from ecg_siglip.datasets.duplicates import sketch_rows
from ecg_siglip.datasets.held_out import hide_findings
from ecg_siglip.datasets.loading import load_evaluation_data
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.predictor import forward
from ecg_siglip.inference.tuning import (
    tune_fewer_leads,
    tune_fold,
    tune_sources,
    with_rule_scores,
)
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.metrics.summary import headline
from ecg_siglip.models.artifact import Artifact, Tuning, load_artifact, save_artifact
from ecg_siglip.models.dual_encoder import EcgTextModel, Ensemble, Model
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.novelty import statistics_of
from ecg_siglip.models.provenance import Provenance, merged_provenance
from ecg_siglip.training.sampling import select_share
from ecg_siglip.vocabulary.vocabulary import check_same_codes


def members_of(root: Path, names: list[str]) -> list[tuple[config.TrainConfig, Artifact]]:
    """Load runs, each with its settings and model.

    Raises
    ------
    ValueError
        If a run is not finished, or differs from the first in findings, prompts, waveform, data or
        folds.
    """
    members: list[tuple[config.TrainConfig, Artifact]] = []
    for name in names:
        if not (root / name / "model").is_dir():
            raise ValueError(f"{root / name}/model: expected a finished run")
        settings = from_yaml(config.TrainConfig, root / name / "config.yaml")
        artifact = load_artifact(root / name / "model")
        if not isinstance(artifact.model, EcgTextModel):
            raise ValueError(f"{root / name}: is an ensemble; expected single runs")
        first = members[0] if members else (settings, artifact)
        check_same_codes(first[1].codes, artifact.codes, where=str(root / name))
        for what, ours, theirs in (
            ("text.language", settings.text.language, first[0].text.language),
            ("prompts", artifact.prompts, first[1].prompts),
            ("waveform", artifact.waveform, first[1].waveform),
            ("data.task", settings.data.task, first[0].data.task),
            ("data.fs", settings.data.fs, first[0].data.fs),
            ("data.held_out", settings.data.held_out, first[0].data.held_out),
            ("data.train_folds", settings.data.train_folds, first[0].data.train_folds),
            ("data.tune_fold", settings.data.tune_fold, first[0].data.tune_fold),
            ("data", artifact.provenance.data, first[1].provenance.data),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{root / name}: {what} differs from {names[0]}; expected the same"
                )
        members.append((settings, artifact))
    return members


def average_weights(models: Sequence[EcgTextModel]) -> EcgTextModel:
    """Return the model whose weights are the mean of those of models of the same form.

    Raises
    ------
    ValueError
        If the models differ in their settings.

    Notes
    -----
    Model soups, Wortsman et al. 2022 (arXiv:2203.05482). The mean of weights is only of use if the
    models were trained from the same ones.
    """
    first = models[0]
    own = ("embed_dim", "ecg", "text", "objective", "logit_scale", "logit_bias")
    model_config = {name: first.config[name] for name in own if name in first.config}
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {k: w.shape for k, w in state.items()} != {k: w.shape for k, w in states[0].items()}:
            raise ValueError(
                "average=weights: the models have weights of different shapes; expected runs of "
                "one recipe"
            )
    model = EcgTextModel(model_config, first.text)
    model.load_state_dict(
        {
            name: torch.stack([state[name] for state in states]).mean(0)
            if weight.is_floating_point()
            else weight
            for name, weight in states[0].items()
        }
    )
    return model


def _check_same_start(members: list[tuple[config.TrainConfig, Artifact]]) -> None:
    """Check that runs started from all weights of the same model."""
    starts = list(dict.fromkeys(str(settings.init) for settings, _ in members))
    if starts == ["None"] or len(starts) > 1:
        raise ValueError(
            f"average=weights: runs with init={', '.join(starts)}; expected runs that started from "
            "the same model"
        )


def join_runs(settings: config.EnsembleConfig) -> None:
    """Join runs to an ensemble; writes ``runs/<name>/`` with ``config.yaml`` and ``model/``.

    Raises
    ------
    ValueError
        If there are fewer than two runs, another run of the name exists, or the runs do not fit
        together.
    """
    check_run_name(settings.run.name)
    root = Path(settings.run.root)
    names = find_runs(root, settings.runs)
    names = [name for name in names if name != settings.run.name]
    if len(names) < 2:
        raise ValueError(f"runs: {', '.join(names) or 'none'}; expected two or more")
    run = root / settings.run.name
    with hold(run, settings.wait_s, inside=True):
        has_model = (run / "model").is_dir()
        others = [path for path in run.iterdir() if not path.name.startswith(".")]
        # An ensemble that was interrupted has its configuration, if anything.
        if not has_model and others not in ([], [run / "config.yaml"]):
            raise ValueError(f"{run} exists; expected another run.name")
        _join_in(run, names, settings, has_model)


def _join_in(run: Path, names: list[str], settings: config.EnsembleConfig, is_joined: bool) -> None:
    """Join runs in a folder of which this process holds the lock."""
    members = members_of(run.parent, names)
    if settings.average == "weights":
        _check_same_start(members)
    trained, artifacts = members[0][0], [artifact for _, artifact in members]
    provenance = replace(
        merged_provenance([artifact.provenance for artifact in artifacts], names),
        run=settings.run.name,
        version=__version__,
    )
    if is_joined:
        if not _is_same(load_artifact(run / "model"), provenance, settings.average):
            raise ValueError(f"{run} exists; expected another run.name")
        if not (run / "config.yaml").exists():  # the model has only now taken its place
            trained.run = settings.run
            write_file(run / "config.yaml", to_yaml(trained).encode())
        print(f"{run} is complete; its model is in {run / 'model'}")
        return
    artifact, scores = _join(artifacts, trained, provenance, settings)
    trained.run = settings.run
    try:
        write_file(run / "config.yaml", to_yaml(trained).encode())
        card = artifact.card()
        save_artifact(run / "model", artifact, card)
    except BaseException:
        (run / "config.yaml").unlink(missing_ok=True)  # useless alone
        raise
    print(f"tuning fold {trained.data.tune_fold} (optimistically biased: thresholds tuned on it):")
    print(headline(scores))
    print(f"wrote {run / 'model'}/ of {len(names)} members: {', '.join(names)}")


def _is_same(stored: Artifact, provenance: Provenance, average: str) -> bool:
    """Return whether an ensemble has these members, as they are now, averaged in this way."""
    ours, theirs = (
        json.loads(json.dumps(each.to_json())) | {"version": "", "tune_scores": {}}
        for each in (provenance, stored.provenance)
    )
    return ours == theirs and isinstance(stored.model, Ensemble) == (average == "logits")


def _join(
    artifacts: list[Artifact],
    trained: config.TrainConfig,
    provenance: Provenance,
    settings: config.EnsembleConfig,
) -> tuple[Artifact, dict[str, float]]:
    """Return the ensemble of models, tuned on the tuning fold, and its scores there."""
    first = artifacts[0]
    models = [a.model for a in artifacts if isinstance(a.model, EcgTextModel)]
    model: Model = average_weights(models) if settings.average == "weights" else Ensemble(models)
    model = model.to(pick_device(settings.device)).eval()
    data = load_evaluation_data(
        settings.data, trained, first.waveform, first.codes, first.vocabulary
    )
    data = hide_findings(data, trained.data.held_out)
    rows = data.fold(trained.data.tune_fold)
    assert data.signals is not None
    text_FD = model.encode_text(first.prompts).detach()
    signals, y_true = SignalRows.of(data.signals, rows), data.labels(rows)

    def predict(signals: np.ndarray | SignalRows) -> np.ndarray:
        return forward(model, text_FD, signals, progress=True)[0]

    calibration, thresholds, calibrated = tune_fold(y_true, predict(signals))
    neighbors = None
    if all(artifact.neighbors for artifact in artifacts):
        train_rows = data.fold(*trained.data.train_folds)
        train_rows = select_share(train_rows, data.ecg_id, trained.data.train_share)
        _, train_ND = forward(
            model, text_FD, SignalRows.of(data.signals, train_rows), progress=True
        )
        _, tune_MD = forward(model, text_FD, signals)
        neighbors = Neighbors.from_embeddings(
            train_ND,
            data.ecg_id[train_rows],
            data.y_true[train_rows],
            tune_MD,
            (sketch_rows(data.signals, train_rows), sketch_rows(data.signals, rows)),
            None if data.names is None else [data.names[row] for row in train_rows],
            (
                statistics_of(data.signals, data.fs, train_rows),
                statistics_of(data.signals, data.fs, rows),
            ),
        )
    scores = multilabel.scores(y_true, calibrated, thresholds, n_bootstrap=0)
    operating = operating_thresholds(calibrated, y_true)
    fewer_leads: dict[str, Tuning] = {}
    if all(artifact.fewer_leads for artifact in artifacts):
        fewer_leads = tune_fewer_leads(y_true, predict, signals[:])
    sources: dict[str, dict[str, Tuning]] = {}
    if all(artifact.sources for artifact in artifacts):
        overall = {"12": Tuning(calibration, thresholds, operating), **fewer_leads}
        sources = tune_sources(data, rows, predict, overall)
    artifact = Artifact(
        model=model,
        codes=first.codes,
        prompts=first.prompts,
        vocabulary=first.vocabulary,
        waveform=first.waveform,
        calibration=calibration,
        thresholds=thresholds,
        operating=operating,
        provenance=replace(provenance, tune_scores=without_nan(scores)),
        fewer_leads=fewer_leads,
        sources=sources,
        neighbors=neighbors,
    )
    return with_rule_scores(artifact, y_true, calibrated), scores
