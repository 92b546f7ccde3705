"""Multi-label scores: F1, AUROC, AUPRC, calibration error, with intervals.

Conventions of all modules of ``metrics``:

- ``y_true`` (n_records, n_findings) bool, or float with NaN where it is unknown whether the finding
  is present; ``y_prob`` of the same shape, float in [0, 1]; ``y_pred`` bool. What is fitted
  (thresholds, calibration) is fitted on the tuning fold; no function takes the tuning and the test
  fold together.
- A pair of a record and a finding whose label is unknown is not scored: every score is that of the
  known pairs alone. The F1 of a record is over its known findings; a record without any is left
  out of its mean.
- A finding without a positive in the fold has no F1 and no AUPRC, one without a positive or
  without a negative no AUROC: their value is NaN and the macro means leave them out.
- ``_min5`` means are over the findings with at least 5 positives in the fold.

A bootstrap resample of the records is the same records with weights 0, 1, 2, ..., so that nothing
is sorted twice. Shape letters: N records, F findings, B resamples, the first of which is the fold
itself (all weights 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Re-exported with `as`: the names of this package that other modules use as `multilabel.<name>`.
from ecg_siglip.metrics.calibration import calibrate as calibrate
from ecg_siglip.metrics.calibration import fit_calibration as fit_calibration
from ecg_siglip.metrics.exact_intervals import (
    f1_interval,
    interval_without_width,
    proportion_interval,
)
from ecg_siglip.metrics.thresholds import apply_thresholds as apply_thresholds
from ecg_siglip.metrics.thresholds import predictions
from ecg_siglip.metrics.thresholds import tune_thresholds as tune_thresholds
from ecg_siglip.metrics.validation import (
    Bool,
    Float,
    labels,
    labels_and_predictions,
    labels_and_probabilities,
)

N_BINS = 15
MIN_POSITIVES = 5  # of a finding in the fold, for the _min5 means
BLOCK = 1 << 22  # numbers in memory at once while a ranking is resampled


def without_nan(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores with null for NaN, which JSON does not have."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in scores.items()}


def _resamples(n_records: int, n_bootstrap: int, seed: int) -> Float:
    """Draw the weights of the records in each resample, (N, 1 + n_bootstrap)."""
    draws = np.random.default_rng(seed).integers(n_records, size=(n_bootstrap, n_records))
    weights_NB = np.ones((n_records, 1 + n_bootstrap))
    for b, draw in enumerate(draws, start=1):
        weights_NB[:, b] = np.bincount(draw, minlength=n_records)
    return weights_NB


def interval(values_B: Float) -> tuple[float, float]:
    """Return the 95 % percentile interval of the resamples that have a value; NaN if none has."""
    values_B = values_B[~np.isnan(values_B)]
    if not len(values_B):
        return np.nan, np.nan
    low, high = np.percentile(values_B, (2.5, 97.5))
    return float(low), float(high)


def mean(values_FB: Float) -> Float:
    """Return the mean over the findings that have a value."""
    known = ~np.isnan(values_FB)
    n_known = known.sum(axis=0)
    total = np.where(known, values_FB, 0).sum(axis=0)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


def f1_from_counts(true_positive: Float, predicted: Float, positive: Float) -> Float:
    """Compute F1 from counts of true, predicted and actual positives; NaN without a positive."""
    return np.where(positive > 0, 2 * true_positive / np.maximum(predicted + positive, 1), np.nan)


def record_f1(y_true: Bool, y_pred: Bool) -> Float:
    """Compute the F1 of each record; 1 where nothing is present and nothing predicted.

    `y_pred` is False where the label is unknown.
    """
    size = y_true.sum(axis=1) + y_pred.sum(axis=1)
    return np.where(size > 0, 2 * (y_true & y_pred).sum(axis=1) / np.maximum(size, 1), 1.0)


def _ranking(y_true: Bool, y_prob: Float, records: NDArray, weights_NB: Float) -> tuple[Float, ...]:
    """Compute AUROC and average precision of one list of scores, for every resample.

    ``records`` is the row of the weights that each score belongs to. Ties count half for AUROC and
    are one step of the precision-recall curve, as in scikit-learn.
    """
    if not y_true.any():
        return (np.full(weights_NB.shape[1], np.nan),) * 2
    order = np.argsort(-y_prob, kind="stable")
    score, is_positive, records = y_prob[order], y_true[order], records[order]
    # Only steps of the curve that hold a positive add to either area.
    first = np.searchsorted(-score, -score[is_positive], side="left")
    begin, start = np.unique(first, return_index=True)
    end = np.searchsorted(-score, -score[begin], side="right")
    parts = []
    n_columns = max(1, BLOCK // len(score))
    for left in range(0, weights_NB.shape[1], n_columns):
        weights = weights_NB[:, left : left + n_columns]
        seen = np.zeros((len(score) + 1, weights.shape[1]))
        np.cumsum(weights[records], axis=0, out=seen[1:])
        positive = np.add.reduceat(weights[records[is_positive]], start, axis=0)
        true_positive = np.cumsum(positive, axis=0)
        n_positive = true_positive[-1]
        n_negative = seen[-1] - n_positive
        false_before = seen[begin] - (true_positive - positive)
        false_after = seen[end] - true_positive
        below = n_negative - (false_before + false_after) / 2
        precision = true_positive / np.maximum(seen[end], 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = (positive * below).sum(axis=0) / (n_positive * n_negative)
            average_precision = (positive * precision).sum(axis=0) / n_positive
        parts.append((auroc, average_precision))
    auroc_B, average_precision_B = (np.concatenate(x) for x in zip(*parts, strict=True))
    return auroc_B, average_precision_B


def _ranking_per_finding(
    y_true: Bool, known: Bool, y_prob: Float, weights_NB: Float
) -> tuple[NDArray, NDArray]:
    """Compute AUROC and average precision of every finding, (F, B) each."""
    both = []
    for f in range(y_true.shape[1]):
        records = np.flatnonzero(known[:, f])
        both.append(_ranking(y_true[records, f], y_prob[records, f], records, weights_NB))
    return np.array([x[0] for x in both]), np.array([x[1] for x in both])


def _bin_gaps(y_true: Bool, known: Bool, y_prob: Float) -> Float:
    """Return (probability - label) of each record and finding in its bin, (N, F, N_BINS).

    0 where the label is unknown.
    """
    bins = np.minimum((y_prob * N_BINS).astype(int), N_BINS - 1)
    return (bins[..., None] == np.arange(N_BINS)) * ((y_prob - y_true) * known)[..., None]


def _share(part: Float, whole: Float) -> Float:
    """Divide sums by their counts; NaN where nothing was counted."""
    with np.errstate(invalid="ignore"):
        return np.asarray(part / whole, np.float64)


def f1_scores(y_true: ArrayLike, y_pred: ArrayLike) -> Float:
    """Compute the F1 of each finding, NaN for a finding without a positive.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_pred : array of shape (n_records, n_findings), bool

    Returns
    -------
    ndarray of shape (n_findings,), float64

    Raises
    ------
    ValueError
        If the shapes differ or a value is neither 0 nor 1.
    """
    y_true, _, y_pred = labels_and_predictions(y_true, y_pred)
    true_positive = (y_true & y_pred).sum(axis=0).astype(float)
    return f1_from_counts(true_positive, y_pred.sum(axis=0), y_true.sum(axis=0))


def macro_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Compute the mean F1 over the findings with a positive."""
    return float(mean(f1_scores(y_true, y_pred)))


def micro_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Compute the F1 of all record-finding pairs together; NaN without any positive."""
    y_true, _, y_pred = labels_and_predictions(y_true, y_pred)
    return float(f1_scores(y_true.reshape(-1, 1), y_pred.reshape(-1, 1))[0])


def samples_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Compute the mean F1 over the records; a record correctly left without findings counts 1."""
    y_true, known, y_pred = labels_and_predictions(y_true, y_pred)
    scored = known.any(axis=1)
    return float(_share(record_f1(y_true, y_pred)[scored].sum(), scored.sum()))


def auroc_scores(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Compute the AUROC of each finding, NaN without a positive or without a negative."""
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    return _ranking_per_finding(y_true, known, y_prob, np.ones((len(y_true), 1)))[0][:, 0]


def auprc_scores(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Compute the average precision of each finding, NaN without a positive."""
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    return _ranking_per_finding(y_true, known, y_prob, np.ones((len(y_true), 1)))[1][:, 0]


def macro_auroc(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Compute the mean AUROC over the findings with a positive and a negative."""
    return float(mean(auroc_scores(y_true, y_prob)))


def macro_auprc(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Compute the mean average precision over the findings with a positive."""
    return float(mean(auprc_scores(y_true, y_prob)))


def expected_calibration_error(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Compute the gap between probability and frequency, over all record-finding pairs.

    Notes
    -----
    Guo et al. 2017 (arXiv:1706.04599, eq. 3), on the probability of the positive class, with 15
    bins of equal width.
    """
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    gaps = np.abs(_bin_gaps(y_true, known, y_prob).sum(axis=(0, 1))).sum()
    return float(_share(gaps, known.sum()))


def scores(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    thresholds: dict[str, Float],
    n_bootstrap: int,
    seed: int = 0,
) -> dict[str, float]:
    """Compute every score of a fold, the content of ``metrics.json``, with 95 % intervals.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : dict of rule -> array of shape (n_findings,)
        From the tuning fold. Instead of thresholds also predictions: bool of the shape of `y_true`.
    n_bootstrap : int
        Resamples of the records; 0 leaves the intervals out.
    seed : int

    Returns
    -------
    dict of str -> float
        For each rule ``R``: ``R/macro_f1``, ``R/micro_f1``, ``R/samples_f1``, ``R/macro_f1_min5``;
        ``macro_auroc``, ``macro_auroc_min5``, ``macro_auprc``, ``macro_auprc_min5``,
        ``micro_auprc``, ``ece``; each of them also with ``/low`` and ``/high``; ``n_records``,
        ``n_findings`` (with a positive), ``n_findings_min5``. NaN where a score is undefined.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Percentile bootstrap over records; where every resample has the same value, the interval of
    ``exact_intervals.interval_without_width``. In a resample a macro mean is over the findings that
    still have a value; which findings are ``_min5`` is determined by the fold itself. Scores with
    findings of one or two positives are biased in resamples: average precision is larger (a
    positive drawn twice counts twice), and a finding whose positives are not drawn is left out,
    which raises ``R/macro_f1`` if its F1 is 0. The intervals of ``macro_auprc`` and ``R/macro_f1``
    are therefore biased upwards and may lie above the score; those of ``_min5`` much less.
    """
    curves = resampled_scores(y_true, y_prob, thresholds, n_bootstrap, seed)
    n_positive = labels("y_true", y_true)[0].sum(axis=0)
    result: dict[str, float] = {}
    for name, values_B in curves.items():
        result[name] = float(values_B[0])
        if n_bootstrap:
            ends = interval(values_B[1:])
            if ends[0] == ends[1]:
                ends = _exact_interval(name, result[name], y_true, y_prob, thresholds)
            result[f"{name}/low"], result[f"{name}/high"] = ends
    result["n_records"] = len(np.asarray(y_true))
    result["n_findings"] = int((n_positive > 0).sum())
    result[f"n_findings_min{MIN_POSITIVES}"] = int((n_positive >= MIN_POSITIVES).sum())
    return result


def _exact_interval(
    name: str, value: float, y_true: ArrayLike, y_prob: ArrayLike, thresholds: dict[str, Float]
) -> tuple[float, float]:
    """Return the interval of a score of which every resample has the same value."""
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    rule, _, kind = name.rpartition("/")
    suffix = f"_min{MIN_POSITIVES}"
    n_least = MIN_POSITIVES if kind.endswith(suffix) else 0
    shown = y_true.sum(axis=0) >= n_least
    y_pred = (predictions(y_prob, thresholds[rule]) & known)[:, shown] if rule else None
    return interval_without_width(
        kind.removesuffix(suffix), value, y_true[:, shown], known[:, shown], y_pred
    )


def resampled_scores(
    y_true: ArrayLike, y_prob: ArrayLike, thresholds: dict[str, Float], n_resamples: int, seed: int
) -> dict[str, Float]:
    """Compute the scores of ``scores`` on the fold itself and on every resample of its records.

    Parameters
    ----------
    y_true, y_prob, thresholds
        As ``scores``.
    n_resamples, seed : int
        The same seed draws the same records for any model.

    Returns
    -------
    dict of str -> ndarray of shape (1 + n_resamples,), float64
    """
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    n_records, n_findings = y_true.shape
    weights_NB = _resamples(n_records, n_resamples, seed)
    has_label = known.any(axis=1)
    enough = y_true.sum(axis=0) >= MIN_POSITIVES
    suffix = f"_min{MIN_POSITIVES}"

    curves: dict[str, Float] = {}
    positive_FB = y_true.T.astype(float) @ weights_NB
    for rule, values in thresholds.items():
        y_pred = predictions(y_prob, values) & known
        true_positive_FB = (y_true & y_pred).T.astype(float) @ weights_NB
        predicted_FB = y_pred.T.astype(float) @ weights_NB
        f1_FB = f1_from_counts(true_positive_FB, predicted_FB, positive_FB)
        curves[f"{rule}/macro_f1"] = mean(f1_FB)
        curves[f"{rule}/micro_f1"] = f1_from_counts(
            true_positive_FB.sum(axis=0), predicted_FB.sum(axis=0), positive_FB.sum(axis=0)
        )
        curves[f"{rule}/samples_f1"] = _share(
            (record_f1(y_true, y_pred) * has_label) @ weights_NB, has_label @ weights_NB
        )
        curves[f"{rule}/macro_f1{suffix}"] = mean(f1_FB[enough])

    auroc_FB, auprc_FB = _ranking_per_finding(y_true, known, y_prob, weights_NB)
    for name, values_FB in (("macro_auroc", auroc_FB), ("macro_auprc", auprc_FB)):
        curves[name] = mean(values_FB)
        curves[name + suffix] = mean(values_FB[enough])
    records = np.repeat(np.arange(n_records), n_findings)[known.ravel()]
    curves["micro_auprc"] = _ranking(y_true[known], y_prob[known], records, weights_NB)[1]
    gaps = _bin_gaps(y_true, known, y_prob).sum(axis=1).T @ weights_NB
    curves["ece"] = _share(np.abs(gaps).sum(axis=0), known.sum(axis=1) @ weights_NB)
    return curves


def per_finding(
    y_true: ArrayLike, y_prob: ArrayLike, thresholds: dict[str, Float]
) -> list[dict[str, float]]:
    """Compute one row of scores per finding, the content of ``findings.csv``.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : dict of rule -> array of shape (n_findings,)
        From the tuning fold; or predictions, as for ``scores``: the threshold is NaN then.

    Returns
    -------
    list of dict
        ``n_positive``, ``n_known`` (records whose label is known; only if one is unknown),
        ``prevalence``, ``auroc``, ``auprc``, ``ece``, ``brier``, and for each rule
        ``R``: ``R/threshold``, ``R/precision``, ``R/recall``, ``R/specificity``, ``R/f1``, the
        last four with ``/low`` and ``/high``, exact 95 % intervals. NaN where a score is
        undefined, such as the precision of a finding that is never predicted. In the order of the
        columns of `y_true`.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].
    """
    y_true, known, y_prob = labels_and_probabilities(y_true, y_prob)
    n_records, n_known = len(y_true), known.sum(axis=0)
    n_positive = y_true.sum(axis=0).astype(float)
    auroc_FB, auprc_FB = _ranking_per_finding(y_true, known, y_prob, np.ones((n_records, 1)))
    columns: dict[str, NDArray] = {
        "n_positive": n_positive.astype(int),
        **({} if known.all() else {"n_known": n_known}),
        "prevalence": _share(n_positive, n_known),
        "auroc": auroc_FB[:, 0],
        "auprc": auprc_FB[:, 0],
        "ece": _share(np.abs(_bin_gaps(y_true, known, y_prob).sum(axis=0)).sum(axis=1), n_known),
        "brier": _share(((y_prob - y_true) ** 2 * known).sum(axis=0), n_known),
    }
    for rule, values in thresholds.items():
        rule_columns = _rule_columns(y_true, known, y_prob, values)
        columns |= {f"{rule}/{name}": column for name, column in rule_columns.items()}
    return [
        {name: column[f].item() for name, column in columns.items()} for f in range(y_true.shape[1])
    ]


def _rule_columns(
    y_true: Bool, known: Bool, y_prob: Float, thresholds: Float
) -> dict[str, NDArray]:
    """Compute the columns of ``per_finding`` that depend on the thresholds, (F,) each."""
    n_negative, n_positive = (known & ~y_true).sum(axis=0), y_true.sum(axis=0)
    y_pred = predictions(y_prob, thresholds) & known
    true_positive, n_predicted = (y_true & y_pred).sum(axis=0), y_pred.sum(axis=0)
    true_negative = (known & ~y_true & ~y_pred).sum(axis=0)
    has_thresholds = np.ndim(thresholds) < 2
    columns: dict[str, NDArray] = {
        "threshold": np.asarray(thresholds, dtype=float)
        if has_thresholds
        else np.full(y_true.shape[1], np.nan)
    }
    proportions = {
        "precision": (true_positive, n_predicted),
        "recall": (true_positive, n_positive),
        "specificity": (true_negative, n_negative),
    }
    for name, (n_right, n) in proportions.items():
        columns[name] = _share(n_right, n)
        columns[f"{name}/low"], columns[f"{name}/high"] = proportion_interval(n_right, n)
    columns["f1"] = f1_from_counts(true_positive, n_predicted, n_positive)
    ends = f1_interval(true_positive, n_predicted, n_positive)
    columns["f1/low"], columns["f1/high"] = ends
    return columns
