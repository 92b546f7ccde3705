"""Headers of every response: what a browser may load, embed, store and pass on."""

from __future__ import annotations

from typing import Any

from ecg_siglip.serving.asgi import Header, Message, Receive, Scope, Send
from ecg_siglip.serving.paths import STATIC

# Whatever Gradio or a file name contains: the browser loads nothing from other servers.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: list[Header] = [
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    # Not "no-referrer": browsers would send the form of the token without its origin.
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
]


class ResponseHeaders:
    """Application with ``HEADERS`` in place of what another application sends.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = _with_ours(message.get("headers", []), scope["path"])
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _with_ours(headers: list[Header], path: str) -> list[Header]:
    """Return the headers of a response, with ours in place of the application's."""
    replaced = {name for name, _ in HEADERS}
    others = [
        (name, value)
        for name, value in headers
        if name.lower() not in replaced and not name.lower().startswith(b"access-control-")
    ]
    is_static = STATIC.match(path)
    return others + [h for h in HEADERS if not (is_static and h[0] == b"cache-control")]
