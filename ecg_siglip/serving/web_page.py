"""A web page for a trained model: drop an ECG, see it, its findings and why; ask in free words."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line
from ecg_siglip.inference.pipeline import threshold_rule
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.json_api import make_api
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.request_guard import RequestGuard, allowed_hosts
from ecg_siglip.serving.uploads import to_csv
from ecg_siglip.serving.web_handlers import (
    NO_REASON_FIRST,
    download_source,
    read_upload,
    remove_uploads,
    run_in_turn,
)
from ecg_siglip.vocabulary.question_matching import N_SHOWN

TEMPLATES = Path(__file__).with_name("templates")
OPERATING_POINTS = ("screening", "balanced", "confirm")
# What could not be read stays for a second try (with a sampling rate, say), no longer than this.
KEPT_S, SWEEP_S = 600.0, 30.0
N_SPARE = 8  # threads beside those of whoever waits
# From the hidden field that holds it into the reader's downloads: no file is left on the server.
DOWNLOAD = """(held) => {
  if (!held) return;
  const [name, source] = held.split("|");
  const link = document.createElement("a");
  link.href = source; link.download = name; link.click();
}"""


def page(desk: PredictionService) -> Any:
    """The page as Gradio's Blocks, not yet mounted.

    Parameters
    ----------
    desk : Desk

    Notes
    -----
    Uploads are removed as soon as they are answered for. All that is kept of a record is the
    answer, in the memory of its session.
    """
    import gradio as gr

    html: Any = load_template("web_page.html.j2", TEMPLATES).module

    def answered(*given: Any) -> Any:
        """One ECG: its answer, drawn."""
        paths, *said = given
        if not paths:
            return gr.skip()
        try:
            read = read_upload(desk, paths, *said)
            if len(read.answers) + len(read.refused) != 1:
                n = len(read.answers) + len(read.refused)
                raise ValueError(f"{n} records; expected one here, see the tab for many")
            if read.refused:
                raise ValueError(read.refused[0][1])
        except (ValueError, OSError, QueueFull) as error:
            return {
                problem: gr.update(value=html.error([one_line(error)]), visible=True),
                again: gr.update(visible=True),
                state: None,
                hint: gr.update(visible=True),
                result: gr.update(visible=False),
            }
        (answer,) = read.answers
        present = sorted((f for f in answer.findings if f.present), key=lambda f: -f.probability)
        others = sorted((f for f in answer.findings if not f.present), key=lambda f: -f.probability)
        choices = [("nothing", "")] + [(f"{f.name} ({f.code})", f.code) for f in present + others]
        first = [f.code for f in present if f.code not in NO_REASON_FIRST]
        try:
            on_page = shown(answer, said[0])
        except (ValueError, QueueFull) as error:
            return {
                problem: gr.update(value=html.error([str(error)]), visible=True),
                again: gr.update(visible=True),
            }
        remove_uploads(paths)
        return on_page | {
            files: None,
            state: answer,
            why: gr.update(choices=choices, value=(first or [""])[0]),
            asked_html: "",
            question: "",
            problem: gr.update(visible=False),
            again: gr.update(visible=False),
            hint: gr.update(visible=False),
            result: gr.update(visible=True),
        }

    def listed(answer: Prediction, rule: str) -> str:
        drawn = run_in_turn(desk, lambda: desk.sheet(answer))
        return str(html.findings(drawn, rule, desk.model))

    def shown(answer: Prediction, point: str) -> dict[Any, Any]:
        figure = run_in_turn(desk, lambda: desk.drawn(answer, None))
        rule = threshold_rule(desk.knobs({"operating_point": point}))
        return {
            ecg_html: html.ecg(answer, figure, ""),
            findings_html: listed(answer, rule),
        }

    def decided(answer: Prediction | None, point: str) -> Any:
        """The same ECG by other thresholds."""
        if answer is None:
            return gr.skip()
        asked = desk.knobs({"operating_point": point})
        try:
            answer = desk.decide(answer, asked)
            findings = listed(answer, threshold_rule(asked))
        except (ValueError, QueueFull) as error:
            return {problem: gr.update(value=html.error([str(error)]), visible=True)}
        return {
            state: answer,
            findings_html: findings,
            problem: gr.update(visible=False),
        }

    def reasons(answer: Prediction | None, code: str) -> Any:
        """The ECG with what speaks for a finding marked."""
        if answer is None:
            return gr.skip()
        try:
            figure = run_in_turn(desk, lambda: desk.drawn(answer, code or None))
        except (ValueError, QueueFull) as error:
            return {problem: gr.update(value=html.error([str(error)]), visible=True)}
        name = next((f.name for f in answer.findings if f.code == code), "")
        return {ecg_html: html.ecg(answer, figure, name)}

    def asked_about(answer: Prediction | None, words: str) -> str:
        """The answer to a question in free words."""
        if answer is None or not words.strip():
            return ""
        try:
            said = run_in_turn(desk, lambda: desk.ask(answer, words))
            drawn = run_in_turn(desk, lambda: desk.sheet(answer))
        except (ValueError, QueueFull) as error:
            return str(html.error([str(error)]))
        by_code = {bar.code: bar for bar in drawn.findings}
        meant = [by_code[near.code] for near in said.matches if near.code in by_code]
        meant.sort(key=lambda bar: -bar.probability)
        rows = replace(drawn, findings=meant[:N_SHOWN]) if meant else None
        unseen = [near.name for near in said.matches if near.code not in by_code]
        return str(html.asked(said, rows, len(meant) > 1, unseen))

    def written(suffix: str) -> Callable[[Prediction | None, str, str], str]:
        def write(answer: Prediction | None, code: str, point: str) -> str:
            if answer is None:
                return ""
            rule = threshold_rule(desk.knobs({"operating_point": point}))
            codes = [code] if code else []
            content = run_in_turn(desk, lambda: desk.written(answer, codes, suffix, rule))
            kind = {".html": "text/html", ".pdf": "application/pdf"}[suffix]
            return download_source(f"{Path(answer.record).stem}{suffix}", kind, content)

        return write

    def answered_many(*given: Any) -> Any:
        """Many ECGs as a table."""
        paths, *said = given
        if not paths:
            return gr.skip()
        try:
            read = read_upload(desk, paths, *said)
        except (ValueError, OSError, QueueFull) as error:
            return {many_html: html.error([one_line(error)]), csv: gr.update(visible=False)}
        remove_uploads(paths)
        return {
            many_files: None,
            many_html: html.many(read),
            held_csv: download_source("findings.csv", "text/csv", to_csv(read).encode("utf-8-sig")),
            csv: gr.update(visible=bool(read.answers)),
        }

    with gr.Blocks(title="ECG findings", analytics_enabled=False) as blocks:
        gr.HTML(html.head(desk.model, desk.predictor.artifact.provenance.n_train_records))
        state = gr.State(None, time_to_live=3600)
        with gr.Tab("One ECG"):
            with gr.Row():
                files = gr.File(
                    label="Files of one ECG", file_count="multiple", height=140, scale=3
                )
                with gr.Column(scale=2, min_width=280):
                    point = gr.Radio(
                        OPERATING_POINTS,
                        value=desk.settings.operating_point,
                        label="Screening misses few, confirm calls only what is sure",
                    )
                    stated = _stated(gr)
            problem = gr.HTML(visible=False)
            again = gr.Button("Read again", visible=False, variant="primary")
            hint = gr.HTML(html.hint())
            with gr.Column(visible=False, elem_id="result") as result:
                ecg_html = gr.HTML(elem_id="ecg")
                with gr.Row():
                    with gr.Column(scale=3, min_width=320):
                        findings_html = gr.HTML(elem_id="findings")
                    with gr.Column(scale=2, min_width=300):
                        why = gr.Dropdown(
                            [("nothing", "")], value="", label="Mark what speaks for", elem_id="why"
                        )
                        with gr.Group():
                            question = gr.Textbox(
                                label="Ask in English, German or Japanese",
                                placeholder="is there a left bundle branch block?",
                                elem_id="question",
                                max_length=300,
                                submit_btn=True,
                            )
                        asked_html = gr.HTML(elem_id="asked")
                        with gr.Row():
                            as_html = gr.Button("Sheet (HTML)", size="md", min_width=120)
                            as_pdf = gr.Button("Sheet (PDF)", size="md", min_width=120)
                        held = gr.Textbox(visible="hidden")
        with gr.Tab("Many, as CSV"):
            many_files = gr.File(
                label=f"Files of many ECGs, up to {desk.settings.max_files}",
                file_count="multiple",
                height=140,
                elem_id="many-files",
            )
            with gr.Row():
                many_point = gr.Radio(
                    OPERATING_POINTS, value=desk.settings.operating_point, label="Operating point"
                )
                with gr.Column():
                    many_stated = _stated(gr)
            many_html = gr.HTML(elem_id="many")
            csv = gr.Button("Findings as CSV", visible=False, variant="primary")
            held_csv = gr.Textbox(visible="hidden")

        # Each event is one request and its answer. Gradio's queue would send answers by a stream
        # that is opened and closed again around each event, and an event that comes just as it
        # closes can be lost; what waits and for how long, the desk says anyway.
        quiet: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "minimal",
            "queue": False,
        }
        inputs = [files, point, *stated]
        outputs = [files, state, ecg_html, findings_html, why, asked_html, question]
        outputs += [problem, again, hint, result]
        for event in (files.upload, again.click):
            event(answered, inputs, outputs, **quiet).then(
                reasons, [state, why], [ecg_html, problem], **quiet
            )
        point.input(decided, [state, point], [state, findings_html, problem], **quiet)
        why.input(reasons, [state, why], [ecg_html, problem], **quiet)
        question.submit(asked_about, [state, question], asked_html, **quiet)
        for button, suffix in ((as_html, ".html"), (as_pdf, ".pdf")):
            button.click(written(suffix), [state, why, point], held, **quiet).then(
                None, held, None, js=DOWNLOAD
            )
        many_files.upload(
            answered_many,
            [many_files, many_point, *many_stated],
            [many_files, many_html, held_csv, csv],
            **quiet,
        )
        csv.click(None, held_csv, None, js=DOWNLOAD)
    for drop in (files, many_files):
        _only_uploads(drop)
    # Mounted, Gradio takes a page for one not launched yet and lets it read any file.
    blocks.has_launched = True
    # Whoever waits holds a thread. They come from a pool of their own, larger than the desk's
    # queue: nobody else waits for them, and who is too many is told so.
    blocks.max_threads = desk.settings.max_waiting + N_SPARE
    return blocks


def _only_uploads(drop: Any) -> None:
    """Let a place for files take what was uploaded, and neither addresses nor other paths."""
    take = drop.async_move_resource_to_block_cache

    async def checked(given: str | Path | None) -> str | None:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        if given is not None and not Path(given).resolve().is_relative_to(uploads):
            raise ValueError("not a file that was uploaded here")
        taken: str | None = await take(given)
        return taken

    drop.async_move_resource_to_block_cache = checked


def _stated(gr: Any) -> list[Any]:
    """The fields for what a file does not state, in the order that ``_read`` takes them."""
    with gr.Accordion("What the file does not state, what is accepted", open=False):
        with gr.Row():
            fs = gr.Textbox(
                "",
                label="Sampling rate, Hz (read.fs)",
                placeholder="as the file says",
                min_width=130,
            )
            units = gr.Dropdown(
                [("as the file says", ""), "uV", "mV", "V"],
                value="",
                label="Units (read.units)",
                min_width=130,
            )
        leads = gr.Textbox("", label="Leads (read.leads)", placeholder="I, II, III, aVR, ...")
        short = gr.Checkbox(False, label="Pad a record that is too short")
        flat = gr.Checkbox(False, label="Accept a lead without any signal")
        missing = gr.Checkbox(False, label="Answer without some leads, if the model can")
        sustained = gr.Textbox(
            "",
            label="In a long record a finding has to be there for, s (windows.sustained_s)",
            placeholder="30",
        )
    return [fs, units, leads, short, flat, missing, sustained]


def build(desk: PredictionService, uploads: Path) -> Any:
    """The whole application behind its guard: the page at ``/``, the JSON interface beside it.

    Parameters
    ----------
    desk : Desk
    uploads : Path
        Folder that Gradio stores uploads in; nothing else may lie there.

    Raises
    ------
    ValueError
        If a package is missing, or nobody says by which names a server for all may be called.
    """
    names = allowed_hosts(desk.settings)
    # Read when the first Blocks is made: no telemetry, and all files in one place.
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
    pieces: Any = load_template("web_page.html.j2", TEMPLATES).module
    sans = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
    mounted = gr.mount_gradio_app(
        make_api(desk),
        page(desk),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        max_file_size=int(desk.settings.max_mb * 1e6),
        theme=gr.themes.Base(
            primary_hue="blue", font=sans, font_mono=("ui-monospace", "Consolas", "monospace")
        ),
        css=str(pieces.css()),
    )
    return RequestGuard(mounted, names, int(desk.settings.max_mb * 1e6))


def _socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises
    ------
    OSError
        If the port is taken or the address is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol has to be named, or asyncio leaves small packets waiting for 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)  # whoever reads the address may ask at once
    except OSError as error:
        raise OSError(f"host={host} port={port}: {error.strerror or error}") from error
    return listening
