"""Findings have the prevalences of PTB-XL and exclude or accompany each other as they do there."""

import numpy as np
import pytest

from ecg_siglip.simulation import patients
from ecg_siglip.vocabulary import ptbxl


@pytest.fixture(scope="module")
def records():
    """The findings of many records."""
    rng = np.random.default_rng(0)
    ages = np.clip(rng.normal(60, 17, 6000), 18, 95)
    return [set(patients.draw_findings(rng, age)) for age in ages]


def test_prevalences_are_near_those_of_ptbxl(records):
    expected = dict(patients.RHYTHM) | {"NORM": patients.NORMAL}
    for group in patients.GROUPS:
        expected |= group
    for code, share in expected.items():
        observed = sum(code in codes for codes in records) / len(records)
        assert observed == pytest.approx(share, rel=0.35, abs=0.006), code
    all_codes = set().union(*records)
    for superclass, members in ptbxl().task("superdiagnostic").items():
        assert not all_codes.isdisjoint(members), superclass
    assert len(all_codes) > 50


def test_findings_that_exclude_each_other_never_occur_together(records):
    for codes in records:
        assert len(codes & set(patients.RHYTHM)) == 1
        if "NORM" in codes:
            assert codes <= {"NORM", "SR", "SBRAD", "STACH", "SARRH", "PVC", "PAC"}
        if codes & {"AFIB", "AFLT"}:
            assert not codes & patients.NEEDS_P
        for group in patients.GROUPS:
            assert len(codes & set(group)) <= 1


def test_findings_accompany_each_other(records):
    lvh = [codes for codes in records if "LVH" in codes]
    without = [codes for codes in records if not codes & {"LVH", "NORM"}]
    share = [sum("ISC_" in codes for codes in some) / len(some) for some in (lvh, without)]
    assert share[0] > 1.5 * share[1]


def test_patients_have_one_fold_and_one_to_three_records():
    table = patients.draw_patients(500, seed=4)
    assert len(table) == 500
    records_per_patient = table["patient_id"].value_counts()
    assert set(records_per_patient) == {1, 2, 3}
    assert table.groupby("patient_id")["strat_fold"].nunique().max() == 1
    sizes = table["strat_fold"].value_counts()
    assert set(sizes.index) == set(range(1, 11))
    assert sizes.max() < 1.5 * sizes.min()


def test_only_diagnostic_statements_have_a_likelihood():
    rng = np.random.default_rng(0)
    for _ in range(200):
        for code, value in patients.draw_findings(rng, 60.0).items():
            expected = (
                patients.LIKELIHOODS if "diagnostic" in ptbxl().entry(code).groups else (0.0,)
            )
            assert value in expected
