"""Predictions for the records of another hospital, with what the labels there state.

Records of PTB-XL that the model was trained on are left out. Thresholds and calibration are the
model's own, or re-fitted on one half of the set and scored on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.datasets import challenge, ptbxl
from ecg_siglip.evaluation.trained_run import TrainedRun
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.vocabulary import snomed


@dataclass(frozen=True)
class ExternalPredictions:
    """The predictions for a set of records and its labels, query by query.

    Attributes
    ----------
    name : str
        Of the set.
    paths : list of Path
        Records that were predicted.
    headers : list of challenge.Labels
        Patient data and codes of these records.
    left_out : dict of str to str
        Records of the set that were not predicted, and why.
    queries : list of LabelQuery
        What is compared: a finding, or several findings together.
    labels : LabelMatrix of shape (n_records, n_queries)
    not_scored : dict of str to str
        Queries that the labels of the set cannot decide, and why.
    y_prob : ndarray of shape (n_records, n_queries), float64
    y_pred : dict of str to ndarray of shape (n_records, n_queries), bool
        By threshold rule.
    thresholds : dict of str to ndarray of shape (n_queries,), float64
        The model's own; NaN for a query of several findings, which is positive if one of them is.
    is_tuning : ndarray of shape (n_records,), bool
        The half on which thresholds and calibration are re-fitted.
    n_padded, n_cropped : int
        Records shorter and longer than the model's window.
    """

    name: str
    paths: list[Path]
    headers: list[challenge.Labels]
    left_out: dict[str, str]
    queries: list[snomed.LabelQuery]
    labels: snomed.LabelMatrix
    not_scored: dict[str, str]
    y_prob: np.ndarray
    y_pred: dict[str, np.ndarray]
    thresholds: dict[str, np.ndarray]
    is_tuning: np.ndarray
    n_padded: int
    n_cropped: int

    @property
    def scored(self) -> np.ndarray:
        """Columns of the queries that are scored."""
        columns = [i for i, q in enumerate(self.queries) if q.code not in self.not_scored]
        return np.array(columns, np.int64)


def predict_collection(
    settings: config.EvaluateConfig, run: TrainedRun, collection: challenge.Collection
) -> ExternalPredictions:
    """Predict each record of a set that the model may be evaluated on."""
    artifact = run.predictor.artifact
    left_out = dict(collection.left_out)
    trained = run.settings.data.sources or [run.settings.data]
    if any(source.kind == "challenge" for source in trained):
        raise ValueError(
            f"run.name={run.settings.run.name}: trained on challenge collections itself; evaluate "
            "its own folds with fold=..."
        )
    roots = [source.root for source in trained if source.kind == "ptbxl"]
    root = settings.data.ptbxl or next(filter(None, roots), "data/ptbxl")
    seen, patients = seen_in_training(collection, artifact, Path(root))
    left_out |= seen
    rows = [i for i, path in enumerate(collection.paths) if path.stem not in seen]
    predicted, durations_s, y_prob, failed = _predict_rows(
        settings, run.predictor, collection, rows
    )
    left_out |= failed
    queries = snomed.label_queries(artifact.codes, artifact.vocabulary)
    headers = [collection.labels[i] for i in predicted]
    paths = [collection.paths[i] for i in predicted]
    labels = snomed.label_matrix(queries, [h.dx for h in headers], artifact.vocabulary)
    columns = [artifact.codes.index(q.findings[0]) for q in queries]
    is_single = np.array([len(q.findings) == 1 for q in queries])
    excess_s = np.array(durations_s) - artifact.waveform["duration_s"]
    return ExternalPredictions(
        name=collection.name,
        paths=paths,
        headers=headers,
        left_out=left_out,
        queries=queries,
        labels=labels,
        not_scored=snomed.undecided(queries, labels, settings.data.min_positives),
        y_prob=snomed.any_probability(queries, artifact.codes, y_prob),
        y_pred={
            rule: snomed.any_present(
                queries, artifact.codes, multilabel.apply_thresholds(y_prob, values)
            )
            for rule, values in artifact.thresholds.items()
        },
        thresholds={
            rule: np.where(is_single, values[columns], np.nan)
            for rule, values in artifact.thresholds.items()
        },
        is_tuning=np.array(
            [challenge.in_tuning_half(patients.get(p.stem, p.stem)) for p in paths], bool
        ),
        n_padded=int((excess_s < -0.05).sum()),
        n_cropped=int((excess_s > 0.05).sum()),
    )


def _predict_rows(
    settings: config.EvaluateConfig,
    predictor: Predictor,
    collection: challenge.Collection,
    rows: list[int],
) -> tuple[list[int], list[float], np.ndarray, dict[str, str]]:
    """Prepare and predict some records of a set, batch by batch.

    Returns
    -------
    list of int
        Rows that were predicted.
    list of float
        Their durations, s.
    ndarray of shape (n_predicted, n_findings), float64
        Calibrated probabilities.
    dict of str to str
        Records that could not be prepared, and why.
    """
    artifact = predictor.artifact
    paths = [collection.paths[i] for i in rows]
    predicted: list[int] = []
    durations_s: list[float] = []
    failed: dict[str, str] = {}
    parts: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    bar = tqdm(total=len(paths), desc=collection.name, disable=None, leave=False)
    prepared = challenge.prepare_all(paths, artifact.waveform, settings.data.n_workers)
    for i, path, record in zip(rows, paths, prepared, strict=True):
        bar.update()
        if isinstance(record, str):
            failed[path.stem] = record
            continue
        predicted.append(i)
        durations_s.append(record.duration_s)
        batch.append(record.signal)
        if len(batch) == settings.batch_size:
            parts.append(predictor.probabilities(np.stack(batch), settings.batch_size))
            batch = []
    bar.close()
    if batch:
        parts.append(predictor.probabilities(np.stack(batch), settings.batch_size))
    y_prob = np.concatenate(parts) if parts else np.empty((0, len(artifact.codes)))
    return predicted, durations_s, y_prob, failed


def seen_in_training(
    collection: challenge.Collection, artifact: Artifact, root: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Find the records of PTB-XL that the model was, or may have been, trained or tuned on.

    Parameters
    ----------
    collection : challenge.Collection
    artifact : Artifact
    root : Path
        Folder with the ``ptbxl_database.csv`` that has the fold of each record.

    Returns
    -------
    left_out : dict of str to str
        Record and reason. A record that is not in the table is left out as well: other records of
        its patient may have been in training.
    patients : dict of str to str
        Patient of each of the other records.
    """
    numbers = challenge.ecg_ids(collection.paths)
    if not numbers.any():
        return {}, {}
    data = artifact.provenance.data
    folds: dict[int, int] = {}
    owners: dict[int, int] = {}
    if (root / "ptbxl_database.csv").is_file():
        table = ptbxl.read_metadata(root)
        data += f" + {ptbxl.metadata_version(root, len(table))}"
        folds = dict(zip(table.index.tolist(), table["strat_fold"].tolist(), strict=True))
        owners = dict(zip(table.index.tolist(), table["patient_id"].tolist(), strict=True))
    used: set[int] = set()
    for model in artifact.provenance.lineage():
        # An ancestor of other data, such as simulated ECGs, has folds of its own.
        if model.same_records(data):
            used |= model.folds_seen
    left_out, patients = {}, {}
    for path, number in zip(collection.paths, numbers.tolist(), strict=True):
        if not number:
            continue
        if number not in folds:
            left_out[path.stem] = f"record {number} of PTB-XL, of a fold unknown to {root}"
        elif folds[number] in used:
            left_out[path.stem] = (
                f"record {number} of PTB-XL, fold {folds[number]}: trained or tuned on"
            )
        else:
            patients[path.stem] = f"patient {owners[number]}"
    return left_out, patients


def code_rows(predictions: ExternalPredictions, artifact: Artifact) -> list[dict[str, Any]]:
    """Count every code of the records of a set, with its use in the evaluation.

    Parameters
    ----------
    predictions : ExternalPredictions
    artifact : Artifact
        The model.
    """
    known = snomed.table(artifact.vocabulary)
    counts = Counter(code for header in predictions.headers for code in header.dx)
    rows = []
    for number, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        code = known.get(number)
        rows.append(
            {
                "snomed": number,
                "abbreviation": code.abbreviation if code else "",
                "name": code.name if code else "",
                "relation": code.relation if code else "",
                "findings": " ".join(code.findings) if code else "",
                "n_records": n,
                "outcome": _outcome(predictions, code, artifact.codes),
            }
        )
    return rows


def _outcome(
    predictions: ExternalPredictions, code: snomed.Code | None, codes: Sequence[str]
) -> str:
    """Describe the use of a code of the set in the evaluation."""
    if code is None:
        return "no counterpart: not in the table of the challenges"
    if code.relation == "none":
        return "no counterpart" + (f": {code.comment}" if code.comment else "")
    if code.relation == "broader" and len(code.findings) == 1:
        return f"no counterpart: broader than {code.findings[0]}, which it does not decide"
    queries = [q for q in predictions.queries if set(code.findings) <= set(q.findings)]
    scored = [q.code for q in queries if q.code not in predictions.not_scored]
    if scored:
        return f"scored in {', '.join(scored)}"
    if queries:
        first = queries[0].code
        return f"not scored: {first}: {predictions.not_scored[first]}"
    return f"no counterpart: the model lacks {', '.join({*code.findings} - {*codes})}"


def retuned(predictions: ExternalPredictions, settings: config.EvaluateConfig) -> dict[str, Any]:
    """Score one half of a set, with thresholds and calibration of the other half and of the model.

    Returns
    -------
    dict
        ``n_tuning``, ``n_reported``, ``findings`` (with enough positives and negatives in both
        halves), ``as_it_is`` and ``retuned`` (scores of the same records), ``difference`` (of each
        score, with ``/low`` and ``/high`` by a paired bootstrap), ``calibration`` (slope and
        intercept per finding, applied after the model's own) and ``thresholds`` (by rule and
        finding). Without findings ``too_few``, the reason, takes the place of the scores.
    """
    is_tuning = predictions.is_tuning
    y_true, n_min = predictions.labels.y_true, settings.data.min_positives
    columns = [
        int(i)
        for i in predictions.scored
        if all(
            n >= n_min
            for part in (y_true[is_tuning, i], y_true[~is_tuning, i])
            for n in (part.sum(), (~part).sum())
        )
    ]
    result: dict[str, Any] = {
        "n_tuning": int(is_tuning.sum()),
        "n_reported": int((~is_tuning).sum()),
        "findings": [predictions.queries[i].code for i in columns],
    }
    if not columns:
        return result | {
            "too_few": f"no finding has {n_min} positives, and as many negatives, in both halves "
            "of the set"
        }
    calibration, thresholds, _ = tune_fold(
        y_true[is_tuning][:, columns], predictions.y_prob[is_tuning][:, columns]
    )
    y_pred = {rule: values[~is_tuning][:, columns] for rule, values in predictions.y_pred.items()}
    scores = _compare_halves(
        y_true[~is_tuning][:, columns],
        predictions.y_prob[~is_tuning][:, columns],
        y_pred,
        calibration,
        thresholds,
        settings.n_bootstrap,
    )
    return result | {
        **scores,
        "calibration": dict(zip(result["findings"], calibration.tolist(), strict=True)),
        "thresholds": {
            rule: dict(zip(result["findings"], values.tolist(), strict=True))
            for rule, values in thresholds.items()
        },
    }


def _compare_halves(
    y_true: np.ndarray,
    before: np.ndarray,
    y_pred: dict[str, np.ndarray],
    calibration: np.ndarray,
    thresholds: dict[str, np.ndarray],
    n_bootstrap: int,
) -> dict[str, Any]:
    """Score probabilities before and after re-fitting, with the differences of the scores."""
    after = multilabel.calibrate(before, calibration)
    # The same seed draws the same records for both: the difference is paired.
    before_B = multilabel.resampled_scores(y_true, before, y_pred, n_bootstrap, seed=0)
    after_B = multilabel.resampled_scores(y_true, after, thresholds, n_bootstrap, seed=0)
    difference: dict[str, float] = {}
    for key in before_B:
        gain_B = after_B[key] - before_B[key]
        difference[key] = float(gain_B[0])
        if n_bootstrap:
            low, high = multilabel.interval(gain_B[1:])
            difference[f"{key}/low"], difference[f"{key}/high"] = low, high
    return {
        "as_it_is": without_nan(multilabel.scores(y_true, before, y_pred, n_bootstrap)),
        "retuned": without_nan(multilabel.scores(y_true, after, thresholds, n_bootstrap)),
        "difference": without_nan(difference),
    }
