"""The JSON interface answers as predict does, and the guard lets nothing else through."""

import asyncio
import json
import re
import tempfile
import threading
from pathlib import Path

import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.core.settings import setting_names
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.predict import predict
from ecg_siglip.serving.json_api import make_api
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.request_guard import RequestGuard, allowed_hosts

pytest.importorskip("fastapi", reason="needs the extra [app]")
pytest.importorskip("python_multipart", reason="needs the extra [app]")
TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient

BASE = "http://127.0.0.1:7860"
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def desk(trained):
    settings = config.AppConfig(max_mb=MAX_BYTES / 1e6, max_files=6, max_waiting=3)
    desk = PredictionService(Predictor.load(trained / "model", "cpu"), settings)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def client(desk):
    guarded = RequestGuard(make_api(desk), allowed_hosts(desk.settings), MAX_BYTES)
    with TestClient(guarded, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Where requests make their folders; empty before, and to be empty after."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == [], "what was uploaded is still there"


@pytest.fixture(scope="module")
def paths(simulated):
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]]


def form(*paths: Path):
    """Records as the files of a form."""
    return [
        ("files", (path.name + end, path.with_suffix(end).read_bytes()))
        for path in paths
        for end in (".hea", ".dat")
    ]


def printed(trained, capsys, paths, **knobs):
    """What ``predict`` prints, record names without folder."""
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    base |= {"records": [str(path) for path in paths]}
    predict(configured(config.PredictConfig, base | knobs))
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [line | {"record": Path(line["record"]).name} for line in lines]


def test_it_answers_as_predict_does(client, trained, capsys, paths, folders):
    content = client.post("/predict", files=form(*paths)).json()
    assert content["predictions"] == printed(trained, capsys, paths)
    assert content["errors"] == []
    query = {"operating_point": "screening"}
    content = client.post("/predict", files=form(*paths), params=query).json()
    assert content["predictions"] == printed(trained, capsys, paths, **query)


def test_settings_have_the_names_of_predict(client, paths, folders):
    table = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6\n" + "\n".join(
        ",".join(str((i * 7 + k * 3) % 13 / 10) for k in range(12)) for i in range(2000)
    )
    files = [("files", ("a.csv", table.encode()))]
    response = client.post("/predict", files=files)
    assert response.status_code == 422
    assert "read.fs" in response.json()["error"]
    response = client.post("/predict", files=files, params={"read.fs": 200, "read.units": "mV"})
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["record"] == "a.csv"


def test_questions_are_answered_beside(client, paths, folders):
    query = {"questions": ["Vorhofflimmern?", "pizza"]}
    (answer,) = client.post("/predict", files=form(paths[0]), params=query).json()["predictions"]
    known, far = answer["questions"]
    assert known["matches"][0]["probability"] == answer["probabilities"]["AFIB"]
    assert far["no_match"] and far["matches"] == []
    response = client.post("/predict", files=form(paths[0]), params={"questions": "x" * 1000})
    assert response.status_code == 422


def test_what_cannot_be_read_is_named_and_the_rest_answered(client, paths, folders):
    files = [*form(paths[0]), ("files", ("bad.csv", b"hello")), ("files", ("no.hea", b"x"))]
    content = client.post("/predict", files=files).json()
    assert len(content["predictions"]) == 1
    assert [error["record"] for error in content["errors"]] == ["bad.csv", "no"]


@pytest.mark.parametrize(
    ("files", "query", "status", "said"),
    [
        ([("files", ("bad.csv", b"hello"))], {}, 422, "record bad"),
        ([("files", ("../../x.hea", b"a 1 100 10\nb.dat"))], {}, 422, "record x"),
        ([("files", ("..", b"hello"))], {}, 422, "without a name"),
        ([("files", ("a", b"1")), ("files", ("a", b"2"))], {}, 422, "two files"),
        ([("files", (f"{i}.csv", b"1")) for i in range(7)], {}, 413, "6 at most"),
        ([("files", ("a.csv", b"1" * MAX_BYTES))], {}, 413, "0.2 MB at most"),
        ([("files", ("a.csv", b"1"))], {"read.fs": "1"}, 422, "read.fs=1"),
        ([("files", ("a.csv", b"1"))], {"read.fs": "fast"}, 422, "read.fs"),
        ([("files", ("a.csv", b"1"))], {"operating_point": "guess"}, 422, "screening"),
        ([], {}, 422, "files"),
    ],
)
def test_a_mistake_is_one_line_of_json(client, folders, files, query, status, said):
    response = client.post("/predict", files=files, params=query)
    assert response.status_code == status
    error = response.json()["error"]
    assert said in error
    assert "\n" not in error and str(folders) not in response.text
    assert "Traceback" not in response.text


def test_our_own_mistake_is_no_traceback_for_the_client(client, desk, monkeypatch, folders, paths):
    monkeypatch.setattr(desk, "read", lambda *_: 1 // 0)
    response = client.post("/predict", files=form(paths[0]))
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    assert "ZeroDivision" not in response.text


def test_it_lives_while_it_works_and_sends_away_whom_it_cannot_serve(
    client, desk, monkeypatch, folders, paths
):
    gate = threading.Event()
    busy = [desk.submit(lambda: gate.wait(30)) for _ in range(3)]
    try:
        assert client.get("/healthz").json() == {"status": "ok", "model": desk.model, "waiting": 3}
        response = client.post("/predict", files=form(paths[0]))
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    finally:
        gate.set()
    assert all(future.result(30) for future in busy)
    monkeypatch.setattr(desk.settings, "timeout_s", 0.05)
    gate.clear()
    first = desk.submit(lambda: gate.wait(30))
    try:
        response = client.post("/predict", files=form(paths[0]))
        assert response.status_code == 503
        assert "no answer within 0.05 s" in response.json()["error"]
    finally:
        gate.set()
    first.result(30)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_called_by_another_name_it_says_no(client, host):
    response = client.get("/healthz", headers={"host": host})
    assert (response.status_code, set(response.json())) == (403, {"error"})


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860"])
def test_called_as_this_machine_it_answers(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_page_from_elsewhere_may_not_ask(client, paths):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        response = client.post("/predict", files=form(paths[0]), headers={"origin": origin})
        assert response.status_code == 403
    response = client.post("/predict", files=form(paths[0]), headers={"origin": BASE})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/redoc", "/runs", "/../etc/passwd", "/monitoring", "/login"])
def test_there_are_no_other_doors(client, path):
    assert client.get(path).status_code == 404


def test_the_docs_stand_alone_and_name_every_setting(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "<script" not in page.text
    about = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    for parameter in about["parameters"]:
        assert parameter["name"] in page.text
        assert parameter["name"] in setting_names(config.PredictConfig)
    assert {"200", "413", "422", "503"} <= set(about["responses"])


def cut_off(chunks, declared=None):
    """What the guard says to a body, and how much of it the application was given."""
    given = []

    async def application(scope, receive, send):
        while True:
            message = await receive()
            given.append(len(message.get("body", b"")))
            if message["type"] == "http.disconnect":
                raise RuntimeError("the client is gone")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = [(b"host", b"localhost")]
    headers += [(b"content-length", str(declared).encode())] if declared is not None else []
    scope = {"type": "http", "path": "/predict", "headers": headers}
    said, left = [], list(chunks)

    async def receive():
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message):
        said.append(message)

    asyncio.run(RequestGuard(application, ["localhost"], 1000)(scope, receive, send))
    return said[0]["status"], sum(given)


def test_a_body_is_refused_before_it_is_all_there():
    assert cut_off([b"x" * 400] * 2) == (200, 800)
    assert cut_off([b"x" * 400] * 100) == (413, 800)
    assert cut_off([b"x" * 400], declared=10**9) == (413, 0)
    assert cut_off([b"x" * 1000], declared=1000) == (200, 1000)
    assert cut_off([b"x"], declared="many") == (413, 0)


def test_who_may_call_follows_from_where_it_listens():
    assert "localhost" in allowed_hosts(config.AppConfig())
    assert allowed_hosts(config.AppConfig(host="10.0.0.5", hosts=["ecg"])) == ["10.0.0.5", "ecg"]
    with pytest.raises(ValueError, match=r"host=0\.0\.0\.0: expected hosts="):
        allowed_hosts(config.AppConfig(host="0.0.0.0"))


@pytest.mark.parametrize("origin", ["http://[", "http://evil.example", "null"])
def test_a_page_from_elsewhere_or_of_a_malformed_origin_is_refused(client, origin):
    assert client.get("/healthz", headers={"Origin": origin}).status_code == 403


def test_a_setting_that_there_is_not_and_too_many_questions_are_refused(client, paths):
    files = form(paths[0])
    refused = client.post("/predict?operating_pont=confirm", files=files)
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("operating_pont: expected one of questions, ")
    many = client.post("/predict?" + "&".join(["questions=a"] * 21), files=files)
    assert (many.status_code, many.json()["error"]) == (422, "21 questions; expected 20 at most")
    slow = client.post("/predict?windows.step_s=0.1", files=files)
    assert slow.status_code == 422
    assert "windows.step_s=0.1: expected 2 s or more here" in slow.json()["error"]


def test_sensitivity_is_a_setting_as_it_is_of_predict(client, paths):
    files = form(paths[0])
    asked = {"operating_point": "screening"}
    called = []
    for sensitivity in ("0.8", "0.98"):
        asked["sensitivity"] = sensitivity
        answer = client.post("/predict", params=asked, files=files).json()["predictions"][0]
        called.append({finding["code"]: finding["threshold"] for finding in answer["findings"]})
    assert set(called[0]) <= set(called[1])
    assert called[0] != called[1]
