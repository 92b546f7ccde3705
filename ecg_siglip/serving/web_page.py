"""Web page for a trained model: drop an ECG, see it, its findings and what supports them."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecg_siglip.core.translation import ENGLISH
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.file_settings import SETTINGS, field_names
from ecg_siglip.serving.json_api import make_api
from ecg_siglip.serving.monitoring import Metrics
from ecg_siglip.serving.page_language import PATHS, PageLanguages
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.protection import protect
from ecg_siglip.serving.upload_folder import KEPT_S, UploadFolder
from ecg_siglip.serving.web_handlers import TEMPLATES, Problem, WebHandlers

N_SPARE = 8  # threads in addition to those of the waiting requests
# From the hidden field into the browser's downloads: no file is left on the server.
DOWNLOAD = """(content) => {
  if (!content) return;
  const [name, source] = content.split("|");
  const link = document.createElement("a");
  link.href = source; link.download = name; link.click();
}"""
# The focus goes to the result or the error, so that the keyboard and a screen reader are there. The
# elements may appear a moment after the event.
FOCUS = """() => {
  const targets = "#problem .error, #many .error, #many h2, #result-title";
  const find = () => [...document.querySelectorAll(targets)].find((each) => each.offsetParent);
  const started = Date.now();
  const move = () => find() ? find().focus() : Date.now() - started < 2000 && setTimeout(move, 50);
  setTimeout(move, 50);
}"""
# Each event is one request and one response. Gradio's queue would send results by a stream that is
# opened and closed around each event, and an event that comes just as it closes can be lost. The
# prediction service limits how many requests wait and for how long.
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "queue": False}


def page(service: PredictionService, language: str = ENGLISH) -> Any:
    """Build the page in one language as Gradio's Blocks, not yet mounted."""
    import gradio as gr

    handlers = WebHandlers(service, language)
    _ = handlers.translate
    with gr.Blocks(title=_("ECG findings"), analytics_enabled=False) as blocks:
        gr.HTML(handlers.head())
        with gr.Tab(_("One ECG")):
            one = OneEcgTab(handlers)
        with gr.Tab(_("Many, as CSV")):
            many = ManyEcgsTab(handlers)
        one.wire_events()
        many.wire_events()
    for drop in (one.files, many.files):
        _only_uploads(drop)
    # Gradio treats a mounted page as not launched yet and would let it read any file.
    blocks.has_launched = True
    # A waiting request occupies a thread. These threads are a pool of their own, larger than the
    # service's queue: other requests do not wait for them, and the surplus is refused at once.
    blocks.max_threads = service.settings.max_waiting + N_SPARE
    blocks.state_session_capacity = service.settings.max_sessions
    return blocks


class OneEcgTab:
    """The tab for one ECG: its components, and the updates that each event returns.

    Parameters
    ----------
    handlers : WebHandlers
    """

    def __init__(self, handlers: WebHandlers):
        import gradio as gr

        self.handlers, _ = handlers, handlers.translate
        self.state = gr.State(None, time_to_live=3600)
        # Files that could not be read, for a second try with other settings; the upload field is
        # ready for other ones.
        self.unread = gr.State([], time_to_live=KEPT_S)
        with gr.Row(elem_classes="inputs"):
            self.files = gr.File(
                label=_("Files of one ECG"), file_count="multiple", height=150, scale=2
            )
            with gr.Column(scale=3, min_width=280):
                self.point, self.is_full = _decision_settings(gr, handlers)
                self.file_settings = _file_settings(gr, handlers)
        self.problem = gr.HTML(visible=False, elem_id="problem")
        self.again = gr.Button(_("Read again"), visible=False, variant="primary")
        self.hint = gr.HTML(str(handlers.html.hint()))
        with gr.Column(visible=False, elem_id="result") as self.result:
            self.summary = gr.HTML(elem_id="summary")
            self.ecg = gr.HTML(elem_id="ecg")
            self._build_actions(gr)
            with gr.Row():
                with gr.Column(scale=3, min_width=320):
                    self.findings = gr.HTML(elem_id="findings")
                    self._build_questions(gr)
                    self.similar = gr.HTML(elem_id="similar")
                    self.show_similar = gr.Button(
                        _("Show the similar ECGs"), visible=False, size="md"
                    )
                with gr.Column(scale=2, min_width=300):
                    self.measurements = gr.HTML(elem_id="measurements")

    def _build_actions(self, gr: Any) -> None:
        """Build the choice of a finding to explain, and the downloads."""
        _ = self.handlers.translate
        with gr.Row(elem_id="actions"):
            self.explained = gr.Dropdown(
                [(_("nothing"), "")],
                value="",
                label=_("Mark the samples that support"),
                elem_id="why",
                scale=3,
                min_width=300,
            )
            self.as_html = gr.Button(_("Record report (HTML)"), size="md", min_width=140)
            self.as_pdf = gr.Button(_("Record report (PDF)"), size="md", min_width=140)
        self.download = gr.Textbox(visible="hidden")

    def _build_questions(self, gr: Any) -> None:
        """Build the field for questions."""
        _ = self.handlers.translate
        with gr.Group():
            self.question = gr.Textbox(
                label=_("Question in words"),
                placeholder=_("is there a left bundle branch block?"),
                elem_id="question",
                max_length=300,
                submit_btn=_("Send"),
            )
        self.question_result = gr.HTML(elem_id="question-result")

    def wire_events(self) -> None:
        """Connect the components to the handlers."""
        inputs = [self.point, self.is_full, *self.file_settings]
        outputs = [self.files, self.unread, self.state]
        outputs += [self.summary, self.ecg, self.findings, self.explained]
        outputs += [self.measurements, self.similar, self.show_similar]
        outputs += [self.question_result, self.question]
        outputs += [self.problem, self.again, self.hint, self.result]
        explain = (self.explain, [self.state, self.explained], [self.ecg, self.problem])
        for event, files in ((self.files.upload, self.files), (self.again.click, self.unread)):
            shown = event(self.predict, [files, *inputs], outputs, **EVENT)
            shown.then(None, None, None, js=FOCUS).then(*explain, **EVENT)
        outputs = [self.state, self.findings, self.problem]
        inputs = [self.state, self.point, self.is_full]
        for changed in (self.point.input, self.is_full.input):
            changed(self.decide, inputs, outputs, **EVENT)
        self.explained.input(*explain, **EVENT)
        outputs = [self.similar, self.show_similar, self.problem]
        self.show_similar.click(self.draw_similar, self.state, outputs, **EVENT)
        inputs = [self.state, self.question]
        self.question.submit(self.interpret_question, inputs, self.question_result, **EVENT)
        inputs = [self.state, self.explained, self.point]
        for button, suffix in ((self.as_html, ".html"), (self.as_pdf, ".pdf")):
            button.click(self.report_writer(suffix), inputs, self.download, **EVENT).then(
                None, self.download, None, js=DOWNLOAD
            )

    def predict(self, paths: list[str], point: str, is_full: bool, *file_settings: Any) -> Any:
        """Show the prediction of the uploaded ECG, or the reason why there is none."""
        import gradio as gr

        if not paths:
            return gr.skip()
        view = self.handlers.predict_one(paths, point, is_full, *file_settings)
        if isinstance(view, Problem):
            updates = self._show(view) | {self.files: None}
            updates |= {self.unread: [] if view.is_final else paths}
            updates |= {self.again: gr.update(visible=not view.is_final)}
            if view.was_read:
                return updates
            return updates | {
                self.state: None,
                self.hint: gr.update(visible=True),
                self.result: gr.update(visible=False),
            }
        return {
            self.files: None,
            self.unread: [],
            self.state: view.prediction,
            self.summary: view.summary,
            self.ecg: view.ecg,
            self.findings: view.findings,
            self.measurements: view.measurements,
            self.similar: view.similar,
            self.show_similar: gr.update(visible=view.can_draw_similar),
            self.explained: gr.update(choices=view.choices, value=view.explained),
            self.question_result: "",
            self.question: "",
            self.problem: gr.update(visible=False),
            self.again: gr.update(visible=False),
            self.hint: gr.update(visible=False),
            self.result: gr.update(visible=True),
        }

    def decide(self, prediction: Prediction | None, point: str, is_full: bool) -> Any:
        """Show the findings of the same ECG at another operating point."""
        import gradio as gr

        if prediction is None:
            return gr.skip()
        decision = self.handlers.decide(prediction, point, is_full)
        if isinstance(decision, Problem):
            return self._show(decision)
        return {
            self.state: decision.prediction,
            self.findings: decision.findings,
            self.problem: gr.update(visible=False),
        }

    def explain(self, prediction: Prediction | None, code: str) -> Any:
        """Show the ECG with the samples marked that support a finding."""
        import gradio as gr

        if prediction is None:
            return gr.skip()
        ecg = self.handlers.explain(prediction, code)
        return self._show(ecg) if isinstance(ecg, Problem) else {self.ecg: ecg}

    def draw_similar(self, prediction: Prediction | None) -> Any:
        """Show the similar training ECGs as pictures."""
        import gradio as gr

        if prediction is None:
            return gr.skip()
        similar = self.handlers.draw_similar(prediction)
        if isinstance(similar, Problem):
            return self._show(similar)
        return {self.similar: similar, self.show_similar: gr.update(visible=False)}

    def interpret_question(self, prediction: Prediction | None, question: str) -> str:
        """Show the findings that match a question."""
        return self.handlers.interpret_question(prediction, question) if prediction else ""

    def report_writer(self, suffix: str) -> Callable[[Prediction | None, str, str], str]:
        """Return the handler that writes the record report, ``.html`` or ``.pdf``."""

        def write(prediction: Prediction | None, code: str, point: str) -> str:
            if prediction is None:
                return ""
            return self.handlers.download_report(prediction, code, point, suffix)

        return write

    def _show(self, problem: Problem) -> dict[Any, Any]:
        import gradio as gr

        return {self.problem: gr.update(value=problem.html, visible=True)}


class ManyEcgsTab:
    """The tab for many ECGs: its components, and the updates of its event.

    Parameters
    ----------
    handlers : WebHandlers
    """

    def __init__(self, handlers: WebHandlers):
        import gradio as gr

        self.handlers, settings = handlers, handlers.service.settings
        _ = handlers.translate
        with gr.Row(elem_classes="inputs"):
            self.files = gr.File(
                label=_("Files of many ECGs, up to %(n)d") % {"n": settings.max_files},
                file_count="multiple",
                height=150,
                scale=2,
                elem_id="many-files",
            )
            with gr.Column(scale=3, min_width=280):
                self.point, self.is_full = _decision_settings(gr, handlers)
                self.file_settings = _file_settings(gr, handlers)
        self.table = gr.HTML(elem_id="many")
        self.csv = gr.Button(_("Findings as CSV"), visible=False, variant="primary")
        self.download = gr.Textbox(visible="hidden")

    def wire_events(self) -> None:
        """Connect the components to the handlers."""
        inputs = [self.files, self.point, self.is_full, *self.file_settings]
        outputs = [self.files, self.table, self.download, self.csv]
        shown = self.files.upload(self.predict, inputs, outputs, **EVENT)
        shown.then(None, None, None, js=FOCUS)
        self.csv.click(None, self.download, None, js=DOWNLOAD)

    def predict(self, paths: list[str], point: str, is_full: bool, *file_settings: Any) -> Any:
        """Show the predictions of the uploaded ECGs as a table."""
        import gradio as gr

        if not paths:
            return gr.skip()
        table = self.handlers.predict_many(paths, point, is_full, *file_settings)
        if isinstance(table, Problem):
            return {
                self.files: None,
                self.table: table.html,
                self.csv: gr.update(visible=False),
            }
        return {
            self.files: None,
            self.table: table.html,
            self.download: table.csv,
            self.csv: gr.update(visible=table.n_predictions > 0),
        }


def _decision_settings(gr: Any, handlers: WebHandlers) -> tuple[Any, Any]:
    """Build the choice of the operating point, and of the full list of what is not excluded."""
    _ = handlers.translate
    point = gr.Radio(
        handlers.point_choices(),
        value=handlers.service.settings.operating_point,
        label=_("Operating point"),
    )
    is_full = gr.Checkbox(False, label=_("List everything that is not excluded"))
    return point, is_full


def _file_settings(gr: Any, handlers: WebHandlers) -> list[Any]:
    """Build the fields for what a file does not state, in the order of ``SETTINGS``."""
    _ = handlers.translate
    as_in_file, names = _("as in the file"), field_names(_)
    units = [(as_in_file, ""), "nV", "uV", "mV", "V"]

    def text(setting: str, placeholder: str = as_in_file) -> Any:
        return gr.Textbox("", label=names[setting], placeholder=placeholder, min_width=150)

    with gr.Accordion(_("Values that the file does not state, and accepted defects"), open=False):
        with gr.Row():
            fs = text("read.fs")
            unit = gr.Dropdown(units, value="", label=names["read.units"], min_width=150)
            gain = text("read.gain")
        leads = text("read.leads", "I, II, III, aVR, ...")
        allowed = [gr.Checkbox(False, label=names[name]) for name in SETTINGS if ".allow_" in name]
        sustained_s = text("windows.sustained_s", "30")
    return [fs, unit, gain, leads, *allowed, sustained_s]


def _only_uploads(drop: Any) -> None:
    """Let a file component accept uploaded files only, and neither addresses nor other paths."""

    async def accept_upload(path: str | Path | None) -> str | None:
        if path is None:
            return None
        uploads, file = Path(os.environ["GRADIO_TEMP_DIR"]).resolve(), Path(path).resolve()
        if not file.is_relative_to(uploads):
            raise ValueError("not a file that was uploaded here")
        return str(file)

    drop.async_move_resource_to_block_cache = accept_upload


@functools.cache
def _separate_uploads() -> None:
    """Let Gradio store each upload in a folder of its own.

    It names the folder after a hash of the content: of two sessions with the same ECG, the first
    that is ready would delete the file of the other.
    """
    from gradio import route_utils

    class SeparateUpload(route_utils.GradioUploadFile):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.sha.update(secrets.token_bytes(32))

    route_utils.GradioUploadFile = SeparateUpload  # type: ignore[misc]


def build(service: PredictionService, uploads: UploadFolder, metrics: Metrics) -> Any:
    """Build the whole application: the page at ``/``, the JSON API and ``/metrics``, protected.

    Parameters
    ----------
    service : PredictionService
    uploads : UploadFolder
        Gradio stores uploads in it.
    metrics : Metrics

    Raises
    ------
    ValueError
        If a package is missing, or as ``protection.protect``.
    """
    settings = service.settings
    # Gradio reads these when the first Blocks is made: no telemetry, and all files in one place.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.path)
    try:
        import gradio as gr
        import python_multipart  # noqa: F401  (FastAPI reads uploads with it)
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"app needs the package {error.name}: pip install 'ecg_siglip[app]'"
        ) from error
    css: Any = load_template("web_page.html.j2", TEMPLATES).module
    sans = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
    _separate_uploads()
    api = make_api(service)
    _add_metrics(api, metrics)
    # The shortest path last: it matches every other one.
    for language, path in sorted(PATHS.items(), key=lambda item: -len(item[1])):
        gr.mount_gradio_app(
            api,
            page(service, language),
            path=path,
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            enable_monitoring=False,
            max_file_size=int(settings.max_mb * 1e6),
            theme=gr.themes.Base(
                primary_hue="blue", font=sans, font_mono=("ui-monospace", "Consolas", "monospace")
            ),
            css=str(css.css()),
        )
    metrics.watch("waiting", "Requests that wait for the model.", lambda: service.n_waiting)
    metrics.watch("upload_bytes", "Size of the uploads of the page.", uploads.n_bytes)
    return protect(PageLanguages(api), settings, uploads, metrics)


def _add_metrics(api: Any, metrics: Metrics) -> None:
    """Add the route for Prometheus."""
    from fastapi.responses import Response

    @api.get("/metrics", include_in_schema=False)
    async def send_metrics() -> Response:
        content, kind = metrics.to_text()
        return Response(content, media_type=kind)
