"""Texts of reports and pages in other languages than English.

Code and templates contain the English text, marked by ``_("...")``. ``translations/de.yaml`` and
others contain its translation. Values are inserted by name: ``_("%(n)d ECGs") % {"n": n}``.
"""

from __future__ import annotations

import functools
import gettext
import re
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).with_name("translations")
ENGLISH = "en"
# By code, the name of each language in itself.
LANGUAGE_NAMES = {ENGLISH: "English", "de": "Deutsch", "ja": "日本語"}
VALUE = re.compile(r"%\((\w+)\)[-+0-9.]*[a-z]")
Translate = Callable[[str], str]


class Translations(gettext.NullTranslations):
    """Translations of one language.

    Parameters
    ----------
    texts : dict of str to str
        Translation by English text. A text without translation stays English.
    """

    def __init__(self, texts: dict[str, str]):
        super().__init__()
        self.texts = texts

    @functools.cached_property
    def patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Texts with values, as patterns of finished sentences, with their translations."""
        return [
            (re.compile(_pattern(english)), other)
            for english, other in self.texts.items()
            if VALUE.search(english)
        ]

    def sentence(self, text: str) -> str:
        """Return the translation of a finished English sentence, also of one that has values.

        For sentences of packages that know nothing about languages, such as warnings of readers.
        """
        if text in self.texts:
            return self.texts[text]
        for pattern, other in self.patterns:
            if found := pattern.fullmatch(text):
                # A value may be a word; "%(n)d" becomes "%(n)s", as all values are texts here.
                values = {name: self.gettext(each) for name, each in found.groupdict().items()}
                return VALUE.sub(r"%(\1)s", other) % values
        return text

    def gettext(self, message: str) -> str:
        """Return the translation of a text."""
        return self.texts.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """Return the translation of the text for one or for several."""
        return self.gettext(msgid1 if n == 1 else msgid2)


def _pattern(english: str) -> str:
    """Return the regular expression of a text with any values."""
    parts, end = [], 0
    for value in VALUE.finditer(english):
        plain = english[end : value.start()].replace("%%", "%")
        parts += [re.escape(plain), f"(?P<{value[1]}>.+?)"]
        end = value.end()
    return "".join([*parts, re.escape(english[end:].replace("%%", "%"))])


@functools.cache
def translations(language: str = ENGLISH) -> Translations:
    """Return the translations of a language.

    Parameters
    ----------
    language : str
        Key of ``LANGUAGE_NAMES``.

    Raises
    ------
    ValueError
        If there is no such language.
    """
    if language not in LANGUAGE_NAMES:
        raise ValueError(f"expected a language of {', '.join(LANGUAGE_NAMES)}, got {language!r}")
    if language == ENGLISH:
        return Translations({})
    import yaml

    path = FOLDER / f"{language}.yaml"
    return Translations(yaml.safe_load(path.read_text(encoding="utf-8")))


def translator(language: str = ENGLISH) -> Translate:
    """Return the function that translates a text, by convention named ``_``.

    Raises
    ------
    ValueError
        If there is no such language.

    Examples
    --------
    >>> _ = translator("de")
    >>> _("likely")
    'wahrscheinlich'
    """
    return translations(language).gettext


def pick_language(*wanted: str | None) -> str:
    """Return the first of some languages that texts are translated into; else English.

    Parameters
    ----------
    wanted : str, optional
        Codes such as ``de`` or ``de-AT``, or the value of an ``Accept-Language`` header, in which
        the order of the languages counts, and not their weights.

    Examples
    --------
    >>> pick_language(None, "fr-CH, de-AT;q=0.8, en;q=0.5")
    'de'
    """
    for header in wanted:
        for part in (header or "").split(","):
            language = part.partition(";")[0].strip().partition("-")[0].lower()
            if language in LANGUAGE_NAMES:
                return language
    return ENGLISH
