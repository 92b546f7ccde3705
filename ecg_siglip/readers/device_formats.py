"""Read formats of devices with the library ecgdatakit, for a process of its own (``isolated``).

Philips Sierra and Mortara ELI (XML), SCP-ECG, MFER and, in this process, ISHNE Holter. The library
reads counts and states their scale; rates are taken from the file, because the library rounds them
to whole Hz.
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
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.library_identity import identity_of, results_of
from ecg_siglip.readers.xml_document import parse_number

MAX_LEADS = 64
ISHNE_HEADER = 522
MAX_ISHNE_COMMENT = 1 << 20
# Warnings of the library about what is not used, or about the patient, whose data they quote.
OTHER_WARNINGS = re.compile(
    r"median|representative|typical_cycle|section 5|recordedat|"
    r"birth|patient|\bage\b|\bsex\b|(?:measurement|acquisition|recording) (?:date|time)",
    re.I,
)
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
    return Stated(
        channels,
        [text for text in statements if text],
        notes,
        identity=unless_malformed(lambda: identity_of(record), Identity()),
        device=unless_malformed(lambda: results_of(record), DeviceResults()),
    )


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
        If rates, resolutions or numbers of leads contradict each other or are no numbers, the
        samples are not as many as stated, or the library refuses it.
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
    names, n_leads = (waveform.get("leadlabels") or "").split(), waveform.get("numberofleads")
    if names and n_leads and parse_number(n_leads, "numberofleads") != len(names):
        raise ValueError(f"the file names {len(names)} leads, and states {n_leads[:20]}")
    methods = {(waveform.get(key) or "").upper() for key in ("compression", "compressmethod")}
    is_base64 = (waveform.get("dataencoding") or "").lower() == "base64"
    if names and is_base64 and "XLI" not in methods:
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
    for lead in leads:
        if parse_number(lead.get("OFFSET") or "0", "OFFSET") != 0:
            raise ValueError("a CHANNEL with an OFFSET other than 0, whose meaning is not known")
    record, notes = _parse("mortara_el250", "MortaraEL250Parser", _xml(root))
    rates = [parse_number(lead.get("SAMPLE_FREQ"), "SAMPLE_FREQ") for lead in leads]
    return _stated(record, notes, rates)


def read_scp(content: bytes) -> Stated:
    """Read the rhythm of an SCP-ECG record (EN 1064, ISO 11073-91064).

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Comments: statements of the device.

    Raises
    ------
    ValueError
        If the library refuses it.
    """
    record, notes = _parse("scp_ecg", "SCPECGParser", content)
    return _stated(record, notes, 1e6 / record.raw_metadata["rhythm_sample_interval_us"])


def read_mfer(content: bytes) -> Stated:
    """Read the waveforms of an MFER file (ISO 22077).

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If there is a gap between its frames, or the library refuses it.
    """
    record, notes = _parse("mfer", "MFERParser", content)
    if any("without a gap" in note for note in notes):
        raise ValueError(
            "the signal has gaps (frames that do not follow each other), expected none"
        )
    if any(record.raw_metadata.get("sample_skew_ns", [])):
        notes.append("the file states a time shift between channels (MWF_SKW), which is not undone")
    rates = [round(rate, 6) for rate in record.raw_metadata.get("sampling_rates", [])]
    return _stated(record, notes, rates)


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
    comment, n_stated = struct.unpack_from("<ii", content, 10)
    (n_leads,) = struct.unpack_from("<h", content, 156)
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
