"""Predictions as JSON: findings by probability, and what was made of each question."""

import json

import numpy as np

from ecg_siglip.inference.prediction import Finding, Prediction, QuestionResult, SimilarRecord
from ecg_siglip.vocabulary.question_matching import Match

FINDINGS = [
    Finding("SR", "Sinus rhythm", 0.71, 0.5, True),
    Finding("LVH", "Left ventricular hypertrophy", 0.12345678, 0.3, False, not_excluded=True),
    Finding("AFIB", "Atrial fibrillation", 0.97, 0.5, True),
    Finding("AMI", "Anterior myocardial infarction", 0.4, 0.2, False, assessable=False),
    Finding("AFLT", "Atrial flutter", 0.3, 0.2, False, alternative_to="AFIB"),
    Finding("SVTAC", "Supraventricular tachycardia", 0.4, 0.2, False, alternative_to="AFIB"),
]


def predicted(**changed):
    return Prediction("r", np.zeros((12, 1000), np.int16), FINDINGS, ["noise in V1"], **changed)


def question(matches=(), nearest=(), probability=0.5):
    match = {f.code: Match(f.code, f.name, 0.8765) for f in FINDINGS}
    return QuestionResult(
        "question?",
        tuple(match[code] for code in matches),
        tuple(match[code] for code in nearest),
        probability,
        (),
    )


def test_json_lists_present_findings_by_probability_and_all_probabilities():
    content = json.loads(predicted().to_json("model (0.1)"))
    assert [finding["code"] for finding in content["findings"]] == ["AFIB", "SR"]
    assert content["not_excluded"] == ["LVH"]
    assert content["not_assessable"] == ["AMI"]
    assert content["probabilities"] == {
        "SR": 0.71, "LVH": 0.123457, "AFIB": 0.97, "AMI": None, "AFLT": 0.3, "SVTAC": 0.4
    }  # fmt: skip
    assert (content["model"], content["warnings"]) == ("model (0.1)", ["noise in V1"])
    assert not {"similar", "questions", "windows"} & set(content)


def test_json_has_the_word_of_each_finding_and_what_it_is_reported_in_place_of():
    afib, sr = json.loads(predicted().to_json("m"))["findings"]
    assert (afib["likelihood"], sr["likelihood"]) == ("very likely", "likely")
    assert [other["code"] for other in afib["alternatives"]] == ["SVTAC", "AFLT"]
    assert afib["alternatives"][0] == {
        "code": "SVTAC",
        "name": "Supraventricular tachycardia",
        "probability": 0.4,
        "likelihood": "possible",
    }
    assert "alternatives" not in sr


def test_json_adds_similar_records_and_novelty():
    similar = [SimilarRecord(7, 0.99, ["SR"], "ward/7.xml")]
    content = json.loads(predicted(similar=similar, novelty=0.123456).to_json("m"))
    assert content["similar"] == [
        {"ecg_id": 7, "cosine": 0.99, "findings": ["SR"], "record": "ward/7.xml"}
    ]
    assert content["novelty"] == 0.1235


def test_json_of_a_question_has_the_predictions_of_its_matches():
    result = question(matches=["AFIB", "AMI"], nearest=["AFIB"], probability=0.12345678)
    (row,) = json.loads(predicted(questions=[result]).to_json("m"))["questions"]
    assert [match["code"] for match in row["matches"]] == ["AFIB", "AMI"]
    assert [match["probability"] for match in row["matches"]] == [0.97, None]
    assert [match["present"] for match in row["matches"]] == [True, False]
    assert [match["likelihood"] for match in row["matches"]] == ["very likely", None]
    assert row["matches"][0]["closeness"] == 0.876
    assert row["uncalibrated"] == 0.123457


def test_a_question_is_misread_if_the_nearest_prompt_is_of_another_finding():
    assert question(matches=["AFIB"], nearest=["SR", "AFIB"]).misread
    assert not question(matches=["AFIB", "SR"], nearest=["SR"]).misread
    assert not question(matches=["AFIB"]).misread, "a model without text reads nothing"
    assert question(nearest=["SR"]).no_match
    assert not question(matches=["SR"]).no_match
