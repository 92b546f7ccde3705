"""Calibration and thresholds from the tuning fold: for all leads, for fewer, for one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.inference.decision import make_decision
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.metrics.validation import labels_and_predictions
from ecg_siglip.models.artifact import Artifact, Tuning
from ecg_siglip.signals.leads import LEAD_SETS, mask_leads

# Scores of a threshold rule over all pairs of record and finding, see ``rule_scores``.
RULE_SCORES = ("sensitivity", "precision")
# A finding with fewer positives or negatives in a data set keeps the values of all data sets.
MIN_OF_SOURCE = 5


def tune_fold(
    y_true: np.ndarray, y_prob: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Fit the calibration and, on calibrated probabilities, every rule's thresholds.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
        Labels of the tuning fold.
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
        Probabilities of the tuning fold, not calibrated.

    Returns
    -------
    calibration : ndarray of shape (n_findings, 2)
    thresholds : dict of str to ndarray of shape (n_findings,)
    calibrated : ndarray of shape (n_records, n_findings)
    """
    calibration = multilabel.fit_calibration(y_true, y_prob)
    calibrated = multilabel.calibrate(y_prob, calibration)
    thresholds = {
        rule: multilabel.tune_thresholds(y_true, calibrated, rule) for rule in THRESHOLD_RULES
    }
    return calibration, thresholds, calibrated


def rule_scores(artifact: Artifact, y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """Compute sensitivity and precision of every threshold rule and operating point.

    Parameters
    ----------
    artifact : Artifact
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
        Calibrated probabilities of records with twelve leads.

    Returns
    -------
    dict of str to float
        ``<rule>/micro_sensitivity`` and ``<rule>/micro_precision``, over all pairs of record and
        finding whose label is known, of what is reported; NaN for 0 / 0.
    """
    scores = {}
    tuning, available = artifact.tuning(), np.ones(12, bool)
    for rule in tuning.thresholds | tuning.operating:
        y_pred = make_decision(artifact, tuning, available, rule).present(y_prob)
        positive, _, predicted = labels_and_predictions(y_true, y_pred)
        n_right = float((positive & predicted).sum())
        for name, n in zip(RULE_SCORES, (positive.sum(), predicted.sum()), strict=True):
            scores[f"{rule}/micro_{name}"] = n_right / float(n) if n else float("nan")
    return scores


def with_rule_scores(artifact: Artifact, y_true: np.ndarray, y_prob: np.ndarray) -> Artifact:
    """Return an artifact with the ``rule_scores`` of its tuning fold among its scores."""
    added = without_nan(rule_scores(artifact, y_true, y_prob))
    provenance = artifact.provenance
    scores = {**provenance.tune_scores, **added}
    return replace(artifact, provenance=replace(provenance, tune_scores=scores))


def tune_fewer_leads(
    y_true: np.ndarray,
    probabilities: Callable[[np.ndarray], np.ndarray],
    signals: np.ndarray,
) -> dict[str, Tuning]:
    """Tune as ``tune_fold`` does for each smaller set of leads, see ``leads.LEAD_SETS``.

    Parameters
    ----------
    y_true : ndarray of shape (n_records, n_findings), bool, or float with NaN where unknown
    probabilities : function
        From prepared records (n_records, 12, n_samples), int16, uV, to probabilities.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
    """
    tuning = {}
    for name in LEAD_SETS:
        if name != "12":
            y_prob = probabilities(mask_leads(signals, name))
            calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
            tuning[name] = Tuning(calibration, thresholds, operating_thresholds(calibrated, y_true))
    return tuning


def tune_sources(
    data: LabelledRecords,
    rows: np.ndarray,
    probabilities: Callable[[np.ndarray], np.ndarray],
    overall: Mapping[str, Tuning],
) -> dict[str, dict[str, Tuning]]:
    """Tune as ``tune_fold`` does for each data set on its own.

    Parameters
    ----------
    data : LabelledRecords
        With signals.
    rows : ndarray of int64
        The tuning fold.
    probabilities : function
        See ``tune_fewer_leads``.
    overall : mapping of str to Tuning
        Of all data sets together, by set of leads, see ``leads.LEAD_SETS``; a finding that has
        fewer than ``MIN_OF_SOURCE`` positives or negatives in a data set keeps these values.

    Returns
    -------
    dict
        Data set -> set of leads -> Tuning, of the data sets with enough labels of any finding.
    """
    assert data.signals is not None
    parts = {name: rows[data.of_source(name)[rows]] for name in data.sources}
    labels = {name: data.labels(part) for name, part in parts.items()}
    enough = {
        name: np.minimum((y_true == 1).sum(0), (y_true == 0).sum(0)) >= MIN_OF_SOURCE
        for name, y_true in labels.items()
    }
    tuned: dict[str, dict[str, Tuning]] = {}
    for name, part in parts.items():
        if not enough[name].any():
            continue
        signals, tuned[name] = data.signals[part], {}
        for leads, general in overall.items():
            y_prob = probabilities(signals if leads == "12" else mask_leads(signals, leads))
            tuned[name][leads] = _tune_source(labels[name], y_prob, enough[name], general)
    return tuned


def _tune_source(
    y_true: np.ndarray, y_prob: np.ndarray, enough: np.ndarray, overall: Tuning
) -> Tuning:
    """Return the tuning of one data set; `enough`: which findings do not keep the general one."""
    calibration, thresholds, calibrated = tune_fold(y_true[:, enough], y_prob[:, enough])
    operating = operating_thresholds(calibrated, y_true[:, enough])

    def merged(general: np.ndarray, own: np.ndarray) -> np.ndarray:
        values = general.copy()
        values[enough] = own
        return values

    return Tuning(
        merged(overall.calibration, calibration),
        {rule: merged(overall.thresholds[rule], own) for rule, own in thresholds.items()},
        {target: merged(overall.operating[target], own) for target, own in operating.items()},
    )
