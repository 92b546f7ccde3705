"""Request guard: which origins and paths are served, and how large and slow a body may be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from ecg_siglip import config
from ecg_siglip.serving.asgi import (
    Message,
    Receive,
    Scope,
    Send,
    error_content,
    header_of,
    send_response,
)
from ecg_siglip.serving.clients import Client, RateLimit, address_of, current_client
from ecg_siglip.serving.paths import ALLOWED, HEARTBEAT, LOGIN, UPLOAD
from ecg_siglip.serving.upload_folder import UploadFolder

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
# A body is abandoned if it arrives more slowly, after some seconds.
MIN_BYTES_PER_S, GRACE_S = 10_000, 20.0
MAX_AT_ONCE = 16  # requests of a client in progress: more than fill the processes and a batch
log = logging.getLogger(__name__)


class RequestGuard:
    """Filter of all requests: by origin, path, rate, number of open pages, size and speed.

    Parameters
    ----------
    app : ASGI application
    settings : AppConfig
    uploads : UploadFolder

    Notes
    -----
    A page of another origin that posts a form to this server is recognized by its ``Origin``. A
    body is counted while it arrives: one that is too large is refused before it is stored in memory
    or on disk. Of one client, half as many requests as may wait are in progress; others of it wait
    here, without their bodies. When a client disconnects, the ``current_client`` of its request
    leaves.
    """

    def __init__(self, app: Any, settings: config.AppConfig, uploads: UploadFolder):
        self.app, self.settings, self.uploads = app, settings, uploads
        self.max_bytes = int(settings.max_mb * 1e6)
        self.rate = RateLimit(settings.requests_per_minute)
        # Nobody can fill the queue alone, or keep the server busy with bodies.
        self.n_at_once = max(1, min(MAX_AT_ONCE, settings.max_waiting // 2))
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._n_pages = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # neither the page nor the API uses websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal:
            await self._refuse(*refusal, send)
            return
        if scope["method"] == "POST":
            await self._forward_in_turn(scope, receive, send)
            return
        is_page = HEARTBEAT.match(scope["path"]) is not None
        self._n_pages += is_page
        try:
            await self._forward(scope, receive, send)
        finally:
            self._n_pages -= is_page

    async def _forward_in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application when few enough requests of the client are in progress."""
        address = address_of(scope)
        places = self._places.get(address)
        if places is None:
            places = self._places[address] = asyncio.Semaphore(self.n_at_once)
        try:
            await asyncio.wait_for(places.acquire(), self.settings.timeout_s)
        except TimeoutError:
            await self._refuse(503, "too many requests of this client are in progress", send)
            return
        try:
            await self._forward(scope, receive, send)
        finally:
            places.release()

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on a request whose body is limited."""
        client, started = Client(address_of(scope)), False
        body = _Body(receive, client, self.uploads, self.max_bytes)
        token = current_client.set(client)

        async def guarded(message: Message) -> None:
            nonlocal started
            if body.refusal and not started:
                return
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, body.receive, guarded)
        except Exception:
            # The application may raise any error if its request ends in the middle of the body.
            if not (body.refusal or client.has_left):
                raise
        finally:
            current_client.reset(token)
            await body.close()
        if body.refusal and not started:
            await self._refuse(*body.refusal, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and error if a request is refused because of its headers."""
        origin = header_of(scope, b"origin")
        if origin and _netloc(origin) != header_of(scope, b"host"):
            return 403, "request from a page of another origin"
        path = scope["path"]
        is_login = path == LOGIN and self.settings.token_file is not None
        if not (is_login or ALLOWED.fullmatch(path)):
            return (403 if "/gradio_api/" in path else 404), "not found"
        length = header_of(scope, b"content-length") or "0"
        if not length.isdecimal() or int(length) > self.max_bytes:
            return 413, too_large(self.max_bytes)
        if not self.rate.allows(scope):
            return 429, "too many requests of this client; please try again in a minute"
        if HEARTBEAT.match(path) and self._n_pages >= self.settings.max_sessions:
            return 503, "too many open pages; please try again later"
        if UPLOAD.fullmatch(path) and not self.uploads.free_space(int(length)):
            return 503, "too many uploads in progress; please try again in a moment"
        return None

    async def _refuse(self, status: int, error: str, send: Send) -> None:
        """Send an error; the server reads and drops the rest of the body."""
        log.warning(f"requests refused with status {status}")
        retry_s = {429: b"60", 503: b"1"}.get(status)
        headers = [(b"retry-after", retry_s)] if retry_s else []
        await send_response(send, status, error_content(error), headers=headers)


class _Body:
    """Body of a request, counted while it arrives; after it, the end of the connection.

    Parameters
    ----------
    receive : function
        Of the server.
    client : Client
        Leaves when the connection ends.
    uploads : UploadFolder
        Limits the bodies of all requests together.
    max_bytes : int
    """

    def __init__(self, receive: Receive, client: Client, uploads: UploadFolder, max_bytes: int):
        self._receive, self._client, self._uploads = receive, client, uploads
        self._max_bytes, self._n_bytes = max_bytes, 0  # of this body so far
        self._start_s = asyncio.get_running_loop().time()
        self._left: asyncio.Task[None] | None = None  # from the end of the body on
        self.refusal: tuple[int, str] | None = None

    async def receive(self) -> Message:
        """Return the next part, or that the client has left."""
        if self._left is not None:
            await asyncio.shield(self._left)
            return {"type": "http.disconnect"}
        latest_s = self._start_s + GRACE_S + self._n_bytes / MIN_BYTES_PER_S
        try:
            async with asyncio.timeout_at(latest_s):
                message = await self._receive()
        except TimeoutError:
            self.refusal = (408, "the request arrives too slowly")
            return {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self._client.leave()
            return message
        n_bytes = len(message.get("body", b""))
        self._n_bytes += n_bytes
        self._uploads.n_arriving += n_bytes
        if self._n_bytes > self._max_bytes:
            self.refusal = (413, too_large(self._max_bytes))
            return {"type": "http.disconnect"}
        if self._uploads.n_arriving > self._uploads.max_bytes:
            self.refusal = (503, "too many uploads in progress; please try again in a moment")
            return {"type": "http.disconnect"}
        if not message.get("more_body", False):
            self._left = asyncio.create_task(self._wait_until_left())
        return message

    async def _wait_until_left(self) -> None:
        if (await self._receive())["type"] == "http.disconnect":
            self._client.leave()

    async def close(self) -> None:
        """Release what the body has occupied."""
        self._uploads.n_arriving -= self._n_bytes
        if self._left is not None:
            self._left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._left


def too_large(max_bytes: int) -> str:
    """Return the error of a body that is too large."""
    return f"the upload is too large; expected {max_bytes / 1e6:g} MB at most"


def _netloc(origin: str) -> str:
    """Return host name and port of an Origin header; empty if it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def allowed_hosts(settings: config.AppConfig) -> list[str]:
    """Return the host names by which the server accepts requests.

    Raises
    ------
    ValueError
        If a name has another form, or the server listens on every address of the machine and no
        names are set.
    """
    for name in settings.hosts:
        if "*" in name.removeprefix("*.") and name != "*":
            raise ValueError(f"hosts=[{name}]: expected a host name, '*.example.org' or '*'")
    if settings.host in LOOPBACK:
        return [*LOOPBACK, "[::1]", *settings.hosts]
    if settings.host in EVERYWHERE and not settings.hosts:
        raise ValueError(
            f"host={settings.host}: expected hosts=[name,...] as well, the host names of the page; "
            "hosts=['*'] for any"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return [host, *settings.hosts]
