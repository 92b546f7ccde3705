"""A table of ECGs as a labelled data set: one row per record, files in any readable format."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip.core.files import shown
from ecg_siglip.datasets.folds import N_FOLDS, make_folds
from ecg_siglip.datasets.records import LabelledRecords, first_of, stable_numbers
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.datasets.table_file import Table, read_table
from ecg_siglip.datasets.table_labels import MAPPING, VOCABULARY, read_labels
from ecg_siglip.datasets.table_problems import Problems
from ecg_siglip.datasets.task_labels import task_labels
from ecg_siglip.datasets.waveform_cache import WaveformCache, record_stamp, report_unreadable
from ecg_siglip.simulation.marker import are_simulated
from ecg_siglip.vocabulary.code_mapping import CodeMeaning, map_labels
from ecg_siglip.vocabulary.report_text import is_machine_report
from ecg_siglip.vocabulary.vocabulary import ALL, Vocabulary

CROSSING, EMPTY_FOLD = "patient in several folds", "empty fold"
ROUNDED = re.compile(r"\d[.,]?\d*E\+\d+")  # what a spreadsheet makes of a long number
UNITS = ("nV", "uV", "mV", "V")


@dataclass(frozen=True)
class TableData:
    """A table of ECGs with every cell checked.

    Attributes
    ----------
    table : Table
    codes : tuple of str
    vocabulary : Vocabulary
    y_true, known : ndarray of shape (n_records, n_findings), bool
    record : list of str
        Name of each record, no two alike: the column `record`, otherwise `path`.
    ecg_id : ndarray of shape (n_records,), int64
        Names that are integers, and hashes of the others.
    patient_id : ndarray of shape (n_records,), int64
        Likewise of the patients; 17.0, as a spreadsheet writes a number, is 17.
    patients : list of str
        Without the column `patient_id` each record is a patient of its own.
    strat_fold : ndarray of shape (n_records,), int64, 1 to 10
    has_folds, has_patients : bool
        Whether the table states them.
    reports : list of str
    read : list of dict, optional
        Arguments of ``read_record`` for each record; None if no row states any.
    weight : ndarray of shape (n_records,), float32, optional
    """

    table: Table
    codes: tuple[str, ...]
    vocabulary: Vocabulary
    y_true: np.ndarray
    known: np.ndarray
    record: list[str]
    ecg_id: np.ndarray
    patient_id: np.ndarray
    patients: list[str]
    strat_fold: np.ndarray
    has_folds: bool
    has_patients: bool
    reports: list[str]
    read: list[dict[str, Any]] | None
    weight: np.ndarray | None

    def __len__(self) -> int:
        return len(self.record)

    @property
    def paths(self) -> list[str]:
        """Path of each record as the table has it; "" for an empty cell."""
        return ["" if path != path else str(path).strip() for path in self.table.frame["path"]]


def parse_table(
    source: str,
    vocabulary: Vocabulary,
    task: str = ALL,
    query: str | None = None,
    mapping: Sequence[CodeMeaning] | None = None,
    problems: Problems | None = None,
) -> TableData:
    """Read a table of ECGs and check every cell; no ECG is opened.

    Parameters
    ----------
    source, query
        See ``table_file.read_table``.
    vocabulary : Vocabulary
        Its codes, and its languages for the column `language`.
    task : str
        Findings of the result.
    mapping : sequence of CodeMeaning, optional
        What the codes of the table mean; None: they are those of the vocabulary.
    problems : Problems, optional
        Collects wrong cells; they count as empty, an empty path, record or patient is "" and an
        empty fold 0. None: the first wrong cell raises an error.

    Raises
    ------
    ValueError
        If a cell is wrong, two rows have the same path or record, a fold is stated for some rows
        only, or a patient has records in several folds. The message names table, row and column.
    """
    problems = problems or Problems()
    codes = vocabulary.codes
    own_codes = codes if mapping is None else [meaning.code for meaning in mapping]
    table = read_table(source, query, own_codes, problems)
    y_true, known = read_labels(
        table, own_codes, problems, VOCABULARY if mapping is None else MAPPING
    )
    if mapping is not None:
        # Where the table never states a code, its findings are unknown.
        y_true, known = map_labels(mapping, y_true, known & y_true.any(0), codes)
    y_true, known = task_labels(vocabulary, task, y_true, known)
    paths = _filled(table, "path", problems)
    _check_unique(table, "path", paths, problems)
    record = paths
    if "record" in table.frame.columns:
        record = _filled(table, "record", problems)
        _check_unique(table, "record", record, problems)
    has_patients = "patient_id" in table.frame.columns
    patients = _patients(table, problems) if has_patients else record
    has_folds = "fold" in table.frame.columns
    folds = _folds(table, patients, problems) if has_folds else make_folds(patients, y_true)
    if "language" in table.frame.columns:
        _cells(table, "language", lambda text: _one_of(text, vocabulary.languages), problems)
    weight = None
    if "weight" in table.frame.columns:
        weight = np.array(_cells(table, "weight", _weight, problems), np.float64)
        weight = np.where(np.isnan(weight), 1.0, weight).astype(np.float32)
    return TableData(
        table=table,
        codes=vocabulary.task_codes(task),
        vocabulary=vocabulary,
        y_true=y_true,
        known=known,
        record=record,
        ecg_id=stable_numbers(record),
        patient_id=stable_numbers([_without_decimals(patient) for patient in patients]),
        patients=patients,
        strat_fold=folds,
        has_folds=has_folds,
        has_patients=has_patients,
        reports=_reports(table),
        read=_read_arguments(table, problems),
        weight=weight,
    )


def _patients(table: Table, problems: Problems) -> list[str]:
    """Return the column `patient_id`; long numbers must not have been rounded."""
    patients = _filled(table, "patient_id", problems)
    rounded = [i for i, text in enumerate(patients) if ROUNDED.fullmatch(text)]
    problems.add(
        "patient_id",
        table,
        "patient_id",
        np.array(rounded, np.int64),
        lambda row: (
            f"{shown(patients[row])} was rounded by a spreadsheet; format the column as text "
            "and export it again"
        ),
    )
    return patients


def _without_decimals(text: str) -> str:
    number = text.removesuffix(".0")
    return number if number.isdecimal() else text


def _filled(table: Table, name: str, problems: Problems) -> list[str]:
    """Return the cells of a column that must not be empty; "" for an empty one."""
    cells = ["" if cell != cell else str(cell).strip() for cell in table.frame[name]]
    empty = [i for i, cell in enumerate(cells) if not cell]
    problems.add("empty cell", table, name, np.array(empty, np.int64), "is empty")
    return cells


def _check_unique(table: Table, name: str, cells: list[str], problems: Problems) -> None:
    # One file may be written in several ways: a and ./a.
    texts = pd.Series(
        cells if name != "path" else [cell and os.path.normpath(cell) for cell in cells]
    )
    doubled = (texts.duplicated() & (texts != "")).to_numpy()
    problems.add(
        f"doubled {name}",
        table,
        name,
        np.flatnonzero(doubled),
        lambda row: (
            f"{shown(cells[row])} is also in row "
            f"{table.row_numbers[int((texts == texts[row]).argmax())]}; "
            "expected one row per ECG"
        ),
    )


def _cells(table: Table, name: str, parse: Callable[[str], Any], problems: Problems) -> list[Any]:
    """Parse the cells of a column, each different one once; NaN for an empty one."""
    numbers, texts = pd.factorize(table.frame[name])
    values, wrong = [], {}
    for i, text in enumerate(texts):
        try:
            values.append(parse(str(text).strip()))
        except ValueError as error:
            wrong[i] = f"{error}, got {shown(str(text))}"
            values.append(np.nan)
    rows = np.flatnonzero(np.isin(numbers, [*wrong])) if wrong else numbers[:0]
    problems.add(name, table, name, rows, lambda row: wrong[int(numbers[row])])
    return [values[number] if number >= 0 else np.nan for number in numbers]


def _one_of(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise ValueError(f"expected {', '.join(choices)}")
    return text


def _number(text: str, low: float, high: float, what: str) -> float:
    # 0,5 is a number of a spreadsheet in German or French; 1,500 may be two numbers.
    if re.fullmatch(r"0,\d+|\d+,(\d{1,2}|\d{4,})", text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise ValueError(f"expected {what} of {low:g} to {high:g}")
    return value


def _weight(text: str) -> float:
    return _number(text, 0.0, 1e6, "a weight")


def _fold(text: str) -> int:
    value = _number(text, 1, N_FOLDS, "a fold")
    if value % 1:
        raise ValueError(f"expected a fold of 1 to {N_FOLDS}")
    return int(value)


def _lead_names(text: str) -> list[str]:
    names = [name.strip() for name in text.replace(";", ",").split(",")]
    if not all(names):
        raise ValueError("expected names of leads as I,II,... (- for a channel to leave out)")
    return names


# Columns with arguments of ``read_record``, and how their cells are parsed.
_READ: Mapping[str, Callable[[str], Any]] = {
    "fs": lambda text: _number(text, 50, 20000, "a sampling rate in Hz"),
    "units": lambda text: _one_of(text, UNITS),
    "gain": lambda text: _number(text, 1e-6, 1e9, "counts per mV"),
    "leads": _lead_names,
}


def _read_arguments(table: Table, problems: Problems) -> list[dict[str, Any]] | None:
    stated = [name for name in _READ if name in table.frame.columns]
    if not stated:
        return None
    columns = [_cells(table, name, _READ[name], problems) for name in stated]
    return [
        {name: value for name, value in zip(stated, row, strict=True) if value == value}
        for row in zip(*columns, strict=True)
    ]


def _folds(table: Table, patients: list[str], problems: Problems) -> np.ndarray:
    """Return the folds that the table states; every record of a patient has the same."""
    folds = np.nan_to_num(np.array(_cells(table, "fold", _fold, problems), np.float64))
    problems.add(
        EMPTY_FOLD,
        table,
        "fold",
        np.flatnonzero(table.frame["fold"].isna()),
        lambda _: (
            "is empty; expected a fold in every row, or no such column (check folds=FILE fills it)"
        ),
    )
    stated = np.flatnonzero((folds > 0) & (np.array(patients, object) != ""))
    numbers, distinct = pd.factorize(np.array(patients, object)[stated])
    first = np.empty(len(distinct), np.int64)
    first[numbers[::-1]] = stated[::-1]
    first_row = np.arange(len(folds))  # the first one of the same patient
    first_row[stated] = first[numbers]
    problems.add(
        CROSSING,
        table,
        "fold",
        np.flatnonzero(folds != folds[first_row]),
        lambda row: (
            f"patient {shown(patients[row])} has fold {folds[row]:.0f} here and "
            f"{folds[first_row[row]]:.0f} in row {table.row_numbers[first_row[row]]}; a patient "
            "must not be in two folds"
        ),
    )
    return folds.astype(np.int64)


def _reports(table: Table) -> list[str]:
    if "report" not in table.frame.columns:
        return [""] * len(table)
    return [str(cell) for cell in table.frame["report"].astype(object).fillna("")]


def load_table(
    source: str,
    vocabulary: Vocabulary,
    *,
    task: str = ALL,
    query: str | None = None,
    mapping: Sequence[CodeMeaning] | None = None,
    root: str | Path | None = None,
    read: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
    allow_unreadable: bool = False,
    cache_dir: str | Path | None = None,
    n_workers: int | None = None,
    waveform: dict[str, Any],
    progress: bool = True,
) -> LabelledRecords:
    """Load a table of ECGs with its waveforms, from the cache if they are there.

    Parameters
    ----------
    source, vocabulary, task, query, mapping
        See ``parse_table``.
    root : path, optional
        Where relative paths begin; by default the folder of the table.
    read : mapping, optional
        Arguments of ``read_record`` for all records; a cell of a row takes precedence.
    allow_missing : bool
        Leave out records whose files are absent, instead of raising an error.
    allow_unreadable : bool
        Leave out records that cannot be read or prepared, instead of raising an error.
    cache_dir : path, optional
        By default ``cache/`` next to the table.
    n_workers, waveform, progress
        See ``ptbxl.load_ptbxl``.

    Raises
    ------
    ValueError
        See ``parse_table``; if files are missing or unreadable and that is not allowed.
    """
    data = parse_table(source, vocabulary, task, query, mapping)
    own = vocabulary.codes if mapping is None else [meaning.code for meaning in mapping]
    hints = [(name, data.table.hint(name, own)) for name in data.table.ignored]
    if progress and (listed := [f"{shown(name)}{hint}" for name, hint in hints if hint]):
        print(f"{data.table.name}: columns not used: {first_of(listed)}", file=sys.stderr)
    folder = Path(root) if root is not None else data.table.folder
    paths = [folder / path for path in data.paths]
    stamps = [record_stamp(path) for path in paths]
    present = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    _check_present(data, present, folder, allow_missing)
    arguments = [{**(read or {}), **(data.read[i] if data.read else {})} for i in present.tolist()]
    cache = WaveformCache(
        Path(cache_dir) if cache_dir is not None else data.table.folder / "cache",
        folder,
        ecg_ids=data.ecg_id[present].tolist(),
        names=[data.paths[i] for i in present],
        stamps=[stamps[i] for i in present],
        fs=None,
        spec=waveform,
        read=arguments if any(arguments) else None,
        allow_unreadable=allow_unreadable,
    )
    try:
        signals = cache.open(n_workers, progress)
    except ValueError as error:
        raise _with_row(error, data, present) from None
    readable = np.flatnonzero(cache.is_readable())
    report_unreadable(cache, progress)
    records = replace(
        label_records(data, paths, waveform["to_fs"]).take(present[readable]),
        signals=signals if len(readable) == len(signals) else SignalRows([signals], [readable]),
    )
    records.n_missing = len(data) - len(records)
    return records


def _with_row(error: ValueError, data: TableData, rows: np.ndarray) -> ValueError:
    """Return an error of a file with its row in the table in front; other errors as they are."""
    text, paths = str(error), data.paths
    for row in rows.tolist():
        if text.startswith(f"{shown(paths[row])}: "):
            help_ = "leave out unreadable records with data.allow_unreadable=true"
            return ValueError(f"{data.table.where(row, 'path')}: {text}; {help_}")
    return error


def label_records(data: TableData, paths: list[Path], fs: float) -> LabelledRecords:
    """Return the records of a table without their signals."""
    records = LabelledRecords(
        ecg_id=data.ecg_id,
        patient_id=data.patient_id,
        strat_fold=data.strat_fold,
        codes=data.codes,
        y_true=data.y_true,
        likelihood=np.where(data.y_true, np.float32(0), np.float32(np.nan)),
        reports=data.reports,
        paths=paths,
        signals=None,
        fs=fs,
        version="",
        simulated=are_simulated(paths),
        n_missing=0,
        autogenerated=np.array([is_machine_report(report) for report in data.reports], bool),
        validated=np.zeros(len(data), bool),
        known=None if data.known.all() else data.known,
        weight=data.weight,
        vocabulary=data.vocabulary,
        names=data.record,
    )
    records.version = records.content_version()
    return records


def _check_present(data: TableData, present: np.ndarray, folder: Path, allow: bool) -> None:
    """Raise if files are absent, or print how many if that is allowed."""
    absent = np.setdiff1d(np.arange(len(data)), present)
    if not len(absent):
        return
    first = first_of([shown(data.paths[i]) for i in absent])
    what = f"{len(absent)} of {len(data)} records listed are absent in {shown(folder)}: {first}"
    if not allow:
        raise ValueError(
            f"{data.table.where(int(absent[0]), 'path')}: {what}; set data.root=... if the paths "
            "begin elsewhere, or leave the records out with data.allow_missing=true"
        )
    if not len(present):
        raise ValueError(f"{data.table.name}: {what}; none is left")
    print(f"{what}; they are left out", file=sys.stderr)
