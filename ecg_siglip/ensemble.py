"""Join trained runs into an ensemble, which is used like a single run."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.training.ensembling import join_runs


def ensemble(settings: config.EnsembleConfig) -> None:
    """Join trained runs into an ensemble, which is used like a single run."""
    join_runs(settings)


def main() -> None:
    run_command("ensemble", config.EnsembleConfig, ensemble)


if __name__ == "__main__":
    main()
