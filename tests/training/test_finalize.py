"""Finish a training run: the saved model is that of the best epoch, with its tuning and origin."""

import json

import numpy as np
from helpers import configured

from ecg_siglip.config import ObjectiveConfig, TrainConfig
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics import multilabel
from ecg_siglip.training.finalize import describe_objective


def test_the_stored_tuning_and_scores_are_those_of_the_saved_weights(trained):
    settings = from_yaml(TrainConfig, trained / "config.yaml")
    data = load_training_data(settings, progress=False)
    rows = data.fold(settings.data.tune_fold)
    predictor = Predictor.load(trained / "model", "cpu")
    artifact = predictor.artifact
    scores = multilabel.scores(
        data.y_true[rows],
        predictor.probabilities(data.signals[rows]),
        artifact.thresholds,
        n_bootstrap=0,
    )
    stored = artifact.provenance.tune_scores
    for name in ("macro_auroc", "expected_f1/micro_f1", "ece"):
        np.testing.assert_allclose(stored[name], scores[name], atol=1e-6, err_msg=name)
    # Calibrated probabilities of the tuning fold need no further calibration.
    again, _, _ = tune_fold(data.y_true[rows], predictor.probabilities(data.signals[rows]))
    assert np.median(np.abs(again - [1.0, 0.0]), axis=0).max() < 0.1


def test_the_provenance_is_that_of_the_run(trained):
    provenance = Predictor.load(trained / "model", "cpu").artifact.provenance
    settings = from_yaml(TrainConfig, trained / "config.yaml")
    assert provenance.run == "small"
    assert provenance.train_folds == settings.data.train_folds
    assert provenance.tune_fold == settings.data.tune_fold
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert provenance.best_epoch in [line["epoch"] for line in lines]
    assert provenance.pretrained is None
    assert not provenance.teachers


def test_the_objective_is_described_with_its_teachers():
    objective = configured(ObjectiveConfig, {"terms": "bank", "teacher_share": 0.25})
    alone = describe_objective(objective, [])
    assert alone == f"bank ({objective.loss})"
    distilled = describe_objective(objective, [{"run": "a"}, {"run": "b"}])
    assert distilled == f"{alone}; 0.25 of a label from a, b"
