"""A record on disk to its signal in mV, with sampling rate and lead names.

The formats are WFDB's: a ``.hea`` header beside its samples in a ``.dat`` file, or in the ``.mat``
file of the PhysioNet challenges 2020 and 2021.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = ("", ".hea", ".dat", ".mat")
MV_PER_UNIT = {"uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "mv": 1.0, "v": 1e3}
BYTES_PER_SAMPLE = {
    "8": 1.0, "80": 1.0, "16": 2.0, "61": 2.0, "160": 2.0, "24": 3.0, "32": 4.0,
    "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
# gain(baseline)/unit
GAIN = r"(\d+\.?\d*(?:e[+-]?\d+)?)(?:\(-?\d+\))?(?:/(\S+))?"

PLAIN_FIRST = r"[\w-]+ \d+ (?P<fs>\d+(?:\.\d+)?) (?P<n_samples>\d+)"
PLAIN_LEAD = (
    r"(?P<file>\S+) 16 (?P<gain>\d+(?:\.\d+)?)(?:\((?P<baseline>-?\d+)\))?(?:/\S+)? "
    r"\d+ (?P<adc_zero>-?\d+) -?\d+ -?\d+ \d+ (?P<lead>[A-Za-z0-9]+)"
)


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
        As the file writes them.
    comments : tuple of str
        Lines of the header that begin with ``#``, without it.
    """

    name: str
    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    comments: tuple[str, ...]


def read(path: str | Path) -> Record:
    """The record at a path.

    Parameters
    ----------
    path : str or Path
        With or without one of the suffixes ``.hea``, ``.dat``, ``.mat``.

    Returns
    -------
    Record

    Raises
    ------
    FileNotFoundError
        If the header, or a file that it names, is not there.
    ValueError
        If the suffix is of no known format, the header is malformed, has no signals, no sampling
        rate, no gain, units other than uV, mV or V, or contradicts the size of its files.

    Notes
    -----
    Reads local files only.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"record {path.name}: unknown format {path.suffix}, expected one of "
            f"{', '.join(SUFFIXES[1:])}, or none of them"
        )
    return _read_wfdb(path.with_suffix("") if path.suffix else path)


def _read_wfdb(base: Path) -> Record:
    """Read ``base``.hea and the files it names by the wfdb library."""
    name, header = base.name, base.parent / f"{base.name}.hea"
    if not header.is_file():
        raise FileNotFoundError(f"record {name}: no header, looked for {header}")
    text = _decoded(header.read_bytes())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = tuple(line.strip("# \t") for line in lines if line.startswith("#"))
    lines = [line for line in lines if not line.startswith("#")]
    scales = _check_header(name, lines)
    for file in _files(lines):
        if not header.with_name(file).is_file():
            raise FileNotFoundError(
                f"record {name}: the header names {file}, which is not in {header.parent}"
            )
    plain = _plain_record(base, lines)
    if plain is not None:
        samples, fs, leads = plain
        signal = np.ascontiguousarray((samples * scales).T, dtype=np.float32)
        return Record(name, signal, fs, leads, comments)
    record = _wfdb_record(base, lines)
    if None in record.sig_name:
        raise ValueError(f"record {name}: lead {record.sig_name.index(None) + 1} has no name")
    signal = np.ascontiguousarray((record.p_signal * scales).T, dtype=np.float32)
    return Record(name, signal, float(record.fs), tuple(record.sig_name), comments)


def _decoded(raw: bytes) -> str:
    """Text of a header; older ones write their micro signs and umlauts in Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _files(lines: list[str]) -> list[str]:
    return list(dict.fromkeys(line.split()[0] for line in lines[1:]))


def _check_header(name: str, lines: list[str]) -> np.ndarray:
    """mV per unit of each lead, after refusing what wfdb would guess, misread or follow blindly.

    wfdb takes a missing or zero gain as 200, a missing rate as 250 Hz, and drops what is not
    ASCII, which turns a micro sign followed by V into V.
    """
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not fields[1].isdecimal():
        raise ValueError(
            f"record {name}: malformed header, expected 'name n_leads fs n_samples' in its first "
            f"line, got {lines[0][:60] if lines else 'nothing'!r}"
        )
    n_leads = int(fields[1])
    if n_leads == 0:
        raise ValueError(f"record {name}: expected signals, the header has none")
    if re.search(r"/\d+$", fields[0]):
        raise ValueError(f"record {name}: expected one segment, got a multi-segment header")
    rate = re.match(r"\d+\.?\d*", fields[2]) if len(fields) > 2 else None
    if not rate or float(rate[0]) == 0:
        raise ValueError(f"record {name}: expected a sampling rate in the header, got none")
    if len(lines) - 1 != n_leads:
        raise ValueError(
            f"record {name}: the header says {n_leads} lead(s) but describes {len(lines) - 1}"
        )
    scales = []
    for line in lines[1:]:
        parts = line.split()
        if Path(parts[0]).name != parts[0] or "\\" in parts[0] or parts[0] == "..":
            raise ValueError(
                f"record {name}: expected samples beside the header, got the path {parts[0]}"
            )
        field = parts[2] if len(parts) > 2 else ""
        match = re.fullmatch(GAIN, field)
        if not match or float(match[1]) == 0:
            raise ValueError(
                f"record {name}: expected a gain as in 1000/mV, got {field!r} for lead {parts[-1]}"
            )
        unit = match[2] or "mV"
        if unit.lower() not in MV_PER_UNIT:
            raise ValueError(
                f"record {name}: expected units uV, mV or V, got {unit} for lead {parts[-1]}"
            )
        scales.append(MV_PER_UNIT[unit.lower()])
    return np.array(scales)


def _plain_record(base: Path, lines: list[str]) -> tuple[np.ndarray, float, tuple[str, ...]] | None:
    """Samples in the header's unit (n_samples, n_leads), fs and leads of the plainest of records.

    All leads in one file of 16-bit samples and nothing unusual in the header, as in PTB-XL: this is
    what wfdb reads, bit for bit, in a tenth of the time, which its header parser takes. None for
    anything else, and for whatever is wrong: that is wfdb's to read or refuse.
    """
    first = re.fullmatch(PLAIN_FIRST, lines[0])
    rows = [re.fullmatch(PLAIN_LEAD, line) for line in lines[1:]]
    if first is None or not all(rows):
        return None
    fields = [row.groupdict() for row in rows if row]
    files = {field["file"] for field in fields}
    if len(files) != 1:
        return None
    path, n_samples = base.with_name(files.pop()), int(first["n_samples"])
    if path.stat().st_size != 2 * len(fields) * n_samples or n_samples == 0:
        return None
    digital = np.fromfile(path, "<i2").reshape(n_samples, len(fields))
    zero = [float(field["baseline"] or field["adc_zero"]) for field in fields]
    samples = (digital - np.array(zero)) / np.array([float(field["gain"]) for field in fields])
    samples[digital == -32768] = np.nan
    return samples, float(first["fs"]), tuple(field["lead"] for field in fields)


def _wfdb_record(base: Path, lines: list[str]) -> Any:
    """``wfdb.rdrecord``, by way of a mended copy where wfdb cannot read the original.

    Part of the challenge's headers write their own name with the suffix ``.mat``, which wfdb does
    not parse; and it takes ``::`` in a path for the address of an archive.
    """
    first = re.sub(r"^(\S+)\.mat(?=\s)", r"\1", lines[0])
    if first == lines[0] and "::" not in str(base.absolute()):
        return _rdrecord(base.absolute())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, base.name)
        header = "\n".join([first, *lines[1:]]) + "\n"
        Path(folder, f"{base.name}.hea").write_text(header, encoding="utf-8")
        for file in _files(lines):
            shutil.copyfile(base.with_name(file), copy.with_name(file))
        return _rdrecord(copy)


def _rdrecord(base: Path) -> Any:
    """``wfdb.rdrecord`` with its errors in one line, and the sizes of the files checked."""
    # wfdb brings pandas along: half a second that importing this room should not cost.
    import wfdb

    try:
        record = wfdb.rdrecord(str(base))
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        try:
            record = wfdb.rdheader(str(base))
        except Exception:
            raise ValueError(f"record {base.name}: malformed header ({said})") from error
        n_bytes = sum(base.with_name(file).stat().st_size for file in record.file_name)
        if record.sig_len == 0 or (record.sig_len is None and n_bytes == 0):
            raise ValueError(f"record {base.name}: 0 s of signal, expected some") from error
        _check_sizes(base, record)
        raise ValueError(f"record {base.name}: wfdb cannot read it ({said})") from error
    _check_sizes(base, record)
    return record


def _check_sizes(base: Path, record: Any) -> None:
    """Hold the files to the number of samples that the header promises."""
    for file in dict.fromkeys(record.file_name):
        channels = [i for i, other in enumerate(record.file_name) if other == file]
        fmt = record.fmt[channels[0]]
        if fmt not in BYTES_PER_SAMPLE or record.sig_len is None:
            continue
        frame = BYTES_PER_SAMPLE[fmt] * sum(record.samps_per_frame[i] or 1 for i in channels)
        n_bytes = base.with_name(file).stat().st_size - (record.byte_offset[channels[0]] or 0)
        n_samples = int(n_bytes / frame + 1e-6)
        if n_samples < record.sig_len:
            raise ValueError(
                f"record {base.name}: {file} is truncated, expected {record.sig_len} samples for "
                f"{len(channels)} lead(s), got {n_samples}"
            )
        if n_samples > record.sig_len + 1:
            raise ValueError(
                f"record {base.name}: {file} is longer than its header says, expected "
                f"{record.sig_len} samples for {len(channels)} lead(s), got {n_samples}"
            )
