"""`make model`, on a small simulated model: its weights, card, settings and predictions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import TINY, configured
from safetensors.torch import load_file

from ecg_siglip import config
from ecg_siglip.core import run_folder
from ecg_siglip.evaluate import evaluate
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEAD_SET_TITLES
from ecg_siglip.train import train

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "simulated_ecg.csv"
sys.path[:0] = [str(ROOT / "results"), str(ROOT / "examples")]

import default_model  # noqa: E402
import simulate  # noqa: E402


@pytest.fixture(scope="module")
def run(simulated, tmp_path_factory) -> Path:
    """A small run with two data sets, all languages and fewer leads, halved and evaluated."""
    runs = tmp_path_factory.mktemp("model") / "runs"
    more = shutil.copytree(simulated, runs.parent / "more")
    table = (more / "ptbxl_database.csv").read_text().splitlines()
    (more / "ptbxl_database.csv").write_text("\n".join(table[:60]) + "\n")
    settings = TINY | {"run.name": "default_model", "run.root": str(runs), "device": "cpu"}
    settings |= {"augment.fewer_leads": 0.3, "text.language": "mixed", "data.n_workers": 1}
    settings |= {"data.train_folds": [1, 2, 3, 4, 5, 6, 7], "data.tune_fold": 8}
    made = configured(config.TrainConfig, settings)
    made.data.sources = [
        config.SourceConfig(name="ptbxl", root=str(simulated)),
        config.SourceConfig(name="ptbxl_more", root=str(more), patients="others", tune=False),
    ]
    train(made)
    folder = runs / "default_model"
    shutil.copytree(folder / "model", folder / "before")
    default_model.halve(folder)
    chosen = {"run.name": "default_model", "run.root": str(runs), "fold": 9, "n_bootstrap": 20}
    chosen |= {"data.source": "ptbxl", "report": False, "device": "cpu"}
    evaluate(configured(config.EvaluateConfig, chosen))
    return folder


@pytest.fixture
def written(run, tmp_path, monkeypatch) -> Path:
    """The folder that was written, as the model of the package."""
    out = tmp_path / "package" / "pretrained"
    default_model.write_package(run, out, "make model PTBXL=data/ptbxl")
    monkeypatch.setattr(run_folder, "PRETRAINED", out)
    return out


def test_matrices_are_float16_and_computed_as_float32(run):
    before = load_file(run / "before" / "model.safetensors")
    after = load_file(run / "model" / "model.safetensors")
    for name, value in before.items():
        is_matrix = value.ndim > 1 and value.dtype == torch.float32
        assert after[name].dtype == (torch.float16 if is_matrix else value.dtype), name
    assert default_model.halve(run)[0] == default_model.halve(run)[1]
    loaded = Predictor.load(run / "model", "cpu")
    assert {p.dtype for p in loaded.artifact.model.parameters()} == {torch.float32}


def test_halving_does_not_change_predictions(run):
    before, after = (Predictor.load(run / name, "cpu") for name in ("before", "model"))
    signal = before.prepare(read_record(EXAMPLE))[None]
    assert np.abs(before.probabilities(signal) - after.probabilities(signal)).max() < 1e-3


def test_the_card_has_data_command_scores_and_limits(written, run):
    card = (written / "README.md").read_text(encoding="utf-8")
    for part in ("not for diagnosis", "CC BY 4.0", "doi:10.1038", "make model PTBXL=data/ptbxl"):
        assert part in card
    scores = json.loads((run / "evaluate" / "fold9-ptbxl" / "metrics.json").read_text())
    assert f"| macro AUROC | {scores['macro_auroc_min5']:.3f} [" in card
    assert f"Fold 9 of ptbxl, {scores['n_records']} records" in card
    leads = card.partition("fewer leads\n")[2].partition("###")[0]
    rows = [line for line in leads.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0][2:] for row in rows] == [*LEAD_SET_TITLES.values()]
    assert all(f"\n| {language} | " in card for language in ("en", "de", "ja"))
    assert "ptbxl_more" in card


def test_the_settings_name_no_folder_of_the_machine(written, run):
    settings = yaml.safe_load((written / "config.yaml").read_text())
    assert [Path(s["root"]).parent.name for s in settings["data"]["sources"]] == ["data", "data"]
    assert str(run.parent.parent) not in (written / "config.yaml").read_text()
    run_folder.from_yaml(config.TrainConfig, written / "config.yaml")


def test_a_run_that_was_scored_on_folds_it_has_seen_has_no_card(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "r")
    shutil.move(copy / "evaluate" / "fold9-ptbxl", copy / "evaluate" / "fold8-ptbxl")
    with pytest.raises(ValueError, match="not evaluated on a fold that it has not seen"):
        default_model.write_package(copy, tmp_path / "out", "make model")
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_too_large_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(default_model, "MAX_MB", 0.01)
    with pytest.raises(ValueError, match=r"expected 0\.01 MB at most"):
        default_model.write_package(run, tmp_path / "out", "make model")
    assert not (tmp_path / "out").exists()


def test_the_example_gets_a_prediction_and_a_picture(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {"run.name": "", "records": [str(EXAMPLE)], "report": "report.png", "device": "cpu"}
    assert predict(configured(config.PredictConfig, settings)) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] is not None
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="a picture has one record and no attributions"):
        predict(configured(config.PredictConfig, settings | {"n_attributions": 1}))


def test_the_example_is_simulated_and_named_so():
    assert "simulated" in EXAMPLE.name
    np.testing.assert_allclose(read_record(EXAMPLE).signal, simulate.simulated_ecg(), atol=0.00051)
    assert EXAMPLE.stat().st_size < 100_000
    assert "not the recording of a person" in (EXAMPLE.parent / "README.md").read_text()


def test_make_model_passes_the_data_sets_that_are_given():
    def printed(*variables: str) -> str:
        command = ["make", "-n", "model", *variables]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    alone = printed("PTBXL=p")
    assert "'data.sources=[{name:ptbxl,kind:ptbxl,root:p}]'" in alone
    every = printed("PTBXL=p", "MORE=m", "SCALED=s", "CHALLENGE=c")
    assert "table:s/table.csv,root:s,patients:ptbxl}]'" in every
    assert "data=challenge data.root=c" in every
