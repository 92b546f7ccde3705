"""The classifier predicts as the predictor does; fitted to other records it keeps its weights."""

import numpy as np
import pandas as pd
import pytest

from ecg_siglip import EcgClassifier, Predictor
from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import order_leads


@pytest.fixture
def classifier(trained):
    return EcgClassifier.from_pretrained(trained / "model", device="cpu")


@pytest.fixture(scope="module")
def paths(simulated):
    return ptbxl.load_ptbxl(simulated, signals=False).paths[:40]


def test_it_gives_the_probabilities_and_findings_of_the_predictor(classifier, trained, paths):
    predictor = Predictor.load(trained / "model", "cpu")
    signals = np.stack([predictor.prepare(read_record(path)) for path in paths[:3]])
    expected = predictor.probabilities(signals)
    assert np.array_equal(classifier.predict_proba(paths[:3]), expected)
    alone = classifier.predict_proba(read_record(paths[0]))
    assert alone == pytest.approx(expected[:1], abs=1e-6)
    present = classifier.predict([str(path) for path in paths[:3]])
    for row, y_prob in zip(present, expected, strict=True):
        codes = {finding.code for finding in predictor.decide(y_prob) if finding.present}
        assert set(classifier.classes_[row]) == codes


def test_an_array_needs_its_sampling_rate(trained, paths):
    record = read_record(paths[0])
    signal = order_leads(record.signal, record.leads)[None]
    classifier = EcgClassifier.from_pretrained(trained / "model", fs=record.fs, device="cpu")
    expected = classifier.predict_proba(paths[0])
    assert np.array_equal(classifier.predict_proba(signal), expected)
    classifier.fs = None
    with pytest.raises(ValueError, match=r"expected its sampling rate, as fs=500"):
        classifier.predict_proba(signal)
    with pytest.raises(ValueError, match=r"expected \(n_records, 12, n_samples\), got \(1000,\)"):
        classifier.predict_proba(signal[0, 0])


def test_fitted_to_other_records_it_is_calibrated_to_them_and_keeps_their_order(classifier, paths):
    before = classifier.predict_proba(paths)
    y_true = np.zeros(before.shape, bool)
    y_true[before[:, 0] >= np.median(before[:, 0]), 0] = True
    classifier.fit(paths, y_true)
    after = classifier.predict_proba(paths)
    # Closer to the share of positive records; the order of the records stays.
    share = y_true[:, 0].mean()
    assert abs(after[:, 0].mean() - share) < 0.7 * abs(before[:, 0].mean() - share)
    assert np.array_equal(np.argsort(after[:, 0]), np.argsort(before[:, 0]))
    # Fitting again starts from the model, not from the last fit.
    assert np.array_equal(classifier.fit(paths, y_true).predict_proba(paths), after)


def test_a_failed_fit_changes_nothing_and_no_fit_changes_another_classifier(
    classifier, paths, monkeypatch
):
    other = EcgClassifier.from_pretrained(classifier.predictor_)
    before = classifier.predict_proba(paths[:5])
    y_true = np.arange(40 * 71).reshape(40, 71) % 3 == 0
    with monkeypatch.context() as broken:
        broken.setattr("ecg_siglip.inference.classifier.tune_fold", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            classifier.fit(paths, y_true)
    assert np.array_equal(classifier.predict_proba(paths[:5]), before)
    classifier.fit(paths, y_true)
    assert not np.array_equal(classifier.predict_proba(paths[:5]), before)
    assert np.array_equal(other.predict_proba(paths[:5]), before)


def test_unknown_rules_wrong_labels_and_no_ecg_are_named(classifier, trained, paths):
    with pytest.raises(ValueError, match=r"rule=best: expected one of fixed_0\.5"):
        EcgClassifier.from_pretrained(trained / "model", rule="best")
    with pytest.raises(
        ValueError, match=r"y: expected 0, 1 and NaN of shape \(2, 71\), got \(2, 3\)"
    ):
        classifier.fit(paths[:2], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="no ECG: expected at least one"):
        classifier.predict([])


def test_a_fit_uses_the_known_labels_alone(classifier, paths):
    rng = np.random.default_rng(0)
    y_true = np.where(rng.random((40, 71)) < 0.3, np.nan, rng.random((40, 71)) < 0.4)
    y_true[:, 5] = np.nan
    first, second = (EcgClassifier(classifier.predictor_) for _ in range(2))
    first.fit(paths, y_true)
    second.fit(paths, pd.DataFrame(y_true).astype("boolean"))
    calibration = first.predictor_.artifact.calibration
    np.testing.assert_array_equal(second.predictor_.artifact.calibration, calibration)
    assert calibration[5].tolist() == [1, 0]
    known = ~np.isnan(y_true[:, 0])
    alone = EcgClassifier(classifier.predictor_)
    alone.fit(np.array(paths)[known].tolist(), np.nan_to_num(y_true[known]))
    expected = alone.predictor_.artifact
    assert calibration[0] == pytest.approx(expected.calibration[0], abs=1e-5)
    assert first.predictor_.artifact.thresholds["f1"][0] == pytest.approx(
        expected.thresholds["f1"][0], abs=1e-5
    )
    with pytest.raises(ValueError, match="y: expected only 0, 1 and NaN"):
        first.fit(paths, np.full((40, 71), 0.5))
