"""Read formats of devices with the library ecgdatakit, after checks that bound its work.

Philips Sierra and Mortara ELI (XML), SCP-ECG, MFER and ISHNE Holter. The library reads counts and
states their scale; rates are taken from the file, because the library rounds them to whole Hz.
"""

from __future__ import annotations

import base64
import re
import struct
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated, import_reader
from ecg_siglip.readers.xml_document import parse_number

MAX_LEADS = 64
# Of an SCP record: 12 leads of at most 64 KiB, rhythm and reference beat, and texts.
MAX_SCP_BYTES = 1 << 21
MAX_BEATS = 1000
MAX_SAMPLES = 1 << 22  # of all leads of a resting ECG
MAX_TEXT = 1 << 20  # characters of a lead's samples in Mortara's XML
# Of MFER.
MAX_MFER_BYTES = 1 << 26
MFER_LIMITS = {
    "definitions": 1 << 17, "bytes of text": 1 << 22, "nested bytes": 1 << 16,
    "open definitions": 64, "channels": MAX_LEADS, "samples": 1 << 25,
    "frames of channels": 1 << 16, "is little-endian": 1,
}  # fmt: skip
MFER_ORDER, MFER_CHARACTERS, MFER_CHANNELS, MFER_WAVEFORM = 0x01, 0x03, 0x05, 0x1E
MFER_CHANNEL, MFER_SET, MFER_END = 0x3F, 0x67, 0x80
# Encodings of texts; Python has others, such as punycode, that take quadratic time.
MFER_ENCODINGS = re.compile(
    rb"\s*(?:\Z|\0|us-ascii|ascii|ansi|iso|utf|unicode|jis|shift|euc|rfc|latin|windows|cp\d|gb|big)",
    re.I,
)
ISHNE_HEADER = 522
MAX_ISHNE_COMMENT = 1 << 20
XLI_HEADER = 8
XLI_CODES = 1022  # entries of the dictionary; a higher code ends the data
# Warnings of the library about what is not used.
OTHER_WARNINGS = re.compile(r"median|representative|typical_cycle|section 5|recordedat", re.I)
MAX_WARNINGS = 5
LOCK = threading.Lock()  # warnings are collected for the whole process
PREFIX = re.compile(r"(?:[: ]*(?:MFER|SCP-ECG|ISHNE|Sierra XML):)?[: ]*")  # of its messages


def _parse(module: str, parser: str, content: bytes) -> tuple[Any, list[str]]:
    """Return the record that a parser of ecgdatakit reads, and its warnings."""
    parsers = import_reader(f"ecgdatakit.parsing.parsers.{module}")
    failure = import_reader("ecgdatakit.exceptions").ECGDataKitError
    with (
        LOCK,
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        path = Path(folder) / "record"
        path.write_bytes(content)

        def cleaned(message: object) -> str:
            text = re.sub(rf"(?: (?:in|of))? ?{re.escape(str(path))}:?", "", str(message))
            return PREFIX.sub("", text, count=1).strip()[:200]

        try:
            record = getattr(parsers, parser)().parse(path)
        except failure as error:
            raise ValueError(cleaned(error)) from error
        messages = [cleaned(each.message) for each in caught]
    notes = [message for message in messages if not OTHER_WARNINGS.search(message)]
    return record, notes[:MAX_WARNINGS]


def _xml(root: Any) -> bytes:
    """Return an element as XML, without document type, namespaces and comments."""
    return import_reader("xml.etree.ElementTree").tostring(root)


def _stated(record: Any, notes: list[str], rates: float | Sequence[float]) -> Stated:
    """Return the channels of a record of ecgdatakit, with the exact rates."""
    n = len(record.leads)
    fs = list(rates) if isinstance(rates, Sequence) else [rates] * n
    if not n or len(fs) != n:
        raise ValueError("expected leads with a rhythm, got none (only averaged beats)")
    channels = []
    for lead, rate in zip(record.leads, fs, strict=True):
        start = int(lead.annotations.get("start_sample", 1)) - 1
        unit, step = lead.resolution_unit, lead.resolution
        if not unit and lead.adc_resolution_unit:  # no voltage
            unit, step = lead.adc_resolution_unit, lead.adc_resolution
        samples = np.asarray(lead.samples, np.float64)
        samples = samples * step + lead.offset if unit else samples
        channels.append(Channel(lead.label, samples, unit, rate, start / rate))
    statements = [str(text).strip() for text, _ in record.interpretation.statements]
    return Stated(channels, [text for text in statements if text], notes)


def read_sierra(root: Any) -> Stated:
    """Read a Philips Sierra export (``restingecgdata``, version 1.03 to 1.04.02).

    Parameters
    ----------
    root : xml.etree.ElementTree.Element

    Returns
    -------
    Stated
        Comments: statements of the device.

    Raises
    ------
    ValueError
        If rates, resolutions or numbers of leads contradict each other or are no numbers, there are
        more than 64 leads, the samples are not as many as stated, or the library refuses it.
    """
    waveforms = root.findall(".//parsedwaveforms")
    if len(waveforms) != 1:
        raise ValueError(f"expected one element parsedwaveforms, got {len(waveforms)}")
    waveform = waveforms[0]
    fs = _agreed(root, waveform, "samplespersecond", ("samplingrate",))
    if fs is None or fs != round(fs):
        raise ValueError(f"expected a sampling rate in whole Hz, got {fs or 'none'}")
    _agreed(root, waveform, "resolution", ("resolution", "signalresolution"))
    duration_ms = parse_number(waveform.get("durationperchannel"), "durationperchannel")
    if not 0 < duration_ms * fs / 1000 <= MAX_SAMPLES:
        raise ValueError(
            f"expected a duration of up to {MAX_SAMPLES} samples, got {duration_ms:g} ms"
        )
    for field in ("numberchannelsallocated", "numberchannelsvalid"):
        stated = root.findtext(f".//signalcharacteristics/{field}")
        if stated and stated.strip() and parse_number(stated, field) > MAX_LEADS:
            raise ValueError(f"expected at most {MAX_LEADS} leads, got {stated.strip()[:20]}")
    names, n_leads = (waveform.get("leadlabels") or "").split(), waveform.get("numberofleads")
    if names and n_leads and parse_number(n_leads, "numberofleads") != len(names):
        raise ValueError(f"the file names {len(names)} leads, and states {n_leads[:20]}")
    methods = (waveform.get("compression"), waveform.get("compressmethod"))
    if any((method or "").upper() == "XLI" for method in methods):
        _check_xli(waveform.text or "", round(duration_ms * fs / 1000))
    elif names and (waveform.get("dataencoding") or "").lower() == "base64":
        n_bytes = len(base64.b64decode("".join((waveform.text or "").split()), validate=True))
        n_stated = 2 * len(names) * round(duration_ms * fs / 1000)
        if n_bytes != n_stated:
            raise ValueError(f"expected {n_stated} bytes of samples, got {n_bytes}")
    record, notes = _parse("sierra_xml", "SierraXMLParser", _xml(root))
    return _stated(record, notes, fs)


def _agreed(root: Any, waveform: Any, attribute: str, fields: Sequence[str]) -> float | None:
    """Return a number that a Sierra file states with the samples or with the signal."""
    details = [root.findtext(f".//signalcharacteristics/{field}") for field in fields]
    texts = [waveform.get(attribute), *details]
    numbers = {parse_number(text, attribute) for text in texts if text and text.strip()}
    if len(numbers) > 1:
        stated = " and ".join(f"{number:g}" for number in sorted(numbers))
        raise ValueError(f"expected one {attribute}, got {stated}")
    return numbers.pop() if numbers else None


def _check_xli(text: str, n_samples: int) -> None:
    """Check that a lead's compressed samples become no more than twice the stated ones.

    A code of 10 bits stands for up to 767 bytes, so that a megabyte can become 600.
    """
    data = base64.b64decode("".join(text.split()), validate=True)
    start = n_chunks = 0
    while start + XLI_HEADER <= len(data):
        size = int.from_bytes(data[start : start + 4], "little", signed=True)
        chunk = data[start + XLI_HEADER : start + XLI_HEADER + max(size, 0)]
        start, n_chunks = start + XLI_HEADER + len(chunk), n_chunks + 1
        n_bytes = _lzw_bytes(chunk)
        if n_bytes > 4 * n_samples + 64 or n_chunks > MAX_LEADS:
            raise ValueError(
                f"expected at most {MAX_LEADS} leads of {n_samples} compressed samples, got lead "
                f"{n_chunks} with {n_bytes // 2}"
            )


def _lzw_bytes(chunk: bytes) -> int:
    """Return how many bytes LZW codes of 10 bits stand for, without unpacking them."""
    codes, buffer, n_bits = [], 0, 0
    for byte in chunk:
        buffer, n_bits = (buffer << 8 | byte) & 0xFFFFF, n_bits + 8
        if n_bits >= 10:
            n_bits -= 10
            codes.append(buffer >> n_bits & 0x3FF)
    lengths, total, previous = [1] * 256, 0, 0
    for code in codes:
        if code > XLI_CODES:
            break
        length = lengths[code] if code < len(lengths) else previous + 1
        if previous and len(lengths) <= XLI_CODES:
            lengths.append(previous + 1)
        total, previous = total + length, length
    return total


def read_mortara(root: Any) -> Stated:
    """Read a Mortara ELI export (``ECG`` with one ``CHANNEL`` for each lead).

    Parameters
    ----------
    root : xml.etree.ElementTree.Element

    Returns
    -------
    Stated
        Comments: statements of the device.

    Raises
    ------
    ValueError
        If it has no channels, a rate is no number, or the library refuses it.
    """
    leads = root.findall("CHANNEL")
    if not 1 <= len(leads) <= MAX_LEADS:
        raise ValueError(f"an export of Mortara ELI has 1 to {MAX_LEADS} CHANNEL, got {len(leads)}")
    beats = root.findall("TYPICAL_CYCLE/TYPICAL_CYCLE_CHANNEL")
    if len(beats) > MAX_LEADS or any(
        len(text or "") > MAX_TEXT
        for lead in leads + beats
        for text in (lead.get("DATA"), lead.text)
    ):
        raise ValueError(f"expected at most {MAX_TEXT} characters of samples for each lead")
    for lead in leads:
        if parse_number(lead.get("OFFSET") or "0", "OFFSET") != 0:
            raise ValueError("a CHANNEL with an OFFSET other than 0, whose meaning is not known")
    record, notes = _parse("mortara_el250", "MortaraEL250Parser", _xml(root))
    return _stated(
        record, notes, [parse_number(e.get("SAMPLE_FREQ"), "SAMPLE_FREQ") for e in leads]
    )


def read_scp(content: bytes) -> Stated:
    """Read the rhythm of an SCP-ECG record (EN 1064, ISO 11073-91064).

    Parameters
    ----------
    content : bytes
        At most 2 MiB.

    Returns
    -------
    Stated
        Comments: statements of the device.

    Raises
    ------
    ValueError
        If it is larger, promises more samples or beats than fit, or the library refuses it.
    """
    if len(content) > MAX_SCP_BYTES:
        raise ValueError(f"{len(content)} bytes, expected at most {MAX_SCP_BYTES}")
    end = 6 + struct.unpack_from("<I", content, 10)[0]
    for at in range(22, min(end, len(content)) - 9, 10):
        section, _, index = struct.unpack_from("<HII", content, at)
        body = content[index + 15 : index + 15 + 6 + 9 * 255]
        if section == 3 and body:
            spans = struct.iter_unpack("<IIB", body[2 : 2 + 9 * min(body[0], len(body) // 9)])
            n_samples = sum(max(0, last - first + 1) for first, last, _ in spans)
            if n_samples > MAX_SAMPLES:
                raise ValueError(f"{n_samples} samples, expected at most {MAX_SAMPLES}")
        if (
            section == 4
            and len(body) > 5
            and (n := struct.unpack_from("<H", body, 4)[0]) > MAX_BEATS
        ):
            raise ValueError(f"{n} beats, expected at most {MAX_BEATS}")
    record, notes = _parse("scp_ecg", "SCPECGParser", content)
    return _stated(record, notes, 1e6 / record.raw_metadata["rhythm_sample_interval_us"])


def read_mfer(content: bytes) -> Stated:
    """Read the waveforms of an MFER file (ISO 22077).

    Parameters
    ----------
    content : bytes
        At most 64 MiB.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If it is larger or has too many definitions, channels or samples; if there is a gap
        between its frames; or the library refuses it.
    """
    _check_mfer(content)
    record, notes = _parse("mfer", "MFERParser", content)
    if any("without a gap" in note for note in notes):
        raise ValueError(
            "the signal has gaps (frames that do not follow each other), expected none"
        )
    if any(record.raw_metadata.get("sample_skew_ns", [])):
        notes.append("the file states a time shift between channels (MWF_SKW), which is not undone")
    rates = [round(rate, 6) for rate in record.raw_metadata.get("sampling_rates", [])]
    return _stated(record, notes, rates)


def _check_mfer(content: bytes) -> None:
    """Check sizes of an MFER file before the library reads it.

    Definitions are tag, length and value. The library reads nested ones once for each level and
    makes a table for each channel.
    """
    if len(content) > MAX_MFER_BYTES:
        raise ValueError(f"{len(content)} bytes, expected at most {MAX_MFER_BYTES}")
    _count_mfer(content, 0, len(content), dict.fromkeys(MFER_LIMITS, 0) | {"channels": 1})


def _count_mfer(content: bytes, at: int, end: int, n: dict[str, int]) -> None:
    """Count what is defined in a part of an MFER file; refuse what is above ``MFER_LIMITS``."""
    while at < end and (content[at] != MFER_END or n["open definitions"]):
        tag, at = content[at], at + 1
        n["definitions"] += 1
        if tag:
            while tag == MFER_CHANNEL and at < end and content[at] & 0x80:
                at += 1
            length, at, is_open = _mfer_length(content, at + (tag == MFER_CHANNEL))
            stop = min(at + length, end)
            value = content[at : min(stop, at + 4)]
            n["open definitions"] += is_open  # what is in one is counted as if it were outside
            if tag in (MFER_CHANNEL, MFER_SET):
                n["nested bytes"] += length
            elif tag == MFER_WAVEFORM:
                n["samples"] += length // 2
                n["frames of channels"] += n["channels"]
            else:
                n["bytes of text"] += length
            if tag == MFER_CHARACTERS and not MFER_ENCODINGS.match(content[at:stop]):
                raise ValueError(f"texts in the unknown encoding {content[at:stop][:40]!r}")
            if tag == MFER_ORDER:
                n["is little-endian"] = int(value[:1] == b"\1")
            elif tag == MFER_CHANNELS:
                order = value[::-1] if n["is little-endian"] else value
                n["channels"] = int.from_bytes(order, "big") or 1
        for what, most in MFER_LIMITS.items():
            if n[what] > most:
                raise ValueError(f"{n[what]} {what}, expected at most {most}")
        if tag:
            if tag in (MFER_CHANNEL, MFER_SET):
                _count_mfer(content, at, stop, n)
            at = stop


def _mfer_length(content: bytes, at: int) -> tuple[int, int, bool]:
    """Return the length of a value, where it begins, and whether the length is left open."""
    first = content[at] if at < len(content) else 0
    if first <= 0x80:
        return first & 0x7F, at + 1, first == 0x80
    end = at + 1 + (first & 0x7F)
    return int.from_bytes(content[at + 1 : end], "big"), end, False


def read_ishne(content: bytes) -> Stated:
    """Read an ISHNE Holter recording.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Leads without a stated name have none; samples as float32, to fit 24 hours into memory.

    Raises
    ------
    ValueError
        If the header is malformed, the file is cut off or has annotations instead of a signal.

    Notes
    -----
    Badilini, The ISHNE Holter Standard Output File Format, 1998. The library reads the header and
    verifies its checksum; samples are 16-bit counts of all leads in turn. A sample of -32768 is
    none.
    """
    if len(content) < ISHNE_HEADER:
        raise ValueError(f"expected a header of {ISHNE_HEADER} bytes, got {len(content)}")
    comment, n_leads = (
        struct.unpack_from("<i", content, 10)[0],
        struct.unpack_from("<h", content, 156)[0],
    )
    if not (0 <= comment <= MAX_ISHNE_COMMENT and 1 <= n_leads <= 12):
        raise ValueError(
            f"expected 1 to 12 leads after a short comment, got {n_leads} after {comment}"
        )
    start = ISHNE_HEADER + comment
    n_samples = max(0, len(content) - start) // 2 // n_leads
    if n_samples == 0:
        raise ValueError("no sample of each lead, the file is cut off")
    record, notes = _parse("ishne_holter", "ISHNEHolterParser", content[: start + 2 * n_leads])
    stated = _stated(record, notes, float(record.leads[0].sampling_rate))
    n_stated = struct.unpack_from("<i", content, 14)[0]
    if n_stated > n_samples and n_stated != n_samples * n_leads:
        notes.append(f"the header states {n_stated} samples, the file has {n_samples}")
    table = np.frombuffer(content, "<i2", n_samples * n_leads, start).reshape(n_samples, n_leads)
    channels = []
    for i, (channel, lead) in enumerate(zip(stated.channels, record.leads, strict=True)):
        samples = table[:, i].astype(np.float32)
        samples[table[:, i] == -32768] = np.nan
        samples *= np.float32(lead.resolution)
        name = "" if re.fullmatch(r"Lead \d+", channel.name) else channel.name
        channels.append(channel._replace(name=name, samples=samples))
    return stated._replace(channels=channels, warnings=notes)
