"""Clients are served in turn; settings and thresholds are those of predict."""

import io
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from ecg_siglip import config
from ecg_siglip.core.work_limit import WorkStopped, checkpoint
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record
from ecg_siglip.serving.clients import Client, current_client
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import save_uploads
from ecg_siglip.signals.leads import LEADS


@pytest.fixture
def service(trained):
    settings = config.AppConfig(max_waiting=2)
    service = PredictionService(Predictor.load(trained / "model", "cpu"), settings)
    yield service
    service.close()


@pytest.fixture(scope="module")
def files(simulated):
    """Contents of the two files of a record, by name."""
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    return {f"{path.name}{end}": path.with_suffix(end).read_bytes() for end in (".hea", ".dat")}


def write_upload(folder, files):
    folder.mkdir(exist_ok=True)
    save_uploads([(name, io.BytesIO(content)) for name, content in files.items()], folder)
    return folder


def test_unreadable_files_are_reported_and_the_others_predicted(service, tmp_path, files):
    bad = {"notes.txt": b"hello", "lone.hea": b"nothing", "no_rate.csv": b"I,II\n" + b"1,2\n" * 500}
    folder = write_upload(tmp_path / "in", files | bad)
    upload = service.submit(
        lambda: service.predict_folder(folder, service.settings_for({}))
    ).result()
    assert [prediction.record for prediction in upload.predictions] == [
        next(iter(files)).removesuffix(".hea")
    ]
    assert {record for record, _ in upload.errors} == {"notes.txt", "lone", "no_rate.csv"}
    for _, error in upload.errors:
        assert str(tmp_path) not in error and "\n" not in error
    assert "read.fs" in dict(upload.errors)["no_rate.csv"]


def test_another_operating_point_decides_on_the_same_probabilities(service, tmp_path, files):
    folder = write_upload(tmp_path / "in", files)
    (prediction,) = service.predict_folder(folder, service.settings_for({})).predictions
    screening = service.settings_for({"operating_point": "screening"})
    (expected,) = service.predict_folder(folder, screening).predictions
    assert (
        service.decide(prediction, screening).findings == expected.findings != prediction.findings
    )


def test_a_setting_out_of_its_range_is_named(service):
    with pytest.raises(ValueError, match=r"read\.fs=1"):
        service.settings_for({"read.fs": 1.0})
    with pytest.raises(ValueError, match="operating_point=guess"):
        service.settings_for({"operating_point": "guess"})
    assert service.settings_for({"read.fs": None, "read.units": ""}) == service.settings_for({})


def test_one_task_runs_at_a_time_and_the_queue_is_limited(service):
    gate, running = threading.Event(), []

    def task():
        running.append(1)
        is_alone = len(running) == 1
        gate.wait(20)
        running.clear()
        return is_alone

    waiting = [service.submit(task) for _ in range(2)]
    assert service.n_waiting == 2
    with pytest.raises(QueueFull, match="2 other requests are waiting"):
        service.submit(lambda: None)
    gate.set()
    assert all(future.result(20) for future in waiting)
    assert service.submit(lambda: "next").result(20) == "next"


def test_a_long_record_is_decided_at_another_operating_point(service, tmp_path, simulated):
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    signal = np.tile(read_record(path).signal, 6).T
    lines = [",".join(LEADS), *(",".join(f"{v:.3f}" for v in row) for row in signal)]
    folder = write_upload(tmp_path / "in", {"long.csv": "\n".join(lines).encode()})
    values = {"read.fs": 100.0, "read.units": "mV"}
    (prediction,) = service.predict_folder(folder, service.settings_for(values)).predictions
    assert prediction.timeline.windows.n == 6
    screening = service.settings_for(values | {"operating_point": "screening"})
    (expected,) = service.predict_folder(folder, screening).predictions
    again = service.decide(prediction, screening)
    assert again.findings == expected.findings
    assert (again.timeline.present == expected.timeline.present).all()
    assert service.make_report(again).spans
    assert service.render_report(again, [], ".html", "sensitivity_0.9").count(b"When") == 1


def wait_for_check(started):
    """Work as a long prediction does: without end, but with checks."""
    started.set()
    while True:
        checkpoint()
        time.sleep(0.01)


def test_work_is_stopped_at_its_deadline_and_the_next_task_runs(service, monkeypatch):
    monkeypatch.setattr(service.settings, "timeout_s", 0.5)
    endless = service.submit(lambda: wait_for_check(threading.Event()))
    monkeypatch.setattr(service.settings, "timeout_s", 30.0)
    assert service.submit(lambda: "next").result(10) == "next"
    with pytest.raises(QueueFull, match="no result within"):
        endless.result(10)
    assert service.n_waiting == 0


def test_nothing_is_computed_for_a_client_that_has_left(service):
    client, started, ran = Client(), threading.Event(), []
    token = current_client.set(client)
    try:
        running = service.submit(lambda: wait_for_check(started))
        queued = service.submit(lambda: ran.append(1))
    finally:
        current_client.reset(token)
    assert started.wait(10) and service.n_waiting == 2
    client.leave()
    for future in (running, queued):
        with pytest.raises((QueueFull, CancelledError)):
            future.result(10)
    assert not ran
    assert service.submit(lambda: "next").result(10) == "next"


def test_a_prediction_of_many_windows_is_stopped(service, tmp_path, simulated, monkeypatch):
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    signal = np.tile(read_record(path).signal, 90).T
    lines = [",".join(LEADS), *(",".join(f"{v:.2f}" for v in row) for row in signal)]
    folder = write_upload(tmp_path / "in", {"long.csv": "\n".join(lines).encode()})
    values = {"read.fs": 100.0, "read.units": "mV", "windows.step_s": 2.0}
    settings, stopped = service.settings_for(values), threading.Event()

    def predict():
        try:
            return service.predict_folder(folder, settings)
        except WorkStopped:
            stopped.set()
            raise

    monkeypatch.setattr(service.settings, "timeout_s", 0.3)
    with pytest.raises(QueueFull):
        service.submit(predict).result(30)
    assert stopped.wait(5), "the windows end with it"
