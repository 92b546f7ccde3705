"""Processes that read and prepare uploaded records, while the server's own process goes on.

A library that crashes or hangs on a damaged file ends such a process and not the server.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from queue import LifoQueue

from ecg_siglip.archive.reading import Item, Reading, Unreadable, decode
from ecg_siglip.core.helper_process import HelperProcess, available_cores, serve
from ecg_siglip.core.work_limit import WorkLimit, WorkStopped, limited_by, time_left_s

NICE = 5  # the server's own process comes first: it responds to all clients
MODULE = "ecg_siglip.serving.record_readers"
MAX_READERS = 8  # more would wait for the model; each needs about 120 MB
LIMIT_S = 3600.0  # for one record; the deadline of its request comes first
# The process ends its work so long before it would be killed, and then need not be started again.
MARGIN_S, MARGIN = 1.0, 0.1


class RecordReaders:
    """Processes of which each reads one record at a time.

    Attributes
    ----------
    n_usual : int
        One per core. One more is started while all of these are busy: one client cannot occupy it,
        see ``UploadPredictor``.
    """

    def __init__(self) -> None:
        self.n_usual = min(MAX_READERS, available_cores())
        self._processes = [HelperProcess(MODULE, LIMIT_S) for _ in range(self.n_usual + 1)]
        # The last that was used is the next: one that is not needed is not started.
        self._idle: LifoQueue[HelperProcess] = LifoQueue()
        for process in self._processes:
            self._idle.put(process)
        self._is_stopped = False

    def start(self) -> None:
        """Start the usual number of processes, so that the first requests do not wait for that."""
        for process in self._processes[1:]:
            process.start()

    def read(self, reading: str, path: Path) -> Item:
        """Read and prepare a record in a process that is idle, or when one becomes idle.

        Parameters
        ----------
        reading : str
            From ``Reading.to_json``.
        path : Path

        Returns
        -------
        Item
            ``Unreadable`` also if the process ends: it is started again, for other records.

        Raises
        ------
        WorkStopped
            If the time of the current work is over; a process in which nothing notices is killed.
        """
        process = self._idle.get()
        try:
            if self._is_stopped:
                raise WorkStopped
            left_s = min(time_left_s(), LIMIT_S)
            limit_s = left_s - min(MARGIN_S, MARGIN * left_s)
            response = process.request(json.dumps([reading, str(path), limit_s]).encode())
        except ChildProcessError as error:
            self._restart(process)
            reason = f"record {path.stem}: {error}; it is damaged or too large"
            return Unreadable(str(path), reason)
        except WorkStopped:
            self._restart(process)
            raise
        finally:
            self._idle.put(process)
        if not response:
            raise WorkStopped
        return decode(response)[0]

    def _restart(self, process: HelperProcess) -> None:
        """Start a process that has ended, so that the next record does not wait for that."""
        if self._is_stopped:
            raise WorkStopped
        process.start()

    def stop(self) -> None:
        """End the processes while other threads wait for them, whose work is stopped."""
        self._is_stopped = True
        for process in self._processes:
            process.stop()

    def close(self) -> None:
        """End the processes, which no thread uses any more."""
        for process in self._processes:
            process.close()


def respond(request: bytes) -> bytes:
    """Return the record of a request, prepared; nothing if there is no time for it."""
    reading, path, limit_s = json.loads(request)
    try:
        with limited_by(WorkLimit(limit_s)):
            return Reading.from_json(reading).items([path])
    except WorkStopped:
        return b""


if __name__ == "__main__":
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICE)
    serve(respond, limited=False)
