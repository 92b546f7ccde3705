"""Identity and results of the device in a DICOM waveform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ecg_siglip.readers.identity import (
    DeviceResults,
    Identity,
    age_in,
    device_results,
    hertz,
    moment,
    sex_in,
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
    age = str(dataset.get("PatientAge") or "")
    zone = dataset.get("TimezoneOffsetFromUTC")
    return Identity(
        patient_id=_text(dataset.get("PatientID")),
        record_id=_text(dataset.get("AccessionNumber")) or _text(dataset.get("StudyID")),
        age=age_in(age),
        sex=sex_in(dataset.get("PatientSex")),
        recorded_at=next(filter(None, (moment(each, zone) for each in _moments(dataset))), ""),
        manufacturer=_text(dataset.get("Manufacturer")),
        model=_text(dataset.get("ManufacturerModelName")),
        software=_text(dataset.get("SoftwareVersions")),
        serial_number=_text(dataset.get("DeviceSerialNumber")),
        high_pass=_filter(dataset, "FilterLowFrequency"),
        low_pass=_filter(dataset, "FilterHighFrequency"),
        notch=_filter(dataset, "NotchFilterFrequency"),
    )


def read_results(dataset: Any) -> DeviceResults:
    """Return the measurements and statements among the annotations of a waveform."""
    notes = dataset.get("WaveformAnnotationSequence") or []
    names = [dataset.get(key) for key in ("PatientName", "PatientID", "OtherPatientIDs")]
    texts = [note.get("UnformattedTextValue") for note in notes]
    return device_results(_measured(notes), filter(None, texts), names)


def _text(value: Any) -> str:
    """Return a value as text; several values with commas between them."""
    is_list = not isinstance(value, str) and hasattr(value, "__iter__")
    return ", ".join(str(each) for each in value) if is_list else str(value or "")


def _moments(dataset: Any) -> Iterator[str]:
    """Yield when the recording may have begun, the most exact statement first."""
    yield str(dataset.get("AcquisitionDateTime") or "")
    for kind in ("Acquisition", "Content", "Study"):
        day, time = (str(dataset.get(f"{kind}{part}") or "") for part in ("Date", "Time"))
        yield day + time


def _filter(dataset: Any, key: str) -> str:
    """Return the frequency of a filter that all channels with a statement share."""
    found = {
        hertz(channel.get(key))
        for group in dataset.WaveformSequence
        for channel in group.get("ChannelDefinitionSequence") or []
        if channel.get(key) is not None
    }
    return found.pop() if len(found) == 1 else ""


def _measured(notes: Any) -> Iterator[tuple[str, float]]:
    """Yield the measurements of the whole recording by our names, in our units."""
    for note in notes:
        if note.get("NumericValue") is None:
            continue
        concept = (note.get("ConceptNameCodeSequence") or [{}])[0]
        unit = (note.get("MeasurementUnitsCodeSequence") or [{}])[0]
        meaning = re.sub(r"[\W_]+", " ", str(concept.get("CodeMeaning") or "")).strip().lower()
        name = CODES.get(str(concept.get("CodeValue"))) or MEANINGS.get(meaning)
        if name:
            value = note.NumericValue
            number = float(value[0] if hasattr(value, "__iter__") else value)
            is_time = not name.endswith("axis") and name != "rate"
            factor = TO_MS.get(str(unit.get("CodeValue")), 1.0) if is_time else 1.0
            yield name, factor * number
