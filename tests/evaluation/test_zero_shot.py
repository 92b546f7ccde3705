"""Zero-shot scores: findings that were held out from training are detected by their text."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, TrainConfig
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.evaluation.fold import evaluate_run
from ecg_siglip.evaluation.zero_shot import zero_shot_scores
from ecg_siglip.train import train
from ecg_siglip.vocabulary import findings

HELD_OUT = ["AFIB", "CLBBB"]


def test_the_text_of_a_held_out_finding_detects_it(train_config):
    """Embeddings made by hand: the finding is on the first axis, as is its prompt."""
    whole = load_training_data(train_config(), progress=False)
    code = "IMI"
    y_true = whole.y_true[:, whole.codes.index(code)]
    rng = np.random.default_rng(0)
    embedding = rng.normal(0, 0.3, (len(y_true), 8))
    embedding[:, 0] += y_true

    def encode_texts(texts):
        vectors = np.zeros((len(texts), 8))
        axis = {findings.prompts([code])[0]: 0}
        for i, text in enumerate(texts):
            vectors[i, axis.get(text, 1 + i % 7)] = 1.0
        return vectors

    rows = np.arange(len(y_true))
    folds = {"train": rows[::3], "tune": rows[1::3], "report": rows[2::3]}
    (row,) = zero_shot_scores(whole, [code], folds, lambda rows: embedding[rows], encode_texts)
    assert row["auroc"] > 0.9
    assert row["auroc"] > row["both"] > row["composed"]  # its concepts are on axes of noise
    assert row["n_positive"] == y_true[folds["report"]].sum()
    assert abs(row["nearest_auroc"] - 0.5) < 0.2
    assert row["random_high"] < row["auroc"]
    assert row["f1"] > 2 * row["f1_chance"]
    blind = replace(whole, y_true=np.zeros_like(whole.y_true))
    (row,) = zero_shot_scores(blind, [code], folds, lambda rows: embedding[rows], encode_texts)
    assert set(row) == {"code", "name", "n_positive"}


@pytest.fixture(scope="module")
def held_out_run(simulated, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("held_out")
    base = {"run.name": "held_out", "run.root": str(runs), "data.root": str(simulated)}
    learning = {"data.held_out": HELD_OUT, "objective.terms": "bank+concept/shared:0.3"}
    train(configured(TrainConfig, base | TINY | learning | {"data.n_workers": 1}))
    return runs / "held_out"


def test_held_out_findings_are_in_the_report_of_a_fold(held_out_run):
    base = {"run.name": held_out_run.name, "run.root": str(held_out_run.parent), "n_bootstrap": 0}
    base |= {"fold": 8}  # fold 10 of so few records has neither
    evaluate_run(configured(EvaluateConfig, base))
    folder = held_out_run / "evaluate" / "fold8"
    table = pd.read_csv(folder / "held_out.csv").set_index("code")
    assert list(table.index) == HELD_OUT
    scored = table[table["n_positive"] > 0]
    assert len(scored)
    assert scored[["auroc", "nearest_auroc"]].notna().all(axis=None)
    page = (folder / "report.html").read_text()
    assert re.search("never heard of|held out from training", page)
    about = json.loads((held_out_run / "model" / "config.json").read_text())["about"]
    assert about["held_out"] == HELD_OUT
