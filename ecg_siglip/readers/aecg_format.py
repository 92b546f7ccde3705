"""Read HL7 aECG: sets of sequences, one with the time and one for each lead."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated, join_groups
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.xml_document import parse_number, parse_samples
from ecg_siglip.readers.xml_identity import aecg_identity, aecg_results

SECONDS = {
    "s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9,
}  # fmt: skip
# A moment as in 20240131235959.123+0100, to any precision.
MOMENT = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\.\d{1,9})?(?:[+-]\d{4})?")
BEATS = ("REPRESENTATIVE_BEAT", "MEDIAN_BEAT")


def read_aecg(root: Any) -> Stated:
    """Read the longest set of sequences of an ``AnnotatedECG`` that is not derived from another.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element

    Returns
    -------
    Stated
        Leads in several sets that begin at the same time are one recording.

    Raises
    ------
    ValueError
        If it has only representative beats, a set has no time or two, a unit of time is missing,
        a scale is 0, or samples are no numbers.

    Notes
    -----
    HL7 V3 Annotated ECG R1. A lead's value is ``origin + scale * digit``. A lead without scale has
    counts.
    """
    every = root.findall("component/series")
    codes = [_code(series).upper() for series in every]
    rhythm = [s for s, code in zip(every, codes, strict=True) if code not in BEATS]
    labelled = [s for s, code in zip(every, codes, strict=True) if code == "RHYTHM"]
    warnings: list[str] = []
    groups = [
        group
        for series in labelled or rhythm
        for each in series.findall("component/sequenceSet")
        if (group := _sequence_set(each, warnings))
    ]
    if not groups:
        beats = root.find(".//derivedSeries") is not None or len(rhythm) < len(every)
        found = "only representative beats" if beats else "none"
        raise ValueError(f"expected a series of type RHYTHM with leads, got {found}")
    warnings += several_recordings(groups)
    starts_s = [group[0].start_s for group in groups if not np.isnan(group[0].start_s)]
    first_s = min(starts_s, default=0.0)
    groups = [
        [c._replace(start_s=float(np.nan_to_num(c.start_s - first_s))) for c in group]
        for group in groups
    ]
    return Stated(
        join_groups(groups),
        warnings=warnings,
        identity=unless_malformed(lambda: aecg_identity(root), Identity()),
        device=unless_malformed(lambda: aecg_results(root), DeviceResults()),
    )


def several_recordings(groups: list[list[Channel]]) -> list[str]:
    """Return a warning if several groups have the same leads and the same, largest length."""
    sizes = Counter((tuple(sorted(c.name for c in g)), len(g[0].samples)) for g in groups)
    n = sizes[max(sizes, key=lambda size: (len(size[0]), size[1]))]
    return [f"{n} recordings of the same leads in the file, of which the first is read"] * (n > 1)


def _code(element: Any) -> str:
    """Return the code of an element; "" if it has none."""
    code = element.find("code")
    return "" if code is None else str(code.get("code") or "").strip()


def _sequence_set(sequences: Any, warnings: list[str]) -> list[Channel]:
    """Return the channels of a set; ``start_s`` is since the year 1, NaN where it is not stated."""
    times: set[float] = set()
    start_s, channels = float("nan"), []
    for sequence in sequences.findall("component/sequence"):
        name, value = _code(sequence), sequence.find("value")
        if not name:
            raise ValueError("a sequence has no code")
        if value is None or value.get("nullFlavor") or len(value) == 0:
            warnings.append(f"{name[:40]} has no samples")
        elif name.upper().startswith("TIME_"):
            times.add(_fs(value))
            start_s = _start_s(value.find("head"))
        else:
            channels.append(_lead(name, value))
    if channels and len(times) != 1:
        got = " and ".join(f"{fs:g} Hz" for fs in sorted(times)) or "none"
        raise ValueError(f"expected one sequence of time with an increment, got {got}")
    return [channel._replace(fs=fs, start_s=start_s) for fs in times for channel in channels]


def _fs(value: Any) -> float:
    """Return the sampling rate by the increment of the time, Hz."""
    step, unit = _quantity(value, "increment") or (0.0, "")
    unit = unit.strip().lower()
    if unit not in SECONDS or not step > 0:
        raise ValueError(
            f"expected an increment of time in s, ms or us, got {step:g} {unit[:20] or 'no unit'}"
        )
    return round(1 / (step * SECONDS[unit]), 6)


def _start_s(head: Any) -> float:
    """Return the time of the first sample; NaN if it is not stated or has no known form."""
    text = "" if head is None else str(head.get("value") or "").strip()
    unit = "" if head is None else str(head.get("unit") or "").strip().lower()
    if unit in SECONDS:
        return parse_number(text, "head") * SECONDS[unit]
    moment = MOMENT.fullmatch(text)
    if not moment:
        return float("nan")
    parts = [int(part or 0) for part in moment.groups()[:6]]
    try:
        day = date(parts[0], parts[1] or 1, parts[2] or 1).toordinal()
    except ValueError:
        return float("nan")
    hour, minute, second = parts[3:]
    return 86400.0 * day + 3600 * hour + 60 * minute + second + float(moment[7] or 0)


def _lead(name: str, value: Any) -> Channel:
    """Return the channel of a sequence without its time."""
    vendor = re.fullmatch(r"(?!MDC_)\w+?_ECG_LEAD_(\w+)", name, re.I)
    name = f"MDC_ECG_LEAD_{vendor[1]}" if vendor else name
    samples = parse_samples(value.findtext("digits"), name[:40])
    scale, origin = _quantity(value, "scale"), _quantity(value, "origin") or (0.0, "")
    if scale is None:
        if origin[0] != 0:
            raise ValueError(f"lead {name[:40]} has an origin but no scale")
        return Channel(name, samples)
    if scale[0] == 0:
        raise ValueError(f"expected a scale of lead {name[:40]} other than 0")
    if origin[0] != 0 and origin[1] != scale[1]:
        raise ValueError(f"expected origin and scale of {name[:40]} in one unit, got two")
    return Channel(name, origin[0] + scale[0] * samples, scale[1])


def _quantity(value: Any, tag: str) -> tuple[float, str] | None:
    """Return the number and the unit of an element; None if it is missing or has no number."""
    element = value.find(tag)
    if element is None or element.get("value") is None:
        return None
    return parse_number(element.get("value"), tag), str(element.get("unit") or "")
