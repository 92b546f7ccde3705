"""A fold to scores and a report: the honest number.

Thresholds and calibration come out of the artifact, where the tuning fold put them; nothing here
fits anything to the fold that is reported on.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import replace_folder
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.loading import load_evaluation_data
from ecg_siglip.evaluation.external_outputs import evaluate_external
from ecg_siglip.evaluation.subgroups import breakdown_tables
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.summary import headline
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary import findings

N_WORST = 6


def evaluate_run(settings: config.EvaluateConfig) -> None:
    """Score a run on a fold; writes ``runs/<name>/evaluate/fold<n>/`` whole or not at all.

    With ``data=challenge`` on the records of other hospitals, see ``transfer``.
    """
    run = Path(settings.run.root) / settings.run.name
    if not (run / "model").is_dir():
        state = "training has not finished" if (run / "config.yaml").exists() else "no such run"
        raise ValueError(f"{run}/model: {state}; expected a trained model")
    trained = from_yaml(config.TrainConfig, run / "config.yaml")
    ranks = Distributed.join(settings.device)
    predictor = Predictor.load(run / "model", settings.device)
    artifact = predictor.artifact
    if settings.data.kind == "challenge":
        evaluate_external(settings, trained, predictor, ranks)
        return
    if not ranks.is_first:
        ranks.wait()  # the first may have to build the cache
    whole = load_evaluation_data(settings.data, trained, artifact.waveform, artifact.codes)
    data = drop_findings(whole, trained.data.held_out)
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
    y_prob = np.frombuffer(b"".join(ranks.all_gather_bytes(y_prob.tobytes()))).reshape(y_true.shape)
    ranks.close()
    if not ranks.is_first:
        return
    scores = multilabel.scores(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    per_finding = multilabel.per_finding(y_true, y_prob, artifact.thresholds, settings.n_bootstrap)
    tables = breakdown_tables(
        predictor, whole, rows, trained, settings.batch_size, settings.n_bootstrap
    )

    folder = run / "evaluate" / f"fold{settings.fold}"
    with replace_folder(folder) as partial:
        (partial / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
        (partial / "about.json").write_text(json.dumps(artifact.provenance.to_json(), indent=1))
        table = pd.DataFrame(per_finding)
        table.insert(0, "name", findings.names(artifact.codes))
        table.insert(0, "code", artifact.codes)
        # With these a reader can take the calibration off again.
        table["calibration/slope"], table["calibration/intercept"] = artifact.calibration.T
        table.to_csv(partial / "findings.csv", index=False)
        predictions(data, rows, y_true, y_prob).to_parquet(partial / "predictions.parquet")
        for part in tables:
            pd.DataFrame(part.rows).to_csv(partial / f"{part.name}.csv", index=False)
            pd.DataFrame(part.rows).to_json(
                partial / f"{part.name}.json", orient="records", indent=1, force_ascii=False
            )
        if settings.report:
            # Matplotlib and scikit-learn take a second that nobody else here has to wait.
            from ecg_siglip.reporting.finding_details import finding_details
            from ecg_siglip.reporting.fold_report import write_fold_report

            tune_rows = data.fold(trained.data.tune_fold)
            tune_prob = predictor.probabilities(data.signals[tune_rows], settings.batch_size)
            write_fold_report(
                partial / "report.html",
                title=f"{settings.run.name} on fold {settings.fold}",
                scores=scores,
                rows=per_finding,
                codes=artifact.codes,
                names=findings.names(artifact.codes),
                y_true=y_true,
                y_prob=y_prob,
                thresholds=artifact.thresholds,
                tune=(data.y_true[tune_rows], tune_prob),
                worst=worst_records(artifact, data, rows, y_true, y_prob),
                tables=[part.section() for part in tables],
                context=context(settings, trained, artifact, data),
                rule=default_threshold_rule(artifact),
                drills=finding_details(
                    y_true,
                    y_prob,
                    artifact.codes,
                    artifact.thresholds,
                    default_threshold_rule(artifact),
                    data.ecg_id[rows],
                    [data.paths[row] for row in rows],
                    predict_command(settings.run),
                ),
            )
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


def default_threshold_rule(artifact: Artifact) -> str:
    """The default rule, or for a model from before it, the one that was the default then."""
    rule = DEFAULT_RULE
    return rule if rule in artifact.thresholds else "prevalence"


def worst_records(
    artifact: Artifact, data: ptbxl.PtbXl, rows: np.ndarray, y_true: np.ndarray, y_prob: np.ndarray
) -> list[dict[str, Any]]:
    """The records whose findings surprised the model most (largest cross-entropy)."""
    from ecg_siglip.reporting.fold_report import surprising

    called = multilabel.apply_thresholds(
        y_prob, artifact.thresholds[default_threshold_rule(artifact)]
    )
    names = [str(ecg_id) for ecg_id in data.ecg_id[rows]]
    assert data.signals is not None
    return [
        case | {"signal": from_int16(np.asarray(data.signals[rows[i]])), "fs": data.fs}
        for i, case in surprising(names, artifact.codes, y_true, y_prob, called, N_WORST)
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
        "model": f"ecg_siglip {artifact.provenance.version}, {trained.ecg.name}",
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
