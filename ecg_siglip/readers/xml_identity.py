"""Identity and results of the device in XML: GE MUSE, GE CardioSoft and HL7 aECG."""

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
    number_in,
    sex_in,
)

MUSE_FIELDS = {
    "VentricularRate": "rate", "PRInterval": "pr", "QRSDuration": "qrs", "QTInterval": "qt",
    "QTCorrected": "qtc", "QTcFrederica": "qtc_fridericia", "PAxis": "p_axis",
    "RAxis": "qrs_axis", "TAxis": "t_axis",
}  # fmt: skip
CARDIOSOFT_FIELDS = {
    "VentricularRate": "rate", "RRInterval": "rr", "PQInterval": "pr", "QRSDuration": "qrs",
    "QTInterval": "qt", "QTCInterval": "qtc", "PAxis": "p_axis", "RAxis": "qrs_axis",
    "TAxis": "t_axis",
}  # fmt: skip
MUSE_DAY = re.compile(r"(\d\d)[-/](\d\d)[-/](\d{4})")  # month first
MDC_FIELDS = {
    "HEART_RATE": "rate", "TIME_PD_RR": "rr", "TIME_PD_PR": "pr", "TIME_PD_QRS": "qrs",
    "TIME_PD_QT": "qt", "TIME_PD_QTC": "qtc", "TIME_PD_QTCB": "qtc_bazett",
    "TIME_PD_QTCF": "qtc_fridericia", "ANGLE_P_FRONT": "p_axis", "ANGLE_QRS_FRONT": "qrs_axis",
    "ANGLE_T_FRONT": "t_axis", "P_AXIS": "p_axis", "QRS_AXIS": "qrs_axis", "T_AXIS": "t_axis",
}  # fmt: skip
# To our units; a unit of another kind gives no measurement.
TO_UNIT = {
    "ms": 1.0, "s": 1e3, "us": 1e-3, "bpm": 1.0, "/min": 1.0, "1/min": 1.0, "{beats}/min": 1.0,
    "deg": 1.0, "": 1.0,
}  # fmt: skip
STATEMENT_CODES = ("", "_STATEMENT", "_SUMMARY")
TRIAL_SUBJECT = "componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject"
LOINC_AGE = "21612-7"


def _get(element: Any, path: str) -> str:
    """Return the text of an element below another; "" if there is none."""
    found = None if element is None else element.find(path)
    return "" if found is None else " ".join("".join(found.itertext()).split())


def _value(element: Any, path: str, key: str = "value") -> str:
    """Return an attribute of an element below another; "" if there is none."""
    found = None if element is None else element.find(path)
    return "" if found is None else (found.get(key) or "").strip()


def muse_identity(root: Any) -> Identity:
    """Return the identity in a ``RestingECG``; its high-pass filter is in hundredths of Hz."""
    patient, test = root.find("PatientDemographics"), root.find("TestDemographics")
    kinds = {_get(wave, "WaveformType").lower(): wave for wave in root.findall("Waveform")}
    rhythm = kinds.get("rhythm")
    high_pass = number_in(_get(rhythm, "HighPassFilter"))
    day = MUSE_DAY.fullmatch(_get(test, "AcquisitionDate"))
    iso_day = f"{day[3]}-{day[1]}-{day[2]}" if day else _get(test, "AcquisitionDate")
    time = _get(test, "AcquisitionTime")
    return Identity(
        patient_id=_get(patient, "PatientID"),
        record_id=_get(root, "Order/RequisitionNumber"),
        age=age_in(_get(patient, "PatientAge"), _get(patient, "AgeUnits")),
        sex=sex_in(_get(patient, "Gender")),
        recorded_at=moment(f"{iso_day} {time}".strip()) or moment(iso_day),
        model=_get(test, "AcquisitionDevice"),
        software=_get(test, "AcquisitionSoftwareVersion"),
        serial_number=_get(root, "PharmaData/PharmaCartID") or _get(test, "CartNumber"),
        high_pass="" if high_pass is None else hertz(high_pass / 100),
        low_pass=hertz(_get(rhythm, "LowPassFilter")),
        notch=hertz(_get(rhythm, "ACFilter")),
    )


def muse_results(root: Any) -> DeviceResults:
    """Return the measurements and statements in a ``RestingECG``, the edited ones if there are."""
    of_device = root.find("OriginalRestingECGMeasurements")
    edited = root.find("RestingECGMeasurements")
    measured = [
        (name, _get(element, field))
        for element in (edited, of_device)
        for field, name in MUSE_FIELDS.items()
    ]
    patient, test = root.find("PatientDemographics"), root.find("TestDemographics")
    names = [_get(patient, f"Patient{each}") for each in ("LastName", "FirstName", "ID")]
    names += [_get(test, f"Overreader{each}") for each in ("LastName", "FirstName")]
    statements = _muse_statements(root.find("Diagnosis"))
    is_confirmed = _get(test, "Status").upper() == "CONFIRMED" or any(names[3:])
    if not statements:
        statements, is_confirmed = _muse_statements(root.find("OriginalDiagnosis")), False
    return device_results(measured, statements, names, is_confirmed)


def _muse_statements(diagnosis: Any) -> list[str]:
    """Return the lines of a diagnosis: parts up to the one with the flag ENDSLINE."""
    if diagnosis is None:
        return []
    parts = [
        (
            _get(each, "StmtText"),
            "ENDSLINE" in [(f.text or "").strip() for f in each.findall("StmtFlag")],
        )
        for each in diagnosis.findall("DiagnosisStatement")
    ]
    if not any(is_end for _, is_end in parts):
        return [text for text, _ in parts if text]
    lines = [""]
    for text, is_end in parts:
        lines[-1] = f"{lines[-1]} {text}".strip()
        lines += [""] * is_end
    return [line for line in lines if line]


def cardiosoft_identity(root: Any) -> Identity:
    """Return the identity in a ``CardiologyXML``."""
    at = root.find("ObservationDateTime")
    units = ("Year", "Month", "Day", "Hour", "Minute", "Second")
    parts = [_get(at, unit).zfill(4 if unit == "Year" else 2) for unit in units]
    patient, device = root.find("PatientInfo"), root.find("ClinicalInfo/DeviceInfo")
    filters = root.find("FilterSetting")
    mains = [hz for hz in ("50", "60") if _get(filters, f"Filter{hz}Hz").lower() in ("yes", "true")]
    return Identity(
        patient_id=_get(patient, "PID"),
        record_id=_get(root, "PatientVisit/OrderNumber"),
        age=age_in(_get(patient, "Age"), _value(patient, "Age", "units")),
        sex=sex_in(_get(patient, "Gender")),
        recorded_at=moment("{}-{}-{} {}:{}:{}".format(*parts)),
        model=_get(device, "Desc"),
        software=_get(device, "SoftwareVer"),
        serial_number=_get(device, "SerialNumber"),
        high_pass=hertz(_get(filters, "HighPass")),
        low_pass=hertz(_get(filters, "LowPass")),
        notch=hertz(mains[0]) if len(mains) == 1 else "",
    )


def cardiosoft_results(root: Any) -> DeviceResults:
    """Return the measurements and statements in a ``CardiologyXML``."""
    table = root.find("RestingECGMeasurements")
    measured = [(name, _get(table, field)) for field, name in CARDIOSOFT_FIELDS.items()]
    statements = [
        " ".join("".join(each.itertext()).split())
        for each in root.findall("Interpretation//DiagnosisText")
    ]
    patient = root.find("PatientInfo")
    names = [_get(patient, path) for path in ("Name/FamilyName", "Name/GivenName", "PID")]
    return device_results(measured, statements, names)


def aecg_identity(root: Any) -> Identity:
    """Return the identity in an ``AnnotatedECG``: that of its first series."""
    series = root.find("component/series")
    author = None if series is None else series.find("author/seriesAuthor")
    device = None if author is None else author.find("manufacturedSeriesDevice")
    subject = root.find(TRIAL_SUBJECT)
    person = None if subject is None else subject.find("subjectDemographicPerson")
    filters = dict(_aecg_filters(series))
    return Identity(
        patient_id=_value(subject, "id", "extension"),
        record_id=_value(root, "id", "extension") or _value(root, "id", "root"),
        age=next(_aecg_age(root), ""),
        sex=sex_in(_value(person, "administrativeGenderCode", "code")),
        recorded_at=next(filter(None, map(moment, _aecg_moments(root, series))), ""),
        manufacturer=_get(author, "manufacturerOrganization/name"),
        model=_get(device, "manufacturerModelName"),
        software=_get(device, "softwareName"),
        serial_number=_get(device, "SerialNumber")
        or _get(device, "serialNumber")
        or _value(device, "id", "extension"),
        **filters,
    )


def aecg_results(root: Any) -> DeviceResults:
    """Return the measurements and statements in the annotations of an ``AnnotatedECG``."""
    measured: list[tuple[str, object]] = []
    statements: list[str] = []
    sets = root.findall("component/series/subjectOf/annotationSet")
    sets += root.findall("component/series/derivation/derivedSeries/subjectOf/annotationSet")
    has_person = "author/assignedEntity/assignedAuthorType/assignedPerson"
    for each in sets:
        for annotation in each.findall("component/annotation"):
            _walk(annotation, measured, statements)
    person = root.find(f"{TRIAL_SUBJECT}/subjectDemographicPerson")
    names = [_get(person, "name"), _value(root, f"{TRIAL_SUBJECT}/id", "extension")]
    names += [_get(each, f"{has_person}/name") for each in sets]
    is_confirmed = any(each.find(has_person) is not None for each in sets)
    return device_results(measured, dict.fromkeys(statements), names, is_confirmed)


def _walk(annotation: Any, measured: list[tuple[str, object]], statements: list[str]) -> None:
    """Add what an annotation of the whole recording states, and those in it."""
    code = _value(annotation, "code", "code").upper()
    is_lead = any(
        "_ECG_LEAD_" in _value(boundary, "code", "code").upper()
        for boundary in annotation.findall("support/supportingROI/component/boundary")
    )
    if code == "MDC_ECG_BEAT" or is_lead:
        return
    name = MDC_FIELDS.get(re.sub(r"^[A-Z]+_ECG_|_GL$", "", code))
    unit = _value(annotation, "value", "unit")
    number = number_in(_value(annotation, "value"))
    if name and number is not None and unit in TO_UNIT:
        measured.append((name, number * TO_UNIT[unit]))
    if code.partition("INTERPRETATION")[2] in STATEMENT_CODES and "INTERPRETATION" in code:
        statements.append(_get(annotation, "value") or _value(annotation, "value", "displayName"))
    for inner in annotation.findall("component/annotation"):
        _walk(inner, measured, statements)


def _aecg_moments(root: Any, series: Any) -> Iterator[str]:
    """Yield when the recording may have begun, that of the file first."""
    for element in (root, series):
        for path in ("effectiveTime/low", "effectiveTime/center", "effectiveTime"):
            yield _value(element, path)
    if series is not None:
        yield from (str(head.get("value") or "") for head in series.iter("head"))


def _aecg_age(root: Any) -> Iterator[str]:
    """Yield the age of the subject as an observation states it."""
    for observation in root.findall("controlVariable/relatedObservation"):
        if _value(observation, "code", "code") == LOINC_AGE:
            yield age_in(_value(observation, "value"), _value(observation, "value", "unit"))


def _aecg_filters(series: Any) -> Iterator[tuple[str, str]]:
    """Yield the filters of a series by our names."""
    for control in [] if series is None else series.findall("controlVariable/controlVariable"):
        kind = _value(control, "code", "code").upper().partition("_FILTER_")[2]
        for inner in control.findall("component/controlVariable"):
            is_frequency = _value(inner, "code", "code").upper().endswith("_FREQ")
            if kind in ("HIGH_PASS", "LOW_PASS", "NOTCH") and is_frequency:
                number = number_in(_value(inner, "value"))
                factor = {"": 1, "Hz": 1, "kHz": 1000}.get(_value(inner, "value", "unit"), 0)
                yield kind.lower(), hertz((number or 0) * factor)
