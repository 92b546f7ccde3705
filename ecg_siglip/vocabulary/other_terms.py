"""Terms of electrocardiography that a vocabulary may have no statement for, with the nearest ones.

They are in ``other_terms.yaml``, with their sources.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecg_siglip.core.translation import ENGLISH
from ecg_siglip.vocabulary.entry import Entry
from ecg_siglip.vocabulary.plain_text import plain
from ecg_siglip.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class OtherTerm:
    """A term, in several languages.

    Attributes
    ----------
    names : mapping of str to str
        By language.
    synonyms : tuple of str
        Abbreviations and further words in any language.
    nearest : tuple of str
        Codes of PTB-XL's findings and classes that are related, but not the same.
    snomed : tuple of int
        SNOMED CT codes.
    """

    names: Mapping[str, str]
    synonyms: tuple[str, ...]
    nearest: tuple[str, ...]
    snomed: tuple[int, ...] = ()

    def name_in(self, language: str) -> str:
        """Return the name in a language, the English one if there is none in it."""
        return self.names.get(language, self.names[ENGLISH])

    @functools.cached_property
    def wordings(self) -> tuple[str, ...]:
        """Names, without what is in brackets, and synonyms; plain, see ``plain_text.plain``."""
        names = (re.sub(r" ?\(.*?\)", "", name) for name in self.names.values())
        return tuple(dict.fromkeys(plain(words) for words in (*names, *self.synonyms)))

    def nearest_in(self, vocabulary: Vocabulary) -> list[str]:
        """Return the codes of a vocabulary that are nearest to the term."""
        return [code for code in self.nearest if code in vocabulary.by_code]


@functools.cache
def all_terms() -> tuple[OtherTerm, ...]:
    """Return the terms of ``other_terms.yaml``."""
    import yaml

    text = Path(__file__).with_name("other_terms.yaml").read_text(encoding="utf-8")
    return tuple(
        OtherTerm(
            row["name"],
            tuple(map(str, row["also"])),
            tuple(map(str, row["nearest"])),
            tuple(row.get("snomed", ())),
        )
        for row in yaml.safe_load(text)["terms"]
    )


@functools.lru_cache(maxsize=16)
def lacking_terms(vocabulary: Vocabulary) -> tuple[OtherTerm, ...]:
    """Return the terms that a vocabulary has no finding for.

    A finding is the same as a term if its name contains a wording of the term, one of its synonyms
    is such a wording, or they share a SNOMED CT code. Synonyms of the nearest findings do not
    count, since these findings are related to the term and not the same.
    """
    entries = tuple(vocabulary.by_code.values())
    return tuple(
        term for term in all_terms() if not any(_has_term(entry, term) for entry in entries)
    )


@functools.lru_cache(maxsize=16)
def words_from_terms(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """Return further wordings of the findings that are named exactly as a term is, by code.

    A vocabulary with one English name per finding can so be queried in other languages.
    """
    return {
        entry.code: term.wordings
        for term in all_terms()
        for entry in vocabulary.by_code.values()
        if plain(entry.name) in term.wordings
    }


def _has_term(entry: Entry, term: OtherTerm) -> bool:
    """Return whether a finding is the same as a term."""
    if set(entry.snomed) & set(term.snomed):
        return True
    name = plain(entry.name)
    if any(re.search(rf"(?<![a-z]){re.escape(w)}(?![a-z])", name) for w in term.wordings):
        return True
    return entry.code not in term.nearest and not {*map(plain, entry.synonyms)}.isdisjoint(
        term.wordings
    )
