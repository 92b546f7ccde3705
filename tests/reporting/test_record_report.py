"""Record reports show findings, marks and warnings; they are written completely or not at all."""

import dataclasses
import re
import time

import numpy as np
import pytest
from helpers import FS, beats

from ecg_siglip.config import PredictConfig
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.prediction import Finding
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.reporting.record_report import (
    N_SHOWN,
    RecordReport,
    make_record_report,
    mark_strength,
)
from ecg_siglip.reporting.report_files import write_record_reports
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.measurements import measure_ecg


@pytest.fixture
def example():
    signal = np.random.default_rng(0).normal(0, 0.2, (12, 1000))
    marks = np.zeros((12, 1000))
    marks[6, 500:600] = 1.0
    findings = [Finding(f"C{i}", f"finding <{i}>", i / 40, 0.5, i / 40 >= 0.5) for i in range(30)]
    return RecordReport(
        "a/00001_lr", signal, 100.0, findings, ["noise in V3 (0.1 mV)"], {"C29": marks}
    )


def test_the_page_has_all_parts_and_no_external_ones(example, tmp_path):
    write_record_reports(
        tmp_path / "deep" / "out.html", [example, example], "r1 (0.2.0)", "expected_f1"
    )
    page = (tmp_path / "deep" / "out.html").read_text("utf-8")
    assert page.count("<h1>00001_lr</h1>") == 2
    assert page.count('class="bar present"') == 2 * 10
    assert page.count('class="bar') == 2 * N_SHOWN
    for text in ("noise in V3", "r1 (0.2.0)", "Samples that support", "not for diagnosis", "72 %"):
        assert text in page, text
    assert "finding &lt;29&gt;" in page, "names are text, not markup"
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page


def test_measurements_are_shown_with_their_spread_or_reason(example, tmp_path):
    measured = measure_ecg(beats(), FS, LEADS)
    report = dataclasses.replace(example, measurements=measured)
    write_record_reports(tmp_path / "out.html", [report], "r1 (0.2.0)", "expected_f1")
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "<h2>Measurements</h2>" in page and "QTc (Fridericia)" in page
    assert "60 ± 0/min" in page
    assert measured.pr.value is None and measured.pr.reason in page
    assert page.count('<th scope="col">V6</th>') == 1
    line = report.measurement_texts()
    assert line[:2] == ["Heart rate 60/min", "PR –"]
    write_record_reports(tmp_path / "out.pdf", [report], "r1 (0.2.0)", "expected_f1")


def test_a_report_without_measurements_has_no_table_of_them(example, tmp_path):
    write_record_reports(tmp_path / "out.html", [example], "r1 (0.2.0)", "expected_f1")
    assert "<h2>Measurements</h2>" not in (tmp_path / "out.html").read_text("utf-8")


def test_findings_that_are_present_come_first_then_the_likeliest_others(example):
    (reported, present), (other, likeliest) = example.groups()
    assert (reported, other) == ("Reported", "Not reported")
    assert [f.code for f in present[:2]] == ["C29", "C28"]
    assert all(f.present for f in present) and len(present) == 10
    assert [f.code for f in likeliest] == ["C19", "C18"]


def test_all_that_is_present_or_not_excluded_is_shown(example):
    many = [Finding(f"P{i}", "present", 0.9, 0.5, True) for i in range(20)]
    many += [Finding(f"N{i}", "listed", 0.1, 0.5, False, not_excluded=True) for i in range(7)]
    report = RecordReport("r", example.signal, 100.0, [*example.findings, *many])
    groups = {title: len(findings) for title, findings in report.groups()}
    assert groups == {"Reported": 30, "Not reported, but not excluded": 7}


def test_word_and_report_are_two_things_and_no_probability_is_zero(example, tmp_path):
    """What is reported at a low threshold is very unlikely all the same."""
    findings = [
        Finding("A", "Third degree AV block", 0.002, 0.001, True),
        Finding("B", "Incomplete block", 0.4, 0.2, False, alternative_to="C"),
        Finding("C", "Complete block", 0.7, 0.5, True),
        Finding("D", "Long QT interval", 0.02, 0.5, False, not_excluded=True),
        Finding("E", "Sinus rhythm", 0.1, 0.5, False, not_excluded=True),
    ]
    report = dataclasses.replace(example, findings=findings, marks={}, critical=["A", "D"])
    write_record_reports(tmp_path / "out.html", [report], "m", "sensitivity_0.9")
    page = (tmp_path / "out.html").read_text("utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main>")[2]).split())
    for part in (
        "Third degree AV block A very unlikely &lt; 1 %",
        "Complete block C likely 70 % or Incomplete block B , possible 40 %",
        "Not reported, but not excluded Long QT interval D time-critical very unlikely 2 %",
        "Sinus rhythm E unlikely 10 %",
    ):
        assert part in text, part
    assert "0.00" not in text and text.count("time-critical") == 1


def test_a_record_name_is_not_read_as_a_formula(example, tmp_path):
    odd = dataclasses.replace(example, record="data/$x_{/a$")
    write_record_reports(tmp_path / "out.pdf", [odd], "m", "f1")
    assert (tmp_path / "out.pdf").stat().st_size > 1000


def test_a_pdf_has_a_page_for_the_record_and_for_each_attribution(example, tmp_path):
    write_record_reports(tmp_path / "out.pdf", [example], "r1 (0.2.0)", "expected_f1")
    content = (tmp_path / "out.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 2


@pytest.mark.parametrize("suffix", ["html", "pdf", "png"])
def test_the_same_records_give_the_same_bytes(example, tmp_path, suffix):
    example = dataclasses.replace(example, marks={}) if suffix == "png" else example
    contents = []
    for name in ("one", "two"):
        write_record_reports(tmp_path / f"{name}.{suffix}", [example], "r1 (0.2.0)", "expected_f1")
        contents.append((tmp_path / f"{name}.{suffix}").read_bytes())
        time.sleep(1.1)  # times in a PDF have seconds
    assert contents[0] == contents[1]


def test_only_html_and_pdf_are_written_and_no_partial_file(example, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"report=.*out\.doc: expected a name that ends in \.html"):
        write_record_reports(tmp_path / "out.doc", [example], "m", "f1")
    monkeypatch.setattr("ecg_siglip.reporting.report_files.inline_figure", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_record_reports(tmp_path / "out.html", [example], "m", "f1")
    assert list(tmp_path.iterdir()) == []


def test_marks_are_where_the_attribution_is_positive():
    attribution = np.zeros((12, 1000))
    attribution[3, 200:220], attribution[4, 200:220] = 1.0, -1.0
    marks = mark_strength(attribution, 100)
    assert marks.shape == (12, 1000)
    assert 0.5 < marks[3, 210] <= 1
    assert not marks[4].any()
    assert not marks[3, :180].any()
    assert not mark_strength(np.zeros((12, 1000)), 100).any()


def test_findings_not_assessable_and_similar_ecgs_are_listed(tmp_path):
    report = RecordReport(
        "r1",
        np.ones((12, 1000)),
        100.0,
        [],
        not_assessable=["Anterior infarction"],
        similar=["7: AFIB"],
    )
    write_record_reports(tmp_path / "report.html", [report], "m", "f1")
    page = (tmp_path / "report.html").read_text()
    assert (
        "Not assessable in these leads, neither present nor absent</b>: Anterior infarction" in page
    )
    assert "<li>7: AFIB</li>" in page
    plain = RecordReport("r1", np.ones((12, 1000)), 100.0, [])
    write_record_reports(tmp_path / "plain.html", [plain], "m", "f1")
    assert "Not assessable" not in (tmp_path / "plain.html").read_text()
    assert "Most similar" not in (tmp_path / "plain.html").read_text()


def test_a_long_record_shows_when_its_findings_are_present(example, tmp_path):
    report = dataclasses.replace(
        example, note="window 2 of 6", duration_s=60.0, spans={"C29": [(0.0, 10.0), (30.0, 35.0)]}
    )
    assert report.share("C29") == "25%"
    write_record_reports(tmp_path / "report.html", [report], "m", "f1")
    page = (tmp_path / "report.html").read_text()
    assert "<h2>When</h2>" in page and "window 2 of 6" in page
    assert page.count('class="span"') == 2
    assert "left: 50.00%; width: 8.33%" in page


def test_the_report_of_a_prediction_has_its_findings_and_attributions(trained, simulated):
    pytest.importorskip("captum", reason="needs the extra [explain]")
    predictor = Predictor.load(trained / "model", "cpu")
    path = sorted((simulated / "records100").rglob("*.hea"))[0].with_suffix("")
    (prediction,) = predict_records(predictor, [path], PredictConfig())
    first, *others = prediction.findings
    findings = [dataclasses.replace(first, assessable=False), *others]
    prediction = dataclasses.replace(prediction, findings=findings)
    code = others[0].code
    report = make_record_report(predictor, prediction, [code])
    assert report.record == prediction.record
    assert report.signal.shape == (12, 1000) and np.abs(report.signal).max() < 30  # mV
    assert report.not_assessable == [first.name]
    assert [finding.code for finding in report.findings] == [finding.code for finding in others]
    assert set(report.marks) == {code} and report.marks[code].shape == (12, 1000)
    assert report.note == "" and not report.spans


def test_reports_of_a_model_of_simulated_ecgs_carry_a_red_notice(example, tmp_path):
    simulated = dataclasses.replace(example, model_simulated=True)
    for name, report, n in (("real", example, 0), ("simulated", simulated, 1)):
        write_record_reports(tmp_path / f"{name}.html", [report], "r1 (0.2.0)", "expected_f1")
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        assert page.count('class="simulated" role="alert"') == n
        assert page.count("Trained on simulated ECGs: not for real ones") == n
    write_record_reports(tmp_path / "simulated.pdf", [simulated], "r1 (0.2.0)", "expected_f1")
