"""Read DICOM ECG waveforms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import (
    LEAD_CODES,
    MAX_PARSED_BYTES,
    Channel,
    Stated,
    import_reader,
    join_groups,
    make_channels,
)

# SOP classes 12-lead, general, ambulatory and general 32-bit ECG (DICOM PS3.4 B.5).
ECG_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.9.1.{i}" for i in range(1, 5))
SAMPLE_TYPES = {
    (8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4",
    (32, "UL"): "u4",
}  # fmt: skip


def read_dicom(content: bytes) -> Stated:
    """Read a DICOM ECG waveform: the original multiplex group with most samples.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Signal: ``sample * sensitivity * correction factor + baseline``, NaN where padded; comments:
        annotations in words.

    Raises
    ------
    ValueError
        If it is not an ECG waveform, is larger than 16 MiB, compressed or not as long as stated, or
        has no original group or leads that are spread over several.

    Notes
    -----
    DICOM PS3.3 C.10.9. Median beats are derived groups and are left out.
    """
    pydicom = import_reader("pydicom")
    if len(content) > MAX_PARSED_BYTES:
        raise ValueError(f"larger than {MAX_PARSED_BYTES >> 20} MiB of DICOM")
    # Read the transfer syntax first: pydicom would unpack a deflated file of any size.
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
    if not groups:
        raise ValueError("expected an original rhythm recording, got none")
    return Stated(join_groups(groups), comments)


def _multiplex_group(group: Any, byte_order: str) -> list[Channel]:
    """Read a multiplex group, in the units of its channels."""
    n_leads, n_samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    kind = (int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation))
    if kind not in SAMPLE_TYPES:
        raise ValueError(f"expected linear samples of 8, 16 or 32 bits, got {kind[0]} {kind[1]}")
    dtype, data = np.dtype(byte_order + SAMPLE_TYPES[kind]), group.WaveformData
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
    return make_channels(signal, float(group.SamplingFrequency), units, leads)


def _dicom_lead(channel: Any) -> str:
    """Return the lead of a channel: by its code if that is in the table, otherwise by its label."""
    source = channel.ChannelSourceSequence[0]
    scheme, code = str(source.get("CodingSchemeDesignator", "")), str(source.get("CodeValue", ""))
    if scheme in ("MDC", "SCPECG"):
        number = code.replace(":", "-").rpartition("-")[2]
        if number in LEAD_CODES:
            return LEAD_CODES[number]
    if code.upper().startswith("MDC_ECG_LEAD_"):
        return code
    label = channel.get("ChannelLabel") or source.get("CodeMeaning") or code
    return str(label).partition("(")[0].strip()
