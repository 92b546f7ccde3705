"""Load PTB-XL by the settings of a training run, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import drop_findings, hide_findings
from ecg_siglip.datasets.records import LabelledRecords
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
    data = ptbxl.load_ptbxl(
        settings.data.root,
        fs=settings.data.fs,
        task=settings.data.task,
        vocabulary=load_vocabulary(settings.vocabulary),
        allow_missing=settings.data.allow_missing,
        cache_dir=settings.data.cache_dir,
        n_workers=settings.data.n_workers,
        waveform=ptbxl.waveform_spec(settings.waveform),
        progress=progress,
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
    data = ptbxl.load_ptbxl(
        settings.root or trained.data.root,
        fs=trained.data.fs,
        task=trained.data.task,
        vocabulary=vocabulary or load_vocabulary(trained.vocabulary),
        allow_missing=settings.allow_missing or trained.data.allow_missing,
        cache_dir=settings.cache_dir or trained.data.cache_dir,
        n_workers=settings.n_workers,
        waveform=waveform,
    )
    learned_codes = drop_findings(data, trained.data.held_out).codes
    check_same_codes(codes, learned_codes, where=str(settings.root or trained.data.root))
    return data
