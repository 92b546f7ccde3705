"""Adapt a trained model to other records or findings: training with settings for small data."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.train import train


def adapt(settings: config.TrainConfig) -> None:
    """Adapt a trained model (init=...) to other records or findings; write runs/<name>/model/."""
    if not settings.init:
        raise ValueError(
            "init is missing; expected init=<finished run, folder of a model, or owner/name>"
        )
    train(settings)


def main() -> None:
    """Run the command."""
    run_command("adapt", config.TrainConfig, adapt)


if __name__ == "__main__":
    main()
