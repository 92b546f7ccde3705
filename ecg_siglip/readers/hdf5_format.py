"""Read HDF5: one recording, or one of the exams of a file in the layout of CODE-15.

In that layout, ``tracings`` has the shape (n_exams, n_samples, n_leads) and ``exam_id`` the number
of each exam. An exam is named as if the file were a folder: ``exams_part0.hdf5/1169160``.

The HDF5 library hangs or crashes on some damaged files. It runs in a process of its own
(``isolated``), which is ended after a limited time.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.isolated import run_isolated

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# MATLAB writes a header of 512 bytes before it.
SIGNATURE_AT = (0, 512)


def read_hdf5(content: bytes) -> Stated:
    """Read an HDF5 file with one recording.

    Parameters
    ----------
    content : bytes
        With a dataset of a usual name (``tracings``, ``ecg``, ``signal``), a dataset for each
        lead, or only one dataset. ``fs``, ``units`` and ``leads`` are datasets or attributes.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If there is no such dataset, there are several exams, a dataset has more than 256 MiB, is
        in another file, or is stored with a filter other than gzip, LZF, shuffle and checksum; if
        it is not read within 15 s.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unzipped.hdf5"
        path.write_bytes(content)
        return read_exam(path, None)


def read_exam(path: Path, exam: str | None) -> Stated:
    """Read an HDF5 file of any size, or one exam of it.

    Parameters
    ----------
    path : Path
    exam : str, optional
        Its identifier in the file; the number of its row, from 0, if the file has none.

    Raises
    ------
    ValueError
        As ``read_hdf5``, or if there is no such exam.
    """
    return run_isolated(b"exam", json.dumps([os.path.abspath(path), exam]).encode())


def find_exam(path: Path) -> tuple[Path, str | None] | None:
    """Return the file and the exam that a path names; None if it names no HDF5 file."""
    if is_hdf5(path):
        return path, None
    if is_hdf5(path.parent) and not path.exists():
        return path.parent, path.name
    return None


def exam_paths(path: str | Path) -> list[str]:
    """Return the paths of the exams in an HDF5 file; the path itself if it is one recording.

    Any other file, and one that cannot be read, is one recording.
    """
    return [f"{path}/{exam}" for exam in _listing(Path(path)).comments] or [str(path)]


def is_ecg_hdf5(path: Path) -> bool:
    """Return whether an HDF5 file has a dataset of a usual name, or is damaged or zipped."""
    return not _listing(path).warnings


def _listing(path: Path) -> Stated:
    """Return what ``hdf5_datasets.list_exams`` does; nothing for another file, or a damaged one."""
    try:
        if is_hdf5(path):
            return run_isolated(b"exams", os.fsencode(os.path.abspath(path)))
    except ValueError:
        pass
    return Stated([])


def is_hdf5(path: Path) -> bool:
    """Return whether a path is an HDF5 file."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            head = file.read(SIGNATURE_AT[-1] + len(SIGNATURE))
    except OSError:
        return False
    return any(head.startswith(SIGNATURE, at) for at in SIGNATURE_AT)
