"""`evaluate` writes the scores of a run on a fold, also with settings from the command line."""

import json
import shutil
import sys

import pytest

from ecg_siglip import evaluate


def test_it_writes_the_scores_of_the_fold(trained, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path / "r")
    arguments = ["run.name=r", f"run.root={tmp_path}", "fold=9", "n_bootstrap=0", "report=false"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, "device=cpu"])
    evaluate.main()
    folder = tmp_path / "r" / "evaluate" / "fold9"
    scores = json.loads((folder / "metrics.json").read_text())
    assert 0 <= scores["fixed_0.5/micro_f1"] <= 1
    assert not any(name.endswith("/low") for name in scores)
    assert not (folder / "report.html").exists()
    printed = capsys.readouterr()
    assert "the run was tuned on fold 9" in printed.err
    assert f"{scores['ece']:.3f}" in printed.out


def test_an_unfinished_run_is_an_error_on_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "run.name=r", f"run.root={tmp_path}"])
    with pytest.raises(SystemExit) as stop:
        evaluate.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("evaluate: ")
