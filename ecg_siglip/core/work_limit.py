"""Work that ends at its deadline, or when nobody waits for its result any more.

Long loops call ``check_stopped``. Outside of ``limited_by`` it does nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar


class WorkStopped(BaseException):
    """The work has to end.

    Not an ``Exception``: code that reports the error of one record and goes on to the next must not
    take this for one.
    """


class WorkLimit:
    """How long some work may go on.

    Parameters
    ----------
    limit_s : float, s
        From now on.
    """

    def __init__(self, limit_s: float) -> None:
        self._end_s = time.monotonic() + limit_s

    def stop(self) -> None:
        """End the work at its next check; any thread may call it."""
        self._end_s = -math.inf

    @property
    def left_s(self) -> float:
        """Time left in s; 0 after the end."""
        return max(0.0, self._end_s - time.monotonic())


_current: ContextVar[WorkLimit | None] = ContextVar("work_limit", default=None)


@contextlib.contextmanager
def limited_by(limit: WorkLimit) -> Iterator[None]:
    """Limit the work of this thread within the block."""
    token = _current.set(limit)
    try:
        yield
    finally:
        _current.reset(token)


def time_left_s() -> float:
    """Return the time left for the current work in s; infinity without a limit."""
    limit = _current.get()
    return math.inf if limit is None else limit.left_s


def check_stopped() -> None:
    """End the current work if its time is over.

    Raises
    ------
    WorkStopped
        If so.
    """
    if not time_left_s():
        raise WorkStopped
