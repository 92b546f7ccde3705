"""Start both encoders from an earlier model, with other findings."""

import json

import numpy as np
import pytest
import torch
from helpers import TINY, configured
from safetensors.torch import load_file

from ecg_siglip import config
from ecg_siglip.adapt import adapt
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import adopt_model_settings
from ecg_siglip.training.trainer import Trainer


@pytest.fixture
def from_model(trained, train_config):
    """Makes the configuration of a run that starts from the small model."""

    def make(**settings) -> config.TrainConfig:
        return train_config(**{"init": str(trained / "model"), **settings})

    return make


def _trainer(settings: config.TrainConfig) -> Trainer:
    settings = adopt_model_settings(settings)
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    return Trainer(settings, data)


def test_all_weights_are_those_of_the_model(trained, from_model):
    trainer = _trainer(from_model(seed=7))
    stored = load_file(trained / "model" / "model.safetensors")
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, stored[name]), name
        if name in trainer.averaged:
            assert torch.equal(trainer.averaged[name], stored[name]), name
    assert trainer.pretrained["run"] == "small"


def test_before_the_first_step_the_embeddings_are_those_of_the_model(trained, from_model):
    trainer = _trainer(from_model(**{"data.task": "superdiagnostic"}))
    model = load_artifact(trained / "model").model
    signals = np.asarray(trainer.data.reader.mapped[:5])
    prompts = trainer.data.prompts
    with torch.no_grad():
        trainer.model.eval()
        expected = model.encode_text(prompts)
        assert torch.allclose(trainer.model.encode_text(prompts), expected)
        x = torch.from_numpy(signals).float() / 1000
        ours, theirs = trainer.model.encode_ecg(x), model.encode_ecg(x)
    assert torch.allclose(ours, theirs)


def test_other_findings_are_learned_and_stored(from_model, tmp_path):
    train(from_model(**{"data.task": "superdiagnostic", "run.name": "next"}))
    folder = tmp_path / "runs" / "next" / "model"
    predictor = Predictor.load(folder, "cpu")
    assert predictor.artifact.codes == ("NORM", "MI", "STTC", "CD", "HYP")
    about = json.loads((folder / "config.json").read_text())["about"]
    assert about["pretrained"]["run"] == "small"


def test_the_encoders_are_those_of_the_model_whatever_the_defaults(trained, train_config, tmp_path):
    few = {"optim.n_epochs": 1, "optim.batch_size": 32, "augment.mixup": 0.0}
    values = {"run.root": str(tmp_path / "runs"), "run.name": "d", "device": "cpu", **few}
    values |= {"data.root": train_config().data.root, "init": str(trained / "model")}
    train(configured(config.TrainConfig, values))
    stored = from_yaml(config.TrainConfig, tmp_path / "runs" / "d" / "config.yaml")
    assert (stored.ecg.width, stored.embed_dim) == (TINY["ecg.width"], TINY["embed_dim"])
    train(configured(config.TrainConfig, values))  # complete: the same settings


def test_a_setting_that_contradicts_the_model_is_refused(from_model):
    with pytest.raises(ValueError, match=r"the model has ecg\.width=8, and this run 16; leave out"):
        train(from_model(**{"ecg.width": 16}))
    with pytest.raises(ValueError, match=r"the model has waveform\.fs=100, and this run 50"):
        train(from_model(**{"waveform.fs": 50}))


def test_what_does_not_fit_is_refused(trained, from_model):
    with pytest.raises(ValueError, match=r"init=.* with ecg\.weights=x: both name the initial"):
        train(from_model(**{"ecg.weights": "x"}))
    with pytest.raises(ValueError, match=r"init=nothing: .* does not exist"):
        train(from_model(init="nothing"))
    with pytest.raises(ValueError, match=r"a supervised head has no text encoder; expected ecg"):
        train(from_model(**{"text.name": "none"}))


def test_a_model_that_has_seen_the_tuning_fold_is_refused(from_model):
    with pytest.raises(ValueError, match=r"small has seen fold 4 of the same records"):
        train(from_model(**{"data.train_folds": [1, 2, 3], "data.tune_fold": 4}))


@pytest.mark.parametrize("frozen", ["ecg", "text"])
def test_a_frozen_encoder_keeps_the_weights_of_the_model(trained, from_model, tmp_path, frozen):
    train(from_model(**{f"{frozen}.locked": True, "run.name": frozen, "optim.n_epochs": 1}))
    before = load_file(trained / "model" / "model.safetensors")
    after = load_file(tmp_path / "runs" / frozen / "model" / "model.safetensors")
    for name in before:
        if name.startswith(f"{frozen}."):
            assert torch.equal(before[name], after[name]), name
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_an_interrupted_run_resumes_to_the_same_weights(from_model, tmp_path, monkeypatch):
    train(from_model(**{"run.name": "whole", "optim.n_epochs": 2}))
    part = from_model(**{"run.name": "part", "optim.n_epochs": 2})
    end_epoch = Trainer.end_epoch

    def stop(self):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return end_epoch(self)

    monkeypatch.setattr(Trainer, "end_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(part)
    monkeypatch.setattr(Trainer, "end_epoch", end_epoch)
    train(part)
    whole, resumed = (
        load_file(tmp_path / "runs" / name / "model" / "model.safetensors")
        for name in ("whole", "part")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_adapt_needs_a_model(train_config, unpackaged):
    with pytest.raises(ValueError, match=r"init is missing, .*: expected init=<finished run"):
        adapt(train_config())


def test_adapt_starts_from_the_default_model(packaged, train_config, tmp_path, capsys):
    settings = train_config(**{"optim.n_epochs": 1, "text.language": "mixed"})
    adapt(settings)
    assert capsys.readouterr().err.count("adapt: model: the default one") == 1
    about = json.loads((tmp_path / "runs/r/model/config.json").read_text())["about"]
    assert about["pretrained"]["run"] == "mixed"
    stored = from_yaml(config.TrainConfig, tmp_path / "runs/r/config.yaml")
    assert stored.init == "default"


def test_the_encoder_of_the_default_model_is_a_start(packaged, train_config, tmp_path):
    train(train_config(**{"optim.n_epochs": 1, "ecg.weights": "default"}))
    about = json.loads((tmp_path / "runs/r/model/config.json").read_text())["about"]
    assert about["pretrained"]["run"] == "mixed"
