"""The model behind HTTP: a JSON interface, and the guard in front of it and of the page."""


# No `from __future__ import annotations`: FastAPI looks at those of `api`, whose names are local.

import asyncio
import json
import re
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, TypeVar

from ecg_siglip import __version__, config
from ecg_siglip.core.files import one_line
from ecg_siglip.core.settings import setting_help
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import PREFIX, UploadResult, save_uploads

TEMPLATES = Path(__file__).with_name("templates")
T = TypeVar("T")
MAX_QUESTIONS = 20  # of a request: each takes a moment of the one who answers
# Settings of `predict` that a request may make, by their names there.
SETTINGS = (
    *("questions", "operating_point", "threshold_rule", "sensitivity", "precision", "n_similar"),
    *("read.fs", "read.units", "read.leads"),
    *("waveform.allow_short", "waveform.allow_flat", "waveform.allow_missing_leads"),
    *("windows.step_s", "windows.sustained_s"),
)
DESCRIPTION = """\
Findings of 12-lead ECGs, each with a calibrated probability. For research, not for diagnosis.

Files of any format that `predict` reads; of a WFDB record all of its files (`.hea` and `.dat`). The
settings in the query are those of `predict`, by the same names."""

EXAMPLE = {
    "model": "r1 (0.1.0)",
    "predictions": [
        {
            "record": "00001_lr",
            "findings": [
                {"code": "SR", "name": "Sinus rhythm", "probability": 0.98, "threshold": 0.49,
                 "certainty": "sure"}
            ],
            "not_excluded": ["LVH"],
            "probabilities": {"SR": 0.98, "LVH": 0.12},
            "model": "r1 (0.1.0)",
            "warnings": [],
            "questions": [
                {"question": "left ventricular hypertrophy?",
                 "matches": [{"code": "LVH", "name": "Left ventricular hypertrophy", "closeness": 1.0,
                            "probability": 0.12, "present": False}],
                 "no_match": False, "nearest_prompts": [], "misread": False, "uncalibrated": 0.09, "notes": []}
            ],
        }
    ],
    "errors": [{"record": "00002.csv", "error": "record 00002: the file is empty"}],
}  # fmt: skip
EXAMPLE_ERROR = {"error": "one line: expected, got, which record"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": about, "content": {"application/json": {"example": example}}}
    for status, about, example in (
        (200, "what became of each record; `questions` only where questions were", EXAMPLE),
        (403, "called by another name, or by a page from elsewhere", EXAMPLE_ERROR),
        (413, "too large, or too many files", EXAMPLE_ERROR),
        (422, "no record could be read, or a setting is out of its range", EXAMPLE_ERROR),
        (503, "too much to do, or no answer in time", EXAMPLE_ERROR),
    )
}


async def await_result(desk: PredictionService, future: Future[T]) -> T:
    """The result of a piece of work, awaited ``timeout_s`` at most.

    Raises
    ------
    QueueFull
        If it was not there in time; if it has not begun, it never will.
    """
    timeout_s = desk.settings.timeout_s
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
    except TimeoutError as error:
        raise QueueFull(
            f"no answer within {timeout_s:g} s; {desk.n_waiting} are waiting"
        ) from error


def response_json(model: str, read: UploadResult) -> dict[str, Any]:
    """An upload's answers as JSON holds them, what ``predict`` prints."""
    answers = [json.loads(answer.to_json(model)) for answer in read.answers]
    errors = [{"record": record, "error": error} for record, error in read.refused]
    content = {"model": model, "predictions": answers, "errors": errors}
    if not answers:
        content["error"] = errors[0]["error"] if errors else "no record among the files"
    return content


def split_leads(leads: str | None) -> list[str]:
    """``I, II, ...`` as a list."""
    return [lead for lead in re.split(r"[\s,;\[\]]+", leads or "") if lead]


def make_api(desk: PredictionService) -> Any:
    """The JSON interface as a FastAPI application, not yet guarded.

    Parameters
    ----------
    desk : Desk
        Whose ``settings`` say how many files and how long to wait.
    """
    import fastapi
    from fastapi import File, Query, UploadFile
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from starlette.exceptions import HTTPException

    settings = desk.settings
    app = fastapi.FastAPI(
        title="ecg_siglip",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
    )

    def said(knob: str, example: str = "") -> Any:
        """A setting of ``predict`` in the query, by its name and with its meaning there."""
        about = setting_help(config.PredictConfig, knob)
        return Query(alias=knob, description=f"{about}{', as ' if example else ''}{example}")

    def says(status: int, error: str) -> Any:
        return JSONResponse({"error": error}, status)

    @app.exception_handler(ValueError)
    async def wrong(_: Any, error: ValueError) -> Any:
        return says(422, one_line(error))

    @app.exception_handler(QueueFull)
    async def busy(_: Any, error: QueueFull) -> Any:
        response = says(503, str(error))
        response.headers["Retry-After"] = "1"
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Any, error: Any) -> Any:
        first = error.errors()[0]
        return says(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def refused(_: Any, error: Any) -> Any:
        return says(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def ours(_: Any, error: Exception) -> Any:
        return says(500, "an error of this program, not of yours; its log says more")

    @app.get("/healthz", summary="Whether the server lives, also while it works")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "model": desk.model, "waiting": desk.n_waiting}

    @app.post("/predict", summary="The findings of uploaded ECGs", responses=RESPONSES)
    async def answer(
        request: fastapi.Request,
        files: Annotated[list[UploadFile], File(description="of WFDB all files of a record")],
        questions: Annotated[list[str], Query(description="questions in free words")] = [],  # noqa: B006
        operating_point: Annotated[str | None, said("operating_point")] = None,
        threshold_rule: Annotated[str | None, said("threshold_rule")] = None,
        sensitivity: Annotated[float | None, said("sensitivity")] = None,
        precision: Annotated[float | None, said("precision")] = None,
        fs: Annotated[float | None, said("read.fs")] = None,
        units: Annotated[str | None, said("read.units")] = None,
        leads: Annotated[str | None, said("read.leads", "I,II,...")] = None,
        allow_short: Annotated[bool, said("waveform.allow_short")] = False,
        allow_flat: Annotated[bool, said("waveform.allow_flat")] = False,
        allow_missing_leads: Annotated[bool, said("waveform.allow_missing_leads")] = False,
        step_s: Annotated[float | None, said("windows.step_s")] = None,
        sustained_s: Annotated[float | None, said("windows.sustained_s")] = None,
        n_similar: Annotated[int, said("n_similar")] = 0,
    ) -> JSONResponse:
        if unknown := set(request.query_params) - set(SETTINGS):
            renamed = [
                f"{old}: renamed to {new}"
                for old, new in config.PredictConfig.RENAMED.items()
                if old in unknown
            ]
            raise HTTPException(
                422,
                "; ".join(renamed)
                or f"{', '.join(sorted(unknown))}: expected one of {', '.join(SETTINGS)}",
            )
        if len(questions) > MAX_QUESTIONS:
            raise HTTPException(
                422, f"{len(questions)} questions; expected {MAX_QUESTIONS} at most"
            )
        if len(files) > settings.max_files:
            raise HTTPException(413, f"{len(files)} files; expected {settings.max_files} at most")
        asked = desk.knobs(
            {
                "operating_point": operating_point,
                "threshold_rule": threshold_rule,
                "sensitivity": sensitivity,
                "precision": precision,
                "read.fs": fs,
                "read.units": units,
                "read.leads": split_leads(leads),
                "waveform.allow_short": allow_short,
                "waveform.allow_flat": allow_flat,
                "waveform.allow_missing_leads": allow_missing_leads,
                "windows.step_s": step_s,
                "windows.sustained_s": sustained_s,
                "n_similar": n_similar,
                "questions": questions,
            }
        )
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            named = [(file.filename or "", file.file) for file in files]
            await run_in_threadpool(save_uploads, named, Path(folder))

            def work() -> dict[str, Any]:
                return response_json(desk.model, desk.read(Path(folder), asked))

            content = await await_result(desk, desk.submit(work))
        return JSONResponse(content, 422 if "error" in content else 200)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(load_template("api_docs.html.j2", TEMPLATES).render(api=app.openapi()))

    return app
