"""A record on disk, in any format, to its signal in mV, with sampling rate and lead names.

The readers (``wfdb_files``, ``devices``, ``tables``) return what a file states; this page finds
the reader by the file's content, fills in what the caller states, and refuses what contradicts.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.readers import dicom_format, edf_format, tabular_formats, wfdb_format, xml_formats
from ecg_siglip.signals.leads import LEADS, lead_name
from ecg_siglip.signals.preprocessing import FLAT_MV

# Largest file, before and after it is unzipped.
MAX_BYTES = 1 << 28
HEAD_BYTES = 4096
WHOLE_S = 60.0  # a longer WFDB record can be read in pieces
GZIP = b"\x1f\x8b"
# Below, no QRS complex is left; above, nothing is recorded.
FS_HZ = (50.0, 20_000.0)
MV_PER_UNIT = {
    "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "mv": 1.0, "v": 1e3,
    "microvolt": 1e-3, "microvolts": 1e-3, "millivolt": 1.0, "millivolts": 1.0,
    "volt": 1e3, "volts": 1e3,
}  # fmt: skip
WFDB_SUFFIXES = (".hea", ".dat", ".mat")
# Name, what the content begins with, who reads it.
FORMATS: tuple[tuple[str, bytes, Callable[[bytes], Any]], ...] = (
    ("EDF", rb"0 {7}", edf_format.read_edf),
    ("DICOM", rb"(?s).{128}DICM", dicom_format.read_dicom),
    ("NumPy", rb"\x93NUMPY", tabular_formats.read_npy),
    ("NumPy archive", rb"PK\x03\x04", tabular_formats.read_npz),
    ("Parquet", rb"PAR1", tabular_formats.read_parquet),
    ("XML", rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*<", xml_formats.read_xml),
    ("table", rb"[^\x00-\x08\x0e-\x1f]+\Z", tabular_formats.read_text),
)
# A lead that moves only in this share of the record, or less, is a strip of a print layout.
STRIP = 0.35
N_STRIPS = 6


@dataclass(frozen=True, eq=False)
class Record:
    """A record as it was read.

    Attributes
    ----------
    name : str
        Stem of the file.
    signal : ndarray of shape (n_leads, n_samples), float32, mV
        NaN where the file marks a sample as invalid.
    fs : float, Hz
    leads : tuple of str, length n_leads
        As the file writes them, or as the caller stated them.
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
    """The record at a path.

    Parameters
    ----------
    path : str or Path
        WFDB with or without one of the suffixes ``.hea``, ``.dat``, ``.mat``; EDF and EDF+; a
        DICOM ECG waveform; HL7 aECG or GE MUSE as XML; CSV, TSV, Parquet, ``.npy`` or ``.npz``.
        Whatever the suffix, the content decides; gzip around it is taken off.
    fs : float, Hz, 50 to 20000, optional
        Sampling rate, where the file states none.
    units : str, optional
        uV, mV or V, where the file states none.
    leads : sequence of str, optional
        Names in the order of the file, where it has none.

    Returns
    -------
    Record

    Raises
    ------
    FileNotFoundError
        If the file, or one that its header names, is not there.
    ValueError
        If the content is of no known format or malformed, is larger than 256 MiB or would be when
        unpacked, is no ECG, states no sampling rate, units or leads and the caller neither, or
        states others than the caller; if the rate is outside 50 to 20000 Hz, units are not uV, mV
        or V, or the leads were cut into strips for printing; if the package that reads the format
        is not installed.

    Notes
    -----
    Reads local files only. Every error is one line that begins with the name of the record.
    """
    path = Path(path)
    name = _name(path)
    with _naming(name):
        base, header, is_wfdb = _wfdb_of(path)
        if is_wfdb:
            stated = wfdb_format.read(header)
        elif not path.is_file():
            raise FileNotFoundError(_not_there(path, header))
        else:
            content = _content(path)
            kind, reader = _format(content[:HEAD_BYTES])
            if not reader and base is not path:
                raise FileNotFoundError(_not_there(path, header))
            if not reader:
                known = ", ".join(["WFDB", *(name for name, *_ in FORMATS)])
                raise ValueError(f"content of no known format, expected one of {known}")
            stated = _stated(content, kind, reader)
        return _record(name, stated, fs, units, leads)


@dataclass(frozen=True)
class Source:
    """A record that gives its pieces one by one.

    Attributes
    ----------
    name : str
    fs : float, Hz
    n_samples : int
        Of each lead.
    piece : function of (first, last) to Record
        The samples from ``first`` to ``last``, that one left out; errors as ``read``.
    """

    name: str
    fs: float
    n_samples: int
    piece: Callable[[int, int], Record]

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.fs


def open_record(
    path: str | Path,
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
) -> Source:
    """The record at a path, to be read in pieces.

    Parameters
    ----------
    path, fs, units, leads
        As ``read`` takes them.

    Returns
    -------
    Source
        A WFDB record of more than ``WHOLE_S`` stays on disk, whatever its length; of it, only
        what is asked for is read. Any other record is read now.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``read``.
    """
    path = Path(path)
    name = _name(path)
    with _naming(name):
        _, header, is_wfdb = _wfdb_of(path)
        extent = wfdb_format.extent(header, WHOLE_S) if is_wfdb else None
    if extent is None:
        whole = read_record(path, fs, units, leads)

        def cut(first: int, last: int) -> Record:
            return replace(whole, signal=whole.signal[:, first:last])

        return Source(name, whole.fs, whole.signal.shape[1], cut)

    def piece(first: int, last: int) -> Record:
        with _naming(name):
            return _record(name, wfdb_format.read(header, (first, last)), fs, units, leads)

    with _naming(name):
        return Source(name, _agreed_fs(extent[0], fs), extent[1], piece)


def _wfdb_of(path: Path) -> tuple[Path, Path, bool]:
    """The path without a suffix of WFDB, its header, and whether that is what is meant."""
    base = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    header = base.with_name(f"{base.name}.hea")
    return base, header, header.is_file() and (base is not path or not path.is_file())


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors as one line that begins with the name of the record."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"record {name}: {one_line(error)}") from error
    except OSError as error:
        raise OSError(f"record {name}: {one_line(error)}") from error
    except ValueError as error:
        raise ValueError(f"record {name}: {one_line(error)}") from error


def find_records(folder: str | Path) -> list[str]:
    """Every record below a folder.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of str, sorted folder by folder
        Paths; of a WFDB record its header. A table is a record if a column bears the name of a
        lead, or if it has numbers alone; XML, if it is of a kind that ``read`` knows. Links to
        folders are not followed.
    """
    return list(_walk(str(folder)))


def _walk(folder: str) -> Iterator[str]:
    # No list of Path: of a hundred thousand records it is larger than a model.
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file() and (
            suffix.lower() == ".hea"
            or (
                not (suffix.lower() in WFDB_SUFFIXES and f"{stem}.hea" in names)
                and _is_record(Path(entry.path))
            )
        ):
            yield entry.path


def _is_record(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(GZIP):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False
    kind, reader = _format(head)
    if kind == "XML":
        root = rb"<(\w+:)?(AnnotatedECG|RestingECG)\b"
        return re.search(root, head.replace(b"\0", b"")) is not None
    if kind == "table":
        cells = tabular_formats.first_row(head)
        names = {lead_name(tabular_formats.split_unit(cell)[0]) for cell in cells}
        numbers_alone = len(cells) > 1 and all(map(tabular_formats.is_number, cells))
        return numbers_alone or not names.isdisjoint(LEADS)
    return reader is not None


def _format(head: bytes) -> tuple[str, Callable[[bytes], Any] | None]:
    for name, beginning, reader in FORMATS:
        if re.match(beginning, head):
            return name, reader
    return "file", None


def _content(path: Path) -> bytes:
    """The bytes of a file, unzipped if they are zipped; never more than ``MAX_BYTES``."""
    size = path.stat().st_size
    content = b""
    if size <= MAX_BYTES:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
    if content.startswith(GZIP):
        try:
            with gzip.open(io.BytesIO(content)) as unzipped:
                content = unzipped.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"malformed gzip ({one_line(error)})") from error
    if max(size, len(content)) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB, which is the most that is read")
    if not content:
        raise ValueError("the file is empty")
    return content


def _stated(content: bytes, kind: str, reader: Callable[[bytes], Any]) -> Any:
    """What the reader returns; whatever its library makes of a damaged file as ``ValueError``."""
    try:
        with warnings.catch_warnings():
            # What a library could mend is not the user's concern; what it could not, raises.
            warnings.simplefilter("ignore")
            return reader(content)
    except ValueError as error:
        raise ValueError(f"{kind}: {one_line(error)}") from error
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"malformed {kind} ({said})") from error


def _record(
    name: str, stated: Any, fs: float | None, units: str | None, leads: Sequence[str] | None
) -> Record:
    """What the file states and what the caller states as one record in mV."""
    signal, stated_fs, stated_units, stated_leads, comments = stated
    fs = _agreed_fs(stated_fs, fs)
    names = _agreed_leads(stated_leads, leads)
    if stated_leads is None:
        signal = tabular_formats.oriented(signal, len(names))
    if signal.shape[1] == 0:
        raise ValueError("0 s of signal, expected some")
    if len(stated_units) == 1:
        stated_units = stated_units * len(names)
    mv = [_agreed_unit(unit, units, lead) for unit, lead in zip(stated_units, names, strict=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        signal = np.ascontiguousarray(signal * np.array(mv)[:, None], dtype=np.float32)
    _check_layout(signal)
    return Record(name, signal, fs, tuple(names), tuple(comments))


def _agreed_fs(stated: float | None, given: float | None) -> float:
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


def _agreed_unit(stated: str, given: str | None, lead: str) -> float:
    """mV in a unit of this lead."""
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
    """Refuse what was cut for printing: four times 2.5 s in 10 s, each lead in its own quarter.

    Time is looked at in 40 pieces; a lead is there from the first to the last piece in which it
    moves. Leads that all end together are a short record, not a layout: somewhere else another
    lead has to go on.
    """
    n_pieces = min(40, signal.shape[1] // 2)
    if n_pieces < 8 or len(signal) < N_STRIPS:
        return
    pieces = signal[:, : signal.shape[1] // n_pieces * n_pieces].reshape(len(signal), n_pieces, -1)
    low, high, finite = pieces, pieces, np.isfinite(pieces)
    if not finite.all():
        low, high = np.where(finite, pieces, np.inf), np.where(finite, pieces, -np.inf)
    moves = high.max(axis=2) - low.min(axis=2) >= FLAT_MV
    first = moves.argmax(axis=1)
    last = n_pieces - moves[:, ::-1].argmax(axis=1)
    strips = moves.any(axis=1) & (last - first <= STRIP * n_pieces)
    if strips.sum() >= N_STRIPS and np.ptp(np.flatnonzero(moves.any(axis=0))) > n_pieces / 2:
        raise ValueError(
            f"{strips.sum()} of {len(signal)} leads have signal in a third of the record or less: "
            "a print layout of short strips, expected every lead over the whole length"
        )


def _not_there(path: Path, header: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder without a record"
    if path.suffix and path.suffix.lower() not in WFDB_SUFFIXES:
        return f"no such file: {path}"
    return f"no header, looked for {header}"


def _name(path: Path) -> str:
    """The file's name without suffix; what follows the dots of a DICOM UID is none."""
    return re.sub(r"(?<=.)\.[A-Za-z]\w*(\.gz)?$", "", path.name) or str(path)


def expand_paths(paths: list[str]) -> list[str]:
    """The records meant: a folder stands for every record below it (``record.find_records``).

    Raises
    ------
    ValueError
        If nothing is named.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[str] = []
    for path in map(Path, paths):
        # A folder without a record stays as it is named, to be refused like any bad record.
        expanded += (find_records(path) if path.is_dir() else []) or [str(path)]
    return expanded
