"""`compare` writes the differences between recipes."""

import json
import shutil
import sys

import pytest

from ecg_siglip import compare
from ecg_siglip.config import TrainConfig
from ecg_siglip.core.run_folder import from_yaml, to_yaml


@pytest.fixture
def runs(evaluated, tmp_path):
    """Two recipes with the same predictions."""
    for name, lr in (("a_s0", 0.002), ("b_s0", 0.5)):
        run = tmp_path / "runs" / name
        shutil.copytree(evaluated.parents[1], run, ignore=shutil.ignore_patterns("model", "*.pt"))
        settings = from_yaml(TrainConfig, run / "config.yaml")
        settings.run.name, settings.optim.lr = name, lr
        (run / "config.yaml").write_text(to_yaml(settings))
    return tmp_path / "runs"


def test_equal_runs_do_not_differ(runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    arguments = ["runs=['a_*','b_*']", f"root={runs}", f"out={out}", "n_resamples=10"]
    monkeypatch.setattr(sys, "argv", ["compare", *arguments, "baseline=a"])
    compare.main()
    result = json.loads((out / "comparison.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["a", "b"]
    assert result["baseline"] == "a"
    assert "macro AUROC" in capsys.readouterr().out


def test_a_pattern_without_a_run_is_an_error_on_one_line(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "runs=['c_*']", f"root={runs}"])
    with pytest.raises(SystemExit) as stop:
        compare.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(f"compare: runs: c_* fits no run in {runs}")
