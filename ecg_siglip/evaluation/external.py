"""A model's answers for the records of another hospital, beside what the labels there say.

Records of PTB-XL are left out where the model learned from them. Thresholds and calibration are the
model's own, or found anew on one half of the set and counted on the other.
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
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.vocabulary import snomed


@dataclass(frozen=True)
class ExternalPredictions:
    """A set with what its labels and the model say, question by question.

    Attributes
    ----------
    name : str
    paths : list of Path
        Records that were answered.
    labels : list of challenge.Labels
    left_out : dict of str to str
        Records of the set that were not, and why.
    questions : list of Question
    said : snomed.LabelMatrix
        Of shape (n_records, n_questions).
    unscored : dict of str to str
        Questions that the labels of the set cannot decide, and why.
    y_prob : ndarray of shape (n_records, n_questions), float64
    called : dict of str to ndarray of shape (n_records, n_questions), bool
        By threshold rule.
    thresholds : dict of str to ndarray of shape (n_questions,), float64
        The model's own; NaN for a question of several findings, which is called if one of them is.
    is_tuning : ndarray of shape (n_records,), bool
        The half on which thresholds and calibration are found anew.
    n_padded, n_cut : int
        Records shorter and longer than the model sees.
    """

    name: str
    paths: list[Path]
    labels: list[challenge.Labels]
    left_out: dict[str, str]
    questions: list[snomed.LabelQuery]
    said: snomed.LabelMatrix
    unscored: dict[str, str]
    y_prob: np.ndarray
    called: dict[str, np.ndarray]
    thresholds: dict[str, np.ndarray]
    is_tuning: np.ndarray
    n_padded: int
    n_cut: int

    @property
    def scored(self) -> np.ndarray:
        """Columns of the questions that are scored."""
        keep = [i for i, q in enumerate(self.questions) if q.code not in self.unscored]
        return np.array(keep, np.int64)


def predict_collection(
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    predictor: Predictor,
    collection: challenge.Collection,
) -> ExternalPredictions:
    """What the model and the labels say of each record of a set that can be answered."""
    artifact = predictor.artifact
    left_out = dict(collection.left_out)
    seen, patients = seen_in_training(
        collection, artifact, Path(settings.data.ptbxl or trained.data.root)
    )
    left_out |= seen
    rows = [i for i, path in enumerate(collection.paths) if path.stem not in seen]
    paths = [collection.paths[i] for i in rows]
    kept, parts, batch, durations_s = [], [], [], []
    bar = tqdm(total=len(paths), desc=collection.name, disable=None, leave=False)
    jobs = challenge.prepare_all(paths, artifact.waveform, settings.data.n_workers)
    for i, path, record in zip(rows, paths, jobs, strict=True):
        bar.update()
        if isinstance(record, str):
            left_out[path.stem] = record
            continue
        kept.append(i)
        durations_s.append(record.duration_s)
        batch.append(record.signal)
        if len(batch) == settings.batch_size:
            parts.append(predictor.probabilities(np.stack(batch), settings.batch_size))
            batch = []
    bar.close()
    if batch:
        parts.append(predictor.probabilities(np.stack(batch), settings.batch_size))
    y_prob = np.concatenate(parts) if parts else np.empty((0, len(artifact.codes)))

    questions = snomed.label_queries(artifact.codes)
    labels = [collection.labels[i] for i in kept]
    said = snomed.label_matrix(questions, [label.dx for label in labels])
    columns = [artifact.codes.index(q.findings[0]) for q in questions]
    alone = np.array([len(q.findings) == 1 for q in questions])
    kept_paths = [collection.paths[i] for i in kept]
    lengths_s = np.array(durations_s) - artifact.waveform["duration_s"]
    return ExternalPredictions(
        name=collection.name,
        paths=kept_paths,
        labels=labels,
        left_out=left_out,
        questions=questions,
        said=said,
        unscored=snomed.undecided(questions, said, settings.data.min_positives),
        y_prob=snomed.any_probability(questions, artifact.codes, y_prob),
        called={
            rule: snomed.any_present(
                questions, artifact.codes, multilabel.apply_thresholds(y_prob, values)
            )
            for rule, values in artifact.thresholds.items()
        },
        thresholds={
            rule: np.where(alone, values[columns], np.nan)
            for rule, values in artifact.thresholds.items()
        },
        is_tuning=np.array(
            [challenge.in_tuning_half(patients.get(p.stem, p.stem)) for p in kept_paths], bool
        ),
        n_padded=int((lengths_s < -0.05).sum()),
        n_cut=int((lengths_s > 0.05).sum()),
    )


def seen_in_training(
    collection: challenge.Collection, artifact: Artifact, root: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Records of PTB-XL that the model learned from or may have, and the patient of the others.

    Parameters
    ----------
    collection : challenge.Collection
    artifact : Artifact
    root : Path
        Folder with the ``ptbxl_database.csv`` that says in which fold a record is.

    Returns
    -------
    left_out : dict of str to str
        Record and why. One that the table does not have is left out as well: other records of its
        patient may have been in training.
    patients : dict of str to str
    """
    numbers = challenge.ecg_ids(collection.paths)
    if not numbers.any():
        return {}, {}
    used: set[int] = set()
    for model in artifact.provenance.lineage():
        # An ancestor of other data, such as simulated ECGs, has folds of its own.
        if model.same_records(artifact.provenance.data):
            used |= model.folds_seen
    folds: dict[int, int] = {}
    owners: dict[int, int] = {}
    if (root / "ptbxl_database.csv").is_file():
        table = ptbxl.read_metadata(root)
        folds = dict(zip(table.index.tolist(), table["strat_fold"].tolist(), strict=True))
        owners = dict(zip(table.index.tolist(), table["patient_id"].tolist(), strict=True))
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


def code_rows(answered: ExternalPredictions, codes: Sequence[str]) -> list[dict[str, Any]]:
    """Every code that the records of a set have, how often, and what came of it.

    Parameters
    ----------
    answered : Answered
    codes : sequence of str
        The model's findings.
    """
    counts = Counter(code for labels in answered.labels for code in labels.dx)
    rows = []
    for number, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        code = snomed.table().get(number)
        inside = [q for q in answered.questions if code and set(code.findings) <= set(q.findings)]
        scored = [q.code for q in inside if q.code not in answered.unscored]
        if code is None:
            outcome = "no counterpart: not in the table of the challenges"
        elif code.relation == "none":
            outcome = "no counterpart" + (f": {code.comment}" if code.comment else "")
        elif code.relation == "broader" and len(code.findings) == 1:
            outcome = f"no counterpart: broader than {code.findings[0]}, on which it says nothing"
        elif scored:
            outcome = f"scored in {', '.join(scored)}"
        elif inside:
            outcome = f"not scored: {inside[0].code}: {answered.unscored[inside[0].code]}"
        else:
            outcome = f"no counterpart: the model lacks {', '.join({*code.findings} - {*codes})}"
        rows.append(
            {
                "snomed": number,
                "abbreviation": code.abbreviation if code else "",
                "name": code.name if code else "",
                "relation": code.relation if code else "",
                "findings": " ".join(code.findings) if code else "",
                "n_records": n,
                "outcome": outcome,
            }
        )
    return rows


def retuned(answered: ExternalPredictions, settings: config.EvaluateConfig) -> dict[str, Any]:
    """Scores of one half of a set by thresholds and calibration of the other, and by the model's.

    Returns
    -------
    dict
        ``n_tuning``, ``n_reported``, ``findings`` (with enough positives and negatives in both
        halves), ``as_it_is`` and ``retuned`` (scores of the same records), ``difference`` (of each
        score, with ``/low`` and ``/high`` by a paired bootstrap), ``calibration`` (slope and
        intercept by finding, to be put on the model's own) and ``thresholds`` (by rule and
        finding). Without findings, in place of the scores, ``too_few``, which says why.
    """
    here = answered.is_tuning
    y_true, n_least = answered.said.y_true, settings.data.min_positives
    enough = [
        int(i)
        for i in answered.scored
        if all(
            n >= n_least
            for part in (y_true[here, i], y_true[~here, i])
            for n in (part.sum(), (~part).sum())
        )
    ]
    found: dict[str, Any] = {
        "n_tuning": int(here.sum()),
        "n_reported": int((~here).sum()),
        "findings": [answered.questions[i].code for i in enough],
    }
    if not enough:
        why = (
            f"no finding has {n_least} positives, and as many negatives, in both halves of the set"
        )
        return found | {"too_few": why}
    before, truth = answered.y_prob[~here][:, enough], y_true[~here][:, enough]
    calibration, thresholds, _ = tune_fold(
        y_true[here][:, enough], answered.y_prob[here][:, enough]
    )
    after = multilabel.calibrate(before, calibration)
    called = {rule: values[~here][:, enough] for rule, values in answered.called.items()}
    n = settings.n_bootstrap
    # The same seed draws the same records for both: the difference is paired.
    before_B = multilabel.resampled_scores(truth, before, called, n, seed=0)
    after_B = multilabel.resampled_scores(truth, after, thresholds, n, seed=0)
    difference: dict[str, float] = {}
    for key in before_B:
        gain_B = after_B[key] - before_B[key]
        difference[key] = float(gain_B[0])
        if n:
            difference[f"{key}/low"], difference[f"{key}/high"] = multilabel.interval(gain_B[1:])
    return found | {
        "as_it_is": without_nan(multilabel.scores(truth, before, called, n)),
        "retuned": without_nan(multilabel.scores(truth, after, thresholds, n)),
        "difference": without_nan(difference),
        "calibration": dict(zip(found["findings"], calibration.tolist(), strict=True)),
        "thresholds": {
            rule: dict(zip(found["findings"], values.tolist(), strict=True))
            for rule, values in thresholds.items()
        },
    }
