"""Predictions of runs for the same records, to be compared.

Reads ``config.yaml`` and ``evaluate/fold<n>/`` of each run, and evaluates a run first if that is
missing. With ``data.source`` the runs may have been trained on different data sets: the records of
one data set that all of them have are compared, and labels that all of them know.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.config import TrainConfig
from ecg_siglip.core.files import one_line
from ecg_siglip.core.run_folder import find_runs, from_yaml
from ecg_siglip.datasets.records import first_of
from ecg_siglip.evaluation.evaluated_data import folder_of_fold
from ecg_siglip.evaluation.fold import evaluate_fold, labels_of_table
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.models.provenance import Provenance


@dataclass(frozen=True)
class Run:
    """A run: its configuration, its predictions, its provenance.

    Attributes
    ----------
    name : str
    settings : TrainConfig
    ecg_id : ndarray of shape (n_records,), int64
    codes : tuple of str
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    output : ModelOutput
    provenance : Provenance
    records : tuple of str
        Names of the records; empty for an evaluation by an earlier version.
    """

    name: str
    settings: TrainConfig
    ecg_id: np.ndarray
    codes: tuple[str, ...]
    y_true: np.ndarray
    output: ModelOutput
    provenance: Provenance
    records: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> Run:
        """Return the same run with some of its records."""
        return replace(
            self,
            ecg_id=self.ecg_id[rows],
            y_true=self.y_true[rows],
            output=ModelOutput(self.output.y_prob[rows], self.output.thresholds),
            records=tuple(self.records[row] for row in rows),
        )


def read_runs(settings: config.CompareConfig) -> list[Run]:
    """Read the predictions of the runs; evaluate those first that have none for the fold.

    Raises
    ------
    ValueError
        As ``run_folder.find_runs``, ``fold.evaluate_fold``, ``read_run`` and ``common_records``.
    """
    root = Path(settings.root)
    runs = []
    for name in find_runs(root, settings.runs):
        evaluated = as_evaluated(settings, name)
        folder = folder_of_fold(settings.fold, evaluated.data.source)
        if not (root / name / "evaluate" / folder).is_dir():
            print(f"compare: {name} is not evaluated on fold {settings.fold} yet", file=sys.stderr)
            evaluate_fold(evaluated)
        runs.append(read_run(root, name, settings.fold, evaluated.data.source))
    return runs if settings.data.source is None else common_records(runs, settings.data.source)


def as_evaluated(settings: config.CompareConfig, name: str = "") -> config.EvaluateConfig:
    """Return the settings to evaluate a run with, for the comparison.

    ``data.source`` of a run that was trained on a single data set is None: all of its records may
    be those of the source.
    """
    data = dict(vars(settings.data))
    if name and settings.data.source is not None:
        stored = Path(settings.root) / name / "config.yaml"
        trained = from_yaml(TrainConfig, stored).data
        if not trained.sources and trained.kind != "challenge":
            data["source"] = None
    return config.EvaluateConfig(
        run=config.RunConfig(name=name, root=settings.root),
        data=config.EvaluatedData(**data),
        fold=settings.fold,
        device=settings.device,
    )


def read_run(root: Path, name: str, fold: int, source: str | None = None) -> Run:
    """Read the predictions of a run for a fold, or for the records of a source in it.

    Raises
    ------
    ValueError
        If the run was trained or tuned on the fold, or its files are incomplete.
    """
    folder = root / name / "evaluate" / folder_of_fold(fold, source)
    settings = from_yaml(TrainConfig, root / name / "config.yaml")
    if fold in [*settings.data.train_folds, settings.data.tune_fold]:
        action = "trained" if fold in settings.data.train_folds else "tuned"
        raise ValueError(
            f"{root / name}: {action} on fold {fold}; expected a fold that it has not seen"
        )
    try:
        table = pd.read_parquet(folder / "predictions.parquet")
        findings = pd.read_csv(folder / "findings.csv", keep_default_na=False, na_values=[""])
        provenance = Provenance.from_json(json.loads((folder / "about.json").read_text()))
        codes = tuple(findings["code"])
        y_true = labels_of_table(table, codes)
        y_prob = table[[f"probability/{code}" for code in codes]].to_numpy()
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{folder}: not what evaluate writes ({one_line(error)}); evaluate it again"
        ) from error
    thresholds = {
        rule: findings[f"{rule}/threshold"].to_numpy(float)
        for rule in THRESHOLD_RULES
        if f"{rule}/threshold" in findings
    }
    return Run(
        name,
        settings,
        table["ecg_id"].to_numpy(),
        codes,
        y_true,
        ModelOutput(y_prob, thresholds),
        provenance,
        tuple(map(str, table["record"])) if "record" in table else (),
    )


def common_records(runs: Sequence[Run], source: str) -> list[Run]:
    """Return runs with the records that all of them have, and the labels that all of them know.

    Records are the same if they have the same name in their data set. A finding that a data set
    never states may be unknown in one run and absent in another: it is not scored then.

    Parameters
    ----------
    runs : sequence of Run
    source : str
        Name of the data set, for messages.

    Raises
    ------
    ValueError
        If a run was evaluated by an earlier version, two records of a run have the same name, no
        record is common to all, or two runs contradict each other in findings or labels.
    """
    for run in runs:
        if len({*run.records}) != len(run.ecg_id):
            raise ValueError(f"{run.name}: records without names of their own; evaluate it again")
    shared = set.intersection(*({*run.records} for run in runs))
    order = [record for record in runs[0].records if record in shared]
    if not order:
        raise ValueError(
            f"data.source={source}: no record is common to {first_of([run.name for run in runs])}"
        )
    for run in runs:
        if len(order) < len(run.records):
            print(
                f"compare: {len(order)} of the {len(run.records)} records of {run.name} are "
                "compared, those that all runs have",
                file=sys.stderr,
            )
    rows = [{record: i for i, record in enumerate(run.records)} for run in runs]
    chosen = [
        run.take(np.array([row[record] for record in order], np.int64))
        for run, row in zip(runs, rows, strict=True)
    ]
    if any(run.codes != chosen[0].codes for run in chosen):
        other = next(run for run in chosen if run.codes != chosen[0].codes)
        raise ValueError(f"{other.name}: other findings or labels than {chosen[0].name}")
    y_true = _common_labels(chosen)
    return [replace(run, ecg_id=chosen[0].ecg_id, y_true=y_true) for run in chosen]


def _common_labels(runs: Sequence[Run]) -> np.ndarray:
    """Return the labels of the same records that all runs know; NaN for the others."""
    labels = np.stack([run.y_true.astype(np.float64) for run in runs])
    first = labels[0]
    for run, own in zip(runs, labels, strict=True):
        if (np.isfinite(own) & np.isfinite(first) & (own != first)).any():
            raise ValueError(f"{run.name}: other findings or labels than {runs[0].name}")
    common = np.where(np.isnan(labels).any(axis=0), np.nan, first)
    return common if np.isnan(common).any() else common.astype(bool)


def check_same_records(run: Run, first: Run) -> None:
    """Check that two runs have predictions for the same records, findings and labels.

    Raises
    ------
    ValueError
        If they do not.
    """
    if not np.array_equal(run.ecg_id, first.ecg_id):
        raise ValueError(
            f"{run.name}: has predictions for {len(run.ecg_id)} records that are not the "
            f"{len(first.ecg_id)} of {first.name}; expected the same"
        )
    if run.codes != first.codes or not np.array_equal(run.y_true, first.y_true, equal_nan=True):
        raise ValueError(f"{run.name}: other findings or labels than {first.name}")
