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
from typing import NamedTuple

import numpy as np

from ecg_siglip.core.files import one_line, shown
from ecg_siglip.readers import hdf5_format, wfdb_format
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.file_format import (
    UnknownContentError,
    choose_reader,
    read_content,
    run_reader,
    short_message,
)
from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.limits import HEAD_BYTES, MAX_HOURS, check_duration, check_regular
from ecg_siglip.readers.selection import select_leads, settled_units

WHOLE_S = 60.0  # longer WFDB records are read in pieces
WFDB_SUFFIXES = (".hea", ".dat", ".mat")
MAX_NAME, MAX_PATH = 100, 300  # characters of a name and a path in an error


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
    identity : Identity
        Patient, time, device and filters, as the file states them.
    device : DeviceResults
        Measurements and statements of the device, as the file states them.
    """

    name: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    comments: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()


class _Given(NamedTuple):
    """What the caller states and allows, see ``read_record``."""

    fs: float | None
    units: str | None
    leads: Sequence[str] | None
    gain: float | None
    max_hours: float


def read_record(
    path: str | Path,
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
    max_hours: float = MAX_HOURS,
) -> Record:
    """Read a record.

    Parameters
    ----------
    path : str or Path
        WFDB with or without one of the suffixes ``.hea``, ``.dat``, ``.mat``; any format of
        ``file_format.FORMATS``, detected by the content, whatever the suffix; gzip files are
        unzipped. An exam of an HDF5 file in the layout of CODE-15 is ``file.hdf5/EXAM_ID``.
    fs : float, Hz, 50 to 20000, optional
        Sampling rate, if the file states none.
    units : str, optional
        nV, uV, mV or V, if the file states none.
    leads : sequence of str, optional
        Names of the channels that can be leads, in the order of the file, if it has none or has
        names without a meaning; ``-`` for a channel to leave out.
    gain : float, counts per mV, optional
        If the samples are counts of the converter and the file does not state their size.
    max_hours : float, h
        A longer record is refused.

    Returns
    -------
    Record

    Raises
    ------
    FileNotFoundError
        If the file, or one that its header names, is missing.
    ValueError
        If the path is a pipe, a socket or a device, which are not opened; if the content has no
        known format, is malformed, is no ECG, or is larger than 256 MiB, packed or unpacked, or
        longer than ``max_hours``; if sampling rate, units or leads are stated neither by the file
        nor by the caller, or differently by both; if the rate is outside 50 to 20000 Hz, units are
        not nV, uV, mV or V, or the leads were cut into strips for printing; if the package that
        reads the format is not installed.

    Notes
    -----
    Reads local files only. Every error is one line that begins with the name of the record, with
    control characters visible and the content of the file quoted in short.
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
            content, notes = read_content(path)
            try:
                kind, reader = choose_reader(content[:HEAD_BYTES], path.name)
            except UnknownContentError:
                if base is path:
                    raise
                # A .dat or .mat file of unknown content is a part of a WFDB record.
                raise FileNotFoundError(_missing_file(path, header)) from None
            stated = run_reader(reader, content, kind)
            stated = stated._replace(warnings=(*stated.warnings, *notes))
        return _make_record(name, stated, _Given(fs, units, leads, gain, max_hours))


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
    max_hours: float = MAX_HOURS,
) -> Source:
    """Open a record to read it in pieces.

    Parameters
    ----------
    path, fs, units, leads, gain, max_hours
        As in ``read_record``.

    Returns
    -------
    Source
        A WFDB record longer than ``WHOLE_S`` stays on disk, and only the requested samples are
        read, after the checksums of all samples have been compared. Any other record is read at
        once. Rate and length are those of the leads.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``read_record``.
    """
    path = Path(path)
    name, given = _record_name(path), _Given(fs, units, leads, gain, max_hours)
    with _errors_name_record(name):
        _, header, is_wfdb = _wfdb_header(path)
        opened = wfdb_format.open_wfdb(header) if is_wfdb else None
        rate = opened and (opened.fs or fs)
        if opened and rate and opened.n_frames > WHOLE_S * rate:
            check_duration(opened.n_frames, rate, max_hours)
            opened.check_sums()
            return _open_in_pieces(name, opened, rate, given)
        if opened:
            whole = _make_record(name, opened.read(0, opened.n_frames), given)
    if opened is None:
        whole = read_record(path, fs, units, leads, gain, max_hours)

    def cut(first: int, last: int) -> Record:
        return replace(whole, signal=whole.signal[:, first:last])

    return Source(name, whole.fs, whole.signal.shape[1], cut)


def _open_in_pieces(
    name: str,
    opened: wfdb_format.WfdbRecord,
    frames_hz: float,
    given: _Given,
) -> Source:
    """Return a source that reads pieces of a WFDB record.

    Its leads can have several samples in a frame; other channels can have another number of them.
    """

    def read(first: int, stop: int) -> Record:
        return _make_record(name, opened.read(first, min(stop, opened.n_frames)), given)

    per_frame = round(read(0, 1).fs / frames_hz)

    def piece(first: int, last: int) -> Record:
        with _errors_name_record(name):
            frame = first // per_frame
            record = read(frame, -(-last // per_frame))
        start = frame * per_frame
        return replace(record, signal=record.signal[:, first - start : last - start])

    return Source(name, per_frame * frames_hz, per_frame * opened.n_frames, piece)


def _wfdb_header(path: Path) -> tuple[Path, Path, bool]:
    """Return a path without a WFDB suffix, the header there, and whether the path is WFDB."""
    if not path.name:
        return path, path, False
    base = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    if path.suffix.lower() == ".hea" and path.is_file():
        return base, path, True
    headers = [base.with_name(base.name + suffix) for suffix in (".hea", ".HEA")]
    header = next((each for each in headers if each.is_file()), headers[0])
    return base, header, header.is_file() and (base is not path or not path.is_file())


@contextlib.contextmanager
def _errors_name_record(name: str) -> Iterator[None]:
    """Turn errors into one line that begins with the name of the record."""
    record = f"record {shown(name, MAX_NAME)}"
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{record}: {one_line(error)}") from error
    except OSError as error:
        raise OSError(f"{record}: {one_line(error)}") from error
    except ValueError as error:
        raise ValueError(f"{record}: {short_message(error)}") from error


def _make_record(name: str, stated: Stated, given: _Given) -> Record:
    """Combine what the file and the caller state into a record in mV."""
    channels = settled_units(stated.channels, stated.scale, given.units, given.gain)
    chosen = select_leads(channels, given.fs, given.units, given.leads, given.gain)
    check_duration(chosen.signal.shape[1], chosen.fs, given.max_hours)
    warnings = (*stated.warnings, *chosen.warnings)
    return Record(
        name,
        chosen.signal,
        chosen.fs,
        chosen.names,
        tuple(stated.comments),
        warnings,
        stated.identity,
        stated.device,
    )


def _missing_file(path: Path, header: Path) -> str:
    """Return a message about a path without a record.

    Raises
    ------
    OSError, ValueError
        If there is something that cannot be opened.
    """
    if path.is_dir():
        os.scandir(path).close()
        return f"{shown(path, MAX_PATH)} is a folder without a record"
    for each in (path, header):
        if os.path.lexists(each) and not each.is_file():
            check_regular(each)
    if path.suffix and path.suffix.lower() not in WFDB_SUFFIXES:
        return f"no such file: {shown(path, MAX_PATH)}"
    compressed = header.with_name(f"{header.name}.gz")
    hint = f"; {shown(compressed.name)} has to be unpacked" if compressed.is_file() else ""
    return f"no header, looked for {shown(header, MAX_PATH)}{hint}"


def _record_name(path: Path) -> str:
    """Return the name of a file without its suffix; numbers in a DICOM UID are no suffixes."""
    return re.sub(r"(?<=.)\.[A-Za-z]\w*(\.gz)?$", "", path.name) or str(path)
