"""`evaluate` with data=challenge scores the collections of other hospitals."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import configured

from ecg_siglip.config import EvaluateConfig
from ecg_siglip.evaluate import evaluate


@pytest.mark.parametrize(
    ("kind", "function"),
    [("ptbxl", "fold.evaluate_fold"), ("challenge", "external_outputs.evaluate_external")],
)
def test_the_data_decide_what_is_evaluated(monkeypatch, kind, function):
    evaluated = []
    for name in ("fold.evaluate_fold", "external_outputs.evaluate_external"):
        monkeypatch.setattr(
            f"ecg_siglip.evaluation.{name}",
            lambda settings, name=name: evaluated.append((name, settings.data.kind)),
        )
    evaluate(configured(EvaluateConfig, {"run.name": "r", "data.kind": kind}))
    assert evaluated == [(function, kind)]


@pytest.mark.slow
def test_the_real_collections_are_evaluated(trained, tmp_path, shared_challenge):
    shutil.copytree(trained, tmp_path / trained.name)
    command = [
        *(sys.executable, "-m", "ecg_siglip.evaluate", f"run.name={trained.name}"),
        *(f"run.root={tmp_path}", "data=challenge", f"data.root={shared_challenge}"),
        *("data.min_positives=2", "n_bootstrap=50", "device=cpu"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / trained.name / "evaluate" / "challenge"
    rows = {row["set"]: row for row in json.loads((folder / "summary.json").read_text())}
    assert {name: row["n_records"] for name, row in rows.items()} == {
        "chapman_ningbo": 12,
        "cpsc2018": 2,
        "cpsc2018_extra": 6,
        "georgia": 12,
        "ptbxl": 0,
    }
    assert rows["chapman_ningbo"]["n_findings"] > 5
    assert (folder / "chapman_ningbo" / "report.html").stat().st_size > 100_000
    assert "PRWP 1" in done.stderr and "Brady 1" in done.stderr
