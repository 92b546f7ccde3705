"""The pointing game and the deletion curve, on attributions whose quality is known."""

import numpy as np
import pytest
from helpers import TINY, configured

from ecg_siglip.config import TrainConfig
from ecg_siglip.evaluation.attribution_tests import deletion_curve, pointing
from ecg_siglip.inference.attribution import sum_cells
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import dataset
from ecg_siglip.simulation.finding_masks import FS, finding_masks
from ecg_siglip.train import train

SEED = 9


def test_pointing_counts_the_most_important_cells_inside_the_mask():
    mask = np.zeros((12, 100), bool)
    mask[:, :20] = True
    perfect = np.where(mask, 1.0, -1.0)
    assert pointing(perfect, mask) == (1.0, 0.2, 1.0)
    assert pointing(-perfect, mask)[::2] == (0.0, 0.0)


def test_a_random_attribution_points_as_well_as_chance():
    mask = np.zeros((12, 100), bool)
    mask[:, :20] = True
    hits, chance, mass = pointing(np.random.default_rng(0).random((12, 100)), mask)
    assert hits == pytest.approx(chance, abs=0.12)
    assert mass == pytest.approx(0.2, abs=0.05)


def test_an_attribution_without_positive_importance_has_no_mass():
    assert np.isnan(pointing(np.zeros((12, 100)), np.ones((12, 100), bool))[2])


def test_the_deletion_curve_falls_first_where_the_model_looks():
    """A model whose log-odds are the mean of V1, in units of 100 uV."""
    signal = np.full((12, 1000), 200, np.int16)
    v1 = np.zeros((12, 100))
    v1[LEADS.index("V1")] = 1.0

    def probability(signals):
        return 1 / (1 + np.exp(-signals[:, LEADS.index("V1")].mean(axis=1) / 100))

    shares = np.array([0.0, 1 / 24, 1 / 12, 1.0])
    right = deletion_curve(probability, signal, v1, shares, 100)
    np.testing.assert_allclose(right, [2.0, 1.0, 0.0, 0.0], atol=1e-9)
    wrong = deletion_curve(probability, signal, -v1, shares, 100)
    np.testing.assert_allclose(wrong, [2.0, 2.0, 2.0, 0.0], atol=1e-9)
    assert (signal == 200).all()


@pytest.mark.slow
def test_attributions_of_a_trained_model_point_at_the_findings(tmp_path_factory):
    """A model that was trained for seconds points better than chance."""
    pytest.importorskip("captum", reason="needs the extra [explain]")
    folder = tmp_path_factory.mktemp("pointing")
    root = dataset.simulate_dataset(folder / "data", n_records=250, seed=3)
    settings = TINY | {"run.name": "t", "run.root": str(folder), "data.root": str(root)}
    settings |= {"optim.n_epochs": 10, "optim.lr": 4e-3, "data.n_workers": 1, "n_threads": 1}
    train(configured(TrainConfig, settings))
    predictor = Predictor.load(folder / "t" / "model", "cpu")
    patients = dataset.draw_patients(400, SEED)
    gains = []
    for code in ("CLBBB", "LVH", "IMI", "CRBBB"):
        for ecg_id in records_with(code, patients):
            age, is_woman = patients["age"][ecg_id - 1], patients["is_woman"][ecg_id - 1]
            signal, _ = dataset.make_record(SEED, ecg_id, age, is_woman)
            record = Record("", resample(signal, dataset.FS, FS), float(FS), list(LEADS), ())
            (attribution,) = predictor.attribute(predictor.prepare(record), [code])
            mask = sum_cells(finding_masks(SEED, ecg_id, age, is_woman)[code], FS) > 0
            hits, chance, _ = pointing(sum_cells(attribution, FS), mask)
            gains.append(hits - chance)
    assert np.mean(gains) > 0.05


def records_with(code, patients):
    """Return three simulated records with a finding and without a paced rhythm."""
    chosen = []
    for ecg_id, age in enumerate(patients["age"], start=1):
        codes = dataset.draw_findings(np.random.default_rng([SEED, 1, ecg_id]), age)
        if code in codes and "PACE" not in codes:
            chosen.append(ecg_id)
    assert len(chosen) >= 3
    return chosen[:3]
