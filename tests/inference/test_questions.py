"""A question in three languages finds the finding that is meant, or says that none is."""

import json
import re

import numpy as np
import pytest
from helpers import TINY, configured

from ecg_siglip import config
from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.questions import answer_question
from ecg_siglip.vocabulary.question_matching import MAX_CHARACTERS


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def signal():
    return np.random.default_rng(0).integers(-900, 900, (12, 1000)).astype(np.int16)


def test_a_trained_prompt_gets_the_probability_that_it_was_trained_for(predictor, signal):
    said = answer_question(predictor, signal, predictor.artifact.prompts[7])
    raw = probabilities(predictor.artifact.model, predictor.text_FD, signal[None])[0, 7]
    assert said.probability == pytest.approx(raw, abs=1e-6)
    assert said.nearest_prompts[0].code == said.matches[0].code == predictor.artifact.codes[7]
    assert said.nearest_prompts[0].closeness == pytest.approx(1, abs=1e-5)
    assert not said.misread and not said.no_match


def test_what_is_far_or_denied_is_said(predictor, signal):
    far = answer_question(predictor, signal, "pizza")
    assert far.no_match and re.search("far from all", " ".join(far.notes))
    for words in ("no atrial fibrillation", "kein Vorhofflimmern", "心房細動なし"):
        said = answer_question(predictor, signal, words)
        assert said.matches[0].code == "AFIB"
        assert "not understood" in said.notes[0]
    assert json.loads(json.dumps(far.to_dict()))["no_match"] is True


def test_a_finding_kept_from_training_is_not_answered_by_its_neighbours(
    simulated, tmp_path, signal
):
    from ecg_siglip.train import train

    base = {"run.name": "r", "run.root": str(tmp_path), "data.root": str(simulated)}
    base |= {"data.held_out": ["IMI"], "optim.n_epochs": 1, "data.n_workers": 1}
    train(configured(config.TrainConfig, TINY | base))
    predictor = Predictor.load(tmp_path / "r" / "model", "cpu")
    said = answer_question(predictor, signal, "inferior infarction?")
    assert said.matches == () and said.probability is not None
    assert "Inferior myocardial infarction was kept from" in said.notes[0]
    other = answer_question(predictor, signal, "anterior infarction?")
    assert other.matches[0].code == "AMI" and not other.notes


def test_a_model_without_text_says_so_and_still_knows_its_findings(simulated, tmp_path, signal):
    from ecg_siglip.train import train

    base = {"run.name": "none", "run.root": str(tmp_path), "data.root": str(simulated)}
    base |= {"text.name": "none", "optim.n_epochs": 1, "data.n_workers": 1}
    train(configured(config.TrainConfig, TINY | base))
    said = answer_question(
        Predictor.load(tmp_path / "none" / "model", "cpu"), signal, "Vorhofflimmern?"
    )
    assert [near.code for near in said.matches] == ["AFIB"]
    assert said.probability is None and said.nearest_prompts == ()
    assert "no text tower" in said.notes[-1]


@pytest.mark.parametrize("words", ["", "  ", "x" * (MAX_CHARACTERS + 1)])
def test_no_words_or_too_many_are_refused(predictor, signal, words):
    with pytest.raises(ValueError, match="the question"):
        answer_question(predictor, signal, words)
