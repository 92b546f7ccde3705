"""Evaluate a trained run on a fold or on external data."""

from __future__ import annotations

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.evaluation.fold import evaluate_run


def main() -> None:
    run_command("evaluate", config.EvaluateConfig, evaluate_run)


if __name__ == "__main__":
    main()
