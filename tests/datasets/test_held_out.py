"""Hidden findings: training gets no record, no label and no report of them."""

import numpy as np
import pytest
import torch

from ecg_siglip.datasets.held_out import drop_findings
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData

HELD_OUT = ["AFIB", "CLBBB"]


def test_training_gets_no_record_no_label_and_no_report_of_them(train_config):
    settings = train_config(**{"data.held_out": HELD_OUT})
    hidden = load_training_data(settings, progress=False)
    settings.data.held_out = []
    whole = load_training_data(settings, progress=False)
    columns = [whole.codes.index(code) for code in HELD_OUT]
    has_one = whole.y_true[:, columns].any(axis=1)
    assert has_one.any()
    assert not set(HELD_OUT) & set(hidden.codes)
    np.testing.assert_array_equal(hidden.strat_fold == 0, has_one)
    np.testing.assert_array_equal(hidden.y_true, np.delete(whole.y_true, columns, axis=1))
    settings.data.held_out = HELD_OUT
    data = TrainingData(hidden, settings, torch.device("cpu"))
    assert not has_one[data.train_rows].any()
    reports = " ".join(hidden.reports).lower()
    for word in ("fibrill", "flimmer", "linksschenkel", "left bundle"):
        assert word not in reports
    assert any(word in " ".join(whole.reports).lower() for word in ("flimmer", "fibrill"))
    assert "sinusrhythmus" in reports


def test_for_a_finding_without_a_pattern_all_reports_are_left_out(train_config):
    settings = train_config(**{"data.held_out": ["WPW"]})
    assert set(load_training_data(settings, progress=False).reports) == {""}


def test_an_unknown_finding_is_an_error(train_config):
    with pytest.raises(ValueError, match="data.held_out: XYZ is not a finding of this task"):
        load_training_data(train_config(**{"data.held_out": ["XYZ"]}), progress=False)


def test_dropping_findings_removes_their_columns_only(train_config):
    data = load_training_data(train_config(), progress=False)
    columns = [data.codes.index(code) for code in HELD_OUT]
    remaining = drop_findings(data, HELD_OUT)
    assert set(data.codes) - set(remaining.codes) == set(HELD_OUT)
    np.testing.assert_array_equal(remaining.likelihood, np.delete(data.likelihood, columns, axis=1))
    assert remaining.reports == data.reports
    np.testing.assert_array_equal(remaining.strat_fold, data.strat_fold)
    with pytest.raises(ValueError, match="no finding is left"):
        drop_findings(data, data.codes)
