"""Words in several languages: one a step in training, any of them in an answer."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, PredictConfig, TrainConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.predict import predict
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.vocabulary import findings


@pytest.fixture(scope="module")
def mixed(simulated, tmp_path_factory) -> Path:
    """The folder of a small finished run that was trained in all languages."""
    runs = tmp_path_factory.mktemp("mixed")
    base = {"run.name": "mixed", "run.root": str(runs), "data.root": str(simulated)}
    train(configured(TrainConfig, base | TINY | {"text.language": "mixed", "data.n_workers": 1}))
    return runs / "mixed"


def test_every_step_speaks_one_language_and_all_take_turns(train_config):
    settings = train_config(**{"text.language": "mixed", "optim.batch_size": 16})
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    heard = []
    for epoch in range(3):
        for batch in data.batches(epoch):
            prompts, _, _ = data.texts("bank", batch, epoch)
            heard.append(data.prompts_in.index(prompts))
            captions, own, named = data.texts("finding", batch, epoch)
            spoken = data.prompts_in[heard[-1]]
            for caption, label in zip(captions, named, strict=True):
                assert caption == spoken[int(label.argmax())]
            # Every process is told of the whole batch, and speaks the same language.
            assert data.texts("bank", batch.copy(), epoch)[0] is prompts
            assert len(own) == len(captions)
    assert np.bincount(heard, minlength=3).min() > len(heard) / 6
    assert data.prompts == findings.prompts(data.codes, "en")


def test_one_language_is_spoken_alone(train_config):
    settings = train_config(**{"text.language": "de"})
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    for batch in data.batches(0):
        assert data.texts("bank", batch, 0)[0] == findings.prompts(data.codes, "de")


def test_an_answer_in_another_language_is_what_its_prompts_say(mixed, simulated, capsys):
    path = str(simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0])
    base = {"run.name": mixed.name, "run.root": str(mixed.parent), "device": "cpu"}
    said = {}
    for language in (None, *findings.LANGUAGES):
        capsys.readouterr()
        predict(configured(PredictConfig, base | {"records": [path], "language": language}))
        said[language] = json.loads(capsys.readouterr().out)["probabilities"]
    assert said[None] == said["en"]
    assert said["de"] != said["en"]
    assert said["ja"] not in (said["en"], said["de"])
    predictor = Predictor.load(mixed / "model", "cpu", "ja")
    asked = predictor.artifact.model.encode_text(findings.prompts(predictor.artifact.codes, "ja"))
    torch.testing.assert_close(predictor.text_FD, asked)


def test_the_report_holds_the_languages_against_each_other(mixed):
    base = {"run.name": mixed.name, "run.root": str(mixed.parent), "n_bootstrap": 0}
    evaluate_fold(configured(EvaluateConfig, base))
    folder = mixed / "evaluate" / "fold10"
    table = pd.read_csv(folder / "languages.csv").set_index("language")
    assert list(table.index) == list(findings.LANGUAGES)
    scores = json.loads((folder / "metrics.json").read_text())
    assert table["macro_auroc_min5"]["en"] == pytest.approx(scores["macro_auroc_min5"])
    assert (table["mean_change"]["en"], table["same_calls"]["en"]) == (0.0, 1.0)
    assert table["mean_change"]["ja"] > 0
    assert "Asked in other languages" in (folder / "report.html").read_text()


def test_a_model_of_one_language_reports_one(evaluated):
    assert not (evaluated / "languages.csv").exists()


def test_a_supervised_head_has_no_languages(train_config, tmp_path):
    settings = train_config(**{"text.name": "none", "objective.terms": "bank"})
    train(settings)
    with pytest.raises(ValueError, match="language=de: r is a supervised head without words"):
        Predictor.load(Path(settings.run.root) / "r" / "model", "cpu", "de")


def test_a_language_that_was_not_learned_is_refused(trained):
    with pytest.raises(ValueError, match=r"language=de: small has learned text\.language=en alone"):
        Predictor.load(trained / "model", "cpu", "de")
    Predictor.load(trained / "model", "cpu", "en")
