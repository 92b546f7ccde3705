"""The local engine: several processes give the rows of one; one that crashes is replaced."""

import os
import signal

import pytest
import torch

from ecg_siglip import config
from ecg_siglip.archive import reader_process
from ecg_siglip.archive.engine import Block, BlockPredictor
from ecg_siglip.archive.local_engine import LocalEngine, default_workers
from ecg_siglip.archive.reader_process import Reader
from ecg_siglip.archive.reading import Reading, Unreadable
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.predictor import Predictor

# A reader that ends itself, in one of three ways, when it comes to a file of that name.
CRASHING = """
import os, signal, sys, time
from ecg_siglip.archive import reader_process, reading
from ecg_siglip.core.helper_process import serve

read = reading.Reading.item

def item(self, path):
    if "segfault" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "out-of-memory" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hangs" in path:
        time.sleep(60)
    return read(self, path)

reading.Reading.item = item
serve(reader_process.respond, limited=False)
"""


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def paths(simulated):
    return sorted(str(path) for path in simulated.glob("records100/*/*.hea"))[:70]


def engine(predictor, n_workers, **changes):
    settings = config.PredictConfig(measurements=False, **changes)
    reading = Reading.of(predictor.preparation, settings)
    return LocalEngine(reading, [BlockPredictor(predictor, settings)], n_workers), settings


def test_the_rows_are_those_of_one_record_after_the_other(predictor, paths):
    blocks = [Block(0, tuple(paths[:40])), Block(1, tuple([*paths[40:], "nowhere"]))]
    with_processes, settings = engine(predictor, 2)
    alone, _ = engine(predictor, 0)
    rows = list(with_processes.run(blocks))
    assert rows == list(alone.run(blocks))
    assert [index for index, _ in rows] == [0, 1]
    flat = [row for _, block in rows for row in block]
    assert [row["record"] for row in flat] == [*paths, "nowhere"]
    assert flat[-1]["status"] == "unreadable"
    title = predictor.artifact.title
    for path, row in zip(paths[::7], flat[::7], strict=False):
        (slow,) = predict_records(predictor, [path], settings)
        expected = slow.to_dict(title)
        assert row["probabilities"] == pytest.approx(expected.pop("probabilities"), abs=2e-6)
        same = ("record", "model", "warnings", "not_assessable", "recording")
        assert {key: row[key] for key in same} == {key: expected[key] for key in same}
        assert [f["code"] for f in row["findings"]] == [f["code"] for f in expected["findings"]]


def test_batches_that_are_predicted_at_the_same_time_give_the_same_rows(predictor, paths):
    blocks = [Block(0, tuple(["none", *paths[:50]])), Block(1, tuple(paths[50:]))]
    alone, _ = engine(predictor, 0, batch_size=8)
    several, _ = engine(predictor, 3, batch_size=8)
    assert list(several.run(blocks)) == list(alone.run(blocks))


def test_the_threads_of_this_process_are_as_before_after_the_last_block(predictor, paths):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for batch_size, n in ((1, 1), (2, 3)):  # one batch alone uses all threads
            running = engine(predictor, 2, batch_size=batch_size)[0].run(
                [Block(0, tuple(paths[:2]))]
            )
            next(running)
            assert torch.get_num_threads() == n
            running.close()
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(n_threads)


def test_a_record_that_ends_the_reader_is_unreadable_and_the_others_are_read(
    predictor, paths, tmp_path, monkeypatch
):
    script = tmp_path / "crashing_reader.py"
    script.write_text(CRASHING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reader_process, "MODULE", "crashing_reader")
    monkeypatch.setattr(reader_process, "LIMIT_S", 4.0)
    bad = ["segfault.csv", "out-of-memory.xml", "hangs.edf"]
    reader = Reader(Reading.of(predictor.preparation, config.PredictConfig(measurements=False)))
    items = reader.items([paths[0], *bad, paths[1]])
    reader.close()
    assert [items[0].record, items[-1].record] == paths[:2]
    assert [item.record for item in items[1:-1]] == bad
    assert all(isinstance(item, Unreadable) for item in items[1:-1])
    assert "ended the process" in items[1].reason and "took too long" in items[3].reason


def test_a_reader_that_is_killed_from_outside_loses_no_record(predictor, paths):
    reader = Reader(Reading.of(predictor.preparation, config.PredictConfig(measurements=False)))
    reader.items(paths[:1])
    os.kill(reader._process._process.pid, signal.SIGKILL)
    items = reader.items(paths[:3])
    reader.close()
    assert not any(isinstance(item, Unreadable) for item in items)


def test_processes_end_with_the_engine_also_before_its_end(predictor, paths):
    engine_2, _ = engine(predictor, 2)
    running = engine_2.run(Block(i, tuple(paths[:3])) for i in range(50))
    assert next(running)[0] == 0
    running.close()
    with pytest.raises(StopIteration):
        next(running)


def test_torchrun_shares_the_cores(monkeypatch):
    monkeypatch.setattr("ecg_siglip.archive.local_engine.available_cores", lambda: 8)
    assert default_workers() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert default_workers() == 2
