"""HL7 FHIR R4 resources of predictions, as plain dictionaries.

A record becomes one Bundle of type `transaction`: a DiagnosticReport, an Observation for each
finding that is present or not excluded and for each measurement, and the Device, which is the
model. All ids follow from the model and the record, so sending a Bundle again changes nothing.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ecg_siglip.core.files import visible
from ecg_siglip.inference.prediction import Finding, Prediction
from ecg_siglip.metrics.likelihood import percent
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.signals.measurements import NAMES, UNITS, Measurement
from ecg_siglip.vocabulary import snomed
from ecg_siglip.vocabulary.vocabulary import Vocabulary

BASE = "https://github.com/ecg-siglip/ecg_siglip/fhir"
LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
EKG_STUDY = "11524-6"
# By measurement; the standard deviation of RR has none that includes premature beats. Source: LOINC
# 2.78, class EKG.MEAS, and 8867-4 for the rate, as in the panel of a 12-lead ECG (34534-8).
LOINC_OF = {
    "rate": "8867-4", "pr": "8625-6", "qrs": "8633-0", "qt": "8634-8", "qtc_bazett": "76635-2",
    "qtc_fridericia": "76634-5", "p_axis": "8626-4", "qrs_axis": "8632-2", "t_axis": "8638-9",
}  # fmt: skip
UCUM_OF = {"1/min": "/min", "ms": "ms", "degrees": "deg"}
# Codes other than the first exact one of ``snomed.csv``. Those of bigeminy and trigeminy mean the
# ventricular form, which the findings of PTB-XL leave open.
PREFERRED: dict[str, int | None] = {"WPW": 74390002, "BIGU": None, "TRIGU": None}
RESEARCH = "For research, not for diagnosis. Not reviewed by a physician."
Resource = dict[str, Any]


@dataclass(frozen=True)
class ModelIdentity:
    """The model that made predictions, as FHIR resources name it.

    Attributes
    ----------
    name, version : str
        Run, and version of the package that trained it.
    sha256 : str
        Of the model, see ``model_files``; "" for a model of an early version.
    vocabulary : Vocabulary
    """

    name: str
    version: str
    sha256: str
    vocabulary: Vocabulary

    @property
    def id(self) -> str:
        """Id of the Device."""
        return _id("Device", self.name, self.version, self.sha256)


def bundle(prediction: Prediction, model: ModelIdentity) -> Resource:
    """Return the Bundle of a prediction.

    Parameters
    ----------
    prediction : Prediction
    model : ModelIdentity

    Returns
    -------
    dict
        A FHIR R4 transaction that creates or replaces each resource under its own id. There is no
        Observation of findings that are neither present nor possible. Without a patient id in
        ``prediction.identity`` there is no subject.

    Notes
    -----
    The ids depend on the name of the record and on its signal, so two records with the same name
    have different ones.
    """
    record = visible(prediction.record)
    digest = hashlib.sha256(prediction.signal.tobytes()).hexdigest()
    key = (model.id, record, digest)
    reported = [f for f in prediction.findings if f.assessable and (f.present or f.not_excluded)]
    reported.sort(key=lambda finding: (not finding.present, -finding.probability))
    shared: Resource = {
        "status": "preliminary",
        **_subject(prediction),
        **_time(prediction.identity.recorded_at),
    }
    observations = [
        _observation(key, finding.code, shared, model, _finding(finding, prediction, model))
        for finding in reported
    ]
    for name in UNITS if prediction.measurements else ():
        content = _measurement(name, getattr(prediction.measurements, name))
        observations.append(_observation(key, name, shared, model, content))
    report = {
        "resourceType": "DiagnosticReport",
        "id": _id("DiagnosticReport", *key),
        "identifier": _identifiers(prediction, record),
        "status": shared["status"],
        "category": [_concept(f"{HL7}/v2-0074", "EC", "Electrocardiac")],
        "code": _concept(LOINC, EKG_STUDY, "ECG"),
        **{name: value for name, value in shared.items() if name != "status"},
        "result": [_reference(each) for each in observations],
        "conclusion": _conclusion(prediction, reported),
        "conclusionCode": [
            finding_concept(finding.code, finding.name, model.vocabulary)
            for finding in reported
            if finding.present
        ],
    }
    resources = [_device(model, prediction.model_simulated), *observations, report]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [_entry({k: v for k, v in each.items() if v != []}) for each in resources],
    }


def operation_outcome(record: str, reason: str) -> Resource:
    """Return the resource of a record that could not be read or used."""
    issue = {
        "severity": "error",
        "code": "processing",
        "details": {"text": visible(record)},
        "diagnostics": visible(reason),
    }
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def finding_concept(code: str, name: str, vocabulary: Vocabulary) -> Resource:
    """Return the concept of a finding: SNOMED CT where a code means the same, and our own code."""
    coding = [{"system": f"{BASE}/vocabulary/{_uri(vocabulary.name)}", "code": code}]
    if number := snomed_codes(vocabulary).get(code):
        coding.insert(0, {"system": SNOMED, "code": str(number)})
    return {"coding": coding, "text": name}


@functools.lru_cache(maxsize=16)
def snomed_codes(vocabulary: Vocabulary) -> dict[str, int]:
    """Return the SNOMED CT code of each finding that has one with the same meaning.

    Notes
    -----
    Codes that are broader or narrower than the finding are not used: they would state another
    finding. Source: ``vocabulary.snomed``, for another vocabulary its own codes.
    """
    codes: dict[str, int] = {}
    for code in snomed.table(vocabulary).values():
        if code.relation == "exact":
            codes.setdefault(code.findings[0], code.snomed)
    for finding, number in PREFERRED.items():
        if number is None and snomed.challenge_codes().get(codes.get(finding, 0)):
            del codes[finding]
        elif number is not None and number in snomed.table(vocabulary) and finding in codes:
            codes[finding] = number
    return codes


def _finding(finding: Finding, prediction: Prediction, model: ModelIdentity) -> Resource:
    """Return code, probability and interpretation of a finding."""
    code, display = ("POS", "Positive") if finding.present else ("IND", "Indeterminate")
    decision = "present" if finding.present else "not excluded"
    components = [{"code": {"text": "threshold"}, "valueQuantity": _share(finding.threshold)}]
    if prediction.timeline is not None:
        seconds = prediction.timeline.at_s(finding.code)
        at = {"value": seconds, "unit": "s", "system": UCUM, "code": "s"}
        components.append({"code": {"text": "start of the likeliest window"}, "valueQuantity": at})
    return {
        "code": finding_concept(finding.code, finding.name, model.vocabulary),
        "valueQuantity": _share(finding.probability),
        "interpretation": [
            {
                "coding": [
                    {
                        "system": f"{HL7}/v3-ObservationInterpretation",
                        "code": code,
                        "display": display,
                    }
                ],
                "text": f"{finding.likelihood}; {decision}",
            }
        ],
        "note": [{"text": f"The value is the probability of the finding. {RESEARCH}"}],
        "component": components,
    }


def _measurement(name: str, measurement: Measurement) -> Resource:
    """Return code and value of a measurement, or why it has none."""
    concept: Resource = {"text": NAMES[name]}
    if name in LOINC_OF:
        concept = _concept(LOINC, LOINC_OF[name], NAMES[name])
    if measurement.value is None:
        absent = _concept(f"{HL7}/data-absent-reason", "unknown", measurement.reason)
        return {"code": concept, "dataAbsentReason": absent, "note": [{"text": RESEARCH}]}
    digits = 1 if measurement.unit == "1/min" else None
    value = {
        "value": round(measurement.value, digits),
        "unit": UCUM_OF[measurement.unit],
        "system": UCUM,
        "code": UCUM_OF[measurement.unit],
    }
    return {"code": concept, "valueQuantity": value, "note": [{"text": RESEARCH}]}


def _observation(
    key: tuple[str, ...], name: str, shared: Resource, model: ModelIdentity, content: Resource
) -> Resource:
    """Return an Observation of the record."""
    return {
        "resourceType": "Observation",
        "id": _id("Observation", *key, name),
        "status": shared["status"],
        "category": [_concept(f"{HL7}/observation-category", "procedure", "Procedure")],
        **{name: value for name, value in shared.items() if name != "status"},
        **content,
        "device": {"reference": f"Device/{model.id}"},
    }


def _device(model: ModelIdentity, simulated: bool | None) -> Resource:
    """Return the model as a Device."""
    identifier = {"system": f"{BASE}/model-sha256", "value": model.sha256}
    notes = [RESEARCH, *([f"{SIMULATED}."] if simulated else [])]
    return {
        "resourceType": "Device",
        "id": model.id,
        "identifier": [identifier] if model.sha256 else [],
        "deviceName": [{"name": f"ecg_siglip {visible(model.name)}", "type": "model-name"}],
        "type": {"text": "software that predicts findings of ECGs"},
        "version": [{"value": visible(model.version)}],
        "note": [{"text": note} for note in notes],
    }


def _conclusion(prediction: Prediction, reported: Iterable[Finding]) -> str:
    """Return findings and warnings in sentences."""
    texts: dict[str, list[str]] = {"Present": [], "Not excluded": []}
    for finding in reported:
        text = f"{finding.name} {percent(finding.probability)} ({finding.likelihood})"
        texts["Present" if finding.present else "Not excluded"].append(text)
    if not texts["Present"]:
        texts["Present"] = ["no finding reaches its threshold"]
    texts["Not assessable without the missing leads"] = [
        finding.name for finding in prediction.findings if not finding.assessable
    ]
    texts["Warnings"] = list(map(visible, prediction.warnings))
    sentences = [f"{title}: {', '.join(parts)}." for title, parts in texts.items() if parts]
    origin = [f"{SIMULATED}."] if prediction.model_simulated else []
    return " ".join([*sentences, *origin, RESEARCH])


def _subject(prediction: Prediction) -> Resource:
    """Return a logical reference to the patient, if the file states one and ids are shown."""
    patient_id = prediction.identity.patient_id
    if not patient_id:
        return {}
    return {"subject": {"type": "Patient", "identifier": {"value": patient_id}}}


def _identifiers(prediction: Prediction, record: str) -> list[Resource]:
    """Return the name of the record, and its number in the archive if ids are shown."""
    identifiers = [{"system": f"{BASE}/record", "value": record}]
    if prediction.identity.record_id:
        identifiers.append({"value": prediction.identity.record_id})
    return identifiers


def _time(recorded_at: str) -> Resource:
    """Return the time of the recording as a FHIR dateTime.

    FHIR requires a time zone with a time: where the file states none, only the day is known.
    """
    if not recorded_at:
        return {}
    day, _, time = recorded_at.partition("T")
    zone = next((time[time.index(sign) :] for sign in "Z+-" if sign in time), "")
    if not zone:
        return {"effectiveDateTime": day}
    clock = time.removesuffix(zone)
    seconds = "" if clock.count(":") == 2 else ":00"
    return {"effectiveDateTime": f"{day}T{clock}{seconds}{zone}"}


def _entry(resource: Resource) -> Resource:
    """Return the entry of a transaction that creates or replaces a resource."""
    url = f"{resource['resourceType']}/{resource['id']}"
    request = {"method": "PUT", "url": url}
    return {"fullUrl": f"{BASE}/{url}", "resource": resource, "request": request}


def _concept(system: str, code: str, text: str) -> Resource:
    return {"coding": [{"system": system, "code": code}], "text": text}


def _share(probability: float) -> Resource:
    return {"value": round(probability, 6), "unit": "probability", "system": UCUM, "code": "1"}


def _reference(resource: Resource) -> Resource:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def _uri(name: str) -> str:
    """Return a name as part of a URI."""
    return quote(name, safe="")


def _id(*parts: str) -> str:
    """Return an id that depends on nothing but the parts."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join((BASE, *parts))))
