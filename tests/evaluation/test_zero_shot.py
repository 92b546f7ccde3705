"""Zero-shot scores: findings that were held out from training are detected by their text."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, TrainConfig
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.evaluation.zero_shot import zero_shot_scores
from ecg_siglip.train import train
from ecg_siglip.vocabulary import ptbxl

HELD_OUT = ["AFIB", "CLBBB"]


@pytest.fixture
def embedded(train_config):
    """Embeddings made by hand: the finding IMI is on the first axis, as is its prompt."""
    data = load_training_data(train_config(), progress=False)
    y_true = data.y_true[:, data.codes.index("IMI")]
    embedding = np.random.default_rng(0).normal(0, 0.3, (len(y_true), 8))
    embedding[:, 0] += y_true

    def encode_text(texts):
        vectors = np.zeros((len(texts), 8))
        axis = {ptbxl().prompts(["IMI"])[0]: 0}
        for i, text in enumerate(texts):
            vectors[i, axis.get(text, 1 + i % 7)] = 1.0
        return vectors

    rows = np.arange(len(y_true))
    folds = {"train": rows[::3], "tune": rows[1::3], "report": rows[2::3]}
    return data, folds, lambda rows: embedding[rows], encode_text


def test_the_text_of_a_held_out_finding_detects_it(embedded):
    data, folds, embed, encode_text = embedded
    (row,) = zero_shot_scores(data, ["IMI"], folds, embed, encode_text)
    assert row["auroc"] > 0.9
    assert row["auroc"] > row["both"] > row["composed"]  # its concepts are on axes of noise
    assert row["n_positive"] == data.y_true[folds["report"], data.codes.index("IMI")].sum()
    assert abs(row["nearest_auroc"] - 0.5) < 0.2
    assert row["random_high"] < row["auroc"]
    assert row["f1"] > 2 * row["f1_chance"]


def test_a_linear_probe_improves_with_its_examples(embedded):
    data, folds, embed, encode_text = embedded
    (row,) = zero_shot_scores(data, ["IMI"], folds, embed, encode_text)
    assert 0.5 < row["probe_1"] < row["probe_5"]
    assert np.isnan(row["probe_20"]), "there are not so many positives"


def test_a_finding_without_positives_is_not_scored(embedded):
    data, folds, embed, encode_text = embedded
    unlabelled = replace(data, y_true=np.zeros_like(data.y_true))
    (row,) = zero_shot_scores(unlabelled, ["IMI"], folds, embed, encode_text)
    assert set(row) == {"code", "name", "n_positive"}


@pytest.fixture(scope="module")
def held_out_run(simulated, tmp_path_factory) -> Path:
    """The folder of a small finished run that was trained without two findings."""
    runs = tmp_path_factory.mktemp("held_out")
    base = {"run.name": "held_out", "run.root": str(runs), "data.root": str(simulated)}
    base |= {"data.held_out": HELD_OUT, "objective.terms": "bank+concept/shared:0.3"}
    train(configured(TrainConfig, base | TINY | {"data.n_workers": 1}))
    return runs / "held_out"


def test_held_out_findings_are_in_the_report_of_a_fold(held_out_run):
    base = {"run.name": held_out_run.name, "run.root": str(held_out_run.parent), "n_bootstrap": 0}
    base |= {"fold": 8}  # fold 10 of so few records has neither
    evaluate_fold(configured(EvaluateConfig, base))
    folder = held_out_run / "evaluate" / "fold8"
    table = pd.read_csv(folder / "held_out.csv").set_index("code")
    assert list(table.index) == HELD_OUT
    scored = table[table["n_positive"] > 0]
    assert len(scored)
    assert scored[["auroc", "nearest_auroc"]].notna().all(axis=None)
    assert "<h2>Findings held out from training</h2>" in (folder / "report.html").read_text()
    about = json.loads((held_out_run / "model" / "config.json").read_text())["about"]
    assert about["held_out"] == HELD_OUT


def test_a_run_that_was_trained_with_all_findings_has_no_such_table(evaluated):
    assert not (evaluated / "held_out.csv").exists()
