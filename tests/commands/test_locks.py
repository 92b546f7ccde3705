"""Two commands that write to the same place: the second one names the first and stops."""

import subprocess
import sys
from dataclasses import replace

import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.compare import compare
from ecg_siglip.ensemble import ensemble
from ecg_siglip.evaluate import evaluate
from ecg_siglip.ptbxl import prepare_ptbxl
from ecg_siglip.simulate import simulate
from ecg_siglip.train import train

HOLD = """
import sys
from contextlib import ExitStack
from pathlib import Path
from ecg_siglip.core.files import hold
with ExitStack() as stack:
    stack.enter_context(hold(Path("runs/a"), inside=True))
    stack.enter_context(hold(Path("data"), inside=True))
    stack.enter_context(hold(Path("comparison")))
    stack.enter_context(hold(Path("new")))
    print("held", flush=True)
    sys.stdin.read()
"""
COMMANDS = {
    "train": (train, config.TrainConfig, {"run.name": "a", "data.root": "data"}),
    "evaluate": (evaluate, config.EvaluateConfig, {"run.name": "a"}),
    "ensemble": (ensemble, config.EnsembleConfig, {"run.name": "a", "runs": ["b", "c"]}),
    "compare": (compare, config.CompareConfig, {"runs": ["b"]}),
    "ptbxl": (prepare_ptbxl, config.PtbxlConfig, {"data.root": "data"}),
    "simulate": (simulate, config.SimulateConfig, {"data.root": "new"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which another process holds a run, a data set and a comparison."""
    folder = tmp_path_factory.mktemp("locked")
    for name in "abc":
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "config.yaml").touch()
    (folder / "data").mkdir()
    words = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        yield folder
        process.stdin.close()
    assert sorted(path.name for path in folder.iterdir()) == ["data", "runs"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_command_names_the_process_and_stops(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    command, schema, settings = COMMANDS[name]
    settings = configured(schema, settings)
    with pytest.raises(ValueError, match=r"in use by process \d+ on .* since 20"):
        command(settings)
    if name != "simulate":
        with pytest.raises(ValueError, match=r"in use by process \d+ .*; still after 0.1 s"):
            command(replace(settings, wait_s=0.1))
