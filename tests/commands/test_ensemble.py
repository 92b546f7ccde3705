"""`ensemble` joins finished runs into one."""

import json
import shutil
import sys

import pytest

from ecg_siglip import ensemble


def test_the_joined_run_names_its_members(trained, tmp_path, monkeypatch):
    for name in ("small_s0", "small_s1"):
        shutil.copytree(trained, tmp_path / name)
    arguments = ["run.name=both", f"run.root={tmp_path}", "runs=['small_*']", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["ensemble", *arguments])
    ensemble.main()
    about = json.loads((tmp_path / "both" / "model" / "config.json").read_text())["about"]
    assert about["members"] == ["small_s0", "small_s1"]


def test_no_run_is_an_error_on_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ensemble", "run.name=both", f"run.root={tmp_path}"])
    with pytest.raises(SystemExit) as stop:
        ensemble.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("ensemble: no run named")
