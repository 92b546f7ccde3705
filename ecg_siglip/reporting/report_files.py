"""Record reports as files: HTML, PDF, or the picture of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import replace_file
from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.reporting.fonts import FONTS, font_family, with_all_letters
from ecg_siglip.reporting.html import inline_figure, load_template
from ecg_siglip.reporting.median_beat_plot import median_beat_figure
from ecg_siglip.reporting.record_page import record_pages
from ecg_siglip.reporting.record_report import RecordReport, report_figure
from ecg_siglip.reporting.record_texts import model_text, operating_point

SUFFIXES = (".html", ".pdf", ".png")
PICTURE_DPI = 150


def check_report_path(path: str | Path, n_pages: int = 1, language: str = ENGLISH) -> None:
    """Check that a report is to be written as HTML, PDF, or a picture of its only page.

    Parameters
    ----------
    path : str or Path
    n_pages : int
        Records, and attributions of their findings.
    language : str
        Of the report.

    Raises
    ------
    ValueError
        If the name ends in none of ``SUFFIXES``, a picture would have several pages, or no font
        for the letters of the language is installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"report={path}: expected a name that ends in .html, .pdf or .png")
    if suffix == ".png" and n_pages > 1:
        raise ValueError(
            f"report={path}: a picture has one record and no attributions; expected a name that "
            "ends in .html or .pdf"
        )
    if suffix != ".html" and language == "ja" and len(font_family()) == 1:
        raise ValueError(
            f"report={path}: no font with Japanese letters is installed; expected a name that ends "
            f"in .html, or one of the fonts {', '.join(FONTS[:3])} (Debian: fonts-noto-cjk)"
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
    check_report_path(path, sum(1 + len(report.marks) for report in reports), reports[0].language)
    path = Path(path)
    language = reports[0].language
    rule = operating_point(rule, language, reports[0].tune_scores)
    model = model_text(model, language)
    about = translator(language)("%(model)s. Operating point: %(rule)s.")
    about %= {"model": model, "rule": rule}
    with replace_file(path) as partial:
        if path.suffix.lower() == ".pdf":
            with with_all_letters():
                _write_pdf(partial, reports, about)
        elif path.suffix.lower() == ".png":
            with with_all_letters():
                for report in reports:
                    page, *_ = record_pages(report, about)
                    page.savefig(partial, format="png", dpi=PICTURE_DPI)
        else:
            with with_all_letters():
                partial.write_text(_html(reports, model, rule), encoding="utf-8")


def _write_pdf(path: Path, reports: Sequence[RecordReport], about: str) -> None:
    """Write the pages of the reports; the same reports give the same bytes."""
    from matplotlib.backends.backend_pdf import PdfPages

    title = ", ".join(report.title for report in reports[:3])
    title += f" + {len(reports) - 3}" if len(reports) > 3 else ""
    metadata: dict[str, Any] = {"Title": title, "Creator": "ecg_siglip", "CreationDate": None}
    with PdfPages(path, metadata=metadata) as pages:
        for report in reports:
            for page in record_pages(report, about):
                pages.savefig(page)


def _html(reports: Sequence[RecordReport], model: str, rule: str) -> str:
    sections = []
    for report in reports:
        _ = translator(report.language)
        alt = _("12-lead ECG of %(record)s") % {"record": report.title}
        attributions = [
            {
                "title": report.support_text(code),
                "figures": _figures(report, "png", report.support_text(code), code),
            }
            for code in report.marks
        ]
        section = {"report": report, "figures": _figures(report, "svg", alt)}
        sections.append({**section, "beat": _beat(report), "attributions": attributions})
    language = reports[0].language
    # Without the time, so that the same records give the same bytes.
    return load_template("record_report.html.j2", language=language).render(
        sections=sections, model=model, rule=rule
    )


def _figures(
    report: RecordReport, kind: str, alt: str, code: str | None = None
) -> dict[str, dict[str, str]]:
    """Return the ECG as inline images for wide and for narrow screens, by layout."""
    return {
        layout: inline_figure(report_figure(report, code, layout), kind, alt)
        for layout in ("standard", "rows")
    }


def _beat(report: RecordReport) -> dict[str, dict[str, str]] | None:
    """Return the median beats as inline images, by layout; None if there is none."""
    if report.measurements is None or report.measurements.beat is None:
        return None
    beat, language = report.measurements.beat, report.language
    alt = translator(language)("Median beat of each lead with the marks of its intervals")
    return {
        layout: inline_figure(
            median_beat_figure(beat, language=language, layout=layout, on_screen=True), "svg", alt
        )
        for layout in ("standard", "rows")
    }
