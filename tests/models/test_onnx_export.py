"""The ONNX file predicts as the model does, for any number of records, and has its metadata."""

import json
import re
import sys

import numpy as np
import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.core.command_line import PACKAGE_DIR
from ecg_siglip.export import export
from ecg_siglip.inference.predictor import Predictor

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")


@pytest.fixture(scope="module")
def exported_file(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "deep" / "m.onnx"
    base = {"run.name": trained.name, "run.root": str(trained.parent), "out": str(out)}
    export(configured(config.ExportConfig, base))
    return out


@pytest.fixture(scope="module")
def exported(exported_file):
    return onnxruntime.InferenceSession(exported_file)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_it_predicts_as_the_model_for_any_number_of_records(exported, trained, n):
    predictor = Predictor.load(trained / "model", "cpu")
    signals = np.random.default_rng(n).integers(-1500, 1500, (n, 12, 1000)).astype(np.int16)
    (y_prob,) = exported.run(None, {"signal": (signals / 1000).astype(np.float32)})
    assert y_prob == pytest.approx(predictor.probabilities(signals), abs=1e-4)


def test_its_metadata_have_what_prediction_needs(exported, trained):
    stored = json.loads((trained / "model" / "config.json").read_text())
    metadata = {
        key: json.loads(value)
        for key, value in exported.get_modelmeta().custom_metadata_map.items()
    }
    assert metadata["leads"][:4] == ["I", "II", "III", "aVR"]
    assert (metadata["fs"], metadata["n_samples"], metadata["units"]) == (100, 1000, "mV")
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
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"onnxscript: pip install 'ecg_siglip\[export\]'"):
        export(configured(config.ExportConfig, model | {"out": "m.onnx"}))
