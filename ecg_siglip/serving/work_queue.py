"""Tasks of many clients that use the same model or processes, so that nobody keeps others waiting.

A few tasks are in progress. Of those that use the model, one runs: at a ``checkpoint`` it may give
its turn to the next. A long record therefore delays the others by a fraction of a second only.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ecg_siglip.core.work_limit import WorkLimit, WorkStopped, checkpoint, limited_by

T = TypeVar("T")
TURN_S = 0.1  # a task that has run so long gives its turn to the next
RECENT_S = 1.0  # a client is active for so long after its last task
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
    n_in_progress, n_of_client : int
        Tasks in progress, of all clients and of one; of one among several active ones, one less.
    name : str
        Of its threads.
    in_turns : bool
        One of the tasks in progress runs; otherwise all of them.
    """

    def __init__(
        self,
        too_late: Callable[[], Exception],
        n_in_progress: int,
        n_of_client: int,
        name: str = "prediction",
        in_turns: bool = True,
    ):
        self._too_late = too_late
        self.n_in_progress, self.n_of_client = n_in_progress, n_of_client
        self._threads = ThreadPoolExecutor(n_in_progress, thread_name_prefix=name)
        self._turns, self._lock = Turns() if in_turns else None, threading.Lock()
        self._waiting: dict[str, deque[_Job]] = {}  # by client; the next one is the first
        self._in_progress: list[_Job] = []
        self._active: dict[str, float] = {}  # time of the last task by client, the oldest first

    def n_tasks_of(self, client: str) -> int:
        """Return the number of tasks of a client that wait or are in progress."""
        with self._lock:
            n_in_progress = sum(job.client == client for job in self._in_progress)
            return n_in_progress + len(self._waiting.get(client, ()))

    def submit(self, task: Callable[[], T], limit: WorkLimit, client: str) -> Future[T]:
        """Queue a task of a client, which ends at its next check if its time is over."""
        future: Future[T] = Future()
        job = _Job(task, limit, future, client)
        with self._lock:
            self._waiting.setdefault(client, deque()).append(job)
            self._active.pop(client, None)
            self._active[client] = time.monotonic()
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
        if len(self._in_progress) >= self.n_in_progress:
            return None
        n_in_progress = Counter(job.client for job in self._in_progress)
        most = self.n_of_client if self._n_active() < 2 else max(1, self.n_of_client - 1)
        for client in [each for each in self._waiting if n_in_progress[each] < most]:
            jobs = self._waiting.pop(client)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs  # after all others
            return job
        return None

    def _n_active(self) -> int:
        """Return the number of clients that are active."""
        oldest_s = time.monotonic() - RECENT_S
        while self._active and next(iter(self._active.values())) < oldest_s:
            del self._active[next(iter(self._active))]
        return len(self._active)

    def _run(self, job: _Job) -> None:
        """Run a task, and start the next one."""
        error: BaseException | None = None
        result = None
        if job.future.set_running_or_notify_cancel():
            try:
                with self._limited(job.limit):
                    checkpoint()
                    result = job.task()
            except WorkStopped:
                log.warning("tasks stopped: too late, or without a client")
                error = self._too_late()
            except BaseException as raised:
                error = raised
        with self._lock:
            self._in_progress.remove(job)
        self._start()
        if not job.future.cancelled():
            _complete(job.future, result, error)

    @contextlib.contextmanager
    def _limited(self, limit: WorkLimit) -> Iterator[None]:
        """Limit the task of this thread, which runs in its turns."""
        if self._turns is None:
            with limited_by(limit):
                yield
            return
        self._turns.take()
        try:
            with limited_by(limit, self._turns.share):
                yield
        finally:
            self._turns.give()


def _complete(future: Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
