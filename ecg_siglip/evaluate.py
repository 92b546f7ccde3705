"""Evaluate a trained model on one fold, or on other data."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import hold


def evaluate(settings: config.EvaluateConfig) -> None:
    """Evaluate a trained model on one fold, or on other data (data=table, data=challenge)."""
    from ecg_siglip.evaluation.trained_run import with_default_model

    settings = with_default_model(settings)
    run = Path(settings.run.root) / settings.run.name
    with hold(run, settings.wait_s, inside=True), hold(run / "evaluate", inside=True):
        if settings.data.kind == "challenge":
            from ecg_siglip.evaluation.external_outputs import evaluate_external

            evaluate_external(settings)
        else:
            from ecg_siglip.evaluation.fold import evaluate_fold

            evaluate_fold(settings)


def main() -> None:
    """Run the command."""
    run_command("evaluate", config.EvaluateConfig, evaluate)


if __name__ == "__main__":
    main()
