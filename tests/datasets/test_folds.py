"""Folds that a data set does not state."""

import numpy as np

from ecg_siglip.datasets.folds import make_folds


def _patients(n: int = 3000, seed: int = 0) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    patients = [f"p{number}" for number in rng.integers(0, n // 2, n)]
    return patients, rng.random((n, 6)) < [0.5, 0.1, 0.02, 0.01, 0.005, 0]


def test_a_patient_is_in_one_fold():
    patients, y_true = _patients()
    folds = make_folds(patients, y_true)
    assert {*folds} == {*range(1, 11)}
    assert len({*zip(patients, folds.tolist(), strict=True)}) == len({*patients})


def test_folds_are_balanced_over_patients_and_findings():
    patients, y_true = _patients()
    folds = make_folds(patients, y_true)
    n_patients = [
        len({p for p, f in zip(patients, folds, strict=True) if f == i}) for i in range(1, 11)
    ]
    assert max(n_patients) - min(n_patients) <= 1
    for column in (2, 3, 4):
        counts = np.bincount(folds[y_true[:, column]], minlength=11)[1:]
        # A random assignment of 15 positives would leave two of ten folds without any.
        assert counts.min() >= 1 and counts.max() <= 2 * max(1, y_true[:, column].sum() / 10) + 2


def test_the_order_of_the_rows_does_not_matter():
    patients, y_true = _patients(500)
    folds = make_folds(patients, y_true)
    order = np.random.default_rng(1).permutation(len(patients))
    again = make_folds([patients[i] for i in order], y_true[order])
    assert np.array_equal(again, folds[order])


def test_records_without_any_finding():
    assert {*make_folds([str(i) for i in range(20)], np.zeros((20, 3), bool))} == {*range(1, 11)}
    assert len(make_folds(["a", "b"], np.zeros((2, 0), bool))) == 2


def test_stated_folds_stay_and_new_patients_are_dealt():
    patients, y_true = _patients()
    folds = make_folds(patients, y_true)
    stated = np.where(np.random.default_rng(2).random(len(folds)) < 0.9, folds, 0)
    grown = make_folds(patients, y_true, stated)
    assert np.array_equal(grown[stated > 0], folds[stated > 0]) and grown.min() >= 1
    assert len({*zip(patients, grown.tolist(), strict=True)}) == len({*patients})
    assert np.array_equal(make_folds(patients, y_true, np.zeros_like(folds)), folds)
    counts = np.bincount(grown[y_true[:, 2]], minlength=11)[1:]
    assert counts.min() >= 1
