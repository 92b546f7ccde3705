"""Paired comparison of two models on the same records, with intervals and p-values.

A model is a recipe, not one seed of it: it is given as its runs, one per seed, and its score is
their mean.

Shape letters: N records, F findings, S runs, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.multilabel import Bool, Float


class ModelOutput(NamedTuple):
    """The output of one run on a fold.

    Attributes
    ----------
    y_prob : ndarray of shape (n_records, n_findings), float in [0, 1]
    thresholds : dict of rule -> ndarray of shape (n_findings,)
        From the run's tuning fold.
    """

    y_prob: Float
    thresholds: dict[str, Float]


def mean_scores(
    y_true: ArrayLike, runs: Sequence[ModelOutput], n_resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Compute the scores of a model, the means over its runs.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    runs : sequence of ModelOutput, one per seed
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict of str -> dict
        For each score of ``multilabel.scores``: ``mean``, ``low`` and ``high`` (95 %), and ``sd``
        over the runs (NaN for one).

    Notes
    -----
    The bootstrap draws records and runs, both with replacement: the interval includes the variance
    between folds and (S - 1) / S of the variance between seeds; with one run, none of the latter.
    Some records are drawn twice, which makes findings less rare: intervals of AUPRC are biased
    upwards.
    """
    curves = _curves(y_true, runs, n_resamples, seed)
    result = {}
    for name, values_SR in curves.items():
        low, high = multilabel.interval(_over_runs(values_SR, seed)[1:])
        first = values_SR[:, 0]
        result[name] = {
            "mean": float(first.mean()),
            "low": low,
            "high": high,
            "sd": float(first.std(ddof=1)) if len(first) > 1 else np.nan,
        }
    return result


def compare_recipes(
    y_true: ArrayLike,
    a: Sequence[ModelOutput],
    b: Sequence[ModelOutput],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Compute the difference of two models, with a 95 % interval and a p-value.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    a, b : sequence of ModelOutput
        The runs of both models, one per seed. Their numbers may differ.
    n_resamples : int
        Of the paired bootstrap, and of the permutation test.
    seed : int

    Returns
    -------
    dict of str -> dict
        For each score of ``multilabel.scores`` but ``ece`` and ``micro_auprc``: ``difference``
        (a - b, of the means over runs), ``low``, ``high`` (of the difference), ``p`` (two-sided;
        NaN where the models have different numbers of runs or the fold has no such score).

    Raises
    ------
    ValueError
        If the shapes differ, or a model has no run.

    Notes
    -----
    The bootstrap draws records, the same for both models, and runs of each. The test exchanges the
    outputs of the i-th runs of both models record by record, all runs together (Fisher's
    randomisation: records are exchangeable, and the runs of a recipe share them). For AUROC and
    AUPRC it exchanges ranks within a finding instead of probabilities (Bandos et al. 2005), since
    two models of different calibration have no common scale. p counts the observed assignment as
    one of the permutations: the smallest is 1 / (n_resamples + 1). It refers to these runs on
    other records; the variance between seeds is in the interval only.
    """
    curves_a, curves_b = (_curves(y_true, runs, n_resamples, seed) for runs in (a, b))
    permuted = _permuted(y_true, a, b, n_resamples, seed) if len(a) == len(b) else {}
    result = {}
    for name in curves_a:
        if name in ("ece", "micro_auprc"):
            continue
        observed = float(curves_a[name][:, 0].mean() - curves_b[name][:, 0].mean())
        # Different draws of runs for the two models, the same draws of records.
        resampled = _over_runs(curves_a[name], seed) - _over_runs(curves_b[name], seed + 1)
        low, high = multilabel.interval(resampled[1:])
        p = np.nan
        if name in permuted and n_resamples and not np.isnan(observed):
            n_as_large = (np.abs(permuted[name]) >= abs(observed) - 1e-12).sum()
            p = float((1 + n_as_large) / (1 + n_resamples))
        result[name] = {"difference": observed, "low": low, "high": high, "p": p}
    return result


def finding_differences(
    y_true: ArrayLike, a: Sequence[ModelOutput], b: Sequence[ModelOutput], rule: str
) -> list[dict[str, float]]:
    """Compute positives, F1 by ``rule`` and AUROC of both models for each finding, means over runs.

    Returns
    -------
    list of dict
        ``n_positive``, ``f1``, ``f1_baseline``, ``f1_difference``, and the same of ``auroc``.
    """

    def means(runs: Sequence[ModelOutput]) -> tuple[Float, Float]:
        f1 = [
            multilabel.f1_scores(
                y_true, multilabel.apply_thresholds(run.y_prob, run.thresholds[rule])
            )
            for run in runs
        ]
        auroc = [multilabel.auroc_scores(y_true, run.y_prob) for run in runs]
        return np.mean(f1, axis=0), np.mean(auroc, axis=0)

    (f1_a, auroc_a), (f1_b, auroc_b) = means(a), means(b)
    columns = {
        "n_positive": multilabel.labels("y_true", y_true)[0].sum(axis=0),
        "f1": f1_a,
        "f1_baseline": f1_b,
        "f1_difference": f1_a - f1_b,
        "auroc": auroc_a,
        "auroc_baseline": auroc_b,
        "auroc_difference": auroc_a - auroc_b,
    }
    return [{name: column[f].item() for name, column in columns.items()} for f in range(len(f1_a))]


def _curves(
    y_true: ArrayLike, runs: Sequence[ModelOutput], n_resamples: int, seed: int
) -> dict[str, Float]:
    """Compute every score of every run on the fold itself and on each resample, (S, 1 + R)."""
    if not runs:
        raise ValueError("a model without a run: expected at least one")
    each = [
        multilabel.resampled_scores(y_true, run.y_prob, run.thresholds, n_resamples, seed)
        for run in runs
    ]
    return {name: np.stack([curves[name] for curves in each]) for name in each[0]}


def _over_runs(values_SR: Float, seed: int) -> Float:
    """Return the mean over S runs that are drawn with replacement in each resample, (1 + R,)."""
    n_runs, n_columns = values_SR.shape
    draws = np.random.default_rng([seed, n_runs]).integers(n_runs, size=(n_runs, n_columns))
    draws[:, 0] = np.arange(n_runs)
    return np.take_along_axis(values_SR, draws, axis=0).mean(axis=0)


def _permuted(
    y_true: ArrayLike,
    a: Sequence[ModelOutput],
    b: Sequence[ModelOutput],
    n_resamples: int,
    seed: int,
) -> dict[str, Float]:
    """Compute differences of mean scores with records exchanged between the models, (R,) each."""
    y_true, known = multilabel.labels("y_true", y_true)
    n_records, has_label = len(y_true), known.any(axis=1)
    swap_NR = np.random.default_rng(seed).integers(2, size=(n_records, n_resamples)).astype(float)
    enough = y_true.sum(axis=0) >= multilabel.MIN_POSITIVES
    suffix = f"_min{multilabel.MIN_POSITIVES}"
    total: dict[str, Float] = {}

    def add(name: str, difference_R: Float) -> None:
        total[name] = total.get(name, 0) + difference_R / len(a)

    positive_F1 = y_true.sum(axis=0).astype(float)[:, None]
    for one, other in zip(a, b, strict=True):
        for rule in one.thresholds:
            if rule not in other.thresholds:
                continue
            y_pred = [
                multilabel.apply_thresholds(run.y_prob, run.thresholds[rule]) & known
                for run in (one, other)
            ]

            def exchange(per_record: list[NDArray]) -> tuple[Float, Float]:
                # From (N, .) of both models to their sums over records after the exchange, (., R).
                first, second = (x.T.astype(float) for x in per_record)
                moved = (second - first) @ swap_NR
                return first.sum(axis=1, keepdims=True) + moved, (
                    second.sum(axis=1, keepdims=True) - moved
                )

            true_positive = exchange([y_true & pred for pred in y_pred])
            n_predicted = exchange(list(y_pred))
            f1 = [
                multilabel.f1_from_counts(x, n, positive_F1)
                for x, n in zip(true_positive, n_predicted, strict=True)
            ]
            add(f"{rule}/macro_f1", multilabel.mean(f1[0]) - multilabel.mean(f1[1]))
            add(
                f"{rule}/macro_f1{suffix}",
                multilabel.mean(f1[0][enough]) - multilabel.mean(f1[1][enough]),
            )
            micro = [
                multilabel.f1_from_counts(x.sum(axis=0), n.sum(axis=0), positive_F1.sum())
                for x, n in zip(true_positive, n_predicted, strict=True)
            ]
            add(f"{rule}/micro_f1", micro[0] - micro[1])
            f1_N = [multilabel.record_f1(y_true, pred) * has_label for pred in y_pred]
            records = exchange([each[:, None] for each in f1_N])
            add(f"{rule}/samples_f1", (records[0] - records[1])[0] / max(1, has_label.sum()))

        differences = _permuted_areas(y_true, known, one, other, swap_NR)
        for i, name in enumerate(("macro_auroc", "macro_auprc")):
            add(name, multilabel.mean(differences[:, i].T))
            add(name + suffix, multilabel.mean(differences[:, i].T[enough]))
    return total


def _permuted_areas(
    y_true: Bool, known: Bool, one: ModelOutput, other: ModelOutput, swap_NR: Float
) -> Float:
    """Compute the differences of AUROC and average precision with ranks exchanged, (R, 2, F).

    Records whose label is unknown have the same, lowest rank in both models.
    """
    ranks = [rankdata(np.where(known, run.y_prob, -1.0), axis=0) for run in (one, other)]
    n_resamples = swap_NR.shape[1]
    differences = np.empty((n_resamples, 2, y_true.shape[1]))
    for r in range(n_resamples):
        swap = swap_NR[:, r, None] > 0
        first = _areas(y_true, known, np.where(swap, ranks[1], ranks[0]))
        second = _areas(y_true, known, np.where(swap, ranks[0], ranks[1]))
        differences[r] = first - second
    return differences


def _areas(y_true: Bool, known: Bool, score: Float) -> Float:
    """Compute AUROC and average precision of every finding, (2, F); ties as in ``multilabel``.

    The scores of records whose label is unknown are below all others.
    """
    n_records, n_known = len(y_true), known.sum(axis=0)
    order = np.argsort(-score, axis=0)
    sorted_score = np.take_along_axis(score, order, axis=0)
    positive = np.take_along_axis(y_true, order, axis=0)
    true_positive = np.cumsum(positive, axis=0)
    n_positive = true_positive[-1]
    # Records of equal score are one step of the curve: its value is that at their last one.
    position = np.arange(n_records)[:, None]
    is_last = np.ones(score.shape, bool)
    is_last[:-1] = sorted_score[1:] != sorted_score[:-1]
    end = np.where(is_last, position, n_records)
    end = np.minimum.accumulate(end[::-1], axis=0)[::-1]
    precision = np.take_along_axis(true_positive, end, axis=0) / (end + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        average_precision = (precision * positive).sum(axis=0) / n_positive
        # Ranks among the records whose label is known.
        rank_sum = ((rankdata(score, axis=0) - (n_records - n_known)) * y_true).sum(axis=0)
        n_pairs = n_positive * (n_known - n_positive)
        auroc = (rank_sum - n_positive * (n_positive + 1) / 2) / n_pairs
    return np.stack([auroc, average_precision])
