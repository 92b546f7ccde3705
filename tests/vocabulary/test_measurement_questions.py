"""Questions about measurements: which one, and the limit that is stated or usual."""

import pytest

from ecg_siglip.signals.measurements import NAMES, PER_LEAD, UNITS
from ecg_siglip.vocabulary import ptbxl
from ecg_siglip.vocabulary.measurement_questions import (
    Limit,
    _terms,
    measurement_queries,
    measurement_words,
)
from ecg_siglip.vocabulary.plain_text import question_language


def queries(question):
    return measurement_queries(question, question_language(question, "en"))


def one(question):
    (query,) = queries(question)
    return query


def test_the_table_names_measurements_findings_and_sources_that_exist():
    terms = _terms()
    for measure, row in terms["measurements"].items():
        names = row.get("values", [measure])
        assert set(names) <= {*UNITS, *PER_LEAD} <= set(NAMES)
        for kind in ("high", "low"):
            assert {str(code) for code in row.get(f"{kind}_findings", ())} <= {*ptbxl().by_code}
            for limit in row.get(f"{kind}_limits", ()):
                assert limit["unit"] == UNITS[names[0]] and limit["source"] in terms["sources"]
                assert limit["operator"].startswith(">" if kind == "high" else "<")
    assert "herzfrequenz" in measurement_words()


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("what is the heart rate?", "rate"),
        ("Wie lang ist die QT-Zeit?", "qt"),
        ("PR間隔は?", "pr"),
        ("axis?", "qrs_axis"),
        ("T wave axis?", "t_axis"),
        ("How long is the QRS?", "qrs"),
        ("Herzfrequenzvariabilität?", "rr_sd"),
    ],
)
def test_a_question_for_a_value_has_no_limit(question, name):
    query = one(question)
    assert query.names[0] == name and not query.limits and not query.comparison


@pytest.mark.parametrize(
    ("question", "operator", "value"),
    [
        *(("QRS > 120 ms?", ">", 120), ("QRS wider than 0.12 s?", ">", 120)),
        *(("QRS mindestens 0,12 Sekunden?", ">=", 120), ("QRS幅は120ms以上ですか", ">=", 120)),
        *(("heart rate above 100?", ">", 100), ("heart rate at most 60/min", "<=", 60)),
        *(("HF unter 50?", "<", 50), ("心拍数は50未満ですか", "<", 50)),
        *(
            ("PR > 0.2?", ">", 200),
            ("axis < -30°?", "<", -30),
            ("QTcは500より長いですか", ">", 500),
        ),
        *(("ST elevation in V2 > 1 mm?", ">", 0.1), ("ST depression in V5 > 0.1 mV?", "<", -0.1)),
        ("ST elevation above 2 in V3?", ">", 0.2),
    ],
)
def test_a_stated_limit_is_converted_to_the_unit_of_the_measurement(question, operator, value):
    query = one(question)
    assert query.limits == (Limit(operator, value),) and query.comparison == "beyond"


@pytest.mark.parametrize(
    ("question", "limits"),
    [
        ("is the QTc prolonged?", [(">=", 450, "men"), (">=", 460, "women")]),
        ("Ist die QT-Zeit verlängert?", [(">=", 450, "men"), (">=", 460, "women")]),
        ("PR間隔は延長していますか", [(">", 200, "")]),
        ("is the heart too slow?", [("<", 60, "")]),
        ("left axis deviation?", [("<", -30, "")]),
        ("überdrehter Linkstyp?", [("<", -30, "")]),
        ("wide QRS?", [(">=", 120, "")]),
    ],
)
def test_without_a_stated_limit_it_is_the_usual_one_with_its_source(question, limits):
    query = one(question)
    assert [(limit.operator, limit.value, limit.who) for limit in query.limits] == limits
    assert all("HRS" in limit.source for limit in query.limits)


@pytest.mark.parametrize(
    ("question", "low", "high"),
    [
        ("Is the PR between 120 and 200 ms?", 120, 200),
        ("rate from 60 to 100?", 60, 100),
        ("心拍数は60から100ですか", 60, 100),
        ("Is the PR interval normal?", 120, 200),
    ],
)
def test_a_range_is_within_two_limits(question, low, high):
    query = one(question)
    assert query.comparison == "within"
    assert {limit.operator[0]: limit.value for limit in query.limits} == {"<": low, ">": high}


def test_several_measurements_in_one_question():
    assert [query.names[0] for query in queries("What are PR, QRS and QT?")] == ["pr", "qrs", "qt"]
    pr, qrs = queries("PR above 200 and QRS above 120?")
    assert (pr.limits[0].value, qrs.limits[0].value) == (200, 120)
    assert all(query.limits for query in queries("Is the PR or the QT prolonged?"))


def test_a_limit_in_another_unit_is_not_compared():
    assert not one("QRS > 100 mV?").limits


@pytest.mark.parametrize(
    ("question", "leads"),
    [
        ("ST elevation in V2 in mV?", ("V2",)),
        ("R wave in V1-V3?", ("V1", "V2", "V3")),
        ("V5のR波の高さは？", ("V5",)),
        ("S in aVL?", ("aVL",)),
        ("R-Zacke in Ableitung I?", ("I",)),
        ("R wave amplitude?", ()),
    ],
)
def test_amplitudes_are_those_of_the_named_leads(question, leads):
    assert one(question).leads == leads


@pytest.mark.parametrize(
    "question",
    [
        *("nonspecific ST elevation", "heart attack?", "complete heart block?", "pizza"),
        *("What is the respiratory rate?", "Herzinsuffizienz?", "呼吸数は？", "T wave inversion"),
        *("poor R wave progression", "I. Grades AV-Block", "PR depression", "QT dispersion"),
    ],
)
def test_questions_about_something_else_are_about_no_measurement(question):
    assert queries(question) == ()
