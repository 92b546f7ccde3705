"""Figure of the median beat of each lead, with the marks of its intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.reporting.ecg_plot import (
    INK,
    LAYOUT,
    MARK,
    MM_PER_MV,
    MM_PER_S,
    MUTED,
    PULSE_WIDTH,
    TRACE_STYLE,
    draw_paper,
    draw_pulse,
)
from ecg_siglip.signals.median_beats import MedianBeat

MAX_GAP_MM = 45.0  # between rows at 10 mm/mV; larger traces overlap
EDGE_MM = 3.0  # between traces
NAME_MM = 5.0  # height of the name of a lead


def median_beat_figure(
    beat: MedianBeat, enlarged: float = 1.0, note: str = "", language: str = ENGLISH
) -> Figure:
    """Draw the median beats of the twelve leads on paper, with the marks of their intervals.

    Parameters
    ----------
    beat : MedianBeat
        See ``Measurements.beat``. A lead that it lacks is named as without a signal.
    enlarged : float, above 0
        Times 25 mm/s and 10 mm/mV when printed at its own size; the scale is given below the paper.
    note : str
        Set after the scale, for example the names of the marks.
    language : str
        See ``core.translation``.

    Returns
    -------
    Figure
        One axes that fills it, in millimetres: three rows of four leads.

    Raises
    ------
    ValueError
        If the beat has no finite sample, or ``enlarged`` is not above 0.

    Notes
    -----
    Dashed lines in every lead are the onset of P, the onset and the end of QRS, and the end of T,
    as far as they are measurable. They are found in all leads together.
    """
    _ = translator(language)
    if not enlarged > 0:
        raise ValueError(f"enlarged: expected a number above 0, got {enlarged:g}")
    shown = np.flatnonzero(np.isfinite(beat.signal).any(axis=0))
    if not len(shown):
        raise ValueError("expected a median beat with samples, got none that is finite")
    first, last = int(shown[0]), int(shown[-1]) + 1
    traces = enlarged * MM_PER_MV * beat.signal[:, first:last]
    height = {
        lead: trace
        for lead, trace in zip(beat.leads, traces, strict=True)
        if np.isfinite(trace).any()
    }
    speed = enlarged * MM_PER_S
    width = 5 * math.ceil(((last - first) / beat.fs * speed + EDGE_MM) / 5)
    spacing = _row_spacing(height, enlarged)
    figure, ax, paper = draw_paper(width * len(LAYOUT[0]), spacing, header=0.0)
    x = np.arange(last - first) / beat.fs * speed
    marks = [(at - first / beat.fs) * speed for at in beat.marks.values()]
    baseline = paper.top
    for row, gap in zip(LAYOUT, spacing[:-1], strict=True):
        baseline -= gap
        draw_pulse(ax, paper.left, baseline, enlarged)
        for column, lead in enumerate(row):
            left = paper.left + PULSE_WIDTH + column * width
            name = lead if lead in height else f"{lead}: {_('no signal')}"
            at = left, baseline + NAME_MM
            ax.text(*at, name, fontsize=9, fontweight="bold", color=INK, zorder=4)
            if lead in height:
                _draw_beat(ax, lead, left, baseline, x, height[lead], marks)
    median = _("Median of %(n)d beats") % {"n": beat.n_beats}
    parts = (median, f"{speed:g} mm/s", f"{enlarged * MM_PER_MV:g} mm/mV", note)
    text = ", ".join(part for part in parts if part)
    ax.text(paper.left, 2.5, text, fontsize=8, color=MUTED, parse_math=False)
    return figure


def _row_spacing(height: dict[str, np.ndarray], enlarged: float) -> list[float]:
    """Return the distances from the top to the first row, between rows and to the bottom, mm."""
    up = np.full((len(LAYOUT), len(LAYOUT[0])), NAME_MM)
    down = np.zeros(up.shape)
    for place, lead in np.ndenumerate(np.array(LAYOUT)):
        if lead in height:
            up[place] = max(float(np.nanmax(height[lead])), NAME_MM)
            down[place] = max(-float(np.nanmin(height[lead])), 0.0)
    up[:, 0] = np.maximum(up[:, 0], enlarged * MM_PER_MV)  # the calibration pulse
    between = (down[:-1] + up[1:]).max(axis=1).tolist()
    gaps = [up[0].max(), *between, down[-1].max()]
    most = enlarged * MAX_GAP_MM
    return [5.0 * math.ceil(min(gap + EDGE_MM, most) / 5) for gap in gaps]


def _draw_beat(
    ax: Axes,
    lead: str,
    left: float,
    baseline: float,
    x: np.ndarray,
    height: np.ndarray,
    marks: list[float],
) -> None:
    """Draw the beat of a lead with its marks."""
    ax.plot(left + x, baseline + height, lw=0.9, gid=f"beat-{lead}", **TRACE_STYLE)
    low, high = min(float(np.nanmin(height)), 0.0) - 1, max(float(np.nanmax(height)), 0.0) + 1
    style: dict[str, Any] = {"color": MARK, "lw": 0.7, "ls": (0, (3, 2)), "zorder": 2}
    for at in marks:
        ax.plot([left + at] * 2, [baseline + low, baseline + high], gid=f"mark-{lead}", **style)
