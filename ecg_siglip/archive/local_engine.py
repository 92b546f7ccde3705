"""The engine of one machine: processes that read, and a model on each device."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from ecg_siglip.archive.engine import Block, BlockPredictor
from ecg_siglip.archive.reader_process import Reader
from ecg_siglip.archive.reading import Item, Reading
from ecg_siglip.archive.rows import Row
from ecg_siglip.core.helper_process import available_cores
from ecg_siglip.inference.predictor import Predictor

T = TypeVar("T")
_Read = Callable[[Sequence[str]], Future[list[Item]]]
_Predict = Callable[[Sequence[Future[list[Item]]]], Future[list[Row]]]
# Records of a batch that a process reads at a time; after a crash they are read one by one.
N_PIECE = 32
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
        blocks = iter(blocks)
        first = list(itertools.islice(blocks, 2))
        is_one_batch = (
            sum(len(block.paths) for block in first) <= self.models[0].settings.batch_size
        )
        with self.started(is_one_batch) as predict:
            pending: deque[tuple[int, Callable[[], list[Row]]]] = deque()
            for block in itertools.chain(first, blocks):
                pending.append((block.index, predict(block)))
                if len(pending) > N_AHEAD * len(self.models):
                    index, rows = pending.popleft()
                    yield index, rows()
            for index, rows in pending:
                yield index, rows()

    @contextlib.contextmanager
    def started(
        self, is_one_batch: bool = False
    ) -> Iterator[Callable[[Block], Callable[[], list[Row]]]]:
        """Yield a function that starts to read and predict a block.

        It returns a function that waits for the rows.

        Parameters
        ----------
        is_one_batch : bool
            There are no more records than in a batch, which may be long: they are predicted on all
            cores.
        """
        batch_size = self.models[0].settings.batch_size
        cores = contextlib.nullcontext() if is_one_batch else _on_one_core_each()
        with cores, self._threads() as (read, predict):

            def start(block: Block) -> Callable[[], list[Row]]:
                batches = [
                    predict([read(piece) for piece in _cut(batch, N_PIECE)])
                    for batch in _cut(block.paths, batch_size)
                ]
                return lambda: [row for batch in batches for row in batch.result()]

            yield start

    @contextlib.contextmanager
    def _threads(self) -> Iterator[tuple[_Read, _Predict]]:
        """Yield functions that start to read a piece and to predict a batch, in threads.

        Each process that reads has a thread here. A model on a GPU has one, too; a model on the CPU
        has as many as there are processes that read, of which each predicts batches of its own on
        one core.
        """
        readers = [Reader(self.reading) for _ in range(self.n_workers)]
        is_on_cpu = self.models[0].predictor.artifact.model.device.type == "cpu"
        models = list(self.models) * (self.n_workers if is_on_cpu else 1)
        idle_readers, idle_models = _queue_of(readers), _queue_of(models)

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
        # PyTorch sets the number of its threads for each thread that calls it.
        n_threads = torch.get_num_threads()
        predicting = ThreadPoolExecutor(len(models), "predict", torch.set_num_threads, (n_threads,))
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


@contextlib.contextmanager
def _on_one_core_each() -> Iterator[None]:
    """Let PyTorch and NumPy compute in the thread that calls them.

    Threads of their own wait for the next matrix in a loop, on the cores of the processes that
    read.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(n_threads)


def _cut(paths: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return parts of ``size`` paths; the last one may be shorter."""
    return [paths[first : first + size] for first in range(0, len(paths), size)]


def _queue_of(items: Iterable[T]) -> SimpleQueue[T]:
    """Return a queue with these items."""
    queue: SimpleQueue[T] = SimpleQueue()
    for item in items:
        queue.put(item)
    return queue
