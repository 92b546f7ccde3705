"""Parse WFDB headers: what they state about the signals and segments of a record.

Every field that decides which samples are read and how large they are is checked. All other fields
(date, time, counter, resolution) may be missing or misspelled: nothing depends on them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

MAX_HEADER_BYTES = 1 << 20
MAX_LINE = 1000  # characters; the specification allows 255
MAX_SIGNALS = 1000
MAX_SEGMENTS = 10_000
# Resolution of the formats of ``signal(5)`` in bits; 0: no samples, as in a layout.
BITS = {
    "0": 0, "8": 0, "80": 8, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32, "212": 12,
    "310": 10, "311": 10, "508": 8, "516": 16, "524": 24,
}  # fmt: skip
NO_FILE = "~"  # for the signals of a layout, and the segment of a gap
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
WHOLE = r"[+-]?\d+(?:\.0*)?"
# Format, x samples per frame, : skew, + offset in bytes.
FORMAT = (
    r"(?P<fmt>\d{1,9})(?:x(?P<per_frame>\d{1,9}))?(?::(?P<skew>\d{1,9}))?"
    r"(?:\+(?P<offset>\d{1,15}))?"
)
GAIN = rf"(?P<gain>{NUMBER})(?:\((?P<baseline>{NUMBER})\))?(?:/(?P<unit>[^ ]*))?"
# Resolution, zero, first value and checksum, each only after the one before; block size; name.
REST = (
    rf"(?: {WHOLE}(?: (?P<zero>{WHOLE})(?: (?P<first>{WHOLE})(?: (?P<checksum>{WHOLE})"
    rf"(?P<block> {WHOLE})?)?)?)?)?(?: (?P<name>.*))?"
)
SIGNAL = re.compile(rf"(?P<file>[^ ]+(?: [^ /()]+){{0,9}}?) {FORMAT}(?: {GAIN}{REST})?", re.ASCII)
RATE = r"(?P<fs>\+?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?:/[^ ]*)?(?:\([^ ]*)?"
# Without a length, the time and the date come next.
LENGTH = r"(?:(?P<n_frames>\d{1,18})(?:\.0*)?(?: .*)?|[^ ]*(?:[:/]|[^ ]-).*)"
RECORD = re.compile(
    rf"[^ ]+?(?:/(?P<n_segments>\d{{1,9}}))? (?P<n_signals>\d{{1,9}})(?: {RATE}(?: {LENGTH})?)?",
    re.ASCII,
)
PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")


class Signal(NamedTuple):
    """One signal of a record, as its header states it.

    Attributes
    ----------
    name : str
        "" if the header does not name it.
    file : str
        In the folder of the header.
    fmt : str
        One of ``BITS``.
    per_frame : int, at least 1
        Samples in a frame: in one period of the sampling rate that the header states.
    skew : int
        Frames at the beginning of the file that precede the beginning of the record.
    offset : int
        Bytes of the file (in FLAC: samples) that precede the first frame.
    gain : float or None
        Counts per unit; None if the header states that the amplitude is not calibrated.
    baseline : float, counts
    unit : str
        "" without a gain.
    first : int
        Value before the first difference in format 8.
    checksum : int or None
        Sum of the samples modulo 65536; None if the header does not state it.
    """

    name: str
    file: str
    fmt: str
    per_frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: float
    unit: str
    first: int
    checksum: int | None


class Header(NamedTuple):
    """What a header states about a record.

    Attributes
    ----------
    n_signals : int
    fs : float, Hz, or None
        Frames per second; None if the header does not state it.
    n_frames : int or None
    signals : list of Signal
        Empty in a header with segments.
    segments : list of (str, int)
        Name and number of frames; empty in a header with signals.
    comments : list of str
        Lines that begin with ``#``, without it.
    record_line : str
        The first line, with one blank between fields.
    """

    n_signals: int
    fs: float | None
    n_frames: int | None
    signals: list[Signal]
    segments: list[tuple[str, int]]
    comments: list[str]
    record_line: str = ""


def read_header(path: Path) -> Header:
    """Read a header.

    Raises
    ------
    ValueError
        If it is larger than ``MAX_HEADER_BYTES`` or malformed, if it states no signals or more
        than ``MAX_SIGNALS`` or ``MAX_SEGMENTS``, or names files in another folder.

    Notes
    -----
    ``header(5)`` of the WFDB Applications Guide. A length of 0 means that none is stated, a gain of
    0 that the amplitude is not calibrated. A checksum of 0 is taken as not stated: it is the
    placeholder of many data sets, and only one signal in 65536 really has it.
    """
    size = path.stat().st_size
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {size}")
    lines = [" ".join(line.split()) for line in re.split("\r\n?|\n", _decode(path.read_bytes()))]
    comments = [line.strip("# ") for line in lines if line.startswith("#")]
    lines = [line for line in lines if line and not line.startswith("#")]
    if any(len(line) > MAX_LINE for line in lines):
        raise ValueError(f"malformed header, expected lines of at most {MAX_LINE} characters")
    n_segments, n_signals, fs, n_frames = _parse_record_line(lines, " ".join(path.stem.split()))
    n_lines = len(lines) - 1
    if n_segments is None:
        if n_lines != n_signals:
            raise ValueError(f"the header states {n_signals} lead(s) but describes {n_lines}")
        signals = [_parse_signal_line(line) for line in lines[1:]]
        return Header(n_signals, fs, n_frames, signals, [], comments, lines[0])
    if n_lines != n_segments:
        raise ValueError(f"the header states {n_segments} segment(s) but lists {n_lines}")
    segments = [_parse_segment_line(line) for line in lines[1:]]
    total = sum(length for _, length in segments)
    if n_frames is not None and total != n_frames:
        raise ValueError(f"the header states {n_frames} samples, its segments have {total}")
    return Header(n_signals, fs, total, [], segments, comments, lines[0])


def _decode(raw: bytes) -> str:
    """Decode a header; older ones have micro signs and umlauts in Latin-1."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _parse_record_line(
    lines: list[str], name: str
) -> tuple[int | None, int, float | None, int | None]:
    """Return numbers of segments and signals, frames per second, and number of frames.

    ``name`` is that of the file, which the line may begin with: it can contain blanks.
    """
    first = lines[0] if lines else ""
    if " " in name and first.startswith(name):
        first = "_" + first[len(name) :]
    match = RECORD.fullmatch(first)
    if not match:
        raise ValueError(
            "malformed header, expected 'name n_leads fs n_samples' in its first line, got "
            f"{first[:60] or 'nothing'!r}"
        )
    n_signals = int(match["n_signals"])
    n_segments = int(match["n_segments"]) if match["n_segments"] else None
    if not 0 < n_signals <= MAX_SIGNALS:
        raise ValueError(f"expected 1 to {MAX_SIGNALS} leads, the header states {n_signals}")
    if n_segments is not None and not 0 < n_segments <= MAX_SEGMENTS:
        raise ValueError(f"expected 1 to {MAX_SEGMENTS} segments, the header states {n_segments}")
    fs, n_frames = float(match["fs"] or 0), int(match["n_frames"] or 0)
    return n_segments, n_signals, fs or None, n_frames or None


def _parse_segment_line(line: str) -> tuple[str, int]:
    """Return the name and the length of a segment."""
    name, _, length = line.rpartition(" ")
    if not name or not re.fullmatch(r"\d{1,18}", length, re.ASCII):
        raise ValueError(
            f"malformed header, expected 'name n_samples' of a segment, got {line[:60]!r}"
        )
    _check_file_name(name)
    return name, int(length)


def _parse_signal_line(line: str) -> Signal:
    """Return what a line states about a signal."""
    match = SIGNAL.fullmatch(line)
    fields = match.groupdict() if match else {}
    name = (fields.get("name") or "").strip()
    # Where numbers are missing, the name comes next; anything else is a malformed number.
    if not match or (name and not fields["block"] and not name[0].isalpha()):
        example = "rec.dat 16 1000(0)/mV 16 0 0 0 0 II"
        raise ValueError(f"malformed header, expected a line as {example}, got {line[:60]!r}")
    _check_file_name(fields["file"])
    fmt, per_frame = fields["fmt"], int(fields["per_frame"] or 1)
    lead = (name or fields["file"])[:60]
    if fmt not in BITS:
        raise ValueError(f"format {fmt} of lead {lead} is no WFDB format")
    if per_frame == 0:
        raise ValueError(f"expected samples in a frame of lead {lead}, got 0")
    zero = fields["zero"] or "0"
    gain, baseline = float(fields["gain"] or 0), float(fields["baseline"] or zero)
    if not (math.isfinite(gain) and math.isfinite(baseline)):
        raise ValueError(
            f"expected a gain as in 1000(0)/mV, got {gain:g}({baseline:g}) for lead {lead}"
        )
    checksum = _whole(fields["checksum"] or "0") & 0xFFFF
    return Signal(
        name=name,
        file=fields["file"],
        fmt=fmt,
        per_frame=per_frame,
        skew=int(fields["skew"] or 0),
        offset=int(fields["offset"] or 0),
        gain=gain or None,
        baseline=baseline,
        unit=(fields["unit"] or "mV") if gain else "",
        first=_whole(fields["first"] or zero),
        checksum=checksum or None,
    )


def _whole(number: str) -> int:
    """Return a whole number, which some programs write as 24.0."""
    return int(number.partition(".")[0])


def _check_file_name(name: str) -> None:
    """Refuse files in another folder, and packed ones."""
    if "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError(f"expected files in the folder of the header, got the path {name[:60]}")
    if name.lower().endswith(PACKED):
        raise ValueError(f"the header names the packed file {name[:60]}: unpack it and rename it")
