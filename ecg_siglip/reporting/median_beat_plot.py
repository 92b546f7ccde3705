"""Figure of the median beat of each lead, with the marks of its intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.reporting.ecg_plot import (
    FOOTER,
    INK,
    LAYOUT,
    MARK,
    MM_PER_MV,
    MM_PER_S,
    MUTED,
    PULSE_WIDTH,
    TRACE_STYLE,
    Paper,
    draw_paper,
    draw_pulse,
    scale_text,
)
from ecg_siglip.reporting.name_places import free_place, segments
from ecg_siglip.signals.median_beats import BEFORE_S, MedianBeat

ORDER = {
    "standard": LAYOUT,
    "rows": (("I", "V1"), ("II", "V2"), ("III", "V3"), ("aVR", "V4"), ("aVL", "V5"), ("aVF", "V6")),
}
MAX_MM = {"standard": 125.0, "rows": 200.0}  # height at 10 mm/mV; rows of larger traces overlap
MIN_GAP_MM = 15.0  # between rows at 10 mm/mV
EDGE_MM = 3.0  # between traces
NAME_SIZE, NAME_MM = 9.0, 5.0  # of the name of a lead, pt; its height above the baseline
LEVEL_S = 0.02  # before QRS, which is the baseline
PREVIOUS_S, SLOPE = 0.2, 0.5  # an earlier QRS complex: so long before, with this part of the slope


def median_beat_figure(
    beat: MedianBeat,
    enlarged: float = 1.0,
    note: str = "",
    language: str = ENGLISH,
    layout: str = "standard",
    on_screen: bool = False,
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

    layout : str
        standard: three rows of four leads; rows: six rows of two, for narrow screens.
    on_screen : bool
        Give the scale as that of the grid, which is true at any size.

    Returns
    -------
    Figure
        One axes that fills it, in millimetres.

    Raises
    ------
    ValueError
        If the beat has no finite sample, or ``enlarged`` is not above 0.

    Notes
    -----
    Dashed lines in every lead are the onset of P, the onset and the end of QRS, and the end of T,
    as far as they are measurable. They are found in all leads together. The baseline of a lead,
    its level just before QRS, is at the foot of the calibration pulse. At fast rates the drawing
    begins half an interval before QRS, so that it shows one beat.
    """
    _ = translator(language)
    if not enlarged > 0:
        raise ValueError(f"enlarged: expected a number above 0, got {enlarged:g}")
    assert layout in ORDER, layout
    first, last = _window(beat)
    rows, drawn = ORDER[layout], slice(first, last)
    levels = enlarged * MM_PER_MV * _from_baseline(beat)[:, drawn]
    height = {
        lead: trace
        for lead, trace in zip(beat.leads, levels, strict=True)
        if np.isfinite(trace).any()
    }
    speed = enlarged * MM_PER_S
    width = 5 * math.ceil(((last - first) / beat.fs * speed + EDGE_MM) / 5)
    spacing = _row_spacing(height, enlarged, layout)
    footer = FOOTER if layout == "standard" else 2 * FOOTER
    figure, ax, paper = draw_paper(width * len(rows[0]), spacing, header=0.0, footer=footer)
    x = np.arange(last - first) / beat.fs * speed
    marks = [(at - first / beat.fs) * speed for at in beat.marks.values()]
    baselines = paper.top - np.cumsum(spacing[:-1])
    most_up = [min(gap - NAME_MM - EDGE_MM, 3 * NAME_MM) for gap in spacing]
    places = {
        lead: (paper.left + PULSE_WIDTH + column * width, float(baselines[row]), most_up[row])
        for (row, column), lead in np.ndenumerate(np.array(rows))
    }
    for baseline in baselines:
        draw_pulse(ax, paper.left, baseline, enlarged)
    for lead, trace in height.items():
        _draw_beat(ax, lead, places[lead][:2], x, trace, marks, paper)
    traces = segments(np.asarray(line.get_data()) for line in ax.get_lines())
    bold: dict[str, Any] = {"fontsize": NAME_SIZE, "fontweight": "bold", "color": INK, "zorder": 4}
    for lead, (left, baseline, up) in places.items():
        at, name = (left, baseline + NAME_MM), lead
        if lead in height:
            at = free_place(lead, NAME_SIZE, at, (width / 2, up, 2 * NAME_MM), traces)
        else:
            name = f"{lead}: {_('not measured')}"
        ax.text(*at, name, **bold)
    median = _("Median of %(n)d beats") % {"n": beat.n_beats}
    between = "\n" if layout == "rows" else "; " if on_screen else ", "
    text = between.join(part for part in (median, scale_text(on_screen, _, enlarged), note) if part)
    ax.text(paper.left, 2.5, text, fontsize=8, color=MUTED, parse_math=False)
    return figure


def _window(beat: MedianBeat) -> tuple[int, int]:
    """Return the first sample to draw, and the one after the last: those of one beat.

    The median of beats at fast rates can reach back to the QRS complex before, as only some of
    the intervals are so long.
    """
    shown = np.flatnonzero(np.isfinite(beat.signal).any(axis=0))
    if not len(shown):
        raise ValueError("expected a median beat with samples, got none that is finite")
    first, last = int(shown[0]), int(shown[-1]) + 1
    fs, centre = beat.fs, round(BEFORE_S * beat.fs)
    width = max(round(LEVEL_S * fs), 1)
    slope = np.nan_to_num(np.abs(np.diff(beat.signal, axis=1))).sum(axis=0)
    slope = np.convolve(slope, np.ones(width) / width, "same")
    half = round(PREVIOUS_S / 2 * fs)
    usual = slope[centre - half : centre + half].max(initial=0.0)
    before = slope[: max(centre - 2 * half, 0)]
    if not len(before) or not before.max() > SLOPE * usual:
        return first, last
    interval = centre - int(before.argmax())
    start = min(centre - interval / 2, (beat.marks.get("p_onset", np.inf) - LEVEL_S) * fs)
    end = max(centre + 0.8 * interval, (beat.marks.get("t_end", 0.0) + LEVEL_S) * fs)
    return max(first, round(start)), min(last, round(end))


def _from_baseline(beat: MedianBeat) -> np.ndarray:
    """Return the signal (n_leads, n_samples) around the level of each lead before QRS, mV."""
    end = round(beat.marks.get("qrs_onset", 0.0) * beat.fs)
    before = beat.signal[:, max(end - max(round(LEVEL_S * beat.fs), 1), 0) : end]
    is_known = np.isfinite(before)
    level = np.where(is_known, before, 0.0).sum(axis=1) / np.maximum(is_known.sum(axis=1), 1)
    return np.asarray(beat.signal - level[:, None])


def _row_spacing(height: dict[str, np.ndarray], enlarged: float, layout: str) -> list[float]:
    """Return the distances from the top to the first row, between rows and to the bottom, mm."""
    rows = ORDER[layout]
    up = np.full((len(rows), len(rows[0])), NAME_MM + EDGE_MM)
    down = np.zeros(up.shape)
    for place, lead in np.ndenumerate(np.array(rows)):
        if lead in height:
            up[place] = max(float(np.nanmax(height[lead])), NAME_MM + EDGE_MM)
            down[place] = max(-float(np.nanmin(height[lead])), 0.0)
    up[:, 0] = np.maximum(up[:, 0], enlarged * MM_PER_MV)  # the calibration pulse
    between = (down[:-1] + up[1:]).max(axis=1).tolist()
    gaps = [up[0].max(), *between, down[-1].max()]
    spacing = [5.0 * math.ceil((gap + EDGE_MM) / 5) for gap in gaps]
    # Rows that overlap can be read, traces that are cut off cannot.
    for part in (range(1, len(rows)), (0, len(rows))):
        while sum(spacing) > enlarged * MAX_MM[layout]:
            widest = max(part, key=spacing.__getitem__)
            if spacing[widest] <= enlarged * MIN_GAP_MM:
                break
            spacing[widest] -= 5
    return spacing


def _draw_beat(
    ax: Axes,
    lead: str,
    place: tuple[float, float],
    x: np.ndarray,
    height: np.ndarray,
    marks: list[float],
    paper: Paper,
) -> None:
    """Draw the beat of a lead with its marks."""
    left, baseline = place
    (line,) = ax.plot(left + x, baseline + height, lw=0.9, gid=f"beat-{lead}", **TRACE_STYLE)
    line.set_clip_path(paper.area(ax))
    low, high = min(float(np.nanmin(height)), 0.0) - 1, max(float(np.nanmax(height)), 0.0) + 1
    style: dict[str, Any] = {"color": MARK, "lw": 0.7, "ls": (0, (3, 2)), "zorder": 2}
    for at in marks:
        if 0 <= at <= x[-1]:
            ax.plot([left + at] * 2, [baseline + low, baseline + high], gid=f"mark-{lead}", **style)
