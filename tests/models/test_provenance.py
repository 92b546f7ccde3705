"""Provenance: stored and read without change; folds seen by a model and its earlier models."""

import json

import pytest
import torch

from ecg_siglip.models import provenance
from ecg_siglip.models.provenance import (
    SIMULATED,
    Provenance,
    describe_commit,
    describe_machine,
    merged_provenance,
)

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


def test_json_is_read_and_written_again_without_change():
    content = json.loads(json.dumps(MODEL.to_json()))
    read = Provenance.from_json(content)
    assert read.to_json() == content
    assert list(read.to_json()) == list(content)
    assert [each.run for each in read.lineage()] == ["model", "start", "teacher", "start"]


def test_fields_that_an_earlier_version_lacks_are_not_written():
    stored = {"run": "old", "data": "x", "train_folds": [1], "tune_fold": 2, "pretrained": {}}
    read = Provenance.from_json(stored)
    assert (read.seed, read.commit, read.language) == ("not noted", "not noted", "en")
    assert read.to_json() == stored


def test_the_folds_seen_are_those_of_training_and_of_tuning():
    assert [fold for fold in range(1, 11) if MODEL.has_seen(fold)] == [3, 4, 5]
    assert {fold for each in MODEL.lineage() for fold in each.folds_seen} == {1, 2, 3, 4, 5, 6, 7}


def test_data_are_the_same_if_the_hash_of_their_table_is():
    assert MODEL.same_records(START.data)
    assert not MODEL.same_records("8 records, metadata sha256 abd")


def test_data_are_the_same_if_they_have_a_data_set_in_common():
    version = "a: 9 records, metadata sha256 abc + b: 5 records, metadata sha256 123"
    both = Provenance("both", data=version)
    assert both.same_records("4 records, metadata sha256 123, records sha256 456")
    assert both.same_records(MODEL.data) and MODEL.same_records(version)
    assert not both.same_records("c: 9 records, metadata sha256 def, records sha256 fff")
    other_labels = Provenance("labels", data="5 records, metadata sha256 1, records sha256 456")
    assert other_labels.same_records("5 records, metadata sha256 2, records sha256 456")
    assert not Provenance("unknown").same_records(version)


def test_members_are_merged_and_different_initializations_are_refused():
    other = Provenance("other", train_folds=[3, 4], tune_fold=5, pretrained=START, seed=1)
    merged = merged_provenance([MODEL, other], ["model", "other"])
    assert merged.members == ["model", "other"]
    assert merged.seed == "not noted, 1"
    assert [teacher.run for teacher in merged.teachers] == ["teacher"]
    with pytest.raises(ValueError, match=r"initialized differently \(start, at random\)"):
        merged_provenance([MODEL, Provenance("third")], ["model", "third"])


def test_the_machine_is_described_with_processes_and_precision():
    words = describe_machine(torch.device("cpu"), "float32", 2)
    assert words.startswith("2 x ")
    assert words.endswith("float32")
    assert not describe_machine(torch.device("cpu"), "float32", 1).startswith("1 x ")


def test_an_installed_package_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "PACKAGE_DIR", tmp_path / "site-packages" / "ecg_siglip")
    assert describe_commit() == "release"
    (tmp_path / "site-packages" / ".git").mkdir(parents=True)
    assert describe_commit() == "unknown"  # no repository in it


def test_origin_names_simulated_training_records():
    assert Provenance("r").origin == ""
    assert Provenance("r", simulated=True).origin == SIMULATED
    mixed = Provenance("r", n_train_records=400, n_simulated_records=100)
    assert "100 of 400" in mixed.origin and "25%" in mixed.origin


def test_earlier_models_did_not_note_whether_their_records_are_simulated():
    stored = {"run": "old", "data": "d"}
    earlier = Provenance.from_json(stored)
    assert earlier.simulated is None and "not noted" in earlier.origin
    assert earlier.to_json() == stored


@pytest.mark.parametrize(
    ("members", "expected"), [((True, True), True), ((True, None), None), ((False, False), False)]
)
def test_an_ensemble_is_simulated_if_all_members_are(members, expected):
    parts = [Provenance("r", simulated=each) for each in members]
    assert merged_provenance(parts, ["a", "b"]).simulated is expected


def test_a_model_that_started_from_simulated_ecgs_but_learned_real_ones_is_not_simulated():
    real = Provenance("r", pretrained=Provenance("p", simulated=True))
    assert not Provenance.from_json(real.to_json()).simulated and not real.origin
