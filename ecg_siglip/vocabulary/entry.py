"""Findings, classes of findings and concepts: the entries of a vocabulary."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


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
