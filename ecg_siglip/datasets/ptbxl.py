"""PTB-XL on disk, real or simulated: findings, folds, reports, waveforms in one array."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.datasets.ptbxl_metadata import (
    FILENAMES,
    check_codes,
    file_names,
    read_numbered_metadata,
)
from ecg_siglip.datasets.ptbxl_metadata import read_metadata as read_metadata
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.datasets.table_problems import Problems
from ecg_siglip.datasets.waveform_cache import WaveformCache, file_stamp
from ecg_siglip.signals.preprocessing import VERSION
from ecg_siglip.simulation.marker import is_marked
from ecg_siglip.vocabulary.report_text import is_machine_report
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import PTBXL, load_vocabulary


def load_ptbxl(
    root: str | os.PathLike[str],
    *,
    fs: int = 100,
    task: str = "all",
    vocabulary: Vocabulary | str = PTBXL,
    allow_missing: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    waveform: dict[str, Any] | None = None,
    signals: bool = True,
    progress: bool = True,
    problems: Problems | None = None,
) -> LabelledRecords:
    """Load PTB-XL with the findings of a task and, from the cache, its waveforms.

    The first call with given settings reads every record and builds the cache; later calls map the
    cache into memory and check it. Several processes may call this at the same time: one builds
    the cache, the others wait.

    Parameters
    ----------
    root : path
        Folder with ``ptbxl_database.csv`` and ``records100/`` or ``records500/``.
    fs : {100, 500}, Hz
        Which of the two folders is read.
    task : str
        See ``Vocabulary.tasks``.
    vocabulary : Vocabulary or str
        What the codes of ``scp_codes`` mean: a vocabulary, or its name or file.
    allow_missing : bool
        Leave out records that are absent on disk, instead of raising an error.
    cache_dir : path, optional
        By default ``root/cache``.
    n_workers : int, optional
        Processes that build the cache. By default one per core, fewer for few records.
    waveform : dict
        Keyword arguments of ``preprocessing.prepare_signal``; required if `signals` is True.
    signals : bool
        False: read the metadata only.
    progress : bool
        Show a bar on stderr if that is a terminal.
    problems : Problems, optional
        Collects wrong rows of the metadata, which are left out; None: the first one is an error.

    Raises
    ------
    ValueError
        If the metadata is wrong (see ``read_metadata``) or has an unknown code, records are absent
        and `allow_missing` is False, a record cannot be read or prepared, or the cache is corrupt,
        cannot be written or does not fit on the disk.
    """
    root = Path(root)
    if fs not in FILENAMES:
        raise ValueError(f"data.fs={fs}: PTB-XL has 100 and 500 Hz")
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = load_vocabulary(vocabulary)
    vocabulary.task(task)  # an unknown task is reported before the files are read
    problems = problems or Problems()
    table, rows = read_numbered_metadata(root, problems)
    check_codes(table, rows, vocabulary, problems)
    names = file_names(table, rows, fs, problems)
    data = _labels(root, table, names, task, vocabulary)
    if not signals:
        return dataclasses.replace(data, fs=float(fs))
    if waveform is None:
        raise ValueError(
            "expected `waveform`, the arguments of preprocessing.prepare_signal, got None"
        )
    cache_dir = Path(cache_dir) if cache_dir is not None else root / "cache"
    present, cache = _waveform_cache(root, cache_dir, names, fs, waveform, allow_missing)
    array = cache.open(n_workers, progress)
    if len(present) < len(table):
        data = _labels(root, table.iloc[present], names.iloc[present], task, vocabulary)
    return dataclasses.replace(
        data, signals=array, fs=waveform["to_fs"], n_missing=len(table) - len(present)
    )


def _labels(
    root: Path, table: pd.DataFrame, names: pd.Series, task: str, vocabulary: Vocabulary
) -> LabelledRecords:
    """Return the records of a table with their findings, without signals."""
    codes = vocabulary.task_codes(task)
    likelihood = _likelihoods(table, task, vocabulary)
    return LabelledRecords(
        ecg_id=table.index.to_numpy(np.int64),
        patient_id=table["patient_id"].to_numpy(np.int64),
        strat_fold=table["strat_fold"].to_numpy(np.int64),
        codes=codes,
        y_true=~np.isnan(likelihood),
        likelihood=likelihood,
        reports=table["report"].tolist(),
        paths=[root / name for name in names],
        signals=None,
        fs=float("nan"),
        version=metadata_version(root, len(table)),
        n_missing=0,
        autogenerated=_flag(table, "initial_autogenerated_report")
        | np.array([is_machine_report(report) for report in table["report"]], bool),
        validated=_flag(table, "validated_by_human"),
        simulated=np.full(len(table), is_marked(root)),
        vocabulary=vocabulary,
    )


def metadata_version(root: Path, n_records: int) -> str:
    """Return the number of records and the hash of the metadata, see ``LabelledRecords``."""
    digest = hashlib.sha256((root / "ptbxl_database.csv").read_bytes()).hexdigest()[:12]
    return f"{n_records} records, metadata sha256 {digest}"


def _likelihoods(table: pd.DataFrame, task: str, vocabulary: Vocabulary) -> np.ndarray:
    """Return the likelihood of each finding of a task, (n_records, n_findings), NaN if absent."""
    rows = [
        vocabulary.to_task(scp_codes, task, record=f"ecg_id {ecg_id}")
        for ecg_id, scp_codes in table["scp_codes"].items()
    ]
    codes = vocabulary.task_codes(task)
    return np.array([[row.get(code, np.nan) for code in codes] for row in rows], np.float32)


def _waveform_cache(
    root: Path,
    cache_dir: Path,
    names: pd.Series,
    fs: int,
    waveform: dict[str, Any],
    allow_missing: bool,
) -> tuple[np.ndarray, WaveformCache]:
    """Return the positions of the records on disk, and the cache of their waveforms."""
    stamps = [file_stamp(root / name) for name in names]
    present = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    _report_missing(names, present, root, allow_missing)
    cache = WaveformCache(
        cache_dir,
        root,
        ecg_ids=names.index[present].tolist(),
        names=names.iloc[present].tolist(),
        stamps=[stamps[i] for i in present],
        fs=fs,
        spec=waveform,
    )
    return present, cache


def _flag(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as booleans; all False if the table has no such column."""
    if name not in table:
        return np.zeros(len(table), bool)
    return (
        table[name]
        .map(lambda cell: str(cell).strip().lower() in ("true", "1", "1.0"))
        .to_numpy(bool)
    )


def _report_missing(names: pd.Series, present: np.ndarray, root: Path, allow_missing: bool) -> None:
    """Raise if records are absent on disk, or print how many if that is allowed."""
    absent = names.drop(names.index[present]).tolist()
    if not absent:
        return
    what = f"{len(absent)} of {len(names)} records listed are absent in {root}: {first_of(absent)}"
    if not allow_missing:
        raise ValueError(f"{what}; download them, or leave them out with data.allow_missing=true")
    if not len(present):
        raise ValueError(f"{what}; none is left")
    print(f"{what}; they are left out", file=sys.stderr)


def waveform_spec(settings: config.WaveformConfig) -> dict[str, Any]:
    """Return the settings ``waveform`` as keyword arguments of ``preprocessing.prepare_signal``."""
    spec = dataclasses.asdict(settings)
    return {"to_fs": spec.pop("fs"), "version": VERSION, **spec}
