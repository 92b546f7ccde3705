"""The JSON API responds with the predictions of predict, and with errors on one line."""

import json
import re
import tempfile
import threading
import time
from pathlib import Path

import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.core.settings import setting_names
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.predict import predict
from ecg_siglip.serving.json_api import SETTINGS, make_api, split_leads
from ecg_siglip.serving.monitoring import Metrics
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.protection import protect
from ecg_siglip.serving.upload_folder import UploadFolder

pytest.importorskip("fastapi", reason="needs the extra [app]")
for package in ("python_multipart", "limits", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [app]")
TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient

BASE = "http://127.0.0.1:7860"
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def service(trained):
    settings = config.AppConfig(max_mb=MAX_BYTES / 1e6, max_files=6, max_waiting=3)
    service = PredictionService(Predictor.load(trained / "model", "cpu"), settings)
    yield service
    service.close()


@pytest.fixture(scope="module")
def client(service, tmp_path_factory):
    uploads = UploadFolder(tmp_path_factory.mktemp("uploads"), 10**8)
    guarded = protect(make_api(service), service.settings, uploads, Metrics())
    with TestClient(guarded, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """The folder of temporary folders; it has to be empty after each request."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == [], "an upload was not deleted"


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


def predicted(trained, capsys, paths, **settings):
    """Return the lines that ``predict`` prints, with names of records without folder.

    Without what the table in that folder states, which is not uploaded.
    """
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    base |= {"records": [str(path) for path in paths]}
    predict(configured(config.PredictConfig, base | settings))
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    named = [line | {"record": Path(line["record"]).name} for line in lines]
    return [{key: line[key] for key in line if key != "recording"} for line in named]


def is_close(one, other):
    """Return whether two JSON values are equal but for the last digit of a probability."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_close, one, other))
    return one == (pytest.approx(other, abs=1.5e-6) if isinstance(other, float) else other)


def test_predictions_are_those_of_predict(client, trained, capsys, paths, folders):
    content = client.post("/predict", files=form(*paths)).json()
    assert is_close(content["predictions"], predicted(trained, capsys, paths))
    assert content["errors"] == []
    for query in ({"operating_point": "screening"}, {"measurements": False}):
        content = client.post("/predict", files=form(*paths), params=query).json()
        assert is_close(content["predictions"], predicted(trained, capsys, paths, **query))
        assert all(("measurements" in p) == ("measurements" not in query) for p in
                   content["predictions"])  # fmt: skip


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
    counts = {"read.fs": 200, "read.gain": 1.0, "waveform.allow_gaps": True}
    again = client.post("/predict", files=files, params=counts)
    assert again.json()["predictions"] == response.json()["predictions"]


def test_a_request_may_set_what_the_page_sets():
    per_record = {name for name in setting_names(config.PredictConfig) if "." in name}
    # One request with a record of weeks would block all others.
    assert per_record - set(SETTINGS) == {"run.name", "run.root", "windows.max_hours"}


def test_questions_are_matched_to_findings(client, paths, folders):
    query = {"questions": ["Vorhofflimmern?", "pizza"]}
    content = client.post("/predict", files=form(paths[0]), params=query).json()
    (prediction,) = content["predictions"]
    known, unknown = prediction["questions"]
    assert known["matches"][0]["probability"] == prediction["probabilities"]["AFIB"]
    assert unknown["no_match"] and unknown["matches"] == []
    response = client.post("/predict", files=form(paths[0]), params={"questions": "x" * 1000})
    assert response.status_code == 422


def test_unreadable_records_are_named_and_the_others_predicted(client, paths, folders):
    files = [*form(paths[0]), ("files", ("bad.csv", b"hello")), ("files", ("no.hea", b"x"))]
    content = client.post("/predict", files=files).json()
    assert len(content["predictions"]) == 1
    assert [error["record"] for error in content["errors"]] == ["bad.csv", "no"]


@pytest.mark.parametrize(
    ("files", "query", "status", "message"),
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
def test_an_error_is_one_line_of_json(client, folders, files, query, status, message):
    response = client.post("/predict", files=files, params=query)
    assert response.status_code == status
    error = response.json()["error"]
    assert message in error
    assert "\n" not in error and str(folders) not in response.text
    assert "Traceback" not in response.text


def test_an_internal_error_shows_no_traceback(client, service, monkeypatch, folders, paths):
    monkeypatch.setattr(service, "predict_upload", lambda *_: 1 // 0)
    response = client.post("/predict", files=form(paths[0]))
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    assert "ZeroDivision" not in response.text


def test_it_responds_while_it_predicts_and_refuses_requests_beyond_its_queue(
    client, service, monkeypatch, folders, paths
):
    gate = threading.Event()
    busy = [service.submit(lambda: gate.wait(30)) for _ in range(3)]
    try:
        assert client.get("/healthz").json() == {
            "status": "ok",
            "model": service.model,
            "model_simulated": True,
            "waiting": 3,
        }
        response = client.post("/predict", files=form(paths[0]))
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    finally:
        gate.set()
    assert all(future.result(30) for future in busy)
    while service.n_waiting:  # a result arrives before it is counted
        time.sleep(0.01)
    monkeypatch.setattr(service.settings, "timeout_s", 0.05)
    gate.clear()
    first = service.submit(lambda: gate.wait(30))
    try:
        response = client.post("/predict", files=form(paths[0]))
        assert response.status_code == 503
        assert "no result within 0.05 s" in response.json()["error"]
    finally:
        gate.set()
    first.result(30)


def test_the_docs_load_nothing_and_name_every_setting(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "<script" not in page.text
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    for parameter in operation["parameters"]:
        assert parameter["name"] in page.text
        assert parameter["name"] in setting_names(config.PredictConfig)
    assert {"200", "413", "422", "503"} <= set(operation["responses"])


def test_unknown_settings_and_too_many_questions_are_errors(client, paths):
    files = form(paths[0])
    unknown = client.post("/predict?operating_pont=confirm", files=files)
    assert unknown.status_code == 422
    assert unknown.json()["error"].startswith("operating_pont: expected one of questions, ")
    renamed = client.post("/predict?ask=AFIB", files=files)
    assert (renamed.status_code, renamed.json()["error"]) == (422, "ask: renamed to questions")
    many = client.post("/predict?" + "&".join(["questions=a"] * 21), files=files)
    assert (many.status_code, many.json()["error"]) == (422, "21 questions; expected 20 at most")
    slow = client.post("/predict?windows.step_s=0.1", files=files)
    assert slow.status_code == 422
    assert "windows.step_s=0.1: expected 2 s or more here" in slow.json()["error"]


def test_a_higher_sensitivity_gives_more_findings(client, paths):
    thresholds = []
    for sensitivity in ("0.8", "0.98"):
        query = {"operating_point": "screening", "sensitivity": sensitivity}
        content = client.post("/predict", params=query, files=form(paths[0])).json()
        (prediction,) = content["predictions"]
        thresholds.append({f["code"]: f["threshold"] for f in prediction["findings"]})
    assert set(thresholds[0]) <= set(thresholds[1])
    assert thresholds[0] != thresholds[1]


@pytest.mark.parametrize("text", ["I,II,V1", "[I, II; V1]", " I II\nV1 "])
def test_leads_are_split_at_commas_and_spaces(text):
    assert split_leads(text) == ["I", "II", "V1"]
    assert split_leads(None) == []
