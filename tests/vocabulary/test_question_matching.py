"""A question in three languages is matched to the finding that it is about, or to none."""

import pytest

from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.entry import Entry
from ecg_siglip.vocabulary.question_matching import (
    MAX_CHARACTERS,
    N_SHOWN,
    check_question,
    match_question,
    nearest_findings,
    without_frame,
)
from ecg_siglip.vocabulary.vocabulary import Vocabulary

VOCABULARY = ptbxl()
ALL = VOCABULARY.codes
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
    "2AVB": "2:1 block|Mobitz?",
    "PAC": "PACs|any PACs?",
    "SVTAC": "SVT",
}
EXAMPLES = [(words, code) for code, many in QUESTIONS.items() for words in many.split("|")]
OTHER_SUBJECTS = [
    *("pizza", "the weather is nice today", "Wie ist das Wetter heute?", "今日の天気はどうですか"),
    *("is the patient male?", "mitral valve prolapse", "Takotsubo", "diabetes"),
    # Similar in their letters, but about something else.
    *("ventricular tachycardia?", "Kammerflimmern", "Brugada syndrome", "pulmonary embolism"),
    *("ventricular rhythm", "wide complex tachycardia", "心室性頻拍", "Kammereigenrhythmus"),
    *("short QT", "心室頻拍", "atrial tachycardia", "pericarditis", "左軸偏位"),
]


@pytest.mark.parametrize(("words", "code"), EXAMPLES)
def test_the_finding_of_a_question_comes_first(words, code):
    assert match_question(words, ALL, VOCABULARY)[0].code == code


@pytest.mark.parametrize("words", OTHER_SUBJECTS)
def test_questions_about_other_subjects_match_no_finding(words):
    assert match_question(words, ALL, VOCABULARY) == ()


@pytest.mark.parametrize("words", ["heart attack?", "infarct", "Herzinfarkt", "心筋梗塞"])
def test_a_class_matches_all_of_its_findings(words):
    matches = {match.code for match in match_question(words, ALL, VOCABULARY)}
    assert {"IMI", "AMI", "LMI"} <= matches
    assert "LVH" not in matches
    # In a vocabulary of classes the class itself is the match.
    classes = VOCABULARY.task_codes("superdiagnostic")
    assert [match.code for match in match_question(words, classes, VOCABULARY)] == ["MI"]


def test_every_prompt_and_name_matches_its_own_finding():
    for language in VOCABULARY.languages:
        for code, prompt in zip(ALL, VOCABULARY.prompts(ALL, language), strict=True):
            assert match_question(prompt, ALL, VOCABULARY)[0].code == code
    for code, name in zip(ALL, VOCABULARY.names(ALL), strict=True):
        assert code in [match.code for match in match_question(name, ALL, VOCABULARY)]


def test_nearest_findings_are_sorted_and_complete():
    matches = nearest_findings("atrial fibrillation", ALL, VOCABULARY)
    assert {match.code for match in matches} == set(ALL)
    closeness = [match.closeness for match in matches]
    assert closeness == sorted(closeness, reverse=True)
    assert matches[0].code == "AFIB"
    assert matches[0].closeness == pytest.approx(1)
    assert min(closeness) >= 0


def test_words_of_many_findings_match_a_few_of_them():
    matches = match_question("subendocardial injury", ALL, VOCABULARY)
    assert len(matches) == N_SHOWN
    assert {match.code for match in matches} <= {"INJAL", "INJAS", "INJIL", "INJIN", "INJLA"}


@pytest.mark.parametrize("words", ["no atrial fibrillation", "kein Vorhofflimmern", "心房細動なし"])
def test_a_negation_does_not_change_the_match(words):
    assert match_question(words, ALL, VOCABULARY)[0].code == "AFIB"


def test_whitespace_of_a_question_is_normalized():
    assert check_question("  left\n bundle  branch block? ") == "left bundle branch block?"


@pytest.mark.parametrize("words", ["", "  ", "x" * (MAX_CHARACTERS + 1)])
def test_empty_and_too_long_questions_are_refused(words):
    with pytest.raises(ValueError, match="the question"):
        check_question(words)


@pytest.fixture
def own(tmp_path):
    """A vocabulary with names alone, one of them a subject that PTB-XL's does not have."""
    names = [
        "心室頻拍",
        "心房細動",
        "Ventricular tachycardia",
        "左脚ブロック",
        "VT, nonsustained",
    ]
    rows = [f'X{i},"{name}"' for i, name in enumerate(names)]
    (tmp_path / "own.csv").write_text("code,name\n" + "\n".join(rows), "utf-8")
    return load_vocabulary(tmp_path / "own.csv")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *(("心室頻拍はありますか", "X0"), ("心房細動?", "X1"), ("左脚ブロックですか", "X3")),
        *(("is there a ventricular tachycardia?", "X2"), ("X3", "X3")),
    ],
)
def test_questions_are_matched_to_any_vocabulary(own, words, code):
    assert match_question(words, own.codes, own)[0].code == code


@pytest.mark.parametrize("words", ["pizza", "pericarditis", "今日の天気はどうですか"])
def test_other_subjects_match_nothing_in_any_vocabulary(own, words):
    assert match_question(words, own.codes, own) == ()


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("心房細動はありますか", "心房細動"),
        ("この患者に左脚ブロックの所見が見られますか？", "左脚ブロック"),
        ("T波異常の可能性はありますか。", "T波異常"),
        ("ありますか", "ありますか"),
        ("QT延長", "QT延長"),
        ("Is there a left bundle branch block?", "Is there a left bundle branch block?"),
    ],
)
def test_a_text_encoder_reads_a_japanese_question_without_its_frame(question, subject):
    assert without_frame(question) == subject


def test_a_japanese_name_without_its_first_word_means_all_findings_that_have_it():
    names = ("完全左脚ブロック", "不完全左脚ブロック", "完全右脚ブロック", "左脚前枝ブロック")
    entries = tuple(Entry(f"C{i}", name, {"ja": (name,)}) for i, name in enumerate(names))
    vocabulary = Vocabulary("v", "ja", entries)
    for question in ("左脚ブロックの所見はありますか？", "左脚ブロック"):
        matches = match_question(question, vocabulary.codes, vocabulary)
        assert {match.code for match in matches} == {"C0", "C1"}
    assert not match_question("心室頻拍はありますか", vocabulary.codes, vocabulary)
    (match,) = match_question("完全左脚ブロックですか", vocabulary.codes[:1], vocabulary)
    assert match.code == "C0" and match.closeness > 0.99
