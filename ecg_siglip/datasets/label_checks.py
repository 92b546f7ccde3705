"""Check the labels of a data set: findings, folds, patients; no file is opened.

N: records, F: findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.data_issues import ERROR, WARNING, Issue, first_items
from ecg_siglip.datasets.folds import N_FOLDS
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.sources import (
    OTHER_PATIENTS,
    crossing_text,
    patients_in_several_folds,
)
from ecg_siglip.datasets.table_problems import N_EXAMPLES

MIN_PATIENTS = 5  # with a finding, in training and for tuning
MIN_LARGE, LARGE_SHARE = 50, 0.02  # records of one patient that are unusual
N_PAIRS = 20
N_CHUNK = 1 << 16  # records whose labels are multiplied at a time


@dataclass(frozen=True)
class Expected:
    """What the vocabulary states about the labels.

    Attributes
    ----------
    codes, names : tuple of str, length F
    exclusive : ndarray of shape (F, F), bool
        Findings of which not both are present.
    """

    codes: tuple[str, ...]
    names: tuple[str, ...]
    exclusive: np.ndarray


def label_facts(data: LabelledRecords, expected: Expected, tune: int, train: Sequence[int]) -> Any:
    """Return counts of the labels as they are in check.json.

    Parameters
    ----------
    data : LabelledRecords
    expected : Expected
    tune : int
        Fold for tuning.
    train : sequence of int
        Folds for training.

    Returns
    -------
    dict
        ``records``, ``folds``, ``findings``, ``co_occurrence`` and ``pairs``.
    """
    y, known = data.y_true, data.known
    n_known = np.full(y.shape[1], len(data)) if known is None else known.sum(0)
    n_positive, together = y.sum(0), co_occurrence(y)
    patient = pd.factorize(data.patient_id)[0]
    in_tune, in_train = data.strat_fold == tune, np.isin(data.strat_fold, list(train))
    by_fold = [y[data.strat_fold == fold].sum(0) for fold in range(1, N_FOLDS + 1)]
    findings = []
    for f, (code, name) in enumerate(zip(expected.codes, expected.names, strict=True)):
        rows = np.flatnonzero(y[:, f]) if n_positive[f] else np.zeros(0, np.int64)
        share = n_positive[f] / n_known[f] if n_known[f] else None
        findings.append(
            {
                "code": code,
                "name": name,
                "n_positive": int(n_positive[f]),
                "n_known": int(n_known[f]),
                "n_unknown": int(len(data) - n_known[f]),
                "prevalence": None if share is None else round(float(share), 6),
                "n_patients": _n_distinct(patient[rows]),
                "n_patients_train": _n_distinct(patient[rows[in_train[rows]]]),
                "n_patients_tune": _n_distinct(patient[rows[in_tune[rows]]]),
                "by_fold": [int(counts[f]) for counts in by_fold],
            }
        )
    stated = np.flatnonzero(n_positive)
    return {
        "records": _record_facts(data, patient),
        "folds": [
            {
                "fold": fold,
                "n_records": int((here := data.strat_fold == fold).sum()),
                "n_patients": _n_distinct(patient[here]),
                "use": "tuning" if fold == tune else "training" if fold in train else "other",
            }
            for fold in range(1, N_FOLDS + 1)
        ],
        "findings": findings,
        "co_occurrence": {
            "codes": [expected.codes[f] for f in stated],
            "n": together[np.ix_(stated, stated)].tolist(),
        },
        "pairs": _top_pairs(together, expected.codes),
    }


def _record_facts(data: LabelledRecords, patient: np.ndarray) -> dict[str, int]:
    any_present = data.y_true.any(1)
    any_known = np.ones(len(data), bool) if data.known is None else data.known.any(1)
    return {
        "n_records": len(data),
        "n_patients": _n_distinct(patient),
        "n_with_finding": int(any_present.sum()),
        "n_without_finding": int((any_known & ~any_present).sum()),
        "n_unlabelled": int((~any_known).sum()),
        "n_with_report": sum(bool(report.strip()) for report in data.reports),
    }


def _n_distinct(numbers: np.ndarray) -> int:
    return len(pd.unique(numbers))


def co_occurrence(y_true: np.ndarray) -> np.ndarray:
    """Return in how many records two findings are both present, (F, F) int64."""
    together = np.zeros((y_true.shape[1],) * 2, np.int64)
    for start in range(0, len(y_true), N_CHUNK):
        part = y_true[start : start + N_CHUNK].astype(np.float32)
        together += np.rint(part.T @ part).astype(np.int64)
    return together


def _top_pairs(together: np.ndarray, codes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most frequent pairs of findings."""
    a, b = np.triu_indices(len(codes), 1)
    order = np.argsort(-together[a, b], kind="stable")[:N_PAIRS]
    n = np.diag(together)
    return [
        {
            "codes": [codes[a[i]], codes[b[i]]],
            "n": int(both),
            "jaccard": round(float(both / (n[a[i]] + n[b[i]] - both)), 4),
        }
        for i in order
        if (both := together[a[i], b[i]])
    ]


def label_issues(
    data: LabelledRecords,
    names: Sequence[str],
    facts: dict[str, Any],
    expected: Expected,
    tune: int,
) -> list[Issue]:
    """Return what is wrong or unusual in the labels of a data set.

    Parameters
    ----------
    data : LabelledRecords
    names : sequence of str
        Of the records.
    facts : dict
        What ``label_facts`` returns.
    expected : Expected
    tune : int
        Fold for tuning.
    """
    issues = _patient_issues(data)
    n_of_use = {use: 0 for use in ("training", "tuning")}
    for fold in facts["folds"]:
        if fold["use"] in n_of_use:
            n_of_use[fold["use"]] += fold["n_records"]
    for use, n in n_of_use.items():
        if not n:
            which = f"fold {tune} (data.tune_fold)" if use == "tuning" else "data.train_folds"
            issues.append(Issue(ERROR, f"no record for {use}", 1, f"no record in {which}"))
    findings, records = facts["findings"], facts["records"]
    if records["n_unlabelled"] == records["n_records"]:
        message = "no label is known: only objectives with reports can be trained"
        return [*issues, Issue(WARNING, "no labels", records["n_records"], message)]
    issues += _finding_issues(findings)
    issues += _contradictions(data, names, facts["co_occurrence"], expected)
    if n := records["n_without_finding"]:
        message = f"{n / records['n_records']:.1%} of the records; all findings are absent in them"
        issues.append(Issue(WARNING, "records without a finding", n, message))
    return issues


def _patient_issues(data: LabelledRecords) -> list[Issue]:
    return [*_crossing_issues(data), *_large_patient_issues(data)]


def _large_patient_issues(data: LabelledRecords) -> list[Issue]:
    """Return a warning of one patient with a large share of the records."""
    distinct, first, counts = np.unique(data.patient_id, return_index=True, return_counts=True)
    if len(distinct) < 2 or counts.max() < max(MIN_LARGE, LARGE_SHARE * len(data)):
        return []
    largest = int(counts.argmax())
    name = data.record_names[first[largest]]
    message = (
        f"the patient of {shown(name)} has {counts[largest]:,} of {len(data):,} records: is "
        "patient_id a placeholder for patients that are not known?"
    )
    return [Issue(WARNING, "one patient with many records", int(counts[largest]), message)]


def _crossing_issues(data: LabelledRecords) -> list[Issue]:
    crossing = patients_in_several_folds(data) if len(data.sources) > 1 else []
    if not crossing:
        return []
    examples = [{"message": crossing_text(data, rows)} for rows in crossing[:N_EXAMPLES]]
    message = f"{examples[0]['message']}; {OTHER_PATIENTS}"
    return [Issue(ERROR, "patient in several folds", len(crossing), message, "", examples)]


def _finding_issues(findings: Sequence[dict[str, Any]]) -> list[Issue]:
    """Return warnings of findings that cannot be learned or scored."""
    known = [each for each in findings if each["n_known"]]
    stated = [each for each in findings if each["n_positive"]]
    few = {
        where: [each for each in stated if each[key] < MIN_PATIENTS]
        for where, key in (("training", "n_patients_train"), ("tuning", "n_patients_tune"))
    }
    groups = {
        "findings never present": (
            [each for each in findings if not each["n_positive"]],
            "no record has them; leave them out of the vocabulary, or check the codes",
            lambda each: each["code"],
        ),
        "findings always present": (
            [each for each in known if each["n_positive"] == each["n_known"]],
            "wherever they are known; is 0 or an absent code missing?",
            lambda each: f"{each['code']} ({each['n_positive']:,})",
        ),
        f"findings with fewer than {MIN_PATIENTS} patients in training": (
            few["training"],
            "they can hardly be learned",
            lambda each: f"{each['code']} ({each['n_patients_train']})",
        ),
        f"findings with fewer than {MIN_PATIENTS} patients for tuning": (
            few["tuning"],
            "their thresholds are uncertain",
            lambda each: f"{each['code']} ({each['n_patients_tune']})",
        ),
    }
    return [
        Issue(
            WARNING,
            kind,
            len(group),
            f"{first_items(text(each) for each in group)}: {what}",
            "",
            [{"code": each["code"]} for each in group],
        )
        for kind, (group, what, text) in groups.items()
        if group
    ]


def _contradictions(
    data: LabelledRecords, names: Sequence[str], together: dict[str, Any], expected: Expected
) -> list[Issue]:
    """Return warnings of labels that contradict the vocabulary."""
    codes, y = expected.codes, data.y_true
    stated = [codes.index(code) for code in together["codes"]]
    found = np.zeros(expected.exclusive.shape, bool)
    found[np.ix_(stated, stated)] = np.array(together["n"]).reshape((len(stated),) * 2) > 0
    pairs = [(int(a), int(b)) for a, b in np.argwhere(np.triu(expected.exclusive & found))]
    both = [(f"{codes[a]} and {codes[b]}", np.flatnonzero(y[:, a] & y[:, b])) for a, b in pairs]
    both = sorted(both, key=lambda case: -len(case[1]))
    if not both:
        return []
    listed = first_items((f"{text} ({len(rows):,} records)" for text, rows in both), 4)
    examples = [{"message": text, "path": names[row]} for text, rows in both for row in rows[:3]]
    n = len(np.unique(np.concatenate([rows for _, rows in both])))
    kind = "findings that exclude each other"
    return [Issue(WARNING, kind, n, listed, "", examples[:N_EXAMPLES])]
