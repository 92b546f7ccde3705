"""Findings are as frequent as in PTB-XL, rare ones on request, and do not contradict each other."""

from collections import Counter

import numpy as np
import pytest

from ecg_siglip.simulation import co_occurrence
from ecg_siglip.simulation.patients import GROUPS, NEEDS_P, NORMAL, RHYTHM, WITHOUT_P
from ecg_siglip.vocabulary import ptbxl

SHARES = {**RHYTHM, "NORM": NORMAL, **{c: share for group in GROUPS for c, share in group.items()}}


def draw(n, balance=0.0):
    rng = np.random.default_rng(0)
    ages = np.clip(rng.normal(60, 17, n), 18, 95)
    return [co_occurrence.draw_together(rng, age, rng.random() < 0.48, balance) for age in ages]


def test_the_regressions_cover_the_findings_of_ptbxl():
    codes, weights = co_occurrence.regressions()
    assert set(codes) == set(ptbxl().codes)
    # Only findings that were drawn before.
    assert not np.triu(weights[:, 3:]).any()


def test_findings_are_as_frequent_as_in_ptbxl():
    n = 4000
    counts = Counter(code for codes in draw(n) for code in codes)
    for code, share in SHARES.items():
        if share > 0.02:
            assert counts[code] / n == pytest.approx(share, rel=0.3), code


def test_findings_that_belong_together_are_drawn_together():
    drawn = draw(4000)
    hypertrophy = [codes for codes in drawn if "LVH" in codes]
    together = np.mean(["ISC_" in codes for codes in hypertrophy])
    assert together > 2 * np.mean(["ISC_" in codes for codes in drawn])


def test_a_balanced_draw_has_every_finding():
    drawn = draw(4000, balance=1.0)
    counts = Counter(code for codes in drawn for code in codes)
    assert min(counts[code] for code in ptbxl().codes) > 25
    assert counts["NORM"] < 0.3 * len(drawn)


def test_findings_do_not_contradict_each_other():
    for codes in draw(2000, balance=0.5):
        rhythms = set(codes) & set(RHYTHM)
        assert rhythms
        assert not (set(codes) & WITHOUT_P and set(codes) & NEEDS_P)
        for group in co_occurrence.EXCLUSIVE:
            assert len(group & set(codes)) <= 1


def test_diagnostic_findings_have_a_likelihood_and_others_none():
    codes = co_occurrence.draw_together(np.random.default_rng(5), 70.0, False, balance=1.0)
    for code, likelihood in codes.items():
        assert (likelihood > 0) == ("diagnostic" in ptbxl().entry(code).groups)
