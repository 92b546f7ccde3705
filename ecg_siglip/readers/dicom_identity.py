"""Identity and results of the device in a DICOM waveform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ecg_siglip.readers.identity import (
    DeviceResults,
    Identity,
    age_in,
    device_results,
    hertz,
    moment,
    number_in,
    sex_in,
    unless_malformed,
)

# Codes of MDC (PS3.16 CID 3227 to 3229), of SCP-ECG as devices write it, and of LOINC.
CODES = {
    "2:16770": "rate", "8867-4": "rate", "2:16168": "rr", "5.10.2.1-3": "rr", "2:15872": "pr",
    "5.13.5-7": "pr", "2:16156": "qrs", "5.13.5-9": "qrs", "2:16160": "qt", "5.13.5-11": "qt",
    "2:15876": "qtc", "5.10.2.5-5": "qtc", "2:15880": "qtc_bazett", "2:15892": "qtc_fridericia",
    "2:16128": "p_axis", "5.10.3-11": "p_axis", "2:16132": "qrs_axis", "5.10.3-13": "qrs_axis",
    "2:16136": "t_axis", "5.10.3-15": "t_axis",
}  # fmt: skip
MEANINGS = {
    "ventricular rate": "rate", "ventricular heart rate": "rate", "heart rate": "rate",
    "vent rate": "rate", "rr interval": "rr", "pr interval": "pr", "pq interval": "pr",
    "qrs duration": "qrs", "qt interval": "qt", "qtc interval": "qtc",
    "qtcb interval": "qtc_bazett", "qtc bazett": "qtc_bazett",
    "qtcf interval": "qtc_fridericia", "qtc fridericia": "qtc_fridericia",
    "p axis": "p_axis", "qrs axis": "qrs_axis", "t axis": "t_axis",
}  # fmt: skip
TO_MS = {"s": 1000.0, "us": 1e-3}


def read_identity(dataset: Any) -> Identity:
    """Return the identity that a data set states; filters only if all channels have the same."""
    zone = _get(dataset, "TimezoneOffsetFromUTC")
    return Identity(
        patient_id=_get(dataset, "PatientID"),
        record_id=_get(dataset, "AccessionNumber") or _get(dataset, "StudyID"),
        age=age_in(_get(dataset, "PatientAge")),
        sex=sex_in(_get(dataset, "PatientSex")),
        recorded_at=next(filter(None, (moment(each, zone) for each in _moments(dataset))), ""),
        manufacturer=_get(dataset, "Manufacturer"),
        model=_get(dataset, "ManufacturerModelName"),
        software=_get(dataset, "SoftwareVersions"),
        serial_number=_get(dataset, "DeviceSerialNumber"),
        high_pass=_filter(dataset, "FilterLowFrequency"),
        low_pass=_filter(dataset, "FilterHighFrequency"),
        notch=_filter(dataset, "NotchFilterFrequency"),
    )


def read_results(dataset: Any) -> DeviceResults:
    """Return the measurements and statements among the annotations of a waveform."""
    notes = dataset.get("WaveformAnnotationSequence") or []
    names = [_get(dataset, key) for key in ("PatientName", "PatientID", "OtherPatientIDs")]
    texts = [_get(note, "UnformattedTextValue") for note in notes]
    measured = [unless_malformed(partial(_measurement, note), None) for note in notes]
    return device_results(filter(None, measured), filter(None, texts), names)


def _get(item: Any, key: str) -> str:
    """Return a value as text, several with commas between them; "" if it is malformed."""

    def read() -> str:
        value = item.get(key)
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return ", ".join(map(str, value)) if is_list else str(value or "")

    return unless_malformed(read, "")


def _moments(dataset: Any) -> Iterator[str]:
    """Yield when the recording may have begun, the most exact statement first."""
    yield _get(dataset, "AcquisitionDateTime")
    for kind in ("Acquisition", "Content", "Study"):
        yield _get(dataset, f"{kind}Date") + _get(dataset, f"{kind}Time")


def _filter(dataset: Any, key: str) -> str:
    """Return the frequency of a filter that all channels with a statement share."""
    found = {
        hertz(_get(channel, key))
        for group in dataset.WaveformSequence
        for channel in group.get("ChannelDefinitionSequence") or []
        if key in channel
    }
    return found.pop() if len(found) == 1 else ""


def _measurement(note: Any) -> tuple[str, float] | None:
    """Return a measurement of the whole recording by our name, in our unit; None for others."""
    concept = (note.get("ConceptNameCodeSequence") or [{}])[0]
    unit = (note.get("MeasurementUnitsCodeSequence") or [{}])[0]
    meaning = re.sub(r"[\W_]+", " ", _get(concept, "CodeMeaning")).strip().lower()
    name = CODES.get(_get(concept, "CodeValue")) or MEANINGS.get(meaning)
    number = number_in(_get(note, "NumericValue"))
    if not name or number is None:
        return None
    is_time = not name.endswith("axis") and name != "rate"
    return name, number * (TO_MS.get(_get(unit, "CodeValue"), 1.0) if is_time else 1.0)
