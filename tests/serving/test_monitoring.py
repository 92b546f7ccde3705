"""Metrics and logs count everything, repeat nothing, and name no file, client or patient."""

import asyncio
import json
import logging

import pytest

from ecg_siglip.serving.monitoring import Metrics, Monitor, OncePerPeriod, logging_to_stderr
from ecg_siglip.serving.paths import route_of

pytest.importorskip("prometheus_client", reason="needs the extra [app]")
log = logging.getLogger("ecg_siglip.serving.test")
SECRET = "Mustermann_1950"


def send_requests(metrics, statuses, path="/predict"):
    async def application(scope, receive, send):
        status = statuses.pop(0)
        if status is None:
            raise RuntimeError(SECRET)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        pass

    async def run():
        monitor = Monitor(application, metrics)
        scope = {"type": "http", "method": SECRET, "path": path, "query_string": SECRET.encode()}
        while statuses:
            try:
                await monitor(scope, None, send)
            except RuntimeError:
                log.exception("Exception in the application")

    asyncio.run(run())


def test_requests_are_counted_by_route_and_status():
    metrics = Metrics()
    metrics.watch("waiting", "Requests that wait.", lambda: 7)
    send_requests(metrics, [200, 200, 503, None])
    send_requests(metrics, [404], path=f"/{SECRET}")
    text, kind = metrics.to_text()
    assert kind.startswith("text/plain")
    lines = text.decode().splitlines()
    assert 'ecg_siglip_requests_total{route="/predict",status="200"} 2.0' in lines
    assert 'ecg_siglip_requests_total{route="/predict",status="500"} 1.0' in lines
    assert 'ecg_siglip_requests_total{route="other",status="404"} 1.0' in lines
    assert 'ecg_siglip_request_seconds_count{route="/predict"} 4.0' in lines
    assert "ecg_siglip_waiting 7.0" in lines
    assert SECRET not in text.decode()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_has_no_secrets_and_repeats_nothing(capsys, log_format):
    metrics = Metrics()
    log.disabled = True  # as Hydra leaves it
    with logging_to_stderr(metrics, log_format):
        send_requests(metrics, [200, None], path=f"/{SECRET}")
        for i in range(1000):
            log.warning("requests refused: %d in the queue", i)
    err = capsys.readouterr().err
    assert SECRET not in err
    assert err.count("requests refused") == 1
    assert "test_monitoring.py" in err and "RuntimeError" in err
    counted = 'ecg_siglip_warnings_total{message="requests refused: %d in the queue"} 1000.0'
    assert counted in metrics.to_text()[0].decode().splitlines()
    if log_format == "json":
        rows = [json.loads(line) for line in err.splitlines()]
        assert [row["status"] for row in rows if row["message"] == "request"] == [200, 500]
        assert {row["route"] for row in rows if "route" in row} == {"other"}
    else:
        assert "app: warning: requests refused: 0 in the queue\n" in err


def test_a_message_comes_again_after_a_period_with_the_number_of_the_others():
    counted = []
    once = OncePerPeriod(counted.append, period_s=0.0)
    never = OncePerPeriod(counted.append, period_s=1000.0)
    record = logging.LogRecord("uvicorn.error", 30, "", 1, "bad request", (), None)
    assert all(once.filter(record) for _ in range(3))
    assert [never.filter(record) for _ in range(3)] == [True, False, False]
    never.period_s = 0.0
    assert never.filter(record) and record.n_withheld == 2
    assert counted == ["uvicorn.error"] * 7


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"), ("/de/", "/"), ("/ja", "/"), ("/predict", "/predict"),
        ("/ja/gradio_api/upload", "/gradio_api/upload"),
        ("/gradio_api/run/predict", "/gradio_api/run"),
        (f"/gradio_api/file={SECRET}", "other"), (f"/predict/{SECRET}", "other"),
        ("/login", "/login"), ("/static/a/b.js", "/static"),
    ],
)  # fmt: skip
def test_a_route_names_nothing_of_the_client(path, route):
    assert route_of(path) == route
