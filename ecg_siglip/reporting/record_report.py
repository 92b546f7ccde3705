"""Report of one record: the ECG, its findings with their probabilities, and attributions."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecg_siglip.core.files import replace_file, visible
from ecg_siglip.inference.prediction import Finding, Prediction, alternatives
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.likelihood import percent
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.fonts import with_all_letters
from ecg_siglip.reporting.html import inline_figure, load_template
from ecg_siglip.signals.measurements import NAMES, PER_LEAD, UNITS, Measurement, Measurements
from ecg_siglip.signals.preprocessing import from_int16

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".pdf", ".png")
PICTURE_DPI = 110
N_LETTERS = 140  # in a line of a printed page
N_LISTED = 6  # findings on a printed page that are not excluded
N_SHOWN = 12  # findings with a bar, if fewer are reported or not excluded


@dataclass(frozen=True)
class RecordReport:
    """What the report of a record shows.

    Attributes
    ----------
    record : str
    signal : ndarray of shape (12, n_samples), mV
    fs : float, Hz
    findings : sequence of Finding
        All that can be assessed.
    warnings : sequence of str
    marks : mapping of code to ndarray of shape (12, n_samples), 0 to 1
        Samples that support a finding, for the findings that are explained.
    note : str
        Which part of a longer record the signal is.
    duration_s : float, s
        Length of a longer record.
    spans : mapping of code to sequence of (from, to), s
        When a finding is present in a longer record.
    not_assessable : sequence of str
        Names of the findings whose criteria need leads that the record does not have.
    similar : sequence of str
        Training ECGs most like this one, one line each.
    measurements : Measurements, optional
    critical : collection of str
        Codes of the findings that can need treatment at once.
    """

    record: str
    signal: np.ndarray
    fs: float
    findings: Sequence[Finding]
    warnings: Sequence[str] = ()
    marks: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""
    duration_s: float = 0.0
    spans: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    not_assessable: Sequence[str] = ()
    similar: Sequence[str] = ()
    measurements: Measurements | None = None
    critical: Collection[str] = ()

    def reported(self) -> list[Finding]:
        """Return the findings that are present, the likeliest first."""
        return _likeliest_first(finding for finding in self.findings if finding.present)

    def not_excluded(self) -> list[Finding]:
        """Return the findings that are not excluded, critical ones first, then the likeliest."""
        listed = _likeliest_first(finding for finding in self.findings if finding.not_excluded)
        return sorted(listed, key=lambda finding: finding.code not in self.critical)

    def alternatives(self, code: str) -> list[Finding]:
        """Return the findings that a finding is reported in place of, the likeliest first."""
        return alternatives(self.findings, code)

    def groups(self) -> list[tuple[str, list[Finding]]]:
        """Return all that is reported, all that is not excluded, and the likeliest others.

        Alternatives of a reported finding are shown with it. Groups without a finding are left out.
        """
        first = [*self.reported(), *self.not_excluded()]
        others = _likeliest_first(
            finding
            for finding in self.findings
            if finding not in first and not finding.alternative_to
        )
        groups = {
            "Reported": self.reported(),
            "Not reported, but not excluded": self.not_excluded(),
            "Not reported": others[: max(0, N_SHOWN - len(first))],
        }
        return [(title, findings) for title, findings in groups.items() if findings]

    def measured(self) -> list[tuple[str, str, str]]:
        """Return name, value with spread, and remark of each measurement that has no lead."""
        if self.measurements is None:
            return []
        named = {name: getattr(self.measurements, name) for name in UNITS}
        return [(NAMES[name], value_text(one), one.reason) for name, one in named.items()]

    def measured_leads(self) -> list[tuple[str, list[str]]]:
        """Return the names of R, S and ST with their values in the leads of ``lead_names``, mV."""
        if self.measurements is None:
            return []
        named = {name: getattr(self.measurements, name).values() for name in PER_LEAD}
        return [
            (NAMES[name], ["–" if one.value is None else f"{one.value:.2f}" for one in values])
            for name, values in named.items()
        ]

    def lead_names(self) -> list[str]:
        """Return the leads that were measured."""
        return [] if self.measurements is None else list(self.measurements.r)

    def share(self, code: str) -> str:
        """Return the share of the record in which a finding is present."""
        return f"{sum(end - start for start, end in self.spans[code]) / self.duration_s:.0%}"


def _likeliest_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.probability)


def make_record_report(
    predictor: Predictor, prediction: Prediction, codes: Sequence[str]
) -> RecordReport:
    """Make the report of a prediction, with attributions of some findings.

    Parameters
    ----------
    predictor : Predictor
    prediction : Prediction
    codes : sequence of str
        Findings whose attributions are shown; errors as ``Predictor.attribute``.
    """
    fs = float(predictor.artifact.waveform["to_fs"])
    attributions = predictor.attribute(prediction.signal, codes) if codes else np.empty(0)
    marks = {
        code: mark_strength(values, fs) for code, values in zip(codes, attributions, strict=True)
    }
    vocabulary = predictor.artifact.vocabulary
    assessable = [f for f in prediction.findings if f.assessable]
    signal = from_int16(prediction.signal)
    report = RecordReport(
        visible(prediction.record),
        signal,
        fs,
        assessable,
        prediction.warnings,
        marks,
        not_assessable=[f.name for f in prediction.findings if not f.assessable],
        similar=[
            f"{each.record or each.ecg_id} (cosine {each.cosine:.2f}): "
            f"{', '.join(each.findings) or 'no finding'}"
            for each in prediction.similar
        ],
        measurements=prediction.measurements,
        critical=[f.code for f in assessable if vocabulary.entry(f.code).critical],
    )
    if prediction.timeline:
        spans = {
            f.code: prediction.timeline.stretches(f.code) for f in prediction.findings if f.present
        }
        note, duration_s = prediction.timeline.note(), prediction.timeline.windows.duration_s
        report = replace(report, note=note, duration_s=duration_s, spans=spans)
    return report


def value_text(one: Measurement, with_spread: bool = True) -> str:
    """Return a measurement with its unit, or that it is not measurable."""
    if one.value is None:
        return "not measurable"
    unit = {"degrees": "°", "1/min": "/min"}.get(one.unit, f" {one.unit}")
    spread = f" ± {one.spread:.0f}" if with_spread and one.spread is not None else ""
    return f"{one.value:.0f}{spread}{unit}"


def measurement_line(measurements: Measurements) -> str:
    """Return the measurements on one line, as on the print of an electrocardiograph."""
    named = {name: getattr(measurements, name) for name in UNITS}
    text = {
        name: "–" if one.value is None else value_text(one, with_spread=False)
        for name, one in named.items()
    }
    return (
        f"Rate {text['rate']}   PR {text['pr']}   QRS {text['qrs']}   QT {text['qt']}   "
        f"QTc {text['qtc_bazett']} (Bazett), {text['qtc_fridericia']} (Fridericia)   "
        f"axes P {text['p_axis']}, QRS {text['qrs_axis']}, T {text['t_axis']}"
    )


def mark_strength(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Return positive attributions (12, n_samples) as marks from 0 to 1, smoothed over 0.1 s."""
    width = max(1, round(0.1 * fs))
    kernel = np.hanning(width + 2)[1:-1]
    positive = np.apply_along_axis(np.convolve, 1, attribution, kernel / kernel.sum(), "same")
    positive = positive.clip(min=0)
    top = np.percentile(positive[positive > 0], 98) if (positive > 0).any() else 0.0
    marks: np.ndarray = (positive / top).clip(0, 1) if top > 0 else np.zeros_like(positive)
    return np.where(marks > 0.15, 0.75 * marks, 0.0)


def check_report_path(path: str | Path, n_pages: int = 1) -> None:
    """Check that a report is to be written as HTML, PDF, or a picture of its only page.

    Parameters
    ----------
    path : str or Path
    n_pages : int
        Records, and attributions of their findings.

    Raises
    ------
    ValueError
        If the name ends in none of ``SUFFIXES``, or a picture would have several pages.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"report={path}: expected a name that ends in .html, .pdf or .png")
    if suffix == ".png" and n_pages > 1:
        raise ValueError(
            f"report={path}: a picture has one record and no attributions; expected a name that "
            "ends in .html or .pdf"
        )


def write_record_reports(
    path: str | Path, reports: Sequence[RecordReport], model: str, rule: str
) -> None:
    """Write the reports to one file, HTML, PDF or PNG by its suffix.

    Parameters
    ----------
    path : str or Path
        Appears whole or not at all.
    reports : sequence of RecordReport
    model : str
        Model that made the predictions, with its version.
    rule : str
        Threshold rule by which a finding is present.

    Raises
    ------
    ValueError
        As ``check_report_path``.
    OSError
        If the file cannot be written.
    """
    check_report_path(path, sum(1 + len(report.marks) for report in reports))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as partial:
        if path.suffix.lower() == ".pdf":
            with with_all_letters():
                _write_pdf(partial, reports, model, rule)
        elif path.suffix.lower() == ".png":
            with with_all_letters():
                for report in reports:
                    _page(report, model, rule).savefig(partial, format="png", dpi=PICTURE_DPI)
        else:
            partial.write_text(_html(reports, model, rule), encoding="utf-8")


def _html(reports: Sequence[RecordReport], model: str, rule: str) -> str:
    sections = []
    for report in reports:
        name_of = {finding.code: finding.name for finding in report.findings}
        plain = ecg_figure(report.signal, report.fs)
        attributions = [
            {
                "code": code,
                "name": name_of[code],
                "figure": inline_figure(
                    ecg_figure(report.signal, report.fs, marked=marked),
                    "png",
                    f"Samples that support {name_of[code]}, marked on the ECG",
                ),
            }
            for code, marked in report.marks.items()
        ]
        figure = inline_figure(plain, "svg", f"12-lead ECG of {report.record}")
        sections.append({"report": report, "figure": figure, "attributions": attributions})
    # Without the time, so that the same records give the same bytes.
    return load_template("record_report.html.j2").render(sections=sections, model=model, rule=rule)


def _page(report: RecordReport, model: str, rule: str) -> Figure:
    """Return the ECG with its findings and warnings as one page."""
    lines = _lines_of_findings(report)
    if report.measurements is not None:
        lines.insert(0, measurement_line(report.measurements))
    lines += [report.note] if report.note else []
    if report.not_assessable:
        lines.append(f"Not assessable in these leads: {len(report.not_assessable)} findings")
    lines += [f"Similar training ECG {one}" for one in report.similar]
    lines += [f"Warning: {sentence}" for sentence in report.warnings]
    lines.append(f"{model}, thresholds {rule}")
    lines = [part for line in lines for part in _wrapped(line)]
    return ecg_figure(report.signal, report.fs, report.record, lines)


def _lines_of_findings(report: RecordReport) -> list[str]:
    """Return what is reported with its likelihood, alternatives, and what is not excluded."""
    lines = ["Reported:"] if report.reported() else ["None of the findings is reported."]
    for finding in report.reported():
        lines.append(f"  {finding.name} ({finding.code}): {_in_words(finding)}")
        lines += [
            f"     or {other.name} ({other.code}): {_in_words(other)}"
            for other in report.alternatives(finding.code)
        ]
    if listed := report.not_excluded():
        names = [
            f"{f.name}{', time-critical,' if f.code in report.critical else ''} "
            f"{percent(f.probability)}"
            for f in listed[:N_LISTED]
        ]
        more = f"; and {len(listed) - N_LISTED} more" if len(listed) > N_LISTED else ""
        lines.append(f"Not reported, but not excluded: {'; '.join(names)}{more}")
    return lines


def _wrapped(line: str) -> list[str]:
    """Return a line in parts that fit the page; letters of other scripts are twice as wide."""
    indent = " " * (len(line) - len(line.lstrip()))
    is_wide = any(unicodedata.east_asian_width(letter) in "FW" for letter in line)
    parts = textwrap.wrap(
        line.replace(" %", "\xa0%"),
        N_LETTERS // 2 if is_wide else N_LETTERS,
        subsequent_indent=f"{indent}    ",
    )
    return [part.replace("\xa0%", " %") for part in parts] or [line]


def _in_words(finding: Finding) -> str:
    return f"{finding.likelihood}, {percent(finding.probability)}"


def _write_pdf(path: Path, reports: Sequence[RecordReport], model: str, rule: str) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    about = {"Title": "ECG findings", "Creator": "ecg_siglip", "CreationDate": None}
    with PdfPages(path, metadata=about) as pages:
        for report in reports:
            pages.savefig(_page(report, model, rule))
            for code, marked in report.marks.items():
                title = f"{report.record}: samples that support {code}"
                pages.savefig(ecg_figure(report.signal, report.fs, title, marked=marked))
