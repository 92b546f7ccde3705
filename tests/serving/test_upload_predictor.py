"""Uploads are read in other processes: what ends one concerns one record, of one request."""

import asyncio
import io
import os
import signal
import time
from dataclasses import replace

import pytest

from ecg_siglip import config
from ecg_siglip.archive.reading import Reading, Unreadable
from ecg_siglip.core.work_limit import WorkLimit, WorkStopped, limited_by
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record
from ecg_siglip.serving import record_readers, upload_predictor
from ecg_siglip.serving.clients import Client, current_client
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.record_readers import RecordReaders
from ecg_siglip.serving.uploads import records_among, save_uploads
from ecg_siglip.signals.leads import LEADS

# Processes that end, hang, or wait for a check of the time, at a file of that name.
STRANGE = """
import os, signal, time
from pathlib import Path
from ecg_siglip.archive import reading
from ecg_siglip.core.helper_process import serve
from ecg_siglip.core.work_limit import check_stopped
from ecg_siglip.serving import record_readers

read = reading.Reading.item

def item(self, path):
    name = Path(path).name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    while name.startswith(("hang", "wait")):
        time.sleep(0.02)
        if name.startswith("wait"):
            check_stopped()
    return read(self, path)

reading.Reading.item = item
serve(record_readers.respond, limited=False)
"""


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Folder of the module ``strange_readers``."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "strange_readers.py").write_text(STRANGE)
    return folder


@pytest.fixture
def service(predictor, strange, monkeypatch):
    monkeypatch.syspath_prepend(strange)
    monkeypatch.setattr(record_readers, "MODULE", "strange_readers")
    monkeypatch.setattr(record_readers, "available_cores", lambda: 2)
    service = PredictionService(predictor, config.AppConfig(max_waiting=20))
    yield service
    service.close()


@pytest.fixture(scope="module")
def paths(simulated):
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:6]]


def write_upload(folder, paths=(), **contents):
    """Write WFDB records and other files to a new folder; return it."""
    folder.mkdir()
    files = {path.name + e: path.with_suffix(e).read_bytes() for path in paths for e in
             (".hea", ".dat")}  # fmt: skip
    files |= {f"{name}.csv": content for name, content in contents.items()}
    save_uploads([(name, io.BytesIO(content)) for name, content in files.items()], folder)
    return folder


async def predict(service, folder, address="", **values):
    token = current_client.set(Client(address))
    try:
        settings = service.settings_for(values)
        return await service.predict_upload(folder, records_among(folder), settings)
    finally:
        current_client.reset(token)


def probabilities(upload):
    return {p.record: [f.probability for f in p.findings] for p in upload.predictions}


def test_requests_together_get_what_each_gets_alone(service, tmp_path, paths, monkeypatch):
    monkeypatch.setattr(upload_predictor, "WAIT_S", 5.0)
    folders = [write_upload(tmp_path / str(i), paths[i : i + 2]) for i in range(5)]
    alone = [asyncio.run(predict(service, folder)) for folder in folders]

    async def together():
        return await asyncio.gather(*(predict(service, folder) for folder in folders))

    assert [probabilities(upload) for upload in asyncio.run(together())] == [
        probabilities(upload) for upload in alone
    ]
    page = service.predict_folder(folders[0], service.settings_for({}))
    for one, other in zip(alone[0].predictions, page.predictions, strict=True):
        same = ("record", "warnings", "measurements", "identity", "device")
        left, right = (replace(p.measurements, beat=None) for p in (one, other))
        assert left == right
        for name in set(same) - {"measurements"}:
            assert getattr(one, name) == getattr(other, name)


def test_a_long_record_and_errors_are_in_their_places(service, tmp_path, paths):
    rows = read_record(paths[0]).signal.T
    lines = [",".join(LEADS), *(",".join(f"{v:.3f}" for v in row) for row in [*rows, *rows])]
    long = "\n".join(lines).encode()
    folder = write_upload(tmp_path / "in", paths[:2], a=b"hello", crash=b"1", z=long)
    values = {"read.fs": 100.0, "read.units": "mV"}
    upload = asyncio.run(predict(service, folder, **values))
    assert [p.record for p in upload.predictions] == [paths[0].name, paths[1].name, "z.csv"]
    assert upload.predictions[2].timeline.windows.n == 2
    assert [record for record, _ in upload.errors] == ["a.csv", "crash.csv"]
    assert "ended the process" in upload.errors[1][1] and str(folder) not in upload.errors[1][1]


def test_a_crash_concerns_one_request_only(service, tmp_path, paths):
    good = [write_upload(tmp_path / f"good{i}", [path]) for i, path in enumerate(paths[:3])]
    bad = [write_upload(tmp_path / f"bad{i}", crash=b"1") for i in range(3)]

    async def together():
        return await asyncio.gather(*(predict(service, folder) for folder in (*bad, *good)))

    uploads = asyncio.run(together())
    assert [len(upload.predictions) for upload in uploads] == [0, 0, 0, 1, 1, 1]
    assert all("damaged or too large" in upload.errors[0][1] for upload in uploads[:3])


@pytest.mark.parametrize("name", ["hang", "wait"])
def test_the_deadline_ends_the_reading_and_the_next_request_is_served(
    service, tmp_path, paths, monkeypatch, name
):
    asyncio.run(predict(service, write_upload(tmp_path / "first", paths[:1])))
    processes = service._uploads._readers._processes
    used = next(p._process for p in processes if p._process)
    monkeypatch.setattr(service.settings, "timeout_s", 0.5)
    with pytest.raises(QueueFull, match=r"no result within 0\.5 s"):
        asyncio.run(predict(service, write_upload(tmp_path / "slow", **{name: b"1"})))
    monkeypatch.setattr(service.settings, "timeout_s", 30.0)
    upload = asyncio.run(predict(service, write_upload(tmp_path / "next", paths[:1])))
    assert len(upload.predictions) == 1 and service.n_waiting == 0
    end_s = time.monotonic() + 20
    while service._uploads._reading.n_tasks_of("") and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not service._uploads._reading.n_tasks_of(""), "the work ends"
    # Reading that looks at the time ends by itself, and its process goes on.
    assert (used.poll() is None) == (name == "wait")


def test_slow_files_of_a_client_leave_a_process_for_the_others(service, tmp_path, paths):
    slow = [write_upload(tmp_path / f"slow{i}", wait=b"1") for i in range(6)]
    quick = write_upload(tmp_path / "quick", paths[:1])

    async def together():
        busy = [asyncio.create_task(predict(service, folder, "10.0.0.1")) for folder in slow]
        await asyncio.sleep(0.2)
        upload = await predict(service, quick, "10.0.0.2")
        assert not any(task.done() for task in busy)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        return upload

    assert len(asyncio.run(together()).predictions) == 1


def test_nothing_is_read_for_a_client_that_has_left(service, tmp_path, paths):
    folder = write_upload(tmp_path / "in", wait1=b"1", wait2=b"1", wait3=b"1")

    async def leave():
        client = Client("10.0.0.1")
        current_client.set(client)
        paths, settings = records_among(folder), service.settings_for({})
        task = asyncio.create_task(service.predict_upload(folder, paths, settings))
        await asyncio.sleep(0.2)
        client.leave()
        with pytest.raises(QueueFull):
            await task

    asyncio.run(leave())
    assert service._uploads._reading.n_tasks_of("10.0.0.1") <= 2, "the third does not wait any more"
    assert service.n_waiting == 0


def test_the_queue_is_limited(service, tmp_path, paths, monkeypatch):
    monkeypatch.setattr(service.settings, "max_waiting", 1)
    folder = write_upload(tmp_path / "in", paths[:1])

    async def together():
        both = (predict(service, folder) for _ in range(2))
        return await asyncio.gather(*both, return_exceptions=True)

    first, second = asyncio.run(together())
    assert len(first.predictions) == 1
    assert isinstance(second, QueueFull) and "1 other requests are waiting" in str(second)


def test_a_process_reads_what_this_one_reads(predictor, paths):
    reading = Reading.of(predictor.preparation, config.PredictConfig())
    readers = RecordReaders()
    try:
        readers.start()
        item, expected = readers.read(reading.to_json(), paths[0]), reading.item(str(paths[0]))
        assert (item.signal == expected.signal).all() and item.warnings == expected.warnings
        used = next(p for p in readers._processes if p._process)
        os.kill(used._process.pid, signal.SIGKILL)
        used._process.wait()
        items = [readers.read(reading.to_json(), path) for path in paths[:3]]
        assert not any(isinstance(each, Unreadable) for each in items)
        with limited_by(WorkLimit(0.0)), pytest.raises(WorkStopped):
            readers.read(reading.to_json(), paths[0])
        readers.stop()
        with pytest.raises(WorkStopped):
            readers.read(reading.to_json(), paths[0])
    finally:
        readers.close()
