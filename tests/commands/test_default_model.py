"""Without run.name and model, the commands use the model of the package, and name it on stderr."""

import json
import sys

import pytest
from helpers import configured

from ecg_siglip import EcgClassifier, config, evaluate, export, predict
from ecg_siglip.core import run_folder
from ecg_siglip.datasets import ptbxl

MAX_MB = 12  # in the repository and in the wheel
NAMED = "model: the default one ("


@pytest.fixture
def record(simulated):
    return simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]


def main(module, monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__.rpartition(".")[2], *arguments])
    module.main()


def test_predict_uses_it(packaged, record, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(predict, monkeypatch, f"records=[{record}]", "device=cpu")
    printed = capsys.readouterr()
    assert printed.err.startswith(f"predict: {NAMED}")
    assert printed.err.count("\n") == 2  # this one was trained on simulated ECGs
    first = json.loads(printed.out)
    main(predict, monkeypatch, "model=default", f"records=[{record}]", "device=cpu")
    assert json.loads(capsys.readouterr().out) == first


@pytest.mark.parametrize(
    ("module", "arguments"), [(predict, ["records=[x]"]), (export, []), (evaluate, [])]
)
def test_without_one_the_commands_name_what_to_give(
    unpackaged, module, arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("x")
    arguments = [word.replace("[x]", "[x.csv]") for word in arguments]
    with pytest.raises(SystemExit) as stop:
        main(module, monkeypatch, *arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "no default model: expected run.name=... or model=..." in error
    assert error.count("\n") == 1


def test_the_classifier_is_it(packaged, record, capsys):
    classifier = EcgClassifier.from_pretrained()
    assert capsys.readouterr().err.startswith(f"EcgClassifier: {NAMED}")
    named = EcgClassifier.from_pretrained(packaged)
    assert (classifier.predict_proba(record) == named.predict_proba(record)).all()


def test_the_classifier_without_one(unpackaged):
    with pytest.raises(ValueError, match=r"no model named, .*: expected the folder of a model"):
        EcgClassifier.from_pretrained()


def test_export_writes_it(packaged, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="needs the extra [export]")
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(export, monkeypatch)
    assert "out is missing" in capsys.readouterr().err
    main(export, monkeypatch, "out=model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    assert not (tmp_path / "runs").exists()


def test_evaluate_scores_it_on_a_fold_of_its_training(packaged, tmp_path, capsys):
    settings = {"run.name": "", "run.root": str(tmp_path / "runs"), "device": "cpu"}
    settings |= {"n_bootstrap": 0, "fold": 10}
    evaluate.evaluate(configured(config.EvaluateConfig, settings))
    assert capsys.readouterr().err.startswith(f"evaluate: {NAMED}")
    folder = tmp_path / "runs" / "default" / "evaluate" / "fold10"
    assert "macro_auroc" in json.loads((folder / "metrics.json").read_text())
    page = (folder / "report.html").read_text()
    assert "python -m ecg_siglip.predict model=default" in page


def test_evaluate_scores_it_on_other_data(packaged, hospital, tmp_path, monkeypatch):
    arguments = ["data=table", f"data.table={hospital / 'ecgs.csv'}", f"run.root={tmp_path}"]
    with pytest.raises(SystemExit):  # other codes than those of the model
        main(evaluate, monkeypatch, *arguments, "device=cpu")
    assert not (tmp_path / "default").exists()


def test_evaluate_keeps_a_run_with_the_same_name(packaged, trained, tmp_path):
    settings = {"run.name": "default", "run.root": str(tmp_path), "model": "default"}
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "config.yaml").write_text((trained / "config.yaml").read_text())
    with pytest.raises(ValueError, match=r"default: a run, where the results of the default model"):
        evaluate.evaluate(configured(config.EvaluateConfig, settings))
    with pytest.raises(ValueError, match=r"run\.name=r with model=default: expected one of"):
        evaluate.evaluate(configured(config.EvaluateConfig, settings | {"run.name": "r"}))


def test_the_model_of_the_package_is_small_and_complete():
    folder = run_folder.PRETRAINED
    if not folder.is_dir():
        pytest.skip("no model in the package")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= MAX_MB * 1e6
    assert {path.name for path in folder.iterdir()} >= {
        *("README.md", "config.json", "config.yaml", "model.safetensors", "text"),
        "vocabulary.json",
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "For research, not for diagnosis" in card
    assert "CC BY 4.0" in card
    assert "make model" in card
