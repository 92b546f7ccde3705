"""The predictor: decisions from probabilities, embeddings of texts, and prepared records."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor, forward
from ecg_siglip.models.dual_encoder import Ensemble
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.train import train


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def record(simulated):
    return read_record(simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0])


def test_a_finding_that_needs_missing_leads_is_neither_present_nor_listed(predictor):
    available = np.array([lead not in ("V1", "V2", "V3", "V4", "V5", "V6") for lead in LEADS])
    y_prob = np.ones(len(predictor.artifact.codes))
    findings = {f.code: f for f in predictor.decide(y_prob, available=available)}
    anterior = findings["AMI"]
    assert not (anterior.assessable or anterior.present or anterior.not_excluded)
    assert any(f.present for f in findings.values())


def test_a_rule_that_the_model_does_not_have_is_an_error(predictor):
    y_prob = np.zeros(len(predictor.artifact.codes))
    with pytest.raises(ValueError, match=r"best: this model has thresholds for fixed_0\.5, "):
        predictor.decide(y_prob, "best")


def test_texts_are_encoded_in_their_order_whatever_the_batches(predictor):
    texts = ["sinus rhythm", "a much longer text about atrial fibrillation", "AV", "sinus rhythm"]
    embedding_TD = predictor.encode_text(texts, batch_size=2)
    assert np.linalg.norm(embedding_TD, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    for text, embedding_D in zip(texts, embedding_TD, strict=True):
        assert predictor.encode_text([text])[0] == pytest.approx(embedding_D, abs=1e-5)


def test_similarities_are_the_cosines_that_the_logits_are_made_of(predictor, record):
    ecg = predictor.encode_ecg([record, record])
    text = predictor.encode_text(predictor.artifact.prompts[:3])
    similarity = predictor.similarity(ecg, text)
    assert similarity.shape == (2, 3) and np.abs(similarity).max() <= 1
    model = predictor.artifact.model
    logits = float(model.log_scale.exp()) * similarity + float(model.logit_bias)
    y_prob, _ = predictor.forward(predictor.prepare(record)[None])
    assert 1 / (1 + np.exp(-logits[0])) == pytest.approx(y_prob[0, :3], abs=1e-5)
    assert predictor.similarity(ecg, ecg[0]) == pytest.approx(np.ones((2, 1)), abs=1e-5)
    one_text = predictor.encode_text(predictor.artifact.prompts[0])
    assert predictor.similarity(one_text, ecg)[0] == pytest.approx(similarity[:, 0], abs=1e-5)
    with pytest.raises(ValueError, match=r"expected shapes .* got \(2, 16\) and \(2, 3\)"):
        predictor.similarity(ecg, similarity)
    with pytest.raises(ValueError, match="no text: expected at least one"):
        predictor.encode_text([])


def test_embeddings_of_an_ensemble_have_unit_norm_and_mean_cosines(predictor, record):
    members = [predictor.artifact.model, copy.deepcopy(predictor.artifact.model)]
    both = Predictor(replace(predictor.artifact, model=Ensemble(members)))
    texts = predictor.artifact.prompts[:3]
    ecg, text = both.encode_ecg(record), both.encode_text(texts)
    assert np.linalg.norm(ecg) == pytest.approx(1) and ecg.shape == (1, both.n_dims)
    expected = predictor.similarity(predictor.encode_ecg(record), predictor.encode_text(texts))
    assert both.similarity(ecg, text) == pytest.approx(expected, abs=1e-5)


def test_probabilities_do_not_depend_on_the_batch_size(predictor, record):
    signals = np.stack([predictor.prepare(record)] * 5)
    signals[1:] //= np.arange(2, 6)[:, None, None].astype(np.int16)
    model, text_FD = predictor.artifact.model, predictor.text_FD
    one, embedding_one = forward(model, text_FD, signals, batch_size=1)
    all_, embedding_all = forward(model, text_FD, signals)
    assert one == pytest.approx(all_, abs=1e-6)
    assert embedding_one == pytest.approx(embedding_all, abs=1e-5)
    assert not model.training


def test_a_missing_lead_is_an_error_unless_it_is_accepted_and_trained_for(predictor, record):
    lacking = replace(record, signal=record.signal[:8], leads=record.leads[:8])
    with pytest.raises(ValueError, match=rf"record {record.name}: "):
        predictor.prepare_record(lacking)
    assert not predictor.artifact.fewer_leads
    with pytest.raises(ValueError, match=rf"record {record.name}: "):
        predictor.prepare_record(lacking, allow_missing_leads=True)


def test_a_prepared_record_is_the_input_of_the_model(predictor, record):
    prepared = predictor.prepare_record(record)
    assert prepared.signal.shape == (12, 1000) and prepared.signal.dtype == np.int16
    assert prepared.available.all() and prepared.duration_s == 10.0
    assert np.array_equal(predictor.prepare(record), prepared.signal)


def test_a_supervised_head_has_no_languages(train_config):
    settings = train_config(**{"text.name": "none", "objective.terms": "bank"})
    train(settings)
    with pytest.raises(ValueError, match="language=de: r is a supervised head without text"):
        Predictor.load(Path(settings.run.root) / "r" / "model", "cpu", "de")


def test_a_language_that_was_not_trained_is_refused(trained):
    message = r"language=de: small was trained with text\.language=en only"
    with pytest.raises(ValueError, match=message):
        Predictor.load(trained / "model", "cpu", "de")
    Predictor.load(trained / "model", "cpu", "en")
