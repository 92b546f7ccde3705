"""Run a command in a process of its own, and end or disturb it at one of its file operations.

The operations are those that Python reports to audit hooks (open to write, rename, remove, mkdir,
rmdir, truncate), and ``os.fsync``. Only those in a given folder count. The process is forked from
this one, which has imported the commands, so that a run takes no longer than its work.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
AUDITED = {
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.rmdir": "rmdir",
    "os.mkdir": "mkdir",
    "os.truncate": "truncate",
}
LIMIT_S = 600


@dataclass
class Fault:
    """What happens at the file operation with a number (from 1).

    Attributes
    ----------
    number : int
    act : function of the operation
        Ends the process, or raises an OSError.
    kinds : tuple of str
        The operations that count; all if empty.
    is_lasting : bool
        It happens at all later operations as well.
    """

    number: int
    act: Callable[[str], None]
    kinds: tuple[str, ...] = ()
    is_lasting: bool = False


def kill(_: str) -> None:
    """End this process as a power cut or the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def error(number: int) -> Callable[[str], None]:
    """Return what raises an error of the operating system."""

    def act(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return act


@dataclass
class Outcome:
    """Exit code (negative: signal), stderr, and the file operations of a run in order."""

    code: int
    errors: str
    operations: list[tuple[str, str]]


def run(
    main: Callable[[], object], arguments: list[str], folder: Path, fault: Fault | None = None
) -> Outcome:
    """Run the main function of a command with a folder as the working directory."""
    streams = folder.parent / f"{folder.name}.streams"
    streams.mkdir(exist_ok=True)
    operations = streams / "operations"
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _run_here(main, arguments, folder, streams, fault)
        finally:
            os._exit(code)
    _, status = _wait(pid)
    lines = operations.read_text().splitlines() if operations.exists() else []
    return Outcome(
        os.waitstatus_to_exitcode(status),
        (streams / "stderr").read_text(errors="replace"),
        [tuple(line.split("\t", 1)) for line in lines],  # type: ignore[misc]
    )


def _wait(pid: int) -> tuple[int, int]:
    """Wait for a process; kill it after the limit, which counts as failed."""
    end = time.time() + LIMIT_S
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return done, status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)


def _run_here(
    main: Callable[[], object],
    arguments: list[str],
    folder: Path,
    streams: Path,
    fault: Fault | None,
) -> int:
    """Run a command in this process, which only does this; return the exit code."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    log = os.open(streams / "operations", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder / "tmp")
    sys.argv = arguments
    time.monotonic = lambda: 0.0  # the seconds of a training are a part of its files
    watched = os.path.realpath(folder) + os.sep
    n_counted = 0
    flush = os.fsync

    def count(kind: str, path: str) -> None:
        nonlocal n_counted
        if not (path + os.sep).startswith(watched):
            return
        os.write(log, f"{kind}\t{path.removeprefix(watched)}\n".encode())
        if fault is None or (fault.kinds and kind not in fault.kinds):
            return
        n_counted += 1
        if n_counted == fault.number or (fault.is_lasting and n_counted > fault.number):
            fault.act(path)

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & WRITES and not isinstance(path, int):
                count("open", _absolute(path))
        elif event in AUDITED and not isinstance(args[0], int):
            # The last argument is an open folder that the path is relative to, or -1.
            is_relative = event != "os.truncate" and isinstance(args[-1], int)
            count(AUDITED[event], _absolute(args[0], args[-1] if is_relative else -1))

    def fsync(descriptor: int) -> None:
        count("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)
    try:
        main()
    except SystemExit as stop:
        code = stop.code
        return code if isinstance(code, int) else int(code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _absolute(path: object, descriptor: int = -1) -> str:
    """Return the absolute path of an operation, which may be relative to an open folder."""
    text = os.fsdecode(path)  # type: ignore[arg-type]
    if descriptor >= 0 and not os.path.isabs(text):
        text = os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), text)
    head, tail = os.path.split(os.path.abspath(text))
    return os.path.join(os.path.realpath(head), tail)
