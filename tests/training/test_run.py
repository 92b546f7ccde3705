"""A run is set up from its settings, or from the state in which it was interrupted."""

import shutil
from pathlib import Path

import pytest
import torch

from ecg_siglip import config
from ecg_siglip.core.distributed import pick_device
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.training import run as run_module
from ecg_siglip.training.run import describe_run, is_complete, prepare_run
from ecg_siglip.training.state import load_state, save_state


def test_a_new_run_has_its_folder_and_configuration(train_config, capsys):
    settings = train_config(**{"optim.lr": 0.003})
    run = Path(settings.run.root) / "r"
    trainer, loaded = prepare_run(settings, run)
    assert from_yaml(config.TrainConfig, run / "config.yaml") == settings
    assert (trainer.epoch, trainer.step) == (0, 0)
    assert trainer.data.reader.mapped is loaded.signals
    first_line = capsys.readouterr().out.splitlines()[0]
    assert first_line == describe_run(trainer, n_simulated=123)
    assert first_line.startswith("r: 123 records (123 simulated), 71 findings, bank/present, 0.0")
    assert first_line.endswith(f" M parameters, {pick_device('auto').type}")


def test_an_interrupted_run_continues_from_its_state(trained, train_config, capsys):
    settings = train_config(**{"optim.n_epochs": 5})
    run = Path(settings.run.root) / "r"
    run.mkdir(parents=True)
    shutil.copy(trained / "state.pt", run)
    trainer, _ = prepare_run(settings, run)
    assert (trainer.epoch, trainer.step) == (2, 0)
    stored = torch.load(trained / "state.pt", weights_only=True)["model"]
    assert all(torch.equal(w, stored[k]) for k, w in trainer.model.state_dict().items())
    assert capsys.readouterr().out.splitlines()[0].endswith(", epoch 3")


def test_a_run_that_starts_from_another_has_its_encoder(trained, train_config):
    settings = train_config(**{"ecg.weights": str(trained / "model")})
    trainer, _ = prepare_run(settings, Path(settings.run.root) / "r")
    assert trainer.pretrained["run"] == "small"


def test_an_unknown_teacher_is_reported_before_the_data_are_read(train_config, monkeypatch):
    settings = train_config(**{"objective.teachers": ["nobody"]})
    monkeypatch.setattr(run_module, "load_training_data", None)
    with pytest.raises(ValueError, match=r"objective\.teachers: nobody fits no run"):
        prepare_run(settings, Path(settings.run.root) / "r")


def test_a_run_is_complete_if_its_model_loads_and_is_that_of_its_state(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert is_complete(run)
    state = load_state(run / "state.pt")
    save_state(run / "state.pt", state | {"best": state["best"] | {"epoch": 77}})
    with pytest.raises(ValueError, match=r"best epoch is \d, .*state.pt is 77.*delete.*model"):
        is_complete(run)
    save_state(run / "state.pt", state)
    (run / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model: does not load: .*; delete .*model and repeat"):
        is_complete(run)
    shutil.rmtree(run / "model")
    assert not is_complete(run)
