"""Terms that a vocabulary lacks are named with the nearest findings; those that it has are not."""

import pytest

from ecg_siglip.core.translation import LANGUAGE_NAMES
from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.entry import Entry
from ecg_siglip.vocabulary.other_terms import all_terms, lacking_terms
from ecg_siglip.vocabulary.plain_text import plain
from ecg_siglip.vocabulary.question_matching import question_subjects
from ecg_siglip.vocabulary.vocabulary import Vocabulary

VOCABULARY = ptbxl()


def subjects(question, vocabulary=VOCABULARY):
    return question_subjects(question, vocabulary.codes, vocabulary)


def lacking(question, vocabulary=VOCABULARY):
    return [term.names["en"] for term in subjects(question, vocabulary).lacking]


@pytest.mark.parametrize("term", all_terms(), ids=lambda term: term.names["en"])
def test_a_term_has_names_in_all_languages_and_nearest_findings_that_exist(term):
    assert set(term.names) == set(LANGUAGE_NAMES)
    assert all(code in VOCABULARY.by_code for code in term.nearest)
    assert len(set(term.nearest)) == len(term.nearest)


@pytest.mark.parametrize("term", lacking_terms(VOCABULARY), ids=lambda term: term.names["en"])
def test_each_wording_of_a_lacking_term_matches_it_and_no_finding(term):
    for words in (*term.names.values(), *term.synonyms):
        found = subjects(words)
        assert term in found.lacking, words
        assert not found.findings, words


def test_no_wording_belongs_to_two_terms():
    owners = {}
    for term in all_terms():
        for words in term.wordings:
            assert owners.setdefault(words, term) is term, words


def test_no_lacking_term_is_a_wording_of_a_finding():
    wordings = {
        plain(words): entry.code
        for entry in VOCABULARY.by_code.values()
        for words in (entry.code, entry.name, *entry.synonyms)
    }
    for term in lacking_terms(VOCABULARY):
        assert not wordings.keys() & set(term.wordings), term.names["en"]


def test_low_voltage_is_no_lacking_term_of_ptbxl():
    assert lacking("low QRS voltage") == []
    assert "low QRS voltage" not in {term.names["en"] for term in lacking_terms(VOCABULARY)}
    assert subjects("low voltages?").findings[0].code == "LVOLT"


def test_the_nearest_findings_are_those_of_the_table():
    (term,) = subjects("STEMI?").lacking
    assert term.nearest[0] == "STE_"
    assert subjects("STEMI?").findings == ()


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.csv").write_text(
        "code,name\nA,Ventricular tachycardia\nB,STEMI\nC,Sinus rhythm\n", "utf-8"
    )
    return load_vocabulary(tmp_path / "own.csv")


def test_a_term_that_a_vocabulary_has_is_matched_in_other_languages_too(own):
    for question in ("VT?", "Kammertachykardie?", "心室頻拍ですか"):
        found = subjects(question, own)
        assert [match.code for match in found.findings] == ["A"]
        assert not found.lacking
    assert subjects("ST-Hebungsinfarkt?", own).findings[0].code == "B"
    assert lacking("Perikarditis?", own) == ["pericarditis"]


def test_a_term_is_the_same_by_a_synonym_or_a_snomed_code():
    entries = (
        Entry("X", "Pathologie 1", {"en": ("x",)}, synonyms=("pericarditis",)),
        Entry("Y", "Pathologie 2", {"en": ("y",)}, snomed=(418818005,)),
        # A nearest finding does not become the term by a loose synonym.
        Entry("STE_", "ST elevation", {"en": ("z",)}, synonyms=("early repolarization",)),
    )
    vocabulary = Vocabulary("v", "en", entries)
    names = {term.names["en"] for term in lacking_terms(vocabulary)}
    assert "pericarditis" not in names and "Brugada pattern" not in names
    assert "early repolarization" in names


@pytest.mark.parametrize(
    ("question", "findings", "terms"),
    [
        ("AF or VT?", {"AFIB"}, ["ventricular tachycardia (VT)"]),
        ("Perikarditis oder STEMI?", set(), ["pericarditis", "ST elevation"]),
        ("Is there AF, or flutter?", {"AFIB", "AFLT"}, []),
        ("心房細動または心室細動", {"AFIB"}, ["ventricular fibrillation (VF)"]),
        ("left or right bundle branch block?", {"CLBBB", "CRBBB"}, []),
    ],
)
def test_a_question_with_several_subjects_has_all_of_them(question, findings, terms):
    found = subjects(question)
    assert findings <= {match.code for match in found.findings}
    assert bool(findings) == bool(found.findings)
    names = [term.names["en"] for term in found.lacking]
    assert len(names) == len(terms)
    assert all(name.startswith(start) for name, start in zip(names, terms, strict=True))


@pytest.mark.parametrize(
    ("typo", "code"), [("atrial fibrilation", "AFIB"), ("left bundel branch block", "CLBBB")]
)
def test_a_word_that_is_nearly_a_known_one_is_read_as_it(typo, code):
    assert subjects(typo).findings[0].code == code


@pytest.mark.parametrize("words", ["pizza", "Dr. Katharina Berger", "hemoglobin", "田中さん"])
def test_unknown_words_match_nothing(words):
    assert not subjects(words)
