"""Figures of scores: of one fold finding by finding, and of many runs side by side.

Labels (``y_true``) are bool, or float with NaN where unknown; unknown pairs are not drawn.
As in ``ecg_plot``, figures are made without pyplot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

RULES = {
    "fixed_0.5": "every finding is present at a probability of 0.5 or more",
    "f1": "each finding has the threshold with its largest F1 on the tuning fold",
    "prevalence": "each finding has the threshold at which it is present in as many records of the "
    "tuning fold as are labelled with it",
    "global": "one threshold for all findings, the one with the largest macro F1 on the tuning "
    "fold",
    "expected_f1": "the threshold of each finding is half the F1 expected from its calibrated "
    "probabilities, and never below 0.1",
}
RULE_COLOURS = {
    "fixed_0.5": "#7d8590",
    "f1": "#c2410c",
    "prevalence": "#7c3aed",
    "global": "#23856d",
    "expected_f1": "#1f5fa8",
}
INK, MUTED, LINE = "#1f2933", "#6b7785", "#cfd6de"
ACCENT = RULE_COLOURS["expected_f1"]
COLOURS = ("#1f5fa8", "#c2410c", "#23856d", "#7c3aed", "#b45309", "#be185d", "#0e7490", "#4d7c0f")
MARKERS = "osD^vPX*"

Interval = Mapping[str, float]


def plain(ax: Axes) -> None:
    """Draw axes without a frame, with small grey ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LINE)
    ax.tick_params(colors=MUTED, labelsize=8, length=3)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, fontsize=9)


def _small_multiples(n: int, n_columns: int = 8, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    n_columns = max(1, min(n, n_columns))
    n_rows = max(1, math.ceil(n / n_columns))
    figure = Figure(figsize=(1.5 * n_columns + 0.5, 1.55 * n_rows + 0.7), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=sharey)
    for ax in axes.flat[n:]:
        ax.remove()
    for ax in axes.flat[:n]:
        plain(ax)
    return figure, list(axes.flat[:n])


def known_records(y_true: ArrayLike, y_prob: ArrayLike, f: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return labels, probabilities and rows of the records whose label of a finding is known.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    f : int
        Column of the finding.
    """
    labels = np.asarray(y_true)[:, f].astype(float)
    rows = np.flatnonzero(~np.isnan(labels))
    return labels[rows] > 0, np.asarray(y_prob, dtype=float)[rows, f], rows


def _frequent(y_true: ArrayLike, min_positives: int, max_panels: int) -> list[int]:
    n_positive = np.nansum(np.asarray(y_true, dtype=float), axis=0)
    order = np.argsort(-n_positive, kind="stable")
    return [int(f) for f in order if n_positive[f] >= min_positives][:max_panels]


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same figure gives the same bytes."""
    with rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def rules_figure(scores: Mapping[str, float]) -> Figure:
    """Draw F1 by threshold rule, with the intervals in ``scores``."""
    rules = [rule for rule in RULES if f"{rule}/micro_f1" in scores]
    kinds = [
        (key, label)
        for key, label in (
            ("macro_f1_min5", "macro F1, findings with\nat least 5 positives"),
            ("macro_f1", "macro F1, all findings"),
            ("micro_f1", "micro F1"),
            ("samples_f1", "mean F1 of the records"),
        )
        if any(f"{rule}/{key}" in scores for rule in rules)
    ]
    figure = Figure(figsize=(7.2, 0.9 + 0.75 * len(kinds)), layout="constrained")
    ax = figure.subplots()
    for r, rule in enumerate(rules):
        for k, (key, _) in enumerate(kinds):
            value = scores[f"{rule}/{key}"]
            y = k + (r - (len(rules) - 1) / 2) * 0.17
            low = scores.get(f"{rule}/{key}/low", value)
            high = scores.get(f"{rule}/{key}/high", value)
            colour = RULE_COLOURS[rule]
            ax.plot([low, high], [y, y], color=colour, lw=2, alpha=0.55, solid_capstyle="round")
            ax.plot(value, y, "o", color=colour, ms=5, label=rule if k == 0 else None)
    ax.set_yticks(range(len(kinds)), [label for _, label in kinds], color=INK)
    ax.set_ylim(len(kinds) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.grid(axis="x", color=LINE, lw=0.5)
    ax.set_xlabel("F1 (bar: 95 % interval)")
    plain(ax)
    ax.tick_params(axis="y", length=0, labelsize=9, colors=INK)
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure


def f1_figure(
    rows: Sequence[Mapping[str, float]], codes: Sequence[str], rule: str = "expected_f1"
) -> Figure:
    """Draw F1 of each finding with at least one positive, most frequent first, with its count."""
    shown = [f for f in range(len(rows)) if rows[f]["n_positive"] > 0]
    shown.sort(key=lambda f: -rows[f]["n_positive"])
    n_columns = 1 if len(shown) <= 20 else 2 if len(shown) <= 44 else 3
    n_rows = max(1, math.ceil(len(shown) / n_columns))
    figure = Figure(figsize=(12, 0.8 + 0.23 * n_rows), layout="constrained")
    axes = figure.subplots(1, n_columns, squeeze=False, sharex=True)[0]
    for c, ax in enumerate(axes):
        part = shown[c * n_rows : (c + 1) * n_rows]
        for y, f in enumerate(part):
            row = rows[f]
            rare = row["n_positive"] < 5
            ax.barh(y, row[f"{rule}/f1"], height=0.66, color=ACCENT, alpha=0.3 if rare else 0.75)
            if f"{rule}/f1/low" in row:
                interval = row[f"{rule}/f1/low"], row[f"{rule}/f1/high"]
                ax.plot(interval, [y, y], color=INK, lw=1.1, solid_capstyle="butt")
            ax.text(1.02, y, f"{row['n_positive']:,}", va="center", fontsize=7.5, color=MUTED)
        ax.set_yticks(range(len(part)), [codes[f] for f in part])
        ax.set_ylim(n_rows - 0.4, -0.6)
        ax.set_xlim(0, 1)
        ax.grid(axis="x", color=LINE, lw=0.5)
        ax.set_axisbelow(True)
        ax.set_xlabel("F1")
        ax.text(1.02, -0.95, "positives", fontsize=7.5, color=MUTED)
        plain(ax)
        ax.tick_params(axis="y", length=0, labelsize=8, colors=INK)
    return figure


def pr_figure(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    thresholds: ArrayLike | None = None,
    min_positives: int = 5,
    max_panels: int = 48,
) -> Figure:
    """Draw precision-recall curves of the most frequent findings, with the point of the thresholds.

    The dashed line is the finding's prevalence: the precision of a random classifier.
    """
    findings = _frequent(y_true, min_positives, max_panels)
    figure, axes = _small_multiples(len(findings))
    for ax, f in zip(axes, findings, strict=True):
        labels, probability, _ = known_records(y_true, y_prob, f)
        precision, recall, _ = precision_recall_curve(labels, probability)
        area = average_precision_score(labels, probability)
        ax.axhline(labels.mean(), color=MUTED, lw=0.8, ls=(0, (3, 3)))
        ax.fill_between(recall, precision, step="post", color=ACCENT, alpha=0.12, lw=0)
        ax.step(recall, precision, where="post", color=ACCENT, lw=1.2)
        if thresholds is not None:
            positive = probability >= np.asarray(thresholds)[f]
            if positive.any():
                hits = (labels & positive).sum()
                ax.plot(hits / labels.sum(), hits / positive.sum(), "o", color=INK, ms=4.5)
        ax.set_title(
            f"{codes[f]}\nAP {area:.2f}, n {labels.sum():,}", fontsize=8, color=INK, loc="left"
        )
        ax.set(xlim=(0, 1.02), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    figure.supxlabel("recall", fontsize=9, color=INK)
    figure.supylabel("precision", fontsize=9, color=INK)
    return figure


def binned(labels: NDArray, probability: NDArray, edges: NDArray) -> tuple[NDArray, ...]:
    """Return mean probability, frequency, 95 % Wilson interval and count of each non-empty bin.

    Parameters
    ----------
    labels : ndarray of shape (n,), float, 0 or 1
    probability : ndarray of shape (n,)
    edges : ndarray of shape (n_bins + 1,), ascending

    Returns
    -------
    mean, observed, low, high, n : ndarrays of shape (n_non_empty_bins,)
    """
    bins = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    n = np.bincount(bins, minlength=len(edges) - 1)
    mean = np.bincount(bins, probability, len(edges) - 1)[n > 0] / n[n > 0]
    observed = np.bincount(bins, labels, len(edges) - 1)[n > 0] / n[n > 0]
    z, m = 1.96, n[n > 0]
    centre = (observed + z**2 / (2 * m)) / (1 + z**2 / m)
    half = z * np.sqrt(observed * (1 - observed) / m + z**2 / (4 * m**2)) / (1 + z**2 / m)
    return mean, observed, centre - half, centre + half, n


def reliability_figure(y_true: ArrayLike, y_prob: ArrayLike) -> Figure:
    """Draw observed frequency against probability over all record-finding pairs.

    Left: the 15 equal-width bins of the expected calibration error, with the number of pairs in
    each. Right: the same on logarithmic axes, which show the rare findings.
    """
    labels = np.asarray(y_true, dtype=float).ravel()
    known = ~np.isnan(labels)
    labels, probability = labels[known], np.asarray(y_prob, dtype=float).ravel()[known]
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3.2, 1))
    linear, counts = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    logarithmic = figure.add_subplot(grid[:, 1])
    lowest = 1e-4
    edges = np.linspace(0, 1, 16)
    for ax, bins in ((linear, edges), (logarithmic, np.geomspace(lowest, 1, 17))):
        shown = probability >= bins[0]
        mean, observed, low, high, n = binned(labels[shown], probability[shown], bins)
        ax.plot([lowest, 1], [lowest, 1], color=MUTED, lw=0.8, ls=(0, (3, 3)))
        ax.vlines(mean, np.maximum(low, lowest), high, color=ACCENT, lw=1.6, alpha=0.5)
        ax.plot(mean, np.where(observed > 0, observed, np.nan), "o-", color=ACCENT, ms=4.5, lw=1)
        ax.set_ylabel("observed frequency")
        plain(ax)
        if ax is linear:
            counts.bar(edges[:-1], n, width=1 / 15, align="edge", color=ACCENT, alpha=0.5)
    linear.set(xlim=(0, 1), ylim=(0, 1), xticklabels=[])
    counts.set(xlim=(0, 1), yscale="log", xlabel="probability", ylabel="pairs")
    logarithmic.set(xscale="log", yscale="log", xlim=(lowest, 1.2), ylim=(lowest, 1.2))
    logarithmic.set_xlabel("probability (logarithmic)")
    plain(counts)
    plain(logarithmic)
    return figure


def finding_reliability_figure(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    min_positives: int = 5,
    max_panels: int = 24,
) -> Figure:
    """Draw observed frequency against probability for each of the most frequent findings.

    All bins have about the same number of positives instead of the same width, so that rare
    findings have points as well; bars are 95 % Wilson intervals.
    """
    findings = _frequent(y_true, min_positives, max_panels)
    figure, axes = _small_multiples(len(findings))
    for ax, f in zip(axes, findings, strict=True):
        labels, probability, _ = known_records(y_true, y_prob, f)
        n_bins = int(np.clip(labels.sum() // 5, 1, 6))
        inner = np.quantile(probability[labels], np.linspace(0, 1, n_bins + 1)[1:-1])
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
        mean, observed, low, high, _ = binned(labels.astype(float), probability, edges)
        ax.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (3, 3)))
        ax.vlines(mean, low, high, color=ACCENT, lw=1.4, alpha=0.5)
        ax.plot(mean, observed, "o-", color=ACCENT, ms=3.5, lw=1)
        ax.set_title(f"{codes[f]}, n {labels.sum():,}", fontsize=8, color=INK, loc="left")
        ax.set(xlim=(0, 1), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    figure.supxlabel("probability", fontsize=9, color=INK)
    figure.supylabel("observed frequency", fontsize=9, color=INK)
    return figure


def decision_figure(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    min_positives: int = 5,
    max_panels: int = 24,
) -> Figure:
    """Draw decision curves: net benefit of acting on the model, on all records and on none.

    Notes
    -----
    Net benefit in true positives per hundred records: true positives minus false positives, the
    latter weighted by the odds of the threshold probability. Vickers and Elkin 2006
    (doi:10.1177/0272989X06295361). Acting on none is 0.
    """
    findings = _frequent(y_true, min_positives, max_panels)
    # Each finding has its own scale: its net benefit is bounded by its prevalence.
    figure, axes = _small_multiples(len(findings), n_columns=6, sharey=False)
    for ax, f in zip(axes, findings, strict=True):
        labels, probability, _ = known_records(y_true, y_prob, f)
        threshold = np.linspace(0.01, 0.9, 90)
        odds = threshold / (1 - threshold)
        positive = probability[:, None] >= threshold
        right, wrong = (labels[:, None] & positive).mean(0), (~labels[:, None] & positive).mean(0)
        model, everyone = right - wrong * odds, labels.mean() - (1 - labels.mean()) * odds
        ax.axhline(0, color=LINE, lw=1)
        ax.plot(threshold, 100 * everyone, color=MUTED, lw=1, ls=(0, (3, 3)), label="act on all")
        ax.plot(threshold, 100 * model, color=ACCENT, lw=1.3, label="act on the model")
        top = 100 * labels.mean()
        ax.set(xlim=(0, 0.9), ylim=(-0.2 * top, 1.05 * top), xticks=(0, 0.4, 0.8))
        ax.set_title(f"{codes[f]}, n {labels.sum():,}", fontsize=8, color=INK, loc="left")
    figure.supxlabel("threshold probability", fontsize=9, color=INK)
    figure.supylabel("net benefit per hundred records", fontsize=9, color=INK)
    return figure


def threshold_figure(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    thresholds: Mapping[str, ArrayLike],
    min_positives: int = 5,
    max_panels: int = 24,
) -> Figure:
    """Draw F1 against threshold on the tuning fold, with the threshold of each rule.

    Parameters
    ----------
    y_true, y_prob : arrays of shape (n_records, n_findings)
        Of the tuning fold, where the thresholds come from.
    codes : sequence of str
    thresholds : mapping of rule -> array of shape (n_findings,)
    min_positives, max_panels : int
        Which findings are drawn: the most frequent ones.
    """
    findings = _frequent(y_true, min_positives, max_panels)
    figure, axes = _small_multiples(len(findings))
    for ax, f in zip(axes, findings, strict=True):
        labels, probability, _ = known_records(y_true, y_prob, f)
        order = np.argsort(-probability, kind="stable")
        score, hits = probability[order], np.cumsum(labels[order])
        f1 = 2 * hits / (np.arange(1, len(score) + 1) + labels.sum())
        last = np.append(score[:-1] > score[1:], True)
        # Between two scores the same records are predicted positive.
        ax.step(np.append(score[last], 0), np.append(f1[last], f1[-1]), color=MUTED, lw=1.1)
        for rule, values in thresholds.items():
            threshold = np.asarray(values)[f]
            positive = probability >= threshold
            at = 2 * (labels & positive).sum() / (labels.sum() + positive.sum())
            ax.plot(threshold, at, "o", color=RULE_COLOURS[rule], ms=5, label=rule, mec="white")
        ax.set_title(f"{codes[f]}, n {labels.sum():,}", fontsize=8, color=INK, loc="left")
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.set(xlim=(0, 1), ylim=(0, 1.04), yticks=(0, 0.5, 1))
        ax.set_xticks((0.01, 0.1, 0.3, 0.6, 1), ("", ".1", ".3", ".6", "1"))
    figure.supxlabel("threshold (square-root axis)", fontsize=9, color=INK)
    figure.supylabel("F1 on the tuning fold", fontsize=9, color=INK)
    if axes:
        handles, rules = axes[0].get_legend_handles_labels()
        figure.legend(handles, rules, loc="outside upper right", ncols=4, frameon=False, fontsize=8)
    return figure


def forest_figure(rows: Mapping[str, Interval], label: str, baseline: str = "") -> Figure:
    """Draw each row's score with its interval, best on top.

    Parameters
    ----------
    rows : mapping of name to mapping
        ``mean``, ``low``, ``high``.
    label : str
        Of the axis.
    baseline : str
        The row that the others are compared with; a line goes through its mean.

    Returns
    -------
    Figure
    """
    names = sorted(rows, key=lambda name: rows[name]["mean"])
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    if baseline in rows:
        axes.axvline(rows[baseline]["mean"], color=LINE, lw=1, zorder=0)
    for y, name in enumerate(names):
        row, colour = rows[name], ACCENT if name == baseline else INK
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
        axes.plot(row["mean"], y, "o", color=colour, ms=5)
        axes.annotate(
            f"{row['mean']:.3f}", (row["mean"], y), (0, 4), textcoords="offset points",
            ha="center", fontsize=7, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel(label)
    plain(axes)
    return figure


def curve_figure(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, Interval]]]],
    label: str,
) -> Figure:
    """Draw scores along a setting, one panel per score, one line per recipe.

    Parameters
    ----------
    panels : mapping of score to mapping of recipe to points
        A point is (value of the setting, ``mean`` with or without ``low`` and ``high``).
    label : str
        The setting, with its unit.

    Returns
    -------
    Figure
    """
    n_rows = 1 if len(panels) <= 3 else 2
    n_columns = math.ceil(len(panels) / n_rows)
    figure = Figure(figsize=(3.7 * n_columns, 2.9 * n_rows + 0.4), layout="constrained")
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    places = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    for axes, (score, lines) in zip(places, panels.items(), strict=False):
        for name, points in lines.items():
            i = names.index(name)
            x, values = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(
                x, [v["mean"] for v in values], marker=MARKERS[i % len(MARKERS)], ms=4,
                lw=1.4, color=colour, label=name,
            )  # fmt: skip
            if all("low" in value for value in values):
                low, high = ([value[end] for value in values] for end in ("low", "high"))
                axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
        if all(x > 0 for points in lines.values() for x, _ in points):
            axes.set_xscale("log", base=2)
            ticks = sorted({x for points in lines.values() for x, _ in points})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(label)
        axes.set_title(score, fontsize=9, loc="left", color=INK)
        plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=max(1, min(6, len(labels))),
        fontsize=8, frameon=False,
    )  # fmt: skip
    return figure
