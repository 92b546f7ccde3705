"""Tasks of many clients that use one model in turns, so that nobody keeps the others waiting.

A few tasks are in progress, and one of them runs: at a ``checkpoint`` it may give its turn to the
next. A long record therefore delays the others by a fraction of a second only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ecg_siglip.core.work_limit import WorkLimit, WorkStopped, checkpoint, limited_by

T = TypeVar("T")
# Tasks in progress, of all clients and of one; each may have a long record in memory.
N_IN_PROGRESS, N_OF_CLIENT = 4, 2
TURN_S = 0.1  # a task that has run so long gives its turn to the next
log = logging.getLogger(__name__)


class Turns:
    """A lock that those who wait get in the order in which they came."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: deque[object] = deque()
        self._is_taken, self._since_s = False, 0.0

    def take(self) -> None:
        """Wait for the turn of this thread."""
        ticket = object()
        with self._condition:
            self._waiting.append(ticket)
            while self._is_taken or self._waiting[0] is not ticket:
                self._condition.wait()
            self._waiting.popleft()
            self._is_taken, self._since_s = True, time.monotonic()

    def give(self) -> None:
        """End the turn of this thread."""
        with self._condition:
            self._is_taken = False
            self._condition.notify_all()

    def share(self) -> None:
        """Give the turn to those who wait, if it has lasted long, and wait for the next one."""
        if self._waiting and time.monotonic() - self._since_s >= TURN_S:
            self.give()
            self.take()


@dataclass(frozen=True, eq=False)
class _Job:
    task: Callable[[], Any]
    limit: WorkLimit
    future: Future[Any]
    client: str


class WorkQueue:
    """Queue of tasks: clients in turn, and of each client the first task first.

    Parameters
    ----------
    too_late : function
        Returns the error of a task whose time is over.
    """

    def __init__(self, too_late: Callable[[], Exception]):
        self._too_late = too_late
        self._threads = ThreadPoolExecutor(N_IN_PROGRESS, thread_name_prefix="prediction")
        self._turns, self._lock = Turns(), threading.Lock()
        self._waiting: dict[str, deque[_Job]] = {}  # by client; the next one is the first
        self._in_progress: list[_Job] = []

    def submit(self, task: Callable[[], T], limit: WorkLimit, client: str) -> Future[T]:
        """Queue a task of a client, which ends at its next check if its time is over."""
        future: Future[T] = Future()
        job = _Job(task, limit, future, client)
        with self._lock:
            self._waiting.setdefault(client, deque()).append(job)
        future.add_done_callback(lambda _: self._forget(job))
        self._start()
        return future

    def close(self) -> None:
        """Cancel what waits, and stop the tasks in progress."""
        with self._lock:
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            in_progress = list(self._in_progress)
        for job in waiting:
            job.future.cancel()
        for job in in_progress:
            job.limit.stop()
        self._threads.shutdown()

    def _forget(self, job: _Job) -> None:
        """Remove a task from the queue, if it was cancelled there."""
        with self._lock:
            jobs = self._waiting.get(job.client, deque())
            if job in jobs:
                jobs.remove(job)
                if not jobs:
                    del self._waiting[job.client]

    def _start(self) -> None:
        """Start as many tasks as may be in progress."""
        with self._lock:
            while (job := self._next()) is not None:
                self._in_progress.append(job)
                self._threads.submit(self._run, job)

    def _next(self) -> _Job | None:
        """Remove the next task from the queue; None if none may start."""
        if len(self._in_progress) >= N_IN_PROGRESS:
            return None
        n_in_progress = Counter(job.client for job in self._in_progress)
        for client in [each for each in self._waiting if n_in_progress[each] < N_OF_CLIENT]:
            jobs = self._waiting.pop(client)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs  # after all others
            return job
        return None

    def _run(self, job: _Job) -> None:
        """Run a task in its turns, and start the next one."""
        error: BaseException | None = None
        result = None
        if job.future.set_running_or_notify_cancel():
            self._turns.take()
            try:
                with limited_by(job.limit, self._turns.share):
                    checkpoint()
                    result = job.task()
            except WorkStopped:
                log.warning("tasks stopped: too late, or without a client")
                error = self._too_late()
            except BaseException as raised:
                error = raised
            finally:
                self._turns.give()
        with self._lock:
            self._in_progress.remove(job)
        self._start()
        if not job.future.cancelled():
            _complete(job.future, result, error)


def _complete(future: Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
