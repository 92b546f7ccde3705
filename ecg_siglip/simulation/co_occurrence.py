"""Findings of ``difficulty=realistic``: as often together as in PTB-XL, rare ones if wanted.

The findings are drawn one after the other, each from a logistic regression on age, sex and the
findings before it. Its coefficients are in ``co_occurrence.csv``.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np

from ecg_siglip.simulation.patients import NEEDS_P, WITHOUT_P, likelihood

Rng = np.random.Generator
FILE = Path(__file__).with_name("co_occurrence.csv")
N_CANDIDATES = 8
SINUS = ("SR", "SBRAD", "STACH", "SARRH")
# At most one of each: the rules would undo each other.
EXCLUSIVE = (
    {"AFIB", "AFLT", "SVTAC", "PSVT", "SVARR", "PACE", "3AVB"},
    {"STACH", "SBRAD"}, {"CLBBB", "CRBBB", "WPW", "ILBBB", "IRBBB", "PACE"}, {"LAFB", "LPFB"},
    {"LVOLT", "HVOLT"}, {"LVOLT", "LVH"}, {"LVOLT", "VCLVH"}, {"RVH", "LAFB"},
    {"1AVB", "WPW"}, {"LPR", "WPW"}, {"INVT", "EL"}, {"BIGU", "TRIGU"},
)  # fmt: skip


@cache
def regressions() -> tuple[list[str], np.ndarray]:
    """Load the regressions.

    Returns
    -------
    codes : list of str
        In the order in which they are drawn.
    weights : ndarray of shape (n_codes, 3 + n_codes)
        Log-odds: constant, (age - 60) / 20, woman, then the findings before.
    """
    with open(FILE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    codes = list(dict.fromkeys(row["finding"] for row in rows))
    column = {"": 0, "age": 1, "woman": 2} | {code: 3 + i for i, code in enumerate(codes)}
    weights = np.zeros((len(codes), 3 + len(codes)))
    for row in rows:
        weights[codes.index(row["finding"]), column[row["given"]]] = float(row["log_odds"])
    return codes, weights


def draw_together(rng: Rng, age: float, is_woman: bool, balance: float = 0.0) -> dict[str, float]:
    """Draw the findings of a record with their likelihoods.

    Parameters
    ----------
    rng : numpy.random.Generator
    age : float, years
    is_woman : bool
    balance : float in [0, 1]
        Share of records that have a finding drawn from all findings with equal probability, and
        the others in its company.

    Returns
    -------
    dict of str to float
        See ``patients.draw_findings``.
    """
    codes, weights = regressions()
    certain = int(rng.integers(len(codes))) if rng.random() < balance else -1
    features = np.zeros((N_CANDIDATES if certain >= 0 else 1, weights.shape[1]))
    features[:, :3] = 1.0, (age - 60) / 20, is_woman
    uniform = rng.random((len(codes), len(features)))
    for i, row in enumerate(weights):
        share = 1 / (1 + np.exp(-(features @ row)))
        if i == certain:
            # Candidates in proportion to how likely they have the finding: those given the finding.
            pick = int(rng.choice(len(features), p=share / share.sum()))
            features, uniform = features[[pick]], uniform[:, [pick]]
            features[:, 3 + i] = 1.0
        else:
            features[:, 3 + i] = uniform[i] < share
    drawn = [codes[i] for i in np.flatnonzero(features[0, 3:])]
    if certain >= 0:
        drawn = [codes[certain], *(code for code in drawn if code != codes[certain])]
    return {code: likelihood(code, rng) for code in compatible(drawn)}


def compatible(codes: list[str]) -> list[str]:
    """Return findings without those that contradict an earlier one, with a rhythm."""
    kept: list[str] = []
    for code in codes:
        rivals = {other for group in EXCLUSIVE if code in group for other in group} - {code}
        if code in NEEDS_P:
            rivals |= WITHOUT_P
        if code in WITHOUT_P:
            rivals |= NEEDS_P | set(SINUS)
        if code in SINUS:
            rivals |= WITHOUT_P
        if not rivals & set(kept):
            kept.append(code)
    if not (set(SINUS) | WITHOUT_P) & set(kept):
        kept.append("SR")
    return kept
