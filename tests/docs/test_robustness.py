"""The measurement of robustness disturbs as it states, and predicts as `predict` does."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import limb_error

from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, order_leads

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "results"))

import robustness

OF_NAME = {f"{each.kind}, {each.size}": each for each in robustness.disturbances()}


@pytest.fixture(scope="module")
def records(simulated):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    return [read_record(path) for path in data.paths[:3]]


@pytest.fixture(scope="module")
def signal(records) -> np.ndarray:
    return order_leads(records[0].signal, records[0].leads).astype(np.float64)


def disturbed(name: str, signal: np.ndarray, seed: int = 0) -> tuple[np.ndarray, float]:
    return OF_NAME[name].change(signal, 100.0, np.random.default_rng(seed))


def test_electrodes_give_the_leads(signal):
    leads = robustness.LEADS_FROM_ELECTRODES @ robustness.at_electrodes(signal)
    np.testing.assert_allclose(leads, signal, atol=2e-3)


@pytest.mark.parametrize("name", OF_NAME)
def test_a_disturbance_is_a_function_of_its_seed_and_keeps_the_limb_leads_related(name, signal):
    before = signal.copy()
    (ours, fs), (again, _), (other, _) = (disturbed(name, signal, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(ours, again)
    np.testing.assert_array_equal(signal, before)
    assert ours.shape == (12, 10 * fs)
    kind = OF_NAME[name].kind
    is_random = ("offset", "mains", "baseline", "muscle", "missing")
    assert np.array_equal(ours, other, equal_nan=True) == (not kind.startswith(is_random))
    if kind != "offset per lead" and name not in ("upside down, I", "upside down, aVR"):
        assert limb_error(np.nan_to_num(ours.astype(np.float32))) < 0.01


@pytest.mark.parametrize(
    ("name", "mv"),
    [("offset per electrode, 1 mV", 2.0), ("mains, 50 Hz, 0.1 mV", 0.2), ("gain, 1.25", None)],
)
def test_the_size_of_a_disturbance_is_the_stated_one(name, mv, signal):
    changed, fs = disturbed(name, signal)
    if mv is None:
        np.testing.assert_allclose(changed, 1.25 * signal)
    else:
        undisturbed = robustness.resample(signal, 100.0, fs)
        assert 0.3 * mv < np.abs(changed - undisturbed).max() <= mv + 1e-6


def test_missing_samples_are_the_stated_share_in_gaps_of_the_stated_length(signal):
    is_gap = np.isnan(disturbed("missing samples, 3 %, gaps of 0.1 s", signal)[0])
    assert is_gap.mean() == 0.03
    starts = np.flatnonzero(np.diff(is_gap[0].astype(int)) == 1)
    assert len(starts) == 3 - is_gap[0, 0]
    assert (is_gap == is_gap[0]).all()


def test_exchanged_arms_invert_lead_i_and_exchange_others(signal):
    changed, _ = disturbed("electrodes exchanged, RA, LA", signal)
    expected = signal[[0, 2, 1, 4, 3, *range(5, 12)]] * ([[-1]] + [[1]] * 11)
    np.testing.assert_allclose(changed, expected, atol=2e-3)
    chest, _ = disturbed("electrodes exchanged, V1 to V6 reversed", signal)
    np.testing.assert_allclose(chest[6:], signal[11:5:-1], atol=2e-3)
    flat, _ = disturbed("electrodes exchanged, RA, RL", signal)
    assert np.ptp(flat[1]) < 0.1 * np.ptp(signal[1])


def test_undisturbed_records_are_predicted_as_by_predict(trained, records):
    predictor = Predictor.load(trained / "model", "cpu")
    outcome = robustness.run(predictor, records, OF_NAME["none, "])
    for record, y_prob in zip(records, outcome.y_prob, strict=True):
        alone = predictor.probabilities(predictor.prepare(record)[None])[0]
        np.testing.assert_allclose(y_prob, alone, atol=1e-6)
        decided = [finding.present for finding in predictor.decide(alone)]
        thresholds = predictor.artifact.thresholds[robustness.DEFAULT_RULE]
        assert decided == (alone >= thresholds).tolist()


def test_rows_count_changed_refused_and_named_records(trained, records):
    predictor = Predictor.load(trained / "model", "cpu")
    # Without the high-pass filter a large offset is out of range.
    kept = replace(predictor.artifact, waveform=predictor.artifact.waveform | {"low_hz": None})
    y_true = np.ones((3, len(kept.codes)), bool)
    thresholds = kept.thresholds
    for artifact, offset_mv, refused in ((predictor.artifact, 10, 0.0), (kept, 100, 1.0)):
        predictor.artifact = artifact
        before = robustness.run(predictor, records, OF_NAME["none, "])
        name = f"offset per electrode, {offset_mv} mV"
        after = robustness.run(predictor, records, OF_NAME[name])
        row = robustness.row(OF_NAME[name], after, before, y_true, thresholds)
        assert (row["refused"], row["named"]) == (refused, 1.0)
        assert row["changed"] == (None if refused else 0.0)
        assert ("100.0 %" in robustness.table([row])) == bool(refused)
        same = robustness.row(OF_NAME["none, "], before, before, y_true, thresholds)
        assert (same["changed"], same["named"], same["refused"]) == (0.0, 0.0, 0.0)


def test_the_names_of_leads_are_those_of_the_package():
    assert set(robustness.ELECTRODES[3:]) <= set(LEADS)
