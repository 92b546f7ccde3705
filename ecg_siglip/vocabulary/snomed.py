"""Map SNOMED CT codes of other hospitals to our findings, as queries that are fair to score.

``snomed.csv`` has one row per code of the PhysioNet/CinC challenges, with the findings of PTB-XL
that the code stands for. The findings of another vocabulary state their codes themselves. A *label
query* is a set of findings that one of the codes names: is any of them present in the record? The
relation of a code to its findings decides how it is used:

- ``exact``: code and finding mean the same. The code defines a query.
- ``narrower``: the code is a kind of the finding (Mobitz I is a second degree AV block). It is a
  positive label for the finding; but since a hospital that has only such codes does not label other
  kinds of the finding, it defines no query.
- ``broader``: the code covers several findings (infarction, of any wall) and defines the query
  whether any of them is present. With a single finding it covers more than the vocabulary does, and
  defines no query.
- ``none``: the code stands for none of our findings.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg_siglip.vocabulary.code_mapping import CodeMeaning
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import PTBXL

RELATIONS = ("exact", "narrower", "broader", "none")


@dataclass(frozen=True)
class Code:
    """A code of the challenges and the findings that it stands for.

    Attributes
    ----------
    snomed : int
        SNOMED CT code.
    abbreviation, name : str
        As in the challenges, except for misspellings and for one abbreviation that is a finding of
        ours.
    relation : {"exact", "narrower", "broader", "none"}
        Relation of the code to the findings.
    findings : tuple of str
        Our findings, in the order of the vocabulary.
    scored_as : int or None
        The code under which the challenges score it, where they merge codes.
    ptbxl_also : tuple of str
        Statements that became this code in the challenges' PTB-XL, though they mean something else.
    comment : str
    """

    snomed: int
    abbreviation: str
    name: str
    relation: str
    findings: tuple[str, ...]
    scored_as: int | None
    ptbxl_also: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class LabelQuery:
    """A query to a hospital's labels: is any of these findings present?

    Attributes
    ----------
    code : str
        Our code; for several findings together the abbreviation of the challenges.
    name : str
    findings : tuple of str
        The query is positive if any of them is present.
    defined_by : tuple of int
        The SNOMED CT codes that mean exactly this set of findings.
    """

    code: str
    name: str
    findings: tuple[str, ...]
    defined_by: tuple[int, ...]


@functools.lru_cache(maxsize=16)
def table(vocabulary: Vocabulary) -> dict[int, Code]:
    """Return every known code with the findings of a vocabulary that it stands for.

    Parameters
    ----------
    vocabulary : Vocabulary

    Returns
    -------
    dict of int to Code
        By SNOMED CT code: first those of ``snomed.csv``, in its order. A code that one entry of
        another vocabulary than PTB-XL's has is ``exact``; one of several entries is ``broader``.
    """
    codes = challenge_codes()
    if vocabulary.name == PTBXL:
        return codes
    known = {
        number: replace(code, relation="none", findings=(), ptbxl_also=(), comment="")
        for number, code in codes.items()
    }
    owners: dict[int, list[str]] = {}
    for entry in vocabulary.by_code.values():
        for number in entry.snomed:
            owners.setdefault(number, []).append(entry.code)
    for number, members in owners.items():
        name = " or ".join(vocabulary.names(members))
        new = Code(number, str(number), name, "", (), None, (), "")
        relation = "exact" if len(members) == 1 else "broader"
        known[number] = replace(known.get(number, new), relation=relation, findings=tuple(members))
    return known


@functools.cache
def challenge_codes() -> dict[int, Code]:
    """Return the codes of ``snomed.csv``.

    Notes
    -----
    Codes, abbreviations and merged pairs: ``dx_mapping_scored.csv`` and ``dx_mapping_unscored.csv``
    of github.com/physionetchallenges/evaluation-2021 (Reyna et al. 2021, *Will Two Do?*, and Perez
    Alday et al. 2020, doi:10.1088/1361-6579/abc960). The findings that they stand for are our
    interpretation; it is consistent with the codes that the challenges gave to PTB-XL's statements.
    """
    path = Path(__file__).with_name("snomed.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            Code(
                snomed=int(row["snomed"]),
                abbreviation=row["abbreviation"],
                name=row["name"],
                relation=row["relation"],
                findings=tuple(row["findings"].split()),
                scored_as=int(row["scored_as"]) if row["scored_as"] else None,
                ptbxl_also=tuple(row["ptbxl_also"].split()),
                comment=row["comment"],
            )
            for row in csv.DictReader(file)
        ]
    return {row.snomed: row for row in rows}


def meanings(vocabulary: Vocabulary) -> list[CodeMeaning]:
    """Return what each code of ``table`` means, for the labels of a training run."""
    return [
        CodeMeaning(str(code.snomed), code.findings, code.relation)
        for code in table(vocabulary).values()
        if code.relation != "none"
    ]


def label_queries(codes: Collection[str], vocabulary: Vocabulary) -> list[LabelQuery]:
    """Return the label queries that a model with these findings can be scored on.

    Parameters
    ----------
    codes : collection of str
        The model's findings. Queries that need any other finding are left out.
    vocabulary : Vocabulary

    Returns
    -------
    list of LabelQuery
        Queries for single findings first.

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> queries = label_queries(["CLBBB", "3AVB"], ptbxl())
    >>> [(query.code, query.defined_by) for query in queries]
    [('CLBBB', (733534002, 164909002)), ('3AVB', (27885002,))]
    """
    defining: dict[tuple[str, ...], list[Code]] = {}
    for code in table(vocabulary).values():
        is_query = code.relation == "exact" or (
            code.relation == "broader" and len(code.findings) > 1
        )
        if is_query and set(code.findings) <= set(codes):
            defining.setdefault(code.findings, []).append(code)
    queries = []
    for members, rows in sorted(defining.items(), key=lambda item: len(item[0]) > 1):
        is_single = len(members) == 1
        general = min(rows, key=lambda row: len(row.name))  # the shortest adds no other detail
        title = general.name[0].upper() + general.name[1:]
        name = vocabulary.names(members)[0] if is_single else f"{title} (any of {len(members)})"
        label = members[0] if is_single else general.abbreviation
        queries.append(LabelQuery(label, name, members, tuple(row.snomed for row in rows)))
    return queries


@dataclass(frozen=True)
class LabelMatrix:
    """The labels of a set of records for each query.

    Attributes
    ----------
    y_true : ndarray of shape (n_records, n_queries), bool
        A code of the record means one or more findings of the query, and none outside it.
    exact : ndarray of shape (n_records, n_queries), bool
        A code of the record means exactly the query.
    unclear : ndarray of shape (n_records, n_queries), bool
        Not positive, but a code of the record is broader and may include the query.
    """

    y_true: np.ndarray
    exact: np.ndarray
    unclear: np.ndarray


def label_matrix(
    queries: Sequence[LabelQuery], labels: Sequence[Iterable[int]], vocabulary: Vocabulary
) -> LabelMatrix:
    """Compute the labels of records for each query.

    Parameters
    ----------
    queries : sequence of LabelQuery
    labels : sequence of iterable of int, length n_records
        SNOMED CT codes of each record; unknown codes are ignored.
    vocabulary : Vocabulary

    Returns
    -------
    LabelMatrix

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> queries = label_queries(["AFLT", "2AVB"], ptbxl())
    >>> matrix = label_matrix(queries, [[164890007], [195080001, 54016002]], ptbxl())
    >>> matrix.y_true.tolist(), matrix.unclear.tolist()
    ([[True, False], [False, True]], [[False, False], [True, False]])
    """
    known = table(vocabulary)
    numbers = {code: i for i, code in enumerate(known)}
    is_inside, is_exact, overlaps = np.zeros((3, len(known), len(queries)), bool)
    for i, code in enumerate(known.values()):
        covers_more = code.relation == "broader" and len(code.findings) == 1
        for j, query in enumerate(queries):
            shared = set(code.findings) & set(query.findings)
            is_exact[i, j] = code.snomed in query.defined_by
            is_inside[i, j] = bool(shared) and not covers_more and shared == set(code.findings)
            overlaps[i, j] = bool(shared)
    has_code = np.zeros((len(labels), len(known)), np.float32)
    for row, codes in zip(has_code, labels, strict=True):
        row[[numbers[code] for code in codes if code in numbers]] = 1
    y_true, exact, overlapping = (
        has_code @ relation.astype(np.float32) > 0 for relation in (is_inside, is_exact, overlaps)
    )
    return LabelMatrix(y_true, exact, overlapping & ~y_true)


def undecided(queries: Sequence[LabelQuery], matrix: LabelMatrix, n_least: int) -> dict[str, str]:
    """Return the queries that the labels of a set of records cannot decide.

    Parameters
    ----------
    queries : sequence of LabelQuery
    matrix : LabelMatrix
    n_least : int
        Least number of positive and of negative records.

    Returns
    -------
    dict of str to str
        The reason by the code of the query.

    Notes
    -----
    A hospital that never used a code may not have looked for the finding, so none of its records
    is known to be negative. A hospital that mostly used a broader code has left open which records
    are positive.
    """
    reasons = {}
    for query, y_true, exact, unclear in zip(
        queries, matrix.y_true.T, matrix.exact.T, matrix.unclear.T, strict=True
    ):
        n_positive, n_unclear = int(y_true.sum()), int(unclear.sum())
        if not exact.any():
            reason = "the set has no code for just this"
        elif n_positive < n_least:
            reason = f"{n_positive} positive, fewer than {n_least}"
        elif (~y_true).sum() < n_least:
            reason = f"{(~y_true).sum()} negative, fewer than {n_least}"
        elif n_unclear > n_positive:
            reason = (
                f"{n_unclear} records have a broader code only, more than the {n_positive} positive"
            )
        else:
            continue
        reasons[query.code] = reason
    return reasons


def any_probability(
    queries: Sequence[LabelQuery], codes: Sequence[str], y_prob: np.ndarray
) -> np.ndarray:
    """Compute the probability that any finding of each query is present.

    Parameters
    ----------
    queries : sequence of LabelQuery
    codes : sequence of str, length n_findings
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]

    Returns
    -------
    ndarray of shape (n_records, n_queries), float64 in [0, 1]
        Noisy-or: ``1 - prod(1 - p)``; for a single finding its own probability.

    Notes
    -----
    On fold 8 of PTB-XL the noisy-or was better calibrated than the largest of the probabilities and
    ranked as well or better (docs/LOG.md, 2026-11-22): findings of a kind replace each other more
    often than they occur together.
    """
    columns = {code: i for i, code in enumerate(codes)}
    parts = [
        y_prob[:, columns[query.findings[0]]]
        if len(query.findings) == 1
        else 1 - np.prod(1 - y_prob[:, [columns[code] for code in query.findings]], axis=1)
        for query in queries
    ]
    return np.stack(parts, axis=1) if parts else np.empty((len(y_prob), 0))


def any_present(
    queries: Sequence[LabelQuery], codes: Sequence[str], y_pred: np.ndarray
) -> np.ndarray:
    """Return whether any finding of each query is predicted positive.

    Parameters
    ----------
    queries : sequence of LabelQuery
    codes : sequence of str, length n_findings
    y_pred : ndarray of shape (n_records, n_findings), bool

    Returns
    -------
    ndarray of shape (n_records, n_queries), bool
    """
    columns = {code: i for i, code in enumerate(codes)}
    parts = [y_pred[:, [columns[code] for code in query.findings]].any(axis=1) for query in queries]
    return np.stack(parts, axis=1) if parts else np.empty((len(y_pred), 0), bool)
