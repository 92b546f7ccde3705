"""A question in three languages finds the finding that is meant, or says that none is."""

import json
import re

import numpy as np
import pytest
from helpers import TINY, configured

from ecg_siglip import config
from ecg_siglip.inference.predictor import Predictor, probabilities
from ecg_siglip.inference.questions import answer_question
from ecg_siglip.vocabulary import findings
from ecg_siglip.vocabulary.question_matching import MAX_CHARACTERS, match_question

ALL = findings.task_codes("all")
QUESTIONS = {
    "CLBBB": "is there a left bundle branch block?|LBBB|Does this patient have LBBB?|"
    "Gibt es einen Linksschenkelblock?|左脚ブロックはありますか？|CLBBB",
    "CRBBB": "complete right bundle branch block|Liegt ein kompletter Rechtsschenkelblock vor?|"
    "完全右脚ブロックですか",
    "IRBBB": "incomplete right bundle branch block?|inkompletter Rechtsschenkelblock",
    "AFIB": "any sign of atrial fibrillation|afib?|AF|Hat der Patient Vorhofflimmern?|心房細動",
    "AFLT": "atrial flutter?|Vorhofflattern?|心房粗動",
    "STACH": "is the heart too fast?|Sinustachykardie|洞性頻脈",
    "NORM": "is this ECG normal?|Ist das EKG normal?|正常心電図",
    "IMI": "inferior infarction|old inferior myocardial infarct|Hinterwandinfarkt|下壁心筋梗塞",
    "LVH": "evidence of left ventricular hypertrophy|Zeichen einer Linksherzhypertrophie?|"
    "linksventrikulaere Hypertrophie|左室肥大の所見はありますか",
    "LNGQT": "prolonged QTc interval|verlängerte QT-Zeit|QT延長",
    "1AVB": "first degree AV block|AV-Block I. Grades|第1度房室ブロック",
    "3AVB": "third-degree heart block|totaler AV-Block|完全房室ブロック",
    "PVC": "PVCs?|premature ventricular contractions|ventrikuläre Extrasystolen|心室期外収縮",
    "PACE": "pacemaker|Schrittmacher|ペースメーカー調律",
    "INVT": "T wave inversion|陰性T波",
    "WPW": "delta wave|WPW?",
    "2AVB": "2:1 block|Mobitz II?",
    "PAC": "PACs|any PACs?",
    "SVTAC": "SVT",
}
ASKED = [(words, code) for code, many in QUESTIONS.items() for words in many.split("|")]
ELSEWHERE = [
    *("pizza", "the weather is nice today", "Wie ist das Wetter heute?", "今日の天気はどうですか"),
    *("is the patient male?", "mitral valve prolapse", "Takotsubo", "diabetes"),
    # Near by their letters, and something else.
    *("ventricular tachycardia?", "Kammerflimmern", "Brugada syndrome", "pulmonary embolism"),
    *("ventricular rhythm", "wide complex tachycardia", "心室性頻拍", "Kammereigenrhythmus"),
    *("short QT", "心室頻拍", "atrial tachycardia", "pericarditis", "左軸偏位"),
]


@pytest.mark.parametrize(("words", "code"), ASKED)
def test_the_finding_that_is_meant_comes_first(words, code):
    assert match_question(words, ALL)[0].code == code


@pytest.mark.parametrize("words", ELSEWHERE)
def test_words_for_something_else_mean_no_finding(words):
    assert match_question(words, ALL) == ()


@pytest.mark.parametrize("words", ["heart attack?", "NSTEMI", "Herzinfarkt", "心筋梗塞"])
def test_a_class_means_all_of_its_findings(words):
    meant = {near.code for near in match_question(words, ALL)}
    assert {"IMI", "AMI", "LMI"} <= meant
    assert "LVH" not in meant
    # A model that knows the class itself is asked for it.
    assert [
        near.code for near in match_question(words, findings.task_codes("superdiagnostic"))
    ] == ["MI"]


def test_every_prompt_and_name_means_its_own_finding():
    for language in findings.LANGUAGES:
        for code, prompt in zip(ALL, findings.prompts(ALL, language), strict=True):
            assert match_question(prompt, ALL)[0].code == code
    for code, name in zip(ALL, findings.names(ALL), strict=True):
        assert code in [near.code for near in match_question(name, ALL)]


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
