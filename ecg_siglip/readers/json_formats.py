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
from typing import Any, NamedTuple

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
from ecg_siglip.readers.channels import MAX_PARSED_BYTES, Stated
from ecg_siglip.readers.columns import is_lead
from ecg_siglip.readers.selection import is_voltage
from ecg_siglip.readers.statements import UNIT_KEYS, normalized_key
from ecg_siglip.readers.text_encoding import decode
from ecg_siglip.signals.leads import lead_name

MAX_OBJECTS = 10_000
MIN_SAMPLES = 50
MAX_LISTS = 300_000  # pairs of time and voltage, or samples of several leads
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
    r'lead(?:I|II|III))"|"ecg\w*"\s*:\s*\[\s*\{|"(?:signal|(?:lead\s?)?(?:I|II|V1))"\s*:\s*\[|'
    r'"(?:lead|name|label|channel)"\s*:\s*"(?:lead\s?)?(?:I|II|V1)"',
    re.I,
)
LIST_CELL = re.compile(r"(?:^|[,;\t])\s*\"?\[\s*-?\d")
MAX_LIST_AT = 2000  # characters before a list in a row
Above = tuple[dict[str, Any], ...]


class _Watch(NamedTuple):
    """What samples are, if a watch wrote them.

    Attributes
    ----------
    key : str
        Normalized key that states the size of a count; "" if there is none.
    step : float
        By which samples are to be multiplied.
    unit : str
        Their unit then; "" if they remain in that of the file.
    is_watch : bool
        Whether they are lead I if no lead is named.
    """

    key: str
    step: float
    unit: str
    is_watch: bool = False


def read_json(content: bytes) -> Stated:
    """Read an ECG in JSON.

    Parameters
    ----------
    content : bytes
        At most 16 MiB, as ``read_document``.

    Returns
    -------
    Stated
        NaN where a sample is null.

    Raises
    ------
    ValueError
        As ``read_document``, or if there is no recording.
    """
    if len(content) > MAX_PARSED_BYTES:
        raise ValueError(f"larger than {MAX_PARSED_BYTES >> 20} MiB")
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise ValueError("lists or objects in too many levels") from error
    first = document[0] if isinstance(document, list) and document else document
    first = first if isinstance(first, dict) else {}
    if "data12L" in first:
        raise ValueError(
            "a Kardia 12L recording, which does not state the size of its counts: export it as PDF "
            "with data or as SCP-ECG"
        )
    if "resourceType" in first:
        what = str(first["resourceType"])[:40]
        raise ValueError(f"a FHIR resource ({what}), which is not read: export the ECG as DICOM")
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
    parts = [
        _read_recording(item, above, name if len(found) > 1 or is_lead(name) else "", key)
        for (item, above, key), name in zip(found, names, strict=True)
    ]
    verdict = document.get("algorithmDetermination") if isinstance(document, dict) else None
    return Stated(
        [channel for part in parts for channel in part.channels],
        [str(verdict)[:200]] if verdict else [],
        list(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        next((part.scale for part in parts if part.scale), ""),
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
    stated = read_document(
        {
            name.strip(): json.loads(lists[int(cell[1:-1])])
            if re.fullmatch(r"\[\d+\]", cell)
            else cell
            for name, cell in zip(names, rows[0], strict=True)
        }
    )
    if stated is None:
        raise ValueError(f"no list of samples in columns {', '.join(names)[:100]}")
    return stated


def _recordings(document: Any) -> Iterator[tuple[dict[str, Any], Above, str]]:
    """Yield the objects with samples, each with the objects that enclose it, and its key."""
    waiting: list[tuple[Any, Above, str]] = [(document, (), "")]
    n_objects = 0
    while waiting:
        item, above, key = waiting.pop()
        n_objects += 1
        if n_objects > MAX_OBJECTS:
            raise ValueError(f"expected at most {MAX_OBJECTS} objects, got more")
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
    for name in SAMPLE_KEYS:
        value = item.get(keys.get(name, ""))
        if _is_samples(value) or (isinstance(value, dict) and _samples_key(value) == "*"):
            return keys[name]
    return ""


def _is_samples(value: Any) -> bool:
    """Return whether a value is a long list of numbers, or lists or objects with numbers."""
    if isinstance(value, np.ndarray):
        return True
    if not isinstance(value, list) or not value:
        return False
    if isinstance(value[0], list):
        return len(value) >= MIN_SAMPLES or _is_samples(value[0])
    is_voltages = isinstance(value[0], dict) and any("volt" in str(key).lower() for key in value[0])
    return len(value) >= MIN_SAMPLES and (
        is_voltages or isinstance(value[0], (int, float, type(None)))
    )


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
    others = _statements(item)
    samples = item if found == "*" else item[found]
    warnings = ["the file has only the signal as filtered by AliveCor"] if key == "enhanced" else []
    if isinstance(samples, list) and isinstance(samples[0], dict):
        samples, unit = _voltages(samples)
        others += [("units", unit)] if unit else []
    for around in above:
        others += [pair for pair in _statements(around) if _holds_below(*pair)]
    watch = _watch_scale("" if found == "*" else normalized_key(found), others)
    others = [pair for pair in others if normalized_key(pair[0]) != watch.key]
    others += [("unit", watch.unit)] if watch.unit else []
    arrays = [(each, _array(value)) for each, value in others]
    stated = [(each, array) for each, array in arrays if array is not None]
    if isinstance(samples, dict):
        rows = [
            (LEAD_BEFORE.sub("", str(each)), watch.step * _numbers(value))
            for each, value in samples.items()
            if _is_samples(value)
        ]
        if len(dict(rows)) < len(rows):
            raise ValueError(f"two lists of samples of one lead: {', '.join(samples)[:80]}")
        channels = state_channels(dict(rows), stated)
        return channels._replace(warnings=[*warnings, *channels.warnings])
    signal = numeric_signal(watch.step * _numbers(samples))
    if normalized_key(found) == APPLE_KEY and signal.shape[1] == 2:  # time in s and voltage
        signal = signal.T[1:]
    has_names = any(normalized_key(each) in LEAD_KEYS for each, _ in stated)
    if len(signal) == 1 and not name and watch.is_watch and not has_names:
        name, warnings = "I", [*warnings, WATCH_LEAD]
    channels = state_channels({name: signal[0]} if name and len(signal) == 1 else signal, stated)
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
    name = normalized_key(key)
    if name in RATE_KEYS:
        return bool(re.match(r"\d", str(value).strip()))
    return (
        isinstance(value, list)
        if name in LEAD_KEYS
        else name not in UNIT_KEYS or is_voltage(str(value))
    )


def _watch_scale(found: str, stated: Sequence[tuple[str, Any]]) -> _Watch:
    """Return the size of the counts of a watch by the key of its samples and what is stated."""
    own = {normalized_key(key): value for key, value in reversed(stated)}
    has_unit = any(own.get(key) for key in UNIT_KEYS)
    for key in FITBIT_KEYS:
        if key in own and found == FITBIT_KEY:
            return _Watch(key, 1.0 / _positive(own[key], key), "mV", True)
    step = own.get(KARDIA_KEY)
    amount = AMOUNT.fullmatch(str(step).strip())
    if amount and not has_unit and is_voltage(amount[2]):
        return _Watch(KARDIA_KEY, _positive(float(amount[1]), KARDIA_KEY), amount[2])
    if step is not None and not has_unit and found == "samples" and "frequency" in own:
        return _Watch(KARDIA_KEY, _positive(step, "amplitudeResolution in nV"), "nV")
    is_apple = found == APPLE_KEY
    if not has_unit and is_apple:
        return _Watch("", 1.0, "V", True)
    if found == "signal" and {"wearposition", "samplingfrequency"} & own.keys():
        is_wrist = str(own.get("wearposition", "1")) in WITHINGS_WRISTS
        return _Watch("", 1.0, "" if has_unit or not is_wrist else "uV", is_wrist)
    return _Watch("", 1.0, "", is_apple or found == FITBIT_KEY)


def _positive(value: Any, key: str) -> float:
    """Return the size of a step of the samples, or its inverse."""
    if not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"expected {key} above 0, got {str(value)[:40]}")
    return float(value)


def _array(value: Any) -> np.ndarray | None:
    """Return numbers or texts as an array; None for any other value, and for long ones."""
    values = value if isinstance(value, list) else [value]
    kinds = {type(each) for each in values[: MAX_NAMES + 1]}
    if len(values) > MAX_NAMES or not (kinds <= {int, float} or kinds == {str}) or not values:
        return None
    if any(len(str(each)) > MAX_TEXT for each in values):
        return None
    return np.array(values, float) if str not in kinds else np.array(values)


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
        if len(values) > MAX_LISTS:
            raise ValueError(f"{len(values)} lists of samples, expected at most {MAX_LISTS}")
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
