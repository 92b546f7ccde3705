"""Identity next to recordings in JSON, and above the samples of an Apple export."""

import json

import pytest

from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.json_formats import read_json
from ecg_siglip.readers.json_identity import apple_table, read_identity, read_results

SAMPLES = [0, 1] * 100


@pytest.mark.parametrize(
    ("document", "recorded_at", "model"),
    [
        ({"recordedAt": "2020-01-31T09:59:30Z", "data": {"samples": {"leadI": SAMPLES},
          "frequency": 300, "amplitudeResolution": 500}}, "2020-01-31T09:59:30Z", ""),
        ({"ecgReadings": [{"startTime": "2020-01-31T09:59:30.100", "samplingFrequencyHz": 250,
          "scalingFactor": 10922, "waveformSamples": SAMPLES, "deviceName": "Sense"}]},
         "2020-01-31T09:59:30.1", "Sense"),
        ({"timestamp": 1580464770, "body": {"signal": SAMPLES, "sampling_frequency": 500,
          "wearposition": 1}}, "2020-01-31T09:59:30+00:00", ""),
        ({"data": {"ecg": [{"start": "2020-01-31 09:59:30 +0100", "samplingFrequency": 512,
          "voltageMeasurements": SAMPLES}]}}, "2020-01-31T09:59:30+01:00", ""),
    ],
)  # fmt: skip
def test_watches_state_the_time(document: dict, recorded_at: str, model: str):
    stated = read_json(json.dumps(document).encode())
    assert stated.identity == Identity(recorded_at=recorded_at, model=model)


def test_the_innermost_object_counts_and_other_values_do_not_matter():
    objects = [{"age": 50, "Device": ["x"]}, {"age": 60, "sex": "F", "timestamp": -5, "name": "J"}]
    assert read_identity(objects) == Identity(age="50 years", sex="female")
    assert read_identity([{"timestamp": float("nan"), "age": True}]) == Identity()


def test_heart_rate_and_classification_are_results():
    results = read_results([{"averageHeartRate": 61, "classification": "sinusRhythm"}])
    assert [(each.name, each.value) for each in results.measurements] == [("rate", 61.0)]
    assert results.statements == ("sinusRhythm",)


def test_an_apple_export_is_known_by_the_order_of_its_lines():
    lines = [["Nom", "Erika Muster"], ["Né", "1"], ["Date", "2020-01-31 09:59:30 +0100"],
             ["Classe", "Rythme sinusal"], ["Symptômes", ""], ["Version", "2"],
             ["Appareil", "Watch6", "7"]]  # fmt: skip
    identity, results = apple_table(lines)
    assert identity == Identity(
        recorded_at="2020-01-31T09:59:30+01:00", model="Watch6, 7", software="2"
    )
    assert results.statements == ("Rythme sinusal",)
    assert apple_table(lines[1:]) == (Identity(), DeviceResults())
