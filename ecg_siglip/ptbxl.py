"""PTB-XL on disk, real or simulated: findings, folds, and every waveform in one cached array.

``load`` is what the other verbs stand on. As a verb this room downloads PTB-XL, checks that what
the metadata lists is there, and builds the cache::

    python -m ecg_siglip.ptbxl data.root=data/ptbxl

The cache is a folder ``<cache_dir>/<key>/`` with ``signals.i16`` (all records in the order of the
metadata, int16, microvolt) and ``index.json`` (what it was made from, and checksums). The key is a
hash of everything the signals depend on, so a changed file or setting leads to another folder. Old
folders are left where they are, since models at several sampling rates may share them: delete any
of them at any time. A folder appears under its key whole or not at all.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecg_siglip import config, findings, records, waveform
from ecg_siglip.download import download

FILENAMES = {100: "filename_lr", 500: "filename_hr"}
COLUMNS = ("patient_id", "report", "scp_codes", "strat_fold", *FILENAMES.values())
# Raise it when records.read or waveform.prepare give other numbers for the same file and setting.
PREPARATION = 1
N_CHUNK = 64  # records prepared, written and checksummed together
N_WORTH_A_PROCESS = 200  # records; starting a process takes about as long as preparing these


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
        stamps = [_stamp(root / name) for name in table[FILENAMES[fs]]]
        kept = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
        _report_missing(table[FILENAMES[fs]], kept, root, allow_missing)
        cache = _Cache(
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


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Size and time of change of both files of a record, or None if one is absent."""
    stamp: list[int] = []
    for suffix in (".hea", ".dat"):
        try:
            stat = os.stat(f"{path}{suffix}")
        except FileNotFoundError:
            return None
        stamp += (stat.st_size, stat.st_mtime_ns)
    return tuple(stamp)


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


class _Cache:
    """All signals of a root in one file, made from given files with given settings.

    Layout: ``signals.i16``, C order (n_records, 12, n_samples), little-endian int16; ``index.json``
    holds the shape, the ecg_ids, the ingredients of the key, and a CRC-32 per chunk of records,
    and is itself protected by one.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        *,
        ecg_ids: list[int],
        names: list[str],
        stamps: Iterable[tuple[int, ...] | None],
        fs: int,
        spec: dict[str, Any],
    ) -> None:
        self.folder, self.root = folder, root
        self.ecg_ids, self.names, self.fs = ecg_ids, names, fs
        # 10 and 10.0 mean the same and must lead to the same key.
        self.spec = {
            name: float(value) if type(value) is int else value for name, value in spec.items()
        }
        self.shape = (len(names), 12, round(spec["duration_s"] * spec["to_fs"]))
        files = json.dumps([ecg_ids, names, list(stamps)])
        self.ingredients = {
            "preparation": PREPARATION,
            "fs": fs,
            "waveform": self.spec,
            "files": hashlib.sha256(files.encode()).hexdigest(),
        }
        key = hashlib.sha256(json.dumps(self.ingredients, sort_keys=True).encode()).hexdigest()
        self.path = folder / key[:16]

    @property
    def n_bytes(self) -> int:
        return 2 * math.prod(self.shape)

    def open(self, n_workers: int | None, progress: bool) -> np.ndarray:
        """The signals, checked; built first if they are not there."""
        if not self.path.is_dir():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with _lock(self.folder / ".lock"):
                    if not self.path.is_dir():
                        self._build(n_workers, progress)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise self._disk_full(str(error)) from error
                raise ValueError(
                    f"cannot write the cache in {self.folder} ({error.strerror or error}): "
                    "name a folder that can be written by data.cache_dir=..."
                ) from error
        self._check()
        return np.memmap(self.path / "signals.i16", "<i2", mode="r", shape=self.shape)

    def _disk_full(self, why: str) -> ValueError:
        return ValueError(
            f"disk full: the cache needs {self.n_bytes / 1e6:.0f} MB in {self.folder} ({why}): "
            "make room or name another folder by data.cache_dir=..."
        )

    def _build(self, n_workers: int | None, progress: bool) -> None:
        # Only the holder of the lock is here, so these were left by builds that were killed.
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part = self.path.with_suffix(".part")
        free = shutil.disk_usage(self.folder).free
        if free < self.n_bytes:
            raise self._disk_full(f"{free / 1e6:.0f} MB are free")
        try:
            part.mkdir()
            with open(part / "signals.i16", "wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self.n_bytes)
                else:
                    file.truncate(self.n_bytes)
            checksums = self._prepare(part / "signals.i16", n_workers, progress)
            _fsync(part / "signals.i16")
            index = {
                "shape": self.shape,
                "ecg_id": self.ecg_ids,
                "n_chunk": N_CHUNK,
                "crc32": checksums,
                "made_from": self.ingredients,
            }
            text = json.dumps(index)
            (part / "index.json").write_text(f"{text}\n{_crc32_line(text)}")
            _fsync(part / "index.json")
            os.rename(part, self.path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _prepare(self, file: Path, n_workers: int | None, progress: bool) -> list[int]:
        jobs = []
        for start in range(0, len(self.names), N_CHUNK):
            chunk = slice(start, start + N_CHUNK)
            offset = start * self.n_bytes // self.shape[0]
            names = list(zip(self.ecg_ids[chunk], self.names[chunk], strict=True))
            jobs.append((file, offset, self.root, names, self.fs, self.spec, self.shape[1:]))
        if n_workers is None:
            n_workers = min(_n_cores(), math.ceil(len(self.names) / N_WORTH_A_PROCESS))
        bar = tqdm(
            total=len(self.names), desc="cache", unit="record", disable=None if progress else True
        )
        checksums: list[int] = []
        with bar, contextlib.ExitStack() as stack:
            results: Iterator[int] = map(_prepare_chunk, jobs)
            if min(n_workers, len(jobs)) > 1:
                # Spawned, not forked: the caller may already hold threads or a GPU.
                pool = ProcessPoolExecutor(
                    min(n_workers, len(jobs)),
                    multiprocessing.get_context("spawn"),
                    _end_with_parent,
                )
                stack.callback(pool.shutdown, cancel_futures=True)
                results = pool.map(_prepare_chunk, jobs)
            try:
                for job, checksum in zip(jobs, results, strict=True):
                    checksums.append(checksum)
                    bar.update(len(job[3]))
            except BrokenProcessPool as error:
                raise ValueError(
                    "a process that prepares records died (out of memory?): try data.n_workers=1"
                ) from error
        return checksums

    def _check(self) -> None:
        """Hold the cache on disk to its checksums, on all cores; 2 GB a second and core."""
        try:
            text, _, checksum = (self.path / "index.json").read_text().partition("\n")
            if checksum != _crc32_line(text):
                raise ValueError("checksum differs")
            index = json.loads(text)
        except (OSError, ValueError) as error:
            raise self._corrupt("index.json", str(error)) from None
        assert tuple(index["shape"]) == self.shape
        assert index["ecg_id"] == self.ecg_ids
        path, n_chunk = self.path / "signals.i16", index["n_chunk"]
        n_bytes = path.stat().st_size if path.is_file() else 0
        if n_bytes != self.n_bytes:
            raise self._corrupt(path.name, f"expected {self.n_bytes} bytes, got {n_bytes}")
        signals = np.memmap(path, "<i2", mode="r", shape=self.shape)
        starts = range(0, len(signals), n_chunk)
        with ThreadPoolExecutor(_n_cores()) as pool:
            checksums = pool.map(
                lambda start: zlib.crc32(signals[start : start + n_chunk].data), starts
            )
            for start, expected, got in zip(starts, index["crc32"], checksums, strict=True):
                if got != expected:
                    where = f"from ecg_id {self.ecg_ids[start]} on"
                    raise self._corrupt(path.name, f"checksum differs {where}")

    def _corrupt(self, name: str, why: str) -> ValueError:
        return ValueError(
            f"corrupt cache {self.path / name}: {why}; delete the folder {self.path} to rebuild it"
        )


def _crc32_line(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}\n"


def _prepare_chunk(job: tuple[Any, ...]) -> int:
    """Read, prepare and write some records; their CRC-32."""
    file, offset, root, names, fs, spec, shape = job
    block = np.empty((len(names), *shape), "<i2")
    for row, (ecg_id, name) in zip(block, names, strict=True):
        try:
            record = records.read(root / name)
            if record.fs != fs:
                raise ValueError(f"record {record.name}: expected {fs} Hz, got {record.fs:g} Hz")
            signal = waveform.prepare(
                record.signal, record.fs, record.leads, **spec, record=record.name
            )
        except (ValueError, OSError) as error:
            raise ValueError(f"ecg_id {ecg_id}: {error}") from None
        row[:] = waveform.to_int16(signal)
    with open(file, "r+b") as out:
        out.seek(offset)
        out.write(block.data)
    return zlib.crc32(block.data)


def _end_with_parent() -> None:
    """Without this a killed build would leave its processes waiting for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one process at a time; the system frees it even when that process is killed."""
    import fcntl  # not on Windows, where only building a cache would fail

    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"waiting for another process that builds a cache in {path.parent}", file=sys.stderr
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fsync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


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
