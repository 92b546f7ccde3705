"""Predictions with prompts in several languages."""

import json

import pytest
import torch
from helpers import configured

from ecg_siglip.config import PredictConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.predict import predict
from ecg_siglip.train import train
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary


def test_predictions_use_the_prompts_of_the_language(trained_in_all_languages, simulated, capsys):
    run = trained_in_all_languages
    path = str(simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0])
    base = {"run.name": run.name, "run.root": str(run.parent), "device": "cpu"}
    probabilities = {}
    for language in (None, *ptbxl_vocabulary().languages):
        capsys.readouterr()
        predict(configured(PredictConfig, base | {"records": [path], "language": language}))
        probabilities[language] = json.loads(capsys.readouterr().out)["probabilities"]
    assert probabilities[None] == probabilities["en"]
    assert probabilities["de"] != probabilities["en"]
    assert probabilities["ja"] not in (probabilities["en"], probabilities["de"])
    predictor = Predictor.load(run / "model", "cpu", "ja")
    prompts = ptbxl_vocabulary().prompts(predictor.artifact.codes, "ja")
    encoded = predictor.artifact.model.encode_text(prompts)
    torch.testing.assert_close(predictor.text_FD, encoded)


def test_a_supervised_head_has_no_languages(train_config, tmp_path):
    train(train_config(**{"text.name": "none", "objective.terms": "bank"}))
    with pytest.raises(ValueError, match="language=de: r is a supervised head"):
        Predictor.load(tmp_path / "runs" / "r" / "model", "cpu", "de")


def test_a_language_of_which_the_model_saw_no_prompts_is_refused(trained):
    with pytest.raises(ValueError, match=r"language=de: small .*text\.language=en"):
        Predictor.load(trained / "model", "cpu", "de")
    Predictor.load(trained / "model", "cpu", "en")
