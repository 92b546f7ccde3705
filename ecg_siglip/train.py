"""Train a model, or resume an interrupted run."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import hold
from ecg_siglip.core.run_folder import check_run_name, check_same_settings
from ecg_siglip.training.checks import check_train_settings, with_language
from ecg_siglip.training.finalize import save_artifact_for_run
from ecg_siglip.training.initialization import adopt_model_settings
from ecg_siglip.training.run import is_complete, prepare_run


def train(settings: config.TrainConfig) -> None:
    """Train a model, or resume an interrupted run; write it to runs/<name>/model/."""
    check_run_name(settings.run.name)
    check_train_settings(settings)
    settings = with_language(settings)
    if settings.init:
        settings = adopt_model_settings(settings)
    run = Path(settings.run.root) / settings.run.name
    with hold(run, settings.wait_s, inside=True):
        moved = check_same_settings(run, settings)
        if is_complete(run):
            elsewhere = f"; not compared with these data: {', '.join(moved)}" if moved else ""
            print(f"{run} is complete; its model is in {run / 'model'}{elsewhere}")
            return
        trainer, loaded = prepare_run(settings, run)
        trainer.fit(run)
        if trainer.distributed.is_first:
            save_artifact_for_run(trainer, loaded, run)
        trainer.distributed.close()


def main() -> None:
    run_command("train", config.TrainConfig, train)


if __name__ == "__main__":
    main()
