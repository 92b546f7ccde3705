"""Open the files of a data set and report what is in them: rates, lengths, amplitudes, copies."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ecg_siglip.datasets.duplicates import N_SKETCH, find_duplicates, sketch
from ecg_siglip.datasets.waveform_cache import N_CHUNK, map_records, reason_of
from ecg_siglip.readers.file_format import detect_format, read_head
from ecg_siglip.readers.preparation import prepare_record
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS, available_leads
from ecg_siglip.signals.signal_checks import FLAT_MV, amplitude_mv

N_KEPT = 4096  # prepared signals in memory while copies are compared, about 100 MB
MISSING, UNREADABLE, UNUSABLE = "missing file", "unreadable file", "unusable record"


class FileToOpen(NamedTuple):
    """A file of a data set, and how it is read.

    Attributes
    ----------
    path : str
    read : dict
        Arguments of ``read_record``.
    fs : int, Hz, optional
        Sampling rate that it must have.
    allow_short : bool
        Short records are padded.
    """

    path: str
    read: dict[str, Any]
    fs: int | None = None
    allow_short: bool = False


class FileFacts(NamedTuple):
    """What is in a file.

    Attributes
    ----------
    problem : str
        ``MISSING``, ``UNREADABLE``, ``UNUSABLE`` (read, but a model cannot use it) or "".
    reason : str
        Why, on one line.
    format : str
    fs : float, Hz; 0 if it cannot be read, as are all others below
    duration_s : float, s
    amplitude_mv : float, mV
        Of a typical lead, see ``signal_checks.amplitude_mv``.
    peak_mv : float, mV
        Largest absolute value.
    flat, missing : tuple of str
        Leads without a signal, and leads that it does not have.
    warnings : tuple of str
        Of the reader.
    """

    problem: str
    reason: str
    format: str
    fs: float = 0.0
    duration_s: float = 0.0
    amplitude_mv: float = 0.0
    peak_mv: float = 0.0
    flat: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _Job(NamedTuple):
    files: Sequence[FileToOpen]
    spec: dict[str, Any]


def open_files(
    files: Sequence[FileToOpen], spec: dict[str, Any], n_workers: int | None, progress: bool
) -> tuple[list[FileFacts], list[tuple[int, int]]]:
    """Open files, and prepare each for a model as training does.

    Parameters
    ----------
    files : sequence of FileToOpen
    spec : dict
        Keyword arguments of ``preprocessing.prepare_signal``.
    n_workers : int, optional
        Processes; by default one per core, fewer for few files.
    progress : bool
        Show a bar on stderr if that is a terminal.

    Returns
    -------
    facts : list of FileFacts
    copies : list of (int, int)
        See ``duplicates.find_duplicates``.
    """
    jobs = [_Job(files[start : start + N_CHUNK], spec) for start in range(0, len(files), N_CHUNK)]
    facts: list[FileFacts] = []
    sketches = np.zeros((len(files), N_SKETCH), np.float32)
    bar = tqdm(total=len(files), desc="files", unit="file", disable=None if progress else True)
    with bar, map_records(_open_chunk, jobs, len(files), n_workers) as results:
        for some, part in results:
            sketches[len(facts) : len(facts) + len(some)] = part
            facts += some
            bar.update(len(some))
    return facts, find_duplicates(_Prepared(files, spec), progress, sketches)


def _open_chunk(job: _Job) -> tuple[list[FileFacts], np.ndarray]:
    """Open some files; return what is in them, and the sketches of the prepared signals."""
    facts = []
    block = np.zeros((len(job.files), *_shape(job.spec)), np.int16)
    for i, file in enumerate(job.files):
        kind = ""
        try:
            kind = _format(Path(file.path))
            record = read_record(file.path, **file.read)
            if file.fs is not None and record.fs != file.fs:
                raise ValueError(f"expected {file.fs} Hz, got {record.fs:g} Hz")
        except FileNotFoundError as error:
            facts.append(FileFacts(MISSING, _reason(error), kind))
            continue
        except (ValueError, OSError) as error:
            facts.append(FileFacts(UNREADABLE, _reason(error), kind))
            continue
        found = _facts(record, kind)
        try:
            block[i] = _prepared(record, file, job.spec)
        except ValueError as error:
            found = found._replace(problem=UNUSABLE, reason=_reason(error))
        facts.append(found)
    return facts, sketch(block)


def _shape(spec: dict[str, Any]) -> tuple[int, int]:
    return len(LEADS), round(spec["duration_s"] * spec["to_fs"])


def _prepared(record: Record, file: FileToOpen, spec: dict[str, Any]) -> np.ndarray:
    """Return the signal of a record as training uses it."""
    allow_short = spec["allow_short"] or file.allow_short
    spec = {**spec, "allow_short": allow_short}
    return prepare_record(record, spec, drawn=False).signal


def _format(path: Path) -> str:
    """Return the name of the format of a file, by its content."""
    if path.suffix in ("", ".hea", ".dat") or not path.is_file():
        return "WFDB"
    kind = detect_format(read_head(path))[0]
    return {"table": "text table", "file": "unknown"}.get(kind, kind)


def _reason(error: BaseException) -> str:
    """Return why a file cannot be used, without the name of the record."""
    return re.sub(r"^record .+?: ", "", reason_of(error))


def _facts(record: Record, kind: str) -> FileFacts:
    """Return what is in a record that has been read."""
    signal = record.signal
    is_finite = np.isfinite(signal)
    finite = signal if is_finite.all() else np.where(is_finite, signal, 0)
    # About 100 Hz are enough for the height of the QRS complex.
    step = max(1, round(record.fs / 100))
    is_lead = available_leads(record.leads)
    span = np.ptp(finite, axis=1) if finite.shape[1] else np.zeros(len(finite))
    flat = [name for name, each in zip(record.leads, span, strict=True) if each < FLAT_MV]
    return FileFacts(
        "",
        "",
        kind,
        float(record.fs),
        round(signal.shape[1] / record.fs, 3),
        amplitude_mv(finite[:, ::step]) if finite.shape[1] else 0.0,
        float(max(finite.max(), -finite.min())) if finite.size else 0.0,
        tuple(flat),
        tuple(lead for lead, there in zip(LEADS, is_lead, strict=True) if not there),
        record.warnings,
    )


class _Prepared:
    """Prepared signals of files, read when they are compared; the latest stay in memory."""

    def __init__(self, files: Sequence[FileToOpen], spec: dict[str, Any]) -> None:
        self.shape: tuple[int, ...] = (len(files), *_shape(spec))

        def signal(i: int) -> np.ndarray:
            return _prepared(read_record(files[i].path, **files[i].read), files[i], spec)

        self.signal = functools.lru_cache(N_KEPT)(signal)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return np.stack([self.signal(int(i)) for i in index])


def file_facts(facts: Sequence[FileFacts], n_copies: int) -> dict[str, Any]:
    """Return counts of the files as they are in check.json.

    Parameters
    ----------
    facts : sequence of FileFacts
    n_copies : int
        ECGs that are a copy of another.
    """
    read = [each for each in facts if each.fs]
    amplitudes = np.array([each.amplitude_mv for each in read])
    edges = np.geomspace(1e-4, 1e4, 81)
    counts, _ = np.histogram(np.clip(amplitudes, edges[0], edges[-1]), edges)
    quantiles = np.quantile(amplitudes, (0.01, 0.25, 0.5, 0.75, 0.99)) if read else []
    return {
        "n_opened": len(facts),
        "n_usable": sum(not each.problem for each in facts),
        "n_missing": sum(each.problem == MISSING for each in facts),
        "n_unreadable": sum(each.problem == UNREADABLE for each in facts),
        "n_unusable": sum(each.problem == UNUSABLE for each in facts),
        "n_copies": n_copies,
        "formats": _counted(each.format for each in read),
        "fs": _counted(f"{each.fs:g}" for each in read),
        "duration_s": _counted(f"{each.duration_s:.1f}" for each in read),
        "flat_leads": _counted(lead for each in read for lead in each.flat),
        "missing_leads": _counted(lead for each in read for lead in each.missing),
        "amplitude_mv": {
            name: round(float(value), 5)
            for name, value in zip(("p1", "p25", "p50", "p75", "p99"), quantiles, strict=False)
        },
        "amplitude_histogram": {"edges_mv": edges.round(6).tolist(), "n": counts.tolist()},
    }


def _counted(items: Any) -> dict[str, int]:
    return dict(Counter(items).most_common(50))
