"""Files and folders that appear whole or not at all, and errors on one line."""

from __future__ import annotations

import os
from pathlib import Path


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def write_file(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it is.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission); nothing is left behind.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        # A failed write does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)
