"""Adapt a trained model to other records or findings: training with settings for small data."""

from __future__ import annotations

from dataclasses import replace

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.run_folder import DEFAULT, default_model
from ecg_siglip.train import train


def adapt(settings: config.TrainConfig) -> float | None:
    """Adapt a trained model (init=..., or the default one) to other records or findings."""
    if not settings.init:
        expected = "init=<finished run, folder of a model, or owner/name>"
        default_model("adapt", "init is missing", expected)
        settings = replace(settings, init=DEFAULT)
    return train(settings)


def main() -> None:
    """Run the command."""
    run_command("adapt", config.TrainConfig, adapt)


if __name__ == "__main__":
    main()
