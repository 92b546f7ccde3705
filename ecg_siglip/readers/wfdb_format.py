"""Read WFDB records: a ``.hea`` header with samples in ``.dat`` or, in the challenges, ``.mat``.

``wfdb_header`` parses the header and ``wfdb_samples`` reads the files; this module finds the files,
joins the segments of a record, and brings the samples to the units of the header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.wfdb_header import (
    BITS,
    MAX_HEADER_BYTES,
    NO_FILE,
    PACKED,
    Header,
    Signal,
    read_header,
)
from ecg_siglip.readers.wfdb_identity import read_identity, read_results
from ecg_siglip.readers.wfdb_samples import MAX_BYTES, Rows, SignalFile, count_frames, read_samples

# Of all segments of a record.
MAX_SEGMENT_HEADER_BYTES = 16 * MAX_HEADER_BYTES
BLOCK = 1 << 22  # samples that are summed at one time
SAME_RATE = 1e-6  # relative difference of two spellings of a sampling rate


class Segment(NamedTuple):
    """A header with signals and the files that it names: a record, or a segment of one.

    Attributes
    ----------
    header : Header
    files : list of SignalFile
    n_frames : int
        As stated by the header, otherwise by the sizes of the files.
    """

    header: Header
    files: list[SignalFile]
    n_frames: int


class Part(NamedTuple):
    """A segment in a record.

    Attributes
    ----------
    start : int
        Frame of the record.
    segment : Segment
    rows : sequence of int
        Index in the record of each signal of the segment.
    """

    start: int
    segment: Segment
    rows: Sequence[int]


@dataclass(frozen=True)
class WfdbRecord:
    """A record whose header has been checked and whose samples are read on demand.

    Attributes
    ----------
    fs : float, Hz, or None
        Frames per second; None if the header does not state it. A signal has ``per_frame`` samples
        in a frame.
    n_frames : int
    signals : list of Signal
        Name, unit and samples per frame of each channel.
    parts : list of Part
        In the order of time; what is between them is a gap.
    comments : list of str
    identity : Identity
    device : DeviceResults
    """

    fs: float | None
    n_frames: int
    signals: list[Signal]
    parts: list[Part]
    comments: list[str]
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()

    def read(self, first: int, stop: int) -> Stated:
        """Read the frames from ``first`` up to but without ``stop``.

        Returns
        -------
        Stated
            Each channel at its own rate, in the unit of the header, or in counts above the
            baseline and without a unit if the header states no gain. NaN where the file marks a
            sample as invalid, in gaps, and where a segment does not have the channel.

        Raises
        ------
        ValueError
            If there are more samples than fit into 256 MiB; if all samples of a segment are read
            and the checksum of one of its leads differs from the header.
        """
        n_samples = (stop - first) * sum(signal.per_frame for signal in self.signals)
        if 8 * n_samples > MAX_BYTES:
            raise ValueError(
                f"the header promises {n_samples} samples, expected at most {MAX_BYTES // 8}"
            )
        if len(self.parts) == 1 and self.parts[0].segment.header.signals is self.signals:
            rows = _read_segment(self.parts[0].segment, first, stop)
        else:
            rows = self._read_parts(first, stop)
        channels = [
            Channel(signal.name, row, signal.unit, self.fs and self.fs * signal.per_frame)
            for signal, row in zip(self.signals, rows, strict=True)
        ]
        return Stated(channels, self.comments, identity=self.identity, device=self.device)

    def check_sums(self) -> None:
        """Compare the checksums of all segments, before the record is read in pieces.

        Raises
        ------
        ValueError
            If one differs from the header.

        Notes
        -----
        Reads each file once, without keeping it: 0.15 s for 26 h of 12 leads at 250 Hz in format
        16, and 0.6 s for 2 leads in format 212.
        """
        segments = {id(part.segment): part.segment for part in self.parts}
        for segment in segments.values():
            n_frames = segment.header.n_frames or 0
            for file in segment.files:
                if n_frames and any(signal.checksum is not None for signal in file.signals):
                    _check_sums(file, _sum_file(file, n_frames))

    def _read_parts(self, first: int, stop: int) -> list[np.ndarray]:
        """Return the samples of each channel from the segments between two frames."""
        rows = [np.full((stop - first) * signal.per_frame, np.nan) for signal in self.signals]
        for start, segment, indices in self.parts:
            begin, end = max(first, start), min(stop, start + segment.n_frames)
            if begin >= end:
                continue
            for i, samples in zip(
                indices, _read_segment(segment, begin - start, end - start), strict=True
            ):
                at = (begin - first) * self.signals[i].per_frame
                rows[i][at : at + len(samples)] = samples
        return rows


def read_wfdb(header: Path) -> Stated:
    """Read a whole WFDB record.

    Parameters
    ----------
    header : Path
        Ends in ``.hea``.

    Returns
    -------
    Stated
        See ``WfdbRecord.read``; comments: the lines of the header that begin with ``#``.

    Raises
    ------
    FileNotFoundError, ValueError
        See ``open_wfdb`` and ``WfdbRecord.read``.
    """
    record = open_wfdb(header)
    return record.read(0, record.n_frames)


def open_wfdb(path: Path) -> WfdbRecord:
    """Check the header of a record, those of its segments, and the sizes of its files.

    Parameters
    ----------
    path : Path
        The header.

    Raises
    ------
    FileNotFoundError
        If a file that a header names is missing.
    ValueError
        If a header is malformed or contradicts the size of its files or another header; if there
        are no samples.
    """
    header, folder = read_header(path), Folder(path.parent)
    if header.segments:
        record = _join_segments(header, folder)
    else:
        segment = _open_segment(header, folder)
        whole = Part(0, segment, range(header.n_signals))
        record = WfdbRecord(header.fs, segment.n_frames, header.signals, [whole], header.comments)
    if record.n_frames == 0:
        raise ValueError("0 s of signal, expected some")
    if record.fs is None and any(signal.per_frame != 1 for signal in record.signals):
        raise ValueError("expected a sampling rate in a header with several samples per frame")
    line, comments = header.record_line, record.comments
    return replace(
        record,
        identity=unless_malformed(lambda: read_identity(path, line, comments), Identity()),
        device=unless_malformed(lambda: read_results(comments), DeviceResults()),
    )


class Folder:
    """The files next to a header, found whatever the case of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_lower_case: dict[str, list[str]] = {}

    def find(self, name: str) -> Path:
        """Return the path of a file that a header names.

        Raises
        ------
        FileNotFoundError
            If there is none, or several that differ in case.
        ValueError
            If there is only a packed one.
        """
        path = self.path / name
        if path.is_file():
            return path
        if path.exists():  # never opened: reading a pipe may take forever
            raise ValueError(f"the header names {name}, which is no file but a folder or device")
        if not self._by_lower_case:
            for each in self.path.iterdir():
                self._by_lower_case.setdefault(each.name.lower(), []).append(each.name)
        found = self._by_lower_case.get(name.lower(), [])
        if len(found) == 1 and (self.path / found[0]).is_file():
            return self.path / found[0]
        for suffix in PACKED:
            if self._by_lower_case.get(f"{name}{suffix}".lower()):
                raise ValueError(f"the header names {name}, which is packed: unpack {name}{suffix}")
        raise FileNotFoundError(f"the header names {name}, which is not in {self.path}")


def _open_segment(header: Header, folder: Folder) -> Segment:
    """Find the files of a header with signals and check their sizes."""
    files: list[SignalFile] = []
    for i, signal in enumerate(header.signals):
        if signal.fmt == "0" or signal.file == NO_FILE:
            continue
        if files and files[-1].signals[0].file == signal.file:
            files[-1].signals.append(signal)
            continue
        path = folder.find(signal.file)
        if files and files[-1].path == path:
            files[-1].signals.append(signal)
        elif any(file.path == path for file in files):
            raise ValueError(f"expected the leads of {signal.file} one after another")
        else:
            files.append(SignalFile(path, [signal], i))
    counts = {}
    for file in files:
        if len({(signal.fmt, signal.offset) for signal in file.signals}) > 1:
            raise ValueError(f"expected one format and offset for all leads of {file.path.name}")
        counts[file.path.name] = count_frames(file, header.n_frames)
    n_frames = header.n_frames
    if n_frames is None:
        if len(set(counts.values())) > 1:
            stated = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:4])
            raise ValueError(f"files of different numbers of samples: {stated}")
        n_frames = next(iter(counts.values()), 0)
    skewed = max((signal.skew for signal in header.signals), default=0)
    if skewed and skewed >= n_frames:
        raise ValueError(f"a lead is skewed by {skewed} of {n_frames} samples")
    return Segment(header, files, n_frames)


def _join_segments(header: Header, folder: Folder) -> WfdbRecord:
    """Open the segments of a record and arrange their signals in its channels."""
    opened = _open_parts(header, folder)
    head = next(iter(opened.values())).header
    if head.n_signals != header.n_signals:
        raise ValueError(
            f"the header states {header.n_signals} lead(s), its first segment {head.n_signals}"
        )
    # A first segment without samples is the layout: the channels of segments that differ.
    has_layout = header.segments[0][1] == 0 and header.segments[0][0] != NO_FILE
    signals, fs = head.signals, header.fs or head.fs
    units: dict[int, str] = {}
    parts, start = [], 0
    for name, n_frames in header.segments:
        if name != NO_FILE and n_frames > 0:
            segment = opened[name]
            _check_segment(name, segment, n_frames, fs)
            rows = _match_signals(name, segment.header.signals, signals, has_layout)
            for i, signal in zip(rows, segment.header.signals, strict=True):
                if units.setdefault(i, signal.unit) != signal.unit:
                    raise ValueError(
                        f"lead {signal.name} has the units {units[i] or 'none'} and "
                        f"{signal.unit or 'none'} in different segments"
                    )
            parts.append(Part(start, segment, rows))
        start += n_frames
    signals = [signal._replace(unit=units.get(i, signal.unit)) for i, signal in enumerate(signals)]
    comments = list(dict.fromkeys([*header.comments, *head.comments]))
    return WfdbRecord(fs, start, signals, parts, comments)


def _open_parts(header: Header, folder: Folder) -> dict[str, Segment]:
    """Open the segments of a record, each once, in their order."""
    opened: dict[str, Segment] = {}
    n_bytes = 0
    for name, _ in header.segments:
        if name == NO_FILE or name in opened:
            continue
        path = folder.find(f"{name}.hea")
        n_bytes += path.stat().st_size
        if n_bytes > MAX_SEGMENT_HEADER_BYTES:
            raise ValueError(
                f"expected segments with headers of at most {MAX_SEGMENT_HEADER_BYTES} bytes"
            )
        opened[name] = _open_part(name, path, folder)
    if not opened:
        raise ValueError("expected segments with signals, the header has only gaps")
    return opened


def _open_part(name: str, path: Path, folder: Folder) -> Segment:
    """Open a segment; its errors name it."""
    try:
        header = read_header(path)
        if header.segments:
            raise ValueError("expected signals, got segments of a segment")
        return _open_segment(header, folder)
    except ValueError as error:
        raise ValueError(f"segment {name}: {error}") from error


def _check_segment(name: str, segment: Segment, n_frames: int, fs: float | None) -> None:
    """Refuse a segment whose length or rate differs from what the record's header states."""
    if segment.n_frames != n_frames:
        raise ValueError(
            f"segment {name} has {segment.n_frames} samples, the record's header states {n_frames}"
        )
    own = segment.header.fs
    if own is not None and fs is not None and abs(own - fs) > SAME_RATE * fs:
        raise ValueError(f"segment {name} has {own:g} Hz, the record {fs:g} Hz")


def _match_signals(
    name: str, signals: list[Signal], channels: list[Signal], has_layout: bool
) -> list[int]:
    """Return the index of each signal of a segment among the channels of its record."""
    keys, names = [signal.name for signal in channels], [signal.name for signal in signals]
    rows = list(range(len(keys)))
    if has_layout:
        in_layout, in_segment = Counter(keys), Counter(names)
        other = [key for key, n in in_segment.items() if n != in_layout[key]]
        if other:
            raise ValueError(f"segment {name} has lead {other[0][:60]}, the layout has others")
        places = {key: [i for i, each in enumerate(keys) if each == key] for key in in_segment}
        rows = [places[key].pop(0) for key in names]
    elif names != keys:
        raise ValueError(
            f"segment {name} has leads {', '.join(names)[:60]}, the first {', '.join(keys)[:60]}"
        )
    for i, signal in zip(rows, signals, strict=True):
        if channels[i].per_frame != signal.per_frame:
            raise ValueError(
                f"lead {signal.name} has {signal.per_frame} samples per frame in segment {name}, "
                f"expected {channels[i].per_frame}"
            )
    return rows


def _read_segment(segment: Segment, first: int, stop: int) -> list[np.ndarray]:
    """Return the samples of each signal of a segment between two frames, float64."""
    signals = segment.header.signals
    rows: list[np.ndarray | None] = [None] * len(signals)
    for file in segment.files:
        skew = max(signal.skew for signal in file.signals)
        end = min(stop + skew, segment.n_frames)
        digital = read_samples(file, first, end)
        is_whole = first == 0 and end == segment.n_frames == segment.header.n_frames
        if is_whole and any(signal.checksum is not None for signal in file.signals):
            _check_sums(file, _sums(digital))
        rows[file.first : file.first + len(file.signals)] = _to_units(
            file.signals, digital, stop - first
        )
    return [  # without a file, all samples are missing
        np.full((stop - first) * signal.per_frame, np.nan) if row is None else row
        for signal, row in zip(signals, rows, strict=True)
    ]


def _to_units(signals: list[Signal], digital: Rows, n_frames: int) -> list[np.ndarray]:
    """Return samples in the units of signals, float64; NaN where one is invalid or missing."""
    bits = BITS[signals[0].fmt]
    invalid = -(1 << (bits - 1)) if bits else None
    if isinstance(digital, np.ndarray) and not any(signal.skew for signal in signals):
        # All at once, which takes half of the time.
        baseline = np.array([signal.baseline for signal in signals])
        samples = (digital.T - baseline) / np.array([signal.gain or 1.0 for signal in signals])
        samples[invalid == digital.T] = np.nan
        return list(samples.T)
    rows = []
    for signal, counts in zip(signals, digital, strict=True):
        row = np.full(n_frames * signal.per_frame, np.nan)
        counts = counts[signal.skew * signal.per_frame :][: len(row)]
        row[: len(counts)] = (counts - signal.baseline) / (signal.gain or 1.0)
        row[: len(counts)][counts == invalid] = np.nan
        rows.append(row)
    return rows


def _sums(digital: Rows) -> np.ndarray:
    """Return the sum of each signal modulo 65536, (n_signals,) uint16."""
    # The sum of a row takes a quarter of the time if its samples are next to each other.
    rows = digital.copy() if isinstance(digital, np.ndarray) else digital
    return np.array([counts.sum(dtype=np.uint16) for counts in rows], np.uint16)


def _sum_file(file: SignalFile, n_frames: int) -> np.ndarray:
    """Return the sums of all samples of a file, read block by block; see ``_sums``."""
    sums = np.zeros(len(file.signals), np.uint16)
    # Format 8 stores differences: any block of it is read from the beginning.
    step = n_frames if file.signals[0].fmt == "8" else BLOCK // file.frame + 1
    for first in range(0, n_frames, step):
        sums += _sums(read_samples(file, first, min(first + step, n_frames)))
    return sums


def _check_sums(file: SignalFile, sums: np.ndarray) -> None:
    """Compare the sums of all samples with the checksums that the header states."""
    for signal, got in zip(file.signals, sums.tolist(), strict=True):
        if signal.checksum is not None and got != signal.checksum:
            raise ValueError(
                f"{file.path.name} or its header is damaged: the checksum of lead "
                f"{signal.name} is {got}, the header states {signal.checksum} (0 there: "
                "not checked)"
            )
