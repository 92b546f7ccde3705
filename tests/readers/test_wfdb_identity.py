"""Identity in WFDB headers and in the table of PTB-XL."""

from pathlib import Path

import pytest
from helpers import write_challenge_record, write_ptbxl
from writers import ecg, write_wfdb, write_wfdb_segments

from ecg_siglip.readers.identity import Identity
from ecg_siglip.readers.record import read_record
from ecg_siglip.readers.wfdb_identity import read_identity, read_results

NOWHERE = Path("x/rec.hea")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rec 12 500 5000 9:59:30 31/1/2020", "2020-01-31T09:59:30"),
        ("rec 12 500 5000 09:59:30.25 31/01/2020", "2020-01-31T09:59:30.25"),
        ("rec 12 500 5000 2020-01-31 09:59:30", "2020-01-31T09:59:30"),
        ("rec 12 500 5000 09:59:30", ""),  # of an unknown day
        ("rec 12 500 5000 05-May-2020 14:50:55", ""),  # when the challenges converted it
        ("rec 12 500 5000 09:59:30 31/02/2020", ""),
        ("rec 12 500 5000", ""),
    ],
)
def test_the_time_of_the_record_line(line: str, expected: str):
    assert read_identity(NOWHERE, line, []).recorded_at == expected


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (["Age: 60", "Sex: Male"], Identity(age="60 years", sex="male")),
        (["age: 81", "sex: female"], Identity(age="81 years", sex="female")),
        (["<age>: 65 <sex>: F <diagnoses> x"], Identity(age="65 years", sex="female")),
        (["69 M 1085 1629 x1"], Identity(age="69 years", sex="male")),
        (["subject_id 10000032"], Identity(patient_id="10000032")),
        (["Age: NaN", "Sex: Unknown", "Name: Doe", "Age"], Identity()),
    ],
)
def test_comments(comments: list[str], expected: Identity):
    assert read_identity(NOWHERE, "rec 12 500 5000", comments) == expected


def test_diagnoses_are_statements_and_codes_have_names():
    comments = ["Dx: 426783006,1234567", "Rx: 1", "Hx: Unknown", "Dx: Unknown",
                "Reason for admission: Myocardial infarction", "Diagnose:"]  # fmt: skip
    assert read_results(comments).statements == (
        "sinus rhythm (SNOMED CT 426783006)",
        "SNOMED CT 1234567",
        "Reason for admission: Myocardial infarction",
    )


def test_a_record_of_the_challenges(tmp_path: Path):
    record = read_record(write_challenge_record(tmp_path, "a"))
    assert record.identity == Identity(age="60 years", sex="male")
    assert record.device.statements == ("sinus rhythm (SNOMED CT 426783006)",)


def test_a_record_with_segments(tmp_path: Path):
    header = write_wfdb_segments(tmp_path, ecg())
    lines = header.read_text().splitlines()
    header.write_text("\n".join([lines[0] + " 09:59:30 31/01/2020", *lines[1:], "#Age: 60"]))
    assert read_record(header).identity == Identity(
        age="60 years", recorded_at="2020-01-31T09:59:30"
    )


def test_the_table_of_ptbxl_states_patient_time_and_device(tmp_path: Path, shared_ptbxl: Path):
    identity = read_record(shared_ptbxl / "records100" / "00000" / "00001_lr").identity
    assert identity == Identity(
        patient_id="15709", record_id="1", age="56 years", sex="female",
        recorded_at="1984-11-09T09:17:34", model="CS-12 E",
    )  # fmt: skip


def test_a_damaged_table_of_ptbxl_does_not_matter(tmp_path: Path):
    root = write_ptbxl(tmp_path)
    record = root / "records100" / "00000" / "00001_lr"
    assert read_record(record).identity == Identity(patient_id="100", record_id="1")
    assert read_record(root / "records100" / "00000" / "00005_lr").identity.record_id == "5"
    (root / "ptbxl_database.csv").write_bytes(b"ecg_id,patient_id\nx\xff,\n")
    assert read_record(record).identity == Identity()
    # Elsewhere the number in a name means nothing.
    assert read_record(write_wfdb(tmp_path, ecg(), name="00001_lr")).identity == Identity()
