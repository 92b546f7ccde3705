"""Read ECGs in XML: HL7 aECG and GE MUSE."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import (
    MAX_PARSED_BYTES,
    Channel,
    Stated,
    import_reader,
    join_groups,
)

MAX_XML_TAGS = 1 << 19
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Leads that MUSE does not store, as sums of leads I and II (Einthoven, Goldberger).
FROM_I_II = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}


def read_xml(content: bytes) -> Stated:
    """Read an HL7 aECG (``AnnotatedECG``) or a GE MUSE export (``RestingECG``).

    Parameters
    ----------
    content : bytes
        At most 16 MiB, without definitions of entities or attributes.

    Returns
    -------
    Stated
        Comments: statements of the device (MUSE).

    Raises
    ------
    ValueError
        If it is XML of another kind, is too large, defines entities or attributes, lacks parts of a
        signal, or has leads of different length.

    Notes
    -----
    HL7 V3 Annotated ECG R1. MUSE stores I, II and V1 to V6; III, aVR, aVL and aVF are computed
    from I and II.
    """
    xml = import_reader("defusedxml.ElementTree")
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
    # A defined attribute of a megabyte would be added to each of a million elements.
    raise ValueError(f"the file defines attributes of <{element[:40]}>, expected none")


def _aecg(root: Any) -> Stated:
    """Read the longest set of sequences of an AnnotatedECG that is not derived from another."""
    groups: list[list[Channel]] = []
    for series in root.findall("component/series"):
        code = series.find("code")
        if code is not None and code.get("code") == "REPRESENTATIVE_BEAT":
            continue
        groups += [_sequence_set(each) for each in series.findall("component/sequenceSet")]
    return Stated(join_groups([group for group in groups if group]))


def _sequence_set(sequences: Any) -> list[Channel]:
    """Read a set of sequences: one with the time and one for each lead."""
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
    return [Channel(*each, fs) for each in zip(leads, rows, units, strict=True)]


def _quantity(value: Any, tag: str) -> tuple[float, str]:
    """Return the number and the unit of an element."""
    element = value.find(tag)
    if element is None:
        raise ValueError(f"a sequence has no {tag}")
    return _number(element.get("value"), tag), str(element.get("unit", ""))


def _muse(root: Any) -> Stated:
    """Read the rhythm waveform of a RestingECG and add the four leads that it does not store."""
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
    channels = [
        Channel(*each, base * 10**exponent) for each in zip(leads, rows, units, strict=True)
    ]
    stored = {channel.name.upper(): channel for channel in channels}
    if "I" in stored and "II" in stored:
        one, two = stored["I"], stored["II"]
        if one.unit != two.unit:
            raise ValueError("expected leads I and II in one unit, got two")
        n = min(len(one.samples), len(two.samples))
        for lead, (weight_i, weight_ii) in FROM_I_II.items():
            if lead.upper() not in stored:
                samples = weight_i * one.samples[:n] + weight_ii * two.samples[:n]
                channels.append(one._replace(name=lead, samples=samples))
    statements = root.findall("Diagnosis/DiagnosisStatement/StmtText")
    comments = [statement.text.strip() for statement in statements if statement.text]
    return Stated(channels, comments)


XML_READERS = {"AnnotatedECG": _aecg, "RestingECG": _muse}


def _number(text: str | None, field: str) -> float:
    """Return the finite number in a field."""
    number = float(text) if text is not None else math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number as {field}, got {text}")
    return number
