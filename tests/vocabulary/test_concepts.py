"""Concepts are shared by several findings and are distinct in every language."""

import pytest

from ecg_siglip.vocabulary import concepts
from ecg_siglip.vocabulary.findings import LANGUAGES, STATEMENTS


@pytest.mark.parametrize("concept", concepts.CONCEPTS, ids=lambda concept: concept.en)
def test_every_concept_has_several_known_findings(concept):
    assert len(concept.members) == len(set(concept.members)) >= 2
    assert set(concept.members) <= set(STATEMENTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_concepts_have_the_same_text(language):
    texts, members_CF = concepts.prompts(list(STATEMENTS), language)
    assert len(texts) == len(set(texts)) == len(concepts.CONCEPTS)
    assert members_CF.shape == (len(texts), len(STATEMENTS))


def test_prompts_are_those_of_concepts_that_the_vocabulary_has():
    texts, members_CF = concepts.prompts(["CLBBB", "IMI", "NORM"])
    assert "bundle branch block" in texts
    assert "fascicular block" not in texts
    assert members_CF[texts.index("bundle branch block")].tolist() == [True, False, False]
    assert members_CF.any(axis=1).all()
    assert not members_CF[:, 2].any()


def test_a_concept_is_only_known_from_another_finding():
    assert "septum, leads V1 to V3" in concepts.concepts_of("ASMI")
    assert concepts.concepts_of("ASMI", known=["ASMI", "IMI"]) == ["myocardial infarction"]
    assert concepts.concepts_of("ASMI", "de", ["IMI"]) == ["Myokardinfarkt"]
    assert concepts.concepts_of("NORM") == []


def test_unknown_language_and_vocabulary_without_concepts_are_refused():
    with pytest.raises(ValueError, match="en, de, ja"):
        concepts.prompts(["IMI"], "fr")
    with pytest.raises(ValueError, match="none of these findings"):
        concepts.prompts(["NORM"])
