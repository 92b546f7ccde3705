"""Work that ends at its deadline, or when nobody waits for its result any more.

Long loops call ``checkpoint``. Outside of ``limited_by`` it does nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
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


_current: ContextVar[tuple[WorkLimit, Callable[[], object] | None] | None] = ContextVar(
    "work_limit", default=None
)


@contextlib.contextmanager
def limited_by(limit: WorkLimit, pause: Callable[[], object] | None = None) -> Iterator[None]:
    """Limit the work of this thread within the block.

    Parameters
    ----------
    limit : WorkLimit
    pause : function, optional
        Called at each ``checkpoint``: other work may go on meanwhile.
    """
    token = _current.set((limit, pause))
    try:
        yield
    finally:
        _current.reset(token)


def time_left_s() -> float:
    """Return the time left for the current work in s; infinity without a limit."""
    current = _current.get()
    return math.inf if current is None else current[0].left_s


def check_stopped() -> None:
    """End the current work if its time is over.

    Raises
    ------
    WorkStopped
        If so.
    """
    if not time_left_s():
        raise WorkStopped


def checkpoint() -> None:
    """Let other work go on, and end the current one if its time is over.

    Raises
    ------
    WorkStopped
        If so.
    """
    current = _current.get()
    if current is not None and current[1] is not None:
        current[1]()
    check_stopped()
