"""Join several trained runs into one."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.training.ensembling import join_runs


def main() -> None:
    run_command("ensemble", config.EnsembleConfig, join_runs)


if __name__ == "__main__":
    main()
