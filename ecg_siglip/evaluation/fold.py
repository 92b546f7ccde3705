"""Evaluate a trained model on one fold, or on another data set.

Thresholds and calibration come from the model, as they were tuned on the tuning fold; nothing is
fitted to the records that are reported on.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import replace_folder
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.evaluation.by_source import (
    flat_scores,
    formatted,
    scores_by_source,
    source_lines,
)
from ecg_siglip.evaluation.evaluated_data import (
    check_evaluated,
    describe_part,
    load_evaluated,
    note_seen,
    output_name,
)
from ecg_siglip.evaluation.subgroups import Breakdown, breakdown_tables
from ecg_siglip.evaluation.trained_run import TrainedRun, load_run
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.consistency import contradictory
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.summary import headline
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.training.tracking import add_evaluation

N_WORST = 6
CONSISTENT = "consistent"  # rule of the scores of what is reported, see ``metrics.consistency``


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
    raw : ndarray of shape (n_records, n_findings), float64
        Not calibrated.
    y_prob : ndarray of shape (n_records, n_findings), float64, calibrated
    """

    data: LabelledRecords
    all_findings: LabelledRecords
    rows: np.ndarray
    y_true: np.ndarray
    raw: np.ndarray
    y_prob: np.ndarray


def evaluate_fold(settings: config.EvaluateConfig) -> None:
    """Score a run on a fold or another data set; write the results whole or not at all.

    They are in a folder below ``runs/<name>/evaluate/``, see ``evaluated_data.output_name``. With
    ``data.source`` the calibration and thresholds are those of this data set, if the model has
    them.

    Raises
    ------
    ValueError
        As ``trained_run.load_run``, ``evaluated_data.check_evaluated`` and ``load_evaluated``.
    """
    check_evaluated(settings)
    # Before the model: on a GPU each process has to take its own device first.
    distributed = Distributed.join(settings.device)
    run = load_run(settings.run, settings.device, settings.model)
    if settings.data.source in run.predictor.artifact.sources:
        run = replace(run, predictor=run.predictor.for_source(str(settings.data.source)))
    predictions = predict_fold(run, settings, distributed)
    distributed.close()
    if not distributed.is_first:
        return
    folder = run.folder / "evaluate" / output_name(settings)
    scores, by_source = write_outputs(folder, run, settings, predictions)
    print(headline(scores))
    if by_source:
        print(source_lines(by_source))
    print(f"wrote {folder}/" + (" (open report.html)" if settings.report else ""))
    add_evaluation(run.settings, run.folder, folder.name, scores, folder)


def predict_fold(
    run: TrainedRun, settings: config.EvaluateConfig, distributed: Distributed
) -> FoldPredictions:
    """Compute the probabilities of a fold; several processes share its records."""
    if not distributed.is_first:
        distributed.wait()  # the first process may have to build the cache
    whole, rows = load_evaluated(run, settings)
    data = drop_findings(whole, run.settings.data.held_out)
    if distributed.is_first:
        distributed.wait()
        note_seen(run, settings)
    assert data.signals is not None
    y_true = data.labels(rows)
    own = rows[distributed.share(len(rows), settings.batch_size)]
    own_raw, _ = run.predictor.forward(
        SignalRows.of(data.signals, own), settings.batch_size, distributed.is_first
    )
    parts = distributed.all_gather_bytes(own_raw.tobytes())
    raw = np.frombuffer(b"".join(parts)).reshape(y_true.shape)
    y_prob = multilabel.calibrate(raw, run.predictor.artifact.calibration)
    return FoldPredictions(data, whole, rows, y_true, raw, y_prob)


def write_outputs(
    folder: Path, run: TrainedRun, settings: config.EvaluateConfig, predictions: FoldPredictions
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Score the predictions of a fold and write all files.

    Returns
    -------
    dict
        The scores.
    list of dict
        Those of each data set, see ``by_source.scores_by_source``.
    """
    artifact = run.predictor.artifact
    y_true, y_prob = predictions.y_true, predictions.y_prob
    decision = run.predictor.decision(artifact.default_rule)
    decided = artifact.thresholds | {CONSISTENT: decision.present(y_prob)}
    scores = multilabel.scores(y_true, y_prob, decided, settings.n_bootstrap)
    reached = contradictory(decision.reached(y_prob), decision.exclusive)
    scores["n_contradictory"] = int(reached.sum())
    per_finding = multilabel.per_finding(y_true, y_prob, artifact.thresholds)
    tables = breakdown_tables(
        run.predictor,
        predictions.all_findings,
        predictions.rows,
        run.settings,
        settings.batch_size,
        settings.n_bootstrap,
        own_data=settings.data.kind is None,
    )
    by_source, by_finding = scores_by_source(
        artifact, predictions.data, predictions.rows, predictions.raw, settings.n_bootstrap
    )
    if by_source:
        tables.insert(0, Breakdown("sources", by_source, formatted(by_source)))
    with replace_folder(folder) as partial:
        metrics = without_nan(scores | flat_scores(by_source))
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1))
        (partial / "about.json").write_text(json.dumps(artifact.provenance.to_json(), indent=1))
        finding_table(artifact, per_finding).to_csv(partial / "findings.csv", index=False)
        prediction_table(predictions).to_parquet(partial / "predictions.parquet")
        if by_finding:
            path = partial / "findings_by_source.csv"
            pd.concat(by_finding, ignore_index=True).to_csv(path, index=False)
        for part in tables:
            table = pd.DataFrame(part.rows)
            table.to_csv(partial / f"{part.name}.csv", index=False)
            json_path = partial / f"{part.name}.json"
            table.to_json(json_path, orient="records", indent=1, force_ascii=False)
        if settings.report:
            path = partial / "report.html"
            write_report(path, run, settings, predictions, scores, per_finding, tables)
    return scores, by_source


def finding_table(artifact: Artifact, per_finding: list[dict[str, float]]) -> pd.DataFrame:
    """Return one row per finding: its scores by threshold rule, and its calibration."""
    table = pd.DataFrame(per_finding)
    table.insert(0, "name", artifact.names)
    table.insert(0, "code", artifact.codes)
    # With these a reader can undo the calibration.
    table["calibration/slope"], table["calibration/intercept"] = artifact.calibration.T
    return table


def prediction_table(predictions: FoldPredictions) -> pd.DataFrame:
    """Return one row per record: id, data set, name, fold, probability and label of each finding.

    Labels are bool; nullable if one is unknown.
    """
    data, rows = predictions.data, predictions.rows
    names = data.record_names
    columns: dict[str, Any] = {
        "ecg_id": data.ecg_id[rows],
        "source": [data.sources[number] for number in data.source_of[rows]],
        "record": [names[row] for row in rows],
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
    names = data.record_names
    report = FoldReport(
        title=f"{settings.run.name} on {describe_part(settings)}",
        scores=scores,
        rows=per_finding,
        codes=artifact.codes,
        names=artifact.names,
        y_true=predictions.y_true,
        y_prob=predictions.y_prob,
        thresholds=artifact.thresholds,
        tune=tuning_fold(run, settings, data),
        worst=worst_records(artifact, predictions),
        tables=[part.section() for part in tables],
        context=context(settings, run, data),
        rule=artifact.default_rule,
        model_simulated=bool(artifact.provenance.simulated),
        details=finding_details(
            predictions.y_true,
            predictions.y_prob,
            artifact.codes,
            artifact.thresholds,
            artifact.default_rule,
            [names[row] for row in predictions.rows],
            [data.paths[row] for row in predictions.rows],
            predict_command(settings),
        ),
    )
    write_fold_report(path, report)


def tuning_fold(
    run: TrainedRun, settings: config.EvaluateConfig, data: LabelledRecords
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels and probabilities of the records that the thresholds come from.

    None of another data set than that of the training, and without any such record.
    """
    if settings.data.kind is not None or data.signals is None:
        return None
    rows = data.fold(run.settings.data.tune_fold)
    if run.predictor.artifact.source is not None:
        rows = rows[data.of_source(run.predictor.artifact.source)[rows]]
    return data.labels(rows), run.predictor.probabilities(
        SignalRows.of(data.signals, rows), settings.batch_size
    )


def worst_records(artifact: Artifact, predictions: FoldPredictions) -> list[dict[str, Any]]:
    """Return the records with the largest cross-entropy, with their signals."""
    from ecg_siglip.reporting.fold_report import worst_cases

    data, rows, y_prob = predictions.data, predictions.rows, predictions.y_prob
    assert data.signals is not None
    y_pred = multilabel.apply_thresholds(y_prob, artifact.thresholds[artifact.default_rule])
    all_names = data.record_names
    names = [all_names[row] for row in rows]
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
    artifact = run.predictor.artifact
    tuned_on = str(trained.data.tune_fold)
    if artifact.source is not None:
        tuned_on += f" of {artifact.source}"
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {artifact.provenance.version}, {trained.ecg.name}",
        "objective": trained.objective.terms,
        "vocabulary": artifact.vocabulary.name,
        "task": trained.data.task,
        "trained on folds": ", ".join(map(str, trained.data.train_folds)),
        "thresholds and calibration from fold": tuned_on,
        "reported on": describe_part(settings),
        "records": "with a finding of the task" if settings.labelled_only else "all of these",
        "data": data.version,
    }


def predict_command(settings: config.EvaluateConfig) -> str:
    """Return the shell command that predicts a record with this run, or the default model."""
    command, run = "python -m ecg_siglip.predict", settings.run
    if settings.model is not None:
        return f"{command} model={settings.model}"
    root = "" if run.root == config.RunConfig().root else f" {shlex.quote(f'run.root={run.root}')}"
    return f"{command} {shlex.quote(f'run.name={run.name}')}{root}"
