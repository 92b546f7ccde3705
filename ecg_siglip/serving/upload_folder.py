"""Folder of a server for everything that it stores: uploads in a bounded space, for a short time.

A server that is killed leaves its folder behind; the next one removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ecg_siglip.core.files import hold

PREFIX = "ecg_siglip_app_"
LOCK = ".lock"  # of ``files.hold``
# Files that could not be read stay for a second try (with a sampling rate, for example), but not
# longer than this.
KEPT_S, SWEEP_S = 600.0, 30.0
# An upload of the page is predicted at once: an older one is not needed when space is short.
UNUSED_S = 10.0


class UploadFolder:
    """Files that the page has uploaded and that are not predicted yet.

    Parameters
    ----------
    path : Path
        Contains a folder for each file, and nothing else.
    max_bytes : int
        Largest size of all files, and of all requests that are arriving.

    Attributes
    ----------
    n_arriving : int
        Bytes of the requests in progress.
    """

    def __init__(self, path: Path, max_bytes: int):
        self.path, self.max_bytes, self.n_arriving = path, max_bytes, 0

    def n_bytes(self) -> int:
        """Return the size of all files."""
        return sum(n_bytes for _, n_bytes, _ in self._entries())

    def free_space(self, n_bytes: int) -> bool:
        """Delete the oldest uploads that nobody uses until others of a size fit; return whether."""
        entries = sorted(self._entries())
        total = n_bytes + self.n_arriving + sum(size for _, size, _ in entries)
        for changed_s, size, path in entries:
            if total <= self.max_bytes or time.time() - changed_s < UNUSED_S:
                break
            _delete(path)
            total -= size
        return total <= self.max_bytes

    def sweep(self, age_s: float) -> None:
        """Delete everything that is older, interrupted uploads included."""
        for changed_s, _, path in self._entries():
            if time.time() - changed_s > age_s:
                _delete(path)

    def _entries(self) -> Iterable[tuple[float, int, Path]]:
        """Yield time of the last change, size in bytes and path of everything in the folder."""
        for path in self.path.iterdir():
            with contextlib.suppress(OSError):  # deleted in the meantime
                files = path.rglob("*") if path.is_dir() else [path]
                yield path.stat().st_mtime, sum(file.stat().st_size for file in files), path


def remove_uploads(paths: Sequence[str]) -> None:
    """Delete the files of an upload, each in a folder of its own."""
    for path in paths:
        _delete(Path(path).parent)


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """Make the folder of a server, in which all temporary files are made; remove it at the end.

    Yields
    ------
    Path
        An empty folder in it, for the uploads of the page.
    """
    remove_leftovers(Path(tempfile.gettempdir()))
    before = tempfile.tempdir
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with hold(folder, inside=True):
            uploads, others = folder / "uploads", folder / "requests"
            uploads.mkdir()
            others.mkdir()
            tempfile.tempdir = str(others)
            yield uploads
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of servers that were killed: those whose lock nobody holds."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):  # of another user; in use
            is_ours = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
            # Without a lock: a server that is just starting.
            if is_ours and not folder.is_symlink() and (folder / LOCK).exists():
                with hold(folder, inside=True):
                    shutil.rmtree(folder, ignore_errors=True)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):  # deleted in the meantime
        shutil.rmtree(path) if path.is_dir() else path.unlink()
