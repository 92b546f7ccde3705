"""Attributions sum to the change in log-odds and mark the samples that matter."""

import sys

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.attribution_tests import deletion_curve
from ecg_siglip.inference.attribution import attribute, sum_cells
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record

pytest.importorskip("captum", reason="needs the extra [explain]")


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def signals(predictor, simulated):
    paths = ptbxl.load_ptbxl(simulated, signals=False).paths[:4]
    return [predictor.prepare(read_record(path)) for path in paths]


def log_odds(predictor, signal, code):
    p = predictor.probabilities(signal[None])[0, predictor.artifact.codes.index(code)]
    return np.log(p / (1 - p))


def test_attributions_sum_to_the_difference_from_no_signal(predictor, signals):
    code = predictor.artifact.codes[5]
    model, text_FD = predictor.artifact.model, predictor.text_FD
    (attribution,) = attribute(model, text_FD, signals[0], [5], n_steps=200)
    assert attribution.shape == signals[0].shape
    slope = predictor.artifact.calibration[5, 0]
    zero = np.zeros_like(signals[0])
    expected = (log_odds(predictor, signals[0], code) - log_odds(predictor, zero, code)) / slope
    assert attribution.sum() == pytest.approx(expected, abs=0.02 + 0.05 * abs(expected))


def test_deleting_important_samples_changes_more_than_deleting_at_random(predictor, signals):
    shares, rng = np.array([0.0, 0.05, 0.1, 0.2]), np.random.default_rng(0)
    gain = []
    codes = predictor.artifact.codes[:8]
    for signal in signals:
        for i, attribution in enumerate(predictor.attribute(signal, codes)):

            def probability(signals, i=i):
                return predictor.probabilities(signals)[:, i]

            importance = sum_cells(attribution, 100)
            by_importance = deletion_curve(probability, signal, importance, shares, 100)
            order = rng.random(importance.shape)
            at_random = deletion_curve(probability, signal, order, shares, 100)
            assert by_importance[0] == pytest.approx(at_random[0])
            gain.append((at_random - by_importance)[1:].mean())
    assert np.mean(gain) > 0


def test_cells_keep_the_sum_and_the_position():
    attribution = np.zeros((12, 1003), np.float32)
    attribution[7, 995] = 2.0
    summed = sum_cells(attribution, 100)
    assert summed.shape == (12, 101)
    assert summed[7, 99] == 2.0
    assert summed.sum() == 2.0


def test_unknown_codes_and_a_missing_package_are_named(predictor, signals, monkeypatch):
    with pytest.raises(ValueError, match=r"XYZ: no finding of this model; expected one of"):
        predictor.attribute(signals[0], ["XYZ"])
    model, text_FD = predictor.artifact.model, predictor.text_FD
    assert attribute(model, text_FD, signals[0], []).shape == (0, 12, 1000)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ValueError, match=r"needs the package captum: pip install"):
        predictor.attribute(signals[0], ["SR"])
