"""Labels in which earlier runs have a share: what was left unsaid, a model may have seen.

A teacher speaks only of records that it was not trained on: of the others it would repeat the
labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.run_folder import find_runs
from ecg_siglip.datasets.ptbxl import PtbXl, waveform_spec
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.training.initialization import check_provenance
from ecg_siglip.vocabulary.findings import check_same_codes


def soft_labels(
    data: PtbXl, settings: config.TrainConfig, progress: bool = False
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Labels of all records, those of the training folds shared with the teachers.

    Parameters
    ----------
    data : PtbXl
        With signals.
    settings : TrainConfig
        ``objective.teachers`` names runs beside this one, ``objective.teacher_share`` their part.
    progress : bool
        Show a bar for each teacher on stderr if that is a terminal.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float32 in [0, 1]
        ``(1 - share) * y_true + share * p`` with p the mean of the calibrated probabilities of the
        teachers that were neither trained nor tuned on the record's fold.
    list of dict
        Where each teacher comes from, see ``provenance.summary``.

    Raises
    ------
    ValueError
        If a teacher is not finished, has other findings or other signals, or has seen what this run
        must not (``initialization.check_provenance``); or if every teacher has seen one of the training folds.

    Notes
    -----
    Distillation: Hinton et al. 2015 (arXiv:1503.02531); into a model of the same kind: Furlanello
    et al. 2018 (arXiv:1805.04770). Teachers that speak of folds they were not trained on:
    cross-fitting, Chernozhukov et al. 2018 (arXiv:1608.00060).
    """
    assert data.signals is not None
    root, asked, origins = Path(settings.run.root), settings.objective, []
    total, n_said = np.zeros(data.y_true.shape), np.zeros(len(data), np.int64)
    names = find_runs(root, asked.teachers, "objective.teachers")
    for name in (name for name in names if name != settings.run.name):
        where = f"objective.teachers: {root / name}"
        if not (root / name / "model").is_dir():
            raise ValueError(f"{where}/model: expected a finished run")
        teacher = Predictor.load(root / name / "model", settings.device)
        provenance = teacher.artifact.provenance
        check_provenance(where, provenance, settings, data.version)
        check_same_codes(data.codes, teacher.artifact.codes, where)
        if teacher.artifact.waveform != waveform_spec(settings.waveform):
            raise ValueError(f"{where}: sees other signals; expected the same data.fs and waveform")
        if not provenance.same_records(data.version):
            raise ValueError(
                f"{where}: learned from other records ({provenance.data}), and which of these are "
                "among them is not known; expected a teacher of the same data"
            )
        folds = settings.data.train_folds
        if unseen := [fold for fold in folds if not provenance.has_seen(fold)]:
            rows = data.fold(*unseen)
            total[rows] += teacher.probabilities(data.signals[rows], progress=progress)
            n_said[rows] += 1
        origins.append(provenance.summary())
    learned = data.fold(*settings.data.train_folds)
    if silent := sorted({int(fold) for fold in data.strat_fold[learned[n_said[learned] == 0]]}):
        raise ValueError(
            f"objective.teachers: every one was trained or tuned on fold {silent[0]}; expected one "
            "that was not"
        )
    labels = data.y_true.astype(np.float64)
    said = total[learned] / n_said[learned][:, None]
    labels[learned] += asked.teacher_share * (said - labels[learned])
    return labels.astype(np.float32), origins
