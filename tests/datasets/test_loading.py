"""Load PTB-XL by the settings of a run: for training and for its evaluation."""

import shutil

import numpy as np
import pytest

from ecg_siglip.config import EvaluateData
from ecg_siglip.datasets.loading import load_evaluation_data, load_training_data
from ecg_siglip.datasets.ptbxl import waveform_spec


def test_training_data_have_the_signals_of_the_settings(train_config):
    data = load_training_data(train_config(**{"waveform.fs": 50}), progress=False)
    assert data.fs == 50
    assert data.signals.shape == (len(data), 12, 500)


def test_evaluation_data_have_the_labels_of_held_out_findings(train_config):
    settings = train_config(**{"data.held_out": ["AFIB"]})
    training = load_training_data(settings, progress=False)
    spec = waveform_spec(settings.waveform)
    data = load_evaluation_data(EvaluateData(), settings, spec, training.codes)
    assert set(data.codes) - set(training.codes) == {"AFIB"}
    assert 0 in training.strat_fold
    assert 0 not in data.strat_fold
    np.testing.assert_array_equal(data.signals, training.signals)


def test_findings_that_are_not_those_of_the_model_are_refused(train_config):
    settings = train_config()
    codes = load_training_data(settings, progress=False).codes
    spec = waveform_spec(settings.waveform)
    with pytest.raises(ValueError, match="vocabulary"):
        load_evaluation_data(EvaluateData(), settings, spec, codes[1:])


def test_evaluation_data_may_be_in_another_folder(train_config, simulated, tmp_path):
    settings = train_config()
    codes = load_training_data(settings, progress=False).codes
    shutil.copytree(simulated, tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    settings.data.root = str(tmp_path / "absent")
    spec = waveform_spec(settings.waveform)
    moved = EvaluateData(root=str(tmp_path / "moved"), n_workers=1)
    data = load_evaluation_data(moved, settings, spec, codes)
    assert data.paths[0].is_relative_to(tmp_path / "moved")
