"""Provenance: what is stored of a model's origin comes back, and leaks are found in it."""

import json

import pytest

from ecg_siglip.models.provenance import Provenance, merged_provenance

START = Provenance("start", data="9 records, metadata sha256 abc", train_folds=[1], tune_fold=2)
MODEL = Provenance(
    "model",
    version="0.2.0",
    data="8 records, metadata sha256 abc",
    train_folds=[3, 4],
    tune_fold=5,
    pretrained=START,
    teachers=(Provenance("teacher", train_folds=[6], tune_fold=7, pretrained=START),),
)


def test_json_comes_back_and_is_written_again_as_it_was():
    content = json.loads(json.dumps(MODEL.to_json()))
    read = Provenance.from_json(content)
    assert read.to_json() == content
    assert list(read.to_json()) == list(content)
    assert [each.run for each in read.lineage()] == ["model", "start", "teacher", "start"]


def test_a_model_of_an_earlier_version_is_written_without_what_it_lacks():
    stored = {"run": "old", "data": "x", "train_folds": [1], "tune_fold": 2, "pretrained": {}}
    read = Provenance.from_json(stored)
    assert (read.seed, read.commit, read.language) == ("not noted", "not noted", "en")
    assert read.to_json() == stored


def test_the_folds_seen_are_those_of_training_and_tuning():
    assert [fold for fold in range(1, 11) if MODEL.has_seen(fold)] == [3, 4, 5]
    assert {fold for each in MODEL.lineage() for fold in each.folds_seen} == {1, 2, 3, 4, 5, 6, 7}


def test_data_are_the_same_by_the_hash_of_their_table():
    assert MODEL.same_records(START.data)
    assert not MODEL.same_records("8 records, metadata sha256 abd")


def test_members_are_merged_and_different_starts_are_refused():
    other = Provenance("other", train_folds=[3, 4], tune_fold=5, pretrained=START, seed=1)
    merged = merged_provenance([MODEL, other], ["model", "other"])
    assert merged.members == ["model", "other"]
    assert merged.seed == "not noted, 1"
    assert [teacher.run for teacher in merged.teachers] == ["teacher"]
    with pytest.raises(ValueError, match=r"started differently \(start, at random\)"):
        merged_provenance([MODEL, Provenance("third")], ["model", "third"])
