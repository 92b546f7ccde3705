"""Progress of a job on stderr: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

FIRST_S, EVERY_S = 10.0, 60.0  # lines where stderr is no terminal


class Progress:
    """How many records are done, how many per second, and how long the rest takes.

    Parameters
    ----------
    n_all : int
        Records of the job.
    n_done : int
        Of them, done before.
    n_processes : int
        That do as much as this one, which counts for all of them.
    shown : bool
    """

    def __init__(self, n_all: int, n_done: int = 0, n_processes: int = 1, shown: bool = True):
        self.n_all = n_all
        self.n_before = n_done
        self.n_done = n_done
        self.n_processes = n_processes
        self._is_terminal = sys.stderr.isatty()
        self._is_shown = shown
        self._start_s = time.monotonic()
        self._next_s = FIRST_S
        self._bar = tqdm(
            total=n_all,
            initial=n_done,
            desc="predict",
            unit=" records",
            disable=not (shown and self._is_terminal),
        )

    def add(self, n: int) -> None:
        """Count records that are done."""
        n = min(n * self.n_processes, self.n_all - self.n_done)
        self.n_done += n
        self._bar.update(n)
        passed_s = time.monotonic() - self._start_s
        if self._is_shown and not self._is_terminal and passed_s >= self._next_s:
            self._next_s = passed_s + EVERY_S
            print(self.line(passed_s), file=sys.stderr, flush=True)

    def line(self, passed_s: float) -> str:
        """Return the progress after some seconds on one line."""
        rate = (self.n_done - self.n_before) / max(passed_s, 1e-9)
        left_s = (self.n_all - self.n_done) / max(rate, 1e-9)
        left = f"{left_s / 60:.0f} min" if left_s < 7200 else f"{left_s / 3600:.1f} h"
        return (
            f"predict: {self.n_done:,} of {self.n_all:,} records "
            f"({self.n_done / max(self.n_all, 1):.0%}), {rate:.0f} per second, {left} left"
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
