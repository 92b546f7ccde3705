"""JSON of watches and programs: the same signal as written, in the documented unit, or an error."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import FS, assert_refused, ecg, kardia, write

from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.json_formats import is_ecg_json
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, lead_name

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
        ({"data": block(samples={"leadI": [*ONE, 10**400]})}, "JSON: damaged (OverflowError"),
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


# Programs

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
        ({"": UV.tolist()}, "got the keys "),
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
        ({"a": [{"b": 1}] * 20_000}, "expected a recording"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, document: object, message: str):
    assert_refused(write(tmp_path, json.dumps(document).encode()), message)


@pytest.mark.parametrize("content", [b"{", b'{"a":' * 100_000, b'{"a": 1} x'])
def test_malformed_documents_are_refused(tmp_path: Path, content: bytes):
    assert_refused(write(tmp_path, content), "JSON")


def test_other_documents_of_a_folder_are_no_records(tmp_path: Path):
    assert not is_record(write(tmp_path, b'{"name": "x", "fs": 3}', "json"))


# Leads as objects


def objects(**more: object) -> list[dict]:
    """Return an object for each lead."""
    return [
        {"name": lead, "unit": "uV", "samples": row.tolist(), **more}
        for lead, row in zip(LEADS, ecg(300), strict=True)
    ]


RESP = {"name": "Resp", "unit": "ohm", "fs": 50, "samples": [1.0] * 300}


@pytest.mark.parametrize(
    "document",
    [
        {"fs": FS, "leads": objects()},
        {"patient": {"name": "Doe"}, "ecg": {"channels": objects(samplingRate=FS)}},
        {"fs": f"{FS} Hz", "signals": [{"label": f"Lead {each['name']}", "unit": "uV",
         "data": each["samples"]} for each in objects()]},
        {"meta": {"fs": FS}, "waveforms": [*objects(), RESP]},
        {"fs": FS, "leads": {each["name"]: {"values": each["samples"], "units": "uV"}
         for each in objects()}},
        objects(fs=FS),
        {"fs": FS, "units": "uV", "ecg": {"data": LEAD_LISTS}},
        {"fs": FS, "waveforms": [*objects()[:11],
         {"name": "V6", "unit": "mV", "samples": (ecg(300)[11] / 1000).tolist()}]},
    ],
)  # fmt: skip
def test_leads_as_objects(tmp_path: Path, document: object):
    path = write(tmp_path, json.dumps(document).encode(), "json")
    record = read_record(path)
    assert (tuple(map(lead_name, record.leads)), record.fs) == (LEADS, FS)
    np.testing.assert_allclose(record.signal, ecg(300) / 1000, atol=1e-6)
    assert is_record(path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"fs": FS, "raw": objects(), "filtered": objects()}, "24 recordings in one file"),
        ([{**one, "date": i, "fs": FS} for i, one in enumerate(objects())], "12 recordings"),
        ({"leads": [{**one, "fs": 250 + i} for i, one in enumerate(objects())]}, "one sampling"),
        ({"fs": FS, "leads": objects(gain=2)}, "a gain of 2"),
    ],
)
def test_objects_that_are_not_one_recording_are_refused(
    tmp_path: Path, document: object, message: str
):
    assert_refused(write(tmp_path, json.dumps(document).encode()), message)


# Sizes of a step and other rates


@pytest.mark.parametrize(
    "scale",
    [
        *[{key: 0.5} for key in ("conversion", "adc_resolution", "lsb_uv", "uV/bit", "multiplier")],
        *[{"sensitivity": "0.5 uV/bit"}, {"calibration": {"gain": 0.5}}, {"adc": {"lsb": 0.5}}],
        *[{"metadata": {"scaling": 0.5}}, {"gain": dict.fromkeys(LEADS, 2)}],
        *[{"amplitude_resolution": 0.5}, {"amplitudeResolution": "0.5 uV"}],
    ],
)
def test_a_size_of_a_step_next_to_a_unit(tmp_path: Path, scale: dict):
    counts = {lead: [2 * value for value in row] for lead, row in LEAD_LISTS.items()}
    path = write(tmp_path, json.dumps({**PLAIN, "leads": counts, **scale}).encode())
    assert_refused(path, "and the unit uV: it is not clear", "read.gain=")
    np.testing.assert_allclose(read_record(path, gain=2000).signal, ecg(300) / 1000, atol=1e-6)


def test_an_amplitude_resolution_is_in_the_unit_next_to_it(tmp_path: Path):
    counts = {lead: [2 * value for value in row] for lead, row in LEAD_LISTS.items()}
    document = {"fs": FS, "leads": counts, "amplitude_resolution": "0.5 uV"}
    record = read_record(write(tmp_path, json.dumps(document).encode()))
    np.testing.assert_allclose(record.signal, ecg(300) / 1000, atol=1e-6)
    document["amplitude_resolution"] = 0.5
    assert_refused(write(tmp_path, json.dumps(document).encode()), "states no units")
    kardia_block = block(units="uV")
    assert_refused(written(tmp_path, {"data": kardia_block}), "and the unit uV: it is not clear")


def test_a_size_of_1_and_rates_of_the_device_do_not_matter(tmp_path: Path):
    more = {
        "gain": 1, "offset": 0, "original_fs": 1000, "adc": {"fs": 8000, "bits": 16},
        "native": {"sampling_rate": 2000}, "device": {"name": "x", "gain_mm_per_mV": "10 mm/mV"},
    }  # fmt: skip
    path = write(tmp_path, json.dumps(PLAIN | more).encode())
    record = read_record(path)
    assert record.fs == FS
    np.testing.assert_allclose(record.signal, ecg(300) / 1000, atol=1e-6)
    del more["gain"]
    document = {key: value for key, value in (PLAIN | more).items() if key != "fs"}
    assert_refused(write(tmp_path, json.dumps(document).encode()), "read.fs")
