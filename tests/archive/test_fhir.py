"""FHIR resources: valid R4, nothing stated that the model or the file does not state."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ecg_siglip.archive import fhir
from ecg_siglip.inference.prediction import Finding, Prediction
from ecg_siglip.readers.identity import Identity
from ecg_siglip.signals.measurements import Measurement, Measurements
from ecg_siglip.vocabulary import ptbxl, snomed

MODEL = fhir.ModelIdentity("r1", "0.3.0", "ab" * 32, ptbxl())
FINDINGS = [
    Finding("SR", "Sinus rhythm", 0.05, 0.5, False),
    Finding("AFIB", "Atrial fibrillation", 0.93, 0.5, True),
    Finding("IMI", "Inferior myocardial infarction", 0.71, 0.4, True),
    Finding("BIGU", "Bigeminal pattern", 0.6, 0.4, True),
    Finding("3AVB", "Third degree AV block", 0.02, 0.3, False, not_excluded=True),
    Finding("RVH", "Right ventricular hypertrophy", 0.9, 0.3, False, assessable=False),
]
NONE = Measurement(None, "ms", reason="no P wave found")


def measurements() -> Measurements:
    ms = Measurement(401.2, "ms", 3.0)
    axis = Measurement(-30.4, "degrees", 2.0)
    rate = Measurement(71.26, "1/min", 1.0)
    return Measurements(rate, ms, NONE, ms, ms, ms, ms, axis, axis, axis)


def predicted(**changed) -> dict:
    """Return the row of a prediction."""
    fields = {
        "record": "ward/00001_lr",
        "signal": np.ones((12, 1000), np.int16),
        "findings": FINDINGS,
        "warnings": ["noise in V1"],
        "measurements": measurements(),
    }
    return json.loads(Prediction(**(fields | changed)).to_json("r1 (0.3.0)"))


def resources(bundle: dict) -> dict[str, list[dict]]:
    by_type: dict[str, list[dict]] = {}
    for entry in bundle["entry"]:
        by_type.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return by_type


def observation(bundle: dict, text: str) -> dict:
    [found] = [o for o in resources(bundle)["Observation"] if o["code"]["text"] == text]
    return found


IDENTITIES = [
    Identity(),
    Identity(patient_id="P1", record_id="17", recorded_at="2024-01-31T23:59:59.12+01:00"),
    Identity(recorded_at="2024-01-31T23:59+01:00"),
    Identity(recorded_at="2024-01-31T23:59:59"),
    Identity(recorded_at="2024-01-31"),
]


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("is_measured", [True, False])
def test_a_bundle_is_valid(identity, is_measured):
    # The library has R4B and no R4; between the two, nothing changed in the types used here
    # (https://hl7.org/fhir/R4B/diff.html).
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    measured = measurements() if is_measured else None
    bundle = fhir.bundle(predicted(identity=identity, measurements=measured), MODEL)
    parsed = bundles.Bundle.model_validate_json(json.dumps(bundle))  # no unknown element passes
    assert len(parsed.entry) == len(bundle["entry"])
    bundle["entry"][0]["resource"]["colour"] = "red"
    with pytest.raises(ValueError, match="colour"):
        bundles.Bundle.model_validate_json(json.dumps(bundle))


def test_an_error_is_a_valid_resource():
    outcomes = pytest.importorskip("fhir.resources.R4B.operationoutcome")
    outcome = fhir.operation_outcome("a\udcff.hea", "expected 12 leads,\x1b got 3")
    outcomes.OperationOutcome.model_validate_json(json.dumps(outcome))
    assert outcome["issue"][0]["details"]["text"] == "a\\udcff.hea"


def test_references_lead_to_resources_of_the_bundle_and_ids_are_unique():
    bundle = fhir.bundle(predicted(), MODEL)
    urls = [entry["request"]["url"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert entry["request"]["url"] == f"{resource['resourceType']}/{resource['id']}"
    by_type = resources(bundle)
    [report] = by_type["DiagnosticReport"]
    assert {each["reference"] for each in report["result"]} == {
        f"Observation/{each['id']}" for each in by_type["Observation"]
    }
    assert {o["device"]["reference"] for o in by_type["Observation"]} <= set(urls)
    for each in by_type["Observation"]:  # invariants obs-6 and obs-7 of the specification
        assert ("valueQuantity" in each) != ("dataAbsentReason" in each)
        assert each["code"] not in [component["code"] for component in each.get("component", [])]


def test_ids_depend_on_the_model_and_the_record():
    first = fhir.bundle(predicted(), MODEL)
    assert fhir.bundle(predicted(), MODEL) == first
    report = resources(first)["DiagnosticReport"][0]["id"]
    other = replace(FINDINGS[0], probability=0.06)
    for changed in (
        fhir.bundle(predicted(findings=[other, *FINDINGS[1:]]), MODEL),
        fhir.bundle(predicted(identity=Identity(recorded_at="2024-01-31")), MODEL),
        fhir.bundle(predicted(record="ward/00002_lr"), MODEL),
        fhir.bundle(predicted(), replace(MODEL, sha256="cd" * 32)),
    ):
        assert resources(changed)["DiagnosticReport"][0]["id"] != report


def test_findings_that_are_present_or_not_excluded_have_an_observation():
    bundle = fhir.bundle(predicted(measurements=None), MODEL)
    names = [each["code"]["text"] for each in resources(bundle)["Observation"]]
    assert names == [
        "Atrial fibrillation",
        "Inferior myocardial infarction",
        "Bigeminal pattern",
        "Third degree AV block",
    ]
    afib = observation(bundle, "Atrial fibrillation")
    assert afib["valueQuantity"]["value"] == 0.93 and afib["status"] == "preliminary"
    assert afib["interpretation"][0]["coding"][0]["code"] == "POS"
    assert afib["interpretation"][0]["text"] == "very likely; present"
    block = observation(bundle, "Third degree AV block")
    assert block["interpretation"][0]["coding"][0]["code"] == "IND"
    assert "for research, not for diagnosis" in afib["note"][0]["text"].lower()


def test_the_report_concludes_only_what_is_present():
    [report] = resources(fhir.bundle(predicted(model_simulated=True), MODEL))["DiagnosticReport"]
    concluded = [each["text"] for each in report["conclusionCode"]]
    assert concluded == [
        "Atrial fibrillation",
        "Inferior myocardial infarction",
        "Bigeminal pattern",
    ]
    text = report["conclusion"]
    assert "Not excluded: Third degree AV block 2 % (very unlikely)." in text
    assert "Not assessable without the missing leads: Right ventricular hypertrophy." in text
    assert "noise in V1" in text and "simulated" in text and text.endswith(fhir.RESEARCH)
    [report] = resources(fhir.bundle(predicted(findings=FINDINGS[:1]), MODEL))["DiagnosticReport"]
    assert report["conclusion"].startswith("Present: no finding reaches its threshold.")
    assert "conclusionCode" not in report


def test_a_finding_has_a_snomed_code_only_if_one_means_the_same():
    codes = fhir.snomed_codes(ptbxl())
    assert (codes["AFIB"], codes["CLBBB"], codes["WPW"]) == (164889003, 733534002, 74390002)
    # Those of infarction do not name its site, those of bigeminy are of the ventricles alone.
    assert not {"IMI", "BIGU", "TRIGU", "NORM"} & set(codes)
    table = snomed.table(ptbxl())
    assert all(table[number].relation == "exact" for number in codes.values())
    assert all(table[number].findings == (finding,) for finding, number in codes.items())
    concept = fhir.finding_concept("IMI", "Inferior myocardial infarction", ptbxl())
    [coding] = concept["coding"]
    assert coding["code"] == "IMI" and coding["system"].endswith("/vocabulary/ptbxl")


def test_measurements_have_loinc_codes_and_units_or_the_reason_why_they_are_absent():
    bundle = fhir.bundle(predicted(), MODEL)
    rate = observation(bundle, "Heart rate")
    assert rate["code"]["coding"] == [{"system": "http://loinc.org", "code": "8867-4"}]
    assert (rate["valueQuantity"]["value"], rate["valueQuantity"]["code"]) == (71.3, "/min")
    axis = observation(bundle, "QRS axis")["valueQuantity"]
    assert (axis["value"], axis["code"]) == (-30, "deg")
    pr = observation(bundle, "PR")
    assert pr["dataAbsentReason"]["text"] == "no P wave found"
    assert "coding" not in observation(bundle, "RR variability (SD)")["code"]


@pytest.mark.parametrize("code", [*fhir.LOINC_OF.values(), fhir.EKG_STUDY])
def test_loinc_codes_have_their_check_digit(code):
    # Modulus 10, LOINC Users' Guide, appendix C.
    digits, check = code.split("-")
    doubled = str(int(digits[::-1][::2][::-1]) * 2) + digits[::-1][1::2]
    assert -sum(map(int, doubled)) % 10 == int(check)


@pytest.mark.parametrize("number", sorted(set(fhir.snomed_codes(ptbxl()).values())))
def test_snomed_codes_are_concepts_with_their_check_digit(number):
    # Verhoeff, SNOMED CT Release File Specification, 5.5; 0 before it marks a concept.
    multiplied = [[(i + j) % 5 if j < 5 else 0 for j in range(10)] for i in range(10)]
    for i in range(10):
        for j in range(10):
            a, b = i % 5, j % 5
            same = (a + b) % 5 if i < 5 else (a - b) % 5
            multiplied[i][j] = same + 5 * ((i < 5) != (j < 5))
    permuted = [[*range(10)], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permuted.append([permuted[-1][permuted[1][i]] for i in range(10)])
    check = 0
    for i, digit in enumerate(reversed(str(number))):
        check = multiplied[check][permuted[i % 8][int(digit)]]
    assert check == 0 and str(number)[-2] == "0"


def test_the_patient_is_named_only_by_what_the_prediction_holds():
    report = resources(fhir.bundle(predicted(), MODEL))["DiagnosticReport"][0]
    assert "subject" not in report
    identity = Identity(patient_id="P1", record_id="17", age="56 years", sex="male")
    bundle = fhir.bundle(predicted(identity=identity), MODEL)
    report = resources(bundle)["DiagnosticReport"][0]
    assert report["subject"] == {"type": "Patient", "identifier": {"value": "P1"}}
    assert {"value": "17"} in report["identifier"]
    assert "P1" not in json.dumps(fhir.bundle(predicted(identity=identity.without_ids()), MODEL))


@pytest.mark.parametrize(
    ("recorded_at", "expected"),
    [
        ("2024-01-31T23:59:59.12+01:00", "2024-01-31T23:59:59.12+01:00"),
        ("2024-01-31T23:59-05:00", "2024-01-31T23:59:00-05:00"),
        ("2024-01-31T23:59:59Z", "2024-01-31T23:59:59Z"),
        ("2024-01-31T23:59:59", "2024-01-31"),
        ("2024-01-31", "2024-01-31"),
    ],
)
def test_a_time_without_a_zone_is_a_day(recorded_at, expected):
    bundle = fhir.bundle(predicted(identity=Identity(recorded_at=recorded_at)), MODEL)
    assert resources(bundle)["DiagnosticReport"][0]["effectiveDateTime"] == expected
