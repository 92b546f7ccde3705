"""The ONNX file predicts as the model does, for any number of records, and refuses bad ones."""

import hashlib
import json
import re
import sys

import numpy as np
import pytest
from helpers import beats, configured, export_onnx

from ecg_siglip import config
from ecg_siglip.core.command_line import PACKAGE_DIR
from ecg_siglip.export import export
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers import Record, read_record
from ecg_siglip.signals.leads import LEADS

onnx = pytest.importorskip("onnx", reason="needs the extra [export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")


@pytest.fixture(scope="module")
def exported(exported_file):
    return onnxruntime.InferenceSession(exported_file)


@pytest.fixture(scope="module")
def prepared_file(trained, tmp_path_factory):
    return export_onnx(trained, tmp_path_factory.mktemp("prepared"), input="prepared")


@pytest.fixture(scope="module")
def int8_file(trained, tmp_path_factory):
    return export_onnx(trained, tmp_path_factory.mktemp("int8"), precision="int8")


def golden(file):
    """Return the signal of the table next to a file, and its description."""
    description = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    table = file.with_name(description["golden"]["signal"])
    signal = np.loadtxt(table, delimiter=",", skiprows=1, dtype=np.float32).T
    return signal, description


@pytest.mark.parametrize("n", [1, 2, 17])
def test_for_prepared_signals_it_predicts_as_the_model(prepared_file, trained, n):
    session = onnxruntime.InferenceSession(prepared_file)
    predictor = Predictor.load(trained / "model", "cpu")
    signals = np.random.default_rng(n).integers(-1500, 1500, (n, 12, 1000)).astype(np.int16)
    (y_prob,) = session.run(None, {"signal": (signals / 1000).astype(np.float32)})
    assert y_prob == pytest.approx(predictor.probabilities(signals), abs=1e-4)


@pytest.mark.parametrize("fs", [100, 250, 500, 1000])
def test_for_recorded_signals_it_predicts_as_the_model(exported, trained, fs):
    predictor = Predictor.load(trained / "model", "cpu")
    signals = np.stack([beats(12 * fs, fs, seed) + seed for seed in range(3)])
    inputs = {"signal": signals, "fs": np.array([fs], np.float32)}
    y_prob, error = exported.run(["probabilities", "error"], inputs)
    records = [Record("x", signal, fs, LEADS, ()) for signal in signals]
    expected = predictor.probabilities(np.stack([predictor.prepare(r) for r in records]))
    assert error.tolist() == [0, 0, 0]
    assert y_prob == pytest.approx(expected, abs=1e-4)


def test_a_refused_record_has_no_probabilities(exported):
    signals = np.stack([beats(5000, 500), beats(5000, 500) * 1000])
    inputs = {"signal": signals.astype(np.float32), "fs": np.array([500], np.float32)}
    y_prob, error = exported.run(["probabilities", "error"], inputs)
    assert error.tolist() == [0, 4]
    assert np.isfinite(y_prob[0]).all() and np.isnan(y_prob[1]).all()
    stored = json.loads(exported.get_modelmeta().custom_metadata_map["errors"])
    assert stored["4"].endswith("not in mV")


@pytest.mark.parametrize("file", ["exported_file", "prepared_file", "int8_file"])
def test_the_ecg_next_to_the_file_has_the_stated_probabilities(file, request):
    file = request.getfixturevalue(file)
    signal, description = golden(file)
    expected = description["golden"]
    assert description["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    session = onnxruntime.InferenceSession(file)
    inputs = {"signal": signal[None]}
    if description["input"] == "recorded":
        assert expected["fs"] == 500 and signal.shape == (12, 5000)
        inputs["fs"] = np.array([500], np.float32)
    (row,) = session.run(["probabilities"], inputs)[0]
    assert list(expected["probabilities"]) == description["codes"]
    assert row == pytest.approx([*expected["probabilities"].values()], abs=expected["tolerance"])
    metadata = session.get_modelmeta().custom_metadata_map
    for key in metadata.keys() - {"fs_range"}:
        assert json.loads(metadata[key]) == description[key]


def test_the_ecg_next_to_the_file_is_read_by_the_package(exported_file, trained):
    _, description = golden(exported_file)
    record = read_record(exported_file.with_name("model.golden.csv"), fs=500, units="mV")
    predictor = Predictor.load(trained / "model", "cpu")
    y_prob = predictor.probabilities(predictor.prepare(record)[None])[0]
    assert y_prob == pytest.approx([*description["golden"]["probabilities"].values()], abs=1e-4)


def test_int8_is_smaller_and_close(exported_file, int8_file, prepared_file):
    signal, description = golden(exported_file)
    assert golden(int8_file)[1]["precision"] == "int8"
    inputs = {"signal": signal[None], "fs": np.array([500], np.float32)}
    (int8,) = onnxruntime.InferenceSession(int8_file).run(["probabilities"], inputs)[0]
    assert int8 == pytest.approx([*description["golden"]["probabilities"].values()], abs=0.1)
    kinds = {tensor.data_type for tensor in onnx.load(int8_file).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds


def test_its_metadata_have_what_prediction_needs(exported, trained):
    stored = json.loads((trained / "model" / "config.json").read_text())
    metadata = {
        key: json.loads(value)
        for key, value in exported.get_modelmeta().custom_metadata_map.items()
    }
    assert metadata["leads"][:4] == ["I", "II", "III", "aVR"]
    assert (metadata["fs"], metadata["n_samples"], metadata["units"]) == (100, 1000, "mV")
    assert metadata["preparation"] == stored["waveform"]
    assert metadata["codes"] == stored["codes"]
    assert metadata["simulated"] is True and "not for real ones" in metadata["use"]
    assert len(metadata["names"]) == len(metadata["codes"])
    assert metadata["thresholds"] == stored["thresholds"]
    assert metadata["about"]["train_folds"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_it_has_no_path_of_the_machine_and_no_note_of_the_code(exported_file):
    content = exported_file.read_bytes()
    assert str(PACKAGE_DIR).encode() not in content
    assert not re.search(rb"[\w.-]+/[\w.-]+/[\w.-]+\.py|stack_trace|site-packages", content)
    assert not re.search(rb"(^|[^\w.])/(home|root|usr|opt|tmp|work|Users|private|var)/", content)


def test_a_missing_setting_or_package_is_an_error_that_names_it(trained, monkeypatch, unpackaged):
    with pytest.raises(ValueError, match=r"no model named, .*: expected run\.name"):
        export(configured(config.ExportConfig, {"run.name": ""}))
    model = {"run.name": "", "model": str(trained / "model")}
    with pytest.raises(ValueError, match=r"out is missing"):
        export(configured(config.ExportConfig, model))
    with pytest.raises(ValueError, match=r"out=m\.json: expected a name that ends with \.onnx"):
        export(configured(config.ExportConfig, model | {"out": "m.json"}))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"onnxscript: pip install 'ecg_siglip\[export\]'"):
        export(configured(config.ExportConfig, model | {"out": "m.onnx"}))
