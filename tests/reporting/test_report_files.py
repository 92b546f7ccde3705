"""Files of record reports: one HTML page, the same PDF each time, never half a file."""

import dataclasses
import re
import time

import numpy as np
import pytest
from helpers import FS, beats

from ecg_siglip.core.translation import LANGUAGE_NAMES
from ecg_siglip.inference.prediction import Finding
from ecg_siglip.readers.identity import DeviceMeasurement, DeviceResults, Identity
from ecg_siglip.reporting import report_files
from ecg_siglip.reporting.fonts import font_family
from ecg_siglip.reporting.record_report import N_SHOWN, RecordReport
from ecg_siglip.reporting.report_files import check_report_path, write_record_reports
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
    assert "60 ± 1/min" in page
    assert measured.pr.value is None and measured.pr.reason in page
    assert page.count('<th scope="col">V6</th>') == 1
    line = report.measurement_texts()
    assert line[:2] == ["Heart rate 60/min", "PR –"]
    write_record_reports(tmp_path / "out.pdf", [report], "r1 (0.2.0)", "expected_f1")


def test_a_report_without_measurements_has_no_table_of_them(example, tmp_path):
    write_record_reports(tmp_path / "out.html", [example], "r1 (0.2.0)", "expected_f1")
    assert "<h2>Measurements</h2>" not in (tmp_path / "out.html").read_text("utf-8")


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
        "Not reported, but not excluded Sinus rhythm E unlikely 10 %",
        "Time-critical and very unlikely, not excluded: Long QT interval (D) 2 %",
    ):
        assert part in text, part
    assert "0.00" not in text and "time-critical" not in text


def test_a_record_name_is_not_read_as_a_formula(example, tmp_path):
    odd = dataclasses.replace(example, record="data/$x_{/a$")
    write_record_reports(tmp_path / "out.pdf", [odd], "m", "f1")
    assert (tmp_path / "out.pdf").stat().st_size > 1000


def test_a_pdf_has_a_page_for_the_record_and_for_each_attribution(example, tmp_path):
    write_record_reports(tmp_path / "out.pdf", [example], "r1 (0.2.0)", "expected_f1")
    content = (tmp_path / "out.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 2


def test_only_html_and_pdf_are_written_and_no_partial_file(example, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"report=.*out\.doc: expected a name that ends in \.html"):
        write_record_reports(tmp_path / "out.doc", [example], "m", "f1")
    monkeypatch.setattr("ecg_siglip.reporting.report_files.inline_figure", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_record_reports(tmp_path / "out.html", [example], "m", "f1")
    assert list(tmp_path.iterdir()) == []


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


def test_the_same_reports_give_the_same_pdf_with_the_record_as_title(example, tmp_path):
    for name in ("one.pdf", "two.pdf"):
        write_record_reports(tmp_path / name, [example, example], "m", "expected_f1")
    content = (tmp_path / "one.pdf").read_bytes()
    assert content == (tmp_path / "two.pdf").read_bytes()
    assert b"CreationDate" not in content and b"(00001_lr, 00001_lr)" in content
    assert b"/a/00001_lr" not in content, "no path as title"
    # A4 landscape in points, and fonts that are in the file.
    sizes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[(.+?)\]", content)}
    assert [round(size / 72 * 25.4) for size in sizes.pop()] == [0, 0, 297, 210] and not sizes
    assert b"/FontDescriptor" in content


def test_the_page_has_both_layouts_and_a_focus_that_is_seen(example, tmp_path):
    write_record_reports(tmp_path / "out.html", [example], "m", "expected_f1")
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count('<source media="screen and (max-width: 640px)" srcset="data:') == 2
    for text in (":focus-visible", "size: A4 landscape", "<title>00001_lr</title>"):
        assert text in page, text


def test_identity_device_and_origin_are_shown_apart_from_the_findings(example, tmp_path):
    report = dataclasses.replace(
        example,
        identity=Identity(recorded_at="2024-01-31T09:59:30", model="MAC 55", age="56 years"),
        device=DeviceResults(
            (DeviceMeasurement("pr", 150.0, "ms"), DeviceMeasurement("qtc", 431.0, "ms")),
            ("Sinus rhythm <old>",),
        ),
        measurements=measure_ecg(beats(), FS, LEADS),
        model_simulated=True,
        language="de",
    )
    write_record_reports(tmp_path / "out.html", [report], "m", "expected_f1")
    page = (tmp_path / "out.html").read_text("utf-8")
    assert '<html lang="de">' in page
    for text in (
        "Aufgezeichnet: 2024-01-31 09:59:30",
        "Gerät: MAC 55",
        "Alter: 56 Jahre",
        "Mit simulierten EKGs trainiert: nicht für echte",
        "<td>150 ms</td>",
        "QTc, Formel nicht angegeben</th><td></td><td>431 ms</td>",
        "In der Datei vom Gerät angegeben; nicht von diesem Modell</h2>",
        "<li>Sinus rhythm &lt;old&gt;</li>",
    ):
        assert text in page, text
    assert "Befunde</h2>" in page and "Findings" not in page
    assert page.index("Befunde</h2>") < page.index("<li>Sinus rhythm") < page.index("EKG</h2>")
    write_record_reports(tmp_path / "out.pdf", [report], "m", "expected_f1")


def test_a_language_without_a_font_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(report_files, "font_family", lambda: ["DejaVu Sans"])
    with pytest.raises(ValueError, match=r"report=a\.pdf: no font with Japanese letters"):
        check_report_path("a.pdf", 1, "ja")
    for name, language in (("a.html", "ja"), ("a.pdf", "de")):
        check_report_path(name, 1, language)


@pytest.mark.parametrize("language", LANGUAGE_NAMES)
@pytest.mark.filterwarnings("error:Glyph")
def test_each_language_is_printed_with_all_of_its_letters(example, tmp_path, language):
    if language == "ja" and len(font_family()) == 1:
        pytest.skip("needs a font with Japanese letters")
    measured = measure_ecg(beats(), FS, LEADS)
    report = dataclasses.replace(example, measurements=measured, language=language)
    write_record_reports(tmp_path / "out.pdf", [report], "m", "expected_f1")
    write_record_reports(
        tmp_path / "out.png", [dataclasses.replace(report, marks={})], "m", "precision_0.8"
    )


@pytest.mark.parametrize("suffix", ["html", "pdf", "png"])
def test_the_same_records_give_the_same_bytes(example, tmp_path, suffix):
    example = dataclasses.replace(example, marks={}) if suffix == "png" else example
    contents = []
    for name in ("one", "two"):
        write_record_reports(tmp_path / f"{name}.{suffix}", [example], "r1 (0.2.0)", "expected_f1")
        contents.append((tmp_path / f"{name}.{suffix}").read_bytes())
        time.sleep(1.1)  # times in a PDF have seconds
    assert contents[0] == contents[1]
