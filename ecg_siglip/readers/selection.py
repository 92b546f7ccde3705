"""Choose the leads of an ECG among the channels of a file, and bring them to mV.

Leads are chosen by their names first. Units, sampling rates and lengths are checked of these alone,
so that a blood pressure or a respiration channel in the same file does not matter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecg_siglip.core.files import shorten, shown
from ecg_siglip.readers.channels import Channel
from ecg_siglip.readers.print_layout import STRIPS_ERROR, check_layout
from ecg_siglip.signals.leads import LEADS, lead_name

# Below, QRS complexes are lost; no device records above.
FS_HZ = (50.0, 20_000.0)
MV_PER_UNIT = {
    "nv": 1e-6, "uv": 1e-3, "mv": 1.0, "v": 1e3,
    "nanovolt": 1e-6, "microvolt": 1e-3, "millivolt": 1.0, "volt": 1e3,
    "nvolt": 1e-6, "uvolt": 1e-3, "mvolt": 1.0, "microv": 1e-3, "milliv": 1.0,
    "microvol": 1e-3, "millivol": 1.0,  # the unit of EDF has 8 characters
    "mcv": 1e-3, "мкв": 1e-3, "мв": 1.0, "微伏": 1e-3, "毫伏": 1.0,  # phones translate them
}  # fmt: skip
# Units that mean "a count of the converter", whose size read.gain states.
COUNTS = {"", "1", "nu", "adu", "adc", "count", "counts", "digit", "digits", "lsb", "raw", "none"}
# Signals of monitors and sleep laboratories that are no ECG, by the beginning of their names.
OTHER_SIGNALS = re.compile(
    r"(?:eeg(?!.*e[ck]g)|eog|emg|resp|pleth|ppg|spo2|sao2|abp|art|pap|cvp|icp|nbp|bp|pulse|pr|hr|temp|airflow|"
    r"flow|thor|abdo|chest|snore|position|sound|event|annotation|edf annotation|bdf annotation|"
    r"status|trigger|marker|acc|gyro|co2|leg|chin|light|nasal|imp)(?![a-z0-9]*v[1-6]\b)",
    re.I,
)
# IEC 60601-2-25 names the chest leads C1 to C6; so does the 10-20 system of the EEG.
IEC_CHEST = re.compile(r"(?:lead|ecg|ekg)?[\s_.:-]*c([1-6])", re.I)
EEG = re.compile(
    r"eeg.*|(?:(?:af|fc|cp|po|ft|tp|fp|[fopatm])\d{1,2}h?|(?:fp|af|fc|cp|po|[fcpoi])z)\b.*|c\d-.*",
    re.I,
)
ECG = re.compile(r"e[ck]g|exg", re.I)
# A letter and a number: a lead, or one of many electrodes (BioSemi's caps, those within the brain).
NUMBERED = re.compile(r"([abcdv])[\s_.-]?0*([1-9]\d{0,2})", re.I)
SKIPPED = "-"  # in read.leads, for a channel that is no lead
# Leads whose lengths differ by at most this share are cut to the shortest.
UNEVEN = 0.01
# Groups of leads that begin later than this after the first, s, are strips of a print layout.
LATE_S = 0.1
N_LISTED, MAX_LISTED = 16, 160  # names in a message, and their characters


class Leads(NamedTuple):
    """The leads of an ECG.

    Attributes
    ----------
    signal : ndarray of shape (n_leads, n_samples), float32, mV
    fs : float, Hz
    names : tuple of str, length n_leads
        As spelled in the file, or as given by the caller.
    warnings : list of str
    """

    signal: np.ndarray
    fs: float
    names: tuple[str, ...]
    warnings: list[str]


def select_leads(
    channels: Sequence[Channel],
    fs: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
) -> Leads:
    """Choose the leads of an ECG among the channels of a file, and bring them to mV.

    Parameters
    ----------
    channels : sequence of Channel
    fs : float, Hz, optional
        Sampling rate, if the file states none.
    units : str, optional
        nV, uV, mV or V, if the file states none.
    leads : sequence of str, optional
        Names of the channels that can be leads, in the order of the file, if it has none or has
        names without a meaning; ``-`` for a channel to leave out.
    gain : float, counts per mV, optional
        If the samples are counts of the converter and the file does not state their size.

    Returns
    -------
    Leads
        The twelve leads as far as the file has them, and other voltages at the same rate and of
        the same length.

    Raises
    ------
    ValueError
        If there is no channel that can be a lead; if rate, units or leads are stated neither by
        the file nor by the caller, or differently by both; if the leads differ in rate or length,
        or were cut into strips for printing.
    """
    if isinstance(leads, str):
        raise ValueError(f"expected a list of leads, got the text {shown(leads, 40)}")
    channels = _named(_without_electrodes(channels, leads), leads)
    is_lead = [lead_name(channel.name) in LEADS for channel in channels]
    if any(is_lead):
        first = channels[is_lead.index(True)]
        channels = [
            channel
            for channel, is_one in zip(channels, is_lead, strict=True)
            if is_one or _goes_with(channel, first, units, gain)
        ]
    else:
        channels = [channel for channel in channels if _may_be_lead(channel)]
    rate = agreed_fs(_common_fs(channels), fs)
    rows, warnings = _common_length(channels)
    mv = [_mv_per_unit(channel.unit, units, gain, channel.name) for channel in channels]
    signal = np.empty((len(rows), len(rows[0])), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(len(rows)):  # without a copy in double precision, which is 1 GB for 26 h
            np.multiply(rows[i], np.float64(mv[i]), out=signal[i], casting="same_kind")
    check_layout(signal)
    return Leads(signal, rate, tuple(channel.name for channel in channels), warnings)


def settled_units(
    channels: Sequence[Channel], scale: str, units: str | None, gain: float | None
) -> Sequence[Channel]:
    """Return channels whose samples are in their unit, or without it where they are counts.

    Parameters
    ----------
    channels : sequence of Channel
    scale : str
        A gain or an offset that the file states and its reader did not apply; "" if none.
    units, gain : optional
        As for ``select_leads``: with a gain, samples are counts, whatever the unit.

    Raises
    ------
    ValueError
        If the file states a scale and a unit of voltage, and the caller neither.
    """
    unit = next((channel.unit for channel in channels if is_voltage(channel.unit)), "")
    if not scale or not unit:
        return channels
    if gain is None and not units:
        raise ValueError(
            f"the file states {scale} and the unit {unit}: it is not clear whether samples are "
            f"counts or {unit}; give read.gain=... in counts per mV, or read.units={unit}"
        )
    if gain is None:
        return channels
    return [each._replace(unit="") if is_voltage(each.unit) else each for each in channels]


def is_voltage(unit: str) -> bool:
    """Return whether a unit is a voltage."""
    return _normalized_unit(unit) in MV_PER_UNIT


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are the same, whichever way they are spelled."""
    return _normalized_unit(one) == _normalized_unit(other)


@functools.lru_cache(1024)
def _normalized_unit(unit: str) -> str:
    """Return a unit in lower case, without plural; a micro sign in any encoding is ``u``."""
    unit = re.sub("(?:\u00c2|\u00ce)?[\u00b5\u03bc\ufffd\u00bc]", "u", unit.strip()).lower()
    unit = unit.removeprefix("mdc_dim_").replace("_", "").replace(" ", "")
    return unit.removesuffix("s") if unit.endswith("volts") else unit


def _may_be_lead(channel: Channel) -> bool:
    """Return whether a channel with a name that is no lead's may be one."""
    unit = _normalized_unit(channel.unit)
    return (unit in MV_PER_UNIT or unit in COUNTS) and not OTHER_SIGNALS.match(channel.name)


def _goes_with(channel: Channel, lead: Channel, units: str | None, gain: float | None) -> bool:
    """Return whether a channel with another name is a voltage recorded together with a lead."""
    return (
        _may_be_lead(channel)
        and channel.fs == lead.fs
        and len(channel.samples) == len(lead.samples)
        and (is_voltage(channel.unit) or channel.unit == lead.unit)
    )


def _without_electrodes(
    channels: Sequence[Channel], given: Sequence[str] | None
) -> Sequence[Channel]:
    """Return the channels of an ECG without those of an EEG, and with C1 to C6 as V1 to V6.

    Notes
    -----
    If no channel is named as an ECG, or the caller names every channel, all are returned; then no
    electrode has the name of a lead.
    """
    is_electrode = _electrodes(channels)
    if any(is_electrode):
        is_ecg = [
            not electrode and (lead_name(channel.name) in LEADS or bool(ECG.search(channel.name)))
            for channel, electrode in zip(channels, is_electrode, strict=True)
        ]
        n_candidates = len(_candidates(channels))
        if any(is_ecg) and (not given or len(given) != n_candidates):
            return [channel for channel, is_one in zip(channels, is_ecg, strict=True) if is_one]
        return [
            channel._replace(name=f"channel {channel.name}")
            if electrode and lead_name(channel.name) in LEADS
            else channel
            for channel, electrode in zip(channels, is_electrode, strict=True)
        ]
    numbers = [IEC_CHEST.fullmatch(channel.name.strip()) for channel in channels]
    has_limb_lead = any(lead_name(channel.name) in LEADS[:6] for channel in channels)
    if len({number[1] for number in numbers if number}) < 6 and not has_limb_lead:
        return channels
    return [
        channel._replace(name=f"V{number[1]}") if number else channel
        for channel, number in zip(channels, numbers, strict=True)
    ]


def _electrodes(channels: Sequence[Channel]) -> list[bool]:
    """Return which channels are electrodes of an EEG."""
    numbered = [NUMBERED.fullmatch(channel.name.strip()) for channel in channels]
    numbers: dict[str, set[int]] = {letter: set() for letter in "abcdv"}
    for match in numbered:
        if match:
            numbers[match[1].lower()].add(int(match[2]))
    # D1 to D3 are leads, V7 to V9 and C7 to C9 are on the back.
    many = {"a": 7, "b": 7, "c": 10, "d": 4, "v": 10}
    has_limb_lead = any(
        lead_name(channel.name) in LEADS[:6] and not (match and max(numbers["d"]) >= many["d"])
        for channel, match in zip(channels, numbered, strict=True)
    )
    highest = {letter: max(found, default=0) for letter, found in numbers.items()}
    if not has_limb_lead or any(highest[letter] >= many[letter] for letter in "abd"):
        many |= {"c": 7, "v": 7}
    families = {letter for letter in many if highest[letter] >= many[letter]}
    is_eeg = [
        bool(EEG.fullmatch(channel.name.strip()))
        and not ECG.search(channel.name)
        and (is_voltage(channel.unit) or _normalized_unit(channel.unit) in COUNTS)
        for channel in channels
    ]
    # The electrodes of the EEG in a sleep laboratory are C3 and C4.
    if any(is_eeg) or families or numbers["c"] <= {3, 4}:
        families.add("c")
    return [
        of_eeg or bool(match and match[1].lower() in families)
        for of_eeg, match in zip(is_eeg, numbered, strict=True)
    ]


def _candidates(channels: Sequence[Channel]) -> list[int]:
    """Return the indices of the channels that can be leads."""
    return [
        i
        for i, channel in enumerate(channels)
        if lead_name(channel.name) in LEADS or _may_be_lead(channel)
    ]


def _named(channels: Sequence[Channel], given: Sequence[str] | None) -> list[Channel]:
    """Return the channels with the names that the file or the caller states."""
    if not channels:
        raise ValueError("expected channels with signals, got none")
    candidates = _candidates(channels)
    if not candidates:
        raise ValueError(f"no channel that can be a lead of an ECG: {_listed(channels)}")
    if not given:
        if not any(channels[i].name for i in candidates):
            raise ValueError(
                f"the file does not name its {len(candidates)} leads: give read.leads=[I,II,...] "
                "in the order of the file"
            )
        return list(channels)
    keys = [lead_name(channels[i].name) for i in candidates]
    if [lead_name(name) for name in given] in (keys, [key for key in keys if key in LEADS]):
        return list(channels)
    if len(given) != len(candidates):
        raise ValueError(
            f"{len(given)} names in read.leads for {len(candidates)} channels: "
            f"{_listed([channels[i] for i in candidates])}; expected a name for each, in this "
            f"order, {SKIPPED} for one to leave out"
        )
    named = []
    for i, key, name in zip(candidates, keys, given, strict=True):
        if key in LEADS and name != SKIPPED and lead_name(name) != key:
            raise ValueError(
                f"the file states leads {_listed([channels[i] for i in candidates])}, which "
                f"contradicts read.leads=[{','.join(given)}]"
            )
        if name != SKIPPED:
            named.append(channels[i]._replace(name=name))
    if not named:
        raise ValueError("read.leads leaves out every channel, expected at least one lead")
    return named


def _listed(channels: Sequence[Channel]) -> str:
    """Return the names of channels for a message."""
    names = [channel.name or "(no name)" for channel in channels]
    listed = shorten(", ".join(names[:N_LISTED]), MAX_LISTED)
    return f"{listed} and {len(names) - N_LISTED} more" if len(names) > N_LISTED else listed


def _common_fs(channels: Sequence[Channel]) -> float | None:
    """Return the sampling rate of leads; None where the file states none."""
    rates = {channel.fs for channel in channels}
    if len(rates) > 1:
        stated = [
            f"{channel.name} {f'{channel.fs:g} Hz' if channel.fs else 'without a rate'}"
            for channel in channels
        ]
        raise ValueError(f"expected leads of one sampling rate, got {', '.join(stated)}")
    return rates.pop()


def agreed_fs(stated: float | None, given: float | None) -> float:
    """Return the sampling rate that the file or the caller states, Hz.

    Raises
    ------
    ValueError
        If neither states one, both state different ones, or it is outside ``FS_HZ``.
    """
    fs = given if stated is None else stated
    if fs is None:
        raise ValueError("the file states no sampling rate: give read.fs=... in Hz")
    low, high = FS_HZ
    if not low <= fs <= high:
        raise ValueError(f"expected a sampling rate of {low:g} to {high:g} Hz, got {fs:g} Hz")
    if given is not None and not abs(given - fs) <= 1e-3 * fs:
        raise ValueError(f"the file states {fs:g} Hz, which contradicts read.fs={given:g}")
    return float(fs)


def _common_length(channels: Sequence[Channel]) -> tuple[list[np.ndarray], list[str]]:
    """Return the samples of leads, cut to the shortest if they are of nearly equal length."""
    lengths = [len(channel.samples) for channel in channels]
    shortest, longest = min(lengths), max(lengths)
    if shortest == 0:
        raise ValueError("0 s of signal, expected some")
    starts_s = [channel.start_s for channel in channels]
    is_late = max(starts_s) - min(starts_s) > LATE_S
    if is_late or longest - shortest > UNEVEN * longest:
        got = f"leads of {shortest} to {longest} samples"
        if is_late:
            got = f"leads that begin up to {max(starts_s) - min(starts_s):g} s apart"
        raise ValueError(f"{got}: {STRIPS_ERROR}")
    rows = [channel.samples[:shortest] for channel in channels]
    if shortest == longest:
        return rows, []
    return rows, [f"leads of {shortest} to {longest} samples, cut to the shortest"]


def _mv_per_unit(stated: str, given: str | None, gain: float | None, lead: str) -> float:
    """Return the size of a lead's unit in mV; refuse a contradiction of file and caller."""
    mv = MV_PER_UNIT.get(_normalized_unit(stated))
    if mv is None and _normalized_unit(stated) not in COUNTS:
        raise ValueError(f"expected units nV, uV, mV or V, got {stated[:40]} for lead {lead}")
    if mv is not None:
        if gain is not None:
            raise ValueError(
                f"the file states {stated} for lead {lead}, which contradicts read.gain={gain:g}"
            )
        if given and MV_PER_UNIT.get(_normalized_unit(given)) != mv:
            raise ValueError(
                f"the file states {stated} for lead {lead}, which contradicts read.units={given}"
            )
        return mv
    if gain is not None and given:
        raise ValueError(f"expected read.units or read.gain, got {given} and {gain:g} per mV")
    if gain is not None:
        if not 0 < gain < np.inf:
            raise ValueError(f"expected read.gain above 0 counts per mV, got {gain:g}")
        return 1.0 / gain
    if not given:
        raise ValueError(
            f"the file states no units for lead {lead}: give read.units=uV, mV or V, or "
            "read.gain=... in counts per mV"
        )
    mv = MV_PER_UNIT.get(_normalized_unit(given))
    if mv is None:
        raise ValueError(f"expected read.units of nV, uV, mV or V, got {given}")
    return mv
