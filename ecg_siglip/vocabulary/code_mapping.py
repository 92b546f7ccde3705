"""Translate the codes of another data set into the findings of a vocabulary, unknown where unclear.

A *relation* defines what a code means: ``exact`` (code and finding are the same), ``narrower`` (the
code is a kind of the finding), ``broader`` (the code covers several findings, or more than one
does).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_siglip.core.csv_text import check_cells, csv_form, csv_rows
from ecg_siglip.core.files import shown

RELATIONS = ("exact", "narrower", "broader")
COLUMNS = ("code", "findings", "relation")


@dataclass(frozen=True)
class CodeMeaning:
    """What a code of another data set means.

    Attributes
    ----------
    code : str
    findings : tuple of str
        Findings of the vocabulary; empty if it has none for the code.
    relation : {"exact", "narrower", "broader"}
    """

    code: str
    findings: tuple[str, ...]
    relation: str = "exact"


def read_mapping(path: str | Path, codes: Collection[str]) -> list[CodeMeaning]:
    """Read a mapping from a CSV file with the columns code, findings and, optional, relation.

    Parameters
    ----------
    path : path
        UTF-8; several findings of a code are separated by semicolons, an empty cell means none.
    codes : collection of str
        Codes of the vocabulary.

    Raises
    ------
    ValueError
        If the file is missing or has other columns, a code occurs twice, a finding is not in the
        vocabulary, or the relation is unknown or does not fit; the message names file and row.
    """
    name = shown(str(path))
    if not Path(path).is_file():
        raise ValueError(f"{name}: cannot be read as a CSV file: there is no such file")
    form = csv_form(Path(path), name)
    fields = [field.lower() for field in form.header]
    if not {"code", "findings"} <= {*fields} <= {*COLUMNS, "comment", ""}:
        raise ValueError(
            f"{name}: expected the columns code, findings and, optional, relation and comment, got "
            f"{shown(', '.join(form.header))}"
        )
    meanings: dict[str, CodeMeaning] = {}
    for number, cells in csv_rows(Path(path), name, form):
        where = f"{name}: row {number}"
        check_cells(number, cells, form, name)
        row = dict(zip(fields, cells, strict=False))
        code = row["code"].strip()
        findings = tuple(
            each.strip() for each in row.get("findings", "").split(";") if each.strip()
        )
        relation = (row.get("relation") or "").strip() or (
            "exact" if len(findings) < 2 else "broader"
        )
        if not code or code in meanings:
            raise ValueError(f"{where}: " + (f"code {shown(code)} again" if code else "no code"))
        if absent := [each for each in findings if each not in codes]:
            raise ValueError(f"{where}: {shown(absent[0])} is not in the vocabulary")
        if relation not in RELATIONS:
            raise ValueError(
                f"{where}: expected a relation of {', '.join(RELATIONS)}, got {shown(relation)}"
            )
        if relation == "exact" and len(findings) > 1:
            raise ValueError(
                f"{where}: {shown(code)} is exact for {len(findings)} findings; expected broader"
            )
        meanings[code] = CodeMeaning(code, findings, relation)
    return list(meanings.values())


def map_labels(
    meanings: Sequence[CodeMeaning], present: np.ndarray, known: np.ndarray, codes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Translate labels by code into labels by finding.

    Parameters
    ----------
    meanings : sequence of CodeMeaning, length n_codes
    present, known : ndarray of shape (n_records, n_codes), bool
        Whether the code is stated, and whether its absence would be.
    codes : sequence of str, length n_findings
        Findings of the vocabulary.

    Returns
    -------
    y_true, known : ndarray of shape (n_records, n_findings), bool

    Notes
    -----
    A finding is present if a code that means it, or a kind of it, is. Otherwise it is unknown if a
    code that covers it is present, which leaves open what is meant. Otherwise it is absent if a
    code that means it or covers it is known to be absent, and unknown if only kinds of it have
    codes. ``snomed.label_matrix`` follows the same rule.

    Examples
    --------
    >>> infarction = CodeMeaning("MI", ("IMI", "AMI"), "broader")
    >>> inferior = CodeMeaning("INF", ("IMI",))
    >>> present = np.array([[True, True], [True, False], [False, False]])
    >>> y_true, known = map_labels([infarction, inferior], present, present | True, ["IMI", "AMI"])
    >>> np.where(known, y_true.astype(int), -1).tolist()
    [[1, -1], [-1, -1], [0, 0]]
    """
    column_of = {code: i for i, code in enumerate(codes)}
    y_true = np.zeros((len(present), len(codes)), bool)
    covered, absent = y_true.copy(), y_true.copy()
    for meaning, is_present, is_known in zip(meanings, present.T, known.T, strict=True):
        for finding in meaning.findings:
            column = column_of.get(finding)
            if column is None:
                continue
            if meaning.relation == "broader":
                covered[:, column] |= is_present
            else:
                y_true[:, column] |= is_present
            if meaning.relation != "narrower":
                absent[:, column] |= is_known & ~is_present
    return y_true, y_true | (absent & ~covered)
