"""What is wrong or unusual in the files of a data set."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.data_issues import ERROR, WARNING, Issue, first_items
from ecg_siglip.datasets.file_checks import MISSING, FileFacts, FileToOpen
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.table_problems import N_EXAMPLES

TYPICAL_MV = 0.76  # median of PTB-XL, of which 98 % have 0.35 to 1.6 mV
UNUSUAL_MV = (0.1, 5.0)  # low voltage begins at about 0.25 mV
MIN_GROUP = 3  # files from which an error of the units is concluded
SAME_PEAK = 0.2  # share of the files with the same largest value
# Ratio of the amplitude to a typical one, and what that means.
FAR = 40
UNIT_ERRORS = (
    (400, 2500, "about 1000 times too large: uV read as mV? units=uV"),
    (FAR, 400, "about 100 to 250 times too large: counts of the converter? gain=200"),
    (1 / 2500, 1 / 400, "about 1000 times too small: mV read as uV? units=mV"),
    (1 / 400, 1 / FAR, "about 100 to 250 times too small: is the gain applied twice?"),
)
MAX_HINTS = 200  # missing files that are searched for under similar names


def file_issues(
    files: Sequence[FileToOpen],
    facts: Sequence[FileFacts],
    rows: Sequence[int | None],
    allowed: Collection[str],
    source: str,
) -> list[Issue]:
    """Return what is wrong or unusual in the files of one data set.

    Parameters
    ----------
    files : sequence of FileToOpen
    facts : sequence of FileFacts
    rows : sequence of int or None
        Row of each file in the table, as a spreadsheet shows it.
    allowed : collection of str
        Problems with which records are left out, see ``FileFacts.problem``.
    source : str
        Name of the data set.
    """

    def example(i: int, message: str) -> dict[str, Any]:
        return {"row": rows[i], "path": files[i].path, "message": message}

    issues = []
    for kind in dict.fromkeys(each.problem for each in facts if each.problem):
        texts = [(i, each.reason) for i, each in enumerate(facts) if each.problem == kind]
        if kind == MISSING:
            hints = [missing_hint(Path(files[i].path)) for i, _ in texts[:MAX_HINTS]]
            hints += ["no such file"] * (len(texts) - len(hints))
            texts = [(i, hint) for (i, _), hint in zip(texts, hints, strict=True)]
        for reason, group in by_pattern(texts):
            row = rows[group[0]]
            where = "" if row is None else f" in row {row}"
            message = f"{shown(_short(files[group[0]].path))}{where}: {reason}"
            level = WARNING if kind in allowed else ERROR
            listed = [example(i, facts[i].reason) for i in group[:N_EXAMPLES]]
            issues.append(Issue(level, kind, len(group), message, source, listed))
    issues += _amplitude_issues(files, facts, example, source)
    warned = [(i, text) for i, each in enumerate(facts) for text in each.warnings]
    for text, group in by_pattern(warned):
        message = f"{text} ({shown(_short(files[group[0]].path))})"
        listed = [example(i, text) for i in group[:N_EXAMPLES]]
        issues.append(Issue(WARNING, "warning of the reader", len(group), message, source, listed))
    for kind, key in (("flat leads", "flat"), ("missing leads", "missing")):
        with_it = [i for i, each in enumerate(facts) if getattr(each, key)]
        if with_it:
            leads = Counter(lead for i in with_it for lead in getattr(facts[i], key))
            message = first_items((f"{lead} ({n:,})" for lead, n in leads.most_common()), 12)
            listed = [example(i, " ".join(getattr(facts[i], key))) for i in with_it[:N_EXAMPLES]]
            issues.append(Issue(WARNING, kind, len(with_it), message, source, listed))
    return issues


def _amplitude_issues(
    files: Sequence[FileToOpen], facts: Sequence[FileFacts], example: Any, source: str
) -> list[Issue]:
    """Return warnings of amplitudes that are not those of ECGs in mV."""
    read = [i for i, each in enumerate(facts) if each.fs]
    amplitude = np.array([each.amplitude_mv for each in facts])
    issues, explained = [], set()
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i in read:
        stated = tuple((name, files[i].read.get(name)) for name in ("units", "gain"))
        groups[(str(Path(files[i].path).parent), facts[i].format, stated)].append(i)
    for (folder, kind, _), group in groups.items():
        ratio = amplitude[group] / TYPICAL_MV
        for far in (ratio >= FAR, (ratio < 1 / FAR) & (ratio > 0)):
            wrong = [i for i, is_far in zip(group, far, strict=True) if is_far]
            if len(wrong) < MIN_GROUP:
                continue
            explained |= {*wrong}
            typical = float(np.median(amplitude[wrong]))
            meaning = next(
                (m for low, high, m in UNIT_ERRORS if low <= typical / TYPICAL_MV < high),
                "wrong units or gain?",
            )
            message = (
                f"{len(wrong):,} of {len(group):,} files in {shown(folder)} ({kind}): a typical "
                f"lead has {typical:.3g} mV, {meaning}"
            )
            listed = [example(i, f"{amplitude[i]:.3g} mV") for i in wrong[:N_EXAMPLES]]
            issues.append(Issue(WARNING, "wrong units", len(wrong), message, source, listed))
    low, high = UNUSUAL_MV
    for kind, unusual in (
        ("low amplitudes", [i for i in read if amplitude[i] < low and i not in explained]),
        ("high amplitudes", [i for i in read if amplitude[i] > high and i not in explained]),
    ):
        if unusual:
            some = (f"{_short(files[i].path)} ({amplitude[i]:.3g} mV)" for i in unusual)
            message = f"{first_items(some, 3)}; expected {low:g} to {high:g} mV"
            listed = [example(i, f"{amplitude[i]:.3g} mV") for i in unusual[:N_EXAMPLES]]
            issues.append(Issue(WARNING, kind, len(unusual), message, source, listed))
    peaks = Counter(round(facts[i].peak_mv, 4) for i in read).most_common(1)
    if peaks and peaks[0][1] >= max(MIN_GROUP + 2, SAME_PEAK * len(read)):
        value, n = peaks[0]
        same = [i for i in read if round(facts[i].peak_mv, 4) == value]
        message = f"their largest value is {value:g} mV: clipped, or scaled to a fixed range?"
        listed = [example(i, f"{value:g} mV") for i in same[:N_EXAMPLES]]
        issues.append(Issue(WARNING, "same largest value", n, message, source, listed))
    return issues


def copy_issues(
    data: LabelledRecords, names: Sequence[str], copies: Sequence[tuple[int, int]]
) -> list[Issue]:
    """Return warnings of ECGs that are in a data set, or in several, more than once.

    Parameters
    ----------
    data : LabelledRecords
        Of all data sets.
    names : sequence of str
        Of the records.
    copies : sequence of (int, int)
        Rows.
    """
    kinds: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for a, b in copies:
        if data.source_of[a] != data.source_of[b]:
            kinds["ECGs in two data sets (the first is used)"].append((a, b))
        elif data.strat_fold[a] != data.strat_fold[b]:
            kinds["same ECG in two folds: scores will be too high"].append((a, b))
        elif data.patient_id[a] != data.patient_id[b]:
            kinds["same ECG of two patients"].append((a, b))
        else:
            kinds["same ECG twice"].append((a, b))
    issues = []
    for kind, pairs in kinds.items():
        texts = [f"{shown(_short(names[b]))} is {shown(_short(names[a]))}" for a, b in pairs]
        listed = [
            {"path": names[b], "copy_of": names[a], "message": text}
            for (a, b), text in zip(pairs[:N_EXAMPLES], texts, strict=False)
        ]
        issues.append(Issue(WARNING, kind, len(pairs), first_items(texts, 3), "", listed))
    return issues


def _short(path: str) -> str:
    """Return the last two parts of a path."""
    return "/".join(Path(path).parts[-2:])


def by_pattern(texts: Sequence[tuple[int, str]]) -> list[tuple[str, list[int]]]:
    """Group texts that differ in numbers and names only.

    Parameters
    ----------
    texts : sequence of (int, str)
        Row, text.

    Returns
    -------
    list of (str, list of int)
        The first text of each group and its rows, the largest group first.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for row, text in texts:
        pattern = re.sub(r"\S*[\d/\\]\S*|'[^']*'|\"[^\"]*\"", "#", text)[:80]
        first.setdefault(pattern, text)
        groups[pattern].append(row)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [(first[pattern], rows) for pattern, rows in ordered]


def missing_hint(path: Path) -> str:
    """Return why a file may be missing."""
    if "\\" in str(path):
        return "the path has \\ where / is expected"
    if path.is_dir():
        return "is a folder; expected the file of one ECG"
    if not path.parent.is_dir():
        there = next((each for each in path.parents if each.is_dir()), None)
        missing = path.parent.relative_to(there).parts[0] if there is not None else ""
        if there is not None and (near := _similar_name(there, missing)):
            return f"no folder {shown(there / missing)}: there is {shown(near)}"
        return f"no folder {shown(path.parent)}: set data.root=... to where the paths begin"
    near = _similar_name(path.parent, path.name)
    return f"there is {shown(near)}" if near else "no such file"


def _similar_name(folder: Path, name: str) -> str:
    """Return a name in a folder that has the same stem in any case; "" if there is none."""
    stem = name.partition(".")[0].lower()
    with os.scandir(folder) as entries:
        near = [each.name for each in entries if each.name.partition(".")[0].lower() == stem]
    return min(near, default="")
