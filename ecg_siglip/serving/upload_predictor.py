"""Predictions of uploads: read in other processes, and predicted with those of other requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ecg_siglip import config
from ecg_siglip.archive.reading import LongPath, Reading, Unreadable
from ecg_siglip.core.work_limit import WorkLimit
from ecg_siglip.inference.pipeline import predict_prepared, predict_records
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.serving.record_readers import RecordReaders
from ecg_siglip.serving.shared_batches import BATCH_SIZE, SharedBatches, Ticket
from ecg_siglip.serving.uploads import UploadResult, hide_path, record_name
from ecg_siglip.serving.work_queue import WorkQueue

T = TypeVar("T")
N_PART = 16  # records of a request that are predicted in one turn
# Longest time for which a record waits until the batch is full, and the time between two looks.
WAIT_S, LOOK_S = 0.2, 0.01
Outcomes = dict[str, Prediction | Exception]  # by path


@dataclass
class RequestWork:
    """Tasks of one request, which end together.

    Attributes
    ----------
    limit : WorkLimit
    client : str
        Address.
    """

    limit: WorkLimit
    client: str
    _futures: list[Future[Any]] = field(default_factory=list)

    async def run(self, queue: WorkQueue, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Await the results of tasks of a queue."""
        futures = [queue.submit(task, self.limit, self.client) for task in tasks]
        self._futures += futures
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    def stop(self) -> None:
        """Cancel the tasks that wait, and stop the others at their next check."""
        self.limit.stop()
        for future in self._futures:
            future.cancel()


class UploadPredictor:
    """Predictions without what is only drawn: of the JSON API.

    Parameters
    ----------
    predictor : Predictor
    queue : WorkQueue
        Of the tasks that use the model.
    too_late : function
        Returns the error of a task whose time is over.
    """

    def __init__(self, predictor: Predictor, queue: WorkQueue, too_late: Callable[[], Exception]):
        self.predictor, self._queue = predictor, queue
        self._batches, self._readers = SharedBatches(predictor), RecordReaders()
        n_usual = self._readers.n_usual
        # One process is left for the others if a client sends files that take long.
        self._reading = WorkQueue(too_late, n_usual + 1, n_usual, "reading", in_turns=False)

    def start(self) -> None:
        """Start the processes that read, so that the first requests do not wait for that."""
        self._readers.start()

    def close(self) -> None:
        """Stop reading, and end the processes."""
        self._readers.stop()
        self._reading.close()
        self._readers.close()

    async def predict(
        self,
        folder: Path,
        paths: Sequence[Path],
        settings: config.PredictConfig,
        work: RequestWork,
    ) -> UploadResult:
        """Predict records of a folder.

        Parameters
        ----------
        folder : Path
        paths : sequence of Path
            See ``uploads.records_among``.
        settings : PredictConfig
        work : RequestWork

        Raises
        ------
        ValueError
            If the model has no thresholds for the settings.
        """
        reading = Reading.of(self.predictor.preparation, settings).to_json()
        reads = [partial(self._readers.read, reading, path) for path in paths]
        items = await work.run(self._reading, reads)
        prepared = [item for item in items if isinstance(item, PreparedRecord)]
        tickets = self._batches.add(item.signal for item in prepared)
        parts = [slice(first, first + N_PART) for first in range(0, len(prepared), N_PART)]
        tasks = [
            partial(self._predict_part, prepared[part], tickets[part], settings) for part in parts
        ]
        tasks += [
            partial(self._predict_long, Path(item.record), settings)
            for item in items
            if isinstance(item, LongPath)
        ]
        outcomes: Outcomes = {
            item.record: ValueError(item.reason) for item in items if isinstance(item, Unreadable)
        }
        try:
            await self._wait_for_others(tickets, work.client)
            for some in await work.run(self._queue, tasks):
                outcomes |= some
        finally:
            self._batches.discard(tickets)
        predictions, errors = [], []
        for path in paths:
            outcome, name = outcomes[str(path)], record_name(path)
            if isinstance(outcome, Exception):
                errors.append((name, hide_path(folder, outcome)))
            else:
                predictions.append(replace(outcome, record=name))
        return UploadResult(predictions, errors)

    async def _wait_for_others(self, tickets: Sequence[Ticket], client: str) -> None:
        """Wait until a batch is full, if so many records are being read that it soon will be.

        Only records of the same client count: a client with one record does not wait.
        """
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s and any(ticket.output is None for ticket in tickets):
            n_missing = BATCH_SIZE - self._batches.n_waiting
            if not 0 < n_missing <= self._reading.n_tasks_of(client):
                return
            await asyncio.sleep(LOOK_S)

    def _predict_part(
        self,
        records: Sequence[PreparedRecord],
        tickets: Sequence[Ticket],
        settings: config.PredictConfig,
    ) -> Outcomes:
        """Predict prepared records of a request; a task that uses the model."""
        predicted = predict_prepared(self._batches.predictor_for(tickets), records, settings)
        return {each.record: each for each in predicted if each}

    def _predict_long(self, path: Path, settings: config.PredictConfig) -> Outcomes:
        """Read a long record piece by piece and predict it; a task that uses the model."""
        outcomes: Outcomes = {}

        def add_error(_: Path, error: Exception) -> None:
            outcomes[str(path)] = error

        predicted = predict_records(self.predictor, [path], settings, add_error)
        return outcomes | {str(path): each for each in predicted}
