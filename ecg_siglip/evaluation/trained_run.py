"""A finished run, loaded to be evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.run_folder import DEFAULT, find_model, from_yaml, similar_runs
from ecg_siglip.inference.predictor import Predictor

CONFIG = "config.yaml"


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes
    ----------
    folder : Path
    settings : TrainConfig
        Of its training.
    predictor : Predictor
    """

    folder: Path
    settings: config.TrainConfig
    predictor: Predictor


def load_run(run: config.RunConfig, device: str, model: str | None = None) -> TrainedRun:
    """Load a finished run, or the default model as one whose results are in ``root/default``.

    Parameters
    ----------
    run : RunConfig
        With the name ``default`` and ``model``: see ``with_default_model``.
    device : str
    model : str, optional
        ``default``: the model of the package.

    Raises
    ------
    ValueError
        If there is no such run, its training has not finished, or its model cannot be read.
    """
    folder = Path(run.root) / run.name
    if model is not None:
        pretrained = find_model(run.root, "", model, "evaluate")
        if (folder / CONFIG).exists():
            raise ValueError(
                f"{folder}: a run, where the results of the default model would be; expected "
                "another run.root=..., or the run with another name"
            )
        return TrainedRun(
            folder, read_settings(Path(pretrained)), Predictor.load(pretrained, device)
        )
    if not (folder / "model").is_dir():
        state = "training has not finished" if (folder / CONFIG).exists() else "no such run"
        hint = similar_runs(run.root, run.name)
        raise ValueError(f"{folder}/model: {state}; expected a trained model{hint}")
    return TrainedRun(folder, read_settings(folder), Predictor.load(folder / "model", device))


def read_settings(folder: Path) -> config.TrainConfig:
    """Read the settings of a training from its run folder, or from the default model."""
    settings: config.TrainConfig = from_yaml(config.TrainConfig, folder / CONFIG)
    return settings


def with_default_model(settings: config.EvaluateConfig) -> config.EvaluateConfig:
    """Return the settings of ``evaluate`` with the default model, if no run is named.

    Raises
    ------
    ValueError
        If a run is named and the default model as well, or the package has no model.
    """
    name = settings.run.name
    if settings.model is None and name:
        return settings
    if name not in ("", DEFAULT):
        raise ValueError(f"run.name={name} with model=default: expected one of the two")
    find_model(settings.run.root, "", settings.model, "evaluate")
    return replace(settings, model=DEFAULT, run=replace(settings.run, name=DEFAULT))
