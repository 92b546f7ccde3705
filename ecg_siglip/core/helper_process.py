"""A second process for libraries in C that hang or crash on damaged files.

The process that uses such a library sends it a request and waits for a limited time. If there is no
response by then, or the process has ended, the next request starts another one.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from ecg_siglip.core.work_limit import check_stopped, time_left_s

N_LENGTH = 8  # bytes of the length before each message
# Threads, and Arrow's own memory pool, reserve address space that they do not use.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
}  # fmt: skip
MAX_ADDRESS_SPACE = 2 << 30  # of the helper, its libraries included
# A helper that has more after a request ends, so that the next request has as much as the first.
KEPT_ADDRESS_SPACE = 1 << 30
STAYS, ENDS = b"\0", b"\1"  # first byte of a response: what the helper does after it
_serves = False


class HelperProcess:
    """A process that runs a module whose ``__main__`` branch calls ``serve``.

    Parameters
    ----------
    module : str
        Its full name.
    limit_s : float
        Longest time for one response.
    arguments : sequence of str
        Command line of the module.
    """

    def __init__(self, module: str, limit_s: float, arguments: Sequence[str] = ()) -> None:
        self.module = module
        self.limit_s = limit_s
        self.arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # a fork of this process must not read the other's responses
        self._lock = threading.Lock()

    def request(self, message: bytes, limit_s: float | None = None) -> bytes:
        """Return the response to a message.

        Parameters
        ----------
        message : bytes
        limit_s : float, s, optional
            Longest time for this response; None: as for every one.

        Raises
        ------
        ChildProcessError
            If the helper ends without a response or does not respond in time.
        WorkStopped
            If the time of the work that sends the request is over.
        """
        with self._lock:
            check_stopped()
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            start_s, limit_s = time.monotonic(), limit_s or self.limit_s
            timer = threading.Timer(min(limit_s, time_left_s()), process.kill)
            timer.start()
            try:
                _write(process.stdin, message)
                response = _read(process.stdout)
                if response[:1] == ENDS:
                    process.wait()
                return response[1:]
            except (OSError, EOFError) as error:
                process.kill()
                process.wait()
                check_stopped()
                is_late = time.monotonic() - start_s >= limit_s
                took = "took too long" if is_late else "ended the process"
                raise ChildProcessError(f"the library that reads it {took}") from error
            finally:
                timer.cancel()

    def start(self) -> None:
        """Start the process, if there is none, without waiting until it responds."""
        with self._lock:
            self._running()

    def stop(self) -> None:
        """End the process while another thread waits for its response, which gets an error."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()

    def close(self) -> None:
        """End the process, if this process started it."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started if there is none."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            path = os.pathsep.join(each or os.getcwd() for each in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
            )
            self._owner = os.getpid()
            atexit.unregister(self.close)
            atexit.register(self.close)
        return self._process


def serve(respond: Callable[[bytes], bytes], limited: bool = True) -> None:
    """Respond to requests until the other process ends.

    Parameters
    ----------
    respond : function of bytes to bytes
        Must not raise an error.
    limited : bool
        With at most ``MAX_ADDRESS_SPACE``; ends after a request that needed much of it.
    """
    global _serves
    _serves = True
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        if limited:
            resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    # What a library prints must not be taken for a response.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, OSError):
        is_full = False
        while not is_full:
            response = respond(_read(sys.stdin.buffer))
            is_full = limited and _address_space() > KEPT_ADDRESS_SPACE
            _write(output, (ENDS if is_full else STAYS) + response)


def is_helper() -> bool:
    """Return whether this process serves another one, which starts it again if it ends."""
    return _serves


@contextlib.contextmanager
def ends_after(limit_s: float) -> Iterator[None]:
    """End this process if what is done within takes longer, also in the code of a library."""
    with open(os.devnull, "w", encoding="ascii") as file:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _address_space() -> int:
    """Return the address space of this process in bytes; 0 where that is not known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _write(file: IO[bytes], message: bytes) -> None:
    """Write a message with its length before it."""
    file.write(len(message).to_bytes(N_LENGTH, "little"))
    file.write(message)
    file.flush()


def _read(file: IO[bytes]) -> bytes:
    """Read a message with its length before it."""
    length = int.from_bytes(_read_exactly(file, N_LENGTH), "little")
    return _read_exactly(file, length)


def _read_exactly(file: IO[bytes], n_bytes: int) -> bytes:
    content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise EOFError("the other process has ended")
    return content
