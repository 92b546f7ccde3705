"""From paths to predictions: order, errors of single records, warnings, operating points."""

import json
import re

import numpy as np
import pytest
import wfdb
from helpers import rewritten
from writers import EXAM, NAME, PATIENT, dicom, ecg, muse, write

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import (
    apply_decision_rule,
    predict_records,
    threshold_rule,
)
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def paths(simulated):
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]]


@pytest.fixture
def long(paths, tmp_path):
    signal = np.tile(read_record(paths[0]).signal, 3).T.astype(float)
    return rewritten(paths[0], tmp_path, "long", p_signal=signal)


def test_records_that_fail_are_reported_and_the_others_keep_their_order(
    predictor, paths, long, tmp_path
):
    missing, errors = tmp_path / "missing", []
    all_paths = [paths[0], missing, long, paths[1]]
    predictions = predict_records(
        predictor,
        all_paths,
        config.PredictConfig(),
        lambda path, error: errors.append((path, error)),
    )
    assert [p.record for p in predictions] == [str(paths[0]), str(long), str(paths[1])]
    assert [p.timeline is not None for p in predictions] == [False, True, False]
    ((path, error),) = errors
    assert path == missing and "missing" in str(error)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["ECG1", "ECG2"],
            r"record holter: none of the channels has the name of a lead: ECG1, ECG2; name them",
        ),
        (["V1", "V2"], "record holter: leads V1, V2: expected at least lead I or II"),
    ],
)
def test_a_long_record_without_usable_leads_is_named(predictor, paths, tmp_path, names, expected):
    signal = np.tile(read_record(paths[0]).signal[:2], 3).T.astype(float)
    settings = {"units": ["mV"] * 2, "sig_name": names, "fmt": ["16"] * 2}
    path = tmp_path / "holter"
    wfdb.wrsamp("holter", 100, p_signal=signal, write_dir=str(tmp_path), **settings)
    errors = []
    predict_records(
        predictor, [path], config.PredictConfig(), lambda _, error: errors.append(str(error))
    )
    (error,) = errors
    assert re.match(expected, error)


def test_a_batch_gives_the_predictions_of_its_records(predictor, paths):
    settings = config.PredictConfig(questions=["Vorhofflimmern?"], n_similar=2)
    together = predict_records(predictor, paths, settings)
    for path, prediction in zip(paths, together, strict=True):
        (alone,) = predict_records(predictor, [path], settings)
        for a, b in zip(alone.findings, prediction.findings, strict=True):
            assert a.probability == pytest.approx(b.probability, abs=1e-5)
        assert [s.ecg_id for s in alone.similar] == [s.ecg_id for s in prediction.similar]
        assert prediction.questions[0].matches[0].code == "AFIB"


def test_deciding_again_gives_what_the_operating_point_gives(predictor, paths, long):
    screening = config.PredictConfig(operating_point="screening")
    all_paths = [paths[0], long]
    decided = predict_records(predictor, all_paths, screening)
    for prediction, expected in zip(
        predict_records(predictor, all_paths, config.PredictConfig()), decided, strict=True
    ):
        again = apply_decision_rule(predictor, prediction, screening)
        assert again.findings != prediction.findings
        assert json.loads(again.to_json("m")) == json.loads(expected.to_json("m"))


@pytest.mark.parametrize(
    ("point", "rule"),
    [("screening", "sensitivity_0.95"), ("balanced", "f1"), ("confirm", "precision_0.8")],
)
def test_the_operating_point_chooses_the_threshold_rule(point, rule):
    settings = config.PredictConfig(
        operating_point=point, threshold_rule="f1", sensitivity=0.95, precision=0.8
    )
    assert threshold_rule(settings) == rule


def test_a_warning_is_given_for_noise_in_the_part_that_is_used(predictor, paths, tmp_path):
    signal = read_record(paths[0]).signal.T.astype(float)
    noisy = signal + np.random.default_rng(0).normal(0, 0.4, signal.shape)
    settings = config.PredictConfig()
    (clean,) = predict_records(predictor, [paths[0]], settings)
    (prediction,) = predict_records(
        predictor, [rewritten(paths[0], tmp_path, "noisy", p_signal=noisy)], settings
    )
    assert any("noise" in warning for warning in prediction.warnings)
    assert not any("noise" in warning for warning in clean.warnings)


def test_a_record_whose_only_lead_with_a_signal_is_v6_fails_alone(predictor, paths, tmp_path):
    signal = read_record(paths[0]).signal.T.astype(float)
    signal[:, :11] = 0
    path, errors = rewritten(paths[0], tmp_path, "v6", p_signal=signal), []
    settings = config.PredictConfig()
    settings.waveform.allow_flat = True
    predictions = predict_records(
        predictor, [path, paths[1]], settings, lambda path, error: errors.append(str(error))
    )
    assert len(predictions) == 1
    assert errors == ["record v6: leads V6: expected at least lead I or II"]


@pytest.mark.parametrize("show_ids", [False, True])
def test_ids_are_in_a_prediction_only_where_they_are_wanted(predictor, paths, tmp_path, show_ids):
    files = [write(tmp_path, dicom(ecg(13 * 500)), "dcm"), write(tmp_path, muse(ecg()), "muse.xml")]
    settings = config.PredictConfig(show_ids=show_ids)
    errors = []
    predictions = predict_records(
        predictor, [*files, paths[0]], settings, lambda *error: errors.append(error)
    )
    assert not errors
    assert predictions[0].timeline is not None  # a long record
    for prediction in predictions[:2]:
        text = prediction.to_json("m")
        content = json.loads(text)
        assert content["recording"]["recorded_at"].startswith("2020-01-31T09:59:30")
        assert content["recording"]["filters"]["high_pass"] == "0.05 Hz"
        assert content["device"] == {
            "measurements": [{"name": "pr", "value": 161.0, "unit": "ms"}],
            "statements": ["Sinus rhythm"],
            "confirmed": False,
        }
        assert NAME not in text
        for secret in (PATIENT, EXAM, "69 years", "female", '"S1"'):
            assert (secret in text) == show_ids
        assert (PATIENT in str(prediction)) == show_ids
        assert {"patient_id", "age"} <= set(content["recording"]) or not show_ids
    # In the layout of PTB-XL, with its table.
    recording = json.loads(predictions[2].to_json("m")).get("recording", {})
    assert ("patient_id" in recording) == show_ids


def test_an_error_does_not_quote_ids(predictor, tmp_path):
    content = dicom(ecg())
    # A sampling rate that is no number.
    path = write(tmp_path, content.replace(b"DS\x04\x00500 ", b"DS\x04\x00abc "), "dcm")
    errors = []
    predict_records(
        predictor, [path], config.PredictConfig(show_ids=True), lambda *error: errors.append(error)
    )
    assert len(errors) == 1
    assert not any(secret in str(errors) for secret in (PATIENT, EXAM, NAME))
