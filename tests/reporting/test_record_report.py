"""Record reports contain findings, marks, measurements and warnings of a prediction."""

import dataclasses

import numpy as np
import pytest
from helpers import FS, beats

from ecg_siglip.config import PredictConfig
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.prediction import Finding
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.identity import DeviceMeasurement, DeviceResults, Identity
from ecg_siglip.reporting.record_report import (
    RecordReport,
    at_samples,
    make_record_report,
    mark_strength,
)
from ecg_siglip.reporting.record_texts import as_recorded, operating_point
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


def test_findings_that_are_present_come_first_then_the_likeliest_others(example):
    (reported, present), (listed, none), (other, likeliest) = example.groups()
    assert (reported, other) == ("Reported", "Not reported")
    assert (listed, none) == ("Not reported, but not excluded", [])
    assert [f.code for f in present[:2]] == ["C29", "C28"]
    assert all(f.present for f in present) and len(present) == 10
    assert [f.code for f in likeliest] == ["C19", "C18"]


def test_all_that_is_present_or_not_excluded_is_shown(example):
    many = [Finding(f"P{i}", "present", 0.9, 0.5, True) for i in range(20)]
    many += [Finding(f"N{i}", "listed", 0.1, 0.5, False, not_excluded=True) for i in range(7)]
    report = RecordReport("r", example.signal, 100.0, [*example.findings, *many])
    groups = {title: len(findings) for title, findings in report.groups()}
    assert groups == {"Reported": 30, "Not reported, but not excluded": 7}


def test_what_is_not_excluded_is_in_the_order_of_its_probability(example):
    def listed(code, probability):
        return Finding(code, code, probability, 0.9, False, not_excluded=True)

    findings = [listed("A", 0.01), listed("B", 0.07), listed("C", 0.3), listed("D", 0.02)]
    findings += [listed("E", 0.03)]
    report = dataclasses.replace(example, findings=findings, critical=["A", "B", "D"])
    assert [f.code for f in report.not_excluded()] == ["C", "B", "E"]
    expected = "Time-critical and very unlikely, not excluded: D (D) 2 %, A (A) 1 %"
    assert report.unlikely_critical_text() == expected


def test_marks_are_where_the_attribution_is_positive():
    attribution = np.zeros((12, 1000))
    attribution[3, 200:220], attribution[4, 200:220] = 1.0, -1.0
    marks = mark_strength(attribution, 100)
    assert marks.shape == (12, 1000)
    assert 0.5 < marks[3, 210] <= 1
    assert not marks[4].any()
    assert not marks[3, :180].any()
    assert not mark_strength(np.zeros((12, 1000)), 100).any()


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


def test_a_report_is_titled_by_the_name_of_the_record_without_its_folders(example):
    assert example.title == "00001_lr"
    assert dataclasses.replace(example, record="upload.xml").title == "upload.xml"


def test_the_operating_point_is_described_by_what_it_reached_or_aims_at():
    assert operating_point("precision_0.8") == (
        "Confirm (aims to be right in 80 % of the reported findings)"
    )
    compromise = "thresholds chosen per finding as a compromise between missed and false findings"
    assert operating_point("expected_f1") == f"Balanced ({compromise})"
    scores = {"expected_f1/micro_sensitivity": 0.714, "expected_f1/micro_precision": 0.6}
    reached = operating_point("expected_f1", "en", scores)
    assert "finds 71 % of the findings, and 60 % of those reported are right" in reached
    assert "71 % der Befunde" in operating_point("expected_f1", "de", scores)


def test_the_filters_of_the_device_are_stated_with_the_signal():
    assert as_recorded(Identity()) == "as recorded"
    text = as_recorded(Identity(high_pass="0.05 Hz", notch="50 Hz"))
    assert text == "as recorded, filtered by the device: high-pass 0.05 Hz, notch 50 Hz"


def test_marks_are_at_the_same_time_at_another_rate():
    marks = np.zeros((12, 1000))
    marks[2, 500] = 1.0  # at 5 s
    moved = at_samples(marks, 100.0, np.zeros((12, 4000)), 500.0)
    assert moved.shape == (12, 4000) and moved[2].argmax() == 2500 and not moved[3].any()


def test_measurements_of_the_device_are_next_to_ours_and_never_in_their_place(example):
    device = DeviceResults(
        (DeviceMeasurement("pr", 150.0, "ms"), DeviceMeasurement("rr", 1e3, "ms"))
    )
    report = dataclasses.replace(
        example, device=device, measurements=measure_ecg(beats(), FS, LEADS)
    )
    rows = {row.name: row for row in report.measured()}
    assert (rows["PR"].value, rows["PR"].device) == ("not measurable", "150 ms")
    assert (rows["RR"].value, rows["RR"].device) == ("", "1000 ms")
    only = dataclasses.replace(report, measurements=None).measured()
    assert [row.device for row in only] == ["150 ms", "1000 ms"]


def test_a_reason_is_given_once_for_the_measurements_in_a_row_that_share_it(example):
    measured = measure_ecg(np.zeros((12, 10 * FS)), FS, LEADS)
    rows = dataclasses.replace(example, measurements=measured).measured()
    reasons = [row.reason for row in rows]
    assert len(set(reasons)) == 2 and reasons[1:] == ["as above"] * (len(rows) - 1)


def test_amplitudes_are_of_r_of_the_deeper_of_q_and_s_and_of_st(example):
    report = dataclasses.replace(example, measurements=measure_ecg(beats(), FS, LEADS))
    assert [name for name, _ in report.measured_leads()] == ["R", "Q/S", "ST at J + 60 ms"]
