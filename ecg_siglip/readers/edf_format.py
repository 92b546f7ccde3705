"""Read EDF, EDF+, BDF and BDF+ files."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated
from ecg_siglip.readers.edf_identity import read_identity
from ecg_siglip.readers.identity import Identity, unless_malformed

# Name, width of the fields of a signal; each field is stored for all signals in turn.
FIELDS = {
    "label": 16, "transducer": 80, "unit": 8, "low": 8, "high": 8, "digital_low": 8,
    "digital_high": 8, "filters": 80, "n_samples": 8, "reserved": 32,
}  # fmt: skip
RANGE = ("low", "high", "digital_low", "digital_high")
NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# Beginning of the annotation that states when a data record begins, s.
ONSET = re.compile(rb"([-+]?\d+(?:\.\d*)?)[\x14\x15]")
# Of the prefixes of a volt only micro is outside ASCII; some writers put a question mark there.
MICROVOLT = re.compile(rb"(?:[\x80-\xff]{1,3}|\?) ?[vV](?:olts?)?")
# A data record that begins later or earlier than expected by more than this does not follow the
# one before.
GAP_S = 0.01
MAX_ONSETS = 2_000_000  # 26 h of data records of 50 ms
ONSET_BYTES = 24
# Above, samples are stored in single precision, whose error is below that of the 24 bits of BDF.
LARGE_BYTES = 1 << 26


class _Layout(NamedTuple):
    """The layout of the data records, as the header states it."""

    is_bdf: bool
    n_records: int | None  # as stated; None if the recorder did not state it
    duration_s: float
    fields: dict[str, list[bytes]]
    n_samples: list[int]  # of each signal in a data record
    header_bytes: int

    @property
    def sample_bytes(self) -> int:
        return 3 if self.is_bdf else 2

    @property
    def record_bytes(self) -> int:
        return self.sample_bytes * sum(self.n_samples)

    def is_annotation(self, i: int) -> bool:
        """Return whether a signal consists of annotations."""
        return self.fields["label"][i] in (b"EDF Annotations", b"BDF Annotations")


def read_edf(content: bytes) -> Stated:
    """Read an EDF, EDF+, BDF or BDF+ file.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        All signals but annotations, without comments. Of a recording with gaps (EDF+D), the longest
        part without a gap.

    Raises
    ------
    ValueError
        If a number of the header that the data records depend on is malformed, if the file is
        shorter than its header states by a data record or more, or longer by anything but padding;
        if the data records of a discontinuous recording do not state when they begin.

    Notes
    -----
    Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003,
    doi:10.1016/S1388-2457(03)00123-8. A signal with an empty range has no gain: it is refused as
    a lead, and does not matter otherwise.
    """
    layout = _read_layout(content)
    n_records, warnings = _count_records(layout, content)
    if b"," in b"".join(field for name in RANGE for field in layout.fields[name]):
        warnings.append("decimal commas in the header, read as points")
    if any(re.fullmatch(rb"\? ?[vV](?:olts?)?", unit) for unit in layout.fields["unit"]):
        warnings.append("a unit with a question mark, read as uV")
    records = np.frombuffer(
        content, np.uint8, n_records * layout.record_bytes, layout.header_bytes
    ).reshape(n_records, -1)
    is_declared = content[192:197] in (b"EDF+D", b"BDF+D")
    records, gaps = _without_gaps(layout, records, is_declared)
    warnings += gaps
    dtype = np.float64 if len(content) <= LARGE_BYTES else np.float32
    channels = []
    stops = np.cumsum(layout.n_samples) * layout.sample_bytes
    for i, (n, stop) in enumerate(zip(layout.n_samples, stops, strict=True)):
        if n and not layout.is_annotation(i):
            stored = records[:, stop - n * layout.sample_bytes : stop]
            unit, gain, offset = _calibration(layout, i)
            samples = _digital(stored, layout.is_bdf).astype(dtype)
            np.multiply(samples, gain, out=samples)
            np.add(samples, offset, out=samples)
            fs = n / layout.duration_s if layout.duration_s else None
            channels.append(Channel(_text(layout.fields["label"][i]), samples, unit, fs))
    labels, filters = layout.fields["label"], layout.fields["filters"]
    identity = unless_malformed(lambda: read_identity(content[:256], labels, filters), Identity())
    return Stated(channels, warnings=warnings, identity=identity)


def _read_layout(content: bytes) -> _Layout:
    """Read the header of a file."""
    n_signals = int(_number(content[252:256], "signals", low=1))
    header_bytes = 256 * (n_signals + 1)
    if len(content) < header_bytes:
        raise ValueError(
            f"expected {header_bytes} bytes of header for {n_signals} signals, the file has "
            f"{len(content)}"
        )
    fields, start = {}, 256
    for name, width in FIELDS.items():
        stop = start + width * n_signals
        fields[name] = [content[i : i + width].strip(b" \0") for i in range(start, stop, width)]
        start = stop
    n_records = content[236:244].strip(b" \0")
    return _Layout(
        content.startswith(b"\xff"),
        None if n_records in (b"", b"-1", b"0") else int(_number(n_records, "data records", low=1)),
        _number(content[244:252], "seconds in a data record", low=0),
        fields,
        [int(_number(field, "samples in a data record", low=0)) for field in fields["n_samples"]],
        header_bytes,
    )


def _number(field: bytes, what: str, low: float = -math.inf) -> float:
    """Return the number in a field of a header; a decimal comma is a point."""
    text = field.strip(b" \0").replace(b",", b".")
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    if not low <= number < math.inf or (low == 1 and number % 1):
        got = text[:16].decode("latin-1")
        raise ValueError(f"malformed header, expected a number of {what}, got {got!r}")
    return number


def _text(field: bytes) -> str:
    """Return a field of a header as text: UTF-8, or Latin-1, which the standard does not allow."""
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _count_records(layout: _Layout, content: bytes) -> tuple[int, list[str]]:
    """Return the number of whole data records, and warnings if it is not the stated one."""
    n_bytes = len(content) - layout.header_bytes
    if not layout.record_bytes:
        raise ValueError("the signals have no samples")
    n_records, rest = divmod(n_bytes, layout.record_bytes)
    warnings = []
    if layout.n_records is None:
        warnings.append(
            f"the number of data records is not stated, {n_records} follow from the size"
        )
    elif n_records == layout.n_records - 1 and rest:
        warnings.append(f"the last of {layout.n_records} data records is not whole and left out")
    elif n_records < layout.n_records:
        raise ValueError(
            f"the header states {layout.n_records} data records, the file has {n_records}: a part "
            "is missing"
        )
    else:
        end = layout.header_bytes + layout.n_records * layout.record_bytes
        # Disks and tapes are padded to whole blocks.
        if content[end:].strip(b" \0\n\r\x1a\xff"):
            raise ValueError(
                f"the header states {end} bytes, the file has {len(content)}: expected the same"
            )
        n_records = layout.n_records
    if n_records == 0:
        raise ValueError("no whole data record, expected some")
    return n_records, warnings


def _without_gaps(
    layout: _Layout, records: np.ndarray, is_declared: bool
) -> tuple[np.ndarray, list[str]]:
    """Return the longest run of data records without a gap, and a warning if there are gaps.

    A recording that is declared to have gaps (EDF+D) has to state when its data records begin. Any
    other that does so consistently is checked, too.
    """
    onsets_s = _onsets_s(layout, records)
    if onsets_s is None:
        if is_declared:
            raise ValueError("a recording with gaps (EDF+D) that does not state where they are")
        return records, []
    steps_s = np.diff(onsets_s)
    is_gap = np.abs(steps_s - layout.duration_s) > min(GAP_S, layout.duration_s / 2)
    if not is_gap.any() or (not is_declared and (steps_s <= 0).any()):
        return records, []
    if not is_declared and is_gap.mean() > 0.5:
        raise ValueError(
            f"data records of {layout.duration_s:g} s that begin every {np.median(steps_s):g} s"
        )
    bounds = np.concatenate([[0], np.flatnonzero(is_gap) + 1, [len(records)]])
    longest = np.diff(bounds).argmax()
    begin, end = bounds[longest : longest + 2]
    stops_s = onsets_s[bounds[1:] - 1] + layout.duration_s
    return records[begin:end], [
        f"a recording in {len(stops_s)} parts, the first gap at {stops_s[0]:g} s: only the longest "
        f"part is read, {onsets_s[begin]:g} to {stops_s[longest]:g} s"
    ]


def _onsets_s(layout: _Layout, records: np.ndarray) -> np.ndarray | None:
    """Return when each data record begins, s; None if one does not state it."""
    first = next((i for i in range(len(layout.n_samples)) if layout.is_annotation(i)), None)
    if first is None or not layout.duration_s or len(records) > MAX_ONSETS:
        return None
    start, n_bytes = (
        n * layout.sample_bytes for n in (sum(layout.n_samples[:first]), layout.n_samples[first])
    )
    texts = np.ascontiguousarray(records[:, start : start + min(n_bytes, ONSET_BYTES)])
    onsets = [ONSET.match(text.tobytes()) for text in texts]
    return None if None in onsets else np.array([float(onset[1]) for onset in onsets if onset])


def _digital(stored: np.ndarray, is_bdf: bool) -> np.ndarray:
    """Return the samples of a signal, (n_samples,), from its bytes, (n_records, n_bytes)."""
    if not is_bdf:
        return np.ascontiguousarray(stored).view("<i2").ravel()
    # The three bytes become the upper ones of four, so that shifting them extends the sign.
    padded = np.zeros((len(stored), stored.shape[1] // 3, 4), np.uint8)
    padded[:, :, 1:] = stored.reshape(len(stored), -1, 3)
    samples = padded.view("<i4").ravel()
    samples >>= 8
    return samples


def _calibration(layout: _Layout, i: int) -> tuple[str, float, float]:
    """Return the unit of a signal, and gain and offset from counts to this unit.

    Without a gain the unit is "" where the file states none, and otherwise names the reason.
    """
    unit = layout.fields["unit"][i]
    try:
        low, high, digital_low, digital_high = (
            _number(layout.fields[name][i], "a range") for name in RANGE
        )
    except ValueError:
        low = high = digital_low = digital_high = 0.0
    if not (digital_high > digital_low and high != low and math.isfinite(high - low)):
        return "counts, since the range is empty" if unit else "", 1.0, 0.0
    gain = (high - low) / (digital_high - digital_low)
    return _unit(unit), gain, low - gain * digital_low


def _unit(field: bytes) -> str:
    """Return a unit as text; uV where the micro sign is in another encoding than UTF-8."""
    text = _text(field)
    is_utf8 = text.encode() == field and not field.startswith(b"?")
    return "uV" if MICROVOLT.fullmatch(field) and not is_utf8 else text
