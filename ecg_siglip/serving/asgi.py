"""Types of ASGI applications, and the response with which the server refuses a request."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]


async def send_response(
    send: Send,
    status: int,
    content: bytes,
    kind: str = "application/json",
    headers: list[Header] | None = None,
    is_last: bool = True,
) -> None:
    """Send a response; one that is not the last part is to be completed by an empty body."""
    length = (b"content-length", str(len(content)).encode())
    fields = [(b"content-type", kind.encode()), length, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content, "more_body": not is_last})


def error_content(error: str) -> bytes:
    """Return an error as the JSON object that every error response contains."""
    return json.dumps({"error": error}).encode()


def header_of(scope: Scope, name: bytes) -> str:
    """Return a header of a request; empty if it has none."""
    return next((v.decode("latin-1") for k, v in scope["headers"] if k.lower() == name), "")
