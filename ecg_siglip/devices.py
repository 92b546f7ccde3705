"""ECGs as devices export them: EDF, DICOM, HL7 aECG, GE MUSE XML.

Every reader takes the bytes of a file and returns what it states: ``(signal, fs, units, leads,
comments)``, with "" for a unit that is not stated. The libraries come with
``pip install 'ecg_siglip[formats]'`` and are imported by the reader that needs them.
"""

from __future__ import annotations

import base64
import importlib
import io
import math
import re
from typing import Any

import numpy as np

Stated = tuple[np.ndarray, float, list[str], list[str], list[str]]

# DICOM and XML become objects in memory, many times their size.
MAX_PARSED_BYTES = 1 << 24
MAX_XML_TAGS = 1 << 19
# SOP classes 12-lead, general, ambulatory and general 32-bit ECG (DICOM PS3.4 B.5).
ECG_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.9.1.{i}" for i in range(1, 5))
SAMPLE_TYPES = {
    (8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4",
    (32, "UL"): "u4",
}  # fmt: skip
# Leads of DICOM's context group 3001 by the last part of their code, the same in the schemes MDC
# (2:1) and SCPECG (5.6.3-9-1).
LEAD_CODES = {
    "1": "I", "2": "II", "3": "V1", "4": "V2", "5": "V3", "6": "V4", "7": "V5", "8": "V6",
    "61": "III", "62": "aVR", "63": "aVL", "64": "aVF",
}  # fmt: skip
VOLTS = re.compile(r"([um\u00b5]?V)?", re.I)
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# What MUSE does not store, since it follows from leads I and II (Einthoven, Goldberger).
FROM_I_II = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
STRIPS = "a print layout of short strips, expected every lead over the whole length"


def read_edf(content: bytes) -> Stated:
    """An EDF or continuous EDF+ file: its signals in volts.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
    fs : float, Hz
    units : list of str, length n_leads
    leads : list of str, length n_leads
    comments : list of str
        Empty.

    Raises
    ------
    ValueError
        If the recording is discontinuous (EDF+D) or not as long as its header says, has no signal
        in uV, mV, V or an unstated unit, several sampling rates among those, or an empty range.

    Notes
    -----
    Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003,
    doi:10.1016/S1388-2457(03)00123-8. Signals in other units (respiration, SpO2) are left out.
    """
    edfio = _library("edfio")
    if content[192:197] == b"EDF+D":
        raise ValueError("a discontinuous recording (EDF+D), expected one without gaps")
    n_signals, n_records = _whole(content[252:256]), _whole(content[236:244])
    counts = content[256 + 216 * n_signals : 256 + 224 * n_signals]
    per_record = [_whole(counts[i : i + 8]) for i in range(0, len(counts), 8)]
    if _whole(content[184:192]) != 256 * (n_signals + 1):
        raise ValueError(f"malformed EDF header, expected {256 * (n_signals + 1)} bytes of it")
    n_bytes = 256 * (n_signals + 1) + 2 * n_records * sum(per_record)
    if n_bytes != len(content):
        raise ValueError(f"expected {n_bytes} bytes as the header says, got {len(content)}")
    edf = edfio.read_edf(content, header_encoding="latin-1")
    chosen = [s for s in edf.signals if re.fullmatch(VOLTS, s.physical_dimension.strip())]
    rates = sorted({float(signal.sampling_frequency) for signal in chosen})
    if len(rates) != 1:
        got = ", ".join(f"{rate:g} Hz" for rate in rates) or "no signal in uV, mV or V"
        raise ValueError(f"expected leads of one sampling rate, got {got}")
    rows = []
    for signal in chosen:
        low, high = signal.digital_range
        physical_low, physical_high = signal.physical_range
        gain = (physical_high - physical_low) / (high - low) if high > low else 0.0
        if not math.isfinite(gain) or gain == 0:
            raise ValueError(f"lead {signal.label} has no gain: its range is empty")
        rows.append((signal.digital.astype(np.float64) - low) * gain + physical_low)
    units = [signal.physical_dimension for signal in chosen]
    return np.stack(rows), rates[0], units, [signal.label for signal in chosen], []


def _whole(field: bytes) -> int:
    """A field of an EDF header that counts something."""
    number = field.strip()
    if not number.isdigit() or int(number) == 0:
        raise ValueError(f"malformed EDF header, expected a whole number above 0, got {number!r}")
    return int(number)


def read_dicom(content: bytes) -> Stated:
    """A DICOM ECG waveform: the original multiplex group with most samples.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
        ``sample * sensitivity * correction factor + baseline``; NaN where padded.
    fs : float, Hz
    units : list of str, length n_leads
    leads : list of str, length n_leads
    comments : list of str
        Annotations in words.

    Raises
    ------
    ValueError
        If it is no ECG waveform, larger than 16 MiB, compressed, not as long as it says, has no
        original group, or the leads are spread over several.

    Notes
    -----
    DICOM PS3.3 C.10.9. Median beats are derived groups and are left out.
    """
    pydicom = _library("pydicom")
    if len(content) > MAX_PARSED_BYTES:
        raise ValueError(f"larger than {MAX_PARSED_BYTES >> 20} MiB of DICOM")
    # Before anything else is read: a deflated file would be unpacked, however large.
    meta = pydicom.filereader.read_dataset(
        io.BytesIO(content[132:]), False, True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    syntax = pydicom.uid.UID(meta.get("TransferSyntaxUID", ""))
    if syntax not in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"):
        raise ValueError(f"expected an uncompressed transfer syntax, got {syntax.name or 'none'}")
    dataset = pydicom.dcmread(io.BytesIO(content))
    sop_class = dataset.get("SOPClassUID", "")
    if sop_class not in ECG_CLASSES:
        got = getattr(sop_class, "name", sop_class) or "none"
        raise ValueError(f"expected an ECG waveform, got the SOP class {got}")
    groups = [
        _multiplex_group(group, "<" if syntax.is_little_endian else ">")
        for group in dataset.get("WaveformSequence", None) or []
        if group.get("WaveformOriginality") == "ORIGINAL"
    ]
    notes = dataset.get("WaveformAnnotationSequence", None) or []
    comments = [str(note.UnformattedTextValue) for note in notes if "UnformattedTextValue" in note]
    return (*_longest(groups)[:4], comments)


def _multiplex_group(group: Any, order: str) -> Stated:
    """Samples of a multiplex group in the units of their channels."""
    n_leads, n_samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    kind = (int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation))
    if kind not in SAMPLE_TYPES:
        raise ValueError(f"expected linear samples of 8, 16 or 32 bits, got {kind[0]} {kind[1]}")
    dtype, data = np.dtype(order + SAMPLE_TYPES[kind]), group.WaveformData
    channels = group.ChannelDefinitionSequence
    n_bytes = n_leads * n_samples * dtype.itemsize
    if len(data) not in (n_bytes, n_bytes + n_bytes % 2) or len(channels) != n_leads:
        raise ValueError(
            f"expected {n_leads} leads of {n_samples} samples, got {len(channels)} leads in "
            f"{len(data)} bytes"
        )
    stored = np.frombuffer(data, dtype, n_leads * n_samples).reshape(n_samples, n_leads).T
    signal = stored.astype(np.float64)
    padding = group.get("WaveformPaddingValue")
    if padding is not None and len(padding) >= dtype.itemsize:
        signal[stored == np.frombuffer(padding, dtype, 1)[0]] = np.nan
    units, leads = [], []
    for row, channel in zip(signal, channels, strict=True):
        unit = channel.get("ChannelSensitivityUnitsSequence")
        if not unit or "ChannelSensitivity" not in channel:
            raise ValueError("a channel has no sensitivity, so its unit is not known")
        row *= float(channel.ChannelSensitivity)
        row *= float(channel.get("ChannelSensitivityCorrectionFactor", 1.0))
        row += float(channel.get("ChannelBaseline", 0.0))
        units.append(str(unit[0].CodeValue))
        leads.append(_dicom_lead(channel))
    return signal, float(group.SamplingFrequency), units, leads, []


def _dicom_lead(channel: Any) -> str:
    """Name of a channel: by its code if that is in the table, else by its words."""
    source = channel.ChannelSourceSequence[0]
    scheme, code = str(source.get("CodingSchemeDesignator", "")), str(source.get("CodeValue", ""))
    if scheme in ("MDC", "SCPECG"):
        number = code.replace(":", "-").rpartition("-")[2]
        if number in LEAD_CODES:
            return LEAD_CODES[number]
    if code.upper().startswith("MDC_ECG_LEAD_"):
        return code
    words = channel.get("ChannelLabel") or source.get("CodeMeaning") or code
    return str(words).partition("(")[0].strip()


def _longest(groups: list[Stated]) -> Stated:
    """The group with most samples, if the leads are not spread over several."""
    if not groups:
        raise ValueError("expected an original rhythm recording, got none")
    longest = max(groups, key=lambda group: group[0].shape[1])
    everywhere = {lead for group in groups for lead in group[3]}
    if len(longest[3]) < min(12, len(everywhere)):
        raise ValueError(
            f"the longest recording has {len(longest[3])} of {len(everywhere)} leads: {STRIPS}"
        )
    return longest


def read_xml(content: bytes) -> Stated:
    """An HL7 aECG (``AnnotatedECG``) or a GE MUSE export (``RestingECG``).

    Parameters
    ----------
    content : bytes
        At most 16 MiB, without entities or attributes of its own definition.

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
    fs : float, Hz
    units : list of str, length n_leads
    leads : list of str, length n_leads
    comments : list of str
        Statements of the device (MUSE).

    Raises
    ------
    ValueError
        If it is of another kind, too large, defines entities or attributes, lacks what makes a
        signal, or has leads of different length.

    Notes
    -----
    HL7 V3 Annotated ECG R1. MUSE stores I, II and V1 to V6; III, aVR, aVL and aVF follow from
    I and II and are added.
    """
    xml = _library("defusedxml.ElementTree")
    if len(content) > MAX_PARSED_BYTES or content.count(b"<") > MAX_XML_TAGS:
        raise ValueError(f"larger than {MAX_PARSED_BYTES >> 20} MiB or {MAX_XML_TAGS} tags of XML")
    parser = xml.XMLParser()
    parser.parser.AttlistDeclHandler = _no_attributes
    parser.feed(content)
    root = parser.close()
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    if root.tag not in XML_READERS:
        raise ValueError(f"expected AnnotatedECG or RestingECG, got <{root.tag[:40]}>")
    return XML_READERS[root.tag](root)


def _no_attributes(element: str, *_: Any) -> None:
    # A megabyte that every one of a million elements would get.
    raise ValueError(f"the file defines attributes of <{element[:40]}>, expected none")


def _aecg(root: Any) -> Stated:
    """The longest set of sequences of an AnnotatedECG that was not derived from another."""
    groups = []
    for series in root.findall("component/series"):
        code = series.find("code")
        if code is not None and code.get("code") == "REPRESENTATIVE_BEAT":
            continue
        groups += [_sequence_set(found) for found in series.findall("component/sequenceSet")]
    return _longest(groups)


def _sequence_set(sequences: Any) -> Stated:
    fs, units, leads, rows = None, [], [], []
    for sequence in sequences.findall("component/sequence"):
        code, value = sequence.find("code"), sequence.find("value")
        if code is None or value is None:
            raise ValueError("a sequence has no code or no value")
        name = str(code.get("code"))
        if name.startswith("TIME_"):
            step, unit = _quantity(value, "increment")
            if unit not in SECONDS or not step > 0:
                raise ValueError(f"expected an increment of time in s, ms or us, got {step} {unit}")
            fs = round(1 / (step * SECONDS[unit]), 6)
            continue
        (origin, origin_unit), (scale, unit) = _quantity(value, "origin"), _quantity(value, "scale")
        if origin != 0 and origin_unit != unit:
            raise ValueError(f"expected origin and scale of {name} in one unit, got two")
        digits = np.array((value.findtext("digits") or "").split(), np.float64)
        rows.append(origin + scale * digits)
        units.append(unit)
        leads.append(name)
    if fs is None:
        raise ValueError("expected a sequence of time with an increment, got none")
    return _stacked(rows), fs, units, leads, []


def _quantity(value: Any, tag: str) -> tuple[float, str]:
    element = value.find(tag)
    if element is None:
        raise ValueError(f"a sequence has no {tag}")
    return _number(element.get("value"), tag), str(element.get("unit", ""))


def _muse(root: Any) -> Stated:
    """The rhythm waveform of a RestingECG, with the four leads that follow from I and II."""
    rhythms = [
        waveform
        for waveform in root.findall("Waveform")
        if (waveform.findtext("WaveformType") or "").strip().lower() == "rhythm"
    ]
    if len(rhythms) != 1:
        raise ValueError(f"expected one waveform of type Rhythm, got {len(rhythms)}")
    exponent = _number(rhythms[0].findtext("SampleExponent", "0"), "SampleExponent")
    base = _number(rhythms[0].findtext("SampleBase"), "SampleBase")
    if not abs(exponent) <= 9:
        raise ValueError(f"expected a sampling rate, got {base:g} times 10 to the {exponent:g}")
    units, leads, rows = [], [], []
    for lead in rhythms[0].findall("LeadData"):
        size = _number(lead.findtext("LeadSampleSize", "2"), "LeadSampleSize")
        if size != 2:
            raise ValueError(f"expected samples of 2 bytes, got {size:g}")
        text = "".join((lead.findtext("WaveFormData") or "").split())
        data = base64.b64decode(text, validate=True)
        n_samples = _number(lead.findtext("LeadSampleCountTotal"), "LeadSampleCountTotal")
        if len(data) != 2 * n_samples:
            raise ValueError(f"expected {n_samples:g} samples of a lead, got {len(data) / 2:g}")
        step = _number(lead.findtext("LeadAmplitudeUnitsPerBit"), "LeadAmplitudeUnitsPerBit")
        rows.append(np.frombuffer(data, "<i2") * step)
        units.append((lead.findtext("LeadAmplitudeUnits") or "").strip())
        leads.append((lead.findtext("LeadID") or "").strip())
    signal = _stacked(rows)
    known = {lead.upper(): row for lead, row in zip(leads, signal, strict=True)}
    if "I" in known and "II" in known:
        if units[leads.index("I")] != units[leads.index("II")]:
            raise ValueError("expected leads I and II in one unit, got two")
        for lead, (of_i, of_ii) in FROM_I_II.items():
            if lead.upper() not in known:
                signal = np.vstack([signal, of_i * known["I"] + of_ii * known["II"]])
                leads.append(lead)
                units.append(units[leads.index("I")])
    statements = root.findall("Diagnosis/DiagnosisStatement/StmtText")
    comments = [statement.text.strip() for statement in statements if statement.text]
    return signal, base * 10**exponent, units, leads, comments


XML_READERS = {"AnnotatedECG": _aecg, "RestingECG": _muse}


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    lengths = sorted({len(row) for row in rows})
    if not lengths or lengths[0] == 0:
        raise ValueError("expected leads with samples, got none")
    if len(lengths) > 1:
        raise ValueError(f"leads of {lengths[0]} to {lengths[-1]} samples: {STRIPS}")
    return np.stack(rows)


def _number(text: str | None, what: str) -> float:
    number = float(text) if text is not None else math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number as {what}, got {text}")
    return number


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"reading it needs the package {package}: pip install 'ecg_siglip[formats]'"
        ) from error
