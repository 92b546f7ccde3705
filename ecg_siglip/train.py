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
from ecg_siglip.training.run import describe_origin, is_complete, prepare_run, tuning_score
from ecg_siglip.training.tracking import tracked


def train(settings: config.TrainConfig) -> float | None:
    """Train a model, or resume an interrupted run; write it to runs/<name>/model/.

    Returns
    -------
    float or None
        Macro F1 on the tuning fold, for a sweeper; None on other processes than the first, or if
        the fold has no positive.
    """
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
            return tuning_score(run)
        trainer, loaded = prepare_run(settings, run)
        distributed = trainer.distributed
        with tracked(settings, run, trainer.epoch, describe_origin(trainer)) as tracking:
            trainer.fit(run, tracking)
            if distributed.is_first:
                tracking.finish(save_artifact_for_run(trainer, loaded, run))
        distributed.close()
        return tuning_score(run) if distributed.is_first else None


def main() -> None:
    run_command("train", config.TrainConfig, train)


if __name__ == "__main__":
    main()
