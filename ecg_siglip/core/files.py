"""Files and folders that are written completely or not at all, and errors on one line.

A new version is written to a hidden sibling ``.<name>.<unique>.tmp`` and flushed to the disk. Then
it is renamed to ``.new``, the old version aside to ``.old``, the new one to ``<name>``, and the old
one is deleted last. So a process that is killed, a full disk, a rename that fails and a power cut
lose neither version: ``finish_writes`` completes or undoes what it finds. A process that writes
holds the lock of the target or of a folder above it, and removes only what no process still writes.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

MAX_LINE = 600  # characters of an error
MAX_QUOTE = 80  # characters of a file's content or name within an error
LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.(?P<state>tmp|new|old)", re.S)
WRITE_WAIT_S = 60.0  # wait for another process that writes the same file
N_FLUSH = 8  # files flushed at the same time: file systems join their journal entries
# A file system without locks of the operating system (some network file systems).
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: set[Path] = set()  # files and folders of which this process holds the lock
_written: set[Path] = set()  # siblings that this process writes
# Characters that a terminal obeys instead of displaying them, that change the direction of writing,
# that end a line for some programs, or that are bytes of a name that is not UTF-8.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or its type if it has none.

    Control characters are visible, and the middle of a message above ``MAX_LINE`` is left out.
    """
    return shorten(visible(" ".join(str(error).split())), MAX_LINE) or type(error).__name__


def visible(text: str) -> str:
    """Return a text with escape sequences in place of control and format characters.

    Examples
    --------
    >>> print(visible("red\\x1b[31m\\nname"))
    red\\x1b[31m\\nname
    """
    return UNPRINTABLE.sub(_escape, text)


def shorten(text: str, n: int) -> str:
    """Return a text of at most ``n`` characters, without its middle if it is longer.

    Examples
    --------
    >>> shorten("0123456789abcdef", 11)
    '012 ... def'
    """
    if len(text) <= n:
        return text
    n_end = (n - len(" ... ")) // 2
    return f"{text[: n - len(' ... ') - n_end]} ... {text[len(text) - n_end :]}"


def shown(content: str | bytes | os.PathLike[str], n: int = MAX_QUOTE) -> str:
    """Return a name, or content of a file, for a message: visible and at most ``n`` characters.

    Parameters
    ----------
    content : str, bytes or path
        Bytes are decoded as UTF-8, with escape sequences where they are none.
    n : int
        The middle of a longer content is left out.
    """
    text = content if isinstance(content, str | bytes) else os.fspath(content)
    # Only what can be displayed is decoded of a megabyte.
    both_ends = [text[: 2 * n], text[-2 * n :]] if len(text) > 4 * n else [text]
    decoded = [
        end.decode("utf-8", "backslashreplace") if isinstance(end, bytes) else end
        for end in both_ends
    ]
    return shorten(visible("".join(decoded)), n)


def _escape(match: re.Match[str]) -> str:
    """Return the escape sequence of a character."""
    return match[0].encode("unicode_escape").decode("ascii")


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file completely or not at all; text as UTF-8.

    Raises
    ------
    OSError
        As ``replace_file``.
    """
    with replace_file(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling to write to; it replaces the file at the end.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission), naming the file. An existing file then
        stays as it was. No part of a new one is left behind; a complete one that only cannot take
        its place is kept, and takes it at the next call.
    ValueError
        If another process writes the file, and does not finish within ``WRITE_WAIT_S``.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path  # a device or a pipe
        return
    with _new_version(path) as partial:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder; expected the name of a file", path)
        yield partial


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a new hidden sibling to fill; it replaces the folder at the end.

    Raises
    ------
    OSError, ValueError
        As ``replace_file``.
    """
    folder = Path(os.path.realpath(folder))
    with _new_version(folder) as partial:
        if folder.is_file():
            raise NotADirectoryError(errno.ENOTDIR, "a file; expected a folder", folder)
        partial.mkdir()
        yield partial


@contextlib.contextmanager
def hold(path: Path, wait_s: float = 0.0, *, inside: bool = False) -> Iterator[None]:
    """Hold the lock of a file or folder, and finish what a killed process left there.

    Parameters
    ----------
    path : Path
    wait_s : float, s
        How long to wait for another process that holds it; infinity is allowed.
    inside : bool
        The path is a folder in which files are written, and its lock is in it: ``.lock``. The
        folder is made if necessary, and removed again if it stays empty. Otherwise the path
        itself is replaced, and its lock is next to it: ``.<name>.lock``.

    Raises
    ------
    ValueError
        If another process holds it, naming that process.
    OSError
        If the lock cannot be written.

    Notes
    -----
    The operating system frees the lock of a process that ends in any way. Of the processes that
    torchrun starts only the first writes, so only it holds the lock.
    """
    path = Path(os.path.realpath(path))
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder, name = (path, None) if inside else (path.parent, path.name)
    lock_path = path / ".lock" if inside else path.with_name(f".{path.name}.lock")
    new_folders = make_folder(lock_path.parent)
    try:
        if _is_held(path):
            finish_writes(folder, name)
            yield
            return
        with _lock(lock_path, path, wait_s):
            _held.add(path)
            try:
                finish_writes(folder, name)
                yield
            finally:
                _held.discard(path)
    finally:
        for each in new_folders:
            with contextlib.suppress(OSError):  # not empty any more
                each.rmdir()


def tidy(folder: Path) -> None:
    """Finish what a killed process left in a folder, unless another process is at work there.

    For a command that finds in the folder what it needs, and so does not ``hold`` it.
    """
    if any(folder.glob(".lock*")):
        with contextlib.suppress(ValueError, OSError), hold(folder, inside=True):
            pass


def finish_writes(folder: Path, name: str | None = None) -> None:
    """Complete or undo replacements that were interrupted, and remove unfinished versions.

    Parameters
    ----------
    folder : Path
        A folder of which this process holds the lock, or that has the locked file or folder.
    name : str, optional
        The file or folder that was replaced; None: all in the folder.

    Raises
    ------
    OSError
        If a complete new version still cannot take its place.
    """
    for state in ("new", "old", "tmp") if folder.is_dir() else ():
        for path in sorted(folder.glob(f".{glob.escape(name or '')}*.{state}")):
            match = LEFTOVER.fullmatch(path.name)
            if match is None or (name or match["name"]) != match["name"] or path in _written:
                continue
            target = path.with_name(match["name"])
            if state == "new":
                _put_in_place(path, target)
            elif state == "old" and not os.path.lexists(target):
                os.rename(path, target)
            else:
                _remove(path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> list[Path]:
    """Make a folder, and those above it, so that they are still there after a power cut.

    Returns
    -------
    list of Path
        The new folders, the innermost first.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in new:
        _flush_folder(each.parent)
    return new


def flush(path: Path) -> None:
    """Wait until the content of a file, or of all files in a folder, is on the disk."""
    if path.is_file():
        _flush_file(path)
        return
    folders = [Path(folder) for folder, _, _ in os.walk(path)]
    files = [file for folder in folders for file in folder.iterdir() if file.is_file()]
    with ThreadPoolExecutor(N_FLUSH) as pool:
        list(pool.map(_flush_file, files))
    for folder in reversed(folders):
        _flush_folder(folder)


@contextlib.contextmanager
def _new_version(path: Path) -> Iterator[Path]:
    """Yield the name of a sibling that does not exist yet; it replaces the path at the end."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        make_folder(path.parent)
        with hold(path, WRITE_WAIT_S):
            _written.add(partial)
            try:
                yield partial
                flush(partial)
                complete = partial.with_suffix(".new")
                os.rename(partial, complete)
                _put_in_place(complete, path)
            finally:
                _written.discard(partial)
                _remove(partial)
    except OSError as error:
        raise _naming(error, path) from error


def _put_in_place(complete: Path, path: Path) -> None:
    """Replace a path by its new version, which is complete; the old one is deleted last."""
    aside = complete.with_suffix(".old")
    try:
        if not complete.is_dir():
            os.replace(complete, path)
        else:
            if os.path.lexists(path):
                os.rename(path, aside)
            try:
                os.rename(complete, path)
            except OSError:
                if aside.exists():
                    os.rename(aside, path)
                raise
    except OSError as error:
        message = (
            f"{error.strerror or error}; the new version is complete in {complete.name} and takes "
            "its place when the command is repeated"
        )
        raise OSError(error.errno, message, str(path)) from error
    _flush_folder(path.parent)
    if aside.exists():
        # Deleted in part, it must not be taken for an old version any more.
        discarded = complete.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            os.rename(aside, discarded)
            _remove(discarded)


@contextlib.contextmanager
def _lock(lock_path: Path, path: Path, wait_s: float) -> Iterator[None]:
    """Hold a lock file; a second one, ``<lock file>.json``, names the process that holds it."""
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

    holder = lock_path.with_name(f"{lock_path.name}.json")

    def acquire(lock: BaseFileLock) -> BaseFileLock:
        """Acquire a lock, at once or after a line that names the process to wait for."""
        try:
            lock.acquire(timeout=0)
        except Timeout:
            used = f"{path}: in use by {_describe_holder(holder)}"
            if not wait_s:
                raise ValueError(f"{used}; wait until it has finished") from None
            print(f"{used}; waiting", file=sys.stderr)
            try:
                lock.acquire(timeout=wait_s if wait_s < float("inf") else -1)
            except Timeout:
                raise ValueError(f"{used}; still after {wait_s:g} s") from None
        return lock

    try:
        lock = acquire(FileLock(lock_path, poll_interval=0.2))
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock = acquire(SoftFileLock(lock_path, poll_interval=0.2))
    try:
        _write_holder(holder)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
            # Before the release, so that it is never the lock of another process; filelock notices
            # a lock whose file is gone. On Windows it removes the file itself.
            if os.name == "posix" and not isinstance(lock, SoftFileLock):
                lock_path.unlink(missing_ok=True)
        lock.release()


def _write_holder(holder: Path) -> None:
    """Write which process holds a lock, for the message of another one."""
    about = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": Path(sys.argv[0]).stem,
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
    }
    with contextlib.suppress(OSError):  # a full disk is reported by what is to be written
        holder.write_text(json.dumps(about), encoding="utf-8")


def _describe_holder(holder: Path) -> str:
    """Return the process that holds a lock in words."""
    try:
        about = json.loads(holder.read_text(encoding="utf-8"))
        words = f"process {about['pid']} on {about['host']} ({about['command']})"
        return visible(f"{words} since {about['since']}")
    except (OSError, ValueError, KeyError, TypeError):  # not written yet
        return "another process"


def _is_held(path: Path) -> bool:
    """Return whether this process holds the lock of a path or of a folder above it."""
    return not _held.isdisjoint((path, *path.parents))


def _flush_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    # Windows flushes only what may be written.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where a folder can be flushed."""
    if os.name != "posix":
        return
    try:
        _flush_file(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):  # not supported; not readable
            raise


def _remove(path: Path) -> None:
    """Remove a file or a folder as far as possible; the next command removes the rest."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _naming(error: OSError, path: Path) -> OSError:
    """Return the error with the path added: a failed write does not name its file."""
    if error.errno is None or error.filename in (os.fspath(path), path):
        return error
    return OSError(error.errno, error.strerror or str(error), str(path))
