"""Findings, classes of findings and concepts: the entries of a vocabulary."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# A prompt begins with the name of its finding; a comma outside brackets ends the name.
NAME_OF_PROMPT = re.compile(r"(?:[(（][^)）]*[)）]|[^,、，(（])+")


@dataclass(frozen=True)
class Entry:
    """A finding, or a class of findings.

    Attributes
    ----------
    code : str
    name : str
        Short name for tables.
    prompts : mapping of str to tuple of str
        By language, each in one or several wordings; the first is used for predictions.
    snomed : tuple of int
        SNOMED CT codes.
    groups : tuple of str
        Each group is a task, too.
    leads : tuple of tuple of str
        The finding can be assessed if a record has at least one lead of each of these.
    excludes : tuple of str
        Codes that are not present at the same time; a class stands for its findings as well.
    implies : tuple of str
        Codes of findings that are present if this one is.
    synonyms : tuple of str
        Further wordings, for questions only.
    critical : bool
        The finding can need treatment at once, see ``inference.decision``.
    names : mapping of str to str
        Short names by language, in addition to ``name``.
    """

    code: str
    name: str
    prompts: Mapping[str, tuple[str, ...]]
    snomed: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    leads: tuple[tuple[str, ...], ...] = ()
    excludes: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    critical: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def name_in(self, language: str) -> str:
        """Return the short name in a language.

        Without a stated name in it, that is the beginning of its first prompt, up to a comma;
        without such a prompt, ``name``.

        Examples
        --------
        >>> prompts = {"de": ("linksanteriorer Hemiblock (LAH), überdrehter Linkstyp",)}
        >>> Entry("LAFB", "Left anterior fascicular block", prompts).name_in("de")
        'Linksanteriorer Hemiblock (LAH)'
        """
        if language in self.names:
            return self.names[language]
        prompt = next(iter(self.prompts.get(language, ())), "")
        start = NAME_OF_PROMPT.match(prompt)
        if start is None:
            return self.name
        name = start[0].strip()
        return name[:1].upper() + name[1:]


@dataclass(frozen=True)
class Concept:
    """A property that several findings have in common, such as kind, site and side.

    An inferior infarction is an infarction, and it is inferior. A model that has learned both
    concepts from other findings can predict their combination without having been trained on it.

    Attributes
    ----------
    prompts : mapping of str to tuple of str
        As those of an entry.
    members : tuple of str
        Codes of the findings that have it.
    """

    prompts: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...]


def to_values(entry: Entry | Concept) -> dict[str, Any]:
    """Return the fields of an entry that have a value, as a vocabulary file states them."""
    values = {key: value for key, value in dataclasses.asdict(entry).items() if value}
    if "leads" in values:
        values["leads"] = ["|".join(group) for group in values["leads"]]
    return values


def did_you_mean(text: object, known: Iterable[str], otherwise: str) -> str:
    """Return a hint to known words that are like a text, upper and lower case apart.

    Examples
    --------
    >>> did_you_mean("afbi", ["AFIB", "STACH"], "no known code is like it")
    'did you mean AFIB?'
    """
    spellings = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(str(text).casefold(), spellings, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(spellings[each] for each in close)}?" if close else otherwise
