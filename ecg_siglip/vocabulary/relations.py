"""What findings have to do with each other: which imply others, and which are critical.

Which exclude each other is ``Vocabulary.exclusive_pairs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecg_siglip.vocabulary.vocabulary import Vocabulary


def implied_pairs(vocabulary: Vocabulary, codes: Sequence[str]) -> np.ndarray:
    """Return which findings are present if another one is.

    Parameters
    ----------
    vocabulary : Vocabulary
    codes : sequence of str, length F

    Returns
    -------
    ndarray of shape (F, F), bool
        ``[a, b]``: ``a`` implies ``b``, as the entry of ``a`` states it, or because ``b`` is a
        class that unites ``a`` or what ``a`` implies. The diagonal is False.
    """
    columns = {code: i for i, code in enumerate(codes)}
    members = {code: {*vocabulary.members(code)} for code in codes}
    classes = {code: them for code, them in members.items() if them}
    pairs_FF = np.zeros((len(codes), len(codes)), bool)
    for code, i in columns.items():
        implied = vocabulary.implied(code)
        united = {each for each, them in classes.items() if them & implied}
        pairs_FF[i, [columns[each] for each in (implied | united) & columns.keys()]] = True
    np.fill_diagonal(pairs_FF, False)
    return pairs_FF


def critical_findings(vocabulary: Vocabulary, codes: Sequence[str]) -> np.ndarray:
    """Return which findings can need treatment at once, (F,) bool, see ``Entry.critical``."""
    return np.array([vocabulary.entry(code).critical for code in codes], bool)


def with_relations_of(stored: Vocabulary, known: Vocabulary) -> Vocabulary:
    """Return a stored vocabulary with the relations of another version of the same one.

    Exclusions, implications and what is critical are knowledge about the findings, which no model
    learns: a model of an earlier version gets the present one. Words, leads and tasks stay.

    Parameters
    ----------
    stored : Vocabulary
    known : Vocabulary
        With the same codes; if they differ, ``stored`` is returned as it is.
    """
    if stored.by_code.keys() != known.by_code.keys():
        return stored

    def updated(code: str) -> dict[str, object]:
        entry = known.by_code[code]
        return {"excludes": entry.excludes, "implies": entry.implies, "critical": entry.critical}

    entries, classes = (
        tuple(replace(entry, **updated(entry.code)) for entry in part)  # type: ignore[arg-type]
        for part in (stored.entries, stored.classes)
    )
    return replace(stored, entries=entries, classes=classes, exclusive=known.exclusive)
