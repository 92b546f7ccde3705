"""Labels that are mixed with the probabilities of earlier runs (teachers).

A teacher contributes only to records that it was not trained on; for the others it would reproduce
the labels that it has learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.run_folder import find_runs
from ecg_siglip.datasets.duplicates import sketch_rows
from ecg_siglip.datasets.ptbxl import waveform_spec
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.training.initialization import check_provenance
from ecg_siglip.vocabulary.vocabulary import check_same_codes


def soft_labels(
    data: LabelledRecords, settings: config.TrainConfig, progress: bool = False
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Compute labels of all records; those of the training folds are mixed with teachers.

    Parameters
    ----------
    data : LabelledRecords
        With signals.
    settings : TrainConfig
        ``objective.teachers`` names other runs in ``run.root``, ``objective.teacher_share`` is the
        weight of their probabilities.
    progress : bool
        Show a bar for each teacher on stderr if that is a terminal.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float32 in [0, 1]
        ``(1 - share) * y_true + share * p`` with p the mean of the calibrated probabilities of the
        teachers that were neither trained nor tuned on the record's fold. 0 where a label is
        unknown: it stays unknown, and no teacher fills it in, so that what a model learns about
        a finding comes from records where it was assessed.
    list of dict
        Provenance of each teacher, see ``Provenance.summary``.

    Raises
    ------
    ValueError
        If a teacher is not finished, has other findings or other signals, or has seen what this run
        must not learn (``initialization.check_provenance``); or if every teacher has seen one of
        the training folds.

    Notes
    -----
    Distillation: Hinton et al. 2015 (arXiv:1503.02531); into a model of the same kind: Furlanello
    et al. 2018 (arXiv:1805.04770). Predictions for folds that a model was not trained on:
    cross-fitting, Chernozhukov et al. 2018 (arXiv:1608.00060).
    """
    assert data.signals is not None
    root, objective, summaries = Path(settings.run.root), settings.objective, []
    total, n_teachers = np.zeros(data.y_true.shape), np.zeros(len(data), np.int64)
    names = find_runs(root, objective.teachers, "objective.teachers")
    for name in (name for name in names if name != settings.run.name):
        teacher = _load_teacher(root / name, data, settings)
        provenance = teacher.artifact.provenance
        folds = settings.data.train_folds
        if unseen := [fold for fold in folds if not provenance.has_seen(fold)]:
            rows = data.fold(*unseen)
            neighbors = teacher.artifact.neighbors
            sketches = sketch_rows(data.signals, rows)
            if neighbors is not None and neighbors.holds(data.ecg_id[rows], sketches).any():
                raise ValueError(
                    f"objective.teachers: {root / name}: was trained on records that have other "
                    "folds in this run; expected a teacher of the same folds"
                )
            total[rows] += teacher.probabilities(
                SignalRows.of(data.signals, rows), progress=progress
            )
            n_teachers[rows] += 1
        summaries.append(provenance.summary())
    train_rows = data.fold(*settings.data.train_folds)
    without_teacher = train_rows[n_teachers[train_rows] == 0]
    if folds_without := sorted({int(fold) for fold in data.strat_fold[without_teacher]}):
        raise ValueError(
            f"objective.teachers: every one was trained or tuned on fold {folds_without[0]}; "
            "expected one that was not"
        )
    labels = data.y_true.astype(np.float64)
    mean = total[train_rows] / n_teachers[train_rows][:, None]
    labels[train_rows] += objective.teacher_share * (mean - labels[train_rows])
    if data.known is not None:
        labels[~data.known] = 0.0
    return labels.astype(np.float32), summaries


def _load_teacher(run: Path, data: LabelledRecords, settings: config.TrainConfig) -> Predictor:
    """Load a teacher, and check that its findings, signals and data are those of this run."""
    where = f"objective.teachers: {run}"
    if not (run / "model").is_dir():
        raise ValueError(f"{where}/model: expected a finished run")
    teacher = Predictor.load(run / "model", settings.device)
    provenance = teacher.artifact.provenance
    check_provenance(where, provenance, settings, data.version)
    check_same_codes(data.codes, teacher.artifact.codes, where)
    if teacher.artifact.waveform != waveform_spec(settings.waveform):
        raise ValueError(
            f"{where}: has signals with other settings; expected the same data.fs and waveform"
        )
    if not provenance.same_records(data.version):
        raise ValueError(
            f"{where}: was trained on other records ({provenance.data}), and which of this run's "
            "records are among them is unknown; expected a teacher of the same data"
        )
    return teacher
