"""JSON exports of watches and programs: the samples, in the unit that each of them documents."""

import json
from pathlib import Path

import numpy as np
import pytest
from writers import FS, assert_refused, ecg, write

from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

UV = ecg(1000)[0]
LEAD_LISTS = {lead: row.tolist() for lead, row in zip(LEADS, ecg(300), strict=True)}
PLAIN = {"fs": FS, "units": "uV", "leads": LEAD_LISTS}
WITHINGS = {"signal": UV.tolist(), "sampling_frequency": 300, "wearposition": 1}
FITBIT = {
    "startTime": "2022-09-28T17:12:30.222", "averageHeartRate": 70, "leadNumber": 1,
    "waveformSamples": (10 * UV.astype(int)).tolist(), "samplingFrequencyHz": "250",
    "scalingFactor": 10_000, "numberOfWaveformSamples": 1000,
}  # fmt: skip
GOOGLE = {
    "waveformSamples": (10 * UV.astype(int)).tolist(), "samplingFrequencyHertz": 250,
    "millivoltsScalingFactor": 10_000, "beatsPerMinuteAvg": "70",
}  # fmt: skip
APPLE = {
    "samplingFrequency": 512.617, "classification": "SinusRhythm",
    "voltageMeasurements": [[i / 512.617, value * 1e-6] for i, value in enumerate(UV)],
}  # fmt: skip
EXPORTER = {
    "samplingFrequency": 512, "numberOfVoltageMeasurements": 1000,
    "voltageMeasurements": [
        {"date": 1188745353.99 + i / 512, "voltage": float(value), "units": "mcV"}
        for i, value in enumerate(UV)
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "fs"),
    [
        ({"status": 0, "body": WITHINGS}, 300),
        ({"ecgReadings": [FITBIT], "pagination": {"limit": 1}}, 250),
        ({"electrocardiogram": GOOGLE}, 250),
        ([APPLE], 512.617),
        ({"data": {"ecg": [EXPORTER], "metrics": []}}, 512),
    ],
)
def test_watches_and_their_programs(tmp_path: Path, document: object, fs: float):
    path = write(tmp_path, json.dumps(document).encode(), "json")
    record = read_record(path)
    assert (record.leads, record.fs) == (("I",), pytest.approx(fs))
    np.testing.assert_allclose(record.signal[0], UV / 1000, atol=1e-6)
    assert is_record(path)


@pytest.mark.parametrize(
    "document",
    [
        {"fs": FS, "units": "uV", "leads": LEAD_LISTS},
        {"recording": {"sampling_rate": FS, "unit": "uV", "signals": LEAD_LISTS}},
        {"sample_rate": "500 Hz", "units": "uV", **LEAD_LISTS},
        {"fs": FS, "units": "uV", "leads": LEADS, "signal": list(LEAD_LISTS.values())},
        {"fs": FS, "units": "uV", "leads": LEADS, "data": ecg(300).T.tolist()},
    ],
)
def test_plain_exports(tmp_path: Path, document: dict):
    record = read_record(write(tmp_path, json.dumps(document).encode(), "json"))
    assert (record.leads, record.fs) == (LEADS, FS)
    np.testing.assert_allclose(record.signal, ecg(300) / 1000, atol=1e-6)


@pytest.mark.parametrize("scale", [{"gain": 1000}, {"scale": 0.001}, {"offset": [3] * 12}])
@pytest.mark.parametrize("signal", [LEAD_LISTS, list(LEAD_LISTS.values())])
def test_a_gain_next_to_a_unit_is_refused(tmp_path: Path, scale: dict, signal: object):
    document = {"fs": FS, "unit": "mV", "lead_names": LEADS, "signals": signal, **scale}
    path = write(tmp_path, json.dumps(document).encode(), "json")
    assert_refused(path, "and the unit mV: it is not clear")


STATED = {"fs": FS, "units": "uV"}


@pytest.mark.parametrize(
    "document",
    [
        {**STATED, "data": {"signals": LEAD_LISTS}},
        {"metadata": STATED, "ecg": {"signals": LEAD_LISTS}},
        {"Meta": STATED, **LEAD_LISTS},
        {**STATED, "x": {"header": {"leads": LEADS}, "y": {"data": list(LEAD_LISTS.values())}}},
    ],
)
def test_what_enclosing_objects_and_metadata_state(tmp_path: Path, document: dict):
    path = write(tmp_path, json.dumps(document).encode(), "json")
    record = read_record(path)
    assert (record.leads, record.fs) == (LEADS, FS)
    np.testing.assert_allclose(record.signal, ecg(300) / 1000, atol=1e-6)
    assert_refused(path, "500", fs=250.0)
    for more in ({"fs": 250}, {"unit": "mV"}, {"gain": 200}):
        changed = {**document, "metadata": {**document.get("metadata", {}), **more}}
        changed = {"info": STATED, "record": changed}
        assert_refused(
            write(tmp_path, json.dumps(changed).encode(), "json"),
            {"fs": "two sampling rates", "unit": "several units", "gain": "a gain of 200"}[
                next(iter(more))
            ],
        )


def test_lists_in_the_cells_of_a_table(tmp_path: Path):
    """Withings' own export; the unit of what is worn on an arm is not certain."""
    row = f'2024-01-01T10:00:00+01:00,30,300,{{}},"{UV.tolist()}"\n'
    head = "date,duration,frequency,wear position,signal\n"
    path = write(tmp_path, (head + row.format(1)).encode(), "csv")
    record = read_record(path)
    assert (record.leads, record.fs) == (("I",), 300)
    np.testing.assert_allclose(record.signal[0], UV / 1000, atol=1e-6)
    assert is_record(path)
    assert_refused(write(tmp_path, (head + row.format(1) * 2).encode()), "2 recordings")
    assert_refused(write(tmp_path, (head + row.format(3)).encode()), "read.units", leads=["I"])


def test_missing_samples(tmp_path: Path):
    document = {"fs": FS, "units": "uV", "leads": {"II": [1, None, *([3] * 60)]}}
    record = read_record(write(tmp_path, json.dumps(document).encode()))
    assert np.isnan(record.signal[0, 1])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"ecg": [APPLE, APPLE]}, "2 recordings"),
        ({"a": [1, 2, 3]}, "got the keys a"),
        ({"electrocardiogram": {**GOOGLE, "millivoltsScalingFactor": 0}}, "above 0"),
        ({**PLAIN, "sampling_rate": 250}, "two sampling rates: 500, 250 Hz"),
        ({**PLAIN, "fs": "fast"}, "expected a sampling rate in Hz"),
        ({**PLAIN, "leads": {"I": [*UV.tolist(), "x"]}}, "expected numbers, got"),
        ({**PLAIN, "leads": {"I": [*UV.tolist(), True]}}, "expected numbers, got"),
        ({**PLAIN, "units": "mmHg"}, "expected units nV, uV, mV or V"),
        ({"signal": UV.tolist(), "units": "uV"}, "does not name its 1 leads"),
        (
            {"fs": FS, "leads": LEADS, "signal": [[1] * 60]},
            "expected 12 leads as named, got shape (1, 60)",
        ),
        ({"fs": FS, "signal": [[1] * 60, [1] * 50]}, "of different lengths"),
        ({"a": [{"b": 1}] * 20_000}, "expected at most 10000 objects"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, document: object, message: str):
    assert_refused(write(tmp_path, json.dumps(document).encode()), message)


@pytest.mark.parametrize("content", [b"{", b'{"a":' * 100_000, b'{"a": 1} x'])
def test_malformed_documents_are_refused(tmp_path: Path, content: bytes):
    assert_refused(write(tmp_path, content), "JSON")


def test_other_documents_of_a_folder_are_no_records(tmp_path: Path):
    assert not is_record(write(tmp_path, b'{"name": "x", "fs": 3}', "json"))
