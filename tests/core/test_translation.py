"""Translations: each text of reports and pages has one in every language, with the same values."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

from ecg_siglip.core.translation import (
    ENGLISH,
    FOLDER,
    LANGUAGE_NAMES,
    pick_language,
    translations,
    translator,
)
from ecg_siglip.metrics.likelihood import LIKELIHOODS
from ecg_siglip.signals.measurements import NAMES

PACKAGE = FOLDER.parents[1]
OTHERS = [language for language in LANGUAGE_NAMES if language != ENGLISH]


def texts_of_code(path: Path) -> set[str]:
    """Return the literal texts within ``_(...)`` of a module."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "_"
        and isinstance(node.args[0], ast.Constant)
    }


def texts_of_template(path: Path) -> set[str]:
    environment = Environment(extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True)
    source = path.read_text(encoding="utf-8")
    return {
        text
        for _, _, texts in environment.extract_translations(source)
        for text in ([texts] if isinstance(texts, str) else texts or [])
        if isinstance(text, str)
    }


def all_texts() -> set[str]:
    """Return the texts that are to be translated, of code, templates and tables."""
    texts = {text for path in PACKAGE.rglob("*.py") for text in texts_of_code(path)}
    texts |= {text for path in PACKAGE.rglob("*.j2") for text in texts_of_template(path)}
    return texts | {*LIKELIHOODS}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language):
    missing = sorted(all_texts() - {*translations(language).texts})
    assert not missing, f"add to translations/{language}.yaml: {missing}"


@pytest.mark.parametrize("language", OTHERS)
def test_translations_insert_the_same_values(language):
    value = re.compile(r"%\(\w+\)[-+0-9.]*[a-z]|\{\w*[^}]*\}|%[-+0-9.]*[sd]")
    for english, other in translations(language).texts.items():
        assert sorted(value.findall(english)) == sorted(value.findall(other)), english


def test_languages_have_the_same_texts_each_once():
    texts = {}
    for language in OTHERS:
        lines = (FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
        content = yaml.safe_load(lines)
        keys = re.findall(r'^("(?:[^"\\]|\\.)*"|[^\s#"][^:]*):', lines, flags=re.MULTILINE)
        assert len(keys) == len(content), f"{language}.yaml has a text twice"
        assert all(isinstance(text, str) and text for text in content.values())
        texts[language] = {*content}
    assert len({frozenset(each) for each in texts.values()}) == 1


def test_names_of_measurements_are_translated():
    for language in OTHERS:
        assert {name for name in NAMES.values() if len(name) > 1} <= {*translations(language).texts}


def test_unknown_text_stays_english_and_unknown_language_is_refused():
    assert translator("de")("no such text") == "no such text"
    assert translator()("likely") == "likely"
    with pytest.raises(ValueError, match=r"expected a language of en, de, ja, got 'fr'"):
        translator("fr")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("ja-JP,ja;q=0.9,en;q=0.8",), "ja"),
        ((None, "fr,de-AT;q=0.5"), "de"),
        (("fr",), "en"),
        (("", None), "en"),
        (("DE",), "de"),
    ],
)
def test_the_first_language_with_texts_is_picked(wanted, expected):
    assert pick_language(*wanted) == expected


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("noise in all leads (0.3 mV)", "Rauschen in allen Ableitungen (0.3 mV)"),
        (
            "gaps in V1, V2 interpolated (2.5 % of the samples)",
            "Lücken in V1, V2 interpoliert (2.5 % der Werte)",
        ),
        ("56 years", "56 Jahre"),
        ("no clear T wave", "keine klare T-Welle"),
        ("a sentence of a reader: 3 % and more", "a sentence of a reader: 3 % and more"),
    ],
)
def test_finished_sentences_are_translated_with_their_values(english, german):
    assert translations("de").sentence(english) == german
    assert translations("en").sentence(english) == english
