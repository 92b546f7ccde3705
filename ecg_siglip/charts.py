"""Figures of many runs: recipes beside each other, a score along a knob.

As in ``plots``, every figure is a ``matplotlib.figure.Figure`` of its own: no pyplot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT = "#1f2933", "#6b7785", "#cfd6de", "#1f5fa8"
COLOURS = ("#1f5fa8", "#c2410c", "#23856d", "#7c3aed", "#b45309", "#be185d", "#0e7490", "#4d7c0f")
MARKERS = "osD^vPX*"

Interval = Mapping[str, float]


def forest_figure(rows: Mapping[str, Interval], label: str, baseline: str = "") -> Figure:
    """Each row's score with its interval, best on top.

    Parameters
    ----------
    rows : mapping of name to mapping
        ``mean``, ``low``, ``high``.
    label : str
        Of the axis.
    baseline : str
        The row that the others are held against; a line goes through its mean.

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
    _plain(axes)
    return figure


def curve_figure(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, Interval]]]],
    label: str,
    log: bool = True,
) -> Figure:
    """Scores along a knob, a panel a score, a line a recipe.

    Parameters
    ----------
    panels : mapping of score to mapping of recipe to points
        A point is (value of the knob, ``mean`` with or without ``low`` and ``high``).
    label : str
        The knob, with its unit.
    log : bool
        Powers of two on the axis.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(3.7 * len(panels), 3.4), layout="constrained")
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for axes, (score, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
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
        if log:
            axes.set_xscale("log", base=2)
            ticks = sorted({x for points in lines.values() for x, _ in points})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(label)
        axes.set_title(score, fontsize=9, loc="left", color=INK)
        _plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=max(1, min(6, len(labels))),
        fontsize=8, frameon=False,
    )  # fmt: skip
    return figure


def decision_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], threshold: Sequence[float]
) -> Figure:
    """Decision curves: net benefit of acting on the model against acting on all or on none.

    Parameters
    ----------
    curves : mapping of finding to (net benefit of the model, net benefit of treating all)
        One value a threshold.
    threshold : sequence of float in (0, 1)
        Probability from which one would act.

    Returns
    -------
    Figure

    Notes
    -----
    Vickers and Elkin 2006 (doi:10.1177/0272989X06295361). Acting on none has net benefit 0.
    """
    n_columns = min(4, max(1, len(curves)))
    n_rows = int(np.ceil(len(curves) / n_columns))
    figure = Figure(figsize=(2.4 * n_columns, 1.9 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, (model, everyone)) in zip(grid, curves.items(), strict=False):
        axes.plot(threshold, everyone, color=MUTED, lw=1, ls="--", label="act on all")
        axes.axhline(0, color=LINE, lw=1, label="act on none")
        axes.plot(threshold, model, color=ACCENT, lw=1.5, label="act on the model")
        top = max(float(np.max(model)), 1e-3)
        axes.set_ylim(-0.25 * top, 1.15 * top)
        axes.set_title(name, fontsize=8, loc="left", color=INK)
        _plain(axes)
    for axes in grid[len(curves) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.supxlabel("probability from which one would act", fontsize=8)
    figure.supylabel("net benefit", fontsize=8)
    return figure


def _plain(axes: object) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]
    axes.tick_params(labelsize=8, color=LINE)  # type: ignore[attr-defined]
