"""Findings that exclude each other: not both are present at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product

import numpy as np

from ecg_siglip.vocabulary.findings import STATEMENTS

# Statements of which at most one holds at a time.
ONE_OF = (
    # The rhythm of the atria, with its rate. Not among them: premature beats and their patterns,
    # which occur in any rhythm, and a pacemaker, which may stimulate the ventricles alone.
    ("SR", "STACH", "SBRAD", "AFIB", "AFLT", "SVTAC"),
    ("SR", "STACH", "SBRAD", "AFIB", "AFLT", "PSVT"),  # PSVT is a kind of SVTAC
    ("STACH", "SARRH", "AFIB", "AFLT", "SVTAC"),
    ("SARRH", "PSVT"),
    # The bundle branches: a block is complete or incomplete, and both sides are a block of the AV
    # conduction. IVCD is a wide QRS without the pattern of a bundle branch block.
    ("CLBBB", "ILBBB", "CRBBB", "IRBBB"),
    ("CLBBB", "CRBBB", "IVCD"),
    ("LAFB", "LPFB"),
    ("1AVB", "2AVB", "3AVB"),
    ("LPR", "3AVB"),
    ("LVOLT", "HVOLT"),
    ("LVOLT", "VCLVH"),
)
# What no normal ECG has, besides the statements of these superclasses.
ABNORMAL = ("MI", "STTC", "HYP")
NOT_NORMAL = (
    *("AFIB", "AFLT", "SVTAC", "PSVT", "PACE", "CLBBB", "CRBBB", "ILBBB", "2AVB", "3AVB", "WPW"),
    *ABNORMAL,
)


def exclusive_pairs(codes: Sequence[str]) -> np.ndarray:
    """Return which findings of a vocabulary exclude each other.

    Parameters
    ----------
    codes : sequence of str, length F

    Returns
    -------
    ndarray of shape (F, F), bool
        Symmetric, without the diagonal.

    Notes
    -----
    By the definitions of the statements. PTB-XL's annotators hardly ever state both of a pair: one
    of the 83 pairs in 0.6 % of its 21,799 records, most often NORM with AFIB (37 records), NORM
    with NST_ (31), and AFIB with AFLT (17).

    Examples
    --------
    >>> exclusive_pairs(["SR", "AFIB", "PVC"]).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    pairs_FF = np.zeros((len(codes), len(codes)), bool)
    column = {code: i for i, code in enumerate(codes)}
    for a, b in _pairs():
        if a in column and b in column:
            pairs_FF[column[a], column[b]] = pairs_FF[column[b], column[a]] = True
    return pairs_FF


def _pairs() -> Iterable[tuple[str, str]]:
    """Yield all pairs of codes that exclude each other."""
    for group in ONE_OF:
        yield from combinations(group, 2)
    abnormal = [code for code, entry in STATEMENTS.items() if entry.superclass in ABNORMAL]
    yield from product(("NORM",), (*NOT_NORMAL, *abnormal))
