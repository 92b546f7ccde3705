"""Handlers of the web page's events: from uploads and inputs to predictions and HTML."""

from __future__ import annotations

import base64
import functools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.core.translation import ENGLISH, LANGUAGE_NAMES, translations, translator
from ecg_siglip.inference.pipeline import threshold_rule
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.metrics.decision_rules import OPERATING_POINTS
from ecg_siglip.readers.file_format import is_picture
from ecg_siglip.reporting.html import load_template
from ecg_siglip.reporting.record_report import RecordReport, value_text
from ecg_siglip.reporting.record_texts import model_text, operating_point, with_code
from ecg_siglip.serving.clients import current_client
from ecg_siglip.serving.file_settings import (
    decision_settings,
    request_settings,
    with_field_names,
)
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.upload_folder import remove_uploads
from ecg_siglip.serving.uploads import PREFIX, UploadResult, save_uploads, to_csv
from ecg_siglip.signals.measurements import UNITS
from ecg_siglip.vocabulary.question_matching import N_SHOWN, Match

TEMPLATES = Path(__file__).with_name("templates")
# Findings that every ECG has or lacks: not the first choice of a finding to explain.
NOT_EXPLAINED_FIRST = ("NORM", "SR")
MIME_TYPES = {".html": "text/html", ".pdf": "application/pdf"}
EXPECTED_ERRORS = (ValueError, OSError, QueueFull)


@dataclass(frozen=True)
class Problem:
    """An event that failed.

    Attributes
    ----------
    html : str
        Message for the page.
    was_read : bool
        The ECG was read and predicted; only the page could not be drawn.
    is_final : bool
        The files are no ECG; they were removed, since no setting makes them readable.
    """

    html: str
    was_read: bool = False
    is_final: bool = False


@dataclass(frozen=True)
class EcgView:
    """One ECG on the page.

    Attributes
    ----------
    prediction : Prediction
    summary, ecg, findings, measurements, similar : str
        HTML of the parts of the page.
    can_draw_similar : bool
        The similar training ECGs can be shown as pictures.
    choices : list of (label, code)
        Findings that can be explained, the likeliest first; the empty code stands for none.
    explained : str
        Code of the finding to explain first, or empty.
    """

    prediction: Prediction
    summary: str
    ecg: str
    findings: str
    measurements: str
    similar: str
    can_draw_similar: bool
    choices: list[tuple[str, str]]
    explained: str


@dataclass(frozen=True)
class Decision:
    """One ECG decided at another operating point, with the HTML of its findings."""

    prediction: Prediction
    findings: str


@dataclass(frozen=True)
class Table:
    """Many ECGs: the HTML of their table, and the CSV with all findings as a download."""

    html: str
    csv: str
    n_predictions: int


@functools.cache
def parts_of_page(language: str) -> Any:
    """Return the macros of ``web_page.html.j2``, in a language."""
    return load_template("web_page.html.j2", TEMPLATES, language=language).module


class WebHandlers:
    """Handlers of the page's events, one method per event.

    Parameters
    ----------
    service : PredictionService
    language : str
        Of the page, key of ``LANGUAGE_NAMES``.

    Attributes
    ----------
    html : module of Jinja macros
        Parts of the page, see ``templates/web_page.html.j2``.

    Notes
    -----
    Uploads are deleted after they are predicted. Only the ``Prediction`` of a record is kept, in
    the memory of its session, with the names of the findings in the language of the page.
    """

    def __init__(self, service: PredictionService, language: str = ENGLISH):
        self.service, self.language = service, language
        self.translate = translator(language)
        self.sentence = translations(language).sentence
        self.html, self.names = parts_of_page(language), self._names_in(language)

    def _names_in(self, language: str) -> dict[str, str]:
        """Return the names of the findings by code."""
        artifact = self.service.predictor.artifact
        names = artifact.vocabulary.names(artifact.codes, language)
        return dict(zip(artifact.codes, names, strict=True))

    def head(self) -> str:
        """Return the title with the name of the model and the links to other languages."""
        provenance = self.service.predictor.artifact.provenance
        model = model_text(self.service.model, self.language)
        return str(self.html.head(model, provenance, LANGUAGE_NAMES))

    def point_choices(self) -> list[tuple[str, str]]:
        """Return the operating points, each in words, and by name."""
        return [(self._point_in_words(point), point) for point in OPERATING_POINTS]

    def _point_in_words(self, point: str) -> str:
        """Return an operating point with its scores on the tuning fold, or else its target."""
        artifact = self.service.predictor.artifact
        rule = threshold_rule(self.service.settings_for({"operating_point": point}))
        scores = {} if artifact.source else artifact.provenance.tune_scores
        return operating_point(rule, self.language, scores)

    def predict_one(
        self, paths: Sequence[str], point: str, is_full: bool, *file_settings: Any
    ) -> EcgView | Problem:
        """Predict the one ECG of an upload (inputs as ``request_settings``)."""
        _ = self.translate
        try:
            settings = request_settings(self.service, point, is_full, *file_settings)
            upload = read_upload(self.service, paths, settings)
            n_records = len(upload.predictions) + len(upload.errors)
            if n_records != 1:
                text = _("%(n)d records; this tab reads one: use the other tab for several")
                raise ValueError(text % {"n": n_records})
            if upload.errors:
                raise ValueError(upload.errors[0][1])
        except EXPECTED_ERRORS as error:
            problem, client = self._problem(error, paths), current_client.get()
            is_picture_only = all(is_picture(Path(path)) for path in paths)
            if is_picture_only or (client is not None and client.has_left):
                remove_uploads(paths)  # no setting makes them readable, or nobody will try one
                return replace(problem, is_final=True)
            return problem
        try:
            view = self._view(self._named(upload.predictions[0]), settings)
        except EXPECTED_ERRORS as error:
            return replace(self._problem(error), was_read=True)
        remove_uploads(paths)
        return view

    def decide(self, prediction: Prediction, point: str, is_full: bool) -> Decision | Problem:
        """Decide again at another operating point, or with the other list of what is possible."""
        settings = self.service.settings_for(decision_settings(point, is_full))
        try:
            prediction = self._named(self.service.decide(prediction, settings))
            return Decision(prediction, self._findings(prediction, threshold_rule(settings)))
        except EXPECTED_ERRORS as error:
            return self._problem(error)

    def explain(self, prediction: Prediction, code: str) -> str | Problem:
        """Draw the ECG with the samples marked that support a finding; an empty code marks none."""
        try:
            return self._ecg(prediction, code)
        except EXPECTED_ERRORS as error:
            return self._problem(error)

    def draw_similar(self, prediction: Prediction) -> str | Problem:
        """Draw the similar training ECGs."""
        try:
            figures = self._run(lambda: self.service.draw_similar(prediction, self.language))
        except EXPECTED_ERRORS as error:
            return self._problem(error)
        return self._similar(prediction, figures)

    def interpret_question(self, prediction: Prediction, question: str) -> str:
        """Show the findings that match a question in words, in the language of the question."""
        if not question.strip():
            return ""
        try:
            result = self._run(
                lambda: self.service.interpret_question(prediction, question, self.language)
            )
            report = self._run(lambda: self._report(prediction))
        except EXPECTED_ERRORS as error:
            return self._problem(error).html
        by_code = {finding.code: finding for finding in report.findings}

        def rows(matches: Iterable[Match]) -> Any:
            """Return the findings, the likeliest first."""
            found = [
                replace(by_code[match.code], name=match.name)
                for match in matches
                if match.code in by_code
            ]
            found.sort(key=lambda finding: -finding.probability)
            return replace(report, findings=found[: 2 * N_SHOWN]) if found else None

        nearest = rows(match for term in result.lacking for match in term.nearest)
        not_assessable = [m.name for m in result.matches if m.code not in by_code]
        found = rows(result.matches)
        html, names = parts_of_page(result.language), self._names_in(result.language)
        return str(html.question(result, found, nearest, not_assessable, names))

    def download_report(self, prediction: Prediction, code: str, point: str, suffix: str) -> str:
        """Return the record report as a download, ``.html`` or ``.pdf``."""
        rule = threshold_rule(self.service.settings_for({"operating_point": point}))
        codes = [code] if code else []
        content = self._run(
            lambda: self.service.render_report(prediction, codes, suffix, rule, self.language)
        )
        name = f"{Path(prediction.record).stem}{suffix}"
        return download_source(name, MIME_TYPES[suffix], content)

    def predict_many(
        self, paths: Sequence[str], point: str, is_full: bool, *file_settings: Any
    ) -> Table | Problem:
        """Predict all ECGs of an upload (inputs as ``request_settings``)."""
        try:
            settings = request_settings(self.service, point, is_full, *file_settings)
            upload = read_upload(self.service, paths, settings)
        except EXPECTED_ERRORS as error:
            return self._problem(error, paths)
        finally:
            remove_uploads(paths)
        csv = download_source("findings.csv", "text/csv", to_csv(upload).encode("utf-8-sig"))
        named = [self._named(prediction) for prediction in upload.predictions]
        errors = [
            (record, with_field_names(error, self.translate)) for record, error in upload.errors
        ]
        html = str(self.html.many(UploadResult(named, errors), self.sentence))
        return Table(html, csv, len(upload.predictions))

    def _run(self, task: Callable[[], Any]) -> Any:
        return run_in_turn(self.service, task)

    def _report(self, prediction: Prediction) -> RecordReport:
        return self.service.make_report(prediction, language=self.language)

    def _named(self, prediction: Prediction) -> Prediction:
        """Return a prediction with the names of its findings in the language of the page."""
        findings = [replace(each, name=self.names[each.code]) for each in prediction.findings]
        return replace(prediction, findings=findings)

    def _problem(self, error: Exception, paths: Sequence[str] = ()) -> Problem:
        """Return an error as HTML; of a picture among the files, what is needed instead."""
        message = with_field_names(one_line(error), self.translate)
        pictures = [Path(path).name for path in paths if is_picture(Path(path))]
        return Problem(str(self.html.error(message, pictures, self.sentence)))

    def _view(self, prediction: Prediction, settings: config.PredictConfig) -> EcgView:
        _ = self.translate
        ordered = sorted(prediction.findings, key=lambda f: (not f.present, -f.probability))
        choices = [(_("nothing"), "")] + [(with_code(f.name, f.code), f.code) for f in ordered]
        explained = [f.code for f in ordered if f.present and f.code not in NOT_EXPLAINED_FIRST]
        report = self._run(lambda: self._report(prediction))
        beat = self._run(lambda: self.service.draw_median_beat(prediction, self.language))
        return EcgView(
            prediction,
            str(self.html.summary(prediction, report, self._strip(prediction), self.sentence)),
            self._ecg(prediction, ""),
            self._findings(prediction, threshold_rule(settings)),
            str(self.html.measurements(report, beat)),
            self._similar(prediction, {}),
            bool(prediction.similar) and self.service.settings.similar_root is not None,
            choices,
            (explained or [""])[0],
        )

    def _strip(self, prediction: Prediction) -> list[tuple[str, str]]:
        """Return the measurements of the first line: name, and value with unit."""
        _ = self.translate
        measured = prediction.measurements
        if measured is None:
            return []
        values = {
            name: "–" if one.value is None else value_text(one, _, with_spread=False)
            for name, one in ((name, getattr(measured, name)) for name in UNITS)
        }
        axes = " / ".join(values[f"{wave}_axis"] for wave in ("p", "qrs", "t"))
        return [
            (_("Heart rate"), values["rate"]),
            (_("PR"), values["pr"]),
            (_("QRS duration"), values["qrs"]),
            (_("QT"), values["qt"]),
            (_("QTc (Bazett)"), values["qtc_bazett"]),
            (_("QTc (Fridericia)"), values["qtc_fridericia"]),
            (_("Axes P / QRS / T"), axes),
        ]

    def _ecg(self, prediction: Prediction, code: str) -> str:
        figures = self._run(lambda: self.service.draw_ecg(prediction, code or None, self.language))
        note = self._report(prediction).attribution_note()
        return str(self.html.ecg(figures, self.names.get(code, ""), note))

    def _similar(self, prediction: Prediction, figures: dict[str, Any]) -> str:
        can_show = self.service.settings.similar_root is not None
        rows = [
            replace(each, findings=[self.names[code] for code in each.findings])
            for each in prediction.similar
        ]
        return str(self.html.similar(rows, figures, can_show))

    def _findings(self, prediction: Prediction, rule: str) -> str:
        report = self._run(lambda: self._report(prediction))
        point = operating_point(rule, self.language, report.tune_scores)
        return str(self.html.findings(report, point))


def run_in_turn(service: PredictionService, task: Callable[[], Any]) -> Any:
    """Return the result of a task after those that were submitted before it.

    Raises
    ------
    QueueFull
        If too many are waiting, or the result is not ready in time.
    """
    future = service.submit(task)
    try:
        return future.result(service.settings.timeout_s)
    except (TimeoutError, CancelledError) as error:  # cancelled: the client left
        future.cancel()
        raise service.too_late() from error


def read_upload(
    service: PredictionService, paths: Sequence[str], settings: config.PredictConfig
) -> UploadResult:
    """Predict the files that Gradio has stored, from a temporary folder of their own.

    Raises
    ------
    ValueError
        If there are too many files, one has been deleted, or two have the same name.
    QueueFull
        As ``run_in_turn``.
    """
    if len(paths) > service.settings.max_files:
        raise ValueError(f"{len(paths)} files; expected {service.settings.max_files} at most")
    if not all(Path(path).is_file() for path in paths):
        raise ValueError("the files have been deleted in the meantime; please drop them again")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        for path in paths:
            with open(path, "rb") as file:
                save_uploads([(Path(path).name, file)], Path(folder))
        return run_in_turn(service, lambda: service.predict_folder(Path(folder), settings))


def download_source(name: str, kind: str, content: bytes) -> str:
    """Return a file as ``name|data URL``, which the page's script saves as a download."""
    return f"{name}|data:{kind};base64,{base64.b64encode(content).decode()}"
