"""One record on one sheet: the ECG on its paper, what is in it, how sure, and why. HTML or PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ecg_siglip.core.files import replace_file
from ecg_siglip.inference.prediction import Finding, Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.html import inline_figure, load_template
from ecg_siglip.signals.preprocessing import from_int16


def make_record_report(
    predictor: Predictor, answer: Prediction, codes: Sequence[str]
) -> RecordReport:
    """An answer as a sheet, with the reasons for these findings (errors as ``attribute``)."""

    fs = float(predictor.artifact.waveform["to_fs"])
    reasons = predictor.attribute(answer.signal, codes) if codes else np.empty(0)
    marks = {code: strength(r, fs) for code, r in zip(codes, reasons, strict=True)}
    assessable = [f for f in answer.findings if f.assessable]
    signal = from_int16(answer.signal)
    drawn = RecordReport(
        answer.record,
        signal,
        fs,
        assessable,
        answer.warnings,
        marks,
        unseen=[f.name for f in answer.findings if not f.assessable],
        similar=[
            f"{each.ecg_id} (cosine {each.cosine:.2f}): {', '.join(each.findings) or 'no finding'}"
            for each in answer.similar
        ],
    )
    if answer.timeline:
        spans = {f.code: answer.timeline.stretches(f.code) for f in answer.findings if f.present}
        note, duration_s = answer.timeline.note(), answer.timeline.windows.duration_s
        drawn = replace(drawn, note=note, duration_s=duration_s, spans=spans)
    return drawn


SUFFIXES = (".html", ".pdf")
N_SHOWN = 12  # findings with a bar at least: all that are present, then the likeliest others


@dataclass(frozen=True)
class RecordReport:
    """What is said of a record.

    Attributes
    ----------
    record : str
    signal : ndarray of shape (12, n_samples), mV
    fs : float, Hz
    findings : sequence of Finding
        All that can be assessed.
    warnings : sequence of str
    marks : mapping of code to ndarray of shape (12, n_samples), 0 to 1
        What speaks for a finding, where it was asked for.
    note : str
        Which part of a longer record the signal is.
    duration_s : float, s
        Of a longer record, as are its spans.
    spans : mapping of code to sequence of (from, to), s
        When a finding is there.
    unseen : sequence of str
        Names of the findings whose criteria lie in leads that are not there.
    similar : sequence of str
        Training ECGs most like this one, a line each.
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
    unseen: Sequence[str] = ()
    similar: Sequence[str] = ()

    def shown(self) -> list[Finding]:
        """All that are present, then the likeliest others."""
        n_shown = max(N_SHOWN, sum(bar.present for bar in self.findings))
        return sorted(self.findings, key=lambda bar: (not bar.present, -bar.probability))[:n_shown]

    def share(self, code: str) -> str:
        """Part of the record in which a finding is there."""
        return f"{sum(end - start for start, end in self.spans[code]) / self.duration_s:.0%}"


def strength(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Attributions (12, n_samples) as marks from 0 to 1: what speaks for it, over 0.1 s."""
    width = max(1, round(0.1 * fs))
    kernel = np.hanning(width + 2)[1:-1]
    positive = np.apply_along_axis(np.convolve, 1, attribution, kernel / kernel.sum(), "same")
    positive = positive.clip(min=0)
    top = np.percentile(positive[positive > 0], 98) if (positive > 0).any() else 0.0
    marks: np.ndarray = (positive / top).clip(0, 1) if top > 0 else np.zeros_like(positive)
    return np.where(marks > 0.15, 0.75 * marks, 0.0)


def check_report_path(path: str | Path) -> None:
    """Refuse a sheet that is neither HTML nor PDF.

    Raises
    ------
    ValueError
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"report={path}: expected a name that ends in .html or .pdf")


def write_record_reports(
    path: str | Path, sheets: Sequence[RecordReport], model: str, rule: str
) -> None:
    """Write the sheets to one file, HTML or PDF by its suffix.

    Parameters
    ----------
    path : str or Path
        Appears whole or not at all.
    sheets : sequence of Sheet
    model : str
        Which model answered, with its version.
    rule : str
        By which thresholds a finding is called present.

    Raises
    ------
    ValueError
        If the suffix is neither ``.html`` nor ``.pdf``.
    OSError
        If the file cannot be written.
    """
    check_report_path(path)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as partial:
        if path.suffix.lower() == ".pdf":
            _write_pdf(partial, sheets, model, rule)
        else:
            partial.write_text(_html(sheets, model, rule), encoding="utf-8")


def _html(sheets: Sequence[RecordReport], model: str, rule: str) -> str:
    drawn = []
    for sheet in sheets:
        name_of = {bar.code: bar.name for bar in sheet.findings}
        plain = ecg_figure(sheet.signal, sheet.fs)
        why = [
            {
                "code": code,
                "name": name_of[code],
                "figure": inline_figure(
                    ecg_figure(sheet.signal, sheet.fs, marked=marked),
                    "png",
                    f"What speaks for {name_of[code]}, marked on the ECG",
                ),
            }
            for code, marked in sheet.marks.items()
        ]
        figure = inline_figure(plain, "svg", f"12-lead ECG of {sheet.record}")
        drawn.append({"sheet": sheet, "figure": figure, "why": why})
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return load_template("record_report.html.j2").render(
        drawn=drawn, model=model, rule=rule, written=written
    )


def _write_pdf(path: Path, sheets: Sequence[RecordReport], model: str, rule: str) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with PdfPages(path, metadata={"Title": "ECG findings", "Creator": "ecg_siglip"}) as pages:
        for sheet in sheets:
            lines = [
                f"{bar.probability:6.2f}  {bar.name} ({bar.code})"
                for bar in sheet.shown()
                if bar.present
            ] or ["none of the findings"]
            lines += [sheet.note] if sheet.note else []
            if sheet.unseen:
                lines.append(f"Cannot be seen in these leads: {len(sheet.unseen)} findings")
            lines += [f"Like training ECG {one}" for one in sheet.similar]
            lines += [f"Warning: {sentence}" for sentence in sheet.warnings]
            lines.append(f"{model}, thresholds {rule}")
            pages.savefig(ecg_figure(sheet.signal, sheet.fs, sheet.record, lines))
            for code, marked in sheet.marks.items():
                title = f"{sheet.record}: what speaks for {code}"
                pages.savefig(ecg_figure(sheet.signal, sheet.fs, title, marked=marked))
