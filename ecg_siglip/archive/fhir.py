"""HL7 FHIR R4 resources of predictions, as plain dictionaries.

A record becomes one Bundle of type `transaction`: a DiagnosticReport, an Observation for each
finding that is present or not excluded and for each measurement, and the Device, which is the
model. All ids follow from the model and the record, so sending a Bundle again changes nothing.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ecg_siglip.archive.part_formats import JsonLines
from ecg_siglip.archive.rows import PREDICTED, UNREADABLE, Row
from ecg_siglip.core.files import visible
from ecg_siglip.metrics.likelihood import likelihood_word, percent
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.signals.measurements import NAMES, UNITS
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
STATUS = "preliminary"
Resource = dict[str, Any]


@dataclass(frozen=True)
class ModelIdentity:
    """The model that made predictions, as FHIR resources name it.

    Attributes
    ----------
    name, version : str
        Run, and version of the package that trained it.
    sha256 : str
        See ``job.model_digest``.
    vocabulary : Vocabulary
    codes : tuple of str
        Its findings.
    """

    name: str
    version: str
    sha256: str
    vocabulary: Vocabulary
    codes: tuple[str, ...] = ()

    @classmethod
    def of(cls, artifact: Artifact, sha256: str) -> ModelIdentity:
        """Return the identity of a loaded model."""
        about = artifact.provenance
        return cls(about.run, about.version, sha256, artifact.vocabulary, artifact.codes)

    @property
    def id(self) -> str:
        """Id of the Device."""
        return _id("Device", self.name, self.version, self.sha256)


class FhirLines:
    """Rows as FHIR resources, one per line: a Bundle, or an OperationOutcome of an error.

    Parameters
    ----------
    model : ModelIdentity
    """

    suffix = ".ndjson"

    def __init__(self, model: ModelIdentity):
        self.model = model

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write the resources of rows to a new file."""
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                if row["status"] == PREDICTED:
                    resource = bundle(row, self.model)
                else:
                    resource = operation_outcome(row["record"], row["reason"])
                file.write(json.dumps(resource, ensure_ascii=False) + "\n")

    def counts(self, path: Path) -> Counter[str]:
        """Return the number of records in a file by status."""
        with open(path, encoding="utf-8") as file:
            return Counter(
                PREDICTED if json.loads(line)["resourceType"] == "Bundle" else UNREADABLE
                for line in file
            )

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the lines of several files to a new one."""
        JsonLines().join(parts, path)


def bundle(row: Row, model: ModelIdentity) -> Resource:
    """Return the Bundle of a record that was predicted.

    Parameters
    ----------
    row : dict
        See ``rows.prediction_rows``.
    model : ModelIdentity

    Returns
    -------
    dict
        A FHIR R4 transaction that creates or replaces each resource under its own id. There is no
        Observation of a finding that is neither present nor possible. Without a patient id in the
        row there is no subject.

    Notes
    -----
    The ids depend on the model, on name and time of the record and on its probabilities (to
    0.001), so that records with the same name do not replace each other.
    """
    record, recording = visible(row["record"]), row.get("recording", {})
    recorded_at = recording.get("recorded_at", "")
    rounded = {c: p and round(p, 3) for c, p in row["probabilities"].items()}
    key = (model.id, record, recorded_at, json.dumps(rounded, sort_keys=True))
    shared = {**_subject(recording), **_time(recorded_at)}
    findings = [*row["findings"], *_not_excluded(row, model)]
    observations = [
        _observation(key, finding["code"], shared, model, _finding(finding, model))
        for finding in findings
    ]
    measured = row.get("measurements", {})
    for name in UNITS if measured else ():
        observations.append(_observation(key, name, shared, model, _measured(name, measured[name])))
    report = {
        "resourceType": "DiagnosticReport",
        "id": _id("DiagnosticReport", *key),
        "identifier": _identifiers(record, recording),
        "status": STATUS,
        "category": [_concept(f"{HL7}/v2-0074", "EC", "Electrocardiac")],
        "code": _concept(LOINC, EKG_STUDY, "ECG"),
        **shared,
        "result": [_reference(each) for each in observations],
        "conclusion": _conclusion(row, findings, model),
        "conclusionCode": [
            finding_concept(finding["code"], finding["name"], model.vocabulary)
            for finding in row["findings"]
        ],
    }
    resources = [_device(model, row["model_simulated"]), *observations, report]
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


def _not_excluded(row: Row, model: ModelIdentity) -> list[Row]:
    """Return the findings that are not present, but not excluded, in the form of those that are."""
    codes = row["not_excluded"]
    return [
        {
            "code": code,
            "name": name,
            "probability": row["probabilities"][code],
            "likelihood": likelihood_word(row["probabilities"][code]),
        }
        for code, name in zip(codes, model.vocabulary.names(codes), strict=True)
    ]


def _finding(finding: Row, model: ModelIdentity) -> Resource:
    """Return code, probability and interpretation of a finding."""
    is_present = "threshold" in finding
    code, display = ("POS", "Positive") if is_present else ("IND", "Indeterminate")
    system = f"{HL7}/v3-ObservationInterpretation"
    components = []
    if is_present:
        quantity = _share(finding["threshold"])
        components.append({"code": {"text": "threshold"}, "valueQuantity": quantity})
    if "at_s" in finding:
        at = {"value": finding["at_s"], "unit": "s", "system": UCUM, "code": "s"}
        components.append({"code": {"text": "start of the likeliest window"}, "valueQuantity": at})
    return {
        "code": finding_concept(finding["code"], finding["name"], model.vocabulary),
        "valueQuantity": _share(finding["probability"]),
        "interpretation": [
            {
                "coding": [{"system": system, "code": code, "display": display}],
                "text": f"{finding['likelihood']}; {'present' if is_present else 'not excluded'}",
            }
        ],
        "note": [{"text": f"The value is the probability of the finding. {RESEARCH}"}],
        "component": components,
    }


def _measured(name: str, measurement: Row) -> Resource:
    """Return code and value of a measurement, or why it has none."""
    concept: Resource = {"text": NAMES[name]}
    if name in LOINC_OF:
        concept = _concept(LOINC, LOINC_OF[name], NAMES[name])
    content: Resource = {"code": concept, "note": [{"text": RESEARCH}]}
    if measurement["value"] is None:
        absent = _concept(f"{HL7}/data-absent-reason", "unknown", measurement["reason"])
        return content | {"dataAbsentReason": absent}
    unit = UCUM_OF[measurement["unit"]]
    quantity = {"value": measurement["value"], "unit": unit, "system": UCUM, "code": unit}
    return content | {"valueQuantity": quantity}


def _observation(
    key: tuple[str, ...], name: str, shared: Resource, model: ModelIdentity, content: Resource
) -> Resource:
    """Return an Observation of the record."""
    resource = {
        "resourceType": "Observation",
        "id": _id("Observation", *key, name),
        "status": STATUS,
        "category": [_concept(f"{HL7}/observation-category", "procedure", "Procedure")],
        **shared,
        **content,
        "device": {"reference": f"Device/{model.id}"},
    }
    return {name: value for name, value in resource.items() if value != []}


def _device(model: ModelIdentity, simulated: bool | None) -> Resource:
    """Return the model as a Device."""
    identifier = {"system": f"{BASE}/model-sha256", "value": model.sha256}
    notes = [RESEARCH, *([f"{SIMULATED}."] if simulated else [])]
    return {
        "resourceType": "Device",
        "id": model.id,
        "identifier": [identifier],
        "deviceName": [{"name": f"ecg_siglip {visible(model.name)}", "type": "model-name"}],
        "type": {"text": "software that predicts findings of ECGs"},
        "version": [{"value": visible(model.version)}],
        "note": [{"text": note} for note in notes],
    }


def _conclusion(row: Row, findings: Iterable[Row], model: ModelIdentity) -> str:
    """Return findings and warnings in sentences."""
    texts: dict[str, list[str]] = {"Present": [], "Not excluded": []}
    for finding in findings:
        text = f"{finding['name']} {percent(finding['probability'])} ({finding['likelihood']})"
        texts["Present" if "threshold" in finding else "Not excluded"].append(text)
    if not texts["Present"]:
        texts["Present"] = ["no finding reaches its threshold"]
    names = model.vocabulary.names(row["not_assessable"])
    texts["Not assessable without the missing leads"] = names
    texts["Warnings"] = list(map(visible, row["warnings"]))
    sentences = [f"{title}: {', '.join(parts)}." for title, parts in texts.items() if parts]
    origin = [f"{SIMULATED}."] if row["model_simulated"] else []
    return " ".join([*sentences, *origin, RESEARCH])


def _subject(recording: Row) -> Resource:
    """Return a logical reference to the patient, if the file states one and ids are shown."""
    patient_id = recording.get("patient_id")
    if not patient_id:
        return {}
    return {"subject": {"type": "Patient", "identifier": {"value": patient_id}}}


def _identifiers(record: str, recording: Row) -> list[Resource]:
    """Return the name of the record, and its number in the archive if ids are shown."""
    identifiers = [{"system": f"{BASE}/record", "value": record}]
    if recording.get("record_id"):
        identifiers.append({"value": recording["record_id"]})
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
