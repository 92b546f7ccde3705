"""A 12-lead ECG on its paper.

Every figure is a ``matplotlib.figure.Figure`` of its own: no pyplot, no state shared between
calls, no display needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ecg_siglip.signals.leads import LEADS

LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
MM_PER_S = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4

INK, MUTED = "#1f2933", "#6b7785"
PAPER, FINE, COARSE = "#fffaf8", "#f8d9d4", "#eba79e"
TRACE = "#111418"
MARK = (0.13, 0.45, 0.85)  # blue stands out from red paper, for the colour-blind as well


# ------------------------------------------------------------------------------- the ECG itself


def ecg_figure(
    signal: ArrayLike,
    fs: float,
    title: str = "",
    lines: Sequence[str] | None = None,
    marked: ArrayLike | None = None,
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
    marked : array of shape (12, n_samples), 0 to 1, optional
        How strongly each sample is marked behind its trace, as by ``attribution.attribute``.

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
    marks = np.zeros(signal.shape) if marked is None else np.asarray(marked, dtype=np.float64)
    if marks.shape != signal.shape or not ((marks >= 0) & (marks <= 1)).all():
        raise ValueError(f"marked: expected numbers from 0 to 1 of shape {signal.shape}")

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
            strength = marks[LEADS.index(lead), first:last]
            if strength.any():
                points = np.stack([x, y], axis=1)
                band = LineCollection(
                    list(np.stack([points[:-1], points[1:]], axis=1)),
                    colors=[(*MARK, alpha) for alpha in np.maximum(strength[:-1], strength[1:])],
                    linewidths=7,
                    zorder=2,
                    gid=f"marked-{lead}",
                )
                ax.add_collection(band)
            trace: dict[str, Any] = {"color": TRACE, "zorder": 3, "solid_joinstyle": "round"}
            # A line at zero would be read as a heart that stands still.
            recorded = bool(signal[LEADS.index(lead)].any())
            if recorded:
                ax.plot(x, y, lw=0.9, gid=f"lead-{lead}", **trace)
            if first:
                ax.plot([x[0]] * 2, [baseline - 4, baseline + 4], lw=0.5, **trace)
            ax.text(
                x[0] + 1,
                baseline + 6.5,
                lead if recorded else f"{lead}: no signal",
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
        ax.text(left, line_y, title, fontsize=12, fontweight="bold", color=INK, parse_math=False)
    for i, line in enumerate(lines or ()):
        below = 5.0 * (i + bool(title))
        ax.text(left, line_y - below, line, fontsize=9, color=INK, parse_math=False)
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
