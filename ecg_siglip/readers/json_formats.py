"""Read ECGs in JSON: AliveCor Kardia, Fitbit and Withings. Other JSON is named as what it is."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from ecg_siglip.readers import json_exports
from ecg_siglip.readers.channels import MAX_PARSED_BYTES, Channel, Stated

KARDIA_LEADS = {"leadi": "I", "leadii": "II", "leadiii": "III"}
KEYS = re.compile(
    rb'"(?:amplitudeResolution|recordedAt|data12L|samples|lead(?:I|II|III)|ecgReadings|'
    rb'waveformSamples|samplingFrequencyHz|sampling_frequency)"'
)
MAX_LEADS = 64


def read_json(content: bytes) -> Stated:
    """Read an ECG in JSON.

    Parameters
    ----------
    content : bytes
        At most 16 MiB: a recording of AliveCor Kardia (``data`` with ``samples``, ``frequency`` in
        Hz and ``amplitudeResolution`` in nV), of Fitbit (``ecgReadings``) or of Withings
        (``signal`` in uV and ``sampling_frequency``); or another export with lists of samples
        (``json_exports``).

    Returns
    -------
    Stated
        NaN where a sample is null. Of Kardia the signal as recorded, not as filtered. Without a
        stated resolution samples are counts, whose size ``read.gain`` states.

    Raises
    ------
    ValueError
        If it is none of these, has several recordings, or a rate or a sample is no number.
    """
    if len(content) > MAX_PARSED_BYTES:
        raise ValueError(f"larger than {MAX_PARSED_BYTES >> 20} MiB")
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise ValueError("lists or objects in too many levels") from error
    readings = document.get("ecgReadings") if isinstance(document, dict) else document
    if isinstance(readings, list):
        if len(readings) != 1:
            raise ValueError(
                f"{len(readings)} recordings in one file, expected one: split it into files"
            )
        document = readings[0]
    if not isinstance(document, dict):
        raise ValueError("expected a recording of Kardia, Fitbit or Withings, got other JSON")
    if "data12L" in document:
        raise ValueError(
            "a Kardia 12L recording, which does not state the size of its counts: export it as PDF "
            "with data or as SCP-ECG"
        )
    if "resourceType" in document:
        what = str(document["resourceType"])[:40]
        raise ValueError(f"a FHIR resource ({what}), which is not read: export the ECG as DICOM")
    for read in (_kardia, _fitbit, _withings):
        if stated := read(document):
            return stated
    if stated := json_exports.read_document(document):
        return stated
    keys = ", ".join(str(key)[:20] for key in list(document)[:5]) or "none"
    raise ValueError(f"expected a recording of Kardia, Fitbit or Withings, got the keys {keys}")


def is_ecg_json(head: bytes) -> bool:
    """Return whether the beginning of a JSON document has keys of an ECG."""
    return KEYS.search(head) is not None


def _kardia(document: dict[str, Any]) -> Stated | None:
    """Read a recording of Kardia: the block ``data``, or ``data.raw`` of the interface."""
    block = document.get("data", document)
    block = block.get("raw", block.get("enhanced", block)) if isinstance(block, dict) else block
    if not isinstance(block, dict) or not isinstance(block.get("samples"), dict):
        return None
    leads, warnings = block["samples"], []
    if not 1 <= len(leads) <= MAX_LEADS:
        raise ValueError(f"expected 1 to {MAX_LEADS} leads, got {len(leads)}")
    if "raw" not in document.get("data", {}) and "enhanced" in document.get("data", {}):
        warnings.append("the file has only the signal as filtered by AliveCor")
    fs = None if block.get("frequency") is None else _number(block["frequency"], "frequency")
    step = block.get("amplitudeResolution")
    nv = 1.0 if step is None else _number(step, "amplitudeResolution")
    if not nv > 0:
        raise ValueError(f"expected an amplitudeResolution above 0 nV, got {nv:g}")
    unit = "" if step is None else "nV"
    channels = [
        Channel(KARDIA_LEADS.get(name.lower(), name), nv * _samples(values, name), unit, fs)
        for name, values in leads.items()
    ]
    verdict = document.get("algorithmDetermination")
    return Stated(channels, [str(verdict)[:200]] if verdict else [], warnings)


def _fitbit(document: dict[str, Any]) -> Stated | None:
    """Read a reading of Fitbit: lead I in counts and their number per mV."""
    if "waveformSamples" not in document:
        return None
    fs, gain = document.get("samplingFrequencyHz"), document.get("scalingFactor")
    samples = _samples(document["waveformSamples"], "I")
    unit = "" if gain is None else "mV"
    if gain is not None:
        per_mv = _number(gain, "scalingFactor")
        if not per_mv > 0:
            raise ValueError(f"expected a scalingFactor above 0 counts per mV, got {per_mv:g}")
        samples = samples / per_mv
    return Stated([Channel("I", samples, unit, fs and _number(fs, "samplingFrequencyHz"))])


def _withings(document: dict[str, Any]) -> Stated | None:
    """Read a signal of Withings: lead I in uV."""
    block = document.get("body", document)
    if not isinstance(block, dict) or "signal" not in block or "sampling_frequency" not in block:
        return None
    fs = _number(block["sampling_frequency"], "sampling_frequency")
    return Stated([Channel("I", _samples(block["signal"], "I"), "uV", fs)])


def _number(value: Any, field: str) -> float:
    """Return a finite number, which may be written as text."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        number = float(value) if len(str(value)) < 40 else float("nan")
        if np.isfinite(number):
            return number
    raise ValueError(f"expected a number as {field}, got {str(value)[:40]}")


def _samples(values: Any, name: str) -> np.ndarray:
    """Return a list of numbers as float64, NaN for null."""
    if not isinstance(values, list) or not all(
        value is None or type(value) in (int, float) for value in values
    ):
        raise ValueError(f"expected a list of numbers as samples of {name[:40]}, got other values")
    samples = np.array(values, np.float64)
    if np.isinf(samples).any():
        raise ValueError(f"expected finite samples of {name[:40]}, got infinite ones")
    return samples
