"""Files and folders that are written completely or not at all, and errors on one line."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

MAX_LINE = 600  # characters of an error
MAX_QUOTE = 80  # characters of a file's content or name within an error
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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sibling(path: Path) -> Path:
    """Return the temporary path of this process next to a file or folder."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _naming(error: OSError, path: Path) -> OSError:
    """Return the error with the path added: a failed write does not name its file."""
    if error.errno is None:
        return error
    return OSError(error.errno, error.strerror or str(error), str(path))
