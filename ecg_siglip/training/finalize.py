"""Finish a training run: calibration and thresholds of the best weights, and the saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import __version__, config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.duplicates import sketch_rows
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.datasets.signal_rows import SignalRows
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
from ecg_siglip.models.artifact import Artifact, Tuning, save_artifact
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.models.novelty import statistics_of
from ecg_siglip.models.provenance import Provenance, describe_commit, describe_machine
from ecg_siglip.training.state import weights_of
from ecg_siglip.training.trainer import Trainer


def save_artifact_for_run(
    training: Trainer, loaded: LabelledRecords, run: Path
) -> dict[str, float]:
    """Tune the best weights on the tuning fold and write ``model/`` of the run.

    Parameters
    ----------
    training : Trainer
        After its last epoch.
    loaded : LabelledRecords
        The data that it was trained on.
    run : Path
        Folder of the run.

    Returns
    -------
    dict of str to float
        Scores on the tuning fold, on which the thresholds were tuned.
    """
    settings, data = training.settings, training.data
    tune_rows = loaded.fold(settings.data.tune_fold)
    y_tune = loaded.labels(tune_rows)
    if unknown := [data.codes[i] for i in np.flatnonzero(np.isnan(y_tune).all(axis=0))]:
        print(
            f"note: fold {settings.data.tune_fold} has no known label of {first_of(unknown)}; not "
            "calibrated"
        )
    with weights_of(training.model, training.best["weights"]):
        signals = SignalRows.of(data.reader.mapped, tune_rows)
        predict = training.tune_probabilities
        calibration, thresholds, calibrated = tune_fold(y_tune, predict(signals))
        tuning = Tuning(calibration, thresholds, operating_thresholds(calibrated, y_tune))
        fewer_leads: dict[str, Tuning] = {}
        if settings.augment.fewer_leads > 0:
            fewer_leads = tune_fewer_leads(y_tune, predict, signals[:])
        sources: dict[str, dict[str, Tuning]] = {}
        if settings.data.tune_per_source:
            overall = {"12": tuning, **fewer_leads}
            sources = tune_sources(loaded, tune_rows, predict, overall)
        scores = multilabel.scores(y_tune, calibrated, thresholds, n_bootstrap=0)
        provenance = _provenance(training, loaded, len(tune_rows), scores)
        artifact = Artifact(
            model=training.model,
            codes=data.codes,
            prompts=data.prompts,
            vocabulary=data.vocabulary,
            waveform=ptbxl.waveform_spec(settings.waveform),
            **vars(tuning),
            provenance=provenance,
            fewer_leads=fewer_leads,
            sources=sources,
            neighbors=_neighbors(training, tune_rows) if settings.keep_embeddings else None,
        )
        artifact = with_rule_scores(artifact, y_tune, calibrated)
        save_artifact(run / "model", artifact, artifact.card())
    if settings.data.tune_per_source and (rest := {*loaded.sources} - {*sources}):
        print(
            f"note: {', '.join(sorted(rest))}: too few labels in fold {settings.data.tune_fold} "
            "for calibration and thresholds of its own"
        )
    print(
        f"\ntuning fold {settings.data.tune_fold} (optimistically biased: thresholds tuned on it):"
    )
    print(headline(scores))
    if provenance.origin:
        print(f"note: {provenance.origin}")
    print(
        f"wrote {run / 'model'}/ ({training.seconds / 60:.1f} minutes of training); next:\n"
        f"python -m ecg_siglip.evaluate run.name={settings.run.name} fold=..."
    )
    return scores


def _provenance(
    training: Trainer, loaded: LabelledRecords, n_tune_records: int, scores: dict[str, float]
) -> Provenance:
    """Return the provenance of the best weights, with their scores on the tuning fold."""
    settings, data = training.settings, training.data
    is_simulated = loaded.is_simulated[data.train_rows]
    return Provenance(
        run=settings.run.name,
        version=__version__,
        data=loaded.version,
        task=settings.data.task,
        held_out=settings.data.held_out,
        simulated=bool(is_simulated.all()),
        n_simulated_records=int(is_simulated.sum()),
        ecg=settings.ecg.name,
        text=settings.text.name,
        language=settings.text.language or loaded.vocabulary.language,
        objective=describe_objective(settings.objective, training.teachers),
        train_folds=settings.data.train_folds,
        tune_fold=settings.data.tune_fold,
        seed=settings.seed,
        n_train_records=len(data.train_rows),
        n_tune_records=n_tune_records,
        best_epoch=training.best["epoch"],
        pretrained=Provenance.from_json(training.pretrained) if training.pretrained else None,
        teachers=tuple(map(Provenance.from_json, training.teachers)),
        pairs={term.name: data.pair_shares(term) for term in training.terms},
        train_seconds=round(training.seconds, 1),
        machine=describe_machine(
            data.device, "bfloat16" if training.bfloat16 else "float32", training.distributed.n
        ),
        commit=describe_commit(),
        tune_scores=without_nan(scores),
        never_present=[
            code
            for code, present in zip(
                data.codes, data.y_true[data.train_rows].any(axis=0), strict=True
            )
            if not present
        ],
    )


def _neighbors(training: Trainer, tune_rows: np.ndarray) -> Neighbors:
    """Return the embeddings of the training records, with the current weights."""
    data, rows = training.data, training.data.train_rows
    signals, fs = data.reader.mapped, float(training.settings.waveform.fs)
    _, train_ND = training.forward(SignalRows.of(signals, rows))
    _, tune_MD = training.forward(SignalRows.of(signals, tune_rows))
    return Neighbors.from_embeddings(
        train_ND,
        data.ecg_id[rows],
        data.y_true[rows],
        tune_MD,
        (sketch_rows(signals, rows), sketch_rows(signals, tune_rows)),
        None if data.names is None else [data.names[row] for row in rows],
        (statistics_of(signals, fs, rows), statistics_of(signals, fs, tune_rows)),
    )


def describe_objective(objective: config.ObjectiveConfig, teachers: list[dict[str, Any]]) -> str:
    """Describe the objective, for the model card."""
    names = ", ".join(each["run"] for each in teachers)
    shared = f"; {objective.teacher_share:g} of a label from {names}" if teachers else ""
    return f"{objective.terms} ({objective.loss}){shared}"
