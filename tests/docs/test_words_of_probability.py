"""The evidence for the words: computed as stated, stored, and shown on its page as stored."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "results"))

import words_of_probability as evidence  # noqa: E402

from ecg_siglip.inference.predictor import Predictor  # noqa: E402
from ecg_siglip.metrics.likelihood import LIKELIHOODS, likelihood_word  # noqa: E402
from ecg_siglip.vocabulary import ptbxl  # noqa: E402

PAGE = (ROOT / "docs/explanation/certainty.md").read_text("utf-8")
STORED = json.loads((ROOT / "results/words_of_probability/evidence.json").read_text())


def test_intervals_are_exact():
    """Of none of n the upper end is 1 - 0.025^(1/n); the interval of the complement is mirrored."""
    assert evidence.interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    low, high = evidence.interval(3, 10)
    assert evidence.interval(7, 10) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_every_pair_of_record_and_finding_has_one_word(trained):
    predictor = Predictor.load(trained / "model", "cpu")
    rng = np.random.default_rng(0)
    y_prob = rng.random((30, len(predictor.artifact.codes))) ** 2
    y_true = rng.random(y_prob.shape) < y_prob
    rows = evidence.words(predictor, y_prob, y_true)
    of_all = {row["word"]: row for row in rows if row["part"] == "all"}
    assert sum(row["n"] for row in of_all.values()) == y_prob.size
    assert sum(row["n_true"] for row in of_all.values()) == y_true.sum()
    likely = [likelihood_word(p) == "likely" for p in y_prob.ravel()]
    assert of_all["likely"]["n"] == sum(likely)
    assert all(row["inside"] <= row["interval_overlaps"] for row in rows)
    resolved = evidence.consistency(predictor, y_prob, y_true)
    assert all(row["after/contradictory"] == 0 for row in resolved)
    short, full = evidence.listed(predictor, y_prob, y_true)[2:4]
    assert short["mean"] <= full["mean"] and short["not_reported"] == full["not_reported"]


@pytest.mark.parametrize("fold", ["tuning", "report"])
def test_no_word_is_true_more_or_less_often_than_it_states(fold):
    rows = STORED["folds"][fold]["words"]
    assert [row["word"] for row in rows if row["part"] == "all"] == list(LIKELIHOODS)
    for row in rows:
        assert row["from"] == LIKELIHOODS[row["word"]]
        if row["part"] != "not reported":  # hardly any likely finding is not reported
            assert row["interval_overlaps"], row
        if row["n"] > 5:
            assert row["inside"], row


def test_what_is_reported_is_consistent_and_the_counts_are_of_the_present_exclusions():
    for fold in STORED["folds"].values():
        assert all(row["after/contradictory"] == 0 for row in fold["consistency"])
        for row in fold["consistency"]:
            # F1 does not fall by more than chance.
            assert row["change/micro_f1/high"] > 0 and row["change/macro_f1_min5/high"] > 0
    codes = ptbxl().codes
    pairs = np.triu(ptbxl().exclusive_pairs(codes))
    expected = {f"{codes[a]}, {codes[b]}" for a, b in zip(*pairs.nonzero(), strict=True)}
    assert {row["pair"] for row in STORED["stated"]["pairs"]} == expected


def test_the_page_has_the_stored_numbers():
    report, tuning = STORED["folds"]["report"], STORED["folds"]["tuning"]
    for line in evidence.consistency_table(report["consistency"]).splitlines()[2:]:
        assert line.partition(" | ")[2] in PAGE, line
    cells = [
        cell
        for part in (report, tuning)
        for row in evidence.words_table(part["words"]).splitlines()[2:]
        for cell in row.split(" | ")[2:3]
    ]
    cells += [
        cell
        for row in evidence.words_table(report["words"]).splitlines()[2:]
        for cell in row.rstrip(" |").split(" | ")[4:]
    ]
    missing = [cell for cell in cells if cell not in PAGE]
    assert len(cells) == 25 and not missing
    for row in STORED["stated"]["pairs"]:
        if row["both"] > 1:
            assert f"| {row['pair']} | {row['both']} |" in PAGE, row
