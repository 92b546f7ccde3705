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
from ecg_siglip.readers import tabular_formats, wfdb_format
from ecg_siglip.readers.file_format import (
    FORMATS,
    HEAD_BYTES,
    detect_format,
    is_record,
    read_content,
    run_reader,
)
from ecg_siglip.readers.stated import DeviceStated, Stated
from ecg_siglip.signals.leads import lead_name
from ecg_siglip.signals.preprocessing import FLAT_MV

WHOLE_S = 60.0  # longer WFDB records are read in pieces
# Below, QRS complexes are lost; no device records above.
FS_HZ = (50.0, 20_000.0)
MV_PER_UNIT = {
    "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "mv": 1.0, "v": 1e3,
    "microvolt": 1e-3, "microvolts": 1e-3, "millivolt": 1.0, "millivolts": 1.0,
    "volt": 1e3, "volts": 1e3,
}  # fmt: skip
WFDB_SUFFIXES = (".hea", ".dat", ".mat")
# A lead with a signal in at most this share of the record is a strip of a print layout.
STRIP = 0.35
N_STRIPS = 6


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
    """

    name: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    comments: tuple[str, ...]


def read_record(
    path: str | Path,
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
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
        uV, mV or V, if the file states none.
    leads : sequence of str, optional
        Names in the order of the file, if it has none.

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
        stated: Stated | DeviceStated
        if is_wfdb:
            stated = wfdb_format.read_wfdb(header)
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
        return _make_record(name, stated, fs, units, leads)


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
) -> Source:
    """Open a record to read it in pieces.

    Parameters
    ----------
    path, fs, units, leads
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
        whole = read_record(path, fs, units, leads)

        def cut(first: int, last: int) -> Record:
            return replace(whole, signal=whole.signal[:, first:last])

        return Source(name, whole.fs, whole.signal.shape[1], cut)

    def piece(first: int, last: int) -> Record:
        with _errors_name_record(name):
            stated = wfdb_format.read_wfdb(header, (first, last))
            return _make_record(name, stated, fs, units, leads)

    with _errors_name_record(name):
        return Source(name, _agreed_fs(extent[0], fs), extent[1], piece)


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
            yield entry.path


def _make_record(
    name: str,
    stated: Stated | DeviceStated,
    fs: float | None,
    units: str | None,
    leads: Sequence[str] | None,
) -> Record:
    """Combine what the file and the caller state into a record in mV."""
    fs = _agreed_fs(stated.fs, fs)
    names = _agreed_leads(stated.leads, leads)
    signal = stated.signal
    if stated.leads is None:
        signal = tabular_formats.orient_signal(signal, len(names))
    if signal.shape[1] == 0:
        raise ValueError("0 s of signal, expected some")
    stated_units = stated.units * len(names) if len(stated.units) == 1 else stated.units
    mv = [_mv_per_unit(unit, units, lead) for unit, lead in zip(stated_units, names, strict=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        signal = np.ascontiguousarray(signal * np.array(mv)[:, None], dtype=np.float32)
    _check_layout(signal)
    return Record(name, signal, fs, tuple(names), tuple(stated.comments))


def _agreed_fs(stated: float | None, given: float | None) -> float:
    """Return the sampling rate that the file or the caller states; refuse a contradiction."""
    fs = given if stated is None else stated
    if fs is None:
        raise ValueError("the file states no sampling rate: give read.fs=... in Hz")
    low, high = FS_HZ
    if not low <= fs <= high:
        raise ValueError(f"expected a sampling rate of {low:g} to {high:g} Hz, got {fs:g} Hz")
    if given is not None and not abs(given - fs) <= 1e-3 * fs:
        raise ValueError(f"the file states {fs:g} Hz, which contradicts read.fs={given:g}")
    return float(fs)


def _agreed_leads(stated: list[str] | None, given: Sequence[str] | None) -> list[str]:
    """Return the leads that the file or the caller states; refuse a contradiction."""
    names = list(given or []) if stated is None else stated
    if not names:
        raise ValueError(
            "the file does not name its leads: give read.leads=[I,II,...] in the order of the file"
        )
    if given and list(map(lead_name, names)) != list(map(lead_name, given)):
        raise ValueError(
            f"the file states leads {', '.join(names)}, which contradicts "
            f"read.leads=[{','.join(given)}]"
        )
    return names


def _mv_per_unit(stated: str, given: str | None, lead: str) -> float:
    """Return the size of a lead's unit in mV; refuse a contradiction of file and caller."""
    unit = stated or given
    if not unit:
        raise ValueError(f"the file states no units for lead {lead}: give read.units=uV, mV or V")
    mv = MV_PER_UNIT.get(unit.strip().lower())
    if mv is None:
        raise ValueError(f"expected units uV, mV or V, got {unit} for lead {lead}")
    if given and MV_PER_UNIT.get(given.strip().lower()) != mv:
        raise ValueError(
            f"the file states {unit} for lead {lead}, which contradicts read.units={given}"
        )
    return mv


def _check_layout(signal: np.ndarray) -> None:
    """Refuse print layouts: four times 2.5 s in 10 s, each lead in its own quarter.

    Time is divided into 40 pieces; a lead lasts from the first to the last piece in which it has a
    signal. Leads that all end at the same time are a short record: in a print layout, another lead
    has a signal elsewhere.
    """
    n_pieces = min(40, signal.shape[1] // 2)
    if n_pieces < 8 or len(signal) < N_STRIPS:
        return
    pieces = signal[:, : signal.shape[1] // n_pieces * n_pieces].reshape(len(signal), n_pieces, -1)
    low, high, finite = pieces, pieces, np.isfinite(pieces)
    if not finite.all():
        low, high = np.where(finite, pieces, np.inf), np.where(finite, pieces, -np.inf)
    has_signal = high.max(axis=2) - low.min(axis=2) >= FLAT_MV
    first = has_signal.argmax(axis=1)
    stop = n_pieces - has_signal[:, ::-1].argmax(axis=1)
    is_strip = has_signal.any(axis=1) & (stop - first <= STRIP * n_pieces)
    in_any_lead = np.flatnonzero(has_signal.any(axis=0))
    if is_strip.sum() >= N_STRIPS and np.ptp(in_any_lead) > n_pieces / 2:
        raise ValueError(
            f"{is_strip.sum()} of {len(signal)} leads have signal in a third of the record or "
            "less: a print layout of short strips, expected every lead over the whole length"
        )


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
        expanded += (find_records(path) if path.is_dir() else []) or [str(path)]
    return expanded
