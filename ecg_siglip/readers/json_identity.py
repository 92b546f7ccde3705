"""Identity and results of the device next to a recording in JSON, and above an Apple table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ecg_siglip.readers.identity import (
    DeviceResults,
    Identity,
    age_in,
    device_results,
    moment,
    sex_in,
)

# Keys without case and punctuation: those of AliveCor, Apple, Fitbit, Google and Withings, and
# those of the same meaning.
KEYS = {
    "patient_id": ("patientid", "subjectid"),
    "record_id": ("recordid", "recordingid", "examid", "studyid", "ecgid"),
    "age": ("age", "patientage"),
    "sex": ("sex", "gender", "patientsex"),
    "recorded_at": (
        "recordedat", "recordeddate", "recordingdate", "recordingtime", "starttime", "startdate",
        "start", "acquisitiondatetime", "acquisitiontime", "timestamp",
    ),
    "manufacturer": ("manufacturer", "devicemanufacturer"),
    "model": ("devicemodel", "devicename", "devicetype", "device"),
    "software": ("softwareversion", "firmwareversion"),
    "serial_number": ("serialnumber", "deviceserialnumber", "deviceid"),
}  # fmt: skip
STATEMENT_KEYS = ("algorithmdetermination", "classification", "resultclassification")
MEASURED = {"averageheartrate": "rate", "heartrate": "rate", "bpm": "rate"}
EPOCH_S = (1e9, 4.1e9)  # 2001 to 2099
# Lines of an Apple export, by their order in any language: name, date of birth, date of the
# recording, classification, symptoms, software, device.
APPLE_DATE, APPLE_RESULT, APPLE_SOFTWARE, APPLE_DEVICE = 2, 3, 5, 6
APPLE_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}")


def read_identity(objects: Sequence[dict[str, Any]]) -> Identity:
    """Return the identity that objects state: the recording, and those that enclose it."""
    stated = _stated(objects)
    found = {}
    for name, keys in KEYS.items():
        clean = {"age": age_in, "sex": sex_in, "recorded_at": _moment}.get(name, str)
        texts = [clean(stated[key]) for key in keys if key in stated]
        found[name] = next(filter(None, texts), "")
    return Identity(**found)


def read_results(objects: Sequence[dict[str, Any]]) -> DeviceResults:
    """Return the heart rate and the statement that objects state."""
    stated = _stated(objects)
    measured = [(name, stated[key]) for key, name in MEASURED.items() if key in stated]
    statements = [stated[key] for key in STATEMENT_KEYS if key in stated]
    return device_results(measured, statements)


def apple_table(header: Sequence[Sequence[str]]) -> tuple[Identity, DeviceResults]:
    """Return what the lines above the samples of an Apple export state; nothing of other tables."""
    values = [", ".join(row[1:]).strip() for row in header]
    if len(values) <= APPLE_DEVICE or not APPLE_MOMENT.fullmatch(values[APPLE_DATE]):
        return Identity(), DeviceResults()
    identity = Identity(
        recorded_at=moment(values[APPLE_DATE]),
        model=values[APPLE_DEVICE],
        software=values[APPLE_SOFTWARE],
    )
    return identity, device_results(statements=[values[APPLE_RESULT]], names=values[:1])


def _stated(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return texts and numbers by their keys, those of the innermost object first."""
    stated: dict[str, Any] = {}
    for each in objects:
        for key, value in each.items():
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                stated.setdefault(re.sub(r"[\W_]", "", str(key)).lower(), value)
    return stated


def _moment(value: Any) -> str:
    """Return a moment as text or in seconds or milliseconds since 1970 in ISO 8601."""
    if isinstance(value, str):
        return moment(value)
    seconds = value / 1000 if value > EPOCH_S[1] else value
    if not EPOCH_S[0] < seconds < EPOCH_S[1]:
        return ""
    return moment(datetime.fromtimestamp(seconds, UTC).isoformat())
