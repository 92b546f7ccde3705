"""Hints for mistyped words: the nearest settings, choices, files and runs."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_HINTS = 3
# Parts of a name that carry no meaning of their own: num_epochs is n_epochs.
COUNT_WORDS = frozenset({"n", "num", "number", "max", "min", "total", "of", "the"})
MIN_ALIKE = 0.7
MARGIN = 0.1  # by which a hint may be less alike than the best one
MIN_WORD = 3  # letters of a word that is searched in help texts
MAX_FILES = 10_000  # names of a folder that are compared with a missing one


def nearest(word: str, names: Iterable[str], cutoff: float = MIN_ALIKE) -> list[str]:
    """Return the names that are most like a word, upper and lower case apart, at most three.

    Examples
    --------
    >>> nearest("Bset", ["best", "best_bce", "clip"])
    ['best']
    >>> nearest("resnet", ["resnet1d", "transformer", "xresnet1d101"])
    ['resnet1d', 'xresnet1d101']
    """
    spellings = {name.casefold(): name for name in names}
    word = word.casefold()
    if word in spellings:
        return [spellings[word]]
    score = {}
    for name in spellings:
        ratio = difflib.SequenceMatcher(None, word, name).ratio()
        is_part = len(word) > 2 and word in name  # bert: clinical_bert
        score[name] = max(ratio, cutoff) if is_part else ratio
    best = sorted((name for name in score if score[name] >= cutoff), key=lambda n: -score[n])
    return [spellings[name] for name in best[:MAX_HINTS]]


def any_of(names: Sequence[str], conjunction: str = "or") -> str:
    """Return names as an enumeration: ``a, b or c``."""
    start, last = ", ".join(names[:-1]), names[-1]
    return f"{start} {conjunction} {last}" if start else last


def did_you_mean(names: Sequence[str], otherwise: str = "see --help") -> str:
    """Return a question that offers names, or another hint if there is none."""
    return f"did you mean {any_of(names)}?" if names else otherwise


def same_names(name: str, settings: Iterable[str]) -> list[str]:
    """Return the settings that a name spells otherwise or without their group, at most three.

    Examples
    --------
    >>> same_names("batchSize", ["optim.batch_size", "optim.lr"])
    ['optim.batch_size']
    >>> same_names("data_root", ["run.root", "data.root"])
    ['data.root']
    """
    settings = list(settings)
    leaf = name.rpartition(".")[2]
    spelled = [each for each in settings if _letters(each) == _letters(name)]
    in_group = [
        each
        for each in settings
        if _letters(each.rpartition(".")[2]) in (_letters(leaf), _letters(name))
    ]
    return (spelled or in_group)[:MAX_HINTS]


def similar_names(name: str, settings: Iterable[str]) -> list[str]:
    """Return the settings whose names are like a name or contain its words, at most three.

    Examples
    --------
    >>> similar_names("num_epochs", ["optim.n_epochs", "optim.lr"])
    ['optim.n_epochs']
    """
    if same := same_names(name, settings):
        return same
    group, _, own = name.rpartition(".")
    words = _words(own) - COUNT_WORDS
    score = {}
    for each in settings:
        leaf = each.rpartition(".")[2]
        ratio = max(_ratio(name, each), _ratio(own, leaf) - bool(group) * MARGIN)
        has_words = bool(words) and words <= _words(each)
        score[each] = max(ratio, MIN_ALIKE) + 0.1 if has_words else ratio
    least = max(MIN_ALIKE, max(score.values(), default=0) - MARGIN)
    best = sorted((each for each in score if score[each] >= least), key=lambda e: -score[e])
    return best[:MAX_HINTS]


def nearest_settings(name: str, settings: Mapping[str, dataclasses.Field[Any] | None]) -> list[str]:
    """Return the settings that a name may stand for, at most three, the most likely first.

    Parameters
    ----------
    name : str
        As it was typed.
    settings : mapping of str to Field
        By dotted name; None for a group of settings.

    Returns
    -------
    list of str
        Those of the same name in another spelling or in a group, else of a similar name, else
        those whose help text or choices contain the word.
    """
    similar = similar_names(name, settings)
    if similar or len(name) < MIN_WORD:
        return similar
    pattern = re.compile(rf"\b{'[ -]'.join(map(re.escape, _in_order(name)))}", re.IGNORECASE)
    documented = [
        (len(field.metadata["doc"]), each)
        for each, field in settings.items()
        if field is not None
        and (
            pattern.search(field.metadata["doc"])
            or name.casefold() in (field.metadata["choices"] or ())
        )
    ]
    return [each for _, each in sorted(documented)[:MAX_HINTS]]


def nearest_files(path: str | Path) -> list[str]:
    """Return files and folders whose names are like that of one that does not exist."""
    path = Path(path)
    while not path.parent.is_dir() and path.parent != path:  # the first folder that is missing
        path = path.parent
    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return []
    if len(names) > MAX_FILES:
        return []
    return [str(path.parent / name) for name in nearest(path.name, names) if name != path.name]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _in_order(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word.casefold() for word in re.split(r"[\W_]+", spaced) if word]


def _words(name: str) -> set[str]:
    return set(_in_order(name))


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _letters(one), _letters(other)).ratio()
