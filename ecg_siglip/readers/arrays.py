"""Read ECGs from NumPy's ``.npy`` and ``.npz``, and arrays with names of any other format.

Every reader takes the bytes of a file and returns what the file states.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.readers.channels import Stated, make_channels
from ecg_siglip.readers.columns import Column, is_lead, read_columns
from ecg_siglip.readers.limits import MAX_BYTES
from ecg_siglip.readers.selection import agreed_fs, is_voltage, same_unit
from ecg_siglip.readers.statements import (
    FS_KEYS,
    UNIT_KEYS,
    Statements,
    normalized_key,
    parse_rate,
    stated_scale,
)

MAX_NAMES = 1000  # values of an array that states something, as the names of the leads
MAX_SCALES = 64  # numbers of an array with the gain of each lead
UNKNOWN_RESOLUTION = ("resolution", "-1.0")  # of NWB
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
        If an array is missing, pickled or of another kind.
    """
    arrays = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            try:
                arrays += [(name, _array(archive.read(member)))] if name != member else []
            except ValueError:
                if is_named(name):
                    raise
    return read_arrays(arrays)


def is_named(name: str) -> bool:
    """Return whether an array of this name is a signal, or states its rate, unit or leads."""
    key = _key(name)
    return key in SIGNAL_KEYS or key in RATE_KEYS | UNIT_KEYS | LEAD_KEYS or is_lead(_last(name))


def _last(name: str) -> str:
    """Return the name of an array without those of the groups that it is in."""
    return name.rpartition("/")[2]


def _key(name: str) -> str:
    """Return the normalized name of an array without those of the groups that it is in."""
    return normalized_key(_last(name))


def choose_arrays(sizes: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Choose arrays by their names and sizes.

    Parameters
    ----------
    sizes : mapping of str to int
        Number of values of each array, by its name or its path.

    Returns
    -------
    samples : list of str
        The signal, or an array for each lead; or else the only large array, or the only array.
    others : list of str
        The arrays that are so small that they may state something about it.

    Raises
    ------
    ValueError
        If there are no samples, or several arrays may be.
    """
    many = [name for name, n_values in sizes.items() if n_values != 1]
    signals = [name for key in SIGNAL_KEYS for name in many if _key(name) == key]
    leads = [name for name in many if is_lead(_last(name))]
    unknown = [name for name in many if not is_named(name)]
    samples = signals[:1] or leads
    if not samples:
        samples = [name for name in unknown if sizes[name] > MAX_NAMES] or unknown
        if len(samples) != 1:
            got = ", ".join(sizes)[:100] or "none"
            raise ValueError(f"expected an array of samples such as `signal`, got {got}")
    small = [name for name, n in sizes.items() if n <= MAX_NAMES and name not in samples + signals]
    return samples, small


def read_arrays(arrays: Sequence[tuple[str, np.ndarray]]) -> Stated:
    """Return what arrays with names state.

    Parameters
    ----------
    arrays : sequence of pairs of str and ndarray
        Of numbers or strings: the signal, its sampling rate ``fs``, ``units`` and ``leads``, or
        other names that mean the same; or a signal for each lead. A single array is the signal
        whatever its name. Names may repeat: what they state has to agree.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If there is no signal or more than one, or an array has another type or shape.
    """
    named = {name: array for name, array in arrays if array.dtype.kind not in "SU"}
    samples, _ = choose_arrays({name: array.size for name, array in named.items()})
    others = [(name, array) for name, array in arrays if name not in samples]
    if is_lead(samples[0]):
        rows = {name: numeric_signal(named[name].ravel())[0] for name in samples}
        return state_channels(rows, others)
    return state_channels(numeric_signal(named[samples[0]]), others)


def state_channels(
    samples: np.ndarray | Mapping[str, np.ndarray], others: Sequence[tuple[str, np.ndarray]]
) -> Stated:
    """Return the channels of samples, with what other values of a file state about them.

    Parameters
    ----------
    samples : ndarray of shape (n_leads, n_samples) or (n_samples, n_leads), or mapping of str to
        ndarray of shape (n_samples,)
        Numbers; or by the name of each channel.
    others : sequence of pairs of str and ndarray
        Of numbers or strings, by their names: sampling rate, units, names of leads, and whatever
        may state the size of a step of the samples.

    Raises
    ------
    ValueError
        If two sampling rates, units, or numbers of leads contradict each other, or shape and names.
    """
    stated = [(normalized_key(name), array) for name, array in others]
    rates = [_rate(array) for key, array in stated if key in RATE_KEYS]
    if any(abs(rate - rates[0]) > 1e-3 * rates[0] for rate in rates):
        raise ValueError(f"two sampling rates: {', '.join(f'{rate:g}' for rate in rates)} Hz")
    fs = rates[0] if rates else None
    listed = [_strings(array) for key, array in stated if key in UNIT_KEYS]
    unit = _common_unit([each[0] for each in listed if len(each) == 1])
    known = RATE_KEYS | UNIT_KEYS | LEAD_KEYS | {*SIGNAL_KEYS}
    scale = stated_scale(
        (name, text)
        for name, array in others
        if normalized_key(name) not in known and array.size <= MAX_NAMES
        for text in texts(np.unique(array))[:MAX_SCALES]
        if (name, text) != UNKNOWN_RESOLUTION
    )
    names: list[str] | None
    if isinstance(samples, Mapping):
        names, rows = list(samples), list(samples.values())
    else:
        names = _lead_names(stated, samples.shape)
        rows = list(orient_signal(samples, len(names)) if names else oriented(samples))
        names = names or [""] * len(rows)
    units = next((each for each in listed if len(each) > 1), [""] * len(rows))
    if len(units) != len(rows):
        raise ValueError(f"expected a unit for each of {len(rows)} leads, got {len(units)}")
    if not any(names):
        channels = make_channels(np.array(rows), fs, [each or unit for each in units])
        return Stated(channels, scale=scale)
    columns = [Column(*each) for each in zip(names, rows, units, strict=True)]
    return read_columns(columns, Statements(fs, unit, scale=scale))


def _common_unit(units: Sequence[str]) -> str:
    """Return the unit that is stated, a voltage if one is; refuse two voltages."""
    voltages = [unit for unit in units if is_voltage(unit)]
    if any(not same_unit(unit, voltages[0]) for unit in voltages):
        raise ValueError(f"several units: {', '.join(voltages)[:80]}")
    return next(iter([*voltages, *units]), "")


def _lead_names(
    stated: Sequence[tuple[str, np.ndarray]], shape: tuple[int, ...]
) -> list[str] | None:
    """Return the names of the leads of a signal of a shape; None if there are none."""
    for key, array in stated:
        if key in LEAD_KEYS | LABEL_KEYS and array.dtype.kind in "SU":
            names = _strings(array)
            if len(names) == 1 and 1 not in shape:
                separator = r"[,;|]" if re.search(r"[,;|]", names[0]) else r"\s"
                names = [each.strip() for each in re.split(rf"\s*{separator}\s*", names[0])]
            if key in LEAD_KEYS or any(map(is_lead, names)):
                return names
    return None


def _rate(array: np.ndarray) -> float:
    """Return a sampling rate that is stored as an array, the same for each lead."""
    values = set(texts(array) if array.dtype.kind in "SU" else array.ravel().tolist())
    if len(values) != 1 or array.dtype.kind not in "iufSU":
        raise ValueError(f"expected one number as fs, got {array.dtype} of shape {array.shape}")
    value = values.pop()
    return parse_rate(value) if isinstance(value, str) else agreed_fs(float(value), None)


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
    """Read an array of numbers or strings in NumPy's format."""
    file = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, MemoryError) as error:
        raise ValueError(
            f"expected an array of numbers or strings, got {one_line(error)}: objects are not "
            "opened, save names as strings (dtype=str), or leave them out and give read.leads"
        ) from error
    n_more = len(content) - file.tell()
    if array.dtype.kind not in "iufSU" or n_more:
        raise ValueError(
            f"expected an array of numbers or strings, got {array.dtype} and {n_more} bytes more"
        )
    return array


def _strings(array: np.ndarray) -> list[str]:
    """Return the strings of an array."""
    if array.size > MAX_NAMES or array.dtype.kind not in "SU":
        raise ValueError(
            f"expected at most {MAX_NAMES} strings, got {array.dtype} of shape {array.shape}"
        )
    return texts(array)


def texts(array: np.ndarray) -> list[str]:
    """Return the values of an array as text."""
    return [
        (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
        for value in array.ravel().tolist()
    ]


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
