"""Setup of a training run: data, teachers, model, and the state of an interrupted run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ecg_siglip import __version__, config
from ecg_siglip.core.distributed import Distributed, pick_device
from ecg_siglip.core.files import make_folder, one_line, write_file
from ecg_siglip.core.run_folder import find_runs, to_yaml
from ecg_siglip.datasets.held_out import leave_out_unknown
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.metrics.summary import headline_f1
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.provenance import describe_commit, describe_machine
from ecg_siglip.models.public_encoders import PUBLIC_ENCODERS
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.distillation import soft_labels
from ecg_siglip.training.published_weights import public_options
from ecg_siglip.training.state import load_state
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.training.trainer import Trainer


def is_complete(run: Path) -> bool:
    """Return whether a run has a model, which then has to load and to be that of ``state.pt``.

    Raises
    ------
    ValueError
        If the model does not load, or is of another training than the state.
    """
    folder, state_file = run / "model", run / "state.pt"
    if not folder.is_dir():
        return False
    again = f"delete {folder} and repeat the command to make it again"
    try:
        artifact = load_artifact(folder)
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder}: does not load: {one_line(error)}; {again}") from error
    if state_file.exists():  # an ensemble has none, nor has a run of which it was deleted
        best = load_state(state_file)["best"].get("epoch")
        if best != artifact.provenance.best_epoch:
            raise ValueError(
                f"{folder}: its best epoch is {artifact.provenance.best_epoch}, that of "
                f"{state_file.name} is {best}; expected both of one training; {again}"
            )
    return True


def prepare_run(settings: config.TrainConfig, run: Path) -> tuple[Trainer, LabelledRecords]:
    """Prepare a run, or load the state in which it was interrupted; make its folder.

    Parameters
    ----------
    settings : config.TrainConfig
        Checked, see ``checks.check_train_settings``.
    run : Path
        Folder of the run.

    Returns
    -------
    Trainer
    LabelledRecords
        The data, with signals.

    Raises
    ------
    ValueError
        If data, teachers, the start of the ECG encoder or a saved state do not fit the settings.
    """
    objective = settings.objective
    if objective.teachers:  # an unknown run is reported before the data are read
        find_runs(Path(settings.run.root), objective.teachers, "objective.teachers")
    if settings.ecg.name in PUBLIC_ENCODERS and settings.ecg.weights:
        public_options(settings)  # so are missing weights
    if settings.n_threads:
        torch.set_num_threads(settings.n_threads)
    distributed = Distributed.join(settings.device)
    device = pick_device(settings.device)
    torch.backends.cudnn.deterministic = True

    loaded = load_on_all(settings, distributed)
    labels, teachers = None, list[dict[str, Any]]()
    if objective.teachers:
        labels, teachers = soft_labels(loaded, settings, distributed.is_first)
    data = TrainingData(loaded, settings, device, labels, distributed)
    trainer = Trainer(settings, data)
    trainer.teachers = teachers
    state = run / "state.pt"
    if state.exists():
        trainer.resume(load_state(state), state)
    elif settings.ecg.weights:
        trainer.start_from(settings.ecg.weights)
    trainer.cache_ecg_features()
    distributed.wait()
    if distributed.is_first:
        make_run_folder(settings, run)
        print(describe_run(trainer, int(loaded.is_simulated[data.train_rows].sum())))
    return trainer, loaded


def load_on_all(settings: config.TrainConfig, distributed: Distributed) -> LabelledRecords:
    """Load the data; the first process builds the waveform cache while the others wait."""
    if not distributed.is_first:
        distributed.wait()
    loaded = load_training_data(settings, progress=distributed.is_first)
    if any(term.targets != "diagonal" for term in parse_terms(settings.objective.terms)):
        loaded = leave_out_unknown(loaded, settings.data.train_folds, distributed.is_first)
    if distributed.is_first:
        distributed.wait()
    return loaded


def make_run_folder(settings: config.TrainConfig, run: Path) -> None:
    """Make the folder of a run with its configuration."""
    make_folder(run)
    write_file(run / "config.yaml", to_yaml(settings).encode())


def tuning_score(run: Path) -> float | None:
    """Return the headline macro F1 of a finished run on its tuning fold; None without a positive.

    It is optimistically biased, since the thresholds are tuned on the same fold: good for ranking
    runs, not for reporting.
    """
    about = json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))["about"]
    scores = about.get("tune_scores") or {}
    value = scores.get(headline_f1(scores))
    return None if value is None else float(value)


def describe_origin(trainer: Trainer) -> dict[str, str]:
    """Return version, data, size and machine of a run, for its tracker."""
    data = trainer.data
    precision = "bfloat16" if trainer.bfloat16 else "float32"
    return {
        "version": __version__,
        "commit": describe_commit(),
        "data": data.version,
        "n_train_records": str(len(data.train_rows)),
        "n_findings": str(len(data.codes)),
        "machine": describe_machine(data.device, precision, trainer.distributed.n),
    }


def describe_run(trainer: Trainer, n_simulated: int = 0) -> str:
    """Return name, data, objective, size, device and progress of a run on one line.

    Parameters
    ----------
    trainer : Trainer
    n_simulated : int
        Training records that are simulated.
    """
    data = trainer.data
    n_parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    simulated = f" ({n_simulated} simulated)" if n_simulated else ""
    parts = [
        f"{trainer.settings.run.name}: {len(data.train_rows)} records{simulated}",
        f"{len(data.codes)} findings",
        " + ".join(term.name for term in trainer.terms),
        f"{n_parameters:.2f} M parameters",
        data.device.type,
    ]
    if trainer.epoch or trainer.step:
        parts.append(f"epoch {trainer.epoch + 1}")
    return ", ".join(parts)
