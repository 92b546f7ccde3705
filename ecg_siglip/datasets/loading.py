"""Load the data sets of a training run, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.challenge_records import load_challenge
from ecg_siglip.datasets.held_out import (
    drop_findings,
    hide_findings,
    leave_out_unknown,
    select_findings,
)
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.sources import distinct_names, join_sources
from ecg_siglip.datasets.table import load_table, parse_table
from ecg_siglip.datasets.table_file import ENVIRONMENT
from ecg_siglip.vocabulary.code_mapping import read_mapping
from ecg_siglip.vocabulary.vocabulary import ALL, Vocabulary, check_same_codes
from ecg_siglip.vocabulary.vocabulary_file import load_vocabulary


def load_training_data(settings: config.TrainConfig, progress: bool) -> LabelledRecords:
    """Load the data of a training run, without the findings of ``data.held_out``.

    Parameters
    ----------
    settings : config.TrainConfig
    progress : bool
        Show a bar on stderr while the cache is built.
    """
    data = load_data(
        settings.data,
        load_vocabulary(settings.vocabulary),
        ptbxl.waveform_spec(settings.waveform),
        progress,
    )
    return hide_findings(data, settings.data.held_out)


def load_evaluation_data(
    settings: config.EvaluateData,
    trained: config.TrainConfig,
    waveform: dict[str, Any],
    codes: Sequence[str],
    vocabulary: Vocabulary | None = None,
) -> LabelledRecords:
    """Load the data for evaluating a run, with the labels of all findings, also held-out ones.

    Parameters
    ----------
    settings : config.EvaluateData
    trained : config.TrainConfig
        Settings of the run.
    waveform : dict
        Keyword arguments of ``preprocessing.prepare_signal``, as stored with the run's model.
    codes : sequence of str
        The model's findings.
    vocabulary : Vocabulary, optional
        That of the model; by default that of the settings.

    Raises
    ------
    ValueError
        If the findings of the data, without the held-out ones, are not those of the model.
    """
    if settings.root and trained.data.sources:
        raise ValueError(
            "data.root: the run was trained on several data sets, each with a folder of its own; "
            "for other data in the layout of PTB-XL: expected data.kind=ptbxl, too"
        )
    changed = replace(
        trained.data,
        root=settings.root or trained.data.root,
        allow_missing=settings.allow_missing or trained.data.allow_missing,
        cache_dir=settings.cache_dir or trained.data.cache_dir,
        n_workers=settings.n_workers,
    )
    vocabulary = vocabulary or load_vocabulary(trained.vocabulary)
    data = load_data(changed, vocabulary, waveform, progress=True)
    held_out = trained.data.held_out
    learned = drop_findings(data, held_out)
    if learned.codes != tuple(codes):
        learned = leave_out_unknown(learned, trained.data.train_folds)
    check_same_codes(codes, learned.codes, where=str(changed.root or changed.name))
    return select_findings(data, [*codes, *held_out])


def load_other_data(
    settings: config.EvaluatedData,
    trained: config.TrainConfig,
    waveform: dict[str, Any],
    codes: Sequence[str],
    vocabulary: Vocabulary,
) -> LabelledRecords:
    """Load another data set than that of the training, for evaluating a run.

    Parameters
    ----------
    settings : config.EvaluatedData
        With the kind of the data set, and its table or folder.
    trained, waveform, codes, vocabulary
        See ``load_evaluation_data``.

    Raises
    ------
    ValueError
        If the codes of the data set are not those of the model's vocabulary.
    """
    source = config.SourceConfig(
        name=other_name(settings),
        kind=str(settings.kind),
        root=settings.root,
        fs=settings.fs,
        table=settings.table,
        query=settings.query,
        codes=settings.codes,
        read=settings.read,
        allow_missing=settings.allow_missing,
        allow_unreadable=settings.allow_unreadable,
    )
    shared = replace(
        trained.data, sources=[], cache_dir=settings.cache_dir, n_workers=settings.n_workers
    )
    data = _load_source(source, shared, vocabulary, waveform, progress=True)
    # Findings that the training has left out, see ``leave_out_unknown``, may be known here.
    data = select_findings(data, [*codes, *trained.data.held_out])
    check_same_codes(codes, drop_findings(data, trained.data.held_out).codes, where=source.name)
    return data


def other_name(settings: config.EvaluatedData) -> str:
    """Return the name of another data set: as it is set, or that of its table or folder."""
    place = settings.table or settings.root or ""
    is_file = "://" not in place and not place.startswith(ENVIRONMENT)
    return settings.name or (Path(place).stem if is_file and Path(place).stem else "data")


def register_of(source: config.SourceConfig) -> str:
    """Return the name of the register of a data set's patients, see ``SourceConfig.patients``."""
    return source.patients or ("ptbxl" if source.kind == "ptbxl" else source.name)


def patients_seen(
    trained: config.TrainConfig, vocabulary: Vocabulary, register: str
) -> np.ndarray | None:
    """Return the patients of a register that a run was trained or tuned on.

    Only metadata are read.

    Parameters
    ----------
    trained : config.TrainConfig
    vocabulary : Vocabulary
    register : str
        See ``register_of``.

    Returns
    -------
    ndarray of int64, or None
        None if no data set of the run has patients of the register.

    Raises
    ------
    ValueError, OSError
        If its metadata cannot be read.
    """
    folds = [*trained.data.train_folds, trained.data.tune_fold]
    parts = []
    for source in trained.data.sources or [trained.data]:
        if register_of(source) != register:
            continue
        if source.kind == "ptbxl":
            table = ptbxl.read_metadata(Path(str(source.root)))
            seen = table["strat_fold"].isin(folds).to_numpy()
            parts.append(table["patient_id"].to_numpy(np.int64)[seen])
        elif source.kind == "table" and source.table:
            mapping = read_mapping(Path(source.codes), vocabulary.codes) if source.codes else None
            rows = parse_table(source.table, vocabulary, ALL, source.query, mapping)
            parts.append(rows.patient_id[np.isin(rows.strat_fold, folds)])
    return np.concatenate(parts) if parts else None


def load_data(
    settings: config.DataConfig,
    vocabulary: Vocabulary,
    waveform: dict[str, Any],
    progress: bool,
) -> LabelledRecords:
    """Load one data set, or several as one.

    Parameters
    ----------
    settings : config.DataConfig
    vocabulary : Vocabulary
    waveform : dict
        Keyword arguments of ``preprocessing.prepare_signal``.
    progress : bool
    """
    if not settings.sources:
        return _load_source(settings, settings, vocabulary, waveform, progress)
    parts = [
        _load_source(each, settings, vocabulary, waveform, progress) for each in settings.sources
    ]
    parts = distinct_names(parts, [each.name for each in settings.sources])
    data = join_sources(parts, [register_of(each) for each in settings.sources], progress)
    names = [
        name
        for part, each in zip(parts, settings.sources, strict=True)
        for name in part.sources
        if not each.tune
    ]
    if not names:
        return data
    is_other = np.isin(data.source_of, [data.sources.index(name) for name in names])
    return data.take(np.flatnonzero(~is_other | (data.strat_fold != settings.tune_fold)))


def _load_source(
    source: config.SourceConfig,
    settings: config.DataConfig,
    vocabulary: Vocabulary,
    waveform: dict[str, Any],
    progress: bool,
) -> LabelledRecords:
    """Load one data set with its own settings, and those that all of a run share."""
    if source.kind != "table" and not source.root:
        raise ValueError(f"data.root is missing for {source.name}; expected data.root=...")
    # Data sets in one folder of caches do not overwrite each other: a key is a hash of the files.
    shared: dict[str, Any] = {
        "task": settings.task,
        "vocabulary": vocabulary,
        "cache_dir": settings.cache_dir,
        "n_workers": settings.n_workers,
        "waveform": waveform,
        "progress": progress,
    }
    if source.kind == "challenge":
        return load_challenge(str(source.root), allow_unreadable=source.allow_unreadable, **shared)
    if source.kind == "ptbxl":
        data = ptbxl.load_ptbxl(
            str(source.root), fs=source.fs, allow_missing=source.allow_missing, **shared
        )
        return replace(data, sources=(source.name,))
    if not source.table:
        raise ValueError(f"data.table is missing for {source.name}; expected data.table=...")
    mapping = read_mapping(Path(source.codes), vocabulary.codes) if source.codes else None
    data = load_table(
        source.table,
        query=source.query,
        root=source.root,
        mapping=mapping,
        read={name: value for name, value in asdict(source.read).items() if value},
        allow_missing=source.allow_missing,
        allow_unreadable=source.allow_unreadable,
        **shared,
    )
    return replace(data, sources=(source.name,))
