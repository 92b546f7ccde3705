"""The command, end to end: a resumed run equals an uninterrupted one; every kind of run works."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TINY
from safetensors.torch import load_file

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.train import train
from ecg_siglip.training.trainer import Trainer

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def command(settings, **more):
    values = TINY | {"run.root": settings.run.root, "data.root": settings.data.root} | more
    words = [f"{k}={str(v).replace(' ', '')}" for k, v in values.items()]
    return [sys.executable, "-m", "ecg_siglip.train", *words, "data.n_workers=1"]


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_resumes_to_bitwise_the_same_weights(train_config):
    settings = train_config()
    values = {
        "optim.batch_size": 8,
        "optim.n_epochs": 3,
        "save_every_s": 0,
        "augment.gain": 0.2,
        "augment.shift_s": 0.5,
        "augment.mixup": 0.4,
        "ecg.dropout": 0.3,
        "ecg.drop_path": 0.2,
    }
    runs = {}
    for name in ("whole", "killed"):
        words = command(settings, **values, **{"run.name": name})
        run = Path(settings.run.root) / name
        if name == "killed":
            process = subprocess.Popen(words, env=ONE_THREAD, stdout=subprocess.DEVNULL)
            while not (run / "log.jsonl").exists() or not (run / "log.jsonl").read_text():
                assert process.poll() is None
                time.sleep(0.005)
            # The first epoch is complete; wait for the second to begin, and kill the process.
            first = (run / "state.pt").stat().st_mtime_ns
            while (run / "state.pt").stat().st_mtime_ns == first:
                assert process.poll() is None
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not (run / "model").exists()
        subprocess.run(words, env=ONE_THREAD, check=True, stdout=subprocess.DEVNULL)
        runs[name] = load_file(run / "model" / "model.safetensors")
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        runs[f"{name}/loss"] = {"loss": torch.tensor([line["loss"] for line in lines])}
    for kind in ("", "/loss"):
        whole, killed = runs[f"whole{kind}"], runs[f"killed{kind}"]
        assert [k for k in whole if not torch.equal(whole[k], killed[k])] == []


def test_a_finished_run_has_the_documented_files(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {"config.yaml", "log.jsonl", "state.pt", "model", "tensorboard"}
    model = {path.name for path in (trained / "model").iterdir()}
    files = {"model.safetensors", "neighbours.safetensors", "config.json", "vocabulary.json"}
    assert model == files | {"README.md", "text"}
    about = json.loads((trained / "model" / "config.json").read_text())["about"]
    assert about["train_folds"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert about["tune_fold"] == 9
    assert "not for diagnosis" in (trained / "model" / "README.md").read_text()


def test_training_lowers_the_loss(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_run_repeated_with_another_setting_is_refused_with_its_name(trained, capsys):
    settings = from_yaml(config.TrainConfig, trained / "config.yaml")
    settings.optim.lr, settings.n_threads = 0.5, 1
    with pytest.raises(ValueError, match=r"optim\.lr \(was 0\.002, now 0\.5\); take another"):
        train(settings)
    settings.optim.lr = 0.002
    train(settings)
    assert f"is complete; its model is in {trained / 'model'}" in capsys.readouterr().out


def save_and_stop_after_an_epoch(trainer, run, save=Trainer.save):
    save(trainer, run)
    if trainer.epoch == 1:
        raise KeyboardInterrupt


def test_a_run_is_resumed_with_data_that_were_moved_but_not_with_others(
    train_config, simulated, tmp_path, monkeypatch
):
    """Interrupted after its first epoch, data moved, resumed: the weights of an undisturbed run."""
    one = {"optim.batch_size": 16, "augment.mixup": 0.4, "ecg.dropout": 0.3, "save_every_s": 0}
    whole = train_config(**one, **{"run.name": "whole"})
    train(whole)
    first, moved = tmp_path / "first", tmp_path / "moved"
    shutil.copytree(simulated, first)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_and_stop_after_an_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(train_config(**one, **{"data.root": str(first)}))
    first.rename(moved)
    other = tmp_path / "other"
    shutil.copytree(moved, other)
    with (other / "ptbxl_database.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="begun on other data .*; take another run.name"):
        train(train_config(**one, **{"data.root": str(other)}))
    resumed = train_config(
        **one, **{"data.root": str(moved), "data.cache_dir": str(tmp_path / "c"), "device": "cpu"}
    )
    train(resumed)
    runs = Path(whole.run.root)
    weights = [load_file(runs / name / "model" / "model.safetensors") for name in ("whole", "r")]
    assert [k for k in weights[0] if not torch.equal(weights[0][k], weights[1][k])] == []
    lines = (runs / "r" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert from_yaml(config.TrainConfig, runs / "r" / "config.yaml").data.root == str(moved)


def test_a_complete_run_names_data_that_it_was_not_trained_on(trained, capsys):
    settings = from_yaml(config.TrainConfig, trained / "config.yaml")
    settings.data.root = "elsewhere"
    train(settings)
    assert "not compared with these data: data.root (was " in capsys.readouterr().out


def test_a_name_that_no_folder_can_have_is_refused_before_anything_is_read(train_config):
    settings = train_config(**{"run.name": "a/b", "data.root": "no_such_folder"})
    with pytest.raises(ValueError, match="run.name=a/b: expected the name of a folder"):
        train(settings)


def test_settings_that_exclude_each_other_leave_no_run_folder(train_config):
    settings = train_config(**{"data.tune_fold": 8})
    with pytest.raises(ValueError, match=r"tune_fold=8: expected a fold that is not trained on"):
        train(settings)
    assert not (Path(settings.run.root) / "r").exists()


def test_a_run_folder_that_cannot_be_made_is_an_error_on_one_line(train_config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = subprocess.run(
        command(train_config(), **{"run.name": "r", "run.root": tmp_path / "file"}),
        env=ONE_THREAD,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("train: ")
    assert str(tmp_path / "file") in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("locked", [False, True])
def test_a_hugging_face_text_encoder_is_trained_unless_it_is_locked(
    train_config, tiny_bert, locked
):
    from transformers import AutoModel

    encoder = {"text.name": str(tiny_bert), "text.locked": locked}
    settings = train_config(**encoder, **{"optim.n_epochs": 1})
    train(settings)
    before = AutoModel.from_pretrained(tiny_bert, add_pooling_layer=False).state_dict()
    predictor = Predictor.load(Path(settings.run.root) / "r" / "model", "cpu")
    after = predictor.artifact.model.text.model.state_dict()
    same = [torch.equal(after[name], weight) for name, weight in before.items()]
    assert all(same) if locked else not all(same)
    assert predictor.text_FD.shape == (71, 16)


@pytest.mark.parametrize(
    "values",
    [
        {"ecg.name": "transformer", "ecg.width": 16, "ecg.n_heads": 2, "ecg.stem_stride": 20},
        {"objective.terms": "report/idf_jaccard", "objective.n_chunk": 5},
        {"objective.terms": "findings/diagonal", "objective.loss": "softmax"},
        {"data.task": "superdiagnostic", "text.language": "ja"},
        {"ecg.name": "xresnet1d", "text.name": "none"},
    ],
    ids=["transformer", "reports in chunks", "CLIP", "five classes in Japanese", "no text"],
)
def test_every_kind_of_run_ends_with_a_model_that_predicts(train_config, values):
    settings = train_config(**values, **{"optim.n_epochs": 1})
    train(settings)
    predictor = Predictor.load(Path(settings.run.root) / "r" / "model", "cpu")
    y_prob = predictor.probabilities(np.zeros((2, 12, 1000), np.int16))
    assert y_prob.shape == (2, len(predictor.artifact.codes))
    assert np.isfinite(y_prob).all()
