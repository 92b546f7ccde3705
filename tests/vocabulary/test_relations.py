"""Implications, critical findings, and what a model of an earlier version knows about them."""

from dataclasses import replace

import pytest

from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.relations import (
    critical_findings,
    implied_pairs,
    with_relations_of,
)
from ecg_siglip.vocabulary.vocabulary_file import vocabulary_from_json

OWN = """\
findings:
  - {code: A, name: atrial fibrillation with a fast rate, implies: [B], critical: %s}
  - {code: B, name: atrial fibrillation}
  - {code: C, name: sinus rhythm}
classes:
  - {code: K, name: atrial arrhythmia}
tasks:
  coarse: {K: [B], C: [C]}
"""


@pytest.fixture
def own(tmp_path):
    def make(critical="true"):
        path = tmp_path / "own.yaml"
        path.write_text(OWN % critical)
        return load_vocabulary(path)

    return make


def test_a_finding_implies_what_it_states_and_the_classes_that_unite_it(own):
    pairs = implied_pairs(own(), ["A", "B", "C", "K"])
    assert [tuple(pair) for pair in zip(*pairs.nonzero(), strict=True)] == [(0, 1), (0, 3), (1, 3)]
    assert not implied_pairs(own(), ["A", "C"]).any()


def test_no_statement_of_ptbxl_implies_another_but_each_its_class():
    assert not implied_pairs(ptbxl(), ptbxl().codes).any()
    assert implied_pairs(ptbxl(), ["LVH", "HYP", "MI"]).tolist() == [
        [False, True, False],
        [False, False, False],
        [False, False, False],
    ]


@pytest.mark.parametrize(("stated", "expected"), [("true", True), ("TRUE", True), ("false", False)])
def test_a_file_states_what_is_critical(own, stated, expected):
    vocabulary = own(stated)
    assert critical_findings(vocabulary, ["A", "B"]).tolist() == [expected, False]
    again = vocabulary_from_json(vocabulary.to_json(), "stored")
    assert critical_findings(again, ["A", "B"]).tolist() == [expected, False]


def test_another_value_is_refused_with_its_line(own):
    with pytest.raises(ValueError, match=r"line 2: critical of A: expected true or false, got 3"):
        own("3")


def test_a_table_has_a_column_for_it(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("code,name,critical\nA,one,TRUE\nB,two,\n")
    assert critical_findings(load_vocabulary(path), ["A", "B"]).tolist() == [True, False]


def test_a_stored_vocabulary_gets_the_relations_of_this_version_and_keeps_its_words():
    known = ptbxl()
    entries = tuple(
        replace(entry, excludes=(), critical=False, prompts={"en": (f"old {entry.code}",)})
        for entry in known.entries
    )
    old = replace(known, entries=entries, exclusive=())
    new = with_relations_of(old, known)
    assert (new.exclusive_pairs(new.codes) == known.exclusive_pairs(known.codes)).all()
    assert (critical_findings(new, new.codes) == critical_findings(known, known.codes)).all()
    assert new.prompts(["AFIB"]) == ["old AFIB"]
    other = replace(old, entries=entries[1:])
    assert with_relations_of(other, known) is other
