"""Languages of the web page: each has its own address, and the browser's language comes first."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ecg_siglip.core.translation import ENGLISH, LANGUAGE_NAMES, pick_language
from ecg_siglip.serving.asgi import Message, Receive, Scope, Send

PATHS = {language: "/" if language == ENGLISH else f"/{language}/" for language in LANGUAGE_NAMES}
# Before any other script: Gradio shows its own texts in the browser's language and sets it as the
# language of the document.
SCRIPT = (
    '<script>Object.defineProperty(navigator, "language", {{value: "{0}"}});'
    'Object.defineProperty(navigator, "languages", {{value: ["{0}"]}});</script>'
)


class PageLanguages:
    """Application that serves the page of the requested language.

    Parameters
    ----------
    app : ASGI application
        Serves the page of each language at its path in ``PATHS``.

    Notes
    -----
    ``?lang=`` leads to the page of that language. Without it, the address without a language leads
    to the first language of the browser that the page has.
    """

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        pages = {page.rstrip("/"): language for language, page in PATHS.items()}
        if scope["type"] != "http" or path.rstrip("/") not in pages:
            await self.app(scope, receive, send)
            return
        language = pages[path.rstrip("/")]
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        wanted = dict(query).get("lang")
        if wanted is None and language == ENGLISH:
            wanted = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
        target = language if wanted is None else pick_language(wanted)
        if target != language or path != PATHS[language]:
            await _redirect(path, target, query, send)
            return
        # The page has to be changed: not compressed.
        headers = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]
        await self.app({**scope, "headers": headers}, receive, _in_language(language, send))


async def _redirect(path: str, language: str, query: list[tuple[str, str]], send: Send) -> None:
    """Send the browser to the page of a language, by an address relative to the path."""
    up = "../" if path.count("/") > 1 else ""
    # English is stated: without it the browser's language would count again.
    rest = [(name, value) for name, value in query if name != "lang"]
    rest += [("lang", ENGLISH)] if language == ENGLISH else []
    relative = f"{up}{PATHS[language][1:]}" or "./"
    location = relative + (f"?{urlencode(rest)}" if rest else "")
    headers = [
        (b"location", location.encode("latin-1")),
        (b"vary", b"accept-language"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _in_language(language: str, send: Send) -> Send:
    """Return a ``send`` that sets the language of the HTML page which passes through it."""
    start: dict[str, Any] = {}
    content = bytearray()

    async def send_page(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        if message["type"] != "http.response.body":
            await send(message)
            return
        content.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        page = with_language(bytes(content), language)
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers += [(b"content-length", str(len(page)).encode()), (b"vary", b"accept-language")]
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    return send_page


def with_language(page: bytes, language: str) -> bytes:
    """Return an HTML page with its language stated, for readers, browsers and Gradio's texts.

    Examples
    --------
    >>> with_language(b'<html lang="en"><head>', "de")[:22]
    b'<html lang="de"><head>'
    """
    page = re.sub(rb'(<html\b[^>]*?\blang=")[^"]*', rb"\g<1>" + language.encode(), page, count=1)
    return page.replace(b"<head>", b"<head>" + SCRIPT.format(language).encode(), 1)
