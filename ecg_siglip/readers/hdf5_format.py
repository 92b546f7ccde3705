"""Read HDF5: one recording, or one of the exams of a file in the layout of CODE-15.

In that layout, ``tracings`` has the shape (n_exams, n_samples, n_leads) and ``exam_id`` the number
of each exam. An exam is named as if the file were a folder: ``exams_part0.hdf5/1169160``.

The HDF5 library hangs or crashes on some damaged files. It runs in a process of its own
(``hdf5_datasets``), which is ended after ``LIMIT_S``.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.helper_process import HelperProcess
from ecg_siglip.readers.arrays import read_arrays
from ecg_siglip.readers.channels import Stated, import_reader

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# MATLAB writes a header of 512 bytes before it.
SIGNATURE_AT = (0, 512)
LIMIT_S = 15.0
HELPER = HelperProcess("ecg_siglip.readers.hdf5_datasets", LIMIT_S)


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
    response = _request(path=os.path.abspath(path), exam=exam)
    return read_arrays(
        [(str(name), response[f"array{i}"]) for i, name in enumerate(response["names"])]
    )


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
    exams = _listing(Path(path)).get("names", ())
    return [f"{path}/{exam}" for exam in exams] or [str(path)]


def is_ecg_hdf5(path: Path) -> bool:
    """Return whether an HDF5 file has a dataset of a usual name, or is damaged or zipped."""
    return bool(_listing(path).get("is_ecg", True))


def _listing(path: Path) -> dict[str, np.ndarray]:
    """Return what an HDF5 file contains; nothing if it is none, or is damaged."""
    try:
        return _request(path=os.path.abspath(path), list_exams=True) if is_hdf5(path) else {}
    except ValueError:
        return {}


def is_hdf5(path: Path) -> bool:
    """Return whether a path is an HDF5 file."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            head = file.read(SIGNATURE_AT[-1] + len(SIGNATURE))
    except OSError:
        return False
    return any(head.startswith(SIGNATURE, at) for at in SIGNATURE_AT)


def _request(**request: Any) -> dict[str, np.ndarray]:
    """Return the arrays with which the helper process responds.

    Raises
    ------
    ValueError
        If it responds with an error, or not at all.
    """
    import_reader("h5py")
    try:
        content = HELPER.request(json.dumps(request).encode())
    except ChildProcessError as error:
        raise ValueError(f"{error}: it is damaged") from error
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        response = dict(archive)
    if "error" in response:
        raise ValueError(str(response["error"]))
    return response
