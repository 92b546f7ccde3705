"""Findings that exclude each other are those of the definitions, and rarely stated together."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip.vocabulary.exclusive import NOT_NORMAL, ONE_OF, exclusive_pairs
from ecg_siglip.vocabulary.findings import CLASSES, STATEMENTS, TASKS, task_codes

CODES = task_codes("all")


def excludes(a: str, b: str) -> bool:
    return bool(exclusive_pairs([a, b])[0, 1])


def test_the_codes_are_known():
    known = {*STATEMENTS, *CLASSES}
    assert {code for group in ONE_OF for code in group} <= known
    assert set(NOT_NORMAL) <= known


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_symmetric_and_no_finding_excludes_itself(task: str):
    pairs = exclusive_pairs(task_codes(task))
    assert (pairs == pairs.T).all()
    assert not pairs.diagonal().any()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("SR", "AFIB"), ("STACH", "SBRAD"), ("AFIB", "AFLT"), ("AFIB", "PSVT"), ("SARRH", "AFIB"),
        ("CLBBB", "ILBBB"), ("CRBBB", "IRBBB"), ("CLBBB", "CRBBB"), ("LAFB", "LPFB"),
        ("NORM", "IMI"), ("NORM", "MI"), ("NORM", "AFIB"), ("LVOLT", "HVOLT"), ("1AVB", "3AVB"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_exclusive(a: str, b: str):
    assert excludes(a, b) and excludes(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("SR", "PVC"), ("SR", "BIGU"), ("AFIB", "PVC"), ("AFIB", "PACE"), ("PSVT", "SVTAC"),
        ("SBRAD", "SARRH"), ("SR", "SARRH"), ("CRBBB", "LAFB"), ("AFIB", "3AVB"), ("NORM", "SR"),
        ("NORM", "SBRAD"), ("NORM", "IRBBB"), ("LVH", "VCLVH"), ("SR", "LVH"), ("IMI", "ASMI"),
    ],
)  # fmt: skip
def test_what_occurs_together_is_not_exclusive(a: str, b: str):
    assert not excludes(a, b)


def test_ptbxl_states_both_of_a_pair_in_few_records(shared_metadata: Path):
    table = pd.read_csv(shared_metadata / "ptbxl_database.csv")
    stated = [ast.literal_eval(codes) for codes in table["scp_codes"]]
    y_true = np.array([[code in record for code in CODES] for record in stated])
    pairs = exclusive_pairs(CODES)
    assert np.triu(pairs).sum() == 83
    assert ((y_true @ pairs) & y_true).any(axis=1).mean() < 0.006
