"""PTB-XL as a configuration wants it, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import drop_findings, hide_findings
from ecg_siglip.vocabulary.findings import check_same_codes


def load_training_data(settings: config.TrainConfig, progress: bool) -> ptbxl.PtbXl:
    """PTB-XL as the configuration wants it."""
    data = ptbxl.load_ptbxl(
        settings.data.root,
        fs=settings.data.fs,
        task=settings.data.task,
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
) -> ptbxl.PtbXl:
    """Load the data that a run is evaluated on, with the labels of all findings, held-out ones too.

    Parameters
    ----------
    settings : config.EvaluateData
    trained : config.TrainConfig
        Of the run.
    waveform : dict
        Arguments of ``preprocessing.prepare_signal``, as the run's model states them.
    codes : sequence of str
        The model's findings.
    """
    data = ptbxl.load_ptbxl(
        settings.root or trained.data.root,
        fs=trained.data.fs,
        task=trained.data.task,
        allow_missing=settings.allow_missing or trained.data.allow_missing,
        cache_dir=settings.cache_dir or trained.data.cache_dir,
        n_workers=settings.n_workers,
        waveform=waveform,
    )
    told = drop_findings(data, trained.data.held_out).codes
    check_same_codes(codes, told, where=str(settings.root or trained.data.root))
    return data
