"""Kardia, Fitbit and Withings JSON: the same signal as written, or an error."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import assert_refused, ecg, kardia, write

from ecg_siglip.readers.json_formats import is_ecg_json
from ecg_siglip.readers.record import read_record

CASE = SHARED / "cases" / "tables" / "kardia.json"
ONE = [0, 100, -200, None, 300] * 100


def block(**changed: object) -> dict:
    return {
        "samples": {"leadI": ONE},
        "frequency": 300,
        "mainsFrequency": 60,
        "amplitudeResolution": 500,
    } | changed


def written(folder: Path, document: object) -> Path:
    return write(folder, json.dumps(document).encode(), "json")


def test_the_case_is_lead_one_at_300_hz():
    if not CASE.is_file():
        pytest.skip(f"needs {CASE}")
    record = read_record(CASE)
    stated = json.loads(CASE.read_bytes())["data"]
    assert (record.leads, record.fs) == (("I",), 300)
    expected = np.array(stated["samples"]["leadI"]) * stated["amplitudeResolution"] / 1e6
    np.testing.assert_allclose(record.signal[0], expected, atol=1e-6)


def test_kardia_as_ecgdatakit_reads_it(tmp_path: Path):
    from ecgdatakit.parsing.parsers.alivecor_kardia import AliveCorKardiaParser

    path = write(tmp_path, kardia(ecg()), "json")
    record, other = read_record(path), AliveCorKardiaParser().parse(path)
    assert record.fs == other.leads[0].sampling_rate
    assert [name.lower() for name in record.leads] == [lead.label.lower() for lead in other.leads]
    for row, lead in zip(record.signal, other.leads, strict=True):
        np.testing.assert_allclose(1000 * row, lead.to_physical().samples, atol=1e-3)


@pytest.mark.parametrize("key", ["raw", "enhanced", None])
def test_the_recorded_signal_is_preferred(tmp_path: Path, key: str | None):
    blocks = {"enhanced": block(samples={"leadI": [1] * 500}), "raw": block()}
    data = block() if key is None else {key: block()} if key == "enhanced" else blocks
    record = read_record(written(tmp_path, {"data": data, "algorithmDetermination": "normal"}))
    np.testing.assert_allclose(record.signal[0, :3], [0, 0.05, -0.1], atol=1e-7)
    assert np.isnan(record.signal[0, 3])
    assert record.comments == ("normal",)
    assert len(record.warnings) == (key == "enhanced")


def test_what_kardia_does_not_state_is_needed(tmp_path: Path):
    path = written(tmp_path, {"data": block(amplitudeResolution=None)})
    assert_refused(path, "read.gain")
    np.testing.assert_allclose(read_record(path, gain=2000).signal[0, 1], 0.05, atol=1e-7)
    assert_refused(written(tmp_path, {"data": block(frequency=None)}), "read.fs")


def test_fitbit_and_withings(tmp_path: Path):
    reading = {"waveformSamples": ONE, "samplingFrequencyHz": "250", "scalingFactor": 10000}
    for document in ({"ecgReadings": [reading]}, [reading], reading):
        record = read_record(written(tmp_path, document))
        assert (record.leads, record.fs) == (("I",), 250)
        np.testing.assert_allclose(record.signal[0, :3], [0, 0.01, -0.02], atol=1e-7)
    assert_refused(written(tmp_path, {"ecgReadings": [reading] * 2}), "2 recordings in one file")
    body = {"signal": ONE, "sampling_frequency": 300}
    for document in ({"status": 0, "body": body}, body):
        record = read_record(written(tmp_path, document))
        np.testing.assert_allclose(record.signal[0, :3], [0, 0.1, -0.2], atol=1e-7)
        assert (record.leads, record.fs) == (("I",), 300)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": 1, "b": 2}, "got the keys a, b"),
        ({}, "got the keys none"),
        ([{}], "got the keys none"),
        ([{"data": block()}] * 2, "2 recordings"),
        ({"resourceType": "Observation"}, "a FHIR resource, which is not read"),
        ({"data12L": {"samples": {"leadI": ONE}}}, "Kardia 12L"),
        ({"data": block(samples={})}, "got the keys data"),
        ({"data": block(samples={"leadI": "1,2"})}, "got the keys data"),
        ({"data": block(samples={"leadI": [*ONE, "2"]})}, "expected numbers, got"),
        ({"data": block(samples={"leadI": [*ONE, True]})}, "expected numbers, got"),
        ({"data": block(samples={"leadI": [*ONE, [2]]})}, "expected numbers, got"),
        ({"data": block(samples={"leadI": ONE, "I": ONE})}, "two lists of samples of one lead"),
        ({"data": block(samples={"leadI": [*ONE, float("inf")]})}, "finite samples"),
        ({"data": block(samples={"leadI": [*ONE, 10**400]})}, "malformed JSON (OverflowError"),
        ({"data": block(frequency="x")}, "a sampling rate in Hz, got 'x'"),
        ({"data": block(frequency=True)}, "read.fs"),
        ({"data": block(amplitudeResolution=0)}, "amplitudeResolution in nV above 0, got 0"),
        ({"waveformSamples": ONE, "scalingFactor": 0}, "scalingfactor above 0, got 0"),
        ({"data": 1}, "got the keys data"),
        ({"data": {"raw": 1}}, "got the keys data"),
    ],
)  # fmt: skip
def test_other_json_is_refused(tmp_path: Path, document: object, message: str):
    assert_refused(written(tmp_path, document), message)


@pytest.mark.parametrize(
    "content", [b"{", b'{"a":' + b"[" * 100_000, b"{" * 100_000, b'{"\xff":1}']
)
def test_malformed_json_is_refused(tmp_path: Path, content: bytes):
    assert_refused(write(tmp_path, content), "JSON")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"data": {"samples": {"leadI": [1', True),
        (b'{"ecgReadings": [', True),
        (b'{"name": "package", "version": 1}', False),
        (b'{"type": "FeatureCollection"}', False),
    ],
)
def test_ecgs_among_json_files_are_found_by_their_keys(head: bytes, expected: bool):
    assert is_ecg_json(head) == expected
