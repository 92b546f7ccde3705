"""The engine on a Ray cluster: the rows of the local engine, whatever workers end."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
import writers

from ecg_siglip import config
from ecg_siglip.archive import ray_engine
from ecg_siglip.archive.engine import Block, BlockPredictor
from ecg_siglip.archive.local_engine import LocalEngine
from ecg_siglip.archive.ray_engine import RayEngine, Share, _Job, _put_back, _shares
from ecg_siglip.archive.reading import Reading
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.dual_encoder import find_model_folder

ray = pytest.importorskip("ray")


def test_a_worker_per_gpu_or_per_node():
    cpu = {"Alive": True, "Resources": {"CPU": 8.0}}
    gpu = {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}}
    dead = {"Alive": False, "Resources": {"CPU": 8.0}}
    head = {"Alive": True, "Resources": {"memory": 1e9}}
    assert _shares([cpu, dead, head], "auto") == [Share(8, 0)]
    assert _shares([cpu, gpu], "auto") == [Share(8, 1), Share(8, 1)]
    assert _shares([cpu, gpu], "cpu") == [Share(8, 0), Share(16, 0)]
    with pytest.raises(ValueError, match="no node of the cluster has a core"):
        _shares([head], "auto")


@pytest.fixture(scope="module")
def job(trained, tmp_path_factory):
    """Return reading, model folder, settings and blocks of a job with two unreadable records."""
    folder = tmp_path_factory.mktemp("records")
    paths = [str(writers.write_wfdb(folder, writers.ecg() + i, name=f"r{i}")) for i in range(10)]
    (folder / "broken.xml").write_bytes(b"<broken")
    paths[3:3] = [str(folder / "broken.xml"), str(folder / "none.hea")]
    model = find_model_folder(trained / "model")
    settings = config.PredictConfig(device="cpu", batch_size=2, measurements=False)
    predictor = Predictor.load(model, "cpu")
    reading = Reading.of(predictor.preparation, settings)
    blocks = [Block(i, tuple(paths[3 * i : 3 * i + 3])) for i in range(4)]
    local = LocalEngine(reading, [BlockPredictor(predictor, settings)], 1)
    return reading, model, settings, blocks, dict(local.run(blocks))


class Error(Exception):
    """As Ray's error of a worker that ended."""

    actor_init_failed = False


def test_the_blocks_of_a_worker_that_ended_come_first_and_not_for_ever():
    blocks = [Block(i, (f"r{i}",)) for i in range(4)]
    job = _Job(iter(blocks[3:]))
    for _ in range(ray_engine.MAX_TRIES - 1):
        job.calls = {"a": (0, blocks[1]), "b": (1, blocks[2])}
        _put_back(job, 0, blocks[0], Error("killed"))
        assert job.calls == {"b": (1, blocks[2])}
        assert [job.next_block() for _ in range(2)] == blocks[:2]
    assert job.next_block() == blocks[3] and job.next_block() is None
    with pytest.raises(OSError, match="5 workers ended at the records from r0: killed"):
        _put_back(job, 0, blocks[0], Error("killed"))


def test_a_worker_that_cannot_be_started_is_an_error():
    job, error = _Job(iter(())), Error("the traceback\nValueError: no such model")
    for _ in range(ray_engine.MAX_TRIES - 1):
        _put_back(job, 0, None, error)
    with pytest.raises(ValueError, match="cannot be started: ValueError: no such model"):
        _put_back(job, 0, None, error)
    error.actor_init_failed = True
    with pytest.raises(ValueError, match="cannot be started"):
        _put_back(_Job(iter(())), 0, None, error)


@pytest.mark.slow
def test_the_rows_are_those_of_the_local_engine(job):
    reading, model, settings, blocks, expected = job
    rows = dict(RayEngine(reading, model, settings, n_workers=2).run(blocks))
    assert rows == expected
    assert [row["status"] for row in rows[1]] == ["unreadable", "unreadable", "predicted"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_the_blocks_of_a_worker_that_is_killed_are_repeated(job):
    reading, model, settings, blocks, expected = job
    rows = {}
    for index, block_rows in RayEngine(reading, model, settings, n_workers=2).run(blocks):
        rows[index] = block_rows
        if len(rows) == 1:
            [worker] = workers()
            os.kill(worker, signal.SIGKILL)
    assert rows == expected


def workers() -> list[int]:
    """Return the Ray workers that this process started: Linux shows their class as their name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(b"ray::Worker"):
                raylet = parent(int(process.name))
                found += [int(process.name)] if parent(raylet) == os.getpid() else []
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
