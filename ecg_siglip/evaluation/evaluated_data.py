"""The records that a model is evaluated on: a fold of its own data, or another data set."""

from __future__ import annotations

import re
import sys

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.files import shown
from ecg_siglip.datasets.duplicates import sketch_rows
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.loading import (
    load_evaluation_data,
    load_other_data,
    other_name,
    patients_seen,
)
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.evaluation.trained_run import TrainedRun

DEFAULT_FOLD = 10


def evaluated_fold(settings: config.EvaluateConfig) -> int | None:
    """Return the fold to evaluate on; None: all records, of another data set."""
    if settings.fold is None and settings.data.kind is None:
        return DEFAULT_FOLD
    return settings.fold


def output_name(settings: config.EvaluateConfig) -> str:
    """Return the name of the folder of the results, below ``evaluate/`` of the run.

    Returns
    -------
    str
        ``fold10``; of one data set of the training ``fold10-<source>``; of another data set
        ``table-<name>``, or ``table-<name>-fold10`` of one of its folds.
    """
    fold, data = evaluated_fold(settings), settings.data
    if data.kind is None:
        return folder_of_fold(DEFAULT_FOLD if fold is None else fold, data.source)
    name = f"{data.kind}-{_as_file_name(other_name(data))}"
    return name if fold is None else f"{name}-fold{fold}"


def folder_of_fold(fold: int, source: str | None = None) -> str:
    """Return the name of the folder of the results of a fold, see ``output_name``."""
    return f"fold{fold}" if source is None else f"fold{fold}-{_as_file_name(source)}"


def describe_part(settings: config.EvaluateConfig) -> str:
    """Return what is evaluated in words, for titles."""
    fold, data = evaluated_fold(settings), settings.data
    of = data.source if data.kind is None else other_name(data)
    if fold is None:
        return str(of)
    return f"fold {fold}" if of is None else f"fold {fold} of {of}"


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)


def check_evaluated(settings: config.EvaluateConfig) -> None:
    """Check settings that exclude each other.

    Raises
    ------
    ValueError
        With the setting to change.
    """
    data, default = settings.data, config.EvaluatedData()
    if data.kind is None:
        names = ("name", "fs", "table", "query", "codes", "read", "patients", "allow_unreadable")
        for name in names:
            if getattr(data, name) != getattr(default, name):
                raise ValueError(
                    f"data.{name}: belongs to another data set than that of the training; expected "
                    "data=table with it, or leave it out"
                )
    elif data.source is not None:
        raise ValueError(
            f"data.source={data.source} with data.kind={data.kind}: source is a data set of the "
            "training; expected one of the two"
        )


def load_evaluated(
    run: TrainedRun, settings: config.EvaluateConfig
) -> tuple[LabelledRecords, np.ndarray]:
    """Load the records to evaluate a run on.

    Returns
    -------
    data : LabelledRecords
        With the labels of all findings, also held-out ones; other folds are there as well.
    rows : ndarray of shape (n_records,), int64
        The records to evaluate on.

    Raises
    ------
    ValueError
        As ``loading.load_evaluation_data``; if there is no such fold or source, or the model has
        seen records of another data set.
    """
    artifact, fold = run.predictor.artifact, evaluated_fold(settings)
    if settings.data.kind is None:
        data = load_evaluation_data(
            settings.data, run.settings, artifact.waveform, artifact.codes, artifact.vocabulary
        )
    else:
        data = load_other_data(
            settings.data, run.settings, artifact.waveform, artifact.codes, artifact.vocabulary
        )
    rows = np.arange(len(data)) if fold is None else data.fold(fold)
    if settings.data.source is not None:
        rows = rows[_of_source(data, settings.data.source)[rows]]
        if not len(rows):
            raise ValueError(f"data.source={settings.data.source}: has no record of fold {fold}")
    if settings.labelled_only:
        labelled = drop_findings(data, run.settings.data.held_out).y_true
        rows = rows[labelled[rows].any(axis=1)]
    if not len(rows):
        raise ValueError(f"{describe_part(settings)}: no record to evaluate on")
    if settings.data.kind is not None:
        check_unseen(run, settings.data, data, rows)
    return data, rows


def _of_source(data: LabelledRecords, source: str) -> np.ndarray:
    try:
        return data.of_source(source)
    except ValueError as error:
        raise ValueError(f"data.{error}") from None


def note_seen(run: TrainedRun, settings: config.EvaluateConfig) -> None:
    """Print to stderr if a run was trained or tuned on the fold of its data to evaluate on."""
    trained, fold = run.settings.data, evaluated_fold(settings)
    if settings.data.kind is not None:
        return
    for word, folds in (("trained", trained.train_folds), ("tuned", [trained.tune_fold])):
        if fold in folds:
            print(f"evaluate: note: the run was {word} on fold {fold}", file=sys.stderr)


def check_unseen(
    run: TrainedRun, settings: config.EvaluatedData, data: LabelledRecords, rows: np.ndarray
) -> None:
    """Check that a model has not seen the records of another data set, as far as is known.

    Records are known by the hash of their data set and by their signals, see ``Neighbors.holds``;
    patients by other records of theirs that are known, and by ``data.patients``.

    Parameters
    ----------
    run : TrainedRun
    settings : config.EvaluatedData
    data : LabelledRecords
        The other data set.
    rows : ndarray of int64
        Records to evaluate on.

    Raises
    ------
    ValueError
        If it has, with the names of some records.
    """
    artifact, names = run.predictor.artifact, data.record_names
    folds = data.strat_fold[rows]
    for model in artifact.provenance.lineage():
        seen = np.isin(folds, [*model.folds_seen])
        if model.same_records(data.version) and seen.any():
            fold = int(folds[seen][0])
            raise ValueError(
                f"{other_name(settings)}: {model.run} has seen fold {fold} of the same records; "
                "expected fold=... with a fold that it has not seen"
            )
    if artifact.neighbors is not None:
        assert data.signals is not None
        sketches = sketch_rows(data.signals, np.arange(len(data)))
        recognized = artifact.neighbors.holds(data.ecg_id, sketches)
        recognized |= artifact.neighbors.holds(data.ecg_id, sketches, tuned=True)
        _refuse(recognized[rows], "records", rows, names, settings, run)
        # Other records of a patient, of whom one is recognized.
        of_same = np.isin(data.patient_id[rows], data.patient_id[recognized])
        _refuse(of_same, "records of patients", rows, names, settings, run)
    if settings.patients is not None:
        patients = patients_seen(run.settings, artifact.vocabulary, settings.patients)
        if patients is None:
            known = "its training had no data set of these patients"
            raise ValueError(f"data.patients={shown(settings.patients)}: {known}; leave it out")
        seen = np.isin(data.patient_id[rows], patients)
        _refuse(seen, "records of patients", rows, names, settings, run)


def _refuse(
    seen: np.ndarray,
    what: str,
    rows: np.ndarray,
    names: list[str],
    settings: config.EvaluatedData,
    run: TrainedRun,
) -> None:
    """Raise if any record has been seen."""
    if seen.any():
        first = first_of([shown(names[row]) for row in rows[seen]], 3)
        raise ValueError(
            f"{other_name(settings)}: {seen.sum()} of {len(rows)} are {what} that "
            f"{run.folder.name} was trained on: {first}; leave them out of the table"
        )
