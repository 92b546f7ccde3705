"""Initialize the ECG encoder from an earlier run, unless that run has seen too much."""

import json
import shutil

import pytest
import torch
from helpers import change_config
from safetensors.torch import load_file

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.state import clone_tensors
from ecg_siglip.training.trainer import Trainer


def make_trainer(settings) -> Trainer:
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    return Trainer(settings, data)


def test_only_the_ecg_encoder_is_loaded_from_the_other_run(trained, train_config):
    training = make_trainer(train_config(seed=5))
    fresh = clone_tensors(training.model.state_dict())
    training.start_from(str(trained / "model"))
    stored = load_file(trained / "model" / "model.safetensors")
    for name, weight in training.model.state_dict().items():
        expected = stored if name.startswith("ecg.") else fresh
        assert torch.equal(weight, expected[name]), name
    # The averaged weights also start from the loaded encoder, not from the random weights.
    assert torch.equal(training.averaged["ecg.stem.0.weight"], stored["ecg.stem.0.weight"])


def test_the_model_stores_the_provenance_of_its_encoder(trained, train_config, tmp_path):
    settings = train_config(**{"ecg.weights": "small", "optim.n_epochs": 1})
    shutil.copytree(trained, tmp_path / "runs" / "small")
    train(settings)
    folder = tmp_path / "runs" / "r" / "model"
    before = json.loads((folder / "config.json").read_text())["about"]["pretrained"]
    assert (before["run"], before["train_folds"]) == ("small", [1, 2, 3, 4, 5, 6, 7, 8])
    assert "small" in (folder / "README.md").read_text()


def test_an_encoder_that_has_seen_the_tuning_fold_is_refused(trained, train_config):
    folds = {"data.train_folds": [1, 2, 3], "data.tune_fold": 4}
    training = make_trainer(train_config(**folds))
    with pytest.raises(ValueError, match=r"small has seen fold 4 of the same records"):
        training.start_from(str(trained / "model"))


def test_data_with_missing_records_are_recognized_as_the_same_data(trained, train_config, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "fewer")

    def fewer(stored):
        stored["about"]["data"] = stored["about"]["data"].replace("150 records", "149 records")

    change_config(tmp_path / "fewer", fewer)
    folds = {"data.train_folds": [1, 2, 3], "data.tune_fold": 4}
    with pytest.raises(ValueError, match=r"small has seen fold 4 of the same records"):
        make_trainer(train_config(**folds)).start_from(str(tmp_path / "fewer"))


def test_the_folds_of_all_earlier_encoders_are_checked(trained, train_config, tmp_path):
    def change_provenance(name, **changed):
        stored = change_config(tmp_path / name, lambda stored: stored["about"].update(changed))
        return stored["about"]

    shutil.copytree(trained / "model", tmp_path / "first")
    first = change_provenance("first", train_folds=[1, 10])
    shutil.copytree(trained / "model", tmp_path / "second")
    change_provenance("second", data="other records", pretrained=first)
    with pytest.raises(ValueError, match=r"small has seen fold 10 of the same records"):
        make_trainer(train_config()).start_from(str(tmp_path / "second"))


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("ecg.width", 16, r"its encoder has ecg\.width=8; expected the same settings"),
        ("waveform.fs", 50, r"its encoder has waveform\.fs=100; expected the same settings"),
    ],
)
def test_an_encoder_with_other_settings_is_refused(trained, train_config, setting, value, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(train_config(**{setting: value})).start_from(str(trained / "model"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pretrain",
            r"pretrain does not exist; expected a finished run.*; `make pretrain` makes it$",
        ),
        ("unfinished", r"unfinished has not finished training; expected a finished run"),
    ],
)
def test_a_missing_or_unfinished_run_is_refused(train_config, tmp_path, name, message):
    (tmp_path / "runs" / "unfinished").mkdir(parents=True)
    with pytest.raises(ValueError, match=message):
        make_trainer(train_config()).start_from(name)


def test_an_encoder_that_was_trained_with_a_held_out_finding_is_refused(trained, train_config):
    settings = {"ecg.weights": str(trained / "model"), "data.held_out": ["AFIB", "CLBBB"]}
    message = "small was trained with AFIB, CLBBB, which data.held_out hides"
    with pytest.raises(ValueError, match=message):
        train(train_config(**settings))


def test_an_encoder_that_was_trained_without_the_held_out_findings_is_used(train_config, tmp_path):
    held_out = {"data.held_out": ["AFIB", "CLBBB"], "optim.n_epochs": 1}
    train(train_config(**held_out, **{"run.name": "without"}))
    train(train_config(**held_out, **{"run.name": "next", "ecg.weights": "without"}))
    assert (tmp_path / "runs" / "next" / "model" / "config.json").is_file()
