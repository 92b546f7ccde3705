"""Several runs of one command line: -m with Hydra's launchers and Optuna."""

import os
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import hold

RUN = "run.name=lr${optim.lr}"


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A function that runs `train` with these words; a run writes its rate and returns it."""
    monkeypatch.chdir(tmp_path)

    def train(settings) -> float:
        """Train."""
        folder = Path(settings.run.root) / settings.run.name
        with hold(folder, inside=True):
            if settings.optim.lr > 0.9:
                raise ValueError(f"a rate of {settings.optim.lr}")
            with open(folder / "rate", "a") as file:
                file.write(f"{settings.optim.lr} {os.getcwd()}\n")
        return -abs(settings.optim.lr - 0.5)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["train", *words])
        run_command("train", config.TrainConfig, train)
        return rates(tmp_path)

    return run


def rates(folder: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in folder.glob("runs/*/rate")}


@pytest.mark.parametrize("place", [0, 1, 3])
def test_m_may_be_anywhere_and_leaves_no_file_of_its_own(sweep, tmp_path, place):
    words = ["data.root=data", RUN, "optim.lr=0.25,0.5"]
    words.insert(place, "-m")
    assert sweep(*words) == {"lr0.25": f"0.25 {tmp_path}\n", "lr0.5": f"0.5 {tmp_path}\n"}
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"lr0.25", "lr0.5"}


@pytest.mark.parametrize("command", ["evaluate", "compare", "simulate"])
def test_no_command_leaves_multirun_yaml(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    received = []
    schemas = {"evaluate": config.EvaluateConfig, "compare": config.CompareConfig}
    words = {"evaluate": "fold=9,10", "compare": "fold=9,10", "simulate": "seed=0,1"}[command]
    extra = ["data.root=data"] if command == "simulate" else []
    monkeypatch.setattr(sys, "argv", [command, "-m", words, *extra])
    run_command(command, schemas.get(command, config.SimulateConfig), received.append)
    assert len(received) == 2
    assert not list(tmp_path.rglob("multirun.yaml"))


def test_a_failed_run_does_not_end_the_others(sweep, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        sweep("data.root=data", RUN, "optim.lr=0.25,0.95,0.5", "-m")
    assert ended.value.code == 1
    assert set(rates(tmp_path)) == {"lr0.25", "lr0.5"}
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("train: a rate of 0.95") == 2  # when it happens, and at the end
    assert not any("Traceback" in line for line in lines)


def test_optuna_maximizes_the_score_that_a_run_returns(sweep, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra [sweep]")
    words = ["data.root=data", "run.name=trial${hydra:job.num}", "optim.lr=interval(0.1,0.9)"]
    optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=0"]
    direction = "hydra.sweeper.direction=maximize"
    written = sweep(*words, *optuna, direction, "-m")
    assert set(written) == {f"trial{i}" for i in range(4)}
    result = OmegaConf.load(tmp_path / "runs" / "optimization_results.yaml")
    tried = [float(text.split()[0]) for text in written.values()]
    best = min(tried, key=lambda rate: abs(rate - 0.5))
    assert result.best_params["optim.lr"] == best
    assert result.best_value == pytest.approx(-abs(best - 0.5))
    # The same seed tries the same values, so that finished runs are found again.
    again = sweep(*words, *optuna, direction, "-m")
    assert {name: text.splitlines()[0] for name, text in again.items()} == {
        name: text.splitlines()[1] for name, text in again.items()
    }


def test_optuna_without_a_direction_is_refused(sweep, capsys):
    with pytest.raises(SystemExit):
        sweep("data.root=data", RUN, "optim.lr=0.1,0.2", "-m", "hydra/sweeper=optuna")
    error = capsys.readouterr().err
    assert error == (
        "train: hydra/sweeper=optuna: minimizes by default; expected "
        "hydra.sweeper.direction=maximize\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_launcher_runs_every_job_in_the_same_folder(sweep, tmp_path, launcher):
    package = launcher.removesuffix("_local")
    plugin = f"hydra_plugins.hydra_{package}_launcher"
    pytest.importorskip(plugin, reason="needs the extra [sweep]")
    size = {"joblib": "hydra.launcher.n_jobs=2", "submitit": "hydra.launcher.cpus_per_task=1"}
    words = ["data.root=data", RUN, "optim.lr=0.25,0.5,0.95", f"hydra/launcher={launcher}"]
    with pytest.raises(SystemExit) as ended:
        sweep(*words, size[package], "-m")
    assert ended.value.code == 1  # the third failed
    assert rates(tmp_path) == {"lr0.25": f"0.25 {tmp_path}\n", "lr0.5": f"0.5 {tmp_path}\n"}
    assert not list(tmp_path.rglob("multirun.yaml"))
