"""A finished run, loaded to be evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.inference.predictor import Predictor


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


def load_run(run: config.RunConfig, device: str) -> TrainedRun:
    """Load a finished run.

    Raises
    ------
    ValueError
        If there is no such run, its training has not finished, or its model cannot be read.
    """
    folder = Path(run.root) / run.name
    if not (folder / "model").is_dir():
        state = "training has not finished" if (folder / "config.yaml").exists() else "no such run"
        raise ValueError(f"{folder}/model: {state}; expected a trained model")
    settings = from_yaml(config.TrainConfig, folder / "config.yaml")
    return TrainedRun(folder, settings, Predictor.load(folder / "model", device))
