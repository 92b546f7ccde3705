"""A process that reads and prepares records, and sends them to the process with the model.

Its own process because a library that reads a damaged file may crash, hang or use all memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecg_siglip.archive.reading import Item, Reading, Unreadable, decode
from ecg_siglip.core.helper_process import HelperProcess, serve

MODULE = "ecg_siglip.archive.reader_process"
LIMIT_S = 300.0  # for one record: a recording of a day from a slow disk


class Reader:
    """A process that reads records, started again if it ends.

    Parameters
    ----------
    reading : Reading
    """

    def __init__(self, reading: Reading):
        self._reading = reading.to_json()
        self._process = HelperProcess(MODULE, LIMIT_S)
        self._is_stopped = False

    def items(self, paths: Sequence[str]) -> list[Item]:
        """Read and prepare records.

        If the process ends, each of the records is read again by itself, and the one that ends it
        again is unreadable.

        Raises
        ------
        ChildProcessError
            After ``stop``.
        """
        message = json.dumps([self._reading, list(paths)]).encode()
        try:
            return decode(self._process.request(message, LIMIT_S * len(paths)))
        except ChildProcessError:
            if self._is_stopped:
                raise
        return [self._alone(path) for path in paths]

    def stop(self) -> None:
        """End the process; a thread that waits for ``items`` gets an error."""
        self._is_stopped = True
        self._process.stop()

    def close(self) -> None:
        """End the process, which no thread uses any more."""
        self._process.close()

    def _alone(self, path: str) -> Item:
        """Read and prepare one record."""
        message = json.dumps([self._reading, [path]]).encode()
        try:
            return decode(self._process.request(message))[0]
        except ChildProcessError as error:
            if self._is_stopped:
                raise
            return Unreadable(path, f"{path}: {error}; it is damaged or too large")


def respond(request: bytes) -> bytes:
    """Return the records of a request, prepared."""
    reading, paths = json.loads(request)
    return Reading.from_json(reading).items(paths)


if __name__ == "__main__":
    serve(respond, limited=False)
