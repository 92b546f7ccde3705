"""Train a model, or resume an interrupted run."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.distributed import Distributed, pick_device
from ecg_siglip.core.files import write_file
from ecg_siglip.core.run_folder import check_same_settings, find_runs, to_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.distillation import soft_labels
from ecg_siglip.training.finalize import save_artifact_for_run
from ecg_siglip.training.initialization import check_locks
from ecg_siglip.training.state import load_state
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.training.trainer import Trainer, fit


def train(settings: config.TrainConfig) -> None:
    """Train a run, or take it up where it stopped, and leave ``runs/<name>/model/``."""
    terms = parse_terms(settings.objective.terms)
    tuned = settings.data.tune_fold
    if settings.objective.loss == "softmax" and settings.objective.n_chunk:
        raise ValueError("objective.n_chunk: only the sigmoid loss has chunks; expected null")
    if settings.objective.loss == "softmax" and settings.objective.across == "ring":
        raise ValueError("objective.across=ring: a softmax needs all texts; expected gather")
    if settings.text.name == "none" and any(term.name != "bank/present" for term in terms):
        raise ValueError(
            f"text=none with objective.terms={settings.objective.terms}: without words there are "
            "only the findings themselves; expected objective=bank"
        )
    taught = bool(settings.objective.teachers)
    if taught and any(term.name not in ("bank/present", "finding/present") for term in terms):
        raise ValueError(
            f"objective.teachers with objective.terms={settings.objective.terms}: teachers speak "
            "of single findings; expected bank/present or finding/present"
        )
    check_locks(settings)
    if not settings.data.train_folds:
        raise ValueError("data.train_folds=[]: expected at least one fold")
    if tuned in settings.data.train_folds:
        raise ValueError(f"data.tune_fold={tuned}: expected a fold that is not trained on")
    run = Path(settings.run.root) / settings.run.name
    check_same_settings(run, settings)
    if (run / "model").is_dir():
        print(f"{run} is complete; its model lies in {run / 'model'}")
        return
    if taught:  # a name that fits no run is told before the data are read
        find_runs(Path(settings.run.root), settings.objective.teachers, "objective.teachers")
    if settings.n_threads:
        torch.set_num_threads(settings.n_threads)
    ranks = Distributed.join(settings.device)
    device = pick_device(settings.device)
    torch.backends.cudnn.deterministic = True

    if not ranks.is_first:
        ranks.wait()
    loaded = load_training_data(settings, progress=ranks.is_first)
    if ranks.is_first:
        ranks.wait()
    said, teachers = soft_labels(loaded, settings, ranks.is_first) if taught else (None, [])
    data = TrainingData(loaded, settings, device, said)
    training = Trainer(settings, data, ranks)
    training.teachers = teachers
    if (run / "state.pt").exists():
        training.resume(load_state(run / "state.pt"), run / "state.pt")
    elif settings.ecg.weights:
        training.start_from(settings.ecg.weights)
    training.read_locked_ecgs()
    ranks.wait()
    if ranks.is_first:
        run.mkdir(parents=True, exist_ok=True)
        for left in run.glob("*.tmp"):  # by a process that was killed while it wrote
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_file(run / "config.yaml", to_yaml(settings).encode())
        size = sum(p.numel() for p in training.model.parameters()) / 1e6
        print(
            f"{settings.run.name}: {len(data.train_rows)} records, {len(data.codes)} findings, "
            f"{' + '.join(term.name for term in terms)}, {size:.2f} M parameters, {device.type}"
            + (f", epoch {training.epoch + 1}" if training.epoch or training.step else "")
        )
    tune_rows = loaded.fold(tuned)
    fit(training, tune_rows, loaded.y_true[tune_rows], run)
    if ranks.is_first:
        save_artifact_for_run(training, loaded, run)
    ranks.leave()


def main() -> None:
    run_command("train", config.TrainConfig, train)


if __name__ == "__main__":
    main()
