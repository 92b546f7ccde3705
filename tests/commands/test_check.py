"""The command ``check``: a short summary, JSON and a page; nothing half-written; exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests import writers
from tests.docs.test_reference import TYPES, reference

CHECKOUT = Path(__file__).resolve().parents[2]
CODES = ("SR", "AFIB", "LVH", "IMI")


def _run(folder: Path, *settings: str) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "ecg_siglip.check", *settings]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write a table of 40 records; only one of them has a file."""
    rows = [f"{i}.xml,{CODES[i % 4]},{i // 2},en\n" for i in range(40)]
    (tmp_path / "good.csv").write_text("path,findings,patient_id,language\n" + "".join(rows))
    (tmp_path / "0.xml").write_bytes(writers.muse(writers.ecg()))
    return tmp_path


def test_a_good_table(folder):
    done = _run(folder, "data=table", "data.table=good.csv", "files=false", "out=out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 records of 20 patients, 4 of 71 findings present; 0 errors" in done.stdout
    assert len(done.stdout.splitlines()) < 40 and max(map(len, done.stdout.splitlines())) <= 110
    result = json.loads((folder / "out/check.json").read_text())
    assert result["ok"] and result["files"] is None
    page = (folder / "out/check.html").read_text()
    assert "Atrial fibrillation" in page and "http:" not in page and "https:" not in page
    assert {path.name for path in (folder / "out").iterdir()} == {"check.json", "check.html"}


def test_missing_files_are_an_error_with_exit_code_1(folder):
    done = _run(folder, "data.table=good.csv", "out=out")
    assert done.returncode == 1 and done.stderr == ""
    assert "39 x missing file: 1.xml in row 3: no such file" in done.stdout
    assert not json.loads((folder / "out/check.json").read_text())["ok"]
    assert "data:image/png" in (folder / "out/check.html").read_text()
    assert not (folder / "cache").exists()


WRONG = {
    "no such table": (["data.table=none.csv"], "check: data.table=none.csv does not exist"),
    "no table": ([], "check: data.table is missing"),
    "a workbook": (["data.table=a.xlsx"], "expected a file with the suffix"),
    "not UTF-8": (["data.table=latin.csv"], "expected UTF-8 text"),
    "no column path": (["data.table=file.csv"], "no column path"),
    "codes": (["data.table=good.csv", "data.codes=none.csv"], "cannot be read as a CSV file"),
    "folds of a folder": (["data=ptbxl", "data.root=x", "folds=f.csv"], "expected data=table"),
    "folds are the table": (
        ["data.table=good.csv", "folds=good.csv", "files=false"],
        "the table i",
    ),
    "folds in no folder": (["data.table=good.csv", "folds=no/f.csv"], "there is no folder no"),
    "folds in another folder": (
        ["data.table=good.csv", "folds=../f.csv"],
        "the paths of the table begin in its folder; expected a file in .",
    ),
    "folds as Parquet": (["data.table=good.csv", "folds=f.parquet"], "that ends in .csv"),
    "out is a file": (["data.table=good.csv", "out=good.csv"], "expected a folder"),
    "no root": (["data=ptbxl", "data.root=null"], "data.root is missing"),
    "no such root": (["data=ptbxl", "data.root=missing"], "is missing: download PTB-XL"),
    "no collection": (["data=challenge", "data.root=missing"], "no such folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_checked_is_one_line(folder, case):
    (folder / "a.xlsx").write_bytes(b"")
    (folder / "latin.csv").write_bytes("path,findings\nMüller,SR\n".encode("latin-1"))
    (folder / "file.csv").write_text("file,findings\na,SR\n")
    before = {path.name for path in folder.iterdir()}
    settings, message = WRONG[case]
    done = _run(folder, *(["out=out"] if case != "out is a file" else []), *settings)
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


def test_folds_are_written_and_stay_as_the_table_grows(folder):
    frame = pd.read_csv(folder / "good.csv", dtype=str).assign(ward=["A", "B,C"] * 20)
    frame.to_csv(folder / "good.csv", index=False)
    done = _run(folder, "data.table=good.csv", "files=false", "folds=folds.csv")
    assert done.returncode == 0 and "wrote folds.csv" in done.stdout
    first = pd.read_csv(folder / "folds.csv", dtype=str)
    assert first.drop(columns="fold").equals(frame)
    assert first.groupby("patient_id")["fold"].nunique().max() == 1
    new = pd.DataFrame({"path": ["n1", "n2"], "findings": ["SR", "AFIB"], "patient_id": ["0", "n"]})
    pd.concat([new, first]).to_csv(folder / "grown.csv", index=False)
    refused = _run(folder, "data.table=grown.csv", "files=false")
    assert refused.returncode == 1 and "2 x empty fold" in refused.stdout
    done = _run(folder, "data.table=grown.csv", "files=false", "folds=again.csv")
    assert done.returncode == 0, done.stdout
    again = pd.read_csv(folder / "again.csv", dtype=str)
    assert again["fold"][2:].tolist() == first["fold"].tolist()
    assert again["fold"][0] == first["fold"][0]  # of the same patient


def test_folds_are_not_written_for_a_wrong_table(folder):
    (folder / "bad.csv").write_text("path,findings\na,XYZ\n")
    done = _run(folder, "data.table=bad.csv", "files=false", "folds=folds.csv")
    assert done.returncode == 1 and "folds.csv is not written: see the errors" in done.stdout
    assert not (folder / "folds.csv").exists()


def test_folds_of_a_parquet_file_with_lists(folder):
    frame = pd.DataFrame({"path": ["a", "b"], "findings": [["SR", "LVH"], []], "x": [1, 2]})
    frame.to_parquet(folder / "t.parquet")
    _run(folder, "data.table=t.parquet", "files=false", "folds=folds.csv")
    written = pd.read_csv(folder / "folds.csv", dtype=str)
    assert written["findings"].tolist() == ['["SR", "LVH"]', "[]"] and len(written.columns) == 4


def _paths(value: object, path: str = "") -> list[tuple[str, object]]:
    """Return every value of check.json with its path, as ``CHECK_FIELDS`` writes it."""
    if isinstance(value, list):
        return [pair for item in value for pair in _paths(item, f"{path}[]")]
    if isinstance(value, dict):
        by_value = path in {
            each.path.removesuffix(".<value>")
            for each in reference.CHECK_FIELDS
            if each.path.endswith(".<value>")
        }
        return [
            pair
            for key, item in value.items()
            for pair in _paths(item, f"{path}.{'<value>' if by_value else key}".lstrip("."))
        ]
    return [(path, value)]


def test_the_json_has_the_fields_of_the_page(folder):
    text = (folder / "good.csv").read_text().replace("language", "language,ward")
    lines = [line + (",A" if i else "") for i, line in enumerate(text.splitlines())]
    lines += ["copy.xml,SR;AFIB,99,en,A", "flat.xml,XYZ,99,en,A", "1.xml,SR,1,en,A"]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "copy.xml").write_bytes(writers.muse(writers.ecg()))
    flat = writers.ecg()
    flat[7] = 0
    (folder / "flat.xml").write_bytes(writers.muse(flat))
    seen: dict[str, list[object]] = {}
    for extra in (["files=false"], []):
        _run(folder, "data.table=t.csv", "out=out", *extra)
        for path, value in _paths(json.loads((folder / "out/check.json").read_text())):
            seen.setdefault(path, []).append(value)
    declared = {field.path: field for field in reference.CHECK_FIELDS}
    never = {"files.missing_leads.<value>"}  # each of these files has all leads
    assert set(seen) == set(declared) - never
    for path, values in seen.items():
        allowed = tuple(TYPES[name] for name in declared[path].type.split(" or "))
        assert all(isinstance(value, allowed) for value in values), path
    assert "same ECG" in (folder / "out/check.html").read_text()
