"""The engine of one machine: processes that read, and a model on each device."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch

from ecg_siglip.archive.engine import Block, BlockPredictor
from ecg_siglip.archive.reader_process import Reader
from ecg_siglip.archive.reading import Item, Reading
from ecg_siglip.archive.rows import Row
from ecg_siglip.core.helper_process import available_cores
from ecg_siglip.inference.predictor import Predictor

T = TypeVar("T")
_Read = Callable[[Sequence[str]], Future[list[Item]]]
_Predict = Callable[[Sequence[Future[list[Item]]]], Future[list[Row]]]
N_PIECE = 32  # records that a process reads at a time; after a crash they are read one by one
N_AHEAD = 2  # blocks per model that are read while another one is predicted


def on_each_device(predictor: Predictor) -> list[Predictor]:
    """Return a predictor for each GPU that this process may use; the one that is given is first.

    Of the processes that torchrun starts, each uses one.
    """
    is_alone = "RANK" not in os.environ
    if predictor.artifact.model.device.type != "cuda" or not is_alone:
        return [predictor]
    others = [f"cuda:{i}" for i in range(1, torch.cuda.device_count())]
    return [predictor, *(predictor.on(device) for device in others)]


def default_workers() -> int:
    """Return the number of processes that read: one per core that this process may use."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class LocalEngine:
    """Predicts the blocks of a job on this machine, in their order.

    Parameters
    ----------
    reading : Reading
    models : sequence of BlockPredictor
        One per device.
    n_workers : int, optional
        Processes that read; None: one per core; 0: this process reads, and a reader that crashes
        ends it.
    """

    def __init__(
        self, reading: Reading, models: Sequence[BlockPredictor], n_workers: int | None = None
    ):
        self.reading = reading
        self.models = models
        self.n_workers = default_workers() if n_workers is None else n_workers

    def run(self, blocks: Iterable[Block]) -> Iterator[tuple[int, list[Row]]]:
        """Yield the number and the rows of each block, in order."""
        if self.n_workers == 0:
            for block in blocks:
                items = [self.reading.item(path) for path in block.paths]
                yield block.index, self.models[0].rows(items)
            return
        with self._threads() as (read, predict):
            pending: deque[tuple[int, Future[list[Row]]]] = deque()
            for block in blocks:
                pieces = [
                    read(block.paths[start : start + N_PIECE])
                    for start in range(0, len(block.paths), N_PIECE)
                ]
                pending.append((block.index, predict(pieces)))
                if len(pending) > N_AHEAD * len(self.models):
                    index, rows = pending.popleft()
                    yield index, rows.result()
            for index, rows in pending:
                yield index, rows.result()

    @contextlib.contextmanager
    def _threads(self) -> Iterator[tuple[_Read, _Predict]]:
        """Yield functions that start reading and predicting; each process has its thread here."""
        readers = [Reader(self.reading) for _ in range(self.n_workers)]
        idle_readers, idle_models = _queue_of(readers), _queue_of(self.models)

        def read(paths: Sequence[str]) -> list[Item]:
            reader = idle_readers.get()
            try:
                return reader.items(paths)
            finally:
                idle_readers.put(reader)

        def predict(pieces: Sequence[Future[list[Item]]]) -> list[Row]:
            items = [item for piece in pieces for item in piece.result()]
            model = idle_models.get()
            try:
                return model.rows(items)
            finally:
                idle_models.put(model)

        reading = ThreadPoolExecutor(self.n_workers, "read")
        predicting = ThreadPoolExecutor(len(self.models), "predict")
        try:
            yield lambda p: reading.submit(read, p), lambda p: predicting.submit(predict, p)
        finally:
            reading.shutdown(wait=False, cancel_futures=True)
            predicting.shutdown(wait=False, cancel_futures=True)
            for reader in readers:
                reader.stop()
            reading.shutdown()
            predicting.shutdown()
            for reader in readers:
                reader.close()


def _queue_of(items: Iterable[T]) -> SimpleQueue[T]:
    """Return a queue with these items."""
    queue: SimpleQueue[T] = SimpleQueue()
    for item in items:
        queue.put(item)
    return queue
