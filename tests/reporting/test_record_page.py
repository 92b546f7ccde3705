"""Printed pages are A4 with the ECG at its true size; nothing is lost, cut off or broken."""

import dataclasses

import numpy as np
import pytest

from ecg_siglip.inference.prediction import Finding
from ecg_siglip.reporting.record_page import Line, record_pages, text_width, wrapped
from ecg_siglip.reporting.record_report import RecordReport


@pytest.fixture
def example():
    signal = np.random.default_rng(0).normal(0, 0.5, (12, 5000))
    findings = [Finding("AFIB", "Atrial fibrillation", 0.7, 0.5, True)]
    return RecordReport("a/b/c", signal, 500.0, findings, content="as recorded")


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_the_ecg_has_its_true_size_on_a4_landscape(example):
    (page,) = record_pages(example, "model m")
    assert tuple(page.get_size_inches() * 25.4) == pytest.approx((297, 210))
    (ax,) = page.axes
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 297), (0, 210))
    rhythm = max((line for line in ax.lines if line.get_gid() == "lead-II"), key=_width)
    assert _width(rhythm) == pytest.approx(250, abs=0.1)
    v6 = next(line for line in ax.lines if line.get_gid() == "lead-V6")
    expected = 10 * np.ptp(example.signal[11, 3750:5000])
    assert np.ptp(v6.get_ydata()) == pytest.approx(expected)
    assert "25 mm/s, 10 mm/mV, 500 Hz, as recorded" in texts(page)


def _width(line):
    return np.ptp(line.get_xdata())


def test_all_findings_are_printed_on_as_many_pages_as_they_need(example):
    many = [Finding(f"C{i}", "some finding " * 4, 0.7, 0.5, True) for i in range(70)]
    many += [Finding(f"N{i}", "other", 0.1, 0.5, False, not_excluded=True) for i in range(40)]
    report = dataclasses.replace(
        example, findings=many, not_assessable=["Posterior infarction"], warnings=["noise in V1"]
    )
    pages = record_pages(report, "model m")
    written = "\n".join(text for page in pages for text in texts(page))
    assert len(pages) > 1
    first, second = texts(pages[0]), texts(pages[1])
    assert first.count("continued on page 2") == 2
    assert "Not assessable in these leads: 1 findings, listed from page 2 on" in written
    for title in ("Reported (at or above", "Not reported, but not excluded"):
        assert any(each.startswith(title) and "(continued)" in each for each in second), title
    for finding in many:
        assert f"({finding.code}):" in written, finding.code
    for text in ("Posterior infarction", "Warning: noise in V1", f"1 / {len(pages)}"):
        assert text in written, text
    assert written.count("For research, not for diagnosis") == len(pages)
    for page in pages:
        assert min(text.get_position()[1] for text in page.axes[-1].texts) > 5


def test_words_and_alternatives_are_printed_with_the_probability(example):
    findings = [
        Finding("CRBBB", "Complete block", 0.7, 0.5, True),
        Finding("IRBBB", "Incomplete block", 0.4, 0.2, False, alternative_to="CRBBB"),
        Finding("RARE", "Rare finding", 0.132, 0.12, True),
        Finding("3AVB", "Third degree AV block", 0.02, 0.5, False, not_excluded=True),
    ]
    report = dataclasses.replace(example, findings=findings, critical=["3AVB"])
    written = texts(record_pages(report, "model m")[0])
    for text in (
        "Reported (at or above the threshold of the finding)",
        "Complete block (CRBBB): likely, 70 %",
        "Rare finding (RARE): unlikely, 13 % (reported from 12 %)",
        "Not reported, but not excluded: none",
        "or Incomplete block (IRBBB): possible, 40 %",
        "Time-critical and very unlikely, not excluded: Third degree AV block (3AVB) 2 %",
    ):
        assert text in written, text
    nothing = dataclasses.replace(example, findings=[])
    assert "None of the findings is reported" in texts(record_pages(nothing, "model m")[0])


@pytest.mark.parametrize("text", ["leads exchanged, 7 % " * 30, "心房細動（所見01）、" * 60])
def test_a_long_line_is_broken_to_fit_and_keeps_all_of_its_letters(text):
    parts = wrapped(Line(text, indent=4.0), 100.0)
    assert len(parts) > 2
    assert all(text_width(part.text) <= 100.5 - part.indent for part in parts)
    assert "".join(part.text for part in parts).replace(" ", "") == text.replace(" ", "")
    assert not any(part.text.startswith(("%", "、", "）")) for part in parts)


def test_the_end_of_a_long_name_is_shown(example):
    written = texts(record_pages(dataclasses.replace(example, record="x" * 300 + "end"), "m")[0])
    title = next(text for text in written if text.endswith("end"))
    assert title.startswith("…") and text_width(title, 13, True) < 220


def test_a_model_of_simulated_ecgs_has_a_banner_on_each_page(example):
    report = dataclasses.replace(example, model_simulated=True, marks={"AFIB": 0 * example.signal})
    pages = record_pages(report, "m")
    assert len(pages) == 2
    for page in pages:
        assert "Trained on simulated ECGs: not for real ones" in texts(page)


def test_findings_beyond_the_first_column_go_on_in_the_second_if_they_fit(example):
    many = [Finding(f"C{i}", "some finding", 0.7, 0.5, True) for i in range(22)]
    written = texts(*record_pages(dataclasses.replace(example, findings=many), "m"))
    title = "Reported (at or above the threshold of the finding)"
    assert written.count(title) == written.count(f"{title} (continued)") == 1
    assert "Not reported, but not excluded: none" in written


def test_no_finding_is_divided_between_columns_or_pages(example):
    many = [Finding(f"C{i}", f"n{i} " + "some finding " * 6, 0.7, 0.5, True) for i in range(70)]
    for n in (11, 12, 70):
        pages = record_pages(dataclasses.replace(example, findings=many[:n]), "m")
        for page in pages:
            written = texts(page)
            for i, text in enumerate(written):
                if text.startswith("n") and "some" in text:
                    assert written[i + 1].startswith(("some", "finding", "(C")), written[i : i + 2]
