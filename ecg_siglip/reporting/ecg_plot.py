"""Figure of a 12-lead ECG on ECG paper.

Every figure is a ``matplotlib.figure.Figure`` of its own: no pyplot, no state shared between
calls, no display needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ecg_siglip.core.translation import ENGLISH, Translate, translator
from ecg_siglip.reporting.name_places import free_place, segments
from ecg_siglip.signals.leads import LEADS

LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
MAX_S = 10.0  # of a signal
ROW_S = 5.0  # of each lead in rows
MM_PER_S = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
MARGIN, FOOTER = 5.0, 7.0  # mm
PULSE_WIDTH, PULSE_HEIGHT = 10.0, MM_PER_MV * 1.0  # of the calibration pulse with its space, mm
AFTER = 5.0  # paper behind the traces, mm
# Least distances from the top to the first row, between rows, and from the last to the bottom, mm.
LEAST = {"standard": (15.0, 20.0, 10.0), "rows": (14.0, 15.0, 10.0)}
MOST = 45.0
NAME_SIZE = {"standard": 9.0, "rows": 13.0}  # of a lead, pt; rows are shown at two thirds
# Usual place of the name of a lead, from the start of its trace; and how far it may move right, mm.
NAME_PLACE, NAME_RIGHT = (1.0, 6.5), 10.0
BELOW_PULSE = 4.3  # from the foot of the pulse down to the name of a row, mm

INK, MUTED = "#1f2933", "#5f6c7a"
PAPER, FINE, COARSE = "#fffaf8", "#f8d9d4", "#eba79e"
TRACE = "#111418"
TRACE_STYLE: dict[str, Any] = {"color": TRACE, "zorder": 3, "solid_joinstyle": "round"}
MARK = (0.13, 0.45, 0.85)  # blue stands out from red paper, for the colour-blind as well


class Paper(NamedTuple):
    """Edges of the paper on the page, mm."""

    left: float
    bottom: float
    right: float
    top: float

    def area(self, ax: Axes) -> Rectangle:
        """Return the rectangle of the paper, to cut off what is drawn beyond it."""
        corner, size = self[:2], (self.right - self.left, self.top - self.bottom)
        return Rectangle(corner, *size, transform=ax.transData)


class Trace(NamedTuple):
    """A part of a lead: its first and last sample, and its name on the paper."""

    lead: str
    first: int
    last: int
    name: str


def ecg_figure(
    signal: ArrayLike,
    fs: float,
    title: str = "",
    marked: ArrayLike | None = None,
    layout: str = "standard",
    content: str = "",
    language: str = ENGLISH,
) -> Figure:
    """Draw a 12-lead ECG on paper, at 25 mm/s and 10 mm/mV when printed at its own size.

    Its scale is written as that of the grid, which is true on a screen of any size as well.

    Parameters
    ----------
    signal : array of shape (12, n_samples), mV
        Leads in the order I, II, III, aVR, aVL, aVF, V1 to V6; NaN where nothing was recorded.
    fs : float, Hz
    title : str
        Bold, above the paper.
    marked : array of shape (12, n_samples), 0 to 1, optional
        Strength of the mark behind each sample, as from ``record_report.mark_strength``.
    layout : str
        standard: four columns of 2.5 s above lead II; rows: a row per lead, for narrow screens.
    content : str
        What is drawn, such as "as recorded": below the paper, after scale and sampling rate.
    language : str
        Of what is written on it, see ``core.translation``.

    Returns
    -------
    Figure
        One axes that fills it, in millimetres.

    Raises
    ------
    ValueError
        If the signal has another shape or infinite samples, or ``fs`` is not above 0.

    Notes
    -----
    See ``EcgStrips``.
    """
    _ = translator(language)
    strips = EcgStrips(signal, fs, marked, layout, language=language)
    header = 8.0 if title else 0.0
    figure, ax, paper = draw_paper(strips.width_mm, strips.spacing, header, strips.footer)
    strips.draw(ax, paper)
    size = NAME_SIZE[layout] - 1
    note = ", ".join(part for part in (strips.scale(on_screen=True), content) if part)
    ax.text(paper.left, paper.bottom - 4.5, note, fontsize=size, color=MUTED)
    warning = _("For research, not for diagnosis")
    ax.text(paper.right, 2.5, warning, fontsize=size, color=MUTED, ha="right")
    if title:
        bold: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "parse_math": False}
        ax.text(paper.left, paper.top + header - 4, title, color=INK, **bold)
    return figure


class EcgStrips:
    """The traces of a 12-lead ECG on paper with its grid.

    Parameters
    ----------
    signal, fs, marked, layout, language
        See ``ecg_figure``.
    max_height : float, mm
        Of the paper, at least 85 mm for the standard layout: the rows come closer, to scale.

    Attributes
    ----------
    width_mm : float
        Of the traces, without the pulses before them.
    spacing : list of float, mm
        From the top to the first row, between rows, and from the last to the bottom.

    Notes
    -----
    The standard layout: four columns of 2.5 s, one after the other in time, above lead II in full.
    In rows, the first 5 s of each lead and the next 5 s of II. Each trace is centred on its median,
    which is close to the isoelectric line. Of a longer signal the first 10 s are drawn. If the
    signal is shorter, each column is a quarter of its length. The distance between rows depends on
    their traces, up to 45 mm; beyond the paper a trace is cut off.
    """

    def __init__(
        self,
        signal: ArrayLike,
        fs: float,
        marked: ArrayLike | None = None,
        layout: str = "standard",
        max_height: float = math.inf,
        language: str = ENGLISH,
    ):
        assert layout in LEAST, layout
        whole, marks = _checked(signal, fs, marked)
        self.fs, self.layout, self.whole_s = fs, layout, whole.shape[1] / fs
        self.translate = translator(language)
        self.ecg, self.marks = whole[:, : round(MAX_S * fs)], marks
        n_samples = self.ecg.shape[1]
        self.rows = _columns(n_samples) if layout == "standard" else _rows(n_samples, fs)
        self.spacing = self._row_spacing(max_height)
        longest_s = max(row[-1].last - row[0].first for row in self.rows) / fs
        self.width_mm = 5.0 * math.ceil(longest_s * MM_PER_S / 5)
        self.footer = FOOTER if layout == "standard" else 2 * FOOTER

    def scale(self, on_screen: bool = False) -> str:
        """Return speed and gain, sampling rate, and the part of a longer signal."""
        scale = scale_text(on_screen, self.translate)
        text = f"{scale}{';' if on_screen else ','} {self.fs:g} Hz"
        drawn_s = self.ecg.shape[1] / self.fs
        return text + (f", 0–{drawn_s:g} s / {self.whole_s:g} s" if self.whole_s > drawn_s else "")

    def draw(self, ax: Axes, paper: Paper) -> None:
        """Draw pulses, traces and marks on paper."""
        baselines = paper.top - np.cumsum(self.spacing[:-1])
        lines = [
            (trace, self._times(row[0], trace, paper), baseline + self._heights(trace))
            for row, baseline in zip(self.rows, baselines, strict=True)
            for trace in row
        ]
        drawn = segments((x, y) for _, x, y in lines)
        for row, baseline in enumerate(baselines.tolist()):
            draw_pulse(ax, paper.left, baseline)
            for trace, x, y in lines[: len(self.rows[row])]:
                self._draw_trace(ax, trace, x, y, paper)
                self._write_name(ax, trace, (float(x[0]), baseline), row, drawn)
                if trace is not self.rows[row][0]:
                    separator = [baseline - 4, baseline + 4]
                    ax.plot([x[0]] * 2, separator, lw=0.5, **TRACE_STYLE)
            lines = lines[len(self.rows[row]) :]

    def _times(self, first: Trace, trace: Trace, paper: Paper) -> NDArray:
        """Return where the samples of a trace are, mm; its row begins with the first one."""
        samples = np.arange(trace.first, trace.last) - first.first
        return paper.left + PULSE_WIDTH + samples / self.fs * MM_PER_S

    def _draw_trace(self, ax: Axes, trace: Trace, x: NDArray, y: NDArray, paper: Paper) -> None:
        """Draw a trace with its marks, if there is a signal."""
        # A line at zero would be read as asystole.
        if self._lack(trace):
            return
        _draw_marks(
            ax, trace.lead, x, y, self.marks[LEADS.index(trace.lead), trace.first : trace.last]
        )
        (line,) = ax.plot(x, y, lw=0.9, gid=f"lead-{trace.lead}", **TRACE_STYLE)
        line.set_clip_path(paper.area(ax))

    def _lack(self, trace: Trace) -> str:
        """Return what is written in place of a trace; nothing if it has a signal."""
        _, samples = self.translate, self.ecg[LEADS.index(trace.lead)]
        known = samples[np.isfinite(samples)]
        if not len(known):
            return _("not recorded")
        return "" if np.ptp(known) > 0 else _("no signal")

    def _write_name(
        self, ax: Axes, trace: Trace, start: tuple[float, float], row: int, drawn: NDArray
    ) -> None:
        """Write the name of a lead where no trace runs, nearer to its own row than to others."""
        lack, size = self._lack(trace), NAME_SIZE[self.layout]
        name = f"{trace.name}: {lack}" if lack else trace.name
        if self.layout == "rows":  # below the pulse, where it is nearest to its own row
            usual, most = (start[0] - PULSE_WIDTH + 0.2, start[1] - BELOW_PULSE), (0.0, 0.0, 2.5)
        else:
            up = max(self.spacing[row] * (0.55 if row else 0.9) - NAME_PLACE[1], 0.0)
            usual = start[0] + NAME_PLACE[0], start[1] + NAME_PLACE[1]
            most = NAME_RIGHT, up, NAME_PLACE[1] + self.spacing[row + 1] / 4
        place = usual if lack else free_place(name, size, usual, most, drawn)
        ax.text(*place, name, fontsize=size, fontweight="bold", color=INK, zorder=4)

    def _heights(self, trace: Trace) -> NDArray:
        """Return the samples of a trace around their median, mm."""
        values = self.ecg[LEADS.index(trace.lead), trace.first : trace.last]
        is_recorded = np.isfinite(values)
        middle = np.median(values[is_recorded]) if is_recorded.any() else 0.0
        return MM_PER_MV * (values - middle)

    def _row_spacing(self, max_height: float) -> list[float]:
        """Return the distances from the top to the first row, between rows and to the bottom."""
        ups, downs = zip(*(self._extent(row) for row in self.rows), strict=True)
        gaps = [ups[0].max() + 3]
        gaps += [(downs[i] + ups[i + 1]).max() + 2 for i in range(len(self.rows) - 1)]
        gaps.append(downs[-1].max() + 3)
        top, between, end = LEAST[self.layout]
        least = [top] + [between] * (len(self.rows) - 1) + [end]
        # Multiples of 5 mm: each baseline is on a line of the coarse grid.
        spacing = [
            float(np.clip(5 * math.ceil(gap / 5), low, MOST))
            for gap, low in zip(gaps, least, strict=True)
        ]
        # Rows that overlap can be read, traces that are cut off cannot.
        inner, outer = list(range(1, len(spacing) - 1)), [0, len(spacing) - 1]
        for part in (inner, outer):
            while sum(spacing) > max_height and (
                wide := [i for i in part if spacing[i] > least[i]]
            ):
                spare = max(wide, key=lambda i: spacing[i] - gaps[i])
                spacing[spare] = max(spacing[spare] - 5, least[spare])
        return spacing

    def _extent(self, row: Sequence[Trace]) -> tuple[NDArray, NDArray]:
        """Return how far a row goes up and down in each quarter of its width, mm."""
        traces = row
        if len(row) == 1:
            ends = np.linspace(row[0].first, row[0].last, 5).round().astype(int)
            traces = [row[0]._replace(first=a, last=b) for a, b in itertools.pairwise(ends)]
        heights = [np.nan_to_num(self._heights(trace)) for trace in traces]
        up = np.array([max(each.max(initial=0), 0) for each in heights])
        up[0] = max(up[0], PULSE_HEIGHT)
        return up, np.array([max(-each.min(initial=0), 0) for each in heights])


def _checked(
    signal: ArrayLike, fs: float, marked: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return signal and marks as arrays of one shape, or raise."""
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != 12 or signal.shape[1] < 4:
        raise ValueError(f"signal: expected shape (12, n_samples), got {signal.shape}")
    if np.isinf(signal).any():
        bad = LEADS[int(np.argwhere(np.isinf(signal))[0, 0])]
        raise ValueError(f"signal: expected finite values in mV, got infinity in lead {bad}")
    if not fs > 0:
        raise ValueError(f"fs: expected a sampling rate above 0 Hz, got {fs}")
    marks = np.zeros(signal.shape) if marked is None else np.asarray(marked, dtype=np.float64)
    if marks.shape != signal.shape or not ((marks >= 0) & (marks <= 1)).all():
        raise ValueError(f"marked: expected numbers from 0 to 1 of shape {signal.shape}")
    return signal, marks


def scale_text(on_screen: bool, _: Translate, enlarged: float = 1.0) -> str:
    """Return the scale of a figure: speed and gain on paper, what a square is on a screen."""
    if on_screen:
        square = {"s": f"{5 / MM_PER_S / enlarged:g}", "mv": f"{5 / MM_PER_MV / enlarged:g}"}
        return _("1 large square = %(s)s s, %(mv)s mV") % square
    return f"{enlarged * MM_PER_S:g} mm/s, {enlarged * MM_PER_MV:g} mm/mV"


def _columns(n_samples: int) -> list[list[Trace]]:
    """Return the traces of the standard layout, row by row.

    A trace ends on the sample at which the next one starts: no time is missing between them.
    """
    ends = np.linspace(0, n_samples, 5).round().astype(int).tolist()
    rows = [
        [Trace(lead, ends[c], min(ends[c + 1] + 1, n_samples), lead) for c, lead in enumerate(row)]
        for row in LAYOUT
    ]
    return [*rows, [Trace("II", 0, n_samples, "II")]]


def _rows(n_samples: int, fs: float) -> list[list[Trace]]:
    """Return the start of each lead as a row, and the rest of lead II."""
    n_row = min(n_samples, round(ROW_S * fs))
    rows = [[Trace(lead, 0, n_row, lead)] for lead in LEADS]
    if n_samples - n_row > 1:
        name = f"II  {n_row / fs:g}–{n_samples / fs:g} s"
        rows.append([Trace("II", n_row, n_samples, name)])
    return rows


def draw_paper(
    width_mm: float, spacing: Sequence[float], header: float, footer: float = FOOTER
) -> tuple[Figure, Axes, Paper]:
    """Draw paper with its grid in a figure of its own; axes in millimetres fill the figure."""
    width = 2 * MARGIN + PULSE_WIDTH + AFTER + width_mm
    paper_height = 5 * math.ceil(sum(spacing) / 5)
    figure, ax = page_figure(width, header + paper_height + footer + MARGIN)
    paper = Paper(MARGIN, footer, width - MARGIN, footer + paper_height)
    draw_grid(ax, paper)
    return figure, ax, paper


def page_figure(width: float, height: float, figure: Figure | None = None) -> tuple[Figure, Axes]:
    """Return a figure of a size in mm, empty or a given one, with axes in mm that fill it."""
    figure = figure or Figure()
    figure.set_size_inches(width / MM_PER_INCH, height / MM_PER_INCH)
    figure.set_facecolor("white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.axis("off")
    return figure, ax


def draw_grid(ax: Axes, paper: Paper) -> None:
    """Draw the lines of ECG paper, 1 mm and 5 mm apart."""
    left, bottom, right, top = paper
    ax.fill([left, right, right, left], [bottom, bottom, top, top], color=PAPER, zorder=0, lw=0)
    for step, colour, line_width in ((1, FINE, 0.35), (5, COARSE, 0.6)):
        x = np.arange(left, right + 0.5, step)
        y = np.arange(bottom, top + 0.5, step)
        grid = [[(v, bottom), (v, top)] for v in x] + [[(left, v), (right, v)] for v in y]
        ax.add_collection(LineCollection(grid, colors=colour, linewidths=line_width, zorder=1))


def draw_pulse(ax: Axes, left: float, baseline: float, enlarged: float = 1.0) -> None:
    """Draw the calibration pulse of 1 mV at the start of a row."""
    x = left + np.array([1.5, 2.5, 2.5, 7.5, 7.5, 8.5])
    y = baseline + enlarged * PULSE_HEIGHT * np.array([0, 0, 1, 1, 0, 0])
    ax.plot(x, y, color=TRACE, lw=0.9, zorder=3, solid_joinstyle="miter", gid="pulse")


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
