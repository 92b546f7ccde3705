"""Read WFDB records: a ``.hea`` header with samples in ``.dat`` or, in the challenges, ``.mat``."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Stated, make_channels
from ecg_siglip.readers.limits import check_regular

# Largest record that a header may describe: 256 MiB of files, and of samples as float64.
MAX_BYTES = 1 << 28
MAX_HEADER_BYTES = 1 << 20
MAX_LEADS = 1000
BYTES_PER_SAMPLE = {
    "8": 1.0, "80": 1.0, "16": 2.0, "61": 2.0, "160": 2.0, "24": 3.0, "32": 4.0,
    "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
# gain(baseline)/unit, the third field of a signal's line in the header
GAIN = r"(\d+\.?\d*(?:e[+-]?\d+)?)(?:\(-?\d+\))?(?:/(\S+))?"
# format x samples per frame : skew + byte offset, the second field
FORMAT = r"\d+(?:x(\d+))?(?::(\d+))?(?:\+\d+)?"

# The lines of the headers that `_plain_record` reads.
PLAIN_FIRST = (
    r"[\w-]+(?:\.mat)? \d+ (?P<fs>\d+(?:\.\d+)?) (?P<n_samples>\d+)"
    r"(?: [\d:]+ [\d/]+| \d\d-[A-Z][a-z]{2}-\d{4} [\d:]+)?"
)
PLAIN_LEAD = (
    r"(?P<file>\S+) 16(?:\+(?P<offset>\d+))? "
    r"(?P<gain>\d+(?:\.\d+)?)(?:\((?P<baseline>-?\d+)\))?(?:/\S+)? "
    r"\d+ (?P<adc_zero>-?\d+) -?\d+ -?\d+ \d+ (?P<lead>[A-Za-z0-9]+)"
)


def read_wfdb(header: Path, piece: tuple[int, int] | None = None) -> Stated:
    """Read a WFDB record, or a piece of it.

    Parameters
    ----------
    header : Path
        Ends in ``.hea``.
    piece : (first, stop), optional
        Read only the samples from ``first`` up to but without ``stop``, of a record that has an
        ``extent`` and may be of any length.

    Returns
    -------
    Stated
        Signal in the units of the header, NaN where the file marks a sample as invalid; units and
        leads as the header spells them; comments: its lines that begin with ``#``, without it.

    Raises
    ------
    FileNotFoundError
        If a file that the header names is missing.
    ValueError
        If the header is malformed, has no signals, no sampling rate or no gain, names files in
        another folder, promises more than 256 MiB, or contradicts the size of its files.
    """
    lines, comments = _header_lines(header)
    n_read = None if piece is None else piece[1] - piece[0]
    units = _check_header(lines, n_read)
    n_bytes = _size_of_files(header, lines)
    if n_bytes > MAX_BYTES and piece is None:
        raise ValueError(f"expected at most {MAX_BYTES} bytes of samples, got {n_bytes}")
    base = header.with_suffix("")
    plain = _plain_record(base, lines, piece)
    if plain is not None:
        samples, fs, leads = plain
        return Stated(make_channels(samples.T, fs, units, leads), comments)
    record = _wfdb_record(base, lines) if piece is None else _rdpiece(base, piece)
    if None in record.sig_name:
        raise ValueError(f"lead {record.sig_name.index(None) + 1} has no name")
    channels = make_channels(record.p_signal.T, float(record.fs), units, record.sig_name)
    return Stated(channels, comments)


def extent(header: Path, longer_than_s: float) -> tuple[float, int] | None:
    """Return the sampling rate and the length of a record that is long and can be read in pieces.

    Parameters
    ----------
    header : Path
        Ends in ``.hea``.
    longer_than_s : float, s
        The least length of a record to be read in pieces.

    Returns
    -------
    fs : float, Hz
    n_samples : int
        Of each lead. None instead of both if the record has to be read at once.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``read_wfdb``, except for the limit on the size of the files.
    """
    lines, _ = _header_lines(header)
    match = re.match(r"\S+\s+\d+\s+(\d+\.?\d*)\S*\s+(\d+)", lines[0]) if lines else None
    if match is None or not float(match[2]) > longer_than_s * float(match[1]) > 0:
        return None
    _check_header(lines, n_read=0)
    _size_of_files(header, lines)
    base = header.with_suffix("").absolute()
    if "::" in str(base) or re.match(r"\S+\.mat\s", lines[0]):
        return None  # wfdb needs a repaired copy of the whole record, see _wfdb_record
    import wfdb

    try:
        record = wfdb.rdheader(str(base))
    except Exception:
        return None  # reading the record at once raises an error that states what is wrong
    _check_sizes(base, record)
    return float(match[1]), int(match[2])


def _header_lines(header: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a header that are no comments, and its comments without ``#``."""
    size = header.stat().st_size
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {size}")
    lines = [line.strip() for line in _decode(header.read_bytes()).splitlines() if line.strip()]
    comments = [line.strip("# \t") for line in lines if line.startswith("#")]
    return [line for line in lines if not line.startswith("#")], comments


def _size_of_files(header: Path, lines: list[str]) -> int:
    """Return the total size in bytes of the files that a header names."""
    n_bytes = 0
    for file in _file_names(lines):
        path = header.with_name(file)
        if not path.is_file():
            if path.exists():
                check_regular(path)
            raise FileNotFoundError(f"the header names {file}, which is not in {header.parent}")
        n_bytes += path.stat().st_size
    return n_bytes


def _decode(raw: bytes) -> str:
    """Decode a header; older ones have micro signs and umlauts in Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _file_names(lines: list[str]) -> list[str]:
    """Return the names of the files with the samples, each once."""
    return list(dict.fromkeys(line.split()[0] for line in lines[1:]))


def _check_header(lines: list[str], n_read: int | None = None) -> list[str]:
    """Check a header for everything that wfdb would guess, misread or follow unchecked.

    wfdb replaces a missing or zero gain by 200 and a missing rate by 250 Hz, and drops characters
    that are not ASCII, which turns a micro sign followed by V into V.

    Parameters
    ----------
    lines : list of str
        Lines of the header that are no comments.
    n_read : int, optional
        Number of samples of each lead that are going to be read; None: all.

    Returns
    -------
    list of str
        The unit of each lead.
    """
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not fields[1].isdecimal():
        raise ValueError(
            f"malformed header, expected 'name n_leads fs n_samples' in its first "
            f"line, got {lines[0][:60] if lines else 'nothing'!r}"
        )
    n_leads = int(fields[1])
    if n_leads == 0:
        raise ValueError("expected signals, the header has none")
    if n_leads > MAX_LEADS:
        raise ValueError(f"expected at most {MAX_LEADS} leads, the header states {n_leads}")
    if re.search(r"/\d+$", fields[0]):
        raise ValueError("expected one segment, got a multi-segment header")
    rate = re.match(r"\d+\.?\d*", fields[2]) if len(fields) > 2 else None
    if not rate or float(rate[0]) == 0:
        raise ValueError("expected a sampling rate in the header, got none")
    if len(lines) - 1 != n_leads:
        raise ValueError(f"the header states {n_leads} lead(s) but describes {len(lines) - 1}")
    length = re.match(r"\d+", fields[3]) if len(fields) > 3 else None
    n_samples, n_promised, units = int(length[0]) if length else 0, 0, []
    n_samples = n_samples if n_read is None else n_read
    for line in lines[1:]:
        parts = line.split()
        if Path(parts[0]).name != parts[0] or "\\" in parts[0] or parts[0] == "..":
            raise ValueError(
                f"expected samples in the folder of the header, got the path {parts[0]}"
            )
        field = parts[2] if len(parts) > 2 else ""
        match = re.fullmatch(GAIN, field)
        if not match or float(match[1]) == 0:
            raise ValueError(f"expected a gain as in 1000/mV, got {field!r} for lead {parts[-1]}")
        unit = match[2] or "mV"
        layout = re.fullmatch(FORMAT, parts[1])
        if not layout:
            raise ValueError(f"malformed header, expected a format as in 16, got {parts[1]!r}")
        n_promised += int(layout[1] or 1) * (n_samples + int(layout[2] or 0))
        units.append(unit)
    if 8 * n_promised > MAX_BYTES:
        raise ValueError(
            f"the header promises {n_promised} samples, expected at most {MAX_BYTES // 8}"
        )
    return units


def _plain_record(
    base: Path, lines: list[str], piece: tuple[int, int] | None
) -> tuple[np.ndarray, float, list[str]] | None:
    """Read a record in the plain layout of PTB-XL and of the challenges' collections.

    In that layout all leads are in one file of 16-bit samples, and the header has nothing unusual.
    The result is bit for bit that of wfdb, in a tenth of the time, since wfdb's header parser is
    slow.

    Returns
    -------
    samples : ndarray of shape (n_samples, n_leads), float64, in the units of the header
    fs : float, Hz
    leads : list of str
        None instead of the three for a record of another layout or with errors: wfdb reads or
        refuses it.
    """
    first = re.fullmatch(PLAIN_FIRST, lines[0])
    rows = [re.fullmatch(PLAIN_LEAD, line) for line in lines[1:]]
    if first is None or not all(rows):
        return None
    fields = [row.groupdict() for row in rows if row]
    files = {(field["file"], int(field["offset"] or 0)) for field in fields}
    if len(files) != 1:
        return None
    (file, offset), n_samples = files.pop(), int(first["n_samples"])
    path = base.with_name(file)
    if path.stat().st_size != offset + 2 * len(fields) * n_samples or n_samples == 0:
        return None
    start, stop = piece or (0, n_samples)
    n_values = (stop - start) * len(fields)
    digital = np.fromfile(path, "<i2", n_values, offset=offset + 2 * start * len(fields))
    digital = digital.reshape(stop - start, len(fields))
    zero = [float(field["baseline"] or field["adc_zero"]) for field in fields]
    samples = (digital - np.array(zero)) / np.array([float(field["gain"]) for field in fields])
    samples[digital == -32768] = np.nan
    return samples, float(first["fs"]), [field["lead"] for field in fields]


def _wfdb_record(base: Path, lines: list[str]) -> Any:
    """Read a record with wfdb, from a repaired copy where wfdb cannot read the original.

    Some headers of the challenges contain their own name with the suffix ``.mat``, which wfdb does
    not parse; and wfdb takes ``::`` in a path for the address of an archive.
    """
    first = re.sub(r"^(\S+)\.mat(?=\s)", r"\1", lines[0])
    if first == lines[0] and "::" not in str(base.absolute()):
        return _rdrecord(base.absolute())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, base.name)
        header = "\n".join([first, *lines[1:]]) + "\n"
        Path(folder, f"{base.name}.hea").write_text(header, encoding="utf-8")
        for file in _file_names(lines):
            shutil.copyfile(base.with_name(file), copy.with_name(file))
        return _rdrecord(copy)


def _rdrecord(base: Path) -> Any:
    """Read a whole record with wfdb and check the sizes of its files."""
    # wfdb imports pandas: half a second that importing this module should not take.
    import wfdb

    try:
        record = wfdb.rdrecord(str(base))
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        try:
            record = wfdb.rdheader(str(base))
        except Exception:
            raise ValueError(f"malformed header ({cause})") from error
        n_bytes = sum(base.with_name(file).stat().st_size for file in record.file_name)
        if record.sig_len == 0 or (record.sig_len is None and n_bytes == 0):
            raise ValueError("0 s of signal, expected some") from error
        _check_sizes(base, record)
        raise ValueError(f"wfdb cannot read it ({cause})") from error
    _check_sizes(base, record)
    return record


def _rdpiece(base: Path, piece: tuple[int, int]) -> Any:
    """Read some samples of a record with wfdb; ``extent`` has checked the files."""
    import wfdb

    try:
        return wfdb.rdrecord(str(base.absolute()), sampfrom=piece[0], sampto=piece[1])
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"wfdb cannot read it ({cause})") from error


def _check_sizes(base: Path, record: Any) -> None:
    """Check that the files have the number of samples that the header states."""
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
                f"{file} is truncated, expected {record.sig_len} samples for "
                f"{len(channels)} lead(s), got {n_samples}"
            )
        if n_samples > record.sig_len + 1:
            raise ValueError(
                f"{file} is longer than its header states, expected "
                f"{record.sig_len} samples for {len(channels)} lead(s), got {n_samples}"
            )
