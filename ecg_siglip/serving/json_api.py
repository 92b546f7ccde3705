"""JSON API of a model over HTTP: routes, settings of a request, and errors."""

# Without `from __future__ import annotations`: FastAPI evaluates annotations whose names are local.

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from ecg_siglip import __version__, config
from ecg_siglip.core.files import one_line
from ecg_siglip.core.settings import setting_help
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import PREFIX, UploadResult, records_among, save_uploads

TEMPLATES = Path(__file__).with_name("templates")
MAX_QUESTIONS = 20  # per request: each occupies the model for a moment
# Settings of `predict` that a request may set.
SETTINGS = (
    *("questions", "operating_point", "threshold_rule", "sensitivity", "precision"),
    *("not_excluded", "n_similar", "measurements"),
    *("read.fs", "read.units", "read.gain", "read.leads"),
    *("waveform.allow_short", "waveform.allow_flat", "waveform.allow_gaps"),
    "waveform.allow_missing_leads",
    *("windows.step_s", "windows.sustained_s"),
)
DESCRIPTION = """\
Findings of 12-lead ECGs, each with a calibrated probability. For research, not for diagnosis.

Accepts files of any format that `predict` reads; of a WFDB record all of its files (`.hea` and
`.dat`). The settings in the query are those of `predict` and have the same names."""

EXAMPLE = {
    "model": "r1 (0.2.0)",
    "predictions": [
        {
            "record": "00001_lr",
            "findings": [
                {"code": "SR", "name": "Sinus rhythm", "probability": 0.98, "threshold": 0.49,
                 "likelihood": "very likely"}
            ],
            "not_excluded": ["LVH"],
            "probabilities": {"SR": 0.98, "LVH": 0.12},
            "model": "r1 (0.2.0)",
            "model_simulated": False,
            "warnings": [],
            "measurements": {
                "rate": {"value": 64.2, "unit": "1/min", "spread": 2.1},
                "pr": {"value": None, "unit": "ms",
                       "reason": "no P wave measured reliably: none stands out"},
                "st": {"V2": {"value": 0.112, "unit": "mV", "spread": 0.004}},
                "n_beats": 10,
            },
            "questions": [
                {"question": "left ventricular hypertrophy?",
                 "matches": [{"code": "LVH", "name": "Left ventricular hypertrophy",
                              "closeness": 1.0, "probability": 0.12, "present": False,
                              "likelihood": "unlikely"}],
                 "no_match": False, "nearest_prompts": [], "misread": False,
                 "uncalibrated": 0.09, "notes": []}
            ],
        }
    ],
    "errors": [{"record": "00002.csv", "error": "record 00002: the file is empty"}],
}  # fmt: skip
EXAMPLE_ERROR = {"error": "one line: expected, got, which record"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/json": {"example": example}}}
    for status, description, example in (
        (200, "predictions and errors; `questions` only if the request has questions", EXAMPLE),
        (401, "no token, or a wrong one, if the server has one", EXAMPLE_ERROR),
        (403, "a page of another origin", EXAMPLE_ERROR),
        (408, "the body arrives too slowly", EXAMPLE_ERROR),
        (413, "too large, or too many files", EXAMPLE_ERROR),
        (422, "no record could be read, or a setting is out of its range", EXAMPLE_ERROR),
        (429, "too many requests of this client in the last minute", EXAMPLE_ERROR),
        (503, "too many requests are waiting, or no result in time", EXAMPLE_ERROR),
    )
}


def response_json(model: str, upload: UploadResult) -> dict[str, Any]:
    """Return predictions, each as ``predict`` prints it, and errors of an upload as JSON."""
    predictions = [prediction.to_dict(model) for prediction in upload.predictions]
    errors = [{"record": record, "error": error} for record, error in upload.errors]
    content = {"model": model, "predictions": predictions, "errors": errors}
    if not predictions:
        content["error"] = errors[0]["error"] if errors else "no record among the files"
    return content


def split_leads(leads: str | None) -> list[str]:
    """Return ``I, II, ...`` as a list."""
    return [lead for lead in re.split(r"[\s,;\[\]]+", leads or "") if lead]


def make_api(service: PredictionService) -> Any:
    """Build the JSON API as a FastAPI application, without the request guard.

    Parameters
    ----------
    service : PredictionService
        Its ``settings`` limit the number of files and the wait.
    """
    import fastapi

    app = fastapi.FastAPI(
        title="ecg_siglip",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's own page loads its scripts from other servers
        redoc_url=None,
    )
    _add_error_handlers(app)
    _add_information(app, service)
    _add_predict(app, service)
    return app


def _add_error_handlers(app: Any) -> None:
    """Turn every error into a response of one JSON object with the key ``error``."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def error_response(status: int, error: str) -> Any:
        return JSONResponse({"error": error}, status)

    @app.exception_handler(ValueError)
    async def invalid_value(_: Any, error: ValueError) -> Any:
        return error_response(422, one_line(error))

    @app.exception_handler(QueueFull)
    async def queue_full(_: Any, error: QueueFull) -> Any:
        response = error_response(503, str(error))
        response.headers["Retry-After"] = "1"
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Any, error: Any) -> Any:
        first = error.errors()[0]
        return error_response(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(_: Any, error: Any) -> Any:
        return error_response(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def internal_error(_: Any, error: Exception) -> Any:
        return error_response(500, "internal error of the server; its log has the details")


def _add_information(app: Any, service: PredictionService) -> None:
    """Add the routes that describe the server."""
    from fastapi.responses import HTMLResponse

    @app.get("/healthz", summary="Whether the server is running, also while it predicts")
    async def healthz() -> dict[str, Any]:
        simulated = service.predictor.artifact.provenance.simulated
        return {
            "status": "ok",
            "model": service.model,
            "model_simulated": simulated,
            "waiting": service.n_waiting,
        }

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(load_template("api_docs.html.j2", TEMPLATES).render(api=app.openapi()))


def _add_predict(app: Any, service: PredictionService) -> None:
    """Add the route that predicts uploaded ECGs."""
    from fastapi import Depends, File, UploadFile
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    request_settings, max_files = _request_settings(service), service.settings.max_files

    @app.post("/predict", summary="Predict the findings of uploaded ECGs", responses=RESPONSES)
    async def predict(
        settings: Annotated[config.PredictConfig, Depends(request_settings)],
        files: Annotated[list[UploadFile], File(description="of WFDB all files of a record")],
    ) -> JSONResponse:
        if len(files) > max_files:
            raise HTTPException(413, f"{len(files)} files; expected {max_files} at most")
        stored = tempfile.TemporaryDirectory(prefix=PREFIX)
        folder, sources = Path(stored.name), [(file.filename or "", file.file) for file in files]

        def save() -> list[Path]:
            save_uploads(sources, folder)
            return records_among(folder)

        try:
            paths = await run_in_threadpool(save)
            upload = await service.predict_upload(folder, paths, settings)
        finally:
            # Not in this thread, which accepts requests; also if the client has left.
            await asyncio.shield(run_in_threadpool(stored.cleanup))
        content = response_json(service.model, upload)
        return JSONResponse(content, 422 if "error" in content else 200)


def _request_settings(service: PredictionService) -> Callable[..., Any]:
    """Return the FastAPI dependency that reads the settings of a request from its query."""
    from fastapi import Query, Request

    def setting(name: str, example: str = "") -> Any:
        """Declare a query parameter with the name and help text of a setting of ``predict``."""
        text = setting_help(config.PredictConfig, name)
        return Query(alias=name, description=f"{text}{', as ' if example else ''}{example}")

    async def request_settings(
        request: Request,
        questions: Annotated[list[str], Query(description="questions in free words")] = [],  # noqa: B006
        operating_point: Annotated[str | None, setting("operating_point")] = None,
        threshold_rule: Annotated[str | None, setting("threshold_rule")] = None,
        sensitivity: Annotated[float | None, setting("sensitivity")] = None,
        precision: Annotated[float | None, setting("precision")] = None,
        fs: Annotated[float | None, setting("read.fs")] = None,
        units: Annotated[str | None, setting("read.units")] = None,
        gain: Annotated[float | None, setting("read.gain")] = None,
        leads: Annotated[str | None, setting("read.leads", "I,II,...")] = None,
        allow_short: Annotated[bool, setting("waveform.allow_short")] = False,
        allow_flat: Annotated[bool, setting("waveform.allow_flat")] = False,
        allow_gaps: Annotated[bool, setting("waveform.allow_gaps")] = False,
        allow_missing_leads: Annotated[bool | None, setting("waveform.allow_missing_leads")] = None,
        step_s: Annotated[float | None, setting("windows.step_s")] = None,
        sustained_s: Annotated[float | None, setting("windows.sustained_s")] = None,
        not_excluded: Annotated[str | None, setting("not_excluded")] = None,
        n_similar: Annotated[int, setting("n_similar")] = 0,
        measurements: Annotated[bool, setting("measurements")] = True,
    ) -> config.PredictConfig:
        _check_names(request.query_params)
        if len(questions) > MAX_QUESTIONS:
            raise ValueError(f"{len(questions)} questions; expected {MAX_QUESTIONS} at most")
        return service.settings_for(
            {
                "operating_point": operating_point,
                "threshold_rule": threshold_rule,
                "sensitivity": sensitivity,
                "precision": precision,
                "read.fs": fs,
                "read.units": units,
                "read.gain": gain,
                "read.leads": split_leads(leads),
                "waveform.allow_short": allow_short,
                "waveform.allow_flat": allow_flat,
                "waveform.allow_gaps": allow_gaps,
                "waveform.allow_missing_leads": allow_missing_leads,
                "windows.step_s": step_s,
                "windows.sustained_s": sustained_s,
                "not_excluded": not_excluded,
                "n_similar": n_similar,
                "measurements": measurements,
                "questions": questions,
            }
        )

    return request_settings


def _check_names(names: Iterable[str]) -> None:
    """Check that a query has only settings that a request may set.

    Raises
    ------
    ValueError
        If it has others, with the new name of one that was renamed.
    """
    unknown = set(names) - set(SETTINGS)
    renamed = [
        f"{old}: renamed to {new}"
        for old, new in config.PredictConfig.RENAMED.items()
        if old in unknown
    ]
    if renamed:
        raise ValueError("; ".join(renamed))
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: expected one of {', '.join(SETTINGS)}")
