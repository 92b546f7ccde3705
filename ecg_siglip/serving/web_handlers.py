"""Handlers of the web page's events: from uploads and inputs to predictions and HTML."""

from __future__ import annotations

import base64
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.pipeline import threshold_rule
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.json_api import split_leads
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import PREFIX, UploadResult, save_uploads, to_csv
from ecg_siglip.vocabulary.question_matching import N_SHOWN

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
    """

    html: str
    was_read: bool = False


@dataclass(frozen=True)
class EcgView:
    """One ECG on the page.

    Attributes
    ----------
    prediction : Prediction
    ecg, findings : str
        HTML of the recording and of its findings.
    choices : list of (label, code)
        Findings that can be explained, the likeliest first; the empty code stands for none.
    explained : str
        Code of the finding to explain first, or empty.
    """

    prediction: Prediction
    ecg: str
    findings: str
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


class WebHandlers:
    """Handlers of the page's events, one method per event.

    Parameters
    ----------
    service : PredictionService

    Attributes
    ----------
    html : module of Jinja macros
        Parts of the page, see ``templates/web_page.html.j2``.

    Notes
    -----
    Uploads are deleted after they are predicted. Only the ``Prediction`` of a record is kept, in
    the memory of its session.
    """

    def __init__(self, service: PredictionService):
        self.service = service
        self.html: Any = load_template("web_page.html.j2", TEMPLATES).module

    def head(self) -> str:
        """Return the title with the name of the model."""
        about = self.service.predictor.artifact.provenance
        return str(self.html.head(self.service.model, about.n_train_records, about.simulated))

    def predict_one(
        self, paths: Sequence[str], point: str, *file_settings: Any
    ) -> EcgView | Problem:
        """Predict the one ECG of an upload (``file_settings`` as ``request_settings``)."""
        try:
            settings = request_settings(self.service, point, *file_settings)
            upload = read_upload(self.service, paths, settings)
            n_records = len(upload.predictions) + len(upload.errors)
            if n_records != 1:
                raise ValueError(f"{n_records} records; expected one here, see the tab for many")
            if upload.errors:
                raise ValueError(upload.errors[0][1])
        except EXPECTED_ERRORS as error:
            return self._problem(error)
        try:
            view = self._view(upload.predictions[0], point)
        except EXPECTED_ERRORS as error:
            return replace(self._problem(error), was_read=True)
        remove_uploads(paths)
        return view

    def decide(self, prediction: Prediction, point: str) -> Decision | Problem:
        """Decide again at another operating point."""
        settings = self.service.settings_for({"operating_point": point})
        try:
            prediction = self.service.decide(prediction, settings)
            return Decision(prediction, self._findings(prediction, threshold_rule(settings)))
        except EXPECTED_ERRORS as error:
            return self._problem(error)

    def explain(self, prediction: Prediction, code: str) -> str | Problem:
        """Draw the ECG with the samples marked that support a finding; an empty code marks none."""
        try:
            figure = self._run(lambda: self.service.draw_ecg(prediction, code or None))
        except EXPECTED_ERRORS as error:
            return self._problem(error)
        name = next((f.name for f in prediction.findings if f.code == code), "")
        return str(self.html.ecg(prediction, figure, name))

    def interpret_question(self, prediction: Prediction, question: str) -> str:
        """Show the findings that match a question in free words."""
        if not question.strip():
            return ""
        try:
            result = self._run(lambda: self.service.interpret_question(prediction, question))
            report = self._run(lambda: self.service.make_report(prediction))
        except EXPECTED_ERRORS as error:
            return self._problem(error).html
        by_code = {finding.code: finding for finding in report.findings}
        matching = [by_code[m.code] for m in result.matches if m.code in by_code]
        matching.sort(key=lambda finding: -finding.probability)
        rows = replace(report, findings=matching[:N_SHOWN]) if matching else None
        not_assessable = [m.name for m in result.matches if m.code not in by_code]
        return str(self.html.question(result, rows, len(matching) > 1, not_assessable))

    def download_report(self, prediction: Prediction, code: str, point: str, suffix: str) -> str:
        """Return the record report as a download, ``.html`` or ``.pdf``."""
        rule = threshold_rule(self.service.settings_for({"operating_point": point}))
        codes = [code] if code else []
        content = self._run(lambda: self.service.render_report(prediction, codes, suffix, rule))
        name = f"{Path(prediction.record).stem}{suffix}"
        return download_source(name, MIME_TYPES[suffix], content)

    def predict_many(
        self, paths: Sequence[str], point: str, *file_settings: Any
    ) -> Table | Problem:
        """Predict all ECGs of an upload (``file_settings`` as ``request_settings``)."""
        try:
            settings = request_settings(self.service, point, *file_settings)
            upload = read_upload(self.service, paths, settings)
        except EXPECTED_ERRORS as error:
            return self._problem(error)
        remove_uploads(paths)
        csv = download_source("findings.csv", "text/csv", to_csv(upload).encode("utf-8-sig"))
        return Table(str(self.html.many(upload)), csv, len(upload.predictions))

    def _run(self, task: Callable[[], Any]) -> Any:
        return run_in_turn(self.service, task)

    def _problem(self, error: Exception) -> Problem:
        return Problem(str(self.html.error([one_line(error)])))

    def _view(self, prediction: Prediction, point: str) -> EcgView:
        figure = self._run(lambda: self.service.draw_ecg(prediction, None))
        rule = threshold_rule(self.service.settings_for({"operating_point": point}))
        findings = self._findings(prediction, rule)
        ordered = sorted(prediction.findings, key=lambda f: (not f.present, -f.probability))
        choices = [("nothing", ""), *((f"{f.name} ({f.code})", f.code) for f in ordered)]
        explained = [f.code for f in ordered if f.present and f.code not in NOT_EXPLAINED_FIRST]
        ecg = str(self.html.ecg(prediction, figure, ""))
        return EcgView(prediction, ecg, findings, choices, (explained or [""])[0])

    def _findings(self, prediction: Prediction, rule: str) -> str:
        report = self._run(lambda: self.service.make_report(prediction))
        return str(self.html.findings(report, rule, self.service.model))


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
    except TimeoutError as error:
        future.cancel()
        raise QueueFull(
            f"no result within {service.settings.timeout_s:g} s; please try again"
        ) from error


def request_settings(
    service: PredictionService,
    point: str,
    fs: str,
    units: str,
    gain: str,
    leads: str,
    allow_short: bool,
    allow_flat: bool,
    allow_gaps: bool,
    allow_missing_leads: bool,
    sustained_s: str,
) -> config.PredictConfig:
    """Return the settings of ``predict`` from the fields of the page (errors as
    ``PredictionService.settings_for``)."""
    return service.settings_for(
        {
            "operating_point": point,
            "read.fs": parse_number("read.fs", fs),
            "read.units": units,
            "read.gain": parse_number("read.gain", gain),
            "read.leads": split_leads(leads),
            "waveform.allow_short": allow_short,
            "waveform.allow_flat": allow_flat,
            "waveform.allow_gaps": allow_gaps,
            "waveform.allow_missing_leads": allow_missing_leads,
            "windows.sustained_s": parse_number("windows.sustained_s", sustained_s),
        }
    )


def parse_number(setting: str, text: str) -> float | None:
    """Return the number in a text field, None if it is empty.

    Raises
    ------
    ValueError
        If it contains something else, naming the setting.
    """
    try:
        return float(text) if text.strip() else None
    except ValueError as error:
        raise ValueError(f"{setting}={text[:20]}: expected a number") from error


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


def remove_uploads(paths: Sequence[str]) -> None:
    """Delete the files of an upload that Gradio has stored, each in a folder of its own."""
    for path in paths:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


def sweep(uploads: Path, age_s: float) -> None:
    """Delete everything in the folder of uploads that is older, interrupted uploads included."""
    for path in uploads.iterdir():
        with contextlib.suppress(OSError):  # deleted in the meantime
            if time.time() - path.stat().st_mtime > age_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def download_source(name: str, kind: str, content: bytes) -> str:
    """Return a file as ``name|data URL``, which the page's script saves as a download."""
    return f"{name}|data:{kind};base64,{base64.b64encode(content).decode()}"
