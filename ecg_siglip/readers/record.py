"""Read a record in any format: its signal in mV, its sampling rate and its lead names.

The readers (``wfdb_format``, ``file_format``) return what a file states. This module adds what the
caller states and refuses contradictions.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.readers import hdf5_format, wfdb_format
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.file_format import (
    FORMATS,
    HEAD_BYTES,
    detect_format,
    is_record,
    read_content,
    run_reader,
)
from ecg_siglip.readers.selection import agreed_fs, select_leads

WHOLE_S = 60.0  # longer WFDB records are read in pieces
WFDB_SUFFIXES = (".hea", ".dat", ".mat")


@dataclass(frozen=True, eq=False)
class Record:
    """A record as read from a file.

    Attributes
    ----------
    name : str
        Stem of the file.
    signal : ndarray of shape (n_leads, n_samples), float32, mV
        NaN where the file marks a sample as invalid.
    fs : float, Hz
    leads : tuple of str, length n_leads
        As spelled in the file, or as stated by the caller.
    comments : tuple of str
        Lines of the header that begin with ``#``, without it; statements of the device.
    warnings : tuple of str
        What the user should know about the recording, one sentence each.
    """

    name: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    comments: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_record(
    path: str | Path,
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
) -> Record:
    """Read a record.

    Parameters
    ----------
    path : str or Path
        WFDB with or without one of the suffixes ``.hea``, ``.dat``, ``.mat``; EDF and EDF+; a
        DICOM ECG waveform; HL7 aECG or GE MUSE as XML; CSV, TSV, Parquet, ``.npy`` or ``.npz``.
        The format is detected by the content, whatever the suffix; gzip files are unzipped.
    fs : float, Hz, 50 to 20000, optional
        Sampling rate, if the file states none.
    units : str, optional
        nV, uV, mV or V, if the file states none.
    leads : sequence of str, optional
        Names of the channels that can be leads, in the order of the file, if it has none or has
        names that say nothing; ``-`` for a channel to leave out.
    gain : float, counts per mV, optional
        If the samples are counts of the converter and the file does not state their size.

    Returns
    -------
    Record

    Raises
    ------
    FileNotFoundError
        If the file, or one that its header names, is missing.
    ValueError
        If the content has no known format, is malformed, is no ECG, or is larger than 256 MiB,
        packed or unpacked; if sampling rate, units or leads are stated neither by the file nor by
        the caller, or differently by both; if the rate is outside 50 to 20000 Hz, units are not uV,
        mV or V, or the leads were cut into strips for printing; if the package that reads the
        format is not installed.

    Notes
    -----
    Reads local files only. Every error is one line that begins with the name of the record.
    """
    path = Path(path)
    name = _record_name(path)
    with _errors_name_record(name):
        base, header, is_wfdb = _wfdb_header(path)
        if is_wfdb:
            stated = wfdb_format.read_wfdb(header)
        elif (exam := hdf5_format.find_exam(path)) is not None:
            stated = run_reader(lambda _: hdf5_format.read_exam(*exam), b"", "HDF5")
        elif not path.is_file():
            raise FileNotFoundError(_missing_file(path, header))
        else:
            content = read_content(path)
            kind, reader = detect_format(content[:HEAD_BYTES])
            if not reader and base is not path:
                raise FileNotFoundError(_missing_file(path, header))
            if not reader:
                known = ", ".join(["WFDB", *(name for name, *_ in FORMATS)])
                raise ValueError(f"content of no known format, expected one of {known}")
            stated = run_reader(reader, content, kind)
        return _make_record(name, stated, fs, units, leads, gain)


@dataclass(frozen=True)
class Source:
    """A record that can be read in pieces.

    Attributes
    ----------
    name : str
    fs : float, Hz
    n_samples : int
        Of each lead.
    piece : function of (first, last) to Record
        Reads the samples from ``first`` up to but without ``last``; errors as ``read_record``.
    """

    name: str
    fs: float
    n_samples: int
    piece: Callable[[int, int], Record]

    @property
    def duration_s(self) -> float:
        """Length of the record in seconds."""
        return self.n_samples / self.fs


def open_record(
    path: str | Path,
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
) -> Source:
    """Open a record to read it in pieces.

    Parameters
    ----------
    path, fs, units, leads, gain
        As in ``read_record``.

    Returns
    -------
    Source
        A WFDB record longer than ``WHOLE_S`` stays on disk, and only the requested samples are
        read. Any other record is read at once.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``read_record``.
    """
    path = Path(path)
    name = _record_name(path)
    with _errors_name_record(name):
        _, header, is_wfdb = _wfdb_header(path)
        extent = wfdb_format.extent(header, WHOLE_S) if is_wfdb else None
    if extent is None:
        whole = read_record(path, fs, units, leads, gain)

        def cut(first: int, last: int) -> Record:
            return replace(whole, signal=whole.signal[:, first:last])

        return Source(name, whole.fs, whole.signal.shape[1], cut)

    def piece(first: int, last: int) -> Record:
        with _errors_name_record(name):
            stated = wfdb_format.read_wfdb(header, (first, last))
            return _make_record(name, stated, fs, units, leads, gain)

    with _errors_name_record(name):
        return Source(name, agreed_fs(extent[0], fs), extent[1], piece)


def _wfdb_header(path: Path) -> tuple[Path, Path, bool]:
    """Return a path without a WFDB suffix, the header there, and whether the path is WFDB."""
    base = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    header = base.with_name(f"{base.name}.hea")
    return base, header, header.is_file() and (base is not path or not path.is_file())


@contextlib.contextmanager
def _errors_name_record(name: str) -> Iterator[None]:
    """Turn errors into one line that begins with the name of the record."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"record {name}: {one_line(error)}") from error
    except OSError as error:
        raise OSError(f"record {name}: {one_line(error)}") from error
    except ValueError as error:
        raise ValueError(f"record {name}: {one_line(error)}") from error


def find_records(folder: str | Path) -> list[str]:
    """Find every record in a folder and its subfolders.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of str, sorted folder by folder
        Paths; of a WFDB record its header. A table is a record if a column has the name of a lead
        or all cells of its first row are numbers; an XML file, if ``read_record`` knows its kind.
        Links to folders are not followed.
    """
    return list(_iterate_records(str(folder)))


def _iterate_records(folder: str) -> Iterator[str]:
    # Strings, not Path: for a hundred thousand records those take more memory than a model.
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _iterate_records(entry.path)
        elif entry.is_file() and (
            suffix.lower() == ".hea"
            or (
                not (suffix.lower() in WFDB_SUFFIXES and f"{stem}.hea" in names)
                and is_record(Path(entry.path))
            )
        ):
            yield from hdf5_format.exam_paths(entry.path)


def _make_record(
    name: str,
    stated: Stated,
    fs: float | None,
    units: str | None,
    leads: Sequence[str] | None,
    gain: float | None,
) -> Record:
    """Combine what the file and the caller state into a record in mV."""
    chosen = select_leads(stated.channels, fs, units, leads, gain)
    warnings = (*stated.warnings, *chosen.warnings)
    return Record(name, chosen.signal, chosen.fs, chosen.names, tuple(stated.comments), warnings)


def _missing_file(path: Path, header: Path) -> str:
    """Return a message about a path without a record."""
    if path.is_dir():
        return f"{path} is a folder without a record"
    if path.suffix and path.suffix.lower() not in WFDB_SUFFIXES:
        return f"no such file: {path}"
    return f"no header, looked for {header}"


def _record_name(path: Path) -> str:
    """Return the name of a file without its suffix; numbers in a DICOM UID are no suffixes."""
    return re.sub(r"(?<=.)\.[A-Za-z]\w*(\.gz)?$", "", path.name) or str(path)


def expand_paths(paths: list[str]) -> list[str]:
    """Replace folders in a list of paths by the records in them (``find_records``).

    Parameters
    ----------
    paths : list of str
        Records and folders.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If the list is empty.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[str] = []
    for path in map(Path, paths):
        # A folder without records stays in the list, so that reading it raises an error.
        expanded += (find_records(path) if path.is_dir() else []) or hdf5_format.exam_paths(path)
    return expanded
