"""Identity and results of the device in a record that the library ecgdatakit has read."""

from __future__ import annotations

import re
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

# Ours, of the library.
FIELDS = {
    "rate": "heart_rate", "rr": "rr_interval", "pr": "pr_interval", "qrs": "qrs_duration",
    "qt": "qt_interval", "qtc_bazett": "qtc_bazett", "qtc_fridericia": "qtc_fridericia",
    "p_axis": "p_axis", "qrs_axis": "qrs_axis", "t_axis": "t_axis",
}  # fmt: skip
# Intervals that SCP-ECG states by the waves of its reference beat: from, to.
BY_WAVES = {
    "pr": ("median_p_onset_ms", "median_qrs_onset_ms"),
    "qrs": ("median_qrs_onset_ms", "median_qrs_offset_ms"),
    "qt": ("median_qrs_onset_ms", "median_t_offset_ms"),
}


def identity_of(record: Any) -> Identity:
    """Return the identity of a record of ecgdatakit."""
    patient, recording = record.patient, record.recording
    device, filters = recording.device, recording.acquisition.filters
    return Identity(
        patient_id=patient.patient_id,
        age="" if patient.age is None else age_in(patient.age),
        sex=sex_in(patient.sex),
        recorded_at=moment(recording.date.isoformat()) if recording.date else "",
        manufacturer=device.manufacturer,
        model=device.model,
        software=device.software_version,
        serial_number=device.serial_number or device.name,
        high_pass=hertz(filters.highpass),
        low_pass=hertz(filters.lowpass),
        notch="" if filters.notch_active is False else hertz(filters.notch),
    )


def results_of(record: Any) -> DeviceResults:
    """Return the measurements and statements of a record of ecgdatakit."""
    measured = [(name, getattr(record.measurements, field)) for name, field in FIELDS.items()]
    notes = record.annotations
    for name, (start, stop) in BY_WAVES.items():
        if start in notes and stop in notes:
            measured.append((name, float(notes[stop]) - float(notes[start])))
    stated = re.match(r"\d+(?= ms)", str(notes.get("qtc") or record.raw_metadata.get("qtc") or ""))
    has_formula = record.measurements.qtc_bazett is not None
    if stated and not has_formula:
        measured.append(("qtc", stated[0]))
    interpretation = record.interpretation
    patient = record.patient
    return device_results(
        measured,
        [f"{text} ({reason})" if reason else text for text, reason in interpretation.statements],
        [patient.first_name, patient.last_name, patient.patient_id, interpretation.interpreter],
        confirmed=interpretation.source in ("confirmed", "overread"),
    )
