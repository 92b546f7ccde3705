"""SNOMED CT codes of other hospitals to our findings: what can be asked of them, fairly.

``snomed.csv`` has one row a code of the PhysioNet/CinC challenges and says which of our findings it
stands for. A *question* is what one can ask of such labels: a set of findings that a code names.
Whatever a code means is inside or outside that set, or one cannot tell:

- ``exact``: the code and the finding mean the same.
- ``narrower``: the code is a kind of the finding (Mobitz I is a second degree AV block). It answers
  yes; but a hospital that has only such codes leaves other kinds unsaid, so they ask nothing.
- ``broader``: the code covers several findings (infarction, of any wall) and asks whether any of
  them is there. With one finding it covers more than we have words for, and asks nothing.
- ``none``: no finding of ours.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_siglip.vocabulary import findings

RELATIONS = ("exact", "narrower", "broader", "none")


@dataclass(frozen=True)
class Code:
    """A code of the challenges and what it means here.

    Attributes
    ----------
    snomed : int
        SNOMED CT.
    abbreviation, name : str
        As the challenges have them, but for misspellings and for one that is a finding here.
    relation : {"exact", "narrower", "broader", "none"}
        Of the code to the findings.
    findings : tuple of str
        Ours, in the order of the vocabulary.
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
    """What can be asked of a hospital's labels.

    Attributes
    ----------
    code : str
        Our code; of several findings together the abbreviation of the challenges.
    name : str
    findings : tuple of str
        Yes if any of them is present.
    asked_by : tuple of int
        The codes that mean just this.
    """

    code: str
    name: str
    findings: tuple[str, ...]
    asked_by: tuple[int, ...]


@functools.cache
def table() -> dict[int, Code]:
    """Every code of ``snomed.csv``, in its order: first those that the challenges score.

    Notes
    -----
    Codes, abbreviations and merged pairs: ``dx_mapping_scored.csv`` and ``dx_mapping_unscored.csv``
    of github.com/physionetchallenges/evaluation-2021 (Reyna et al. 2021, *Will Two Do?*, and Perez
    Alday et al. 2020, doi:10.1088/1361-6579/abc960). Which findings they stand for is our reading;
    where PTB-XL went through the same mill, it is held to what became of its statements.
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


def label_queries(codes: Collection[str]) -> list[LabelQuery]:
    """What can be asked of a model that knows these findings, single findings first.

    Parameters
    ----------
    codes : collection of str
        The model's findings. What needs another one is not asked.

    Examples
    --------
    >>> [(q.code, q.asked_by) for q in label_queries(["CLBBB", "3AVB"])]
    [('CLBBB', (733534002, 164909002)), ('3AVB', (27885002,))]
    """
    asking: dict[tuple[str, ...], list[Code]] = {}
    for code in table().values():
        asks = code.relation == "exact" or (code.relation == "broader" and len(code.findings) > 1)
        if asks and set(code.findings) <= set(codes):
            asking.setdefault(code.findings, []).append(code)
    found = []
    for together, rows in sorted(asking.items(), key=lambda item: len(item[0]) > 1):
        single = len(together) == 1
        general = min(rows, key=lambda row: len(row.name))  # the shortest says least besides
        title = general.name[0].upper() + general.name[1:]
        name = findings.names(together)[0] if single else f"{title} (any of {len(together)})"
        label = together[0] if single else general.abbreviation
        found.append(LabelQuery(label, name, together, tuple(row.snomed for row in rows)))
    return found


@dataclass(frozen=True)
class LabelMatrix:
    """What the labels of a set say to each question.

    Attributes
    ----------
    y_true : ndarray of shape (n_records, n_questions), bool
        A code of the record lies inside the question.
    asked : ndarray of shape (n_records, n_questions), bool
        A code of the record means just this.
    unclear : ndarray of shape (n_records, n_questions), bool
        Not true, but a code of the record is broader and may mean it.
    """

    y_true: np.ndarray
    asked: np.ndarray
    unclear: np.ndarray


def label_matrix(asked: Sequence[LabelQuery], labels: Sequence[Iterable[int]]) -> LabelMatrix:
    """What the codes of each record say to each question; codes that nobody knows say nothing.

    Examples
    --------
    >>> flutter, block = label_queries(["AFLT"])[0], label_queries(["2AVB"])[0]
    >>> said = label_matrix([flutter, block], [[164890007], [195080001, 54016002]])
    >>> said.y_true.tolist(), said.unclear.tolist()
    ([[True, False], [False, True]], [[False, False], [True, False]])
    """
    known = table()
    numbers = {code: i for i, code in enumerate(known)}
    inside, asks, touches = np.zeros((3, len(known), len(asked)), bool)
    for i, code in enumerate(known.values()):
        alone = code.relation == "broader" and len(code.findings) == 1
        for j, question in enumerate(asked):
            shared = set(code.findings) & set(question.findings)
            asks[i, j] = code.snomed in question.asked_by
            inside[i, j] = bool(shared) and not alone and shared == set(code.findings)
            touches[i, j] = bool(shared)
    has = np.zeros((len(labels), len(known)), np.float32)
    for row, codes in zip(has, labels, strict=True):
        row[[numbers[code] for code in codes if code in numbers]] = 1
    y_true, said, touched = (has @ part.astype(np.float32) > 0 for part in (inside, asks, touches))
    return LabelMatrix(y_true, said, touched & ~y_true)


def undecided(questions: Sequence[LabelQuery], said: LabelMatrix, n_least: int) -> dict[str, str]:
    """The questions that the labels of a set cannot decide, and why.

    Parameters
    ----------
    questions : sequence of Question
    said : Answers
    n_least : int
        Records that must have a finding, and that must not.

    Notes
    -----
    A hospital that never wrote a code may not have looked for it, so that nobody there is known to
    be without. One that mostly wrote a broader code has left open who has the finding.
    """
    reasons = {}
    for question, true, asked, unclear in zip(
        questions, said.y_true.T, said.asked.T, said.unclear.T, strict=True
    ):
        n_true, n_unclear = int(true.sum()), int(unclear.sum())
        if not asked.any():
            reason = "the set has no code for just this"
        elif n_true < n_least:
            reason = f"{n_true} positive, fewer than {n_least}"
        elif (~true).sum() < n_least:
            reason = f"{(~true).sum()} negative, fewer than {n_least}"
        elif n_unclear > n_true:
            reason = (
                f"{n_unclear} records have a broader code only, more than the {n_true} positive"
            )
        else:
            continue
        reasons[question.code] = reason
    return reasons


def any_probability(
    asked: Sequence[LabelQuery], codes: Sequence[str], y_prob: np.ndarray
) -> np.ndarray:
    """The probability that any finding of each question is present.

    Parameters
    ----------
    asked : sequence of Question
    codes : sequence of str, length n_findings
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]

    Returns
    -------
    ndarray of shape (n_records, n_questions), float64 in [0, 1]
        Noisy-or: ``1 - prod(1 - p)``, of one finding its own probability.

    Notes
    -----
    On fold 8 of PTB-XL the noisy-or was better calibrated than the largest of the probabilities and
    ranked as well or better (docs/LOG.md, 2026-11-22): findings of a kind stand in for each other
    more than they come together.
    """
    columns = {code: i for i, code in enumerate(codes)}
    parts = [
        y_prob[:, columns[q.findings[0]]]
        if len(q.findings) == 1
        else 1 - np.prod(1 - y_prob[:, [columns[code] for code in q.findings]], axis=1)
        for q in asked
    ]
    return np.stack(parts, axis=1) if parts else np.empty((len(y_prob), 0))


def any_present(
    asked: Sequence[LabelQuery], codes: Sequence[str], y_pred: np.ndarray
) -> np.ndarray:
    """Whether any finding of each question is called, (n_records, n_questions) bool.

    Parameters
    ----------
    asked : sequence of Question
    codes : sequence of str, length n_findings
    y_pred : ndarray of shape (n_records, n_findings), bool
    """
    columns = {code: i for i, code in enumerate(codes)}
    parts = [y_pred[:, [columns[code] for code in q.findings]].any(axis=1) for q in asked]
    return np.stack(parts, axis=1) if parts else np.empty((len(y_pred), 0), bool)
