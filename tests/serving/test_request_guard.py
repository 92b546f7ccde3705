"""The request guard refuses other hosts, origins, paths and bodies that are too large."""

import asyncio

import pytest

from ecg_siglip import config
from ecg_siglip.serving.request_guard import HEADERS, RequestGuard, allowed_hosts

TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient
BASE = "http://127.0.0.1:7860"


async def application(scope, receive, send):
    """Respond with headers that the guard has to replace."""
    headers = [(b"access-control-allow-origin", b"*"), (b"Cache-Control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def client():
    guarded = RequestGuard(application, allowed_hosts(config.AppConfig()), 1000)
    return TestClient(guarded, base_url=BASE)


def test_headers_of_the_application_are_replaced(client):
    headers = client.get("/healthz").headers
    assert not [name for name in headers if name.startswith("access-control-")]
    for name, value in HEADERS:
        assert headers[name.decode()] == value.decode()
    assert "cache-control" not in client.get("/assets/a.js").headers, "browsers may keep it"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_another_host_name_is_refused(client, host):
    response = client.get("/healthz", headers={"host": host})
    assert (response.status_code, set(response.json())) == (403, {"error"})


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860"])
def test_the_names_of_this_machine_are_accepted(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_page_of_another_origin_is_refused(client):
    for origin in ("http://evil.example", "null", "http://[", "http://127.0.0.1:9999"):
        response = client.get("/healthz", headers={"origin": origin})
        assert response.status_code == 403
    response = client.get("/healthz", headers={"origin": BASE})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/redoc", "/runs", "/../etc/passwd", "/monitoring", "/login"])
def test_other_paths_do_not_exist(client, path):
    assert client.get(path).status_code == 404


def send_body(chunks, declared=None):
    """Return the status for a body, and how many bytes of it the application received."""
    received = []

    async def application(scope, receive, send):
        while True:
            message = await receive()
            received.append(len(message.get("body", b"")))
            if message["type"] == "http.disconnect":
                raise RuntimeError("the client is gone")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = [(b"host", b"localhost")]
    headers += [(b"content-length", str(declared).encode())] if declared is not None else []
    scope = {"type": "http", "path": "/predict", "headers": headers}
    messages, left = [], list(chunks)

    async def receive():
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message):
        messages.append(message)

    asyncio.run(RequestGuard(application, ["localhost"], 1000)(scope, receive, send))
    return messages[0]["status"], sum(received)


def test_a_body_that_is_too_large_is_refused_before_it_has_arrived():
    assert send_body([b"x" * 400] * 2) == (200, 800)
    assert send_body([b"x" * 400] * 100) == (413, 800)
    assert send_body([b"x" * 400], declared=10**9) == (413, 0)
    assert send_body([b"x" * 1000], declared=1000) == (200, 1000)
    assert send_body([b"x"], declared="many") == (413, 0)


def test_the_accepted_host_names_follow_from_the_address():
    assert "localhost" in allowed_hosts(config.AppConfig())
    assert allowed_hosts(config.AppConfig(host="10.0.0.5", hosts=["ecg"])) == ["10.0.0.5", "ecg"]
    with pytest.raises(ValueError, match=r"host=0\.0\.0\.0: expected hosts="):
        allowed_hosts(config.AppConfig(host="0.0.0.0"))
