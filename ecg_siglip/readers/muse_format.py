"""Read GE MUSE exports: eight or more leads of a rhythm waveform as 16-bit counts."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import numpy as np

from ecg_siglip.readers.aecg_format import several_recordings
from ecg_siglip.readers.channels import Channel, Stated, join_groups
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.xml_document import parse_number
from ecg_siglip.readers.xml_identity import muse_identity, muse_results

# Leads that MUSE does not store, as sums of leads I and II (Einthoven, Goldberger).
FROM_I_II = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}


def read_muse(root: Any) -> Stated:
    """Read the rhythm waveform of a ``RestingECG``; add the four leads that it does not store.

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
        If there is no rhythm waveform, a number is missing, or a lead is not as long as stated.

    Notes
    -----
    MUSE stores I, II and V1 to V6; III, aVR, aVL and aVF are computed from I and II. A checksum of
    0 is none.
    """
    waveforms = root.findall("Waveform")
    kinds = [(waveform.findtext("WaveformType") or "").strip().lower() for waveform in waveforms]
    bad: list[str] = []
    groups = [
        group
        for waveform, kind in zip(waveforms, kinds, strict=True)
        if kind == "rhythm" and (group := _rhythm(waveform, bad))
    ]
    if not groups:
        found = ", ".join(sorted({kind[:20] for kind in kinds if kind})) or "none"
        raise ValueError(
            f"expected a waveform of type Rhythm, got {found}: export the ECG with its rhythm, not "
            "only its median beats"
        )
    warnings = several_recordings(groups)
    if bad:
        warnings.append(f"the checksum is not that of the samples of {', '.join(bad[:16])}")
    channels = _with_limb_leads(join_groups(groups))
    statements = root.findall("Diagnosis/DiagnosisStatement/StmtText")
    comments = [statement.text.strip() for statement in statements if statement.text]
    return Stated(
        channels,
        comments,
        warnings,
        identity=unless_malformed(lambda: muse_identity(root), Identity()),
        device=unless_malformed(lambda: muse_results(root), DeviceResults()),
    )


def _rhythm(waveform: Any, bad_checksums: list[str]) -> list[Channel]:
    """Return the stored leads of a waveform."""
    base = parse_number(waveform.findtext("SampleBase"), "SampleBase")
    exponent = parse_number(waveform.findtext("SampleExponent") or "0", "SampleExponent")
    if not abs(exponent) <= 9:
        raise ValueError(f"expected a sampling rate, got {base:g} times 10 to the {exponent:g}")
    fs = base * 10**exponent
    return [_lead(lead, fs, bad_checksums) for lead in waveform.findall("LeadData")]


def _lead(lead: Any, fs: float, bad_checksums: list[str]) -> Channel:
    """Return a stored lead; add its name to ``bad_checksums`` if its checksum is not right."""
    name = (lead.findtext("LeadID") or "").strip()
    size = parse_number(lead.findtext("LeadSampleSize") or "2", "LeadSampleSize")
    if size != 2:
        raise ValueError(f"expected samples of 2 bytes, got {size:g}")
    data = _decoded(lead.findtext("WaveFormData") or "")
    for field, n_bytes in (("LeadSampleCountTotal", 2), ("LeadByteCountTotal", 1)):
        stated = lead.findtext(field)
        if stated is not None and parse_number(stated, field) * n_bytes != len(data):
            raise ValueError(
                f"expected {stated.strip()[:20]} {'samples' if n_bytes == 2 else 'bytes'} of a "
                f"lead, got {len(data) / n_bytes:g}"
            )
    if len(data) % 2:
        raise ValueError(f"expected samples of 2 bytes, got {len(data)} bytes of lead {name[:20]}")
    checksum = (lead.findtext("LeadDataCRC32") or "").strip()
    if re.fullmatch(r"[0-9]{1,10}", checksum) and int(checksum) not in (0, zlib.crc32(data)):
        bad_checksums.append(name[:20])
    offset = parse_number(lead.findtext("LeadOffsetFirstSample") or "0", "LeadOffsetFirstSample")
    counts = np.frombuffer(data, "<i2").astype(np.float64)
    start_s = offset / fs if fs > 0 else 0.0
    if lead.findtext("LeadAmplitudeUnitsPerBit") is None:
        return Channel(name, counts, "", fs, start_s)
    step = parse_number(lead.findtext("LeadAmplitudeUnitsPerBit"), "LeadAmplitudeUnitsPerBit")
    if step == 0:
        raise ValueError("expected a LeadAmplitudeUnitsPerBit other than 0")
    unit = (lead.findtext("LeadAmplitudeUnits") or "").strip()
    return Channel(name, counts * step, unit, fs, start_s)


def _decoded(text: str) -> bytes:
    """Return the bytes of a text in base 64, with any blanks between its characters."""
    try:
        # Of most files, which have only ends of lines, in half the time.
        return base64.b64decode(text.replace("\n", ""), validate=True)
    except ValueError:
        return base64.b64decode("".join(text.split()), validate=True)


def _with_limb_leads(channels: list[Channel]) -> list[Channel]:
    """Return the channels with those limb leads that I and II give and MUSE does not store."""
    stored = {channel.name.upper(): channel for channel in channels}
    if "I" not in stored or "II" not in stored:
        return channels
    one, two = stored["I"], stored["II"]
    if (one.unit, one.start_s) != (two.unit, two.start_s):
        raise ValueError("expected leads I and II in one unit and from one time, got two")
    n = min(len(one.samples), len(two.samples))
    return [
        *channels,
        *(
            one._replace(name=lead, samples=of_i * one.samples[:n] + of_ii * two.samples[:n])
            for lead, (of_i, of_ii) in FROM_I_II.items()
            if lead.upper() not in stored
        ),
    ]
