"""An ensemble predicts by the mean of its members' logits, and is a run like any other."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY, change_config, configured

from ecg_siglip import config
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.dual_encoder import EcgTextModel, Ensemble, load_model
from ecg_siglip.train import train
from ecg_siglip.training.ensembling import join_runs


@pytest.fixture(scope="module")
def runs(trained, simulated, tmp_path_factory):
    """Two seeds of one recipe."""
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(trained, root / "small_s0")
    base = {"run.name": "small_s1", "run.root": str(root), "data.root": str(simulated), "seed": 1}
    train(configured(config.TrainConfig, base | TINY | {"data.n_workers": 1}))
    join_runs(ensemble_config(root))
    return root


def ensemble_config(root, **settings):
    base = {"run.name": "both", "run.root": str(root), "runs": ["small_s0", "small_s1"]}
    return configured(config.EnsembleConfig, base | settings)


def test_its_logits_are_the_mean_of_the_members(runs):
    both = load_model(runs / "both" / "model")
    assert isinstance(both, Ensemble)
    members = [EcgTextModel.from_pretrained(runs / f"small_s{i}" / "model") for i in (0, 1)]
    signal, texts = torch.randn(3, 12, 1000), ["sinus rhythm", "a text not in training"]

    def logits(model):
        return model.logits(model.encode_ecg(signal), model.encode_text(texts))

    torch.testing.assert_close(logits(both), (logits(members[0]) + logits(members[1])) / 2)


def test_it_is_evaluated_and_predicts_like_any_run(runs):
    settings = {"run.name": "both", "run.root": str(runs), "n_bootstrap": 0, "report": False}
    evaluate_fold(configured(config.EvaluateConfig, settings))
    folder = runs / "both" / "evaluate" / "fold10"
    about = json.loads((folder / "about.json").read_text())
    assert about["members"] == ["small_s0", "small_s1"]
    table = pd.read_parquet(folder / "predictions.parquet")
    predictor = Predictor.load(runs / "both" / "model", "cpu")
    probabilities = predictor.probabilities(np.zeros((2, 12, 1000), np.int16))
    assert probabilities.shape == (2, 71)
    assert len(predictor.decide(probabilities[0])) == 71
    assert table.shape[1] == 4 + 2 * 71


def test_runs_of_one_start_are_averaged_to_one_model(trained, simulated, tmp_path):
    shutil.copytree(trained, tmp_path / "start")
    base = {"run.root": str(tmp_path), "data.root": str(simulated), "data.n_workers": 1}
    for seed in (0, 1):
        start = {"run.name": f"s{seed}", "seed": seed, "init": "start", "optim.n_epochs": 1}
        train(configured(config.TrainConfig, base | TINY | start))
    join_runs(ensemble_config(tmp_path, **{"runs": ["s0", "s1"], "average": "weights"}))
    model = load_model(tmp_path / "both" / "model")
    members = [load_model(tmp_path / f"s{seed}" / "model") for seed in (0, 1)]
    assert isinstance(model, EcgTextModel)
    for name, weight in model.state_dict().items():
        first, second = (member.state_dict()[name] for member in members)
        if weight.is_floating_point():
            torch.testing.assert_close(weight, (first + second) / 2)
    predictor = Predictor.load(tmp_path / "both" / "model", "cpu")
    assert predictor.artifact.provenance.members == ["s0", "s1"]
    assert predictor.artifact.neighbors is not None


def test_runs_of_different_starts_are_not_averaged(runs, tmp_path):
    with pytest.raises(ValueError, match=r"average=weights: runs with init=None; expected runs"):
        join_runs(ensemble_config(runs, **{"run.name": "mean", "average": "weights"}))
    assert not (runs / "mean").exists()


def test_the_same_command_again_leaves_the_ensemble_as_it_is(runs, capsys):
    before = (runs / "both" / "model" / "config.json").stat().st_ino
    join_runs(ensemble_config(runs))
    assert "both is complete" in capsys.readouterr().out
    assert (runs / "both" / "model" / "config.json").stat().st_ino == before


def test_an_interrupted_ensemble_is_made_again(runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    stored = (root / "both" / "model" / "config.json").read_bytes()
    shutil.rmtree(root / "both" / "model")
    shutil.rmtree(root / "both" / "evaluate", ignore_errors=True)
    (root / "both" / ".model.0123456789ab.tmp").mkdir()
    join_runs(ensemble_config(root))
    assert (root / "both" / "model" / "config.json").read_bytes() == stored
    assert {path.name for path in (root / "both").iterdir()} == {"config.yaml", "model"}


def test_a_model_that_could_not_take_its_place_gets_it_with_its_configuration(runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    both = root / "both"
    stored = (both / "config.yaml").read_text().replace(str(runs), str(root))
    (both / "config.yaml").unlink()
    (both / "model").rename(both / ".model.0123456789ab.new")
    join_runs(ensemble_config(root))
    assert (both / "config.yaml").read_text() == stored
    assert (both / "model").is_dir()


def test_another_run_of_the_name_is_not_overwritten(runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    shutil.copytree(root / "small_s0", root / "small_s2")
    with pytest.raises(ValueError, match="both exists"):  # of other members
        join_runs(ensemble_config(root, runs=["small_s0", "small_s1", "small_s2"]))
    shutil.rmtree(root / "small_s2" / "model")
    with pytest.raises(ValueError, match="small_s2 exists"):  # not finished
        join_runs(ensemble_config(root, **{"run.name": "small_s2"}))


def test_members_that_do_not_fit_together_are_refused(runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    settings = {"run.name": "new", "run.root": str(root)}
    with pytest.raises(ValueError, match="small_s0; expected two or more"):
        join_runs(ensemble_config(root, **settings, runs=["small_s0"]))
    with pytest.raises(ValueError, match="both: is an ensemble"):
        join_runs(ensemble_config(root, **settings, runs=["small_s0", "both"]))
    change_config(
        root / "small_s1" / "model",
        lambda content: content["prompts"].__setitem__(0, "another prompt"),
    )
    with pytest.raises(ValueError, match="small_s1: prompts differs from small_s0"):
        join_runs(ensemble_config(root, **settings))
    shutil.rmtree(root / "small_s1" / "model")
    with pytest.raises(ValueError, match="small_s1/model: expected a finished run"):
        join_runs(ensemble_config(root, **settings))
    assert not (root / "new").exists()


@pytest.mark.parametrize("part", ["member1", "config.json"])
def test_a_missing_part_is_an_error_that_names_it(runs, tmp_path, part):
    folder = tmp_path / "model"
    shutil.copytree(runs / "both" / "model", folder)
    shutil.rmtree(folder / part) if part == "member1" else (folder / part).unlink()
    with pytest.raises(ValueError, match=part):
        load_model(folder)


@pytest.mark.parametrize("content", ['{"members": "../x"}', '{"members": 0}', "[]", "{"])
def test_a_damaged_configuration_is_refused(runs, tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(runs / "both" / "model", folder)
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match="damaged"):
        load_model(folder)
