"""Uploads lie under safe names, are answered by one thread, and leave no folder in an error."""

import csv
import io
import threading

import numpy as np
import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import UploadResult, records_among, safe_name, save_uploads, to_csv
from ecg_siglip.signals.leads import LEADS


@pytest.fixture
def desk(trained):
    desk = PredictionService(
        Predictor.load(trained / "model", "cpu"), config.AppConfig(max_waiting=2)
    )
    yield desk
    desk.close()


@pytest.fixture(scope="session")
def parts(simulated):
    """The two files of a record, by name."""
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    return {f"{path.name}{end}": path.with_suffix(end).read_bytes() for end in (".hea", ".dat")}


def uploaded(folder, files):
    folder.mkdir(exist_ok=True)
    save_uploads([(name, io.BytesIO(content)) for name, content in files.items()], folder)
    return folder


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\ecgs\\a b.csv", "a b.csv"),
        ("/abs/00001_lr.hea", "00001_lr.hea"),
        ("a\x00b<script>.csv", "a_b_script_.csv"),
        ("Müller_心電図.csv", "Müller_心電図.csv"),
    ],
)
def test_a_name_keeps_its_last_part_and_nothing_that_leads_elsewhere(given, kept, tmp_path):
    assert safe_name(given) == kept
    uploaded(tmp_path / "in", {given: b"x"})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert (tmp_path / "in" / kept).is_file()


@pytest.mark.parametrize("given", ["", "..", "/", "a/..", "...", "a" * 200 + ".csv"])
def test_a_name_that_is_none_is_refused(given):
    with pytest.raises(ValueError, match="name"):
        safe_name(given)


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"two files are named a\.csv"):
        save_uploads([("x/a.csv", io.BytesIO(b"1")), ("y/a.csv", io.BytesIO(b"2"))], tmp_path)


def test_the_parts_of_a_record_are_one_and_everything_else_is_one_by_itself(tmp_path, parts):
    header = next(content for name, content in parts.items() if name.endswith(".hea"))
    other = header.replace(next(iter(parts)).removesuffix(".hea").encode() + b".dat", b"sig.dat")
    files = parts | {"other.hea": other, "sig.dat": b"", "notes.txt": b"hello", "lone.dat": b"1"}
    found = records_among(uploaded(tmp_path / "in", files))
    name = next(iter(parts))
    assert {path.name for path in found} == {name, "other.hea", "notes.txt", "lone.dat"}


def test_it_answers_for_what_can_be_read_and_says_why_not_for_the_rest(desk, tmp_path, parts):
    bad = {"notes.txt": b"hello", "lone.hea": b"nothing", "no_rate.csv": b"I,II\n1,2\n"}
    folder = uploaded(tmp_path / "in", parts | bad)
    read = desk.submit(lambda: desk.read(folder, desk.knobs({}))).result()
    assert [answer.record for answer in read.answers] == [next(iter(parts)).removesuffix(".hea")]
    assert {record for record, _ in read.refused} == {"notes.txt", "lone", "no_rate.csv"}
    for _, error in read.refused:
        assert str(tmp_path) not in error and "\n" not in error
    assert "read.fs" in dict(read.refused)["no_rate.csv"]


def test_other_thresholds_decide_on_the_same_probabilities(desk, tmp_path, parts):
    folder = uploaded(tmp_path / "in", parts)
    (answer,) = desk.read(folder, desk.knobs({})).answers
    asked = desk.knobs({"operating_point": "screening"})
    (anew,) = desk.read(folder, asked).answers
    assert desk.decide(answer, asked).findings == anew.findings != answer.findings


def test_a_setting_out_of_its_range_is_named(desk):
    with pytest.raises(ValueError, match=r"read\.fs=1"):
        desk.knobs({"read.fs": 1.0})
    with pytest.raises(ValueError, match="operating_point=guess"):
        desk.knobs({"operating_point": "guess"})
    assert desk.knobs({"read.fs": None, "read.units": ""}) == desk.knobs({})


def test_one_thread_works_and_no_more_wait_than_may(desk):
    gate = threading.Event()
    waiting = [desk.submit(lambda: gate.wait(20) and threading.get_ident()) for _ in range(2)]
    assert desk.n_waiting == 2
    with pytest.raises(QueueFull, match="2 others are waiting"):
        desk.submit(lambda: None)
    gate.set()
    assert len({future.result(20) for future in waiting}) == 1
    assert desk.submit(lambda: "next").result(20) == "next"


def test_the_table_has_a_row_for_each_and_no_formula(desk, tmp_path, parts):
    folder = uploaded(tmp_path / "in", parts | {"=cmd.csv": b"hello", "plain.csv": b"hello"})
    read = desk.read(folder, desk.knobs({}))
    rows = list(csv.DictReader(io.StringIO(to_csv(read))))
    assert len(rows) == 3
    finding = read.answers[0].findings[0]
    written = float(rows[0][f"probability/{finding.code}"])
    assert written == pytest.approx(finding.probability, abs=1e-6)
    assert {row["record"] for row in rows[1:]} == {"'=cmd.csv", "plain.csv"}
    assert all(row["error"] for row in rows[1:])
    assert to_csv(UploadResult([], [("a", "no")])).startswith("record,")


def test_a_long_record_is_decided_anew_as_well(desk, tmp_path, simulated):
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    signal = np.tile(read_record(path).signal, 6).T
    lines = [",".join(LEADS), *(",".join(f"{v:.3f}" for v in row) for row in signal)]
    folder = uploaded(tmp_path / "in", {"long.csv": "\n".join(lines).encode()})
    given = {"read.fs": 100.0, "read.units": "mV"}
    (answer,) = desk.read(folder, desk.knobs(given)).answers
    assert answer.timeline.windows.n == 6
    asked = desk.knobs(given | {"operating_point": "screening"})
    (anew,) = desk.read(folder, asked).answers
    again = desk.decide(answer, asked)
    assert again.findings == anew.findings
    assert (again.timeline.present == anew.timeline.present).all()
    assert desk.sheet(again).spans
    assert desk.written(again, [], ".html", "sensitivity_0.9").count(b"When") == 1
