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
from ecg_siglip.datasets.held_out import drop_findings, hide_findings
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.sources import join_sources
from ecg_siglip.datasets.table import load_table
from ecg_siglip.vocabulary.code_mapping import read_mapping
from ecg_siglip.vocabulary.vocabulary import Vocabulary, check_same_codes
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
            "data.root: the run was trained on several data sets, each with a folder of its own"
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
    learned_codes = drop_findings(data, trained.data.held_out).codes
    check_same_codes(codes, learned_codes, where=str(changed.root or changed.name))
    return data


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
    registers = [register_of(each) for each in settings.sources]
    data = join_sources(parts, registers, progress)
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


def register_of(source: config.SourceConfig) -> str:
    """Return the name of the register that the patients of a data set are in."""
    return source.patients or ("ptbxl" if source.kind == "ptbxl" else source.name)


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
