"""Read datasets of HDF5 files; for a process of its own (``isolated``)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ecg_siglip.readers.arrays import (
    MAX_NAMES,
    SIGNAL_KEYS,
    choose_arrays,
    is_named,
    read_arrays,
    texts,
)
from ecg_siglip.readers.channels import Stated, import_reader
from ecg_siglip.readers.limits import MAX_BYTES
from ecg_siglip.readers.statements import normalized_key
from ecg_siglip.signals.leads import LEADS, lead_name

MAX_CHARACTERS = 100_000
MATLAB_CLASS = "MATLAB_class"
# Filters that are read: deflate, shuffle, checksum and LZF. Others might load code.
FILTERS = {1, 2, 3, 32000}
ID_KEYS = ("examid", "examids", "id", "ids", "recordid", "ecgid")


def read_exam(request: bytes) -> Stated:
    """Read a recording.

    Parameters
    ----------
    request : bytes
        JSON list of the path of a file and of the exam in it or null, as of
        ``hdf5_format.read_exam``.
    """
    h5py = import_reader("h5py")
    path, exam = json.loads(request)
    with h5py.File(path, "r") as file:
        return read_arrays(read_recording(file, exam))


def list_exams(path: bytes) -> Stated:
    """Return the exams in a file as comments; with a warning if no dataset has a usual name."""
    h5py = import_reader("h5py")
    with h5py.File(os.fsdecode(path), "r") as file:
        datasets = _datasets(file)
        exams = _exams(datasets)
        is_ecg = any(map(is_named, datasets))
        return Stated([], exams[1] if exams else [], [] if is_ecg else ["no ECG"])


def read_recording(file: Any, exam: str | None) -> list[tuple[str, np.ndarray]]:
    """Return the arrays of a recording, and the attributes that may state something, by names.

    Raises
    ------
    ValueError
        As ``hdf5_format.read_exam``.
    """
    datasets = _datasets(file)
    exams = _exams(datasets)
    if exams is None and exam is not None:
        raise ValueError(f"the file has one recording, expected no name of an exam, got {exam}")
    if exams is not None:
        name, ids = exams
        if exam not in ids:
            raise ValueError(
                f"the file has {len(ids)} exams, expected one of them as in "
                f"records=[file.hdf5/{ids[0]}]; got {exam or 'none'} (exams: {', '.join(ids[:3])}, "
                "...)"
            )
        row = _samples(datasets[name], ids.index(exam))
        return [(_last(name), row), *_attributes(file, datasets[name])]
    _check_one_recording(datasets)
    samples, others = choose_arrays({name: each.size for name, each in datasets.items()})
    arrays = [(_last(name), _values(file, datasets[name])) for name in samples]
    for name in samples:
        arrays += _attributes(file, datasets[name])
    for name in others:
        try:
            arrays.append((_last(name), _values(file, datasets[name])))
        except ValueError:
            if is_named(name):
                raise
    return arrays


def _check_one_recording(datasets: Iterable[str]) -> None:
    """Refuse signals in several groups, and two datasets that mean the same."""
    places: dict[str, list[str]] = {}
    for name in sorted(datasets):
        key = "" if normalized_key(_last(name)) in SIGNAL_KEYS else lead_name(_last(name))
        if not key or key in LEADS:
            places.setdefault(key, []).append(name)
    groups = {name.rpartition("/")[0] for name in places.pop("", [])}
    several = next(filter(lambda names: len(names) > 1, places.values()), [])
    if several or len(groups) > 1:
        raise ValueError(
            f"datasets of more than one recording: {', '.join(several or sorted(groups))[:100]}; "
            "expected one recording in a file"
        )


def _last(name: str) -> str:
    """Return the name of a dataset without those of its groups."""
    return name.rpartition("/")[2]


def _datasets(file: Any) -> dict[str, Any]:
    """Return the datasets of a file by their names, but for empty ones and those of other files."""
    import h5py

    found: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        is_own = name[:1] != "#" and "/#" not in name  # MATLAB keeps cells in groups with #
        if isinstance(item, h5py.Dataset) and item.shape is not None and is_own:
            found[name] = item

    file.visititems(add)  # not along soft and external links, which may lead to other files
    return found


def _exams(datasets: dict[str, Any]) -> tuple[str, list[str]] | None:
    """Return the name of the dataset with several exams and their identifiers; None if none."""
    several = [
        name
        for name, data in datasets.items()
        if len(data.shape) == 3 and data.shape[0] > 1 and normalized_key(_last(name)) in SIGNAL_KEYS
    ]
    if len(several) != 1:
        return None
    n_exams = datasets[several[0]].shape[0]
    for name, data in datasets.items():
        if normalized_key(_last(name)) in ID_KEYS and data.shape == (n_exams,):
            return several[0], texts(_samples(data))
    return several[0], [str(row) for row in range(n_exams)]


def _values(file: Any, data: Any) -> np.ndarray:
    """Return a dataset; text of MATLAB 7.3, characters or cells of them, as strings."""
    import h5py

    kind = ""
    if MATLAB_CLASS in data.attrs:
        kind = texts(np.asarray(data.attrs[MATLAB_CLASS]))[0]
    if kind == "char" and data.dtype == np.uint16 and data.size <= MAX_CHARACTERS:
        columns = np.atleast_2d(_samples(data))  # MATLAB's rows are columns of HDF5
        return np.array([_decoded(row) for row in columns.T] or [""])
    is_cell = kind == "cell" and h5py.check_ref_dtype(data.dtype) is h5py.Reference
    if not is_cell or data.size > MAX_NAMES or data.chunks or data.external or data.is_virtual:
        return _samples(data)
    cells: list[Any] = [file[reference] if reference else None for reference in data[...].ravel()]
    for cell in cells:
        is_text = isinstance(cell, h5py.Dataset) and cell.dtype == np.uint16
        if not is_text or cell.size > MAX_CHARACTERS // MAX_NAMES:
            raise ValueError(f"expected short strings in the cells of {data.name}")
    return np.array([_decoded(_samples(cell).ravel()) for cell in cells] or [""])


def _decoded(characters: np.ndarray) -> str:
    """Return text of characters in UTF-16."""
    return characters.astype("<u2").tobytes().decode("utf-16-le", "replace")


def _samples(data: Any, row: int | None = None) -> np.ndarray:
    """Return a dataset, or one row of it, after checking how it is stored.

    Raises
    ------
    ValueError
        If it is in another file, too large, or stored with another filter.
    """
    _check_storage(data)
    shape = data.shape if row is None else (1, *data.shape[1:])
    n_values = math.prod(shape)
    if 8 * n_values > MAX_BYTES:
        raise ValueError(f"a dataset of shape {shape}, expected at most {MAX_BYTES // 8} samples")
    is_id = normalized_key(_last(data.name)) in ID_KEYS
    if data.dtype.kind not in "iuf" and n_values > MAX_NAMES and not is_id:
        raise ValueError(f"expected at most {MAX_NAMES} strings, got {n_values}")
    values = np.asarray(data[...] if row is None else data[row : row + 1])
    return values if values.dtype.kind in "iuf" else _strings(values)


def _strings(values: np.ndarray) -> np.ndarray:
    """Return strings of HDF5 as an array of str."""
    return np.array(texts(values) or [""])


def _check_storage(data: Any) -> None:
    """Refuse datasets in other files, of other types, and with filters that might load code."""
    import h5py

    if data.is_virtual or data.external:
        raise ValueError(f"the dataset {data.name} is in another file, which is not opened")
    is_text = h5py.check_string_dtype(data.dtype) is not None
    if data.dtype.kind not in "iuf" and not is_text:
        raise ValueError(f"expected numbers in the dataset {data.name}, got {data.dtype}")
    properties = data.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    if not {each[0] for each in filters} <= FILTERS:
        names = ", ".join(each[3].decode() or str(each[0]) for each in filters)
        raise ValueError(f"the dataset {data.name} is stored with {names[:80]}, expected gzip")


def _attributes(file: Any, data: Any) -> list[tuple[str, np.ndarray]]:
    """Return the short attributes of a dataset, its groups and the file."""
    parts = data.name.strip("/").split("/")
    stated = []
    for item in (data, *(file["/".join(parts[:n])] for n in range(1, len(parts))), file):
        for name, value in item.attrs.items():
            values = np.asarray(value)
            stated.append((name, values if values.dtype.kind in "iuf" else _strings(values)))
    return [(name, each) for name, each in stated if normalized_key(name) not in SIGNAL_KEYS]
