"""A run is loaded with its settings and its model; an unfinished one is refused."""

import shutil

import pytest

from ecg_siglip.config import RunConfig
from ecg_siglip.evaluation.trained_run import load_run


def test_a_run_has_its_settings_and_its_model(run_copy, simulated):
    run = load_run(RunConfig(run_copy.name, str(run_copy.parent)), "cpu")
    assert run.folder == run_copy
    assert run.settings.data.root == str(simulated)
    assert run.settings.data.tune_fold == 9
    assert run.predictor.artifact.provenance.run == run_copy.name
    assert run.predictor.artifact.model.device.type == "cpu"


def test_a_run_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nobody/model: no such run; expected a trained model"):
        load_run(RunConfig("nobody", str(tmp_path)), "cpu")


def test_a_run_whose_training_is_not_finished_is_refused(run_copy):
    shutil.rmtree(run_copy / "model")
    with pytest.raises(ValueError, match="small/model: training has not finished"):
        load_run(RunConfig(run_copy.name, str(run_copy.parent)), "cpu")
