"""Multi-label scores: thresholds, calibration, F1, AUROC, AUPRC, bootstrap intervals.

Conventions that hold in the whole room:

- ``y_true`` (n_records, n_findings) bool, ``y_prob`` the same shape, float in [0, 1], ``y_pred``
  bool. What is fitted (thresholds, calibration) is fitted on the tuning fold; no function takes
  the tuning and the test fold together.
- A finding without a positive in the fold has no F1 and no AUPRC, one without a positive or
  without a negative no AUROC: their value is NaN and the macro means leave them out.
- ``_min5`` means are over the findings with at least 5 positives in the fold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES

LEAST_CALLED = 0.1  # expected_f1 calls no finding that is less likely than this
N_BINS = 15
MIN_POSITIVES = 5  # of a finding in the fold, for the _min5 means
MIN_SLOPE = 0.05
# Pull on (slope, shift): 1 / variance of what findings usually need, about 0.15 and 0.45.
PULL = np.array([40.0, 5.0])
# Numbers held at once while a ranking is resampled.
BLOCK = 1 << 22

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]


def binary(name: str, values: ArrayLike) -> Bool:
    """Truth or predictions as bool; ``ValueError`` for another shape or other values."""
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name}: expected shape (n_records, n_findings), got {array.shape}")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected only 0 and 1, got {array[~np.isin(array, (0, 1))][0]}")
    return array.astype(bool)


def _probabilities(name: str, values: ArrayLike, shape: tuple[int, ...] | None = None) -> Float:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        expected = shape if shape is not None else "(n_records, n_findings)"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    bad = np.argwhere(~((array >= 0) & (array <= 1)))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name}: expected probabilities in [0, 1], got {array[row, column]} "
            f"in row {row}, column {column} ({len(bad)} such values)"
        )
    return array


def _pair(y_true: ArrayLike, y_prob: ArrayLike) -> tuple[Bool, Float]:
    truth = binary("y_true", y_true)
    return truth, _probabilities("y_prob", y_prob, truth.shape)


def without_nan(scores: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a score that cannot be said is null."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in scores.items()}


def _pair_predicted(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Bool, Bool]:
    truth, called = binary("y_true", y_true), binary("y_pred", y_pred)
    if truth.shape != called.shape:
        raise ValueError(f"y_pred: expected shape {truth.shape}, got {called.shape}")
    return truth, called


# -------------------------------------------------------------------------------- thresholds


def tune_thresholds(y_true: ArrayLike, y_prob: ArrayLike, rule: str) -> Float:
    """One threshold a finding, from the tuning fold.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    rule : {"fixed_0.5", "f1", "prevalence", "global", "expected_f1"}
        ``fixed_0.5``: 0.5 everywhere. ``f1``: the largest F1 of each finding. ``prevalence``: as
        many records called as are positive. ``global``: the one threshold with the largest mean
        F1 over the findings that have a positive. ``expected_f1``: half the largest F1 that the
        probabilities themselves lead one to expect, at least 0.1; for calibrated probabilities.

    Returns
    -------
    ndarray of shape (n_findings,), float64
        To be used with ``>=``.

    Raises
    ------
    ValueError
        For an unknown rule, differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Thresholds lie midway between neighbouring scores, so that a finding with a handful of
    positives does not hang on the exact score of one record; of several equally good ones the
    highest is taken. Where the best is to call nothing, as for ``f1`` and ``prevalence`` of a
    finding without positives, the threshold is midway between the highest score seen and 1.

    ``expected_f1`` looks at no label: where probabilities are calibrated, the threshold with the
    largest expected F1 is half that F1 (Lipton et al. 2014, arXiv:1402.1892, theorem 1). A
    handful of positives says little about where a threshold belongs; hundreds of probabilities do.
    """
    if rule not in THRESHOLD_RULES:
        raise ValueError(f"threshold rule {rule}: expected one of {', '.join(THRESHOLD_RULES)}")
    y_true, y_prob = _pair(y_true, y_prob)
    n_records, n_findings = y_true.shape
    if rule == "fixed_0.5":
        return np.full(n_findings, 0.5)

    order = np.argsort(-y_prob, axis=0, kind="stable")
    score = np.take_along_axis(y_prob, order, axis=0)
    n_called = np.arange(n_records + 1)[:, None]
    if rule == "expected_f1":
        total = np.maximum(n_called[1:] + score.sum(axis=0), 1)
        expected = (2 * np.cumsum(score, axis=0) / total).max(axis=0)
        return np.maximum(expected / 2, LEAST_CALLED)

    n_positive = y_true.sum(axis=0)
    true_positive = np.zeros((n_records + 1, n_findings))
    np.cumsum(np.take_along_axis(y_true, order, axis=0), axis=0, out=true_positive[1:])
    f1 = 2 * true_positive / np.maximum(n_called + n_positive, 1)

    if rule == "global":
        # Lowering the threshold past one score changes the F1 of one finding: the sum of those
        # changes, in the order of all scores, is the macro F1 at every possible threshold.
        step = (np.diff(f1, axis=0) * (n_positive > 0)).ravel()
        everything = np.argsort(-score.ravel(), kind="stable")
        macro = np.concatenate([[0.0], np.cumsum(step[everything])])
        cut = _best_cut(score.ravel()[everything][:, None], macro[:, None])
        return np.full(n_findings, cut[0])
    return _best_cut(score, f1 if rule == "f1" else -np.abs(n_called - n_positive))


def _best_cut(score: NDArray, value: NDArray) -> Float:
    """Threshold of each column with the largest value; value[k] is that of calling the first k."""
    above = np.concatenate([np.full((1, score.shape[1]), np.inf), score])
    below = np.concatenate([score, np.zeros((1, score.shape[1]))])
    # Records of equal score can only be called together; all of them can always be called.
    possible = above > below
    possible[-1] = True
    best = np.where(possible, value, -np.inf)
    # Sums in another order differ in the last digits: equal means equal to rounding.
    k = np.argmax(best >= best.max(axis=0) - 1e-12, axis=0)[None]
    lowest_called, highest_left = (np.take_along_axis(x, k, axis=0)[0] for x in (above, below))
    nothing = k[0] == 0
    lowest_called = np.where(nothing, np.maximum(1.0, np.nextafter(highest_left, 2)), lowest_called)
    middle = (lowest_called + highest_left) / 2
    return np.where(middle > highest_left, middle, lowest_called)


def apply_thresholds(y_prob: ArrayLike, thresholds: ArrayLike) -> Bool:
    """Which findings are called: ``y_prob >= thresholds``.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : array of shape (n_findings,), float

    Returns
    -------
    ndarray of shape (n_records, n_findings), bool

    Raises
    ------
    ValueError
        If the shapes differ or a probability or threshold is NaN.
    """
    y_prob = _probabilities("y_prob", y_prob)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.shape != y_prob.shape[1:]:
        raise ValueError(f"thresholds: expected shape {y_prob.shape[1:]}, got {thresholds.shape}")
    if np.isnan(thresholds).any():
        raise ValueError(f"thresholds: expected numbers, got NaN for {np.isnan(thresholds).sum()}")
    return y_prob >= thresholds


def _called(y_prob: Float, decision: ArrayLike) -> Bool:
    """What a rule calls: by thresholds (n_findings,), or (n_records, n_findings) as it stands."""
    decision = np.asarray(decision)
    return apply_thresholds(y_prob, decision) if decision.ndim < 2 else binary("called", decision)


# ------------------------------------------------------------------------------- calibration


def fit_calibration(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Slope and intercept on the logit of each finding, from the tuning fold.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool
    y_prob : array of shape (n_records, n_findings), float in [0, 1]

    Returns
    -------
    ndarray of shape (n_findings, 2), float64
        Slope (at least 0.05, so that ranks stay) and intercept.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Platt (1999) with a Gaussian prior: minimises ``sum(binary cross-entropy) + 20 (slope -
    1)**2 + 2.5 shift**2``, where the shift is the change of the logit at the finding's
    centre of information (the mean of the logits, weighted by p (1 - p)), so that slope and shift
    do not stand in for one another. What the fold knows of either grows with the number of
    positives: a finding with a handful barely moves, one with hundreds moves freely.
    """
    from scipy.optimize import minimize  # half a second that a prediction need not wait

    y_true, y_prob = _pair(y_true, y_prob)
    # A saturated float32 sigmoid is no evidence of infinite certainty.
    logits = np.clip(_logit(y_prob), -16, 16)
    information = expit(logits) * expit(-logits)
    centres = (logits * information).sum(axis=0) / information.sum(axis=0)

    def loss(x: Float, z: Float, y: Bool, centre: float) -> tuple[float, Float]:
        u = x[0] * (z - centre) + centre + x[1]
        residual = expit(u) - y
        away = x - (1.0, 0.0)
        value = np.logaddexp(0, u).sum() - u[y].sum() + PULL @ away**2 / 2
        return value, np.array([residual @ (z - centre), residual.sum()]) + PULL * away

    calibration = np.empty((y_true.shape[1], 2))
    for f, centre in enumerate(centres):
        slope, shift = minimize(
            loss,
            x0=(1.0, 0.0),
            args=(np.ascontiguousarray(logits[:, f]), y_true[:, f], centre),
            method="L-BFGS-B",
            jac=True,
            bounds=[(MIN_SLOPE, None), (None, None)],
            options={"ftol": 1e-13, "gtol": 1e-7},
        ).x
        calibration[f] = slope, shift + centre * (1 - slope)
    return calibration


def calibrate(y_prob: ArrayLike, calibration: ArrayLike) -> Float:
    """Calibrated probabilities: ``sigmoid(slope * logit(y_prob) + intercept)``.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    calibration : array of shape (n_findings, 2), float
        What ``fit_calibration`` found.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float64 in [0, 1]
        In each column in the same order as before.

    Raises
    ------
    ValueError
        If the shapes differ, a probability is NaN, or a slope is not above 0.
    """
    y_prob = _probabilities("y_prob", y_prob)
    calibration = np.asarray(calibration, dtype=np.float64)
    if calibration.shape != (y_prob.shape[1], 2):
        raise ValueError(
            f"calibration: expected shape {(y_prob.shape[1], 2)}, got {calibration.shape}"
        )
    slope, intercept = calibration.T
    if not (np.isfinite(calibration).all() and (slope > 0).all()):
        raise ValueError(f"calibration: expected slopes above 0, got {slope.min()}")
    return expit(slope * _logit(y_prob) + intercept)


def _logit(y_prob: Float) -> Float:
    return logit(np.clip(y_prob, 1e-300, np.nextafter(1.0, 0.0)))


# ------------------------------------------------------------- scores, on weighted records
#
# A resample of the records is the same records with weights 0, 1, 2, ...: nothing is sorted twice.
# weights_NB: N records, B resamples, the first of which is the fold itself (all ones).


def _resamples(n_records: int, n_bootstrap: int, seed: int) -> Float:
    draws = np.random.default_rng(seed).integers(n_records, size=(n_bootstrap, n_records))
    weights_NB = np.ones((n_records, 1 + n_bootstrap))
    for b, draw in enumerate(draws, start=1):
        weights_NB[:, b] = np.bincount(draw, minlength=n_records)
    return weights_NB


def interval(values_B: Float) -> tuple[float, float]:
    """95 % percentile interval of the resamples that have a value; NaN if none has."""
    values_B = values_B[~np.isnan(values_B)]
    if not len(values_B):
        return np.nan, np.nan
    low, high = np.percentile(values_B, (2.5, 97.5))
    return float(low), float(high)


def mean(values_FB: Float) -> Float:
    """Mean over the findings that have a value."""
    known = ~np.isnan(values_FB)
    n_known = known.sum(axis=0)
    total = np.where(known, values_FB, 0).sum(axis=0)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


def f1_from_counts(both: Float, called: Float, positive: Float) -> Float:
    """F1 from the numbers of true positives, of called and of positive; NaN without a positive."""
    return np.where(positive > 0, 2 * both / np.maximum(called + positive, 1), np.nan)


def record_f1(y_true: Bool, y_pred: Bool) -> Float:
    """F1 of each record; 1 where nothing is present and nothing called."""
    size = y_true.sum(axis=1) + y_pred.sum(axis=1)
    return np.where(size > 0, 2 * (y_true & y_pred).sum(axis=1) / np.maximum(size, 1), 1.0)


def _ranking(y_true: Bool, y_prob: Float, records: NDArray, weights_NB: Float) -> tuple[Float, ...]:
    """AUROC and average precision of one list of scores, for every resample.

    ``records`` says which row of the weights each score belongs to. Ties count half for AUROC and
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


def _ranking_per_finding(y_true: Bool, y_prob: Float, weights_NB: Float) -> tuple[NDArray, NDArray]:
    """AUROC and average precision of every finding (n_findings, n_resamples)."""
    records = np.arange(len(y_true))
    both = [
        _ranking(y_true[:, f], y_prob[:, f], records, weights_NB) for f in range(y_true.shape[1])
    ]
    return np.array([x[0] for x in both]), np.array([x[1] for x in both])


def _bin_gaps(y_true: Bool, y_prob: Float) -> Float:
    """Sum of (probability - truth) of each record and finding in its bin: (N, F, N_BINS)."""
    bins = np.minimum((y_prob * N_BINS).astype(int), N_BINS - 1)
    return (bins[..., None] == np.arange(N_BINS)) * (y_prob - y_true)[..., None]


# ------------------------------------------------------------------------ scores, by their names


def f1_scores(y_true: ArrayLike, y_pred: ArrayLike) -> Float:
    """F1 of each finding, NaN for a finding without a positive.

    Parameters
    ----------
    y_true, y_pred : arrays of shape (n_records, n_findings), bool

    Returns
    -------
    ndarray of shape (n_findings,), float64

    Raises
    ------
    ValueError
        If the shapes differ or a value is neither 0 nor 1.
    """
    y_true, y_pred = _pair_predicted(y_true, y_pred)
    both = (y_true & y_pred).sum(axis=0).astype(float)
    return f1_from_counts(both, y_pred.sum(axis=0), y_true.sum(axis=0))


def macro_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean F1 over the findings with a positive."""
    return float(mean(f1_scores(y_true, y_pred)))


def micro_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """F1 of all record-finding pairs together; NaN without any positive."""
    y_true, y_pred = _pair_predicted(y_true, y_pred)
    return float(f1_scores(y_true.reshape(-1, 1), y_pred.reshape(-1, 1))[0])


def samples_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean F1 over the records; a record rightly left without findings counts 1."""
    return float(record_f1(*_pair_predicted(y_true, y_pred)).mean())


def auroc_scores(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Area under the ROC curve of each finding, NaN without a positive or without a negative."""
    y_true, y_prob = _pair(y_true, y_prob)
    return _ranking_per_finding(y_true, y_prob, np.ones((len(y_true), 1)))[0][:, 0]


def auprc_scores(y_true: ArrayLike, y_prob: ArrayLike) -> Float:
    """Average precision of each finding, NaN without a positive."""
    y_true, y_prob = _pair(y_true, y_prob)
    return _ranking_per_finding(y_true, y_prob, np.ones((len(y_true), 1)))[1][:, 0]


def macro_auroc(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Mean AUROC over the findings with a positive and a negative."""
    return float(mean(auroc_scores(y_true, y_prob)))


def macro_auprc(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Mean average precision over the findings with a positive."""
    return float(mean(auprc_scores(y_true, y_prob)))


def expected_calibration_error(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Gap between probability and frequency, over all record-finding pairs.

    Notes
    -----
    Guo et al. 2017 (arXiv:1706.04599, eq. 3), on the probability of the positive class, with 15
    bins of equal width.
    """
    y_true, y_prob = _pair(y_true, y_prob)
    return float(np.abs(_bin_gaps(y_true, y_prob).sum(axis=(0, 1))).sum() / y_true.size)


def scores(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    thresholds: dict[str, Float],
    n_bootstrap: int,
    seed: int = 0,
) -> dict[str, float]:
    """Every score of a fold, as ``metrics.json`` holds them, with 95 % intervals.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : dict of rule -> array of shape (n_findings,)
        From the tuning fold. In place of thresholds, what is called: bool of the shape of `y_true`.
    n_bootstrap : int
        Resamples of the records; 0 leaves the intervals out.
    seed : int

    Returns
    -------
    dict of str -> float
        For each rule ``R``: ``R/macro_f1``, ``R/micro_f1``, ``R/samples_f1``, ``R/macro_f1_min5``;
        ``macro_auroc``, ``macro_auroc_min5``, ``macro_auprc``, ``macro_auprc_min5``,
        ``micro_auprc``, ``ece``; each of them also with ``/low`` and ``/high``; ``n_records``,
        ``n_findings`` (with a positive), ``n_findings_min5``. NaN where nothing can be said.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].

    Notes
    -----
    Percentile bootstrap over records. In a resample a macro mean is over the findings that still
    have a value; which findings are ``_min5`` is settled by the fold itself. The average precision
    of a finding with one or two positives is larger in resamples than in the fold (a positive
    drawn twice counts twice), so the interval of ``macro_auprc`` leans upwards; that of
    ``macro_auprc_min5`` much less.
    """
    curves = resampled_scores(y_true, y_prob, thresholds, n_bootstrap, seed)
    n_positive = binary("y_true", y_true).sum(axis=0)
    result: dict[str, float] = {}
    for name, values_B in curves.items():
        result[name] = float(values_B[0])
        if n_bootstrap:
            result[f"{name}/low"], result[f"{name}/high"] = interval(values_B[1:])
    result["n_records"] = len(np.asarray(y_true))
    result["n_findings"] = int((n_positive > 0).sum())
    result[f"n_findings_min{MIN_POSITIVES}"] = int((n_positive >= MIN_POSITIVES).sum())
    return result


def resampled_scores(
    y_true: ArrayLike, y_prob: ArrayLike, thresholds: dict[str, Float], n_resamples: int, seed: int
) -> dict[str, Float]:
    """The scores of ``scores``, each on the fold itself and then on every resample of its records.

    Parameters
    ----------
    y_true, y_prob, thresholds
        As ``scores``.
    n_resamples, seed : int
        The same seed draws the same records, whatever is scored.

    Returns
    -------
    dict of str -> ndarray of shape (1 + n_resamples,), float64
    """
    y_true, y_prob = _pair(y_true, y_prob)
    n_records, n_findings = y_true.shape
    weights_NB = _resamples(n_records, n_resamples, seed)
    enough = y_true.sum(axis=0) >= MIN_POSITIVES
    suffix = f"_min{MIN_POSITIVES}"

    curves: dict[str, Float] = {}
    positive_FB = y_true.T.astype(float) @ weights_NB
    for rule, values in thresholds.items():
        y_pred = _called(y_prob, values)
        both_FB = (y_true & y_pred).T.astype(float) @ weights_NB
        called_FB = y_pred.T.astype(float) @ weights_NB
        f1_FB = f1_from_counts(both_FB, called_FB, positive_FB)
        curves[f"{rule}/macro_f1"] = mean(f1_FB)
        curves[f"{rule}/micro_f1"] = f1_from_counts(
            both_FB.sum(axis=0), called_FB.sum(axis=0), positive_FB.sum(axis=0)
        )
        curves[f"{rule}/samples_f1"] = record_f1(y_true, y_pred) @ weights_NB / n_records
        curves[f"{rule}/macro_f1{suffix}"] = mean(f1_FB[enough])

    auroc_FB, auprc_FB = _ranking_per_finding(y_true, y_prob, weights_NB)
    for name, values_FB in (("macro_auroc", auroc_FB), ("macro_auprc", auprc_FB)):
        curves[name] = mean(values_FB)
        curves[name + suffix] = mean(values_FB[enough])
    records = np.repeat(np.arange(n_records), n_findings)
    curves["micro_auprc"] = _ranking(y_true.ravel(), y_prob.ravel(), records, weights_NB)[1]
    gaps = _bin_gaps(y_true, y_prob).sum(axis=1).T @ weights_NB
    curves["ece"] = np.abs(gaps).sum(axis=0) / y_true.size
    return curves


def per_finding(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    thresholds: dict[str, Float],
    n_bootstrap: int = 0,
    seed: int = 0,
) -> list[dict[str, float]]:
    """One row a finding, in the order of the columns, as ``findings.csv`` holds them.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    thresholds : dict of rule -> array of shape (n_findings,)
        From the tuning fold; or what is called, as for ``scores``: the threshold is NaN then.
    n_bootstrap, seed : int
        Resamples of the records for the intervals of F1; 0 leaves them out.

    Returns
    -------
    list of dict
        ``n_positive``, ``prevalence``, ``auroc``, ``auprc``, ``ece``, ``brier``, and for each rule
        ``R``: ``R/threshold``, ``R/precision``, ``R/recall``, ``R/specificity``, ``R/f1``, with
        ``R/f1/low`` and ``R/f1/high`` where asked for. NaN where nothing can be said, such as the
        precision of a finding never called.

    Raises
    ------
    ValueError
        For differing shapes, or a probability that is NaN or outside [0, 1].
    """
    y_true, y_prob = _pair(y_true, y_prob)
    n_records = len(y_true)
    n_positive = y_true.sum(axis=0).astype(float)
    auroc_FB, auprc_FB = _ranking_per_finding(y_true, y_prob, np.ones((n_records, 1)))
    columns: dict[str, NDArray] = {
        "n_positive": n_positive.astype(int),
        "prevalence": n_positive / n_records,
        "auroc": auroc_FB[:, 0],
        "auprc": auprc_FB[:, 0],
        "ece": np.abs(_bin_gaps(y_true, y_prob).sum(axis=0)).sum(axis=1) / n_records,
        "brier": ((y_prob - y_true) ** 2).mean(axis=0),
    }
    weights_NB = _resamples(n_records, n_bootstrap, seed)
    for rule, values in thresholds.items():
        y_pred = _called(y_prob, values)
        true_positive = (y_true & y_pred).sum(axis=0).astype(float)
        true_negative = (~y_true & ~y_pred).sum(axis=0).astype(float)
        n_called = y_pred.sum(axis=0)
        known = np.ndim(values) < 2
        columns[f"{rule}/threshold"] = (
            np.asarray(values, dtype=float) if known else np.full(y_true.shape[1], np.nan)
        )
        with np.errstate(invalid="ignore"):
            columns[f"{rule}/precision"] = true_positive / n_called
            columns[f"{rule}/recall"] = true_positive / n_positive
            columns[f"{rule}/specificity"] = true_negative / (n_records - n_positive)
        f1_FB = f1_from_counts(
            (y_true & y_pred).T @ weights_NB, y_pred.T @ weights_NB, y_true.T @ weights_NB
        )
        columns[f"{rule}/f1"] = f1_FB[:, 0]
        if n_bootstrap:
            ends = np.array([interval(values_B[1:]) for values_B in f1_FB])
            columns[f"{rule}/f1/low"], columns[f"{rule}/f1/high"] = ends.T
    return [
        {name: column[f].item() for name, column in columns.items()} for f in range(y_true.shape[1])
    ]
