"""Scores of each data set of a training with several, on the same fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.summary import HEADLINE_F1
from ecg_siglip.models.artifact import Artifact

# Scores that a reader sees of each data set; all others are in the files.
SHOWN = ("macro_auroc_min5", HEADLINE_F1, f"{DEFAULT_RULE}/micro_f1")


def sources_of(data: LabelledRecords, rows: np.ndarray) -> list[str]:
    """Return the data sets that the records are from; none if all are from one."""
    names = [data.sources[number] for number in np.unique(data.source_of[rows])]
    return names if len(names) > 1 else []


def scores_by_source(
    artifact: Artifact, data: LabelledRecords, rows: np.ndarray, raw: np.ndarray, n_bootstrap: int
) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    """Score the records of each data set.

    Parameters
    ----------
    artifact : Artifact
    data : LabelledRecords
        With the findings of the model.
    rows : ndarray of shape (n_records,), int64
        The records reported on.
    raw : ndarray of shape (n_records, n_findings), float64
        Their probabilities, not calibrated.
    n_bootstrap : int
        Resamples of the records for the intervals.

    Returns
    -------
    list of dict
        One row per data set: ``source``, ``tuned_on`` (``source`` if the model has calibration and
        thresholds of its own for the data set, otherwise ``all``), ``n_known`` (pairs of a record
        and a finding whose label is known) and the scores of ``multilabel.scores``. Empty if all
        records are from one data set.
    list of DataFrame
        Likewise the scores of each finding, see ``multilabel.per_finding``.
    """
    summaries, tables = [], []
    for name in sources_of(data, rows):
        part = data.of_source(name)[rows]
        tuned = artifact.for_source(name) if name in artifact.sources else artifact
        y_true = data.labels(rows[part])
        y_prob = multilabel.calibrate(raw[part], tuned.calibration)
        scores = multilabel.scores(y_true, y_prob, tuned.thresholds, n_bootstrap)
        n_known = int(y_true.size if y_true.dtype == bool else (~np.isnan(y_true)).sum())
        tuned_on = "source" if name in artifact.sources else "all"
        summaries.append({"source": name, "tuned_on": tuned_on, "n_known": n_known, **scores})
        table = pd.DataFrame(multilabel.per_finding(y_true, y_prob, tuned.thresholds))
        table.insert(0, "name", artifact.names)
        table.insert(0, "code", artifact.codes)
        table.insert(0, "source", name)
        tables.append(table)
    return summaries, tables


def flat_scores(summaries: list[dict[str, Any]]) -> dict[str, float]:
    """Return the scores of all data sets as keys of ``metrics.json``: ``source/<name>/<score>``."""
    return {
        f"source/{row['source']}/{key}": value
        for row in summaries
        for key, value in row.items()
        if key not in ("source", "tuned_on")
    }


def formatted(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of ``scores_by_source`` as a reader sees them, scores with intervals."""
    return [
        row | {key: _with_interval(row, key) for key in row if f"{key}/low" in row}
        for row in summaries
    ]


def source_lines(summaries: list[dict[str, Any]]) -> str:
    """Format one line per data set with the main scores."""
    lines = [
        f"  {row['source']}: {row['n_records']} records, "
        + ", ".join(f"{key} {_with_interval(row, key)}" for key in SHOWN if key in row)
        for row in summaries
    ]
    return "\n".join(["by data set:", *lines])


def _with_interval(row: dict[str, Any], key: str) -> str:
    value, low, high = (row.get(f"{key}{end}", np.nan) for end in ("", "/low", "/high"))
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")
