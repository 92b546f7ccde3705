"""12-lead ECG paper, per-finding curves, and the HTML report of a fold.

Every figure is a ``matplotlib.figure.Figure`` of its own: no pyplot, no state shared between
calls, no display needed.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
MM_PER_S = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4

RULES = {
    "fixed_0.5": "every finding is called at a probability of 0.5 or more",
    "f1": "each finding has the threshold with its largest F1 on the tuning fold",
    "prevalence": "each finding has the threshold that calls as many records of the tuning fold "
    "as truly have it",
    "global": "one threshold for all findings, the one with the largest macro F1 on the tuning "
    "fold",
    "expected_f1": "each finding is called from half the F1 that its calibrated probabilities lead "
    "one to expect, and never below a probability of 0.1",
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
PAPER, FINE, COARSE = "#fffaf8", "#f8d9d4", "#eba79e"
TRACE = "#111418"


# ------------------------------------------------------------------------------- the ECG itself


def ecg_figure(
    signal: ArrayLike, fs: float, title: str = "", lines: Sequence[str] | None = None
) -> Figure:
    """A 12-lead ECG on paper, at 25 mm/s and 10 mm/mV when printed at its own size.

    Parameters
    ----------
    signal : array of shape (12, n_samples), mV
        Leads in the order I, II, III, aVR, aVL, aVF, V1 to V6.
    fs : float, Hz
    title : str
        Bold, above the paper.
    lines : sequence of str, optional
        Set below the title.

    Returns
    -------
    Figure
        One axes that fills it, in millimetres.

    Raises
    ------
    ValueError
        If the signal has another shape, NaN or infinite samples, or ``fs`` is not above 0.

    Notes
    -----
    The standard layout: four columns of 2.5 s, one after the other in time, above lead II in full.
    Each lead is centred on its median, where the isoelectric line is about. Of a longer signal the
    first 10 s are drawn; the columns of a shorter one are a quarter of it. Rows stand far enough
    apart for their traces, up to 45 mm.
    """
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != 12 or signal.shape[1] < 4:
        raise ValueError(f"signal: expected shape (12, n_samples), got {signal.shape}")
    if not np.isfinite(signal).all():
        bad = LEADS[int(np.argwhere(~np.isfinite(signal))[0, 0])]
        raise ValueError(f"signal: expected finite values in mV, got NaN or infinity in lead {bad}")
    if not fs > 0:
        raise ValueError(f"fs: expected a sampling rate above 0 Hz, got {fs}")

    whole_s = signal.shape[1] / fs
    signal = signal[:, : round(10 * fs)]
    n_samples = signal.shape[1]
    height = MM_PER_MV * (signal - np.median(signal, axis=1, keepdims=True))
    ends = np.linspace(0, n_samples, 5).round().astype(int)
    # (lead, first sample, last sample) of each trace, row by row; a trace ends on the sample that
    # the next one starts from, so that no time is lost between them.
    rows = [
        [(lead, ends[c], min(ends[c + 1] + 1, n_samples)) for c, lead in enumerate(row)]
        for row in LAYOUT
    ]
    rows.append([("II", 0, n_samples)])

    margin, pulse_width, header = 5.0, 10.0, 8.0 + 5.0 * len(lines or ()) if title or lines else 0.0
    pulse_height = MM_PER_MV * 1.0
    width_s = math.ceil(n_samples / fs * MM_PER_S / 5) * 5
    width = 2 * margin + pulse_width + 5 + width_s
    spacing = _row_spacing(rows, height, pulse_height)
    paper_height = 5 * math.ceil(sum(spacing) / 5)
    footer = 7.0
    figure = Figure(figsize=_inches(width, header + paper_height + footer + margin))
    figure.set_facecolor("white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(0, header + paper_height + footer + margin)
    ax.axis("off")

    left, bottom, right, top = margin, footer, width - margin, footer + paper_height
    ax.fill([left, right, right, left], [bottom, bottom, top, top], color=PAPER, zorder=0, lw=0)
    for step, colour, line_width in ((1, FINE, 0.35), (5, COARSE, 0.6)):
        x = np.arange(left, right + 0.5, step)
        y = np.arange(bottom, top + 0.5, step)
        grid = [[(v, bottom), (v, top)] for v in x] + [[(left, v), (right, v)] for v in y]
        ax.add_collection(LineCollection(grid, colors=colour, linewidths=line_width, zorder=1))

    start = left + pulse_width
    baseline = top
    for row, gap in zip(rows, spacing[:-1], strict=True):
        baseline -= gap
        pulse = left + np.array([1.5, 2.5, 2.5, 7.5, 7.5, 8.5])
        step_up = baseline + pulse_height * np.array([0, 0, 1, 1, 0, 0])
        ax.plot(pulse, step_up, color=TRACE, lw=0.9, zorder=3, solid_joinstyle="miter")
        for lead, first, last in row:
            x = start + np.arange(first, last) / fs * MM_PER_S
            y = baseline + height[LEADS.index(lead), first:last]
            trace: dict[str, Any] = {"color": TRACE, "zorder": 3, "solid_joinstyle": "round"}
            ax.plot(x, y, lw=0.9, gid=f"lead-{lead}", **trace)
            if first:
                ax.plot([x[0]] * 2, [baseline - 4, baseline + 4], lw=0.5, **trace)
            ax.text(
                x[0] + 1,
                baseline + 6.5,
                lead,
                fontsize=9,
                fontweight="bold",
                color=INK,
                zorder=4,
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            )
    note = f"25 mm/s    10 mm/mV    {fs:g} Hz"
    if whole_s > n_samples / fs:
        note += f"    first 10 s of {whole_s:g} s"
    ax.text(left, 2.5, note, fontsize=8, color=MUTED)
    ax.text(right, 2.5, "Research use only, not for diagnosis", fontsize=8, color=MUTED, ha="right")
    line_y = top + header - 4
    if title:
        ax.text(left, line_y, title, fontsize=12, fontweight="bold", color=INK)
    for i, line in enumerate(lines or ()):
        ax.text(left, line_y - 5.0 * (i + bool(title)), line, fontsize=9, color=INK)
    return figure


def _row_spacing(rows: list, height: NDArray, pulse_height: float) -> list[float]:
    """Distance in mm from the paper's top to the first row, between rows, and to its bottom."""

    def extent(row: list) -> tuple[NDArray, NDArray]:
        up, down = np.zeros(4), np.zeros(4)
        for c in range(4):
            lead, first, last = row[c] if len(row) == 4 else row[0]
            n = (last - first) // 4 if len(row) == 1 else last - first
            begin = first + c * n if len(row) == 1 else first
            trace = height[LEADS.index(lead), begin : begin + max(n, 1)]
            up[c], down[c] = max(trace.max(), 0), max(-trace.min(), 0)
        up[0] = max(up[0], pulse_height)
        return up, down

    ups, downs = zip(*(extent(row) for row in rows), strict=True)
    gaps = [ups[0].max() + 3]
    gaps += [(downs[i] + ups[i + 1]).max() + 2 for i in range(len(rows) - 1)]
    gaps.append(downs[-1].max() + 3)
    low = [15.0] + [20.0] * (len(rows) - 1) + [10.0]
    # Whole millimetres of 5, so that each baseline lies on a grid line.
    return [
        float(np.clip(5 * math.ceil(gap / 5), least, 45))
        for gap, least in zip(gaps, low, strict=True)
    ]


def _inches(width_mm: float, height_mm: float) -> tuple[float, float]:
    return width_mm / MM_PER_INCH, height_mm / MM_PER_INCH


# ------------------------------------------------------------------------------- figures of a fold


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LINE)
    ax.tick_params(colors=MUTED, labelsize=8, length=3)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, fontsize=9)


def _small_multiples(n: int, n_columns: int = 8) -> tuple[Figure, list[Axes]]:
    n_columns = max(1, min(n, n_columns))
    n_rows = max(1, math.ceil(n / n_columns))
    figure = Figure(figsize=(1.5 * n_columns + 0.5, 1.55 * n_rows + 0.7), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[n:]:
        ax.remove()
    for ax in axes.flat[:n]:
        _plain(ax)
    return figure, list(axes.flat[:n])


def _frequent(y_true: NDArray, min_positives: int, max_panels: int) -> list[int]:
    n_positive = y_true.sum(axis=0)
    order = np.argsort(-n_positive, kind="stable")
    return [int(f) for f in order if n_positive[f] >= min_positives][:max_panels]


def rules_figure(scores: Mapping[str, float]) -> Figure:
    """F1 by threshold rule, with the intervals that ``scores`` holds."""
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
    _plain(ax)
    ax.tick_params(axis="y", length=0, labelsize=9, colors=INK)
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure


def f1_figure(
    rows: Sequence[Mapping[str, float]], codes: Sequence[str], rule: str = "expected_f1"
) -> Figure:
    """F1 of each finding that has a positive, most frequent first, with its count."""
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
        _plain(ax)
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
    """Precision-recall curves of the most frequent findings, with the point the thresholds chose.

    The dashed line is the finding's prevalence: the precision of a guess.
    """
    y_true, y_prob = np.asarray(y_true, dtype=bool), np.asarray(y_prob, dtype=float)
    findings = _frequent(y_true, min_positives, max_panels)
    figure, axes = _small_multiples(len(findings))
    for ax, f in zip(axes, findings, strict=True):
        truth, probability = y_true[:, f], y_prob[:, f]
        precision, recall, _ = precision_recall_curve(truth, probability)
        area = average_precision_score(truth, probability)
        ax.axhline(truth.mean(), color=MUTED, lw=0.8, ls=(0, (3, 3)))
        ax.fill_between(recall, precision, step="post", color=ACCENT, alpha=0.12, lw=0)
        ax.step(recall, precision, where="post", color=ACCENT, lw=1.2)
        if thresholds is not None:
            called = probability >= np.asarray(thresholds)[f]
            if called.any():
                hits = (truth & called).sum()
                ax.plot(hits / truth.sum(), hits / called.sum(), "o", color=INK, ms=4.5)
        ax.set_title(
            f"{codes[f]}\nAP {area:.2f}, n {truth.sum():,}", fontsize=8, color=INK, loc="left"
        )
        ax.set(xlim=(0, 1.02), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    figure.supxlabel("recall", fontsize=9, color=INK)
    figure.supylabel("precision", fontsize=9, color=INK)
    return figure


def _binned(truth: NDArray, probability: NDArray, edges: NDArray) -> tuple[NDArray, ...]:
    """Mean probability, frequency, 95 % Wilson interval and count of each bin that is not empty."""
    bins = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    n = np.bincount(bins, minlength=len(edges) - 1)
    said = np.bincount(bins, probability, len(edges) - 1)[n > 0] / n[n > 0]
    found = np.bincount(bins, truth, len(edges) - 1)[n > 0] / n[n > 0]
    z, m = 1.96, n[n > 0]
    centre = (found + z**2 / (2 * m)) / (1 + z**2 / m)
    half = z * np.sqrt(found * (1 - found) / m + z**2 / (4 * m**2)) / (1 + z**2 / m)
    return said, found, centre - half, centre + half, n


def reliability_figure(y_true: ArrayLike, y_prob: ArrayLike) -> Figure:
    """Observed frequency against probability over all record-finding pairs.

    Left the 15 equal-width bins of the expected calibration error, with how many pairs each holds;
    right the same on logarithmic axes, where the rare findings live.
    """
    truth = np.asarray(y_true, dtype=float).ravel()
    probability = np.asarray(y_prob, dtype=float).ravel()
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3.2, 1))
    linear, counts = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    logarithmic = figure.add_subplot(grid[:, 1])
    lowest = 1e-4
    edges = np.linspace(0, 1, 16)
    for ax, bins in ((linear, edges), (logarithmic, np.geomspace(lowest, 1, 17))):
        shown = probability >= bins[0]
        said, found, low, high, n = _binned(truth[shown], probability[shown], bins)
        ax.plot([lowest, 1], [lowest, 1], color=MUTED, lw=0.8, ls=(0, (3, 3)))
        ax.vlines(said, np.maximum(low, lowest), high, color=ACCENT, lw=1.6, alpha=0.5)
        ax.plot(said, np.where(found > 0, found, np.nan), "o-", color=ACCENT, ms=4.5, lw=1)
        ax.set_ylabel("observed frequency")
        _plain(ax)
        if ax is linear:
            counts.bar(edges[:-1], n, width=1 / 15, align="edge", color=ACCENT, alpha=0.5)
    linear.set(xlim=(0, 1), ylim=(0, 1), xticklabels=[])
    counts.set(xlim=(0, 1), yscale="log", xlabel="probability", ylabel="pairs")
    logarithmic.set(xscale="log", yscale="log", xlim=(lowest, 1.2), ylim=(lowest, 1.2))
    logarithmic.set_xlabel("probability (logarithmic)")
    _plain(counts)
    _plain(logarithmic)
    return figure


def threshold_figure(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    thresholds: Mapping[str, ArrayLike],
    min_positives: int = 5,
    max_panels: int = 24,
) -> Figure:
    """F1 against threshold on the tuning fold, with the threshold that each rule chose.

    Parameters
    ----------
    y_true, y_prob : arrays of shape (n_records, n_findings)
        Of the tuning fold, where the thresholds come from.
    codes : sequence of str
    thresholds : mapping of rule -> array of shape (n_findings,)
    min_positives, max_panels : int
        Which findings are drawn: the most frequent ones.
    """
    y_true, y_prob = np.asarray(y_true, dtype=bool), np.asarray(y_prob, dtype=float)
    findings = _frequent(y_true, min_positives, max_panels)
    figure, axes = _small_multiples(len(findings))
    for ax, f in zip(axes, findings, strict=True):
        truth, probability = y_true[:, f], y_prob[:, f]
        order = np.argsort(-probability, kind="stable")
        score, hits = probability[order], np.cumsum(truth[order])
        f1 = 2 * hits / (np.arange(1, len(score) + 1) + truth.sum())
        last = np.append(score[:-1] > score[1:], True)
        # Down to the next score the same records are called.
        ax.step(np.append(score[last], 0), np.append(f1[last], f1[-1]), color=MUTED, lw=1.1)
        for rule, values in thresholds.items():
            threshold = np.asarray(values)[f]
            called = probability >= threshold
            at = 2 * (truth & called).sum() / (truth.sum() + called.sum())
            ax.plot(threshold, at, "o", color=RULE_COLOURS[rule], ms=5, label=rule, mec="white")
        ax.set_title(f"{codes[f]}, n {truth.sum():,}", fontsize=8, color=INK, loc="left")
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.set(xlim=(0, 1), ylim=(0, 1.04), yticks=(0, 0.5, 1))
        ax.set_xticks((0.01, 0.1, 0.3, 0.6, 1), ("", ".1", ".3", ".6", "1"))
    figure.supxlabel("threshold (square-root axis)", fontsize=9, color=INK)
    figure.supylabel("F1 on the tuning fold", fontsize=9, color=INK)
    if axes:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper right", ncols=4, frameon=False, fontsize=8
        )
    return figure


# ------------------------------------------------------------------------------- the report


def _inline(figure: Figure, kind: str, alt: str) -> dict[str, str]:
    """A figure as an image inside the page: svg keeps its size in mm, png is small for charts."""
    buffer = io.BytesIO()
    if kind == "svg":
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    else:
        figure.savefig(buffer, format="png", dpi=150, transparent=True)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return {
        "source": f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "alt": alt,
        "width": f"{figure.get_figwidth():.3f}in",
    }


def _number(value: float | None, digits: int = 3) -> str:
    """A number for a reader; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if value and abs(value) < 10**-digits:
        return f"{value:.1g}"
    return f"{value:.{digits}f}"


def _headline(scores: Mapping[str, float], rule: str) -> list[dict[str, str]]:
    cards = (
        (f"{rule}/macro_f1_min5", "Macro F1", "findings with at least 5 positives"),
        (f"{rule}/micro_f1", "Micro F1", "all record-finding pairs"),
        (f"{rule}/samples_f1", "F1 of a record", "mean over the records"),
        ("macro_auroc_min5", "Macro AUROC", "findings with at least 5 positives"),
        ("macro_auprc_min5", "Macro AUPRC", "findings with at least 5 positives"),
        ("ece", "Calibration error", "15 equal-width bins; lower is better"),
    )
    return [
        {
            "label": label,
            "what": what,
            "value": _number(scores[key]),
            "low": _number(scores.get(f"{key}/low")),
            "high": _number(scores.get(f"{key}/high")),
        }
        for key, label, what in cards
        if key in scores
    ]


def _answers(case: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, str]]:
    """What is present or called in a record, the missed first."""
    true, called = set(case["true"]), set(case["findings"])
    verdicts = {"missed": true - called, "false alarm": called - true, "right": true & called}
    probability = case["probabilities"]
    return [
        {
            "verdict": verdict,
            "code": code,
            "name": names.get(code, code),
            "probability": _number(probability.get(code)),
        }
        for verdict, group in verdicts.items()
        for code in sorted(group, key=lambda code: -probability.get(code, 0.0))
    ]


def report(
    path: str | Path,
    *,
    title: str,
    scores: Mapping[str, float],
    rows: Sequence[Mapping[str, float]],
    codes: Sequence[str],
    names: Sequence[str],
    y_true: ArrayLike,
    y_prob: ArrayLike,
    thresholds: Mapping[str, ArrayLike],
    tune: tuple[ArrayLike, ArrayLike],
    worst: Sequence[Mapping[str, Any]],
    context: Mapping[str, str],
    rule: str = "expected_f1",
) -> None:
    """Write the report of a fold: one HTML file with everything in it.

    Parameters
    ----------
    path : path of the file
        Appears whole or not at all.
    title : str
    scores : mapping of str -> float
        What ``metrics.scores`` returns.
    rows : sequence of mapping
        What ``metrics.per_finding`` returns, one row a finding.
    codes, names : sequences of str
        Of the findings, in the order of the columns.
    y_true, y_prob : arrays of shape (n_records, n_findings)
        Of the fold reported on.
    thresholds : mapping of rule -> array of shape (n_findings,)
    tune : (y_true, y_prob) of the tuning fold
        Only drawn, to show where the thresholds come from.
    worst : sequence of mapping
        Records called worst: ``record`` (name), ``signal`` (12, n_samples) in mV, ``fs`` in Hz,
        ``probabilities`` (code -> float), ``findings`` (codes called), ``true`` (codes present),
        ``why`` (a sentence).
    context : mapping of str -> str
        What a reader must know: run, data, fold, model, commit.
    rule : str
        Threshold rule of the headline.

    Raises
    ------
    ValueError
        If rows, codes, names and columns are not equally many, or the rule has no thresholds.
    OSError
        If the file cannot be written.
    """
    y_true, y_prob = np.asarray(y_true, dtype=bool), np.asarray(y_prob, dtype=float)
    sizes = {len(rows), len(codes), len(names), y_true.shape[1], y_prob.shape[1]}
    if len(sizes) > 1:
        raise ValueError(
            f"expected one row, code, name and column a finding, got {len(rows)} rows, "
            f"{len(codes)} codes, {len(names)} names, {y_true.shape[1]} and {y_prob.shape[1]} "
            "columns"
        )
    if rule not in thresholds:
        raise ValueError(f"threshold rule {rule}: expected one of {', '.join(thresholds)}")
    name_of = dict(zip(codes, names, strict=True))
    figures = {
        "rules": _inline(rules_figure(scores), "png", "F1 by threshold rule"),
        "f1": _inline(f1_figure(rows, codes, rule), "png", "F1 of each finding"),
        "pr": _inline(
            pr_figure(y_true, y_prob, codes, thresholds[rule]), "png", "Precision-recall curves"
        ),
        "reliability": _inline(reliability_figure(y_true, y_prob), "png", "Reliability diagram"),
        "thresholds": _inline(
            threshold_figure(*tune, codes, thresholds), "png", "F1 against threshold"
        ),
    }
    cases = [
        {
            "record": case["record"],
            "why": case["why"],
            "answers": _answers(case, name_of),
            "figure": _inline(
                ecg_figure(case["signal"], case["fs"], title=f"Record {case['record']}"),
                "svg",
                f"12-lead ECG of record {case['record']}",
            ),
        }
        for case in worst
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    page = environment.get_template("report.html.j2").render(
        title=title,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=_headline(scores, rule),
        scores=scores,
        rows=[
            {"code": code, "name": name, **row}
            for code, name, row in zip(codes, names, rows, strict=True)
        ],
        rules={r: RULES[r] for r in RULES if r in thresholds},
        rule=rule,
        figures=figures,
        cases=cases,
        context=context,
    )
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
