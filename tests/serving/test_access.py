"""Only who knows a token gets in: programs by a header, people by a form."""

import os
import time

import pytest

from ecg_siglip import config
from ecg_siglip.serving import access
from ecg_siglip.serving.access import read_tokens
from ecg_siglip.serving.monitoring import Metrics
from ecg_siglip.serving.protection import protect
from ecg_siglip.serving.upload_folder import UploadFolder

for package in ("limits", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [app]")
TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient
BASE = "http://127.0.0.1:7860"
TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def token_file(folder, text, mode=0o600):
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def client(tmp_path):
    settings = config.AppConfig(token_file=token_file(tmp_path, f"{TOKEN}\n\n{OTHER}\n"))
    uploads = UploadFolder(tmp_path, 10**6)
    guarded = protect(application, settings, uploads, Metrics())
    return TestClient(guarded, base_url=BASE, follow_redirects=False)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_a_program_needs_one_of_the_tokens(client):
    for token in (TOKEN, OTHER):
        assert client.post("/predict", headers=bearer(token)).status_code == 200
    for headers in ({}, bearer("wrong"), bearer(""), {"authorization": f"Basic {TOKEN}"}):
        response = client.post("/predict", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "Bearer TOKEN" in response.json()["error"]
    for path in ("/", "/docs", "/metrics", "/de/", "/gradio_api/upload", "/openapi.json"):
        assert client.get(path).status_code == 401
    assert client.get("/healthz").status_code == 200


def test_a_person_signs_in_with_a_form(client):
    html = {"accept": "text/html", "accept-language": "de"}
    page = client.get("/de/", headers=html)
    assert page.status_code == 401
    assert 'action="../login"' in page.text and "Anmelden" in page.text
    wrong = client.post("/login", data={"token": "no", "language": "ja"}, headers=html)
    assert wrong.status_code == 401 and "トークンが違います" in wrong.text
    assert "set-cookie" not in wrong.headers
    right = client.post("/login", data={"token": f" {TOKEN}", "language": "de"}, headers=html)
    assert (right.status_code, right.headers["location"]) == (303, "./?lang=de")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert client.get("/de/", headers=html).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_a_cookie_is_valid_for_a_time_and_cannot_be_changed(client, monkeypatch):
    client.post("/login", data={"token": TOKEN})
    until, _, signature = client.cookies["ecg_siglip"].partition(".")
    client.cookies.clear()
    headers = {"cookie": f"ecg_siglip={until}.{signature}"}
    assert client.get("/", headers=headers).status_code == 200
    now = time.time()
    monkeypatch.setattr(access.time, "time", lambda: now + access.VALID_S + 1)
    assert client.get("/", headers=headers).status_code == 401
    for value in (
        f"{int(until) + 10**6}.{signature}",
        "",
        ".",
        f"{until}.\u00e9",
        f"x.{signature}",
    ):
        headers = {"cookie": f"ecg_siglip={value}".encode("latin-1")}
        assert client.get("/", headers=headers).status_code == 401
    assert client.get("/", headers={"cookie": "a b;;=\\"}).status_code == 401


def test_tokens_cannot_be_tried_out(client):
    statuses = [client.get("/", headers=bearer(f"guess {i}")).status_code for i in range(12)]
    assert statuses == [401] * access_limit() + [429] * (12 - access_limit())
    assert client.get("/", headers=bearer(TOKEN)).status_code == 429
    assert client.post("/login", data={"token": TOKEN}).status_code == 429


def access_limit():
    from ecg_siglip.serving.clients import LOGINS_PER_MINUTE

    return LOGINS_PER_MINUTE


def test_without_tokens_there_is_no_form(tmp_path):
    guarded = protect(application, config.AppConfig(), UploadFolder(tmp_path, 10**6), Metrics())
    assert TestClient(guarded, base_url=BASE).get("/login").status_code == 404


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (TOKEN, 0o644, "others than its owner .*chmod 600"),
        ("", 0o600, "expected a token of 16 characters"),
        (f"{TOKEN}\nshort", 0o600, "expected a token of 16 characters"),
    ],
)
def test_a_bad_file_of_tokens_is_refused(tmp_path, text, mode, message):
    if mode == 0o644 and os.name != "posix":
        pytest.skip("other systems have other permissions")
    with pytest.raises(ValueError, match=message):
        read_tokens(token_file(tmp_path, text, mode))
    with pytest.raises(OSError, match="no_such"):
        read_tokens(str(tmp_path / "no_such"))
