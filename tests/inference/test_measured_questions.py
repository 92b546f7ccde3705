"""Comparisons of measurements with limits, and their sentences."""

import pytest

from ecg_siglip.inference.measured_questions import measured_question
from ecg_siglip.signals.measurements import UNITS, Measurement, Measurements
from ecg_siglip.vocabulary.measurement_questions import measurement_queries
from ecg_siglip.vocabulary.plain_text import question_language


def measured(**values):
    """Return measurements with some values, and a spread of 3."""
    single = {
        name: Measurement(values[name], unit, 3.0)
        if name in values
        else Measurement(None, unit, reason="no reason")
        for name, unit in UNITS.items()
    }
    st = {lead: Measurement(value, "mV", 0.01) for lead, value in values.get("st", {}).items()}
    return Measurements(**single, st=st)


def outcome(question, **values):
    language = question_language(question, "en")
    (query,) = measurement_queries(question, language)
    result = measured_question(query, measured(**values))
    return result, result.text(language)


@pytest.mark.parametrize(
    ("question", "values", "expected"),
    [
        ("QRS > 120 ms?", {"qrs": 130.0}, "yes"),
        ("QRS > 120 ms?", {"qrs": 120.0}, "no"),
        ("wide QRS?", {"qrs": 120.0}, "yes"),
        ("Is the PR normal?", {"pr": 160.0}, "yes"),
        ("Is the PR normal?", {"pr": 230.0}, "no"),
        ("QTc prolonged?", {"qtc_bazett": 430.0, "qtc_fridericia": 420.0}, "no"),
        ("QTc prolonged?", {"qtc_bazett": 480.0, "qtc_fridericia": 470.0}, "yes"),
        # Men, not women; one formula, not the other.
        ("QTc prolonged?", {"qtc_bazett": 455.0, "qtc_fridericia": 455.0}, "unclear"),
        ("QTc prolonged?", {"qtc_bazett": 480.0, "qtc_fridericia": 430.0}, "unclear"),
        ("is the QTc normal?", {"qtc_bazett": 480.0, "qtc_fridericia": 430.0}, "unclear"),
        ("QT prolonged?", {"qt": 500.0, "qtc_bazett": 480.0, "qtc_fridericia": 470.0}, "yes"),
        ("QT > 400 ms?", {"qt": 390.0, "qtc_bazett": 480.0, "qtc_fridericia": 470.0}, "no"),
        ("ST elevation > 1 mm?", {"st": {"V1": 0.02, "V2": 0.2}}, "yes"),
        ("ST depression > 1 mm in V1?", {"st": {"V1": -0.02, "V2": -0.2}}, "no"),
        ("QRS > 120 ms?", {}, None),
        ("How long is the QRS?", {"qrs": 130.0}, None),
    ],
)
def test_a_value_is_compared_with_the_limits(question, values, expected):
    result, _ = outcome(question, **values)
    assert result.result == expected
    assert result.to_dict("en").get("result", None) == expected


def test_a_limit_within_the_spread_is_pointed_out():
    assert outcome("QRS > 120 ms?", qrs=118.0)[0].is_close
    assert not outcome("QRS > 120 ms?", qrs=112.0)[0].is_close
    assert "within the spread" in outcome("QRS > 120 ms?", qrs=118.0)[1]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("is the heart too fast?", "Heart rate 80 1/min (± 3). Above 100 1/min (usual limit"),
        ("Ist das Herz zu schnell?", "Herzfrequenz 80 1/min (± 3). Über 100 1/min (üblicher"),
        ("脈拍は速いですか", "心拍数 80 1/min (± 3). 100 1/minを超える (成人の一般的な基準値"),
        ("How long is the QRS?", "QRS duration: not measurable (no reason)."),
        ("ST in V4 in mV?", "ST at J + 60 ms V4: not measurable (the lead is missing)."),
    ],
)
def test_the_sentence_is_in_the_language_of_the_question(question, text):
    assert outcome(question, rate=80.0)[1].startswith(text)


def test_the_json_has_value_unit_and_spread_or_reason():
    content = outcome("axis?", qrs_axis=12.0)[0].to_dict("de")
    (row,) = content["values"]
    assert row["measurement"] == "qrs_axis" and row["name"] == "QRS-Achse"
    assert (row["value"], row["unit"], row["spread"]) == (12, "degrees", 3.0)
    assert "limits" not in content
    limits = outcome("is the axis normal?")[0].to_dict("en")["limits"]
    assert [limit["operator"] for limit in limits] == [">", "<"]
    assert all(limit["source"] and limit["unit"] == "degrees" for limit in limits)
