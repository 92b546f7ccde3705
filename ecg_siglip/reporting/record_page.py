"""Printed pages of a record report, A4 landscape: the ECG at its true size, findings, warnings.

All positions are in mm from the lower left corner of the page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike

from ecg_siglip.core.translation import Translate, translator
from ecg_siglip.inference.prediction import Finding
from ecg_siglip.metrics.likelihood import LIKELIHOODS, percent
from ecg_siglip.reporting.ecg_plot import (
    AFTER,
    INK,
    MARGIN,
    MM_PER_INCH,
    MUTED,
    PULSE_WIDTH,
    EcgStrips,
    Paper,
    draw_grid,
    page_figure,
)
from ecg_siglip.reporting.fonts import font_family
from ecg_siglip.reporting.median_beat_plot import median_beat_figure
from ecg_siglip.reporting.record_report import RecordReport
from ecg_siglip.reporting.record_texts import with_code

WIDTH, HEIGHT = 297.0, 210.0
EDGE, TOP, FOOT = 16.0, 200.0, 15.0  # left and right; first line; below the ECG
COLUMN_GAP = 8.0
COLUMN_WIDTH = (WIDTH - 2 * EDGE - COLUMN_GAP) / 2
SIZE, PITCH = 9.0, 4.2  # of text: pt, mm
MIN_ECG, MAX_ECG = 100.0, 150.0
WARN, ALARM = "#8a4b00", "#b00020"
MM_PER_PT = MM_PER_INCH / 72
INDENT = 4.0
DENSE = r"\u3040-\u9fff\uac00-\ud7af"
# A word with the space before it, or a letter of a script without spaces with what closes it.
PIECE = re.compile(rf" *(?:[{DENSE}][、。）」：]*|[^ {DENSE}]+)")


class Line(NamedTuple):
    """A line of text with its style; the indent is in mm. It may continue the one before."""

    text: str
    bold: bool = False
    colour: str = INK
    indent: float = 0.0
    continues: bool = False


def record_pages(report: RecordReport, about: str) -> list[Figure]:
    """Return the pages of a record: the ECG with its findings, and more if they are needed.

    Parameters
    ----------
    report : RecordReport
    about : str
        Model and operating point, at the foot of every page.
    """
    page = _Page(report)
    page.full_width(_header_lines(report))
    next_page = 2 + (report.measurements is not None)
    columns = _columns([_finding_lines(report), _other_lines(report, next_page)])
    n_note = len(wrapped(Line(report.word_note()), WIDTH - 2 * EDGE))
    n_lines = int((page.y - FOOT - MIN_ECG) / PITCH) - n_note - 1
    rest = page.two_columns(page.balanced(columns, n_lines), n_lines, next_page)
    page.full_width([Line(report.word_note(), colour=MUTED)])
    page.ecg()
    pages = [page]
    if report.measurements is not None:
        pages.append(_measurement_page(report))
    left = [*rest, *_columns([_more_lines(report)])[0]]
    while left:
        page = _Page(report)
        n_lines = int((page.y - FOOT) / PITCH)
        left = page.two_columns([left[:n_lines], left[n_lines:]], n_lines, len(pages) + 2)
        pages.append(page)
    for code, marked in report.marks.items():
        page = _Page(report)
        note = Line(report.attribution_note(), colour=MUTED)
        page.full_width([Line(report.support_text(code), bold=True), note])
        page.ecg(marked)
        pages.append(page)
    return [each.finished(about, i + 1, len(pages)) for i, each in enumerate(pages)]


class _Page:
    """A page that is filled from the top: ``y`` is where the next line goes."""

    def __init__(self, report: RecordReport, figure: Figure | None = None):
        self.report, self._ = report, translator(report.language)
        self.figure, self.ax = page_figure(WIDTH, HEIGHT, figure)
        warning = self._("For research, not for diagnosis")
        width = WIDTH - 2 * EDGE - COLUMN_GAP - text_width(warning, 10, True)
        self._text(EDGE, TOP, Line(_shortened(report.title, width), bold=True), 13)
        self._text(WIDTH - EDGE, TOP, Line(warning, bold=True), 10, "right")
        self.y = TOP - 2.0
        if report.model_simulated:
            self._banner(self._("Trained on simulated ECGs: not for real ones"))

    def _banner(self, text: str) -> None:
        """Write a warning on red over the width of the page."""
        size = WIDTH - 2 * EDGE, 6.0
        self.ax.add_patch(Rectangle((EDGE, self.y - 7.0), *size, facecolor=ALARM, lw=0, zorder=3))
        self._text(EDGE + 2.0, self.y - 5.2, Line(text, bold=True, colour="white"), 10)
        self.y -= 8.0

    def _text(self, x: float, y: float, line: Line, size: float = SIZE, ha: str = "left") -> None:
        weight = "bold" if line.bold else "normal"
        self.ax.text(
            x + line.indent,
            y,
            line.text,
            fontsize=size,
            fontweight=weight,
            color=line.colour,
            ha=ha,
            parse_math=False,
            zorder=5,
        )

    def lines(self, lines: Iterable[Line], x: float) -> float:
        """Write lines from ``y`` down; return where the next one would go."""
        y = self.y
        for line in lines:
            y -= PITCH
            self._text(x, y, line)
        return y

    def full_width(self, lines: Iterable[Line]) -> None:
        """Write lines over the width of the page."""
        parts = [part for line in lines for part in wrapped(line, WIDTH - 2 * EDGE)]
        self.y = self.lines(parts, EDGE) - 1.5

    def balanced(self, columns: Sequence[list[Line]], n_lines: int) -> list[list[Line]]:
        """Return two columns with the end of the first one in the second one, if it fits there."""
        first, second = columns
        shown, left = _divided(first, n_lines)
        moved = [*self._continued(shown, left), *left] if left else []
        return [shown, [*moved, *second]] if len(moved) + len(second) <= n_lines else [*columns]

    def two_columns(
        self, columns: Sequence[Sequence[Line]], n_lines: int, next_page: int
    ) -> list[Line]:
        """Write two columns of ``n_lines`` at most; return the lines for the next page."""
        rest: list[Line] = []
        y = self.y
        for i, column in enumerate(columns):
            x = EDGE + i * (COLUMN_WIDTH + COLUMN_GAP)
            shown = list(column)
            if len(shown) > n_lines:
                shown, left = _divided(shown, n_lines - 1)
                text = self._("continued on page %(page)d") % {"page": next_page}
                rest += [*self._continued(shown, left), *left]
                shown.append(Line(text, colour=MUTED))
            y = min(y, self.lines(shown, x))
        self.y = y - 2.0
        return rest

    def _continued(self, shown: Sequence[Line], left: Sequence[Line]) -> list[Line]:
        """Return the heading of what is left, if it is among the lines that are shown."""
        titles = [line for line in shown if line.bold]
        if not titles or left[0].bold or not left[0].indent:
            return []
        text = self._("%(title)s (continued)") % {"title": titles[-1].text}
        return wrapped(titles[-1]._replace(text=text), COLUMN_WIDTH)

    def ecg(self, marked: ArrayLike | None = None) -> None:
        """Draw the ECG in the rest of the page, at its true size."""
        report = self.report
        strips = EcgStrips(
            report.signal,
            report.fs,
            marked,
            max_height=min(self.y - FOOT, MAX_ECG),
            language=report.language,
        )
        height = 5 * -(-sum(strips.spacing) // 5)
        right = EDGE + PULSE_WIDTH + AFTER + strips.width_mm
        paper = Paper(EDGE, FOOT, right, FOOT + height)
        draw_grid(self.ax, paper)
        strips.draw(self.ax, paper)
        note = ", ".join(part for part in (strips.scale(), report.content) if part)
        self._text(EDGE, FOOT - 4.0, Line(note, colour=MUTED), 7.5)

    def table(self, rows: Sequence[Sequence[str]], columns: Sequence[float]) -> None:
        """Write rows with columns at these distances from the left edge; the last is wrapped."""
        for row in rows:
            bold, x_last = row is rows[0], columns[len(row) - 1]
            last = wrapped(Line(row[-1], bold), WIDTH - 2 * EDGE - x_last)
            for text, x in zip(row[:-1], columns, strict=False):
                self._text(EDGE + x, self.y - PITCH, Line(text, bold))
            self.y = self.lines(last, EDGE + x_last)
        self.y -= 2.0

    def finished(self, about: str, number: int, n_pages: int) -> Figure:
        """Write the foot of the page; return its figure."""
        self._text(EDGE, FOOT - 8.0, Line(about, colour=MUTED), 7.5)
        if self.report.record != self.report.title:
            path = _shortened(self.report.record, 120.0, 7.5, bold=False)
            self._text(WIDTH - EDGE, FOOT - 4.0, Line(path, colour=MUTED), 7.5, "right")
        numbered = f"{number} / {n_pages}" if n_pages > 1 else ""
        self._text(WIDTH - EDGE, FOOT - 8.0, Line(numbered, colour=MUTED), 7.5, "right")
        return self.figure


def _measurement_page(report: RecordReport) -> _Page:
    """Return the page of the measurements with the median beats."""
    _, measurements = translator(report.language), report.measurements
    assert measurements is not None
    figure, left = None, 0.0
    if measurements.beat is not None:
        figure = median_beat_figure(measurements.beat, language=report.language)
        width, height = figure.get_size_inches() * MM_PER_INCH
        left = width - MARGIN + COLUMN_GAP
    page = _Page(report, figure)
    page.full_width([Line(_("Measurements"), bold=True)])
    if report.measured_leads():
        leads = [["mV", *report.lead_names()]]
        leads += [[name, *values] for name, values in report.measured_leads()]
        page.table(leads, [0.0, *(42.0 + 18.0 * i for i in range(len(leads[0]) - 1))])
    page.full_width([Line(report.measurement_note(), colour=MUTED)])
    if figure is not None:
        bottom = page.y - height
        place = (EDGE - MARGIN) / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT
        figure.axes[0].set_position(place)
    rows = report.measured()
    lines: list[tuple[str, ...]] = [(_("Measurement"), _("this program"))]
    if any(row.device for row in rows):
        lines = [(*lines[0], _("device"))]
    for row in rows:
        if row.device:
            lines.append((row.name, row.value, row.device))
            lines += [("", row.reason)] if row.reason else []
        else:
            text = f"{row.value}{_(': ')}{row.reason}" if row.reason else row.value
            lines.append((row.name, text))
    page.table(lines, [left, left + 46.0, left + 76.0])
    return page


def _divided(lines: Sequence[Line], n_lines: int) -> tuple[list[Line], list[Line]]:
    """Return the first lines and the rest: no text is divided, no heading without what follows."""
    n = n_lines
    while 0 < n < len(lines) and (lines[n].continues or lines[n - 1].bold):
        n -= 1
    n = n or n_lines  # one text that is longer than the page
    return list(lines[:n]), list(lines[n:])


def _columns(columns: Iterable[Iterable[Line]]) -> list[list[Line]]:
    return [[part for line in lines for part in wrapped(line, COLUMN_WIDTH)] for lines in columns]


def _header_lines(report: RecordReport) -> list[Line]:
    """Return what is written over the width of the page: measurements and warnings."""
    _ = translator(report.language)
    lines = [Line(text) for text in [_one_line(report.identity_texts()), report.note] if text]
    if report.measurements is not None:
        lines.append(Line(_one_line(report.measurement_texts()), bold=True))
    if of_device := [f"{row.name} {row.device}" for row in report.measured() if row.device]:
        lines.append(Line(f"{_('Measured by the device:')} {_one_line(of_device)}"))
    return lines + [
        Line(f"{_('Warning')}{_(': ')}{sentence}", colour=WARN) for sentence in report.warnings
    ]


def _finding_lines(report: RecordReport) -> list[Line]:
    """Return what is reported with its probability, and the alternatives."""
    _ = translator(report.language)
    heading = _("Reported (at or above the threshold of the finding)")
    lines = [Line(heading if report.reported() else _("None of the findings is reported"), True)]
    for finding in report.reported():
        lines.append(Line(_in_words(finding, _) + _threshold(finding, _), indent=INDENT))
        lines += [
            Line(f"{_('or')} {_in_words(other, _)}", colour=MUTED, indent=2 * INDENT)
            for other in report.alternatives(finding.code)
        ]
    return lines


def _other_lines(report: RecordReport, next_page: int) -> list[Line]:
    """Return what is not excluded, and how much cannot be assessed."""
    _ = translator(report.language)
    heading = _("Not reported, but not excluded")
    lines = [Line(heading if report.not_excluded() else f"{heading}{_(': ')}{_('none')}", True)]
    for finding in report.not_excluded():
        tag = f"  [{_('time-critical')}]" if finding.code in report.critical else ""
        lines.append(Line(_in_words(finding, _) + tag, indent=INDENT))
    if text := report.unlikely_critical_text():
        lines.append(Line(text))
    if report.not_assessable:
        text = _("Not assessable in these leads: %(n)d findings, listed from page %(page)d on")
        text %= {"n": len(report.not_assessable), "page": next_page}
        lines.append(Line(text, colour=MUTED))
    if report.device.statements:
        lines.append(Line(report.device_heading(), True))
        lines += [Line(text, indent=INDENT) for text in report.device.statements]
    return lines


def _more_lines(report: RecordReport) -> list[Line]:
    """Return what follows on the next page, under headings."""
    _ = translator(report.language)
    parts = {
        _("Not assessable in these leads, neither present nor absent"): report.not_assessable,
        _("Most similar training ECGs"): report.similar,
    }
    lines = []
    for heading, texts in parts.items():
        if texts:
            lines += [Line(""), Line(heading, True), *(Line(text, indent=INDENT) for text in texts)]
    return lines[1:]


def _one_line(texts: Iterable[str]) -> str:
    """Join texts, none of which is broken at the end of a line."""
    return " · ".join(text.replace(" ", "\xa0") for text in texts)


def _in_words(finding: Finding, _: Translate) -> str:
    words = f"{_(finding.likelihood)}{_(', ')}{percent(finding.probability)}"
    return f"{with_code(finding.name, finding.code)}{_(': ')}{words}"


def _threshold(finding: Finding, _: Translate) -> str:
    """Return from which probability a finding is reported, if its own is low."""
    if finding.probability >= LIKELIHOODS["possible"]:
        return ""
    text = _("reported from %(threshold)s") % {"threshold": percent(finding.threshold)}
    return f" ({text})".replace(" ", "\xa0").replace("\xa0", " ", 1)


@functools.lru_cache(8192)
def text_width(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of a text on the page, mm."""
    weight = "bold" if bold else "normal"
    font = FontProperties(family=font_family(), size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * MM_PER_PT


def wrapped(line: Line, width: float) -> list[Line]:
    """Return a line in parts that fit a width in mm; the second and following ones are indented."""
    parts: list[Line] = []
    current = line._replace(text="")
    for piece in PIECE.findall(line.text.replace(" %", "\xa0%")):
        longer = current.text + piece if current.text else piece.lstrip()
        if current.text and text_width(longer, SIZE, line.bold) > width - current.indent:
            parts.append(current)
            current = line._replace(
                text=piece.lstrip(), indent=line.indent + INDENT, continues=True
            )
        else:
            current = current._replace(text=longer)
    parts.append(current)
    return [part._replace(text=part.text.replace("\xa0", " ")) for part in parts]


def _shortened(name: str, width: float, size: float = 13.0, bold: bool = True) -> str:
    """Return a name that fits a width; of a longer one, its end."""
    if text_width(name, size, bold) <= width:
        return name
    while len(name) > 1 and text_width(f"…{name}", size, bold) > width:
        name = name[1:]
    return f"…{name}"
