"""Read ECGs in JSON, and tables with lists of samples in cells, by their keys.

A recording is an object with samples, anywhere in a document. What it, the objects around it and
their metadata state is read as that of arrays (``arrays.state_channels``). Only the watches have
rules of their own, as AliveCor, Apple, Fitbit, Google and Withings document them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ecg_siglip.readers.arrays import (
    LABEL_KEYS,
    LEAD_KEYS,
    MAX_NAMES,
    RATE_KEYS,
    SIGNAL_KEYS,
    numeric_signal,
    state_channels,
)
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.columns import is_lead
from ecg_siglip.readers.identity import DeviceResults, Identity, unless_malformed
from ecg_siglip.readers.json_identity import read_identity, read_results
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import UNIT_KEYS, normalized_key
from ecg_siglip.readers.text_encoding import decode
from ecg_siglip.signals.leads import lead_name

MAX_ROWS = 10_000
MIN_SAMPLES = 50
MAX_TEXT = 1000  # characters of a text that states something
# Objects next to or in a recording that state its rate and unit.
META_KEYS = ("metadata", "meta", "header", "info", "attributes", "properties", "parameters")
# Lists of samples that only watches write, which record lead I.
FITBIT_KEY, APPLE_KEY = "waveformsamples", "voltagemeasurements"
SAMPLE_KEYS = (
    FITBIT_KEY,
    APPLE_KEY,
    "samples",
    *SIGNAL_KEYS,
    "leads",
    "channels",
    "voltages",
    "values",
)
NAME_KEYS = LEAD_KEYS | LABEL_KEYS | {"name", "channel", "id", "code"}
# What differs between the leads of a recording: other values are those of several recordings.
OF_RECORDING = re.compile("date|time|start|patient|subject|record|session")
KARDIA_KEY = "amplituderesolution"
LEAD_BEFORE = re.compile("^lead(?=[IVa])")  # of Kardia
FITBIT_KEYS = ("scalingfactor", "millivoltsscalingfactor")
# `wearposition` of Withings: the right and the left wrist. What is worn on an arm measures blood
# pressure as well, and its unit is another in some exports.
WITHINGS_WRISTS = ("0", "1")
AMOUNT = re.compile(r"(\d*\.?\d+(?:e[+-]?\d+)?)\s*([^\d\s/]*)", re.I)
WATCH_LEAD = "the file names no lead; a watch records lead I"
ECG_WORDS = re.compile(
    r'"(?:amplitudeResolution|recordedAt|data12L|samples|ecgReadings|waveform_?Samples|'
    r"voltage_?Measurements|sampling_?(?:frequency|rate)(?:_?hz|hertz)?|sample_?rate|"
    r'lead(?:I|II|III))"|"ecg\w*"\s*:\s*\[\s*\{|"(?:signal|(?:lead\s?)?(?:I|II|V1))"\s*:\s*[\[{]|'
    r'"(?:lead|name|label|channel)"\s*:\s*"(?:lead\s?)?(?:I|II|V1)"',
    re.I,
)
OTHERS = {
    "data12L": "a Kardia 12L recording, which does not state the size of its counts: export it as "
    "PDF with data or as SCP-ECG",
    "resourceType": "a FHIR resource, which is not read: export the ECG as DICOM",
}
LIST = re.compile(r"\[\s*(?:[-.\d]|null)[^\[\]]*\]")
LIST_CELL = re.compile(r"(?:^|[,;\t])\s*\"?\[\s*-?\d")
MAX_LIST_AT = 2000  # characters before a list in a row
Above = tuple[dict[str, Any], ...]


def read_json(content: bytes) -> Stated:
    """Read an ECG in JSON.

    Parameters
    ----------
    content : bytes
        As ``read_document``.

    Returns
    -------
    Stated
        NaN where a sample is null.

    Raises
    ------
    ValueError
        As ``read_document``, or if there is no recording.
    """
    document = json.loads(content)
    first = document[0] if isinstance(document, list) and document else document
    first = first if isinstance(first, dict) else {}
    for key, what in OTHERS.items():
        if key in first:
            raise ValueError(what)
    if stated := read_document(document):
        return stated
    keys = ", ".join(str(key)[:20] for key in list(first)[:5]) or "none"
    raise ValueError(
        "expected a recording of Kardia, Fitbit or Withings, or lists of samples by the names of "
        f"leads, got the keys {keys}"
    )


def is_ecg_json(head: bytes) -> bool:
    """Return whether the beginning of a JSON file has a key of an ECG."""
    return ECG_WORDS.search(decode(head)) is not None


def read_document(document: Any) -> Stated | None:
    """Return the recording in a JSON document.

    Parameters
    ----------
    document : dict or list
        AliveCor Kardia: ``samples`` in counts of ``amplitudeResolution`` nV, at ``frequency``;
        as recorded, not as filtered. Apple Health: ``voltageMeasurements`` in V, or in the unit
        that they state. Fitbit and Google Health: ``waveformSamples`` and their scaling factor,
        counts per mV. Withings: ``signal`` in uV and ``sampling_frequency``. Others: ``fs``,
        ``units``, and a list or an object for each lead, or ``signal`` with ``leads``.

    Returns
    -------
    Stated or None
        None if there is no recording of a known form.

    Raises
    ------
    ValueError
        If there are several, or one is malformed.
    """
    found = list(_recordings(document))
    if not found:
        return None
    names = [_own_name(item, key) for item, _, key in found]
    if len(found) == 1 and not is_lead(names[0]):
        names = [""]
    leads = [lead_name(name) for name in names]
    one = {
        (normalized_key(key), str(value)[:MAX_TEXT])
        for item, *_ in found
        for key, value in item.items()
        if OF_RECORDING.search(key.lower()) and isinstance(value, (str, int, float))
    }
    is_one = all(names) and len(set(leads)) == len(leads) and len(dict(one)) == len(one)
    if len(found) > 1 and not (is_one and any(map(is_lead, names))):
        raise ValueError(f"{len(found)} recordings in one file, expected one: split it into files")
    # What is stated for all leads need not hold for a respiration.
    parts = [
        _read_recording(item, above, name, key)
        if is_lead(name) or len(found) == 1
        else _read_recording(item, (), name, key)
        for (item, above, key), name in zip(found, names, strict=True)
    ]
    objects = (found[0][0], *found[0][1])
    verdict = document.get("algorithmDetermination") if isinstance(document, dict) else None
    return Stated(
        [channel for part in parts for channel in part.channels],
        [str(verdict)[:200]] if verdict else [],
        list(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        next((part.scale for part in parts if part.scale), ""),
        unless_malformed(lambda: read_identity(objects), Identity()),
        unless_malformed(lambda: read_results(objects), DeviceResults()),
    )


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
    # The csv module does not read cells of the length of a recording.
    lists, lines = iter(LIST.findall(text)), LIST.sub("[]", text).splitlines()
    delimiter = max(",;\t", key=lines[0].count)
    names, *rows = [row for row in csv.reader(lines[:MAX_ROWS], delimiter=delimiter) if row]
    rows = [row for row in rows if "[]" in row]
    if len(rows) != 1 or len(rows[0]) != len(names):
        raise ValueError(
            f"{len(rows)} recordings, one in each row, expected one: store it in a file of its own"
        )
    cells = [json.loads(next(lists)) if cell == "[]" else cell for cell in rows[0]]
    stated = read_document(dict(zip(map(str.strip, names), cells, strict=True)))
    if stated is None:
        raise ValueError(f"no list of samples in columns {', '.join(names)[:100]}")
    return stated


def _recordings(document: Any) -> Iterator[tuple[dict[str, Any], Above, str]]:
    """Yield the objects with samples, each with the objects that enclose it, and its key."""
    waiting: list[tuple[Any, Above, str]] = [(document, (), "")]
    while waiting:
        item, above, key = waiting.pop()
        inner = [(key, each) for each in item] if isinstance(item, list) else list(item.items())
        if isinstance(item, dict):
            if _samples_key(item):
                yield item, above, key
                continue
            above = (item, *above)
            if isinstance(item.get("raw"), dict):  # AliveCor Kardia, as recorded and as filtered
                inner = [(name, each) for name, each in inner if name != "enhanced"]
        # In the order of the document.
        waiting += [
            (each, above, str(name))
            for name, each in reversed(inner)
            if isinstance(each, dict) or _has_objects(each)
        ]


def _has_objects(item: Any) -> bool:
    """Return whether a value is a list that begins with an object or list."""
    return isinstance(item, list) and bool(item) and isinstance(item[0], (dict, list))


def _samples_key(item: dict[str, Any]) -> str:
    """Return the key of the samples in an object that is a recording; "" if it is none."""
    if any(is_lead(str(key)) and _is_samples(value) for key, value in item.items()):
        return "*"
    keys = {normalized_key(str(key)): str(key) for key in item}
    for name in filter(keys.__contains__, SAMPLE_KEYS):
        value = item[keys[name]]
        if _is_samples(value) or (isinstance(value, dict) and _samples_key(value) == "*"):
            return keys[name]
    return ""


def _is_samples(value: Any) -> bool:
    """Return whether a value is a long list of numbers, or lists or objects with numbers."""
    if not isinstance(value, list) or not value:
        return isinstance(value, np.ndarray)
    first = value[0]
    if len(value) < MIN_SAMPLES:
        return isinstance(first, list) and _is_samples(first)
    is_voltage_of_time = isinstance(first, dict) and "volt" in " ".join(map(str, first)).lower()
    return is_voltage_of_time or isinstance(first, (list, int, float, type(None)))


def _own_name(item: dict[str, Any], key: str) -> str:
    """Return the name of a lead that an object states, or its key."""
    texts = [
        each
        for name, each in item.items()
        if normalized_key(str(name)) in NAME_KEYS and isinstance(each, str)
    ]
    return next(filter(is_lead, [*texts, key]), (texts or [""])[0])


def _read_recording(item: dict[str, Any], above: Above, name: str, key: str) -> Stated:
    """Return what an object with samples, and those above it, state; of one lead with its name."""
    found = _samples_key(item)
    samples, stated = item if found == "*" else item[found], _statements(item)
    signals: np.ndarray | dict[str, np.ndarray]
    warnings = ["the file has only the signal as filtered by AliveCor"] if key == "enhanced" else []
    if isinstance(samples, list) and isinstance(samples[0], dict):
        samples, unit = _voltages(samples)
        stated += [("units", unit)] if unit else []
    for around in above:
        stated += [pair for pair in _statements(around) if _holds_below(*pair)]
    step, is_watch = _watch_scale(normalized_key(found), samples, stated)
    arrays = [(each, _array(value)) for each, value in stated]
    others = [(each, array) for each, array in arrays if array is not None]
    if isinstance(samples, dict):
        rows = [(str(each), value) for each, value in samples.items() if _is_samples(value)]
        signals = {LEAD_BEFORE.sub("", each): step * _numbers(value) for each, value in rows}
        if len(signals) < len(rows):
            raise ValueError(f"two lists of samples of one lead: {', '.join(samples)[:80]}")
    else:
        signal = numeric_signal(step * _numbers(samples))
        if normalized_key(found) == APPLE_KEY and signal.shape[1] == 2:  # time in s and voltage
            signal = signal.T[1:]
        if (
            is_watch
            and not name
            and not any(normalized_key(each) in LEAD_KEYS for each, _ in others)
        ):
            name, warnings = "I", [*warnings, WATCH_LEAD]
        signals = {name: signal[0]} if name and len(signal) == 1 else signal
    channels = state_channels(signals, others)
    return channels._replace(warnings=[*warnings, *channels.warnings])


def _statements(item: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the values that an object and those in it state, by names.

    Those in metadata have their own name; any other, as ``gain`` in ``calibration``, has that of
    the object before it.
    """
    pairs = [(str(key), value) for key, value in item.items() if not _is_samples(value)]
    objects = [pair for pair in pairs if isinstance(pair[1], dict) and not _samples_key(pair[1])]
    for outer, inner in objects:
        before = "" if normalized_key(outer) in META_KEYS else f"{outer} "
        pairs += [(f"{before}{key}", value) for key, value in inner.items()]
    return pairs


def _holds_below(key: str, value: Any) -> bool:
    """Return whether a value may state something about the objects in the one that has it."""
    name, text = normalized_key(key), str(value).strip()
    is_other = name in RATE_KEYS and not text[:1].isdigit()
    return not is_other and (name not in UNIT_KEYS or is_voltage(text))


def _watch_scale(found: str, samples: Any, stated: list[tuple[str, Any]]) -> tuple[float, bool]:
    """Return the size of a count of a watch, and whether it is one that records lead I.

    Parameters
    ----------
    found : str
        Normalized key of the samples.
    samples : list or dict
    stated : list of pairs
        In which the unit replaces what states the size of a count.
    """
    own = {normalized_key(key): value for key, value in reversed(stated)}
    has_unit = any(own.get(key) for key in UNIT_KEYS)
    is_flat = isinstance(samples, list) and not isinstance(samples[0], list)
    is_watch = found == APPLE_KEY or (found == FITBIT_KEY and is_flat)
    key, step, unit = "", 1.0, "V" if found == APPLE_KEY and not has_unit else ""
    amount = AMOUNT.fullmatch(str(own.get(KARDIA_KEY)).strip())
    if found == FITBIT_KEY and (scales := [each for each in FITBIT_KEYS if each in own]):
        key, step, unit = scales[0], 1.0 / _positive(own[scales[0]], scales[0]), "mV"
    elif amount and not has_unit and is_voltage(amount[2]):
        key, step, unit = KARDIA_KEY, _positive(amount[1], KARDIA_KEY), amount[2]
    elif own.get(KARDIA_KEY) is not None and found == "samples" and "frequency" in own:
        key, step = KARDIA_KEY, _positive(own[KARDIA_KEY], "amplitudeResolution in nV")
        key, step, unit = ("", 1.0, "") if has_unit else (key, step, "nV")
    elif found == "signal" and is_flat and {"wearposition", "samplingfrequency"} & own.keys():
        is_watch = str(own.get("wearposition", "1")) in WITHINGS_WRISTS
        has_names = any(each in own for each in LEAD_KEYS)
        unit = "uV" if is_watch and not has_unit and not has_names else ""
    stated[:] = [pair for pair in stated if normalized_key(pair[0]) != key]
    stated += [("unit", unit)] if unit else []
    return step, is_watch


def _positive(value: Any, key: str) -> float:
    """Return the size of a step of the samples, or its inverse."""
    if type(value) not in (int, float, str) or not 0 < float(value) < np.inf:
        raise ValueError(f"expected {key} above 0, got {str(value)[:40]}")
    return float(value)


def _array(value: Any) -> np.ndarray | None:
    """Return numbers or texts as an array; None for any other value, and for long ones."""
    values = value if isinstance(value, list) else [value]
    is_text = all(type(each) is str and len(each) <= MAX_TEXT for each in values)
    is_number = all(type(each) in (int, float) and abs(each) < 1e300 for each in values)
    if not 0 < len(values) <= MAX_NAMES or not (is_text or is_number):
        return None
    return np.array(values)


def _voltages(samples: list[Any]) -> tuple[list[Any], str]:
    """Return the voltages in a list of objects, and their unit."""
    key = next(key for key in samples[0] if "volt" in str(key).lower())
    units = {str(sample.get("units") or sample.get("unit") or "") for sample in samples}
    if len(units) > 1:
        raise ValueError(f"samples in several units: {', '.join(sorted(units))[:80]}")
    return [sample.get(key) for sample in samples], units.pop()


def _numbers(values: Any) -> np.ndarray:
    """Return a list of numbers, or of lists of them, as float64; NaN for null."""
    if isinstance(values, np.ndarray):
        return values
    if values and isinstance(values[0], list):
        if len({len(row) for row in values}) > 1:
            raise ValueError("lists of samples of different lengths")
        return np.stack([_numbers(row) for row in values])
    kinds = {type(value) for value in values}
    if not kinds <= {int, float, type(None)}:
        raise ValueError(f"expected numbers, got {', '.join(kind.__name__ for kind in kinds)}")
    numbers = np.array(values, dtype=np.float64)
    if np.isinf(numbers).any():
        raise ValueError("expected finite samples, got infinite ones")
    return numbers
