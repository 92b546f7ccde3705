"""Read ECGs from NumPy's ``.npy`` and ``.npz``, and arrays with names of any other format.

Every reader takes the bytes of a file and returns what the file states.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated, make_channels
from ecg_siglip.readers.limits import MAX_BYTES
from ecg_siglip.readers.selection import agreed_fs
from ecg_siglip.readers.statements import (
    FS_KEYS,
    SCALE_KEYS,
    UNIT_KEYS,
    check_scale,
    normalized_key,
    stated_scale,
)
from ecg_siglip.signals.leads import LEADS, lead_name

MAX_NAMES = 1000
# Names of arrays in an archive, normalized (`statements.normalized_key`); the first that occurs.
SIGNAL_KEYS = (
    "signal", "signals", "psignal", "ecg", "ecgs", "ecgdata", "tracings", "tracing", "data", "val",
    "waveform", "waveforms", "x",
)  # fmt: skip
RATE_KEYS = FS_KEYS | {"freq", "frequency", "sfreq", "srate"}
LEAD_KEYS = {
    "leads", "lead", "leadnames", "leadname", "signame", "signames", "channels", "channelnames",
    "chnames", "names", "leadorder", "leadlabels", "channellabels", "signalnames", "channelorder",
}  # fmt: skip
# Names of leads, or of findings in a data set.
LABEL_KEYS = {"labels", "label"}


def read_npy(content: bytes) -> Stated:
    """Read a NumPy array of shape (n_leads, n_samples) or (n_samples, n_leads).

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        The signal as it is stored; nothing else is stated.

    Raises
    ------
    ValueError
        If the array is not two-dimensional, does not contain real numbers, or is not as long as its
        header states.
    """
    return Stated(make_channels(oriented(numeric_signal(_array(content))), None, ""))


def read_npz(content: bytes) -> Stated:
    """Read a NumPy archive with the arrays ``signal`` and optionally ``fs``, ``units``, ``leads``.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Without ``leads``, the signal as it is stored.

    Raises
    ------
    ValueError
        If an array is missing, pickled, of another kind, or more than 256 MiB when unpacked.
    """
    if content.count(b"PK\x01\x02") > MAX_NAMES:
        raise ValueError(f"expected an archive of at most {MAX_NAMES} files, got more")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        names = [name for name in members if is_named(name)] or list(members)[:1]
        labels = [name for name in members if is_label(name) and name not in names]
        is_signal = any(normalized_key(name) in SIGNAL_KEYS for name in names)
        if not is_signal and len(members) != 1 and not any(map(_is_lead, names)):
            listed = ", ".join(archive.namelist())[:100]
            raise ValueError(f"expected an array `signal`, got {listed or 'nothing'}")
        names += [name for name in members if is_scale(name) and name not in names]
        n_bytes = sum(members[name].file_size for name in names + labels)
        if n_bytes > MAX_BYTES:
            raise ValueError(f"{n_bytes} bytes when unpacked, expected at most {MAX_BYTES}")
        arrays = {}
        for name in names:
            with archive.open(members[name]) as file:
                # Unpack no more than the archive states, whatever it contains.
                arrays[name] = _array(file.read(members[name].file_size))
        for name in labels:
            with archive.open(members[name]) as file, suppress(ValueError):  # objects
                arrays[name] = _array(file.read(members[name].file_size))
    return read_arrays(arrays)


def is_named(name: str) -> bool:
    """Return whether an array of this name is a signal, or states its rate, unit or leads."""
    known = RATE_KEYS | UNIT_KEYS | LEAD_KEYS
    key = normalized_key(name)
    return key in SIGNAL_KEYS or key in known or _is_lead(name)


def is_label(name: str) -> bool:
    """Return whether strings of this name may be the leads."""
    return normalized_key(name) in LABEL_KEYS


def is_scale(name: str) -> bool:
    """Return whether an array of this name states the size of a step of the samples."""
    return normalized_key(name) in SCALE_KEYS


def _is_lead(name: str) -> bool:
    """Return whether an array has the name of a lead."""
    return lead_name(name) in LEADS


def read_arrays(arrays: Mapping[str, np.ndarray]) -> Stated:
    """Return what arrays with names state.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of numbers or strings: the signal, its sampling rate ``fs``, ``units`` and ``leads``, or
        other names that mean the same; or a signal for each lead. A single array is the signal
        whatever its name.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If there is no signal or more than one, or an array has another type or shape.
    """
    keys = {normalized_key(name): name for name in arrays}
    rates = [_number(arrays[name]) for key, name in keys.items() if key in RATE_KEYS]
    fs = rates[0] if rates else None
    if any(rate != fs for rate in rates):
        raise ValueError(f"two sampling rates: {', '.join(f'{rate:g}' for rate in rates)} Hz")
    units = next((_strings(arrays[keys[key]]) for key in keys if key in UNIT_KEYS), [""])
    scales = [name for name in arrays if is_scale(name) and arrays[name].size <= MAX_NAMES]
    check_scale(stated_scale((name, str(v)) for name in scales for v in arrays[name].flat), units)
    of_leads = [name for name in arrays if _is_lead(name)]
    signals = [keys[key] for key in SIGNAL_KEYS if key in keys]
    others = [name for name in arrays if not (is_named(name) or is_label(name) or is_scale(name))]
    others = others or [name for name in arrays if is_label(name)]
    if of_leads and not signals:
        unit = units[0] if len(units) == 1 else ""
        rows = [arrays[name].ravel() for name in of_leads]
        signal_channels = [
            Channel(name, numeric_signal(row)[0], unit, fs)
            for name, row in zip(of_leads, rows, strict=True)
        ]
        return Stated(signal_channels)
    if not signals and len(others) != 1:
        raise ValueError(f"expected an array `signal`, got {', '.join(arrays)[:100] or 'nothing'}")
    signal = numeric_signal(arrays[(signals or others)[0]])
    names = _lead_names(arrays, signal.shape)
    signal = orient_signal(signal, len(names)) if names else oriented(signal)
    units = units * len(signal) if len(units) == 1 else units
    if len(units) != len(signal):
        raise ValueError(f"expected a unit for each of {len(signal)} leads, got {len(units)}")
    return Stated(make_channels(signal, fs, units, names))


def _lead_names(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> list[str] | None:
    """Return the names of the leads of a signal of a shape; None if there are none."""
    for name, array in arrays.items():
        may_be_leads = is_label(name) and array.dtype.kind in "SU" and array.size <= MAX_NAMES
        if normalized_key(name) in LEAD_KEYS or may_be_leads:
            names = _strings(array)
            if len(names) == 1 and 1 not in shape:
                separator = r"[,;|]" if re.search(r"[,;|]", names[0]) else r"\s"
                names = [each.strip() for each in re.split(rf"\s*{separator}\s*", names[0])]
            if not is_label(name) or any(map(_is_lead, names)):
                return names
    return None


def _number(array: np.ndarray) -> float:
    """Return a sampling rate that is stored as an array."""
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ValueError(f"expected one number as fs, got {array.dtype} of shape {array.shape}")
    return agreed_fs(float(array.ravel()[0]), None)


def orient_signal(signal: np.ndarray, n_leads: int) -> np.ndarray:
    """Return a signal with one row per lead, transposed if it has one column per lead.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples) or (n_samples, n_leads)
    n_leads : int

    Returns
    -------
    ndarray of shape (n_leads, n_samples)

    Raises
    ------
    ValueError
        If neither side has the length ``n_leads``, or both have.
    """
    if signal.shape == (n_leads, n_leads):
        raise ValueError(f"shape {signal.shape} does not distinguish leads from samples")
    if n_leads not in signal.shape:
        raise ValueError(f"expected {n_leads} leads as named, got shape {signal.shape}")
    return signal if signal.shape[0] == n_leads else signal.T


def oriented(signal: np.ndarray) -> np.ndarray:
    """Return a signal with one row per lead: an ECG has fewer leads than samples."""
    if signal.shape[0] == signal.shape[1]:
        raise ValueError(f"shape {signal.shape} does not distinguish leads from samples")
    return signal if signal.shape[0] < signal.shape[1] else signal.T


def _array(content: bytes) -> np.ndarray:
    """Read an array of numbers or strings in NumPy's format, after checking its size."""
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    version = npy.read_magic(file)
    readers: dict[Any, Callable[..., Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"expected an array of version 1.0 or 2.0, got {version}")
    shape, in_fortran_order, dtype = readers[version](file)
    if dtype.kind == "O":
        raise ValueError(
            "expected an array of numbers or strings, got Python objects, which are not opened: "
            "save names as strings (dtype=str), or leave them out and give read.leads"
        )
    if dtype.kind not in "iufSU":
        raise ValueError(f"expected an array of numbers or strings, got {dtype}")
    n_promised, n_bytes = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if n_promised != n_bytes or dtype.itemsize == 0:
        raise ValueError(f"the array promises {n_promised} bytes, the file has {n_bytes}")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if in_fortran_order else "C")


def _strings(array: np.ndarray) -> list[str]:
    """Return the strings of an array."""
    if array.size > MAX_NAMES or array.dtype.kind not in "SU":
        raise ValueError(
            f"expected at most {MAX_NAMES} strings, got {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind == "S":
        return [text.decode("utf-8", "replace").strip() for text in array.ravel()]
    return [str(text).strip() for text in array.ravel()]


def numeric_signal(array: np.ndarray) -> np.ndarray:
    """Return an array of real numbers as float64, with one row for a single lead."""
    if array.ndim == 3 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"expected numbers of shape (n_leads, n_samples), got {array.dtype} of shape "
            f"{array.shape}"
        )
    if 8 * array.size > MAX_BYTES:
        raise ValueError(f"{array.size} samples, expected at most {MAX_BYTES // 8}")
    return array.astype(np.float64)
