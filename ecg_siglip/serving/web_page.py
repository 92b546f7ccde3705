"""Web page for a trained model: drop an ECG, see it, its findings and what supports them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.metrics.decision_rules import OPERATING_POINTS
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.json_api import make_api
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.request_guard import RequestGuard, allowed_hosts
from ecg_siglip.serving.web_handlers import TEMPLATES, Problem, WebHandlers

# Files that could not be read stay for a second try (with a sampling rate, for example), but not
# longer than this.
KEPT_S, SWEEP_S = 600.0, 30.0
N_SPARE = 8  # threads in addition to those of the waiting requests
# From the hidden field into the browser's downloads: no file is left on the server.
DOWNLOAD = """(content) => {
  if (!content) return;
  const [name, source] = content.split("|");
  const link = document.createElement("a");
  link.href = source; link.download = name; link.click();
}"""
# Each event is one request and one response. Gradio's queue would send results by a stream that is
# opened and closed around each event, and an event that comes just as it closes can be lost. The
# prediction service limits how many requests wait and for how long.
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "queue": False}


def page(service: PredictionService) -> Any:
    """Build the page as Gradio's Blocks, not yet mounted."""
    import gradio as gr

    handlers = WebHandlers(service)
    with gr.Blocks(title="ECG findings", analytics_enabled=False) as blocks:
        gr.HTML(handlers.head())
        with gr.Tab("One ECG"):
            one = OneEcgTab(handlers)
        with gr.Tab("Many, as CSV"):
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
    return blocks


class OneEcgTab:
    """The tab for one ECG: its components, and the updates that each event returns.

    Parameters
    ----------
    handlers : WebHandlers
    """

    def __init__(self, handlers: WebHandlers):
        import gradio as gr

        self.handlers = handlers
        self.state = gr.State(None, time_to_live=3600)
        with gr.Row():
            self.files = gr.File(
                label="Files of one ECG", file_count="multiple", height=140, scale=3
            )
            with gr.Column(scale=2, min_width=280):
                self.point = gr.Radio(
                    OPERATING_POINTS,
                    value=handlers.service.settings.operating_point,
                    label="Screening misses few findings, confirm reports only certain ones",
                )
                self.file_settings = _file_settings(gr)
        self.problem = gr.HTML(visible=False)
        self.again = gr.Button("Read again", visible=False, variant="primary")
        self.hint = gr.HTML(str(handlers.html.hint()))
        with gr.Column(visible=False, elem_id="result") as self.result:
            self.ecg = gr.HTML(elem_id="ecg")
            with gr.Row():
                with gr.Column(scale=3, min_width=320):
                    self.findings = gr.HTML(elem_id="findings")
                with gr.Column(scale=2, min_width=300):
                    self._build_side(gr)

    def _build_side(self, gr: Any) -> None:
        """Build the column with attributions, questions and downloads."""
        self.explained = gr.Dropdown(
            [("nothing", "")], value="", label="Mark the samples that support", elem_id="why"
        )
        with gr.Group():
            self.question = gr.Textbox(
                label="Question in words",
                placeholder="is there a left bundle branch block?",
                elem_id="question",
                max_length=300,
                submit_btn=True,
            )
        self.question_result = gr.HTML(elem_id="question-result")
        with gr.Row():
            self.as_html = gr.Button("Record report (HTML)", size="md", min_width=120)
            self.as_pdf = gr.Button("Record report (PDF)", size="md", min_width=120)
        self.download = gr.Textbox(visible="hidden")

    def wire_events(self) -> None:
        """Connect the components to the handlers."""
        inputs = [self.files, self.point, *self.file_settings]
        outputs = [self.files, self.state, self.ecg, self.findings, self.explained]
        outputs += [self.question_result, self.question]
        outputs += [self.problem, self.again, self.hint, self.result]
        explain = (self.explain, [self.state, self.explained], [self.ecg, self.problem])
        for event in (self.files.upload, self.again.click):
            event(self.predict, inputs, outputs, **EVENT).then(*explain, **EVENT)
        outputs = [self.state, self.findings, self.problem]
        self.point.input(self.decide, [self.state, self.point], outputs, **EVENT)
        self.explained.input(*explain, **EVENT)
        inputs = [self.state, self.question]
        self.question.submit(self.interpret_question, inputs, self.question_result, **EVENT)
        inputs = [self.state, self.explained, self.point]
        for button, suffix in ((self.as_html, ".html"), (self.as_pdf, ".pdf")):
            button.click(self.report_writer(suffix), inputs, self.download, **EVENT).then(
                None, self.download, None, js=DOWNLOAD
            )

    def predict(self, paths: list[str], point: str, *file_settings: Any) -> Any:
        """Show the prediction of the uploaded ECG, or the reason why there is none."""
        import gradio as gr

        if not paths:
            return gr.skip()
        view = self.handlers.predict_one(paths, point, *file_settings)
        if isinstance(view, Problem):
            updates = self._show(view) | {self.again: gr.update(visible=True)}
            if view.was_read:
                return updates
            return updates | {
                self.state: None,
                self.hint: gr.update(visible=True),
                self.result: gr.update(visible=False),
            }
        return {
            self.files: None,
            self.state: view.prediction,
            self.ecg: view.ecg,
            self.findings: view.findings,
            self.explained: gr.update(choices=view.choices, value=view.explained),
            self.question_result: "",
            self.question: "",
            self.problem: gr.update(visible=False),
            self.again: gr.update(visible=False),
            self.hint: gr.update(visible=False),
            self.result: gr.update(visible=True),
        }

    def decide(self, prediction: Prediction | None, point: str) -> Any:
        """Show the findings of the same ECG at another operating point."""
        import gradio as gr

        if prediction is None:
            return gr.skip()
        decision = self.handlers.decide(prediction, point)
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
        self.files = gr.File(
            label=f"Files of many ECGs, up to {settings.max_files}",
            file_count="multiple",
            height=140,
            elem_id="many-files",
        )
        with gr.Row():
            self.point = gr.Radio(
                OPERATING_POINTS, value=settings.operating_point, label="Operating point"
            )
            with gr.Column():
                self.file_settings = _file_settings(gr)
        self.table = gr.HTML(elem_id="many")
        self.csv = gr.Button("Findings as CSV", visible=False, variant="primary")
        self.download = gr.Textbox(visible="hidden")

    def wire_events(self) -> None:
        """Connect the components to the handlers."""
        inputs = [self.files, self.point, *self.file_settings]
        outputs = [self.files, self.table, self.download, self.csv]
        self.files.upload(self.predict, inputs, outputs, **EVENT)
        self.csv.click(None, self.download, None, js=DOWNLOAD)

    def predict(self, paths: list[str], point: str, *file_settings: Any) -> Any:
        """Show the predictions of the uploaded ECGs as a table."""
        import gradio as gr

        if not paths:
            return gr.skip()
        table = self.handlers.predict_many(paths, point, *file_settings)
        if isinstance(table, Problem):
            return {self.table: table.html, self.csv: gr.update(visible=False)}
        return {
            self.files: None,
            self.table: table.html,
            self.download: table.csv,
            self.csv: gr.update(visible=table.n_predictions > 0),
        }


def _file_settings(gr: Any) -> list[Any]:
    """Build the fields for what a file does not state, in the order of ``request_settings``."""
    with gr.Accordion("Values that the file does not state, and accepted defects", open=False):
        with gr.Row():
            fs = gr.Textbox(
                "",
                label="Sampling rate, Hz (read.fs)",
                placeholder="as in the file",
                min_width=130,
            )
            units = gr.Dropdown(
                [("as in the file", ""), "nV", "uV", "mV", "V"],
                value="",
                label="Units (read.units)",
                min_width=130,
            )
            gain = gr.Textbox(
                "",
                label="Counts per mV (read.gain)",
                placeholder="as in the file",
                min_width=130,
            )
        leads = gr.Textbox("", label="Leads (read.leads)", placeholder="I, II, III, aVR, ...")
        allow_short = gr.Checkbox(False, label="Pad a record that is too short")
        allow_flat = gr.Checkbox(False, label="Accept a lead without any signal")
        allow_gaps = gr.Checkbox(False, label="Interpolate a few invalid samples")
        allow_missing_leads = gr.Checkbox(
            False, label="Accept missing leads, if the model was trained for that"
        )
        sustained_s = gr.Textbox(
            "",
            label="Shortest duration of a finding in a long record, s (windows.sustained_s)",
            placeholder="30",
        )
    allowed = [allow_short, allow_flat, allow_gaps, allow_missing_leads]
    return [fs, units, gain, leads, *allowed, sustained_s]


def _only_uploads(drop: Any) -> None:
    """Let a file component accept uploaded files only, and neither addresses nor other paths."""
    store = drop.async_move_resource_to_block_cache

    async def store_upload(path: str | Path | None) -> str | None:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        if path is not None and not Path(path).resolve().is_relative_to(uploads):
            raise ValueError("not a file that was uploaded here")
        stored: str | None = await store(path)
        return stored

    drop.async_move_resource_to_block_cache = store_upload


def build(service: PredictionService, uploads: Path) -> Any:
    """Build the whole application: the page at ``/`` and the JSON API, behind the request guard.

    Parameters
    ----------
    service : PredictionService
    uploads : Path
        Folder that Gradio stores uploads in; it must contain nothing else.

    Raises
    ------
    ValueError
        If a package is missing, or as ``request_guard.allowed_hosts``.
    """
    settings = service.settings
    hosts = allowed_hosts(settings)
    # Gradio reads these when the first Blocks is made: no telemetry, and all files in one place.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    try:
        import gradio as gr
        import python_multipart  # noqa: F401  (FastAPI reads uploads with it)
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"app needs the package {error.name}: pip install 'ecg_siglip[app]'"
        ) from error
    html: Any = load_template("web_page.html.j2", TEMPLATES).module
    sans = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
    mounted = gr.mount_gradio_app(
        make_api(service),
        page(service),
        path="/",
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
        css=str(html.css()),
    )
    return RequestGuard(mounted, hosts, int(settings.max_mb * 1e6))


def open_socket(host: str, port: int) -> socket.socket:
    """Open a socket that listens.

    Raises
    ------
    OSError
        If the port is in use or the address does not belong to this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol must be named, or asyncio delays small packets by 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)  # clients may connect as soon as the address is printed
    except OSError as error:
        raise OSError(f"host={host} port={port}: {error.strerror or error}") from error
    return listening
