"""Several trained runs as one run: seeds that disagree cancel their errors.

The members stay as they are; calibration and thresholds are found anew on the tuning fold, for
the mean of their logits. ``evaluate``, ``predict`` and ``compare`` take the result as any run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import __version__, config, held_out, operating
from ecg_siglip.batches import share_of
from ecg_siglip.card import model_card
from ecg_siglip.checkpoint import (
    Artifact,
    load_artifact,
    same_vocabulary,
    save_artifact,
    write_atomic,
)
from ecg_siglip.evaluate import headline, load_data, tune_fewer_leads
from ecg_siglip.metrics import scores as fold_scores
from ecg_siglip.metrics import without_nan
from ecg_siglip.model import EcgTextModel, Ensemble, pick_device
from ecg_siglip.neighbours import Neighbours
from ecg_siglip.operating import tune
from ecg_siglip.predictor import forward


def members_of(root: Path, names: list[str]) -> list[tuple[config.TrainConfig, Artifact]]:
    """The runs, each with its configuration and model.

    Raises
    ------
    ValueError
        If a run is not finished, or differs from the first in what one answer must agree on:
        findings, prompts, waveform, data, folds.
    """
    members: list[tuple[config.TrainConfig, Artifact]] = []
    for name in names:
        if not (root / name / "model").is_dir():
            raise ValueError(f"{root / name}/model: expected a finished run")
        settings = config.from_yaml(config.TrainConfig, root / name / "config.yaml")
        artifact = load_artifact(root / name / "model")
        if not isinstance(artifact.model, EcgTextModel):
            raise ValueError(f"{root / name}: is itself an ensemble; expected single runs")
        first = members[0] if members else (settings, artifact)
        same_vocabulary(first[1].codes, artifact.codes, where=str(root / name))
        for what, ours, theirs in (
            ("text.language", settings.text.language, first[0].text.language),
            ("prompts", artifact.prompts, first[1].prompts),
            ("waveform", artifact.waveform, first[1].waveform),
            ("data.task", settings.data.task, first[0].data.task),
            ("data.fs", settings.data.fs, first[0].data.fs),
            ("data.held_out", settings.data.held_out, first[0].data.held_out),
            ("data.train_folds", settings.data.train_folds, first[0].data.train_folds),
            ("data.tune_fold", settings.data.tune_fold, first[0].data.tune_fold),
            ("data", artifact.about["data"], first[1].about["data"]),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{root / name}: {what} differs from {names[0]}; expected the same"
                )
        members.append((settings, artifact))
    return members


def ensemble(settings: config.EnsembleConfig) -> None:
    """Join runs; writes ``runs/<name>/`` with ``config.yaml`` and ``model/``."""
    root = Path(settings.run.root)
    names = config.find_runs(root, settings.runs)
    names = [name for name in names if name != settings.run.name]
    if len(names) < 2:
        raise ValueError(f"runs: {', '.join(names) or 'none'}; expected two or more")
    run = root / settings.run.name
    if run.exists():
        raise ValueError(f"{run} exists; take another run.name")
    members = members_of(root, names)
    (trained, first), artifacts = members[0], [artifact for _, artifact in members]
    device = pick_device(settings.device)
    model = Ensemble([a.model for a in artifacts if isinstance(a.model, EcgTextModel)])
    model = model.to(device).eval()
    data = load_data(settings.data, trained, first)
    data = held_out.hidden(data, trained.data.held_out)
    rows = data.fold(trained.data.tune_fold)
    assert data.signals is not None
    text_FD = model.encode_text(first.prompts).detach()
    signals, y_true = data.signals[rows], data.y_true[rows]

    def ask(signals: np.ndarray) -> np.ndarray:
        return forward(model, text_FD, signals, progress=True)[0]

    calibration, thresholds, calibrated = tune(y_true, ask(signals))
    fewer = all(artifact.fewer_leads for artifact in artifacts)
    known = None
    if all(artifact.neighbours for artifact in artifacts):
        learned = data.fold(*trained.data.train_folds)
        learned = share_of(learned, data.ecg_id, trained.data.train_share)
        _, train_ND = forward(model, text_FD, data.signals[learned], progress=True)
        _, tune_MD = forward(model, text_FD, signals)
        known = Neighbours.of(train_ND, data.ecg_id[learned], data.y_true[learned], tune_MD)
    scores = fold_scores(y_true, calibrated, thresholds, n_bootstrap=0)
    about = joined([artifact.about for artifact in artifacts], names) | {
        "run": settings.run.name,
        "version": __version__,
        "tune_scores": without_nan(scores),
    }
    artifact = Artifact(
        model=model,
        codes=first.codes,
        prompts=first.prompts,
        waveform=first.waveform,
        calibration=calibration,
        thresholds=thresholds,
        operating=operating.thresholds(calibrated),
        about=about,
        fewer_leads=tune_fewer_leads(y_true, ask, signals) if fewer else {},
        neighbours=known,
    )
    trained.run = settings.run
    run.mkdir(parents=True)
    try:
        write_atomic(run / "config.yaml", config.to_yaml(trained).encode())
        card = model_card(about, artifact.codes, artifact.waveform)
        save_artifact(run / "model", artifact, card)
    except BaseException:
        shutil.rmtree(run, ignore_errors=True)  # made a moment ago, and of no use by halves
        raise
    print(f"tuning fold {trained.data.tune_fold}, thresholds tuned on it (so it flatters):")
    print(headline(scores))
    print(f"wrote {run / 'model'}/ of {len(names)} members: {', '.join(names)}")


def joined(abouts: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Where an ensemble comes from: what its members share, and what each brings."""

    starts = [about.get("pretrained") or {} for about in abouts]
    if any(start != starts[0] for start in starts):
        before = ", ".join(dict.fromkeys(str(start.get("run", "at random")) for start in starts))
        raise ValueError(
            f"runs: their ECG encoders started differently ({before}); expected one start for all"
        )

    def every(key: str) -> str:
        return ", ".join(dict.fromkeys(str(about.get(key, "not noted")) for about in abouts))

    teachers = [teacher for about in abouts for teacher in about.get("teachers", ())]
    return abouts[0] | {
        "members": names,
        "teachers": [each for i, each in enumerate(teachers) if each not in teachers[:i]],
        "ecg": every("ecg"),
        "text": every("text"),
        "objective": every("objective"),
        "seed": every("seed"),
        "best_epoch": every("best_epoch"),
        "machine": every("machine"),
        "commit": every("commit"),
        "train_seconds": round(sum(about["train_seconds"] for about in abouts), 1),
    }


def main() -> None:
    config.run("ensemble", config.EnsembleConfig, ensemble)


if __name__ == "__main__":
    main()
