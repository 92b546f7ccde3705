"""Labels by code of a vocabulary as labels of the findings of a task."""

from __future__ import annotations

import numpy as np

from ecg_siglip.vocabulary.vocabulary import Vocabulary


def task_labels(
    vocabulary: Vocabulary, task: str, y_true: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a task's findings, as ``Vocabulary.to_task`` does for one record.

    Parameters
    ----------
    vocabulary : Vocabulary
    task : str
    y_true, known : ndarray of shape (n_records, n_codes), bool
        In the order of ``vocabulary.codes``.

    Returns
    -------
    y_true, known : ndarray of shape (n_records, n_findings), bool
        A finding is present if a code that it unites, or one that implies such a code, is present;
        otherwise it is known if all codes that it unites are known.
    """
    members = vocabulary.task(task)
    column_of = {code: i for i, code in enumerate(vocabulary.codes)}
    implying: dict[str, list[int]] = {}
    for code, column in column_of.items():
        for implied in vocabulary.implied(code):
            implying.setdefault(implied, []).append(column)
    shape = (len(y_true), len(members))
    task_true, task_known = np.empty(shape, bool), np.empty(shape, bool)
    for j, codes in enumerate(members.values()):
        present = sorted({column for code in codes for column in implying[code]})
        united = [column_of[code] for code in codes if code in column_of]
        task_true[:, j] = y_true[:, present].any(1)
        task_known[:, j] = task_true[:, j] | known[:, united].all(1)
    return task_true, task_known
