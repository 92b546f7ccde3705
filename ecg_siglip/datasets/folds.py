"""Folds of a data set that has none: by patient, balanced over the findings."""

from __future__ import annotations

import hashlib

import numpy as np

N_FOLDS = 10


def make_folds(patients: list[str], y_true: np.ndarray) -> np.ndarray:
    """Assign the records to folds 1 to 10, all records of a patient to the same one.

    Parameters
    ----------
    patients : list of str, length n_records
    y_true : ndarray of shape (n_records, n_findings), bool

    Returns
    -------
    ndarray of shape (n_records,), int64

    Notes
    -----
    The patients are grouped by the rarest finding that any of their records has, and those of a
    group are dealt to the folds in turn: each finding is spread over the folds as evenly as its
    patients allow. The order within a group, and the fold that is dealt first, are hashes, so the
    order of the rows does not matter. A table that grows may change the folds.
    """
    distinct, patient_of = np.unique(np.array(patients, object).astype(str), return_inverse=True)
    order = np.argsort(patient_of, kind="stable")
    firsts = np.searchsorted(patient_of[order], np.arange(len(distinct)))
    by_patient = np.logical_or.reduceat(y_true[order], firsts)
    # The rarest finding of each patient; the last group has patients without a finding.
    rarest_first = by_patient[:, np.argsort(by_patient.sum(0), kind="stable")]
    group = np.full(len(distinct), y_true.shape[1])
    if y_true.shape[1]:
        group = np.where(by_patient.any(1), rarest_first.argmax(1), group)
    digests = np.array(
        [
            int.from_bytes(hashlib.sha256(each.encode("utf-8", "replace")).digest()[:8], "big") >> 1
            for each in distinct
        ],
        np.int64,
    )
    fold_of_patient = np.empty(len(distinct), np.int64)
    n_in_fold = np.zeros(N_FOLDS, np.int64)
    sorted_patients = np.lexsort((digests, group))
    starts = np.flatnonzero(np.r_[True, np.diff(group[sorted_patients]) != 0])
    for members in np.split(sorted_patients, starts[1:]):
        # The emptiest folds first, so that rests of the groups do not add up.
        turn = np.argsort(n_in_fold, kind="stable")
        fold = turn[np.arange(len(members)) % N_FOLDS]
        fold_of_patient[members] = fold + 1
        n_in_fold += np.bincount(fold, minlength=N_FOLDS)
    return fold_of_patient[patient_of]
