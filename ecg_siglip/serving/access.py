"""Access by a token: a bearer token for programs, and a form that sets a cookie for people."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ecg_siglip.core.translation import LANGUAGE_NAMES, pick_language, translator
from ecg_siglip.reporting.html import load_template
from ecg_siglip.serving.asgi import Receive, Scope, Send, error_content, header_of, send_response
from ecg_siglip.serving.clients import RateLimit
from ecg_siglip.serving.paths import LOGIN

TEMPLATES = Path(__file__).with_name("templates")
COOKIE = "ecg_siglip"
VALID_S = 12 * 3600
MIN_LENGTH = 16  # characters of a token
MAX_FORM = 4096  # bytes
OPEN = ("/healthz",)
WRONG = "expected the header 'Authorization: Bearer TOKEN' with the server's token"
log = logging.getLogger(__name__)


def read_tokens(path: str) -> list[bytes]:
    """Return the tokens in a file, one in each line.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If others than its owner may read it, it has no token, or one is too short.
    """
    file = Path(path)
    mode = stat.S_IMODE(file.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ValueError(
            f"token_file={path}: others than its owner may use it (mode {mode:o}); chmod 600 {path}"
        )
    tokens = [line.strip() for line in file.read_bytes().splitlines() if line.strip()]
    if not tokens or min(map(len, tokens)) < MIN_LENGTH:
        raise ValueError(
            f"token_file={path}: expected a token of {MIN_LENGTH} characters or more in each line, "
            "such as of: openssl rand -hex 32"
        )
    return tokens


class TokenAccess:
    """Application for those who know a token.

    Parameters
    ----------
    app : ASGI application
    tokens : list of bytes
        Any of them is accepted.
    rate : RateLimit
        Limits how often a client may try.

    Notes
    -----
    The cookie contains the time until which it is valid and its HMAC-SHA-256 with the token as the
    key, so that the server stores nothing and a removed token ends its sessions. Comparisons take
    the same time whatever is wrong.
    """

    def __init__(self, app: Any, tokens: list[bytes], rate: RateLimit):
        self.app, self.rate = app, rate
        self._keys = [hashlib.sha256(token).digest() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN:
            await self.app(scope, receive, send)
            return
        if scope["path"] == LOGIN and scope["method"] == "POST":
            await self._log_in(scope, receive, send)
            return
        if self._has_cookie(scope):
            await self.app(scope, receive, send)
            return
        scheme, _, token = header_of(scope, b"authorization").partition(" ")
        is_sent = scheme.lower() == "bearer"
        if is_sent and not self.rate.may_log_in(scope):
            await self._refuse(scope, send, 429)
        elif is_sent and self._key_of(token.strip().encode("latin-1")):
            await self.app(scope, receive, send)
        else:
            if is_sent:
                self.rate.count_wrong_token(scope)
            await self._refuse(scope, send, 401)

    def _key_of(self, token: bytes) -> bytes | None:
        """Return the key that a token stands for, None for a wrong one."""
        digest, found = hashlib.sha256(token).digest(), None
        for key in self._keys:
            found = key if hmac.compare_digest(key, digest) else found
        return found

    def _has_cookie(self, scope: Scope) -> bool:
        """Return whether a request has the cookie of a login that is still valid."""
        cookie = SimpleCookie()
        try:
            cookie.load(header_of(scope, b"cookie"))
        except CookieError:
            return False
        value = cookie[COOKIE].value if COOKIE in cookie else ""
        until, _, signature = value.partition(".")
        sent = signature.encode("latin-1", "replace")
        is_signed = [hmac.compare_digest(_sign(key, until), sent) for key in self._keys]
        return any(is_signed) and int(until) > time.time()

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set the cookie if the form has the right token, and lead back to the page."""
        if not self.rate.may_log_in(scope):
            await self._refuse(scope, send, 429)
            return
        form = parse_qs((await _read_form(receive)).decode("latin-1"))
        key = self._key_of(form.get("token", [""])[0].strip().encode("latin-1"))
        language = form.get("language", [""])[0]
        if key is None:
            self.rate.count_wrong_token(scope)
            await self._refuse(scope, send, 401, is_wrong=True, language=language)
            return
        until = str(int(time.time() + VALID_S))
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = (
            f"{COOKIE}={until}.{_sign(key, until).decode()}; Path=/; Max-Age={VALID_S}; HttpOnly; "
            f"SameSite=Strict{secure}"
        )
        page = f"./?lang={language}" if language in LANGUAGE_NAMES else "./"
        headers = [(b"location", page.encode()), (b"set-cookie", cookie.encode())]
        await send_response(send, 303, b"", "text/plain", headers)

    async def _refuse(
        self, scope: Scope, send: Send, status: int, is_wrong: bool = False, language: str = ""
    ) -> None:
        """Send the form to a browser, an error to a program."""
        log.warning(f"requests refused with status {status}")
        headers = [(b"www-authenticate", b"Bearer")] if status == 401 else [(b"retry-after", b"60")]
        if "text/html" not in header_of(scope, b"accept"):
            error = WRONG if status == 401 else "too many wrong tokens; try again in a minute"
            await send_response(send, status, error_content(error), headers=headers)
            return
        if language not in LANGUAGE_NAMES:
            first = scope["path"].split("/")[1]
            language = first if first in LANGUAGE_NAMES else ""
        language = language or pick_language(header_of(scope, b"accept-language"))
        _ = translator(language)
        error = _("Wrong token") if is_wrong else ""
        error = _("Too many wrong tokens; please try again in a minute") if status == 429 else error
        up = "../" * (scope["path"].count("/") - 1)
        template = load_template("login.html.j2", TEMPLATES, language=language)
        page = template.render(action=f"{up}login", language=language, error=error)
        await send_response(send, status, page.encode(), "text/html; charset=utf-8", headers)


def _sign(key: bytes, until: str) -> bytes:
    """Return the signature, in hexadecimal, of a cookie that is valid until a time."""
    content = f"{COOKIE} {until}".encode("latin-1", "replace")
    return hmac.new(key, content, "sha256").hexdigest().encode()


async def _read_form(receive: Receive) -> bytes:
    """Return the body of the form; what exceeds ``MAX_FORM`` is not read."""
    content, has_more = b"", True
    while has_more and len(content) < MAX_FORM:
        message = await receive()
        content += message.get("body", b"")
        has_more = message.get("more_body", False)
    return content[:MAX_FORM]
