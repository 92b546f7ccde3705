"""ECGs and labels as the Python interface takes them: paths, records, arrays; matrices, codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import shown
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.vocabulary.entry import did_you_mean

Ecgs = str | Path | Record | Iterable[str | Path | Record] | np.ndarray
SEPARATOR = ";"  # of the codes in a text, as in the column `findings` of a table


def listed_ecgs(ecgs: Any) -> list[str | Path | Record] | None:
    """Return ECGs that are paths or records as a list; None for any other object.

    Parameters
    ----------
    ecgs : str, Path or Record, or an iterable of them

    Examples
    --------
    >>> listed_ecgs("00001_lr"), listed_ecgs([[0.0, 0.1]]), listed_ecgs([])
    (['00001_lr'], None, [])
    """
    if isinstance(ecgs, str | Path | Record):
        return [ecgs]
    if getattr(ecgs, "ndim", 1) != 1 or not isinstance(ecgs, Iterable):
        return None
    items = list(ecgs)
    return items if all(isinstance(item, str | Path | Record) for item in items) else None


def signal_array(ecgs: Any, fs: float | None, n_leads: int = len(LEADS)) -> np.ndarray:
    """Return ECGs that are neither paths nor records as an array.

    Parameters
    ----------
    ecgs : array-like of shape (n_records, n_leads, n_samples), mV
    fs : float, Hz, optional
    n_leads : int

    Raises
    ------
    ValueError
        If it has another shape or no numbers, or no sampling rate is given.
    """
    try:
        array = np.asarray(ecgs)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            "ECGs: expected paths, Record objects, or numbers of shape "
            f"(n_records, {n_leads}, n_samples), got {type(ecgs).__name__} of something else"
        )
    if array.ndim != 3 or array.shape[1] != n_leads:
        raise ValueError(f"array: expected (n_records, {n_leads}, n_samples), got {array.shape}")
    if fs is None:
        raise ValueError("array: expected its sampling rate, as fs=500")
    return array


def array_records(
    signals: np.ndarray, fs: float, leads: Sequence[str] | None = None
) -> Iterator[Record]:
    """Iterate over the records of an array.

    Parameters
    ----------
    signals : ndarray of shape (n_records, n_leads, n_samples), mV
    fs : float, Hz
    leads : sequence of str, length n_leads, optional
        ``leads.LEADS`` by default.

    Yields
    ------
    Record
        Named by its number, from 0.
    """
    names = tuple(leads or LEADS)
    for i, signal in enumerate(signals):
        yield Record(str(i), np.asarray(signal, np.float32), float(fs), names, ())


def iterate_records(
    ecgs: Ecgs, fs: float | None = None, leads: Sequence[str] | None = None
) -> Iterator[Record]:
    """Iterate over ECGs in any of the forms that the Python interface takes.

    Parameters
    ----------
    ecgs : str, Path, Record, an iterable of them, or array (n_records, n_leads, n_samples), mV
        Paths are read one after the other, see ``read_record``.
    fs : float, Hz, optional
        Sampling rate of an array.
    leads : sequence of str, length n_leads, optional
        Leads of an array; ``leads.LEADS`` by default.

    Yields
    ------
    Record

    Raises
    ------
    ValueError
        If there is no ECG, or an array has another shape or no sampling rate; as ``read_record``.
    """
    items = listed_ecgs(ecgs)
    if items is None:
        array = signal_array(ecgs, fs, len(leads or LEADS))
        assert fs is not None
        records = array_records(array, fs, leads)
    else:
        records = (item if isinstance(item, Record) else read_record(item) for item in items)
    first = next(records, None)
    if first is None:
        raise ValueError("no ECG: expected at least one")
    yield first
    yield from records


def label_matrix(y: Any, codes: Sequence[str]) -> np.ndarray:
    """Return labels in any of the forms that the Python interface takes as a matrix.

    Parameters
    ----------
    y : array-like, table or sequence
        A matrix (n_records, n_findings) of 0, 1 and NaN (unknown); a table whose columns are named
        after codes, with the same values, where a finding without a column is unknown; or one list
        of codes, or text of codes separated by ``;``, per record: all other findings are absent.
    codes : sequence of str
        The findings, in the order of the columns of the result.

    Returns
    -------
    ndarray of shape (n_records, n_findings), bool or float
        A matrix is not checked.

    Raises
    ------
    ValueError
        If a code is none of ``codes``, or there are no labels.

    Examples
    --------
    >>> label_matrix([["AFIB", "LVH"], [], "LVH"], ["LVH", "AFIB"]).astype(int).tolist()
    [[1, 1], [0, 0], [1, 0]]
    """
    if y is None:
        raise ValueError("this estimator requires y to be passed, but the target y is None")
    if hasattr(y, "toarray"):  # a sparse matrix
        y = y.toarray()
    column_of = {code: i for i, code in enumerate(codes)}

    def column(code: str, where: str) -> int:
        if code not in column_of:
            hint = did_you_mean(code, codes, f"expected codes as {', '.join(codes[:3])}")
            raise ValueError(f"y, {where}: {shown(code)} is no finding of this model; {hint}")
        return column_of[code]

    lists = _code_lists(y)
    if lists is not None:
        matrix = np.zeros((len(lists), len(codes)), bool)
        for row, listed in enumerate(lists):
            for code in listed:
                matrix[row, column(code, f"record {row}")] = True
        return matrix
    names = list(getattr(y, "columns", ()))
    array = _numbers(y)
    if not names or not all(isinstance(name, str) for name in names):
        return array
    labels = np.full((len(array), len(codes)), np.nan)
    labels[:, [column(name, "column") for name in names]] = array
    return labels


def _numbers(y: Any) -> np.ndarray:
    """Return labels that are no codes as an array of numbers, NaN for None and ``pandas.NA``.

    Raises
    ------
    ValueError
        If they are other objects, or one number per record.
    """
    try:
        array = np.asarray(y)
        if array.dtype == object:  # of a table with None or pandas.NA
            import pandas as pd

            array = np.where(pd.isna(array), np.nan, array).astype(float)
    except (TypeError, ValueError):
        array = np.array("")
    if array.dtype.kind not in "biuf" or array.ndim == 1:
        # The first words are those of scikit-learn's estimators.
        raise ValueError(
            "y: Unknown label type: expected a matrix of 0, 1 and NaN, a table with a column per "
            f"code, or the codes of each record, got {type(y).__name__} of something else"
        )
    return array


def _code_lists(y: Any) -> list[list[str]] | None:
    """Return one list of codes per record; None if the labels are no lists of codes.

    Raises
    ------
    ValueError
        If some records have codes and one has an empty cell.
    """
    if getattr(y, "ndim", 1) != 1 or not isinstance(y, Iterable):
        return None
    lists: list[list[str]] = []
    without: list[int] = []
    for i, row in enumerate(y):
        if isinstance(row, str):
            lists.append([code.strip() for code in row.split(SEPARATOR) if code.strip()])
        elif isinstance(row, list | tuple | set | frozenset | np.ndarray) and all(
            isinstance(code, str) for code in row
        ):
            lists.append(list(row))
        else:
            without.append(i)
    if lists and without:
        raise ValueError(
            f"y, record {without[0]}: expected codes, as of the other records; an empty list or "
            "text if it has no finding"
        )
    return None if without else lists
