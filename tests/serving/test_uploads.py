"""Uploads have safe names, errors name no folder, and the table is safe for spreadsheets."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.prediction import Finding, Prediction
from ecg_siglip.readers.identity import Identity
from ecg_siglip.serving.uploads import (
    UploadResult,
    hide_path,
    record_name,
    records_among,
    safe_name,
    save_uploads,
    to_csv,
)
from ecg_siglip.signals.measurements import measure_ecg


@pytest.fixture(scope="module")
def wfdb(simulated):
    """Contents of the two files of a record, by name."""
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    return {f"{path.name}{end}": path.with_suffix(end).read_bytes() for end in (".hea", ".dat")}


def write_upload(folder, files):
    folder.mkdir(exist_ok=True)
    save_uploads([(name, io.BytesIO(content)) for name, content in files.items()], folder)
    return folder


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\ecgs\\a b.csv", "a b.csv"),
        ("/abs/00001_lr.hea", "00001_lr.hea"),
        ("a\x00b<script>.csv", "a_b_script_.csv"),
        ("Müller_心電図.csv", "Müller_心電図.csv"),
    ],
)
def test_a_name_keeps_its_last_part_and_leads_to_no_other_folder(name, safe, tmp_path):
    assert safe_name(name) == safe
    write_upload(tmp_path / "in", {name: b"x"})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [safe]
    assert (tmp_path / "in" / safe).is_file()


@pytest.mark.parametrize("name", ["", "..", "/", "a/..", "...", "a" * 200 + ".csv"])
def test_a_file_without_a_usable_name_is_an_error(name):
    with pytest.raises(ValueError, match="name"):
        safe_name(name)


def test_two_files_of_one_name_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"two files are named a\.csv"):
        save_uploads([("x/a.csv", io.BytesIO(b"1")), ("y/a.csv", io.BytesIO(b"2"))], tmp_path)


def test_the_files_of_a_record_belong_together_and_any_other_file_is_a_record(tmp_path, wfdb):
    header = next(content for name, content in wfdb.items() if name.endswith(".hea"))
    other = header.replace(next(iter(wfdb)).removesuffix(".hea").encode() + b".dat", b"sig.dat")
    files = wfdb | {"other.hea": other, "sig.dat": b"", "notes.txt": b"hello", "lone.dat": b"1"}
    records = records_among(write_upload(tmp_path / "in", files))
    name = next(iter(wfdb))
    assert {path.name for path in records} == {name, "other.hea", "notes.txt", "lone.dat"}


def test_segments_and_names_in_capitals_belong_to_their_record(tmp_path):
    files = {
        "ms.hea": b"ms/2 1 100\nms_1 100\nms_2 100\n",
        "ms_1.hea": b"ms_1 1 100 100\nms_1.dat 16 200 16 0 0 0 0 II\n",
        "ms_2.HEA": b"ms_2 1 100 100\nMS_2.DAT 16 200 16 0 0 0 0 II\n",
        "ms_1.dat": b"", "ms_2.DAT": b"",
    }  # fmt: skip
    assert [p.name for p in records_among(write_upload(tmp_path / "in", files))] == ["ms.hea"]


def test_a_long_error_names_no_folder_either(tmp_path):
    error = ValueError("x" * 250 + f" {tmp_path}/a.csv " + "y" * 5000)
    assert str(tmp_path) not in hide_path(tmp_path, error)
    assert len(hide_path(tmp_path, error)) <= 600


def test_an_error_names_no_folder(tmp_path):
    error = ValueError(f"cannot read {tmp_path}/a.csv in\n{tmp_path}")
    assert hide_path(tmp_path, error) == "cannot read a.csv in the upload"


@pytest.mark.parametrize(
    ("path", "name"), [("x/00001_lr.hea", "00001_lr"), ("x/a.MAT", "a"), ("x/a.csv", "a.csv")]
)
def test_a_record_has_the_name_of_its_file(path, name):
    assert record_name(Path(path)) == name


def test_the_table_has_one_row_per_record_and_no_formula():
    findings = [
        Finding("SR", "Sinus rhythm", 0.987654321, 0.5, True),
        Finding("LVH", "Left ventricular hypertrophy", 0.2, 0.5, False, not_excluded=True),
        Finding("AMI", "Anterior myocardial infarction", 0.9, 0.5, False, assessable=False),
    ]
    prediction = Prediction("plain", np.zeros((12, 10), np.int16), findings, ["a", "b"])
    text = to_csv(UploadResult([prediction], [("=cmd.csv", "@error"), ("b.csv", "unreadable")]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["record"] for row in rows] == ["plain", "'=cmd.csv", "b.csv"]
    assert rows[0] == {
        "record": "plain",
        "findings": "SR",
        "not_excluded": "LVH",
        "not_assessable": "AMI",
        "warnings": "a; b",
        "error": "",
        "probability/SR": "0.987654",
        "probability/LVH": "0.200000",
        "probability/AMI": "",
    }
    assert [row["error"] for row in rows[1:]] == ["'@error", "unreadable"]
    assert to_csv(UploadResult([], [("a", "no")])).startswith("record,")


def test_the_table_has_a_column_with_unit_for_each_measurement():
    times = np.arange(5000) / 500
    pulses = np.exp(-0.5 * (((times % 1.0) - 0.5) / 0.012) ** 2)
    measured = measure_ecg(pulses[None], 500, ["II"])
    predictions = [
        Prediction(name, np.zeros((12, 10), np.int16), [], [], measurements=measurements)
        for name, measurements in (("one", measured), ("none", None))
    ]
    one, none, bad = csv.DictReader(io.StringIO(to_csv(UploadResult(predictions, [("bad", "no")]))))
    content = measured.to_dict()
    assert float(one["rate [1/min]"]) == content["rate"]["value"] == 60.0
    assert float(one["r II [mV]"]) == content["r"]["II"]["value"]
    assert one["qrs_axis [degrees]"] == "" == one["st V5 [mV]"]  # not measurable; no such lead
    assert {f"qtc_bazett [{content['qtc_bazett']['unit']}]", "s aVR [mV]"} <= set(one)
    for row in (none, bad):
        assert {value for column, value in row.items() if "[" in column} == {""}


def test_the_table_has_time_and_device_where_a_record_states_them():
    def rows(*identities: Identity) -> list[dict[str, str]]:
        signal = np.zeros((12, 10), np.int16)
        predictions = [Prediction("a", signal, [], [], identity=each) for each in identities]
        text = to_csv(UploadResult(predictions, [("b.csv", "unreadable")]))
        return list(csv.DictReader(io.StringIO(text)))

    stated = Identity("=1", recorded_at="2020-01-31T09:59:30", manufacturer="ACME", model="M")
    first, second, error = rows(stated.without_ids(), Identity())
    assert (first["recorded_at"], first["device"]) == ("2020-01-31T09:59:30", "ACME M")
    assert (second["recorded_at"], error["device"], error["error"]) == ("", "", "unreadable")
    assert "patient_id" not in first
    assert rows(stated)[0]["patient_id"] == "'=1"  # as any text, no formula
