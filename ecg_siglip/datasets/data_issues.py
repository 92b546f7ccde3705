"""What a check of a data set finds wrong or unusual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.table_problems import N_EXAMPLES, Problems

ERROR, WARNING = "error", "warning"
# Kinds of wrong cells that are not "wrong" with the name of their column.
WHOLE = (
    *("code in two columns", "present and unknown", "empty cell", "empty fold", "doubled path"),
    *("doubled record", "doubled ecg_id", "patient in several folds"),
)


@dataclass
class Issue:
    """What is wrong, or unusual, in a data set.

    Attributes
    ----------
    level : {"error", "warning"}
        Training stops at an error.
    kind : str
        What is wrong, in a few words.
    n : int
        Number of cells, records, files or findings.
    message : str
        The first case, or all of them, and what helps; one line.
    source : str
        Name of the data set; empty for all together.
    examples : list of dict
        Up to ``N_EXAMPLES`` cases, see docs/reference/check-output.md.
    """

    level: str
    kind: str
    n: int
    message: str
    source: str = ""
    examples: list[dict[str, Any]] = field(default_factory=list)


def cell_issues(problems: Problems, source: str, by_subject: str) -> list[Issue]:
    """Return the wrong cells of a table as errors.

    Parameters
    ----------
    problems : Problems
    source : str
    by_subject : str
        Kind whose subjects (codes) are counted one by one.
    """
    issues = []
    subjects: list[dict[str, Any]] = []
    n_subjects = 0
    for (kind, subject), entry in problems.found.items():
        first, more = entry.cells[0], entry.n - 1
        if kind == by_subject:
            n_subjects += entry.n_subjects
            if subject:
                cell = {"row": first.row, "column": first.column, "message": first.message}
                subjects.append({"code": subject, "n": entry.n, **cell})
            continue
        place = f", column {first.column}" if first.column else ""
        message = f"row {first.row}{place}: {first.message}"
        message += f" (and {more:,} more {'row' if more == 1 else 'rows'})" if more else ""
        examples = [vars(cell) for cell in entry.cells]
        issues.append(
            Issue(
                ERROR,
                kind if kind in WHOLE else f"wrong {kind}",
                entry.n,
                message,
                source,
                examples,
            )
        )
    if subjects:
        subjects.sort(key=lambda each: -each["n"])
        message = first_items((_with_hint(each) for each in subjects[:4]), 4)
        message += f" and {n_subjects - 4:,} more" if n_subjects > 4 else ""
        examples = subjects[:N_EXAMPLES]
        issues.append(Issue(ERROR, by_subject, n_subjects, message, source, examples))
    return issues


def _with_hint(subject: dict[str, Any]) -> str:
    """Return a code with the number of its rows and the hint of its message."""
    hint = subject["message"].rpartition("; ")[2]
    return f"{shown(subject['code'])} ({subject['n']:,} x, {hint})"


def first_items(items: Iterable[str], n: int = 8) -> str:
    """Return the first few items of a list as text, with the number of the others."""
    listed: Sequence[str] = list(items)
    more = f" and {len(listed) - n:,} more" if len(listed) > n else ""
    return ", ".join(listed[:n]) + more
