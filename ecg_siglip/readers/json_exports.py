"""Read exports with lists of samples, as JSON or in the cells of a table, by their keys.

A recording is an object with a list of samples and a sampling rate, anywhere in a document. The
documents of AliveCor, Fitbit and Withings have readers of their own (``json_formats``).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from ecg_siglip.readers.arrays import LEAD_KEYS, RATE_KEYS, SIGNAL_KEYS
from ecg_siglip.readers.channels import MAX_PARSED_BYTES, Channel, Stated
from ecg_siglip.readers.selection import is_voltage, same_unit
from ecg_siglip.readers.statements import (
    SCALE_KEYS,
    UNIT_KEYS,
    check_scale,
    normalized_key,
    parse_rate,
    stated_scale,
)
from ecg_siglip.readers.text_encoding import decode
from ecg_siglip.signals.leads import LEADS, lead_name

MAX_OBJECTS = 10_000
MIN_SAMPLES = 50
MAX_SCALES = 64  # numbers of a list with the gain of each lead
# Objects next to or in a recording that state its rate and unit.
META_KEYS = ("metadata", "meta", "header", "info", "attributes", "properties", "parameters")
FITBIT_KEYS = ("scalingfactor", "millivoltsscalingfactor")
# Lists of samples that only watches write, which record lead I.
WATCH_KEYS = ("waveformsamples", "voltagemeasurements")
SAMPLE_KEYS = (*WATCH_KEYS, "samples", *SIGNAL_KEYS, "leads", "voltages", "values")
ECG_WORDS = re.compile(
    r'"(?:waveform_?Samples|voltage_?Measurements|sampling_?(?:frequency|rate)(?:_?hz|hertz)?|'
    r'sample_?rate)"|"ecg\w*"\s*:\s*\[\s*\{|"(?:signal|(?:lead\s?)?(?:I|II|V1))"\s*:\s*\[',
    re.I,
)
# `wearposition` of Withings: the right and the left wrist. What is worn on an arm measures blood
# pressure as well, and its unit is another in some exports.
WITHINGS_WRISTS = ("0", "1")
LIST_CELL = re.compile(r"(?:^|[,;\t])\s*\"?\[\s*-?\d")
MAX_LIST_AT = 2000  # characters before a list in a row
MAX_LISTS = 300_000  # pairs of time and voltage, or samples of several leads
Above = tuple[dict[str, Any], ...]
WATCH_LEAD = "the file names no lead; a watch records lead I"


def read_document(document: Any) -> Stated | None:
    """Return the recording in a JSON document.

    Parameters
    ----------
    document : dict or list
        Apple Health: ``voltageMeasurements`` in V, or in the unit that they state. Google Health:
        ``waveformSamples`` and ``millivoltsScalingFactor``, counts per mV. Others: ``fs``,
        ``units``, and a list for each lead or ``signal`` with ``leads``.

    Returns
    -------
    Stated or None
        None if there is no recording of a known form.

    Raises
    ------
    ValueError
        If there are several, or one is malformed.
    """
    found = [(item, above) for item, above in _objects(document) if _samples_key(item)]
    if len(found) > 1:
        raise ValueError(f"{len(found)} recordings in one file, expected one: split it into files")
    return _read_recording(*found[0]) if found else None


def is_ecg_json(head: bytes) -> bool:
    """Return whether the beginning of a JSON file has a key of an ECG."""
    return ECG_WORDS.search(decode(head)) is not None


def has_lists(lines: Sequence[str]) -> bool:
    """Return whether the rows below the first line of a table have lists of samples in cells."""
    names = map(normalized_key, re.split("[,;\t]", lines[0][:MAX_LIST_AT]))
    is_list = len(lines) > 1 and LIST_CELL.search(lines[1][:MAX_LIST_AT]) is not None
    return is_list and not set(SAMPLE_KEYS).isdisjoint(names)


def read_lists(text: str) -> Stated:
    """Read a CSV file with one recording per row, whose samples are a list in a cell.

    Raises
    ------
    ValueError
        As ``read_document``, or if there is more than one row.
    """
    if len(text) > MAX_PARSED_BYTES:
        raise ValueError(f"{len(text)} characters, expected at most {MAX_PARSED_BYTES}")
    lists: list[str] = []

    def take(match: re.Match[str]) -> str:
        lists.append(match[0])
        return f"[{len(lists) - 1}]"

    # The csv module does not read cells of the length of a recording.
    lines = re.sub(r"\[[^\[\]]*\]", take, text).splitlines()
    delimiter = max(",;\t", key=lines[0].count)
    names, *rows = [row for row in csv.reader(lines[:MAX_OBJECTS], delimiter=delimiter) if row]
    rows = [row for row in rows if any(cell.startswith("[") for cell in row)]
    if len(rows) != 1 or len(rows[0]) != len(names):
        raise ValueError(
            f"{len(rows)} recordings, one in each row, expected one: store it in a file of its own"
        )
    cells = dict(zip(map(str.strip, names), rows[0], strict=True))
    item: dict[str, Any] = {
        name: json.loads(lists[int(cell[1:-1])]) if re.fullmatch(r"\[\d+\]", cell) else cell
        for name, cell in cells.items()
    }
    if not _samples_key(item):
        raise ValueError(f"no list of samples in columns {', '.join(names)[:100]}")
    return _read_recording(item)


def _objects(document: Any) -> Iterator[tuple[dict[str, Any], Above]]:
    """Yield the objects of a document, each with those that enclose it and their metadata."""
    waiting: list[tuple[Any, Above]] = [(document, ())]
    n_objects = 0
    while waiting:
        item, above = waiting.pop()
        n_objects += 1
        if n_objects > MAX_OBJECTS:
            raise ValueError(f"expected at most {MAX_OBJECTS} objects, got more")
        if isinstance(item, dict):
            about = [each for key, each in item.items() if normalized_key(str(key)) in META_KEYS]
            metadata = [each for each in about if isinstance(each, dict)]
            yield item, (*above, *metadata)
            if _samples_key(item):
                continue
            above = (*above, item, *metadata)
        inner = item.values() if isinstance(item, dict) else item
        waiting += [(each, above) for each in inner if isinstance(each, dict) or _has_objects(each)]


def _has_objects(item: Any) -> bool:
    """Return whether a value is a list that begins with an object or list."""
    return isinstance(item, list) and bool(item) and isinstance(item[0], (dict, list))


def _samples_key(item: dict[str, Any]) -> str:
    """Return the key of the samples in an object that is a recording; "" if it is none."""
    keys = {normalized_key(str(key)): str(key) for key in item}
    if sum(lead_name(str(key)) in LEADS and _is_samples(item[key]) for key in item):
        return "*"
    for name in SAMPLE_KEYS:
        value = item.get(keys.get(name, ""))
        if _is_samples(value) or (isinstance(value, dict) and _samples_key(value) == "*"):
            return keys[name]
    return ""


def _is_samples(value: Any) -> bool:
    """Return whether a value is a long list of numbers, or lists or objects with numbers."""
    if not isinstance(value, list) or not value:
        return False
    if isinstance(value[0], list):
        return len(value) >= MIN_SAMPLES or _is_samples(value[0])
    if isinstance(value[0], dict):
        return len(value) >= MIN_SAMPLES and any("volt" in str(key).lower() for key in value[0])
    return len(value) >= MIN_SAMPLES and isinstance(value[0], (int, float, type(None)))


def _stated_above(above: Above, known: Collection[str]) -> list[Any]:
    """Return the values of known keys in the objects above a recording, of the nearest first."""
    pairs = [(normalized_key(str(key)), each) for item in above[::-1] for key, each in item.items()]
    return [each for key, each in pairs if key in known]


def _read_recording(item: dict[str, Any], above: Above = ()) -> Stated:
    """Return what an object with samples, and those above it, state."""
    keys = {normalized_key(str(key)): key for key in item}
    found = _samples_key(item)
    samples = item if found == "*" else item[found]
    rates = [parse_rate(str(item[keys[key]])) for key in keys if key in RATE_KEYS]
    rates += [
        parse_rate(str(each))
        for each in _stated_above(above, RATE_KEYS)
        if re.match(r"\d", str(each).strip())
    ]
    if any(abs(rate - rates[0]) > 1e-3 * rates[0] for rate in rates):
        raise ValueError(f"two sampling rates: {', '.join(f'{rate:g}' for rate in rates)} Hz")
    fs = rates[0] if rates else None
    unit = next((str(item[keys[key]]) for key in keys if key in UNIT_KEYS), "")
    units = [each for each in _stated_above(above, UNIT_KEYS) if is_voltage(str(each))]
    unit = unit or next(map(str, units), "")
    if is_voltage(unit) and not all(same_unit(unit, str(each)) for each in units):
        raise ValueError(f"several units: {', '.join(map(str, (unit, *units)))[:80]}")
    listed = {str(key): each if isinstance(each, list) else [each] for key, each in item.items()}
    listed |= {key: _stated_above(above, [key]) for key in SCALE_KEYS if key not in keys}
    scale = stated_scale((key, str(v)) for key, each in listed.items() for v in each[:MAX_SCALES])
    step_nv = item.get(keys.get("amplitudeResolution".casefold(), ""))
    warnings: list[str] = []
    if isinstance(samples, dict):
        lists = {str(key): _numbers(value) for key, value in samples.items() if _is_samples(value)}
        if step_nv is not None:  # AliveCor Kardia
            lists = {key: row * _positive(step_nv) for key, row in lists.items()}
            unit = "nV"
        else:
            check_scale(scale, [unit])
        return Stated([Channel(key, row, unit, fs) for key, row in lists.items()])
    check_scale(scale, [unit])
    names = next((item[keys[key]] for key in keys if key in LEAD_KEYS and key != found), None)
    if names is None:
        lists_above = (each for each in _stated_above(above, LEAD_KEYS) if _are_words(each))
        names = next(lists_above, None)
    names = [names] if isinstance(names, str) else names
    rows, unit = _rows(samples, unit, names)
    key = normalized_key(found)
    on_wrist = str(item.get(keys.get("wearposition", ""))) in WITHINGS_WRISTS
    if on_wrist and not unit:
        unit = "uV"
    is_watch = key in WATCH_KEYS or on_wrist
    step = next((item[keys[each]] for each in FITBIT_KEYS if each in keys), None)
    if step is not None:
        rows, unit = rows / _positive(step), "mV"
    if names is None and is_watch and len(rows) == 1:
        names, warnings = ["I"], [WATCH_LEAD]
    names = [""] * len(rows) if names is None else list(map(str, names))
    if len(names) != len(rows):
        raise ValueError(f"{len(names)} names of leads for {len(rows)} lists of samples")
    channels = [Channel(name, row, unit, fs) for name, row in zip(names, rows, strict=True)]
    return Stated(channels, (), warnings)


def _are_words(value: Any) -> bool:
    """Return whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _positive(value: Any) -> float:
    """Return the size of a step of the samples, or its inverse."""
    if not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"expected a scale of the samples above 0, got {str(value)[:40]}")
    return float(value)


def _rows(samples: list[Any], unit: str, names: Any) -> tuple[np.ndarray, str]:
    """Return a list of samples as rows of leads, and their unit."""
    first = samples[0]
    if isinstance(first, dict):
        key = next(key for key in first if "volt" in str(key).lower())
        units = {str(sample.get("units") or sample.get("unit") or "") for sample in samples}
        if len(units) > 1:
            raise ValueError(f"samples in several units: {', '.join(sorted(units))[:80]}")
        return _numbers([sample.get(key) for sample in samples])[None], units.pop() or unit or "V"
    if isinstance(first, list):
        if len(samples) > MAX_LISTS:
            raise ValueError(f"{len(samples)} lists of samples, expected at most {MAX_LISTS}")
        lengths = {len(row) for row in samples}
        if len(lengths) > 1:
            raise ValueError("lists of samples of different lengths")
        rows = np.stack([_numbers(row) for row in samples])
        if rows.shape[1] == 2 and names is None and rows.shape[0] > 2:
            # Time in s and voltage in V, as programs write what Apple Health has.
            return rows.T[1:], unit or "V"
        return (rows if rows.shape[0] < rows.shape[1] else rows.T), unit
    return _numbers(samples)[None], unit


def _numbers(values: list[Any]) -> np.ndarray:
    """Return a list of numbers as float64; NaN for null."""
    kinds = {type(value) for value in values}
    if not kinds <= {int, float, type(None)}:
        raise ValueError(f"expected numbers, got {', '.join(kind.__name__ for kind in kinds)}")
    return np.array(values, dtype=np.float64)
