"""The request guard refuses other hosts, origins, paths and bodies that are too large."""

import asyncio

import pytest

from ecg_siglip import config
from ecg_siglip.serving import request_guard
from ecg_siglip.serving.clients import current_client
from ecg_siglip.serving.monitoring import Metrics
from ecg_siglip.serving.protection import protect
from ecg_siglip.serving.request_guard import RequestGuard, allowed_hosts
from ecg_siglip.serving.response_headers import HEADERS
from ecg_siglip.serving.upload_folder import UploadFolder

for package in ("limits", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [app]")
TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient
BASE = "http://127.0.0.1:7860"


async def application(scope, receive, send):
    """Respond with headers that the guard has to replace."""
    headers = [(b"access-control-allow-origin", b"*"), (b"Cache-Control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def client(tmp_path):
    guarded = protect(application, config.AppConfig(), UploadFolder(tmp_path, 10**6), Metrics())
    return TestClient(guarded, base_url=BASE)


def test_headers_of_the_application_are_replaced(client):
    headers = client.get("/healthz").headers
    assert not [name for name in headers if name.startswith("access-control-")]
    for name, value in HEADERS:
        assert headers[name.decode()] == value.decode()
    assert "cache-control" not in client.get("/assets/a.js").headers, "browsers may keep it"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_another_host_name_is_refused(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 400


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


def send_body(folder, chunks, declared=None, max_stored=10**6, delay_s=0.0):
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
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    messages, left = [], list(chunks)

    async def receive():
        await asyncio.sleep(delay_s)
        if not left:
            return {"type": "http.disconnect"}
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message):
        messages.append(message)

    uploads = UploadFolder(folder, max_stored)
    guard = RequestGuard(application, config.AppConfig(max_mb=0.001), uploads)
    asyncio.run(guard(scope, receive, send))
    assert uploads.n_arriving == 0
    return messages[0]["status"], sum(received)


def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(tmp_path):
    assert send_body(tmp_path, [b"x" * 400] * 2) == (200, 800)
    assert send_body(tmp_path, [b"x" * 400] * 100) == (413, 800)
    assert send_body(tmp_path, [b"x" * 400], declared=10**9) == (413, 0)
    assert send_body(tmp_path, [b"x" * 1000], declared=1000) == (200, 1000)
    assert send_body(tmp_path, [b"x"], declared="many") == (413, 0)


def test_all_bodies_together_are_limited(tmp_path):
    assert send_body(tmp_path, [b"x" * 400] * 2, max_stored=500) == (503, 400)


def test_a_slow_body_is_abandoned(tmp_path, monkeypatch):
    monkeypatch.setattr(request_guard, "GRACE_S", 0.2)
    assert send_body(tmp_path, [b"x"] * 5, delay_s=0.01) == (200, 5)
    status, n_bytes = send_body(tmp_path, [b"x"] * 100, delay_s=0.05)
    assert status == 408 and n_bytes < 10


def test_a_client_that_leaves_is_noticed(tmp_path):
    left, disconnected = [], asyncio.Event()

    async def application(scope, receive, send):
        await receive()
        current_client.get().on_leave(lambda: left.append("waiting"))
        disconnected.set()
        assert (await receive())["type"] == "http.disconnect"
        current_client.get().on_leave(lambda: left.append("late"))
        raise RuntimeError("nobody reads this")

    async def receive():
        if disconnected.is_set():
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    guard = RequestGuard(application, config.AppConfig(), UploadFolder(tmp_path, 10**6))
    asyncio.run(guard(scope, receive, None))
    assert left == ["waiting", "late"]


def test_the_number_of_open_pages_is_limited(tmp_path):
    statuses = []

    async def send(message):
        statuses.append(message.get("status"))

    async def run():
        ended = asyncio.Event()

        async def application(scope, receive, send):
            await ended.wait()

        settings = config.AppConfig(max_sessions=2)
        guard = RequestGuard(application, settings, UploadFolder(tmp_path, 10**6))
        path = "/gradio_api/heartbeat/x"
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        pages = [asyncio.create_task(guard(scope, None, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await guard(scope, None, send)
        ended.set()
        await asyncio.gather(*pages)
        assert statuses[0] == 503
        await guard(scope, None, send)
        assert len(statuses) == 2

    asyncio.run(run())


def test_one_client_does_not_fill_the_queue(tmp_path):
    gate, in_progress = asyncio.Event(), []

    async def application(scope, receive, send):
        in_progress.append(scope["client"][0])
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run():
        statuses = []

        async def send(message):
            statuses.append(message.get("status"))

        def post(host):
            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
            return asyncio.create_task(guard(scope | {"client": (host, 1)}, None, send))

        settings = config.AppConfig(max_waiting=4, timeout_s=0.2)
        guard = RequestGuard(application, settings, UploadFolder(tmp_path, 10**6))
        tasks = [post("10.0.0.1") for _ in range(5)] + [post("10.0.0.2")]
        await asyncio.sleep(0.05)
        assert sorted(in_progress) == ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
        await asyncio.sleep(0.3)
        assert [status for status in statuses if status] == [503] * 3
        gate.set()
        await asyncio.gather(*tasks)
        assert statuses.count(200) == 3

    asyncio.run(run())


def test_a_client_may_send_a_number_of_requests_per_minute(tmp_path):
    def statuses(**settings):
        uploads, host = UploadFolder(tmp_path, 10**6), settings.pop("host")
        guarded = protect(application, config.AppConfig(**settings), uploads, Metrics())
        client = TestClient(guarded, base_url=BASE, client=(host, 1))
        return [client.post("/predict").status_code for _ in range(5)]

    assert statuses(host="10.0.0.1", requests_per_minute=3) == [200, 200, 200, 429, 429]
    assert statuses(host="10.0.0.1", requests_per_minute=0) == [200] * 5
    assert statuses(host="127.0.0.1", requests_per_minute=None) == [200] * 5


def test_the_accepted_host_names_follow_from_the_address():
    assert "localhost" in allowed_hosts(config.AppConfig())
    assert allowed_hosts(config.AppConfig(host="10.0.0.5", hosts=["ecg"])) == ["10.0.0.5", "ecg"]
    with pytest.raises(ValueError, match=r"host=0\.0\.0\.0: expected hosts="):
        allowed_hosts(config.AppConfig(host="0.0.0.0"))
    with pytest.raises(ValueError, match=r"hosts=\[a\*\]: expected"):
        allowed_hosts(config.AppConfig(hosts=["a*"]))
