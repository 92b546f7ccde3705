"""Request guard: which hosts, origins and paths are served, and how large a body may be."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ecg_siglip import config
from ecg_siglip.core.translation import LANGUAGE_NAMES

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
API_PATHS = r"/predict|/healthz|/openapi\.json|/docs"
# Paths of Gradio that the page needs. All others (files, proxies, recordings) are refused: the
# server sends no file to anyone.
LANGUAGE = f"(?:/(?:{'|'.join(LANGUAGE_NAMES)}))?"  # of the page
PAGE_PATHS = (
    r"/?|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*|"
    r"/gradio_api/(upload|upload_progress|run/predict|heartbeat/\w+|startup-events|reset/?|"
    r"app_id/?|info/?)"
)
SILENT_S = 30.0  # a body is abandoned if no part of it arrives for longer
ALLOWED = re.compile(f"(?:{API_PATHS}|{LANGUAGE}(?:{PAGE_PATHS}))")
# Whatever Gradio or a file name contains: the browser loads nothing from other servers.
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
DRAIN_S = 2.0  # longest wait for the next part of a refused body


class RequestGuard:
    """Filter of all requests: by host, origin, path and size.

    Parameters
    ----------
    app : ASGI application
    hosts : sequence of str
        Host names of the server that are accepted; ``*`` for any.
    max_bytes : int
        Largest body of a request.

    Notes
    -----
    A foreign page whose name is resolved to this machine (DNS rebinding) is recognized by its
    ``Host``, one that posts a form to this server by its ``Origin``. A body is counted while it
    arrives: one that is too large is refused before it is stored in memory or on disk.
    """

    def __init__(self, app: Any, hosts: Sequence[str], max_bytes: int):
        self.app, self.hosts, self.max_bytes = app, set(hosts), max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # neither the page nor the API uses websockets
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
                # After the whole body, the application only waits for the client to disconnect.
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
                message = {**message, "headers": _response_headers(message, scope["path"])}
            await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            # The application may raise any error if its request ends in the middle of the body.
            if not too_large:
                raise
        if too_large and not started:
            await _refuse(413, self._limit(), receive, send, self.max_bytes)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Return status and error if a request is refused because of its headers."""
        host = _host(headers.get(b"host", ""))
        if "*" not in self.hosts and host not in self.hosts:
            return 403, f"host {host[:80]!r}: expected one of {', '.join(sorted(self.hosts))}"
        origin = headers.get(b"origin")
        if origin is not None and _netloc(origin) != headers.get(b"host"):
            return 403, "request from a page of another origin"
        if not ALLOWED.fullmatch(scope["path"]):
            return (403 if "/gradio_api/" in scope["path"] else 404), "not found"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes:
            return 413, self._limit()
        return None

    def _limit(self) -> str:
        return f"the upload is too large; expected {self.max_bytes / 1e6:g} MB at most"


def _response_headers(message: dict[str, Any], path: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response, with ours in place of the application's."""
    replaced = {name for name, _ in HEADERS}
    headers = [
        (name, value)
        for name, value in message.get("headers", [])
        if name.lower() not in replaced and not name.lower().startswith(b"access-control-")
    ]
    is_static = re.match(f"{LANGUAGE}/(assets|static)/", path)
    return headers + [h for h in HEADERS if not (is_static and h[0] == b"cache-control")]


def _netloc(origin: str) -> str:
    """Return host name and port of an Origin header; empty if it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _host(header: str) -> str:
    """Return the host name of a Host header, without port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(status: int, error: str, receive: Receive, send: Send, max_bytes: int) -> None:
    """Send an error, and read the rest of the body.

    A client that is still sending would not read the response; what it sends is dropped.
    """
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


def allowed_hosts(settings: config.AppConfig) -> list[str]:
    """Return the host names by which the server accepts requests.

    Raises
    ------
    ValueError
        If it listens on every address of the machine and no host names are set.
    """
    if settings.host in LOOPBACK:
        return [*LOOPBACK, *settings.hosts]
    if settings.host in EVERYWHERE and not settings.hosts:
        raise ValueError(
            f"host={settings.host}: expected hosts=[name,...] as well, the host names of the page; "
            "hosts=['*'] for any"
        )
    return [settings.host, *settings.hosts]
