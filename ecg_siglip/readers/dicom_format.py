"""Read ECG waveforms in DICOM."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated, import_reader, join_groups
from ecg_siglip.readers.dicom_identity import read_identity, read_results
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.selection import LATE_S, MV_PER_UNIT, is_voltage
from ecg_siglip.signals.leads import LEAD_CODES, LEADS, lead_name

IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)
SAMPLE_TYPES = {
    (8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4",
    (32, "UL"): "u4", (64, "SV"): "i8", (64, "UV"): "u8",
}  # fmt: skip
COMPANDED = {"MB": " (mu-law)", "AB": " (A-law)"}
# Codes of leads in the schemes MDC and SCPECG; code 0 is "not specified".
LEAD_CODE = re.compile(r"(?:2:|5\.6\.3-9-)([1-9]\d*)")
# Codes of ISO/IEEE 11073-10101 for units, within their partition.
MDC_UNITS = {"4256": "V", "4274": "mV", "4275": "uV", "4276": "nV"}
BEAT = re.compile("median|representative|average", re.I)
# A derived group that is shorter is a beat.
RHYTHM_S = 2.0
# A padding value inside the range of the signal is no sample if all channels hold it this long.
PADDING_S = 0.2


def read_dicom(content: bytes) -> Stated:
    """Read the multiplex groups of a DICOM waveform that are a rhythm recording with ECG leads.

    Parameters
    ----------
    content : bytes
        With or without the preamble of 128 bytes and the file meta information.

    Returns
    -------
    Stated
        Signal: ``sample * sensitivity * correction factor + baseline``, NaN where the file marks
        that there is no sample; comments: annotations in words.

    Raises
    ------
    ValueError
        If it is not a waveform or is compressed; if it has only median beats; if a group is not as
        long as stated, or a channel is named as two leads or in two units.

    Notes
    -----
    DICOM PS3.3 C.10.9. Groups with ECG leads are preferred to others, and original groups to
    derived ones.
    """
    dataset, byte_order = _read_dataset(content)
    groups = [group for group in dataset.WaveformSequence if group.get("NumberOfWaveformSamples")]
    rhythm = [group for group in groups if not _is_beat(group)]
    if not rhythm:
        got = "only median beats" if groups else "no samples"
        raise ValueError(f"expected a rhythm recording, got {got}")
    chosen = [group for group in rhythm if _has_leads(group)] or rhythm
    original = [group for group in chosen if group.get("WaveformOriginality") != "DERIVED"]
    warnings = []
    if not original:
        warnings.append(
            "the waveform is marked as derived: it may be filtered or computed from other leads"
        )
    parts = []
    for group in original or chosen:
        channels, cut = _multiplex_group(group, byte_order)
        parts.append(channels)
        warnings += cut
    notes = dataset.get("WaveformAnnotationSequence") or []
    comments = [
        str(note.UnformattedTextValue) for note in notes if note.get("UnformattedTextValue")
    ]
    channels = join_groups(_without_repeats(parts))
    if len(channels) < sum(map(len, parts)):
        warnings.append(f"{len(parts)} groups that repeat leads, of each lead the longest is read")
    return Stated(
        channels,
        comments,
        warnings,
        identity=unless_malformed(lambda: read_identity(dataset), Identity()),
        device=unless_malformed(lambda: read_results(dataset), DeviceResults()),
    )


def _read_dataset(content: bytes) -> tuple[Any, str]:
    """Return the data set of a file with a waveform, and the byte order of its samples."""
    pydicom = import_reader("pydicom")
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    meta = dataset.file_meta
    syntax = pydicom.uid.UID(meta.get("TransferSyntaxUID") or IMPLICIT)
    if not dataset.get("WaveformSequence"):
        sop_class = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""
        raise ValueError(_other_content(dataset, pydicom.uid.UID(str(sop_class))))
    if syntax not in UNCOMPRESSED:
        raise ValueError(f"expected an uncompressed transfer syntax, got {syntax.name}")
    return dataset, ">" if syntax == BIG_ENDIAN else "<"


def _other_content(dataset: Any, sop_class: Any) -> str:
    """Return a message that names what a file without a waveform contains."""
    document = str(dataset.get("MIMETypeOfEncapsulatedDocument") or "PDF")[:40]
    contents = {
        "EncapsulatedDocument": f"a document ({document})",
        "PixelData": "an image",
        "DirectoryRecordSequence": "a list of files",
    }
    content = next((each for key, each in contents.items() if key in dataset), "no waveform")
    return (
        f"expected an ECG waveform, got the SOP class {sop_class.name[:64] or 'none'} with "
        f"{content}: export the waveform itself"
    )


def _is_beat(group: Any) -> bool:
    """Return whether a multiplex group is a median beat and not a rhythm."""
    fs, n_samples = _sampling_rate(group), int(group.NumberOfWaveformSamples)
    is_short = fs is not None and n_samples < RHYTHM_S * fs
    is_derived = group.get("WaveformOriginality") == "DERIVED"
    return bool(BEAT.search(str(group.get("MultiplexGroupLabel")))) or (is_derived and is_short)


def _sampling_rate(group: Any) -> float | None:
    """Return the sampling rate of a multiplex group, Hz; None if it states none."""
    return float(group.get("SamplingFrequency") or 0.0) or None


def _n_channels(group: Any) -> int:
    """Return the number of channels that a multiplex group defines."""
    return len(group.get("ChannelDefinitionSequence") or [])


def _has_leads(group: Any) -> bool:
    """Return whether a multiplex group has a lead of the ECG."""
    channels = group.get("ChannelDefinitionSequence") or []
    return any(lead_name(_lead(channel)) in LEADS for channel in channels)


def _multiplex_group(group: Any, byte_order: str) -> tuple[list[Channel], list[str]]:
    """Read a multiplex group, in the units of its channels; warn if padding is cut off."""
    stored = _stored_samples(group, byte_order)
    fs = _sampling_rate(group)
    is_padding = _padding(stored, group.get("WaveformPaddingValue"), fs)
    signal = stored.astype(np.float64)
    signal[is_padding] = np.nan
    units, skews, warnings = [], [], []
    for row, channel in zip(signal, group.ChannelDefinitionSequence, strict=True):
        unit, sensitivity, baseline = _sensitivity(channel)
        warnings += _sign_extend(row, channel, stored.dtype)
        row *= sensitivity
        row += baseline
        units.append(unit)
        skews.append(_skew(channel, fs))
        status = channel.get("ChannelStatus") or "OK"
        if status != "OK":
            warnings.append(f"lead {_lead(channel)} is marked as {str(status)[:40]}")
    with_samples = np.flatnonzero(~is_padding.all(axis=0))
    first, last = (with_samples[0], with_samples[-1] + 1) if len(with_samples) else (0, 0)
    n_cut = signal.shape[1] - (last - first)
    if n_cut:
        warnings.append(f"{n_cut} samples of padding at the beginning or end cut off")
    start_s = float(group.get("MultiplexGroupTimeOffset") or 0.0) / 1000
    start_s += first / fs if fs else 0.0
    signal, starts_s = _aligned(signal[:, first:last], np.array(skews), fs)
    channels = [
        Channel(_lead(channel), row, unit, fs, start_s + later_s)
        for channel, row, unit, later_s in zip(
            group.ChannelDefinitionSequence, signal, units, starts_s, strict=True
        )
    ]
    return channels, list(dict.fromkeys(warnings))


def _stored_samples(group: Any, byte_order: str) -> np.ndarray:
    """Return the samples of a multiplex group as stored, (n_channels, n_samples)."""
    n_leads, n_samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    kind = (int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation))
    if kind not in SAMPLE_TYPES:
        got = f"{kind[0]} bits {kind[1]}{COMPANDED.get(kind[1], '')}"
        raise ValueError(f"expected linear samples of 8, 16, 32 or 64 bits, got {got}")
    dtype, data = np.dtype(byte_order + SAMPLE_TYPES[kind]), group.get("WaveformData") or b""
    n_bytes, n_channels = n_leads * n_samples * dtype.itemsize, _n_channels(group)
    if len(data) not in (n_bytes, n_bytes + n_bytes % 2) or n_channels != n_leads:
        raise ValueError(
            f"expected {n_leads} leads of {n_samples} samples, got {n_channels} leads in "
            f"{len(data)} bytes"
        )
    return np.frombuffer(data, dtype, n_leads * n_samples).reshape(n_samples, n_leads).T


def _sign_extend(row: np.ndarray, channel: Any, dtype: np.dtype) -> list[str]:
    """Make samples negative whose sign is in the highest of fewer bits than a sample has.

    Parameters
    ----------
    row : ndarray of shape (n_samples,), float64, counts
        NaN where there is no sample; changed in place.
    channel : Dataset
    dtype : dtype
        Of the samples as stored.

    Returns
    -------
    list of str
        A warning if samples were changed.

    Raises
    ------
    ValueError
        If samples have more bits than the channel states, and are not all without a sign.
    """
    n_bits = int(channel.get("WaveformBitsStored") or 0)
    if not 0 < n_bits < 8 * dtype.itemsize or np.isnan(row).all():
        return []
    is_signed, low, high = dtype.kind == "i", np.nanmin(row), np.nanmax(row)
    bound = 2.0 ** (n_bits - is_signed)
    if high < bound and low >= -bound * is_signed:
        return []
    if low < 0 or high >= 2.0**n_bits:
        raise ValueError(
            f"lead {_lead(channel)} has samples from {low:g} to {high:g}, and states "
            f"{n_bits} bits stored (WaveformBitsStored)"
        )
    row[row >= bound] -= 2 * bound
    return [f"samples of {n_bits} bits, of which the highest is read as the sign"]


def _padding(stored: np.ndarray, value: Any, fs: float | None) -> np.ndarray:
    """Return which samples are padding.

    A padding value outside the range of the signal (-32768) is no sample wherever it occurs. One
    inside (0) is, if all channels hold it for a while: each lead crosses it in every beat.
    """
    if not isinstance(value, bytes) or len(value) < stored.dtype.itemsize:
        return np.zeros(stored.shape, bool)
    padding = np.frombuffer(value, stored.dtype, 1)[0]
    is_held = stored == padding
    # The median over the channels, since that of a loose electrode may have any range.
    low = np.median(np.where(is_held, np.inf, stored).min(axis=1))
    high = np.median(np.where(is_held, -np.inf, stored).max(axis=1))
    if max(low - padding, padding - high) > (high - low) / 2:
        return is_held
    changes = np.diff(is_held.all(axis=0), prepend=False, append=False)
    is_padding = np.zeros(stored.shape, bool)
    runs = np.flatnonzero(changes).reshape(-1, 2)
    for first, last in runs[np.diff(runs)[:, 0] >= PADDING_S * (fs or 500.0)]:
        is_padding[:, first:last] = True
    return is_padding


def _sensitivity(channel: Any) -> tuple[str, float, float]:
    """Return the unit of a channel, its units per count and its baseline.

    The unit is "" and the samples stay counts if the channel states no sensitivity.
    """
    sensitivity = float(channel.get("ChannelSensitivity") or 0.0)
    if not sensitivity:
        return "", 1.0, 0.0
    correction = channel.get("ChannelSensitivityCorrectionFactor")
    if correction is not None and not float(correction):
        return "ChannelSensitivityCorrectionFactor of 0", 1.0, 0.0
    sensitivity *= 1.0 if correction is None else float(correction)
    unit = (channel.get("ChannelSensitivityUnitsSequence") or [{}])[0]
    stated = [str(unit.get(key) or "") for key in ("CodeValue", "LongCodeValue", "CodeMeaning")]
    # UCUM allows words in braces; some writers put the volt in brackets.
    texts = [re.sub(r"\{[^}]*\}|[][]", "", text).strip() for text in stated]
    texts = [MDC_UNITS.get(text.removeprefix("4:"), text) for text in texts]
    sizes = {MV_PER_UNIT[text.lower()] for text in texts if text.lower() in MV_PER_UNIT}
    if len(sizes) > 1:
        raise ValueError(
            f"lead {_lead(channel)} has two units, {' and '.join(filter(None, texts))}"
        )
    voltage = next(filter(is_voltage, texts), None)
    name = next(filter(None, stated), "") if voltage is None else voltage
    return name, sensitivity, float(channel.get("ChannelBaseline") or 0.0)


def _skew(channel: Any, fs: float | None) -> float:
    """Return how many samples after its group a channel begins."""
    n_samples = float(channel.get("ChannelSampleSkew") or 0.0)
    time_s = float(channel.get("ChannelTimeSkew") or 0.0)
    if n_samples and time_s and fs and abs(n_samples - time_s * fs) > 0.5:
        raise ValueError(
            f"lead {_lead(channel)} has a skew of {n_samples:g} samples and of {time_s:g} s"
        )
    offset_s = float(channel.get("ChannelOffset") or 0.0)
    return (n_samples or time_s * (fs or 0.0)) + offset_s * (fs or 0.0)


def _aligned(
    signal: np.ndarray, skews: np.ndarray, fs: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Shift channels that are sampled one after another to one time.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_samples)
    skews : ndarray of shape (n_channels,), samples
    fs : float, Hz, or None

    Returns
    -------
    ndarray of shape (n_channels, n_aligned)
    ndarray of shape (n_channels,), s
        How much later each channel begins: 0, unless the delays are those of strips for printing.

    Notes
    -----
    Interpolation is linear, which keeps missing samples apart from others. On a recording at
    1000 Hz of which every second sample was taken, half a sample of skew is an error of 162 uV
    without, 25 uV with linear and 27 uV with cubic interpolation.
    """
    later = skews - skews.min()
    if fs and later.max() > LATE_S * fs:
        return signal, later / fs
    if later.max() < 1e-3 or not signal.shape[1]:
        return signal, np.zeros(len(signal))
    times = np.arange(min(int(later.max()), signal.shape[1]), signal.shape[1])
    known = np.arange(signal.shape[1])
    rows = [np.interp(times - skew, known, row) for row, skew in zip(signal, later, strict=True)]
    return np.array(rows), np.zeros(len(signal))


def _lead(channel: Any) -> str:
    """Return the lead of a channel by its code, or else by its label or the meaning of its code."""
    source = (channel.get("ChannelSourceSequence") or [{}])[0]
    code = str(source.get("CodeValue") or source.get("LongCodeValue") or "").strip()
    labels = (channel.get("ChannelLabel"), source.get("CodeMeaning"))
    texts = [re.split("[(,;]", str(text))[0].strip() for text in labels if text]
    number = LEAD_CODE.fullmatch(code)
    if number and number[1] not in LEAD_CODES:
        # Another lead, such as -aVR: a label must not make it one of the twelve.
        return f"{(texts or ['lead'])[0]} [{code}]"
    names = [LEAD_CODES[number[1]] if number else code, *texts]
    leads = [name for name in names if lead_name(name) in LEADS]
    if len({lead_name(name) for name in leads}) > 1:
        raise ValueError(f"a channel is named as two leads, {' and '.join(leads)}")
    return next(iter([*leads, *filter(None, texts), code]))[:64]


def _without_repeats(groups: Sequence[list[Channel]]) -> list[list[Channel]]:
    """Return the groups without those whose leads are in other groups of the same length.

    A rhythm strip is longer than the strips that it belongs to, so that it stays.
    """
    kept = list(groups)
    for group in reversed(groups):
        others = [
            other
            for other in kept
            if other is not group and len(other[0].samples) == len(group[0].samples)
        ]
        in_others = {lead_name(channel.name) for other in others for channel in other}
        if {lead_name(channel.name) for channel in group} <= in_others:
            kept = [other for other in kept if other is not group]
    return kept
