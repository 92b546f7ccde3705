"""The model behind HTTP: a JSON interface, and the guard in front of it and of the page."""

# No `from __future__ import annotations`: FastAPI looks at those of `api`, whose names are local.

import asyncio
import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from ecg_siglip import __version__, config, report
from ecg_siglip.desk import PREFIX, Busy, Desk, Read, keep

T = TypeVar("T")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
OURS = r"/predict|/healthz|/openapi\.json|/docs"
# What the page needs of Gradio. Its other doors (files, proxies, recordings) stay shut: this page
# hands out no file at all.
PAGES = (
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*|"
    r"/gradio_api/(upload|upload_progress|run/predict|heartbeat/\w+|startup-events|reset/?|"
    r"app_id/?|info/?)"
)
SILENT_S = 30.0  # a body that does not go on for longer is given up
MAX_QUESTIONS = 20  # of a request: each takes a moment of the one who answers
# Settings of `predict` that a request may make, by their names there.
KNOBS = (
    *("ask", "operating_point", "threshold_rule", "sensitivity", "precision", "n_similar"),
    *("read.fs", "read.units", "read.leads"),
    *("waveform.allow_short", "waveform.allow_flat", "waveform.allow_missing_leads"),
    *("windows.step_s", "windows.sustained_s"),
)
OPEN = re.compile(f"(?:{OURS}|{PAGES})")
# Whatever Gradio or a file name brings along: nothing is loaded from elsewhere.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
DRAIN_S = 2.0  # how long the rest of a refused body is waited for
DESCRIPTION = """\
Findings of 12-lead ECGs, each with a calibrated probability. For research, not for diagnosis.

Files of any format that `predict` reads; of a WFDB record all of its files (`.hea` and `.dat`). The
settings in the query are those of `predict`, by the same names."""

ANSWER = {
    "model": "r1 (0.1.0)",
    "answers": [
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
            "asked": [
                {"question": "left ventricular hypertrophy?",
                 "meant": [{"code": "LVH", "name": "Left ventricular hypertrophy", "closeness": 1.0,
                            "probability": 0.12, "present": False}],
                 "far": False, "read_as": [], "misread": False, "uncalibrated": 0.09, "notes": []}
            ],
        }
    ],
    "errors": [{"record": "00002.csv", "error": "record 00002: the file is empty"}],
}  # fmt: skip
ERROR = {"error": "one line: expected, got, which record"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": about, "content": {"application/json": {"example": example}}}
    for status, about, example in (
        (200, "what became of each record; `asked` only where questions were", ANSWER),
        (403, "called by another name, or by a page from elsewhere", ERROR),
        (413, "too large, or too many files", ERROR),
        (422, "no record could be read, or a setting is out of its range", ERROR),
        (503, "too much to do, or no answer in time", ERROR),
    )
}


class Guard:
    """What stands before everything that is served: who may ask, for what, and how much.

    Parameters
    ----------
    app : ASGI application
    hosts : sequence of str
        Names by which the server may be called; ``*`` for any.
    max_bytes : int
        Of a request's body.

    Notes
    -----
    A page elsewhere that has its name resolved to this machine (DNS rebinding) is known by its
    ``Host``, one that posts a form to here by its ``Origin``. A body is counted while it comes in:
    what is too large is refused before it is held in memory or on disk.
    """

    def __init__(self, app: Any, hosts: Sequence[str], max_bytes: int):
        self.app, self.hosts, self.max_bytes = app, set(hosts), max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks by websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal:
            await _refuse(*refusal, receive, send, self.max_bytes)
            return
        n_bytes, too_large, started, complete = 0, False, False, False

        async def counted() -> dict[str, Any]:
            nonlocal n_bytes, too_large, complete
            try:
                # Once the body is there, what is waited for is that the client goes away.
                message = await asyncio.wait_for(receive(), None if complete else SILENT_S)
            except TimeoutError:
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            n_bytes += len(message.get("body", b""))
            if n_bytes > self.max_bytes:
                too_large = True
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal started
            if too_large and not started:
                return
            if message["type"] == "http.response.start":
                started = True
                ours = {name for name, _ in HEADERS}
                kept = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if name.lower() not in ours and not name.lower().startswith(b"access-control-")
                ]
                fixed = re.match("/(assets|static)/", scope["path"])
                added = [h for h in HEADERS if not (fixed and h[0] == b"cache-control")]
                message = {**message, "headers": kept + added}
            await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            # Cut off in the middle of its body, the application may say whatever it likes.
            if not too_large:
                raise
        if too_large and not started:
            await _refuse(413, self._limit(), receive, send, self.max_bytes)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = _host(headers.get(b"host", ""))
        if "*" not in self.hosts and host not in self.hosts:
            return 403, f"called as {host[:80]!r}; expected one of {', '.join(sorted(self.hosts))}"
        origin = headers.get(b"origin")
        if origin is not None and _netloc(origin) != headers.get(b"host"):
            return 403, "asked by a page from elsewhere"
        if not OPEN.fullmatch(scope["path"]):
            return (403 if scope["path"].startswith("/gradio_api/") else 404), "nothing here"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes:
            return 413, self._limit()
        return None

    def _limit(self) -> str:
        return f"the upload is too large; expected {self.max_bytes / 1e6:g} MB at most"


def _netloc(origin: str) -> str:
    """The name and port in an Origin header; nothing where it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _host(header: str) -> str:
    """The name in a Host header, without port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(status: int, error: str, receive: Receive, send: Send, max_bytes: int) -> None:
    """Say no. The rest of the body is let in and forgotten, or the client would not listen."""
    content = json.dumps({"error": error}).encode()
    length = (b"content-length", str(len(content)).encode())
    headers = [(b"content-type", b"application/json"), length, (b"connection", b"close"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    n_bytes = 0
    while n_bytes <= max_bytes:
        try:
            message = await asyncio.wait_for(receive(), DRAIN_S)
        except TimeoutError:
            break
        n_bytes += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    await send({"type": "http.response.body", "body": b""})


def hosts(settings: config.AppConfig) -> list[str]:
    """The names by which the server may be called.

    Raises
    ------
    ValueError
        If it listens on every address of the machine and nobody says by which names.
    """
    if settings.host in LOOPBACK:
        return [*LOOPBACK, *settings.hosts]
    if settings.host in EVERYWHERE and not settings.hosts:
        raise ValueError(
            f"host={settings.host}: expected hosts=[name,...] as well, the names by which the page "
            "is called; hosts=['*'] for any"
        )
    return [settings.host, *settings.hosts]


async def result(desk: Desk, future: Future[T]) -> T:
    """The result of a piece of work, awaited ``timeout_s`` at most.

    Raises
    ------
    Busy
        If it was not there in time; if it has not begun, it never will.
    """
    timeout_s = desk.settings.timeout_s
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
    except TimeoutError as error:
        raise Busy(f"no answer within {timeout_s:g} s; {desk.n_waiting} are waiting") from error


def answer_json(model: str, read: Read) -> dict[str, Any]:
    """An upload's answers as JSON holds them, what ``predict`` prints."""
    answers = [json.loads(answer.to_json(model)) for answer in read.answers]
    errors = [{"record": record, "error": error} for record, error in read.refused]
    content = {"model": model, "answers": answers, "errors": errors}
    if not answers:
        content["error"] = errors[0]["error"] if errors else "no record among the files"
    return content


def split_leads(leads: str | None) -> list[str]:
    """``I, II, ...`` as a list."""
    return [lead for lead in re.split(r"[\s,;\[\]]+", leads or "") if lead]


def api(desk: Desk) -> Any:
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
        about = config.meaning(config.PredictConfig, knob)
        return Query(alias=knob, description=f"{about}{', as ' if example else ''}{example}")

    def says(status: int, error: str) -> Any:
        return JSONResponse({"error": error}, status)

    @app.exception_handler(ValueError)
    async def wrong(_: Any, error: ValueError) -> Any:
        return says(422, config.one_line(error))

    @app.exception_handler(Busy)
    async def busy(_: Any, error: Busy) -> Any:
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
        ask: Annotated[list[str], Query(description="questions in free words")] = [],  # noqa: B006
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
        if unknown := set(request.query_params) - set(KNOBS):
            raise HTTPException(
                422, f"{', '.join(sorted(unknown))}: expected one of {', '.join(KNOBS)}"
            )
        if len(ask) > MAX_QUESTIONS:
            raise HTTPException(422, f"{len(ask)} questions; expected {MAX_QUESTIONS} at most")
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
                "ask": ask,
            }
        )
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            named = [(file.filename or "", file.file) for file in files]
            await run_in_threadpool(keep, named, Path(folder))

            def work() -> dict[str, Any]:
                return answer_json(desk.model, desk.read(Path(folder), asked))

            content = await result(desk, desk.submit(work))
        return JSONResponse(content, 422 if "error" in content else 200)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(report.template("docs.html.j2").render(api=app.openapi()))

    return app
