"""PTB-XL on disk, real or simulated: findings, folds, reports, waveforms in one array."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.datasets.waveform_cache import WaveformCache, file_stamp
from ecg_siglip.signals.preprocessing import VERSION
from ecg_siglip.vocabulary.report_text import is_machine_report
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import PTBXL, load_vocabulary

FILENAMES = {100: "filename_lr", 500: "filename_hr"}
COLUMNS = ("patient_id", "report", "scp_codes", "strat_fold", *FILENAMES.values())


def read_metadata(root: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``ptbxl_database.csv`` as a table indexed by ``ecg_id``, in the order of the file.

    Parameters
    ----------
    root : path
        Folder with the file.

    Returns
    -------
    DataFrame
        All columns of the file; ``scp_codes`` as dictionaries from code to likelihood (float,
        0 to 100), ``patient_id`` and ``strat_fold`` as int64, ``report`` as str.

    Raises
    ------
    ValueError
        If the file is missing or is not such a table, a column is missing, an ``ecg_id`` occurs
        twice, a row cannot be parsed, a fold is not 1 to 10, or a patient has records in several
        folds (scores would then be too high).
    """
    path = Path(root) / "ptbxl_database.csv"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: download PTB-XL with `python -m ecg_siglip.ptbxl data.root={root}`"
            f" or simulate one with `python -m ecg_siglip.simulate data.root={root}`"
        )
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise ValueError(f"{path}: expected a table in CSV form, got: {error}") from error
    if absent := [name for name in ("ecg_id", *COLUMNS) if name not in table.columns]:
        raise ValueError(f"{path}: expected the columns of PTB-XL, missing: {', '.join(absent)}")
    if not len(table):
        raise ValueError(f"{path}: expected at least one record, got none")
    _parse_integers(table, path)
    table = table.set_index("ecg_id")
    _check_ids_and_folds(table, path)
    parsed: dict[object, dict[str, float]] = {}  # three of four rows repeat the text of another
    for ecg_id, text in table["scp_codes"].items():
        if text not in parsed:
            parsed[text] = _parse_codes(text, ecg_id, path)
    table["scp_codes"] = pd.Series(
        [dict(parsed[text]) for text in table["scp_codes"]], table.index, dtype=object
    )
    table["report"] = table["report"].fillna("").astype(str)
    return table


def _parse_integers(table: pd.DataFrame, path: Path) -> None:
    """Convert the columns of ids and folds to int64, in place."""
    for name in ("ecg_id", "patient_id", "strat_fold"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = ~(numbers % 1 == 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            where = f"ecg_id {table['ecg_id'][row]} (record {row + 1} of the file)"
            raise ValueError(f"{path}: {where}: expected an integer {name}, got {table[name][row]}")
        table[name] = numbers.astype(np.int64)


def _check_ids_and_folds(table: pd.DataFrame, path: Path) -> None:
    if doubled := table.index[table.index.duplicated()].tolist():
        raise ValueError(f"{path}: ecg_id {first_of(doubled)} occurs more than once")
    if wrong_folds := table.index[~table["strat_fold"].between(1, 10)].tolist():
        raise ValueError(
            f"{path}: ecg_id {first_of(wrong_folds)}: expected a strat_fold of 1 to 10"
        )
    n_folds = table.groupby("patient_id")["strat_fold"].nunique()
    if crossing := n_folds.index[n_folds > 1].tolist():
        raise ValueError(f"{path}: patient_id {first_of(crossing)} has records in several folds")


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
    table = read_metadata(root)
    data = _labels(root, table, fs, task, vocabulary)
    if not signals:
        return data
    if waveform is None:
        raise ValueError(
            "expected `waveform`, the arguments of preprocessing.prepare_signal, got None"
        )
    cache_dir = Path(cache_dir) if cache_dir is not None else root / "cache"
    names = table[FILENAMES[fs]]
    present, cache = _waveform_cache(root, cache_dir, names, fs, waveform, allow_missing)
    array = cache.open(n_workers, progress)
    if len(present) < len(table):
        data = _labels(root, table.iloc[present], fs, task, vocabulary)
    return dataclasses.replace(
        data, signals=array, fs=waveform["to_fs"], n_missing=len(table) - len(present)
    )


def _labels(
    root: Path, table: pd.DataFrame, fs: int, task: str, vocabulary: Vocabulary
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
        paths=[root / name for name in _file_names(table, fs)],
        signals=None,
        fs=fs,
        version=metadata_version(root, len(table)),
        n_missing=0,
        autogenerated=_flag(table, "initial_autogenerated_report")
        | np.array([is_machine_report(report) for report in table["report"]], bool),
        validated=_flag(table, "validated_by_human"),
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


def _file_names(table: pd.DataFrame, fs: int) -> pd.Series:
    """Return the file of each record at a sampling rate, relative to the root."""
    for ecg_id, name in table[FILENAMES[fs]].items():
        if not isinstance(name, str):
            raise ValueError(f"ecg_id {ecg_id}: expected a file in {FILENAMES[fs]}, got {name}")
    return table[FILENAMES[fs]]


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


def _parse_codes(text: object, ecg_id: object, path: Path) -> dict[str, float]:
    try:
        parsed = ast.literal_eval(str(text))
        return {str(code): float(likelihood) for code, likelihood in parsed.items()}
    except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
        raise ValueError(
            f"{path}: ecg_id {ecg_id}: expected scp_codes like {{'NORM': 100.0}}, got {text!r:.80}"
        ) from None


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
