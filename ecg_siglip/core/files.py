"""Files and folders that are written completely or not at all, and errors on one line."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file completely or not at all; text as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission), naming the file. No part of it is left
        behind, and an existing file stays as it was.
    """
    with replace_file(path) as partial, open(partial, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling to write to; it replaces the file at the end.

    Raises
    ------
    OSError
        As ``write_file``.
    """
    partial = _sibling(path)
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise _naming(error, path) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a new hidden sibling to fill; it replaces the folder at the end.

    Raises
    ------
    OSError
        If it cannot be written, naming the folder. No part of it is left behind, and an existing
        folder stays as it was.
    """
    partial = _sibling(folder)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        raise _naming(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed while they wrote."""
    for path in folder.glob(".*.tmp"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _sibling(path: Path) -> Path:
    """Return the temporary path of this process next to a file or folder."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _naming(error: OSError, path: Path) -> OSError:
    """Return the error with the path added: a failed write does not name its file."""
    if error.errno is None:
        return error
    return OSError(error.errno, error.strerror or str(error), str(path))
