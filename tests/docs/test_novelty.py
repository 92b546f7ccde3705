"""The measurement of novelty alters as it states and scores as `predict` does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import FS, beats

from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS

sys.path.insert(0, str(Path(__file__).parents[2] / "results"))
import novelty

OF_NAME = dict(novelty.alterations())


@pytest.fixture
def signal() -> np.ndarray:
    return np.asarray(beats(), np.float64)


@pytest.mark.parametrize("name", OF_NAME)
def test_an_alteration_keeps_the_duration_and_is_the_same_again(name, signal):
    (first, fs), (again, _) = (
        OF_NAME[name](signal, FS, np.random.default_rng(1)) for _ in range(2)
    )
    assert first.shape[1] / fs == pytest.approx(signal.shape[1] / FS, abs=0.01)
    assert np.isfinite(first).all() and np.abs(first - again).max() == 0


def test_auroc_is_that_of_pairs():
    assert novelty.auroc(np.array([0.1, 0.5]), np.array([0.5, 0.9])) == pytest.approx(0.875)


def test_rows_compare_with_the_first_kind_of_their_part(trained, signal):
    predictor = Predictor.load(trained / "model", "cpu")
    assert isinstance(predictor.artifact.neighbors, Neighbors)
    usual = [
        Record(str(i), (signal * (1 + i / 10)).astype(np.float32), FS, LEADS, ()) for i in range(3)
    ]
    flat = [replace(usual[0], signal=np.zeros_like(usual[0].signal))]
    kinds = [("f", "usual", iter(usual)), ("f", "usual", iter(usual)), ("f", "flat", iter(flat))]
    first, second, refused = novelty.measure(predictor, iter(kinds))
    assert first["score/auroc"] == second["score/auroc"] == 0.5
    assert (refused["n"], refused["refused"], refused["score/auroc"]) == (0, 1, None)
    assert len(novelty.table([first, refused]).splitlines()) == 4
