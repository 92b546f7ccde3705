"""PTB-XL on disk, real or simulated: findings, folds, and every waveform in one cached array.

``load`` is what the other verbs stand on. As a verb this room downloads PTB-XL, checks that what
the metadata lists is there, and builds the cache::

    python -m ecg_siglip.ptbxl data.root=data/ptbxl
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config, findings
from ecg_siglip.cache import Cache, stamp
from ecg_siglip.download import download

FILENAMES = {100: "filename_lr", 500: "filename_hr"}
COLUMNS = ("patient_id", "report", "scp_codes", "strat_fold", *FILENAMES.values())


@dataclasses.dataclass
class PtbXl:
    """The records of PTB-XL with their findings, row by row in the order of the metadata.

    Attributes
    ----------
    ecg_id, patient_id, strat_fold : ndarray of shape (n_records,), int64
    codes : tuple of str
        The findings of the task, one per column.
    y_true : ndarray of shape (n_records, n_findings), bool
        Whether the finding is stated, at any likelihood, 0 included.
    likelihood : ndarray of shape (n_records, n_findings), float32, 0 to 100
        What the cardiologist stated; 0 means present without a stated likelihood; NaN where the
        finding is absent.
    reports : list of str
    paths : list of Path
        The WFDB records, without suffix.
    signals : memmap of shape (n_records, 12, n_samples), int16, uV, read-only; or None
    fs : float, Hz
        Sampling rate of the signals; without signals, of the files.
    version : str
        Number of records and hash of the metadata, for the model card.
    n_missing : int
        Records that the metadata lists but that were absent on disk, and left out.
    """

    ecg_id: np.ndarray
    patient_id: np.ndarray
    strat_fold: np.ndarray
    codes: tuple[str, ...]
    y_true: np.ndarray
    likelihood: np.ndarray
    reports: list[str]
    paths: list[Path]
    signals: np.ndarray | None
    fs: float
    version: str
    n_missing: int

    def __len__(self) -> int:
        return len(self.ecg_id)

    def fold(self, *folds: int) -> np.ndarray:
        """Positions of the records in the given folds, in order.

        Returns
        -------
        ndarray of shape (n_records_of_the_folds,), int64

        Raises
        ------
        ValueError
            If a fold has no record.
        """
        present = np.unique(self.strat_fold).tolist()
        if empty := sorted(set(folds) - set(present)):
            raise ValueError(f"no record of fold {_first(empty)}: the data has folds {present}")
        return np.flatnonzero(np.isin(self.strat_fold, folds))


def read_metadata(root: str | os.PathLike[str]) -> pd.DataFrame:
    """``ptbxl_database.csv`` as a table indexed by ``ecg_id``, in the order of the file.

    Parameters
    ----------
    root : path
        Folder that holds the file.

    Returns
    -------
    DataFrame
        All columns of the file; ``scp_codes`` as dictionaries from code to likelihood (float,
        0 to 100), ``patient_id`` and ``strat_fold`` as int64, ``report`` as str.

    Raises
    ------
    ValueError
        If the file is missing or no such table, a column is missing, an ``ecg_id`` occurs twice,
        a row cannot be parsed, a fold is not 1 to 10, or a patient's records lie in several folds
        (scores would then be too good).
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
    for name in ("ecg_id", "patient_id", "strat_fold"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = ~(numbers % 1 == 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            where = f"ecg_id {table['ecg_id'][row]} (record {row + 1} of the file)"
            raise ValueError(f"{path}: {where}: expected an integer {name}, got {table[name][row]}")
        table[name] = numbers.astype(np.int64)
    table = table.set_index("ecg_id")
    if doubled := table.index[table.index.duplicated()].tolist():
        raise ValueError(f"{path}: ecg_id {_first(doubled)} occurs more than once")
    if wrong_folds := table.index[~table["strat_fold"].between(1, 10)].tolist():
        raise ValueError(f"{path}: ecg_id {_first(wrong_folds)}: expected a strat_fold of 1 to 10")
    n_folds = table.groupby("patient_id")["strat_fold"].nunique()
    if crossing := n_folds.index[n_folds > 1].tolist():
        raise ValueError(f"{path}: records of patient_id {_first(crossing)} lie in several folds")
    parsed: dict[object, dict[str, float]] = {}  # three rows in four repeat an earlier one
    for ecg_id, text in table["scp_codes"].items():
        if text not in parsed:
            parsed[text] = _parse_codes(text, ecg_id, path)
    table["scp_codes"] = pd.Series(
        [dict(parsed[text]) for text in table["scp_codes"]], table.index, dtype=object
    )
    table["report"] = table["report"].fillna("").astype(str)
    return table


def load(
    root: str | os.PathLike[str],
    *,
    fs: int = 100,
    task: str = "all",
    allow_missing: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    waveform: dict[str, Any] | None = None,
    signals: bool = True,
    progress: bool = True,
) -> PtbXl:
    """PTB-XL with the findings of a task and, from the cache, its waveforms.

    The first call with given settings reads every record and builds the cache; later ones map it
    into memory and check it. Several processes may call this at the same time: one builds, the
    others wait.

    Parameters
    ----------
    root : path
        Folder with ``ptbxl_database.csv`` and ``records100/`` or ``records500/``.
    fs : {100, 500}, Hz
        Which of the two folders is read.
    task : str
        See ``findings.task_codes``.
    allow_missing : bool
        Leave out records that are absent on disk, instead of refusing.
    cache_dir : path, optional
        Default ``root/cache``.
    n_workers : int, optional
        Processes that build the cache. Default: one per core, fewer for few records.
    waveform : dict
        Keyword arguments of ``waveform.prepare``: ``to_fs``, ``duration_s``, ``low_hz``,
        ``high_hz``, ``allow_short``, ``allow_flat``. Needed unless `signals` is False.
    signals : bool
        False: labels only; nothing but the metadata is looked at.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    PtbXl

    Raises
    ------
    ValueError
        If the metadata is wrong (see ``read_metadata``), holds an unknown code, records are
        absent and `allow_missing` is False, a record cannot be read or prepared, or the cache is
        corrupt, cannot be written or does not fit on the disk.
    """
    root = Path(root)
    if fs not in FILENAMES:
        raise ValueError(f"data.fs={fs}: PTB-XL has 100 and 500 Hz")
    table = read_metadata(root)
    digest = hashlib.sha256((root / "ptbxl_database.csv").read_bytes()).hexdigest()[:12]
    codes = findings.task_codes(task)
    rows = [
        findings.to_task(scp_codes, task, record=f"ecg_id {ecg_id}")
        for ecg_id, scp_codes in table["scp_codes"].items()
    ]
    likelihood = np.array([[row.get(code, np.nan) for code in codes] for row in rows], np.float32)
    for ecg_id, name in table[FILENAMES[fs]].items():
        if not isinstance(name, str):
            raise ValueError(f"ecg_id {ecg_id}: expected a file in {FILENAMES[fs]}, got {name}")
    kept, array, array_fs = np.arange(len(table)), None, fs
    if signals:
        if waveform is None:
            raise ValueError("expected `waveform`, the arguments of waveform.prepare, got None")
        stamps = [stamp(root / name) for name in table[FILENAMES[fs]]]
        kept = np.array([i for i, found in enumerate(stamps) if found is not None], np.int64)
        _report_missing(table[FILENAMES[fs]], kept, root, allow_missing)
        cache = Cache(
            Path(cache_dir) if cache_dir is not None else root / "cache",
            root,
            ecg_ids=table.index[kept].tolist(),
            names=table[FILENAMES[fs]].iloc[kept].tolist(),
            stamps=[stamps[i] for i in kept],
            fs=fs,
            spec=waveform,
        )
        array = cache.open(n_workers, progress)
        array_fs = waveform["to_fs"]
    table = table.iloc[kept]
    return PtbXl(
        ecg_id=table.index.to_numpy(np.int64),
        patient_id=table["patient_id"].to_numpy(np.int64),
        strat_fold=table["strat_fold"].to_numpy(np.int64),
        codes=codes,
        y_true=~np.isnan(likelihood[kept]),
        likelihood=likelihood[kept],
        reports=table["report"].tolist(),
        paths=[root / name for name in table[FILENAMES[fs]]],
        signals=array,
        fs=array_fs,
        version=f"{len(table)} records, metadata sha256 {digest}",
        n_missing=len(rows) - len(table),
    )


def _parse_codes(text: object, ecg_id: object, path: Path) -> dict[str, float]:
    try:
        parsed = ast.literal_eval(str(text))
        return {str(code): float(likelihood) for code, likelihood in parsed.items()}
    except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
        raise ValueError(
            f"{path}: ecg_id {ecg_id}: expected scp_codes like {{'NORM': 100.0}}, got {text!r:.80}"
        ) from None


def _first(items: Sequence[object], n: int = 5) -> str:
    """The first few of a list in words."""
    more = f" and {len(items) - n} more" if len(items) > n else ""
    return ", ".join(map(str, items[:n])) + more


def _report_missing(names: pd.Series, kept: np.ndarray, root: Path, allow_missing: bool) -> None:
    absent = names.drop(names.index[kept]).tolist()
    if not absent:
        return
    what = f"{len(absent)} of {len(names)} records listed are absent in {root}: {_first(absent)}"
    if not allow_missing:
        raise ValueError(f"{what}; download them or go on without by data.allow_missing=true")
    if not len(kept):
        raise ValueError(f"{what}; none is left")
    print(f"{what}; going on without them", file=sys.stderr)


def waveform_spec(knobs: config.WaveformConfig) -> dict[str, Any]:
    """The knobs of ``waveform`` as the keyword arguments of ``waveform.prepare``."""
    settings = dataclasses.asdict(knobs)
    return {"to_fs": settings.pop("fs"), **settings}


def main(settings: config.PtbxlConfig) -> None:
    """Download what is missing, check, cache, and say what is there."""
    start_s = time.monotonic()
    data = settings.data
    if settings.download:
        n_fetched = download(
            data.root,
            url=settings.url,
            fs=data.fs,
            n_downloads=settings.n_downloads,
            timeout_s=settings.timeout_s,
            n_retries=settings.n_retries,
        )
        print(f"downloaded {n_fetched} files to {data.root}, all files match SHA256SUMS.txt")
    loaded = load(
        data.root,
        fs=data.fs,
        allow_missing=data.allow_missing,
        cache_dir=data.cache_dir,
        n_workers=data.n_workers,
        waveform=waveform_spec(settings.waveform),
    )
    assert loaded.signals is not None
    folds, counts = np.unique(loaded.strat_fold, return_counts=True)
    print(f"{data.root}: {loaded.version}, {loaded.n_missing} listed but absent")
    print("records per fold: " + "  ".join(f"{f}: {n}" for f, n in zip(folds, counts, strict=True)))
    print(f"{int(loaded.y_true.any(0).sum())} of {len(loaded.codes)} findings occur")
    print(
        f"cache {Path(loaded.signals.filename).parent}: {loaded.signals.shape} int16, "  # type: ignore[attr-defined]
        f"{loaded.signals.nbytes / 1e6:.0f} MB, {time.monotonic() - start_s:.1f} s"
    )


if __name__ == "__main__":
    config.run("ptbxl", config.PtbxlConfig, main)
