"""Figure of a 12-lead ECG on ECG paper.

Every figure is a ``matplotlib.figure.Figure`` of its own: no pyplot, no state shared between
calls, no display needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ecg_siglip.signals.leads import LEADS

LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
MM_PER_S = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
MARGIN, FOOTER = 5.0, 7.0  # mm
PULSE_WIDTH, PULSE_HEIGHT = 10.0, MM_PER_MV * 1.0  # of the calibration pulse with its space, mm
Trace = tuple[str, int, int]  # lead, first sample, last sample

INK, MUTED = "#1f2933", "#6b7785"
PAPER, FINE, COARSE = "#fffaf8", "#f8d9d4", "#eba79e"
TRACE = "#111418"
TRACE_STYLE: dict[str, Any] = {"color": TRACE, "zorder": 3, "solid_joinstyle": "round"}
MARK = (0.13, 0.45, 0.85)  # blue stands out from red paper, for the colour-blind as well


def ecg_figure(
    signal: ArrayLike,
    fs: float,
    title: str = "",
    lines: Sequence[str] | None = None,
    marked: ArrayLike | None = None,
) -> Figure:
    """Draw a 12-lead ECG on paper, at 25 mm/s and 10 mm/mV when printed at its own size.

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
        Strength of the mark behind each sample, as from ``record_report.mark_strength``.

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
    Each lead is centred on its median, which is close to the isoelectric line. Of a longer signal
    the first 10 s are drawn. If the signal is shorter, each column is a quarter of its length. The
    distance between rows depends on their traces, up to 45 mm.
    """
    whole, marks = _checked(signal, fs, marked)
    whole_s = whole.shape[1] / fs
    ecg = whole[:, : round(10 * fs)]
    n_samples = ecg.shape[1]
    height = MM_PER_MV * (ecg - np.median(ecg, axis=1, keepdims=True))
    rows = _rows(n_samples)
    spacing = _row_spacing(rows, height)
    header = 8.0 + 5.0 * len(lines or ()) if title or lines else 0.0
    figure, ax, paper = draw_paper(math.ceil(n_samples / fs * MM_PER_S / 5) * 5, spacing, header)
    baseline = paper.top
    for row, gap in zip(rows, spacing[:-1], strict=True):
        baseline -= gap
        draw_pulse(ax, paper.left, baseline)
        for lead, first, last in row:
            i = LEADS.index(lead)
            x = paper.left + PULSE_WIDTH + np.arange(first, last) / fs * MM_PER_S
            y = baseline + height[i, first:last]
            _draw_marks(ax, lead, x, y, marks[i, first:last])
            _draw_trace(ax, lead, x, y, baseline, is_recorded=bool(ecg[i].any()))
            if first:
                separator = [baseline - 4, baseline + 4]
                ax.plot([x[0]] * 2, separator, lw=0.5, **TRACE_STYLE)
    note = f"25 mm/s    10 mm/mV    {fs:g} Hz"
    if whole_s > n_samples / fs:
        note += f"    first 10 s of {whole_s:g} s"
    _draw_text(ax, paper, header, title, lines or (), note)
    return figure


class _Paper(NamedTuple):
    """Edges of the paper on the page, mm."""

    left: float
    bottom: float
    right: float
    top: float


def _checked(
    signal: ArrayLike, fs: float, marked: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return signal and marks as arrays of one shape, or raise."""
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
    return signal, marks


def _rows(n_samples: int) -> list[list[Trace]]:
    """Return lead, first and last sample of each trace, row by row.

    A trace ends on the sample at which the next one starts: no time is missing between them.
    """
    ends = np.linspace(0, n_samples, 5).round().astype(int)
    rows: list[list[Trace]] = [
        [(lead, ends[c], min(ends[c + 1] + 1, n_samples)) for c, lead in enumerate(row)]
        for row in LAYOUT
    ]
    return [*rows, [("II", 0, n_samples)]]


def draw_paper(width_mm: float, spacing: list[float], header: float) -> tuple[Figure, Axes, _Paper]:
    """Draw the paper with its grid; axes in millimetres fill the figure."""
    width = 2 * MARGIN + PULSE_WIDTH + 5 + width_mm
    paper_height = 5 * math.ceil(sum(spacing) / 5)
    height = header + paper_height + FOOTER + MARGIN
    figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH))
    figure.set_facecolor("white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.axis("off")
    paper = _Paper(MARGIN, FOOTER, width - MARGIN, FOOTER + paper_height)
    left, bottom, right, top = paper
    ax.fill([left, right, right, left], [bottom, bottom, top, top], color=PAPER, zorder=0, lw=0)
    for step, colour, line_width in ((1, FINE, 0.35), (5, COARSE, 0.6)):
        x = np.arange(left, right + 0.5, step)
        y = np.arange(bottom, top + 0.5, step)
        grid = [[(v, bottom), (v, top)] for v in x] + [[(left, v), (right, v)] for v in y]
        ax.add_collection(LineCollection(grid, colors=colour, linewidths=line_width, zorder=1))
    return figure, ax, paper


def draw_pulse(ax: Axes, left: float, baseline: float, enlarged: float = 1.0) -> None:
    """Draw the calibration pulse of 1 mV at the start of a row."""
    x = left + np.array([1.5, 2.5, 2.5, 7.5, 7.5, 8.5])
    y = baseline + enlarged * PULSE_HEIGHT * np.array([0, 0, 1, 1, 0, 0])
    ax.plot(x, y, color=TRACE, lw=0.9, zorder=3, solid_joinstyle="miter")


def _draw_marks(ax: Axes, lead: str, x: NDArray, y: NDArray, strength: NDArray) -> None:
    """Draw a coloured band behind the marked samples of a trace."""
    if not strength.any():
        return
    points = np.stack([x, y], axis=1)
    band = LineCollection(
        list(np.stack([points[:-1], points[1:]], axis=1)),
        colors=[(*MARK, alpha) for alpha in np.maximum(strength[:-1], strength[1:])],
        linewidths=7,
        zorder=2,
        gid=f"marked-{lead}",
    )
    ax.add_collection(band)


def _draw_trace(
    ax: Axes, lead: str, x: NDArray, y: NDArray, baseline: float, is_recorded: bool
) -> None:
    """Draw a trace with its lead's name; without a signal only the name."""
    # A line at zero would be read as asystole.
    if is_recorded:
        ax.plot(x, y, lw=0.9, gid=f"lead-{lead}", **TRACE_STYLE)
    ax.text(
        x[0] + 1,
        baseline + 6.5,
        lead if is_recorded else f"{lead}: no signal",
        fontsize=9,
        fontweight="bold",
        color=INK,
        zorder=4,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )


def _draw_text(
    ax: Axes, paper: _Paper, header: float, title: str, lines: Sequence[str], note: str
) -> None:
    """Write the title and lines above the paper and the notes below it."""
    ax.text(paper.left, 2.5, note, fontsize=8, color=MUTED)
    warning = "Research use only, not for diagnosis"
    ax.text(paper.right, 2.5, warning, fontsize=8, color=MUTED, ha="right")
    line_y = paper.top + header - 4
    if title:
        bold: dict[str, Any] = {"fontsize": 12, "fontweight": "bold"}
        ax.text(paper.left, line_y, title, color=INK, parse_math=False, **bold)
    for i, line in enumerate(lines):
        y = line_y - 5.0 * (i + bool(title))
        ax.text(paper.left, y, line, fontsize=9, color=INK, parse_math=False)


def _row_spacing(rows: list[list[Trace]], height: NDArray) -> list[float]:
    """Return the distances from the top to the first row, between rows and to the bottom, mm."""

    def extent(row: list[Trace]) -> tuple[NDArray, NDArray]:
        up, down = np.zeros(4), np.zeros(4)
        for c in range(4):
            lead, first, last = row[c] if len(row) == 4 else row[0]
            n = (last - first) // 4 if len(row) == 1 else last - first
            begin = first + c * n if len(row) == 1 else first
            trace = height[LEADS.index(lead), begin : begin + max(n, 1)]
            up[c], down[c] = max(trace.max(), 0), max(-trace.min(), 0)
        up[0] = max(up[0], PULSE_HEIGHT)
        return up, down

    ups, downs = zip(*(extent(row) for row in rows), strict=True)
    gaps = [ups[0].max() + 3]
    gaps += [(downs[i] + ups[i + 1]).max() + 2 for i in range(len(rows) - 1)]
    gaps.append(downs[-1].max() + 3)
    low = [15.0] + [20.0] * (len(rows) - 1) + [10.0]
    # Multiples of 5 mm: each baseline is on a line of the coarse grid.
    return [
        float(np.clip(5 * math.ceil(gap / 5), least, 45))
        for gap, least in zip(gaps, low, strict=True)
    ]
