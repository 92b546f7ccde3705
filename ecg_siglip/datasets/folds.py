"""Folds of a data set that has none: by patient, balanced over the findings."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

N_FOLDS = 10


def make_folds(
    patients: list[str], y_true: np.ndarray, stated: np.ndarray | None = None
) -> np.ndarray:
    """Assign the records to folds 1 to 10, all records of a patient to the same one.

    Parameters
    ----------
    patients : list of str, length n_records
    y_true : ndarray of shape (n_records, n_findings), bool
    stated : ndarray of shape (n_records,), int64, optional
        Folds that are kept, 0 where there is none yet.

    Returns
    -------
    ndarray of shape (n_records,), int64

    Notes
    -----
    The patients are grouped by the rarest finding that any of their records has, and those of a
    group are dealt to the folds in turn: each finding is spread over the folds as evenly as its
    patients allow. The order within a group, and the fold that is dealt first, are hashes, so the
    order of the rows does not matter. A table that grows may change the folds, unless they are
    stated.
    """
    patient_of, distinct = pd.factorize(np.array(patients, object))
    order = np.argsort(patient_of, kind="stable")
    firsts = np.searchsorted(patient_of[order], np.arange(len(distinct)))
    by_patient = np.logical_or.reduceat(y_true[order], firsts)
    # The rarest finding of each patient; the last group has patients without a finding.
    rarest_first = by_patient[:, np.argsort(by_patient.sum(0), kind="stable")]
    group = np.full(len(distinct), y_true.shape[1])
    if y_true.shape[1]:
        group = np.where(by_patient.any(1), rarest_first.argmax(1), group)
    texts = [str(each).encode("utf-8", "replace") for each in distinct]
    digests = np.array(
        [int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1 for text in texts], np.int64
    )
    fold_of_patient = np.zeros(len(distinct), np.int64)
    if stated is not None:
        fold_of_patient[patient_of[stated > 0]] = stated[stated > 0]
    n_in_fold = np.bincount(fold_of_patient, minlength=N_FOLDS + 1)[1:]
    sorted_patients = np.lexsort((digests, group))
    starts = np.flatnonzero(np.r_[True, np.diff(group[sorted_patients]) != 0])
    for members in np.split(sorted_patients, starts[1:]):
        n_of_group = np.bincount(fold_of_patient[members], minlength=N_FOLDS + 1)[1:]
        new = members[fold_of_patient[members] == 0]
        if n_of_group.any():
            fold = np.empty(len(new), np.int64)
            for i in range(len(new)):
                fold[i] = np.lexsort((n_in_fold, n_of_group))[0]
                n_of_group[fold[i]] += 1
                n_in_fold[fold[i]] += 1
        else:
            # The emptiest folds first, so that rests of the groups do not add up.
            fold = np.argsort(n_in_fold, kind="stable")[np.arange(len(new)) % N_FOLDS]
            n_in_fold += np.bincount(fold, minlength=N_FOLDS)
        fold_of_patient[new] = fold + 1
    return fold_of_patient[patient_of]
