"""Checks of the arrays that metrics are computed from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]


def binary(name: str, values: ArrayLike) -> Bool:
    """Return labels or predictions as bool.

    Parameters
    ----------
    name : str
        Name of the array, for the error.
    values : array of shape (n_records, n_findings), bool, or numbers that are 0 or 1

    Raises
    ------
    ValueError
        For another shape or other values.
    """
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name}: expected shape (n_records, n_findings), got {array.shape}")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected only 0 and 1, got {array[~np.isin(array, (0, 1))][0]}")
    return array.astype(bool)


def probabilities(name: str, values: ArrayLike, shape: tuple[int, ...] | None = None) -> Float:
    """Return probabilities as float64.

    Parameters
    ----------
    name : str
        Name of the array, for the error.
    values : array of shape (n_records, n_findings), float in [0, 1]
    shape : tuple of int, optional
        Expected shape.

    Raises
    ------
    ValueError
        For another shape, or a value that is NaN or outside [0, 1].
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        expected = shape if shape is not None else "(n_records, n_findings)"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    bad = np.argwhere(~((array >= 0) & (array <= 1)))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name}: expected probabilities in [0, 1], got {array[row, column]} "
            f"in row {row}, column {column} ({len(bad)} such values)"
        )
    return array


def labels(name: str, values: ArrayLike) -> tuple[Bool, Bool]:
    """Return labels as bool, and which of them are known.

    Parameters
    ----------
    name : str
        Name of the array, for the error.
    values : array of shape (n_records, n_findings), bool, or numbers that are 0, 1 or NaN
        NaN: unknown whether the finding is present.

    Returns
    -------
    y_true : ndarray of shape (n_records, n_findings), bool
        False where unknown.
    known : ndarray of shape (n_records, n_findings), bool

    Raises
    ------
    ValueError
        For another shape or other values.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        y_true = binary(name, array)
        return y_true, np.ones_like(y_true)
    known = ~np.isnan(array)
    bad = array[known & (array != 0) & (array != 1)]
    if len(bad):
        raise ValueError(f"{name}: expected only 0, 1 and NaN (unknown), got {bad[0]}")
    return binary(name, np.where(known, array, 0)), known


def labels_and_probabilities(y_true: ArrayLike, y_prob: ArrayLike) -> tuple[Bool, Bool, Float]:
    """Return labels, which of them are known, and probabilities, of one shape (errors as above)."""
    y_true, known = labels("y_true", y_true)
    return y_true, known, probabilities("y_prob", y_prob, y_true.shape)


def labels_and_predictions(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Bool, Bool, Bool]:
    """Return labels, which of them are known, and predictions, of one shape (errors as above).

    Predictions are False where the label is unknown: they count neither as right nor as wrong.
    """
    (y_true, known), y_pred = labels("y_true", y_true), binary("y_pred", y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_pred: expected shape {y_true.shape}, got {y_pred.shape}")
    return y_true, known, y_pred & known
