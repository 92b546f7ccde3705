"""Evaluate a trained model on one fold.

Thresholds and calibration come from the model, as they were tuned on the tuning fold; nothing is
fitted to the fold that is reported on.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import replace_folder
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.loading import load_evaluation_data
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.evaluation.subgroups import Breakdown, breakdown_tables
from ecg_siglip.evaluation.trained_run import TrainedRun, load_run
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.summary import headline
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.signals.preprocessing import from_int16

N_WORST = 6


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """Labels and probabilities of the records of a fold.

    Attributes
    ----------
    data : LabelledRecords
        With the findings of the model.
    all_findings : LabelledRecords
        The same records with the held-out findings as well.
    rows : ndarray of shape (n_records,), int64
        Of the fold.
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_prob : ndarray of shape (n_records, n_findings), float64, calibrated
    """

    data: LabelledRecords
    all_findings: LabelledRecords
    rows: np.ndarray
    y_true: np.ndarray
    y_prob: np.ndarray


def evaluate_fold(settings: config.EvaluateConfig) -> None:
    """Score a run on a fold; write ``runs/<name>/evaluate/fold<n>/`` whole or not at all.

    Raises
    ------
    ValueError
        As ``trained_run.load_run`` and ``loading.load_evaluation_data``.
    """
    # Before the model: on a GPU each process has to take its own device first.
    distributed = Distributed.join(settings.device)
    run = load_run(settings.run, settings.device)
    predictions = predict_fold(run, settings, distributed)
    distributed.close()
    if not distributed.is_first:
        return
    folder = run.folder / "evaluate" / f"fold{settings.fold}"
    scores = write_outputs(folder, run, settings, predictions)
    print(headline(scores))
    print(f"wrote {folder}/" + (" (open report.html)" if settings.report else ""))


def predict_fold(
    run: TrainedRun, settings: config.EvaluateConfig, distributed: Distributed
) -> FoldPredictions:
    """Compute the probabilities of a fold; several processes share its records."""
    artifact, trained = run.predictor.artifact, run.settings
    if not distributed.is_first:
        distributed.wait()  # the first process may have to build the cache
    whole = load_evaluation_data(
        settings.data, trained, artifact.waveform, artifact.codes, artifact.vocabulary
    )
    data = drop_findings(whole, trained.data.held_out)
    if distributed.is_first:
        distributed.wait()
        for word, folds in (
            ("trained", trained.data.train_folds),
            ("tuned", [trained.data.tune_fold]),
        ):
            if settings.fold in folds:
                print(
                    f"evaluate: note: the run was {word} on fold {settings.fold}", file=sys.stderr
                )
    rows = data.fold(settings.fold)
    if settings.labelled_only:
        rows = rows[data.y_true[rows].any(axis=1)]
    assert data.signals is not None
    y_true = data.labels(rows)
    own = rows[distributed.share(len(rows), settings.batch_size)]
    own_prob = run.predictor.probabilities(
        data.signals[own], settings.batch_size, distributed.is_first
    )
    parts = distributed.all_gather_bytes(own_prob.tobytes())
    y_prob = np.frombuffer(b"".join(parts)).reshape(y_true.shape)
    return FoldPredictions(data, whole, rows, y_true, y_prob)


def write_outputs(
    folder: Path, run: TrainedRun, settings: config.EvaluateConfig, predictions: FoldPredictions
) -> dict[str, float]:
    """Score the predictions of a fold and write all files; return the scores."""
    artifact = run.predictor.artifact
    y_true, y_prob = predictions.y_true, predictions.y_prob
    scores = multilabel.scores(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    per_finding = multilabel.per_finding(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    tables = breakdown_tables(
        run.predictor,
        predictions.all_findings,
        predictions.rows,
        run.settings,
        settings.batch_size,
        settings.n_bootstrap,
    )
    with replace_folder(folder) as partial:
        (partial / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
        (partial / "about.json").write_text(json.dumps(artifact.provenance.to_json(), indent=1))
        finding_table(artifact, per_finding).to_csv(partial / "findings.csv", index=False)
        prediction_table(predictions).to_parquet(partial / "predictions.parquet")
        for part in tables:
            table = pd.DataFrame(part.rows)
            table.to_csv(partial / f"{part.name}.csv", index=False)
            json_path = partial / f"{part.name}.json"
            table.to_json(json_path, orient="records", indent=1, force_ascii=False)
        if settings.report:
            path = partial / "report.html"
            write_report(path, run, settings, predictions, scores, per_finding, tables)
    return scores


def finding_table(artifact: Artifact, per_finding: list[dict[str, float]]) -> pd.DataFrame:
    """Return one row per finding: its scores by threshold rule, and its calibration."""
    table = pd.DataFrame(per_finding)
    table.insert(0, "name", artifact.names)
    table.insert(0, "code", artifact.codes)
    # With these a reader can undo the calibration.
    table["calibration/slope"], table["calibration/intercept"] = artifact.calibration.T
    return table


def prediction_table(predictions: FoldPredictions) -> pd.DataFrame:
    """Return one row per record: its id, its fold, probability and label of each finding.

    Labels are bool; nullable if one is unknown.
    """
    data, rows = predictions.data, predictions.rows
    columns: dict[str, np.ndarray] = {
        "ecg_id": data.ecg_id[rows],
        "strat_fold": data.strat_fold[rows],
    }
    codes = list(enumerate(data.codes))
    columns |= {f"probability/{code}": predictions.y_prob[:, i] for i, code in codes}
    columns |= {f"true/{code}": predictions.y_true[:, i] for i, code in codes}
    table = pd.DataFrame(columns)
    if predictions.y_true.dtype == bool:
        return table
    return table.astype({f"true/{code}": "boolean" for code in data.codes})  # NaN becomes null


def labels_of_table(table: pd.DataFrame, codes: Sequence[str]) -> np.ndarray:
    """Return the labels of ``prediction_table``: bool, or float with NaN where unknown.

    Raises
    ------
    KeyError
        If the table has not all findings.
    """
    labels = table[[f"true/{code}" for code in codes]]
    if labels.isna().any(axis=None):
        return labels.to_numpy(np.float64, na_value=np.nan)
    return labels.to_numpy(bool)


def write_report(
    path: Path,
    run: TrainedRun,
    settings: config.EvaluateConfig,
    predictions: FoldPredictions,
    scores: dict[str, float],
    per_finding: list[dict[str, float]],
    tables: list[Breakdown],
) -> None:
    """Write the report of a fold as one HTML file."""
    # Matplotlib and scikit-learn take a second to import: only a report needs them.
    from ecg_siglip.reporting.finding_details import finding_details
    from ecg_siglip.reporting.fold_report import FoldReport, write_fold_report

    artifact, data = run.predictor.artifact, predictions.data
    assert data.signals is not None
    tune_rows = data.fold(run.settings.data.tune_fold)
    tune_prob = run.predictor.probabilities(data.signals[tune_rows], settings.batch_size)
    report = FoldReport(
        title=f"{settings.run.name} on fold {settings.fold}",
        scores=scores,
        rows=per_finding,
        codes=artifact.codes,
        names=artifact.names,
        y_true=predictions.y_true,
        y_prob=predictions.y_prob,
        thresholds=artifact.thresholds,
        tune=(data.labels(tune_rows), tune_prob),
        worst=worst_records(artifact, predictions),
        tables=[part.section() for part in tables],
        context=context(settings, run, data),
        rule=artifact.default_rule,
        details=finding_details(
            predictions.y_true,
            predictions.y_prob,
            artifact.codes,
            artifact.thresholds,
            artifact.default_rule,
            data.ecg_id[predictions.rows],
            [data.paths[row] for row in predictions.rows],
            predict_command(settings.run),
        ),
    )
    write_fold_report(path, report)


def worst_records(artifact: Artifact, predictions: FoldPredictions) -> list[dict[str, Any]]:
    """Return the records with the largest cross-entropy, with their signals."""
    from ecg_siglip.reporting.fold_report import worst_cases

    data, rows, y_prob = predictions.data, predictions.rows, predictions.y_prob
    assert data.signals is not None
    y_pred = multilabel.apply_thresholds(y_prob, artifact.thresholds[artifact.default_rule])
    names = [str(ecg_id) for ecg_id in data.ecg_id[rows]]
    cases = worst_cases(names, artifact.codes, predictions.y_true, y_prob, y_pred, N_WORST)
    return [
        case | {"signal": from_int16(np.asarray(data.signals[rows[i]])), "fs": data.fs}
        for i, case in cases
    ]


def context(
    settings: config.EvaluateConfig, run: TrainedRun, data: LabelledRecords
) -> dict[str, str]:
    """Return what the reader of a report must know to interpret it."""
    trained = run.settings
    version = run.predictor.artifact.provenance.version
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {version}, {trained.ecg.name}",
        "objective": trained.objective.terms,
        "vocabulary": run.predictor.artifact.vocabulary.name,
        "task": trained.data.task,
        "trained on folds": ", ".join(map(str, trained.data.train_folds)),
        "thresholds and calibration from fold": str(trained.data.tune_fold),
        "reported on fold": str(settings.fold),
        "records": "with a finding of the task" if settings.labelled_only else "all of the fold",
        "data": data.version,
    }


def predict_command(run: config.RunConfig) -> str:
    """Return the shell command that predicts a record with this run."""
    root = "" if run.root == config.RunConfig().root else f" {shlex.quote(f'run.root={run.root}')}"
    return f"python -m ecg_siglip.predict {shlex.quote(f'run.name={run.name}')}{root}"
