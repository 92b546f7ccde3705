"""Paths that are served, and the names under which they are counted."""

from __future__ import annotations

import re

from ecg_siglip.core.translation import LANGUAGE_NAMES

LANGUAGE = f"(?:/(?:{'|'.join(LANGUAGE_NAMES)}))?"  # of the page
API_PATHS = r"/predict|/healthz|/metrics|/openapi\.json|/docs"
# Paths of Gradio that the page needs. All others (files, proxies, recordings) are refused: the
# server sends no file to anyone.
PAGE_PATHS = (
    r"/?|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*|"
    r"/gradio_api/(upload|upload_progress|run/predict|heartbeat/\w+|startup-events|reset/?|"
    r"app_id/?|info/?)"
)
LOGIN = "/login"  # with a token only
ALLOWED = re.compile(f"(?:{API_PATHS}|{LANGUAGE}(?:{PAGE_PATHS}))")
STATIC = re.compile(f"{LANGUAGE}/(assets|static)/")
UPLOAD = re.compile(f"{LANGUAGE}/gradio_api/upload")
HEARTBEAT = re.compile(f"{LANGUAGE}/gradio_api/heartbeat/")  # open as long as the page is


def route_of(path: str) -> str:
    """Return the name under which a request is counted; it contains nothing of the client.

    Examples
    --------
    >>> route_of("/de/gradio_api/heartbeat/x7"), route_of("/assets/a.js"), route_of("/etc/passwd")
    ('/gradio_api/heartbeat', '/assets', 'other')
    """
    if path == LOGIN:
        return path
    if not ALLOWED.fullmatch(path):
        return "other"
    path = re.sub(f"^/({'|'.join(LANGUAGE_NAMES)})(?=/|$)", "", path)
    api, _, last = path.removeprefix("/").partition("/")
    if api == "gradio_api":
        return f"/gradio_api/{last.split('/')[0]}"
    return f"/{api}"
