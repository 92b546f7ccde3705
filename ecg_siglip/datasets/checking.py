"""Check data sets before training: what is in them, and what is wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.files import shown
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.challenge_records import read_challenge
from ecg_siglip.datasets.data_issues import ERROR, WARNING, Issue, cell_issues, first_items
from ecg_siglip.datasets.file_checks import (
    MISSING,
    UNREADABLE,
    UNUSABLE,
    FileFacts,
    FileToOpen,
    file_facts,
    open_files,
)
from ecg_siglip.datasets.file_issues import copy_issues, file_issues
from ecg_siglip.datasets.folds import make_folds
from ecg_siglip.datasets.label_checks import Expected, label_facts, label_issues
from ecg_siglip.datasets.loading import register_of
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.source_settings import check_sources
from ecg_siglip.datasets.sources import concatenate_sources, distinct_names
from ecg_siglip.datasets.table import EMPTY_FOLD, TableData, label_records, parse_table
from ecg_siglip.datasets.table_file import write_with_folds
from ecg_siglip.datasets.table_labels import UNKNOWN_CODE
from ecg_siglip.datasets.table_problems import Problems
from ecg_siglip.vocabulary.code_mapping import read_mapping
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import load_vocabulary

# Warnings that are listed first.
LIKELY_MISTAKES = ("wrong units", "same ", "ECGs in two", "columns that", "findings always")


@dataclass
class _Source:
    """A data set of the check.

    Attributes
    ----------
    settings : config.SourceConfig
    data : LabelledRecords
        Without signals.
    issues : list of Issue
    table : TableData, optional
    files : list of FileToOpen
        One per record; the path is "" where the table has none.
    """

    settings: config.SourceConfig
    data: LabelledRecords
    issues: list[Issue]
    files: list[FileToOpen]
    table: TableData | None = None

    @property
    def allowed(self) -> set[str]:
        """Problems of files with which records are left out in training."""
        left_out = {MISSING} if self.settings.allow_missing else set()
        return left_out | ({UNREADABLE, UNUSABLE} if self.settings.allow_unreadable else set())

    def row(self, i: int) -> int | None:
        """Return the number of a record's row in the table."""
        return None if self.table is None else int(self.table.table.row_numbers[i])


@dataclass
class DataCheck:
    """What a check has found.

    Attributes
    ----------
    issues : list of Issue
        Errors first.
    facts : dict
        Content of check.json, without the issues.
    """

    issues: list[Issue]
    facts: dict[str, Any]
    n_errors: int = field(init=False)

    def __post_init__(self) -> None:
        self.issues = sorted(self.issues, key=_rank)
        self.n_errors = sum(issue.level == ERROR for issue in self.issues)

    def as_json(self) -> dict[str, Any]:
        """Return the content of check.json."""
        return {
            "ok": not self.n_errors,
            "n_errors": self.n_errors,
            "n_warnings": len(self.issues) - self.n_errors,
            "issues": [asdict(issue) for issue in self.issues],
            **self.facts,
        }


def _rank(issue: Issue) -> tuple[bool, bool]:
    """Return a key for sorting: errors, then what is most likely a mistake."""
    return issue.level != ERROR, not issue.kind.startswith(LIKELY_MISTAKES)


def check_data(settings: config.CheckConfig, progress: bool = True) -> DataCheck:
    """Check the data sets of a training; write the table with folds if that is set.

    Parameters
    ----------
    settings : config.CheckConfig
    progress : bool
        Show bars on stderr if that is a terminal.

    Raises
    ------
    ValueError
        If no data set can be read at all, or folds are to be written and there is no single table.
    """
    check_sources(settings.data)
    if settings.folds:
        _check_folds_file(Path(settings.folds), settings.data)
    vocabulary = load_vocabulary(settings.vocabulary)
    codes = vocabulary.task_codes(settings.data.task)
    names = tuple(vocabulary.names(codes))
    expected = Expected(codes, names, vocabulary.exclusive_pairs(codes))
    chosen: Sequence[config.SourceConfig] = settings.data.sources or [settings.data]
    sources, issues = [], []
    for each in chosen:
        try:
            sources.append(_read_source(each, settings, vocabulary, progress))
        except (ValueError, OSError) as error:
            if len(chosen) == 1:
                raise
            issues.append(Issue(ERROR, "data set cannot be read", 1, str(error), each.name))
    if not sources:
        raise ValueError(issues[0].message)
    if settings.folds:
        _check_same_folder(sources[0], Path(settings.folds))
    parts = [each.data for each in sources]
    data = parts[0]
    if len(parts) > 1:
        parts = distinct_names(parts, [each.settings.name for each in sources])
        data = concatenate_sources(parts, [register_of(each.settings) for each in sources])
    issues += [issue for each in sources for issue in each.issues]
    tune, train = settings.data.tune_fold, settings.data.train_folds
    facts: dict[str, Any] = {"sources": [_source_facts(each) for each in sources]}
    facts |= label_facts(data, expected, tune, train)
    paths = [file.path for each in sources for file in each.files]
    issues += label_issues(data, paths, facts, expected, tune)
    facts["files"] = None
    if settings.files:
        facts["files"], found = _check_files(sources, data, settings, progress)
        issues += found
    facts["folds_written"] = None
    if settings.folds and not any(issue.level == ERROR for issue in sources[0].issues):
        _write_folds(sources[0], settings.folds)
        facts["folds_written"] = settings.folds
    return DataCheck(issues, facts)


def _read_source(
    source: config.SourceConfig,
    settings: config.CheckConfig,
    vocabulary: Vocabulary,
    progress: bool,
) -> _Source:
    """Read the labels of a data set; no file of an ECG is opened."""
    if source.kind == "table":
        return _read_table(source, settings, vocabulary)
    if not source.root:
        raise ValueError(f"data.root is missing for {source.name}; expected data.root=...")
    problems = Problems(collect=True)
    if source.kind == "challenge":
        data = read_challenge(source.root, vocabulary, settings.data.task, progress)
        files = [FileToOpen(str(path), {}, allow_short=True) for path in data.paths]
    else:
        data = ptbxl.load_ptbxl(
            source.root,
            fs=source.fs,
            task=settings.data.task,
            vocabulary=vocabulary,
            signals=False,
            problems=problems,
        )
        data = replace(data, sources=(source.name,))
        files = [FileToOpen(str(path), {}, source.fs) for path in data.paths]
    return _Source(source, data, cell_issues(problems, source.name, UNKNOWN_CODE), files)


def _read_table(
    source: config.SourceConfig, settings: config.CheckConfig, vocabulary: Vocabulary
) -> _Source:
    """Read a table with all of its wrong cells."""
    if not source.table:
        raise ValueError(f"data.table is missing for {source.name}; expected data.table=...")
    codes, problems = vocabulary.codes, Problems(collect=True)
    mapping = read_mapping(Path(source.codes), codes) if source.codes else None
    table = parse_table(
        source.table, vocabulary, settings.data.task, source.query, mapping, problems
    )
    folds = table.strat_fold
    if settings.folds and problems.found.pop((EMPTY_FOLD, ""), None):
        folds = make_folds(table.patients, table.y_true, folds)
        table = replace(table, strat_fold=folds)
    folder = source.root if source.root is not None else str(table.table.folder)
    read = {name: value for name, value in asdict(source.read).items() if value}
    # Path objects for a million records would take half of the time.
    places = [os.path.join(folder, path) if path else "" for path in table.paths]
    own = table.read or [{}] * len(table)
    files = [FileToOpen(p, {**read, **o} if o else read) for p, o in zip(places, own, strict=True)]
    data = label_records(table, [], float("nan"))
    issues = cell_issues(problems, source.name, UNKNOWN_CODE)
    issues += _column_issues(
        table, source.name, codes if mapping is None else [m.code for m in mapping]
    )
    return _Source(source, replace(data, sources=(source.name,)), issues, files, table)


def _column_issues(table: TableData, source: str, codes: Sequence[str]) -> list[Issue]:
    """Return warnings of columns that are not used, or not there."""
    issues = []
    if ignored := table.table.ignored:
        listed = [f"{shown(name)}{table.table.hint(name, codes)}" for name in ignored]
        listed.sort(key=lambda text: "?)" not in text)
        examples = [{"column": name} for name in ignored]
        issues.append(
            Issue(
                WARNING,
                "columns that are ignored",
                len(ignored),
                first_items(listed),
                source,
                examples,
            )
        )
    if not table.has_patients:
        message = (
            "without patient_id each record is a patient of its own, and records of a patient may "
            "be in training and in test"
        )
        issues.append(Issue(WARNING, "no column patient_id", 1, message, source))
    empty = sum(not report.strip() for report in table.reports)
    if "report" in table.table.frame.columns and empty:
        message = f"of {len(table):,} records"
        issues.append(Issue(WARNING, "empty reports", empty, message, source))
    return issues


def _source_facts(source: _Source) -> dict[str, Any]:
    """Return what a data set is, as it is in check.json."""
    settings, table = source.settings, source.table
    facts: dict[str, Any] = {
        "name": settings.name,
        "kind": settings.kind,
        "where": table.table.name if table else str(settings.root),
        "n_records": len(source.data),
        "columns": [],
        "ignored_columns": [],
        "has_folds": True if table is None else table.has_folds,
        "has_patients": True if table is None else table.has_patients,
        "languages": {},
    }
    if settings.kind == "challenge":
        facts |= {"has_folds": False, "has_patients": False}
    if table is not None:
        frame = table.table.frame
        facts["columns"] = [str(name) for name in frame.columns]
        facts["ignored_columns"] = table.table.ignored
        if "language" in frame.columns:
            facts["languages"] = dict(Counter(frame["language"].dropna().astype(str)))
    return facts


def _check_files(
    sources: Sequence[_Source], data: LabelledRecords, settings: config.CheckConfig, progress: bool
) -> tuple[dict[str, Any], list[Issue]]:
    """Open all files."""
    files = [file for each in sources for file in each.files]
    listed = [i for i, file in enumerate(files) if file.path]
    spec = ptbxl.waveform_spec(settings.waveform)
    facts, copies = open_files([files[i] for i in listed], spec, settings.data.n_workers, progress)
    of_row: dict[int, FileFacts] = dict(zip(listed, facts, strict=True))
    issues, start = [], 0
    for each in sources:
        rows = [i for i in range(len(each.files)) if start + i in of_row]
        issues += file_issues(
            [each.files[i] for i in rows],
            [of_row[start + i] for i in rows],
            [each.row(i) for i in rows],
            each.allowed,
            each.settings.name,
        )
        start += len(each.files)
    copies = [(listed[a], listed[b]) for a, b in copies]
    names = [file.path for file in files]
    return file_facts(facts, len(copies)), issues + copy_issues(data, names, copies)


def _check_folds_file(path: Path, data: config.DataConfig) -> None:
    """Check where the table with folds is to be written, before the files are opened.

    Raises
    ------
    ValueError
        If there is no single table, or the file cannot be written there.
    """
    if data.sources or data.kind != "table" or not data.table:
        raise ValueError("folds=...: expected data=table, and no data.sources")
    name = f"folds={shown(path)}"
    if path.suffix.lower() not in (".csv", ".txt"):
        raise ValueError(f"{name}: expected a file that ends in .csv")
    if not path.parent.is_dir():
        raise ValueError(f"{name}: there is no folder {shown(path.parent)}")
    if path.is_dir():
        raise ValueError(f"{name} is a folder; expected a file")
    table = Path(data.table)
    if path.exists() and table.exists() and path.samefile(table):
        raise ValueError(f"{name} is the table itself; expected another file")


def _check_same_folder(source: _Source, path: Path) -> None:
    """Check that the relative paths of a table are right in the file with folds, too."""
    assert source.table is not None
    folder = source.table.table.folder
    if source.settings.root is not None or path.parent.resolve() == folder.resolve():
        return
    if not all(os.path.isabs(each) for each in source.table.paths if each):
        raise ValueError(
            f"folds={shown(path)}: the paths of the table begin in its folder; expected a file in "
            f"{shown(folder)}, or data.root={shown(folder)} here and in the training"
        )


def _write_folds(source: _Source, path: str) -> None:
    """Write the table with folds."""
    assert source.table is not None and source.settings.table
    folds = source.table.strat_fold
    write_with_folds(source.settings.table, source.settings.query, folds, Path(path))
