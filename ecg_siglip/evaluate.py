"""A fold to scores and a report: the honest number.

Thresholds and calibration come out of the artifact, where the tuning fold put them; nothing here
fits anything to the fold that is reported on.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import (
    breakdown,
    config,
    findings,
    held_out,
    lead_sets,
    metrics,
    operating,
    ptbxl,
    transfer,
    waveform,
)
from ecg_siglip.checkpoint import Artifact, Tuning, same_vocabulary
from ecg_siglip.metrics import without_nan
from ecg_siglip.predictor import Predictor
from ecg_siglip.ranks import Ranks

N_WORST = 6


def tune_fewer_leads(
    y_true: np.ndarray, ask: Callable[[np.ndarray], np.ndarray], signals: np.ndarray
) -> dict[str, Tuning]:
    """What ``operating.tune`` finds, for each smaller set of leads, see ``lead_sets.SETS``.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool
    ask : function
        Prepared records (n_records, 12, n_samples), int16, uV, to probabilities.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    """
    found = {}
    for name in lead_sets.SETS:
        if name != "12":
            calibration, thresholds, calibrated = operating.tune(
                y_true, ask(lead_sets.kept(signals, name))
            )
            found[name] = Tuning(calibration, thresholds, operating.thresholds(calibrated))
    return found


def epoch_scores(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """The few scores by which epochs are compared; none of them needs a tuned threshold."""
    fixed = {"fixed_0.5": metrics.tune_thresholds(y_true, y_prob, "fixed_0.5")}
    scores = metrics.scores(y_true, y_prob, fixed, n_bootstrap=0)
    enough = scores["n_findings_min5"] > 0
    return {
        "macro_auroc": scores["macro_auroc_min5" if enough else "macro_auroc"],
        "macro_auprc": scores["macro_auprc_min5" if enough else "macro_auprc"],
        "micro_f1": scores["fixed_0.5/micro_f1"],
    }


def load_data(
    settings: config.EvaluateData, trained: config.TrainConfig, artifact: Artifact
) -> ptbxl.PtbXl:
    """The data that a run is evaluated on, prepared as its artifact says, with the labels of all
    findings, also of those that the run was never told of (``held_out.known`` has the others)."""
    data = ptbxl.load(
        settings.root or trained.data.root,
        fs=trained.data.fs,
        task=trained.data.task,
        allow_missing=settings.allow_missing or trained.data.allow_missing,
        cache_dir=settings.cache_dir or trained.data.cache_dir,
        n_workers=settings.n_workers,
        waveform=artifact.waveform,
    )
    told = held_out.known(data, trained.data.held_out).codes
    same_vocabulary(artifact.codes, told, where=str(settings.root or trained.data.root))
    return data


def evaluate(settings: config.EvaluateConfig) -> None:
    """Score a run on a fold; writes ``runs/<name>/evaluate/fold<n>/`` whole or not at all.

    With ``data=challenge`` on the records of other hospitals, see ``transfer``.
    """
    run = Path(settings.run.root) / settings.run.name
    if not (run / "model").is_dir():
        state = "training has not finished" if (run / "config.yaml").exists() else "no such run"
        raise ValueError(f"{run}/model: {state}; expected a trained model")
    trained = config.from_yaml(config.TrainConfig, run / "config.yaml")
    ranks = Ranks.join(settings.device)
    predictor = Predictor.load(run / "model", settings.device)
    artifact = predictor.artifact
    if settings.data.kind == "challenge":
        transfer.evaluate(settings, trained, predictor, ranks)
        return
    if not ranks.is_first:
        ranks.wait()  # the first may have to build the cache
    whole = load_data(settings.data, trained, artifact)
    data = held_out.known(whole, trained.data.held_out)
    if ranks.is_first:
        ranks.wait()
    rows = data.fold(settings.fold)
    if settings.labelled_only:
        rows = rows[data.y_true[rows].any(axis=1)]
    if ranks.is_first and settings.fold in trained.data.train_folds:
        print(f"evaluate: note: the run was trained on fold {settings.fold}", file=sys.stderr)
    if ranks.is_first and settings.fold == trained.data.tune_fold:
        print(f"evaluate: note: the run was tuned on fold {settings.fold}", file=sys.stderr)

    assert data.signals is not None
    y_true = data.y_true[rows]
    own = rows[ranks.share(len(rows), settings.batch_size)]
    y_prob = predictor.probabilities(data.signals[own], settings.batch_size, ranks.is_first)
    y_prob = np.frombuffer(b"".join(ranks.gathered(y_prob.tobytes()))).reshape(y_true.shape)
    ranks.leave()
    if not ranks.is_first:
        return
    scores = metrics.scores(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    per_finding = metrics.per_finding(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    tables = breakdown.tables(
        predictor, whole, rows, trained, settings.batch_size, settings.n_bootstrap
    )

    folder = run / "evaluate" / f"fold{settings.fold}"
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        (beside / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
        (beside / "about.json").write_text(json.dumps(artifact.about, indent=1))
        table = pd.DataFrame(per_finding)
        table.insert(0, "name", findings.names(artifact.codes))
        table.insert(0, "code", artifact.codes)
        # With these a reader can take the calibration off again.
        table["calibration/slope"], table["calibration/intercept"] = artifact.calibration.T
        table.to_csv(beside / "findings.csv", index=False)
        predictions(data, rows, y_true, y_prob).to_parquet(beside / "predictions.parquet")
        for part in tables:
            pd.DataFrame(part.rows).to_csv(beside / f"{part.name}.csv", index=False)
            pd.DataFrame(part.rows).to_json(
                beside / f"{part.name}.json", orient="records", indent=1, force_ascii=False
            )
        if settings.report:
            # Matplotlib and scikit-learn take a second that nobody else here has to wait.
            from ecg_siglip import drilldown, report

            tune_rows = data.fold(trained.data.tune_fold)
            tune_prob = predictor.probabilities(data.signals[tune_rows], settings.batch_size)
            report.write(
                beside / "report.html",
                title=f"{settings.run.name} on fold {settings.fold}",
                scores=scores,
                rows=per_finding,
                codes=artifact.codes,
                names=findings.names(artifact.codes),
                y_true=y_true,
                y_prob=y_prob,
                thresholds=artifact.thresholds,
                tune=(data.y_true[tune_rows], tune_prob),
                worst=worst_called(artifact, data, rows, y_true, y_prob),
                tables=[part.section() for part in tables],
                context=context(settings, trained, artifact, data),
                rule=rule_of(artifact),
                drills=drilldown.drills(
                    y_true,
                    y_prob,
                    artifact.codes,
                    artifact.thresholds,
                    rule_of(artifact),
                    data.ecg_id[rows],
                    [data.paths[row] for row in rows],
                    predict_command(settings.run),
                ),
            )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    print(headline(scores))
    print(f"wrote {folder}/" + (" (open report.html)" if settings.report else ""))


def predictions(
    data: ptbxl.PtbXl, rows: np.ndarray, y_true: np.ndarray, y_prob: np.ndarray
) -> pd.DataFrame:
    """One row a record: its id, its fold, the probability and truth of each finding."""
    columns: dict[str, np.ndarray] = {
        "ecg_id": data.ecg_id[rows],
        "strat_fold": data.strat_fold[rows],
    }
    columns |= {f"probability/{code}": y_prob[:, i] for i, code in enumerate(data.codes)}
    columns |= {f"true/{code}": y_true[:, i] for i, code in enumerate(data.codes)}
    return pd.DataFrame(columns)


def rule_of(artifact: Artifact) -> str:
    """The default rule, or for a model from before it, the one that was the default then."""
    rule = metrics.DEFAULT_RULE
    return rule if rule in artifact.thresholds else "prevalence"


def worst_called(
    artifact: Artifact, data: ptbxl.PtbXl, rows: np.ndarray, y_true: np.ndarray, y_prob: np.ndarray
) -> list[dict[str, Any]]:
    """The records whose findings surprised the model most (largest cross-entropy)."""
    from ecg_siglip import report

    called = metrics.apply_thresholds(y_prob, artifact.thresholds[rule_of(artifact)])
    names = [str(ecg_id) for ecg_id in data.ecg_id[rows]]
    assert data.signals is not None
    return [
        case | {"signal": waveform.from_int16(np.asarray(data.signals[rows[i]])), "fs": data.fs}
        for i, case in report.surprising(names, artifact.codes, y_true, y_prob, called, N_WORST)
    ]


def context(
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    artifact: Artifact,
    data: ptbxl.PtbXl,
) -> dict[str, str]:
    """What the reader of a report must know to trust it."""
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {artifact.about['version']}, {trained.ecg.name}",
        "objective": trained.objective.terms,
        "task": trained.data.task,
        "trained on folds": ", ".join(map(str, trained.data.train_folds)),
        "thresholds and calibration from fold": str(trained.data.tune_fold),
        "reported on fold": str(settings.fold),
        "records": "with a finding of the task" if settings.labelled_only else "all of the fold",
        "data": data.version,
    }


def predict_command(run: config.RunConfig) -> str:
    """What answers for a record as this run does."""
    root = "" if run.root == config.RunConfig().root else f" {shlex.quote(f'run.root={run.root}')}"
    return f"python -m ecg_siglip.predict {shlex.quote(f'run.name={run.name}')}{root}"


def headline(scores: dict[str, float]) -> str:
    """The scores to look at first, on a few lines."""
    keys = ["macro_auroc_min5", "macro_auprc_min5", "prevalence/macro_f1_min5"]
    keys += ["expected_f1/macro_f1_min5", "expected_f1/micro_f1", "fixed_0.5/micro_f1", "ece"]
    lines = []
    for key in (key for key in keys if key in scores):
        low, high = scores.get(f"{key}/low", math.nan), scores.get(f"{key}/high", math.nan)
        interval = "" if math.isnan(low) else f"  [{low:.3f}, {high:.3f}]"
        lines.append(f"{key:<26}{scores[key]:.3f}{interval}")
    counts = f"{scores['n_records']} records, {scores['n_findings_min5']} findings with 5 or more"
    return "\n".join([*lines, counts])


def main() -> None:
    config.run("evaluate", config.EvaluateConfig, evaluate)


if __name__ == "__main__":
    main()
