"""Questions to a model: matched findings, the score of the words, and notes for the reader."""

import json
import re

import numpy as np
import pytest
from helpers import TINY, configured

from ecg_siglip import config
from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.questions import interpret_question
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.measurements import measure_ecg
from ecg_siglip.vocabulary.question_matching import MAX_CHARACTERS


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def signal():
    return np.random.default_rng(0).integers(-900, 900, (12, 1000)).astype(np.int16)


def test_a_prompt_as_a_question_gets_the_probability_of_its_finding(predictor, signal):
    result = interpret_question(predictor, signal, predictor.artifact.prompts[7])
    raw = probabilities(predictor.artifact.model, predictor.text_FD, signal[None])[0, 7]
    assert result.probability == pytest.approx(raw, abs=1e-6)
    assert result.nearest_prompts[0].code == result.matches[0].code == predictor.artifact.codes[7]
    assert result.nearest_prompts[0].closeness == pytest.approx(1, abs=1e-5)
    assert not result.misread and not result.no_match


def test_notes_report_unknown_words_and_negations(predictor, signal):
    unknown = interpret_question(predictor, signal, "pizza")
    assert unknown.no_match and re.search("far from all", " ".join(unknown.notes))
    for words, note in (
        ("no atrial fibrillation", "not understood"),
        ("kein Vorhofflimmern", "nicht verstanden"),
        ("心房細動なし", "解釈されません"),
    ):
        result = interpret_question(predictor, signal, words)
        assert result.matches[0].code == "AFIB"
        assert note in result.notes[0]
    assert json.loads(json.dumps(unknown.to_dict()))["no_match"] is True


def test_a_term_that_the_vocabulary_lacks_is_named_with_the_nearest_findings(predictor, signal):
    result = interpret_question(predictor, signal, "Liegt ein STEMI vor?")
    (term,) = result.lacking
    assert result.matches == () and not result.no_match and result.language == "de"
    assert term.nearest[0].code == "STE_" and term.nearest[0].name in term.text
    assert "Das Vokabular dieses Modells hat keinen Befund für: ST-Hebungsinfarkt" in term.text
    assert "verwandt, nicht dasselbe" in term.text and result.notes == ()
    (row,) = json.loads(json.dumps(result.to_dict()))["lacking"]
    assert row["name"] == term.name and row["nearest"][0]["code"] == "STE_"


def test_measurements_are_given_with_the_findings_about_the_same(predictor, signal):
    measured = measure_ecg(signal / 1000, 100, LEADS)
    result = interpret_question(predictor, signal, "QTc延長はありますか", measured)
    assert result.language == "ja" and result.matches[0].code == "LNGQT"
    assert result.matches[0].name == predictor.artifact.vocabulary.names(["LNGQT"], "ja")[0]
    (query,) = result.measured
    assert [value.name for value in query.values] == ["qtc_bazett", "qtc_fridericia"]
    value = interpret_question(predictor, signal, "what is the heart rate?", measured)
    assert not value.no_match and {match.code for match in value.matches} >= {"STACH", "SBRAD"}


def test_without_measurements_or_of_a_part_a_note_states_it(predictor, signal):
    result = interpret_question(predictor, signal, "QRS > 120 ms?")
    assert result.measured == () and "measurements=false" in result.notes[0]
    measured = measure_ecg(signal / 1000, 100, LEADS)
    result = interpret_question(predictor, signal, "QRS > 120 ms?", measured, is_part=True)
    assert result.notes == ("Measured in the part of the record that is shown.",)


def test_a_held_out_finding_is_not_matched_to_a_similar_one(simulated, tmp_path, signal):
    from ecg_siglip.train import train

    base = {"run.name": "r", "run.root": str(tmp_path), "data.root": str(simulated)}
    base |= {"data.held_out": ["IMI"], "optim.n_epochs": 1, "data.n_workers": 1}
    train(configured(config.TrainConfig, TINY | base))
    predictor = Predictor.load(tmp_path / "r" / "model", "cpu")
    result = interpret_question(predictor, signal, "inferior infarction?")
    assert result.matches == () and result.probability is not None
    assert "Inferior myocardial infarction was held out of" in result.notes[0]
    other = interpret_question(predictor, signal, "anterior infarction?")
    assert other.matches[0].code == "AMI" and not other.notes


def test_a_model_without_text_still_matches_its_findings(simulated, tmp_path, signal):
    from ecg_siglip.train import train

    base = {"run.name": "none", "run.root": str(tmp_path), "data.root": str(simulated)}
    base |= {"text.name": "none", "optim.n_epochs": 1, "data.n_workers": 1}
    train(configured(config.TrainConfig, TINY | base))
    result = interpret_question(
        Predictor.load(tmp_path / "none" / "model", "cpu"), signal, "atrial fibrillation?"
    )
    assert [match.code for match in result.matches] == ["AFIB"]
    assert result.probability is None and result.nearest_prompts == ()
    assert "no text tower" in result.notes[-1]


@pytest.mark.parametrize("words", ["", "  ", "x" * (MAX_CHARACTERS + 1)])
def test_an_empty_or_too_long_question_is_an_error(predictor, signal, words):
    with pytest.raises(ValueError, match="the question"):
        interpret_question(predictor, signal, words)
