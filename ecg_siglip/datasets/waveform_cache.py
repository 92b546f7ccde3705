"""Waveform cache: all waveforms of a data set in one array on disk, checked whenever it is opened.

A cache is a folder ``<cache_dir>/<key>/`` with ``signals.i16`` (all records in the order of the
metadata, int16, microvolt) and ``index.json`` (its sources and checksums). The key is a hash of
everything that the signals depend on, so a changed file or setting leads to another folder. Old
folders are not removed, since models at several sampling rates may share them; each can be deleted
at any time. A folder appears under its key whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import multiprocessing
import os
import re
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ecg_siglip.core.files import hold, one_line, replace_folder, shown, tidy, write_file
from ecg_siglip.core.helper_process import available_cores
from ecg_siglip.readers.preparation import prepare_record
from ecg_siglip.readers.record import read_record

# Increase it when record.read_record or preprocessing.prepare_signal return other numbers for the
# same file and settings.
PREPARATION = 2
N_CHUNK = 64  # records prepared, written and checksummed together
MIN_RECORDS_PER_PROCESS = 200  # starting a process takes about as long as preparing these


def file_stamp(path: Path) -> tuple[int, ...] | None:
    """Return size and modification time of both files of a record, or None if one is absent."""
    numbers: list[int] = []
    for suffix in (".hea", ".dat"):
        try:
            stat = os.stat(f"{path}{suffix}")
        except FileNotFoundError:
            return None
        numbers += (stat.st_size, stat.st_mtime_ns)
    return tuple(numbers)


def record_stamp(path: Path) -> tuple[int, ...] | None:
    """Return size and modification time of the files of a record in any format, None if absent.

    A WFDB record may be named without suffix.
    """
    numbers: list[int] = []
    for name in (path, path.with_name(f"{path.name}.hea")):
        if name.is_file():
            siblings = [name] if name.suffix != ".hea" else [name, *_signal_files(name)]
            for file in siblings:
                stat = os.stat(file)
                numbers += (stat.st_size, stat.st_mtime_ns)
            return tuple(numbers)
    # An exam within a file, as ``read_record`` accepts it.
    return record_stamp(path.parent) if path.parent.is_file() else None


def _signal_files(header: Path) -> list[Path]:
    """Return the files next to a WFDB header that usually have its samples."""
    return [file for suffix in (".dat", ".mat") if (file := header.with_suffix(suffix)).is_file()]


class WaveformCache:
    """All signals of a root in one file, made from given files with given settings.

    Parameters
    ----------
    folder, root : Path
        Folder of the caches, and folder where the names begin.
    ecg_ids : list of int
    names : list of str
        Files of the records, relative to the root.
    stamps : iterable of tuple of int
        Size and time of each record's files, see ``record_stamp``.
    fs : int, Hz, optional
        Sampling rate that every file must have; None: any.
    spec : dict
        Keyword arguments of ``preprocessing.prepare_signal``.
    read : list of dict, optional
        Keyword arguments of ``read_record`` for each record.
    allow_unreadable : bool
        Store zeros for a record that cannot be read, see ``is_readable``, instead of raising.

    Notes
    -----
    ``signals.i16`` is in C order (n_records, 12, n_samples), little-endian int16. ``index.json``
    contains the shape, the ecg_ids, the ingredients of the key, the errors of unreadable records,
    and a CRC-32 per chunk of records; its second line is its own CRC-32.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        *,
        ecg_ids: list[int],
        names: list[str],
        stamps: Iterable[tuple[int, ...] | None],
        fs: int | None,
        spec: dict[str, Any],
        read: list[dict[str, Any]] | None = None,
        allow_unreadable: bool = False,
    ) -> None:
        self.folder, self.root = folder, root
        self.read, self.allow_unreadable = read, allow_unreadable
        self.unreadable: dict[int, str] = {}  # row: error, known when the cache is open
        self.ecg_ids, self.names, self.fs = ecg_ids, names, fs
        # 10 and 10.0 mean the same and must lead to the same key.
        self.spec = {
            name: float(value) if type(value) is int else value for name, value in spec.items()
        }
        self.shape = (len(names), 12, round(spec["duration_s"] * spec["to_fs"]))
        files = json.dumps([ecg_ids, names, list(stamps), *([read] if read else [])])
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
        """Size of ``signals.i16``."""
        return 2 * math.prod(self.shape)

    def open(self, n_workers: int | None, progress: bool) -> np.ndarray:
        """Return the signals, memory-mapped and checked; build the cache first if needed.

        Parameters
        ----------
        n_workers : int, optional
            Processes that build it. By default one per core, fewer for few records.
        progress : bool
            Show a bar on stderr if that is a terminal.

        Returns
        -------
        memmap of shape (n_records, 12, n_samples), int16, uV, read-only

        Raises
        ------
        ValueError
            If a record cannot be read or prepared, or the cache is corrupt, cannot be written or
            does not fit on the disk.
        """
        if not self.path.is_dir():
            try:
                with hold(self.folder, math.inf, inside=True):
                    if not self.path.is_dir():
                        self._build(n_workers, progress)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise self._disk_full(str(error)) from error
                raise ValueError(
                    f"cannot write the cache in {self.folder} ({error.strerror or error}): "
                    "set data.cache_dir=... to a folder that can be written"
                ) from error
        else:
            tidy(self.folder)
        self._check()
        return np.memmap(self.path / "signals.i16", "<i2", mode="r", shape=self.shape)

    def _disk_full(self, why: str) -> ValueError:
        return ValueError(
            f"disk full: the cache needs {self.n_bytes / 1e6:.0f} MB in {self.folder} ({why}): "
            "free some space, or set data.cache_dir=... to another folder"
        )

    def _build(self, n_workers: int | None, progress: bool) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self.n_bytes:
            raise self._disk_full(f"{free / 1e6:.0f} MB are free")
        with replace_folder(self.path) as partial:
            with open(partial / "signals.i16", "wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self.n_bytes)
                else:
                    file.truncate(self.n_bytes)
            checksums, unreadable = self._prepare(partial / "signals.i16", n_workers, progress)
            index = {
                "shape": self.shape,
                "ecg_id": self.ecg_ids,
                "n_chunk": N_CHUNK,
                "crc32": checksums,
                "made_from": self.ingredients,
                "unreadable": unreadable,
            }
            text = json.dumps(index)
            (partial / "index.json").write_text(f"{text}\n{_crc32_line(text)}")

    def _prepare(
        self, file: Path, n_workers: int | None, progress: bool
    ) -> tuple[list[int], dict[int, str]]:
        """Prepare all records; return the checksum per chunk, and the errors by row."""
        jobs = []
        for start in range(0, len(self.names), N_CHUNK):
            chunk = slice(start, start + N_CHUNK)
            offset = start * self.n_bytes // self.shape[0]
            read = self.read[chunk] if self.read else [{}] * len(self.names[chunk])
            records = list(zip(self.ecg_ids[chunk], self.names[chunk], read, strict=True))
            jobs.append(
                _Job(
                    file,
                    offset,
                    self.root,
                    records,
                    self.fs,
                    self.spec,
                    self.shape[1:],
                    self.allow_unreadable,
                )
            )
        bar = tqdm(
            total=len(self.names), desc="cache", unit="record", disable=None if progress else True
        )
        checksums: list[int] = []
        unreadable: dict[int, str] = {}
        with bar, map_records(_prepare_chunk, jobs, len(self.names), n_workers) as results:
            for job, (checksum, errors) in zip(jobs, results, strict=True):
                start = len(checksums) * N_CHUNK
                unreadable |= {start + i: error for i, error in errors.items()}
                checksums.append(checksum)
                bar.update(len(job.records))
        return checksums, unreadable

    def is_readable(self) -> np.ndarray:
        """Return which records of the open cache could be read, (n_records,) bool."""
        readable = np.ones(len(self.names), bool)
        readable[list(self.unreadable)] = False
        return readable

    def _check(self) -> None:
        """Compare the cache on disk with its checksums, on all cores; 2 GB per second and core."""
        try:
            text, _, checksum = (self.path / "index.json").read_text().partition("\n")
            if checksum != _crc32_line(text):
                raise ValueError("checksum differs")
            index = json.loads(text)
        except (OSError, ValueError) as error:
            raise self._corrupt("index.json", str(error)) from None
        assert tuple(index["shape"]) == self.shape
        assert index["ecg_id"] == self.ecg_ids
        self.unreadable = {int(row): text for row, text in index.get("unreadable", {}).items()}
        if self.unreadable and not self.allow_unreadable:
            raise ValueError(next(iter(self.unreadable.values())))
        path, n_chunk = self.path / "signals.i16", index["n_chunk"]
        n_bytes = path.stat().st_size if path.is_file() else 0
        if n_bytes != self.n_bytes:
            raise self._corrupt(path.name, f"expected {self.n_bytes} bytes, got {n_bytes}")
        signals = np.memmap(path, "<i2", mode="r", shape=self.shape)
        starts = range(0, len(signals), n_chunk)
        with ThreadPoolExecutor(available_cores()) as pool:
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


def report_unreadable(cache: WaveformCache, progress: bool) -> None:
    """Print how many records of an open cache could not be read, and list them in a file.

    Raises
    ------
    ValueError
        If no record is left.
    """
    if not cache.unreadable:
        return
    errors = list(cache.unreadable.values())
    if len(errors) == len(cache.names):
        raise ValueError(f"none of {len(errors)} records can be read: {errors[0]}")
    path = cache.path.with_suffix(".unreadable.txt")
    write_file(path, "".join(f"{error}\n" for error in errors))
    if progress:
        print(
            f"{len(errors)} of {len(cache.names)} records cannot be read and are left out: "
            f"{errors[0]}; all in {path}",
            file=sys.stderr,
        )


def reason_of(error: BaseException) -> str:
    """Return why a record of a data set cannot be read; a reader names the settings of predict."""
    return re.sub(r"\bread\.(\w+)=", r"data.read.\1=", one_line(error))


def _crc32_line(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}\n"


class _Job(NamedTuple):
    """Some records for ``_prepare_chunk``."""

    file: Path
    offset: int
    root: Path
    records: list[tuple[int, str, dict[str, Any]]]
    fs: int | None
    spec: dict[str, Any]
    shape: tuple[int, ...]
    allow_unreadable: bool


def _prepare_chunk(job: _Job) -> tuple[int, dict[int, str]]:
    """Read, prepare and write some records; return their CRC-32, and the errors by position."""
    block = np.zeros((len(job.records), *job.shape), "<i2")
    errors: dict[int, str] = {}
    for i, (ecg_id, name, read) in enumerate(job.records):
        try:
            record = read_record(job.root / name, **read)
            if job.fs is not None and record.fs != job.fs:
                raise ValueError(
                    f"record {record.name}: expected {job.fs} Hz, got {record.fs:g} Hz"
                )
            block[i] = prepare_record(record, job.spec, drawn=False).signal
        except (ValueError, OSError) as error:
            which = f"ecg_id {ecg_id}" if job.fs is not None else shown(name)
            errors[i] = f"{which}: {reason_of(error)}"
            if not job.allow_unreadable:
                raise ValueError(errors[i]) from None
    with open(job.file, "r+b") as out:
        out.seek(job.offset)
        out.write(block.data)
    return zlib.crc32(block.data), errors


@contextlib.contextmanager
def map_records(
    function: Callable[[Any], Any], jobs: Sequence[Any], n_records: int, n_workers: int | None
) -> Iterator[Iterator[Any]]:
    """Yield the results of a function for jobs on records, in order, from several processes.

    Parameters
    ----------
    function : function of a job
    jobs : sequence
    n_records : int
        Of all jobs together.
    n_workers : int, optional
        Processes. By default one per core, fewer for few records.

    Raises
    ------
    ValueError
        If a process dies.
    """
    if n_workers is None:
        n_workers = min(available_cores(), math.ceil(n_records / MIN_RECORDS_PER_PROCESS))
    with contextlib.ExitStack() as stack:
        results: Iterator[Any] = map(function, jobs)
        if min(n_workers, len(jobs)) > 1:
            # Spawned, not forked: the caller may already hold threads or a GPU.
            pool = ProcessPoolExecutor(
                min(n_workers, len(jobs)), multiprocessing.get_context("spawn"), _end_with_parent
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            results = pool.map(function, jobs)
        try:
            yield results
        except BrokenProcessPool as error:
            raise ValueError(
                "a process that prepares records died (out of memory?): try data.n_workers=1"
            ) from error


def _end_with_parent() -> None:
    """End this process when its parent ends; a killed build would leave it waiting for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
