"""Held out: training never hears of a finding; words alone ask for it, and are judged fairly."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY, configured

from ecg_siglip.config import EvaluateConfig, TrainConfig
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.evaluation.zero_shot import zero_shot_scores
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.vocabulary import concepts, findings

OUT = ["AFIB", "CLBBB"]
CPU = torch.device("cpu")


def test_every_concept_is_of_statements_and_said_in_every_language():
    for concept in concepts.CONCEPTS:
        assert set(concept.members) <= set(findings.STATEMENTS)
        for language in findings.LANGUAGES:
            assert 0 < len(getattr(concept, language)) <= 120
    for language in findings.LANGUAGES:
        said = [getattr(concept, language) for concept in concepts.CONCEPTS]
        assert len(set(said)) == len(said)
        # Nor is one a finding's own prompt: two labels for one text would contradict each other.
        assert not set(said) & set(findings.prompts(findings.STATEMENTS, language))


def test_concepts_of_a_vocabulary_are_those_that_it_has():
    texts, members = concepts.prompts(["CRBBB", "AFIB", "NORM"], "en")
    assert members.any(axis=1).all()
    assert members.shape == (len(texts), 3)
    table = dict(zip(texts, members.tolist(), strict=True))
    assert table["bundle branch block"] == [True, False, False]
    assert table["irregular rhythm"] == [False, True, False]
    assert "premature beats" not in table
    with pytest.raises(ValueError, match="none of these findings has a kind"):
        concepts.prompts(["NORM"])


def test_a_concept_is_true_of_a_record_with_any_of_its_findings(train_config):
    settings = train_config(**{"objective.terms": "bank+concept/shared:0.3"})
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    term = parse_terms(settings.objective.terms)[1]
    rows = data.batches(0)[0]
    texts, own, named = data.texts("concept", rows, 0)
    matrix = data.targets(term, rows, own, named).matrix()
    for text, column in zip(texts, matrix.T, strict=True):
        members = next(c.members for c in concepts.CONCEPTS if c.en == text)
        here = [data.codes.index(code) for code in members if code in data.codes]
        np.testing.assert_array_equal(column > 0, data.y_true[rows][:, here].any(axis=1))
    assert set(np.unique(matrix)) <= {0.0, 1.0}


@pytest.mark.parametrize("terms", ["concept/present", "concept/diagonal"])
def test_a_rule_that_makes_no_sense_of_concepts_is_refused(terms):
    with pytest.raises(ValueError, match="expected (concept/shared|bank/present)"):
        parse_terms(terms)


def test_training_sees_no_record_no_label_and_no_word_of_it(train_config):
    settings = train_config(**{"data.held_out": OUT})
    shown = load_training_data(settings, progress=False)
    settings.data.held_out = []
    whole = load_training_data(settings, progress=False)
    columns = [whole.codes.index(code) for code in OUT]
    has_one = whole.y_true[:, columns].any(axis=1)
    assert has_one.any()
    assert not set(OUT) & set(shown.codes)
    np.testing.assert_array_equal(shown.strat_fold == 0, has_one)
    np.testing.assert_array_equal(shown.y_true, np.delete(whole.y_true, columns, axis=1))
    settings.data.held_out = OUT
    data = TrainingData(shown, settings, CPU)
    assert not has_one[data.train_rows].any()
    heard = " ".join(shown.reports).lower()
    for word in ("fibrill", "flimmer", "linksschenkel", "left bundle"):
        assert word not in heard
    assert any(word in " ".join(whole.reports).lower() for word in ("flimmer", "fibrill"))
    assert "sinusrhythmus" in heard


def test_a_finding_without_known_words_costs_all_reports(train_config):
    settings = train_config(**{"data.held_out": ["WPW"]})
    assert set(load_training_data(settings, progress=False).reports) == {""}


def test_an_unknown_finding_is_refused(train_config):
    with pytest.raises(ValueError, match="data.held_out: XYZ is no finding of this task"):
        load_training_data(train_config(**{"data.held_out": ["XYZ"]}), progress=False)


def test_words_that_point_at_the_finding_find_it(train_config):
    """Embeddings made by hand: one axis for each of two kinds, texts that name them."""
    whole = load_training_data(train_config(), progress=False)
    code = "IMI"
    truth = whole.y_true[:, whole.codes.index(code)]
    rng = np.random.default_rng(0)
    embedding = rng.normal(0, 0.3, (len(truth), 8))
    embedding[:, 0] += truth

    def ask(texts):
        points = np.zeros((len(texts), 8))
        axis = {findings.prompts([code])[0]: 0}
        for i, text in enumerate(texts):
            points[i, axis.get(text, 1 + i % 7)] = 1.0
        return points

    rows = np.arange(len(truth))
    folds = {"train": rows[::3], "tune": rows[1::3], "report": rows[2::3]}
    (row,) = zero_shot_scores(whole, [code], folds, lambda rows: embedding[rows], ask)
    assert row["auroc"] > 0.9
    assert row["auroc"] > row["both"] > row["composed"]  # its concepts lie on axes of noise
    assert row["n_positive"] == truth[folds["report"]].sum()
    assert abs(row["nearest_auroc"] - 0.5) < 0.2
    assert row["random_high"] < row["auroc"]
    assert row["f1"] > 2 * row["f1_chance"]
    blind = replace(whole, y_true=np.zeros_like(whole.y_true))
    (row,) = zero_shot_scores(blind, [code], folds, lambda rows: embedding[rows], ask)
    assert set(row) == {"code", "name", "n_positive"}


@pytest.fixture(scope="module")
def unheard(simulated, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("unheard")
    base = {"run.name": "unheard", "run.root": str(runs), "data.root": str(simulated)}
    more = {"data.held_out": OUT, "objective.terms": "bank+concept/shared:0.3"}
    train(configured(TrainConfig, base | TINY | more | {"data.n_workers": 1}))
    return runs / "unheard"


def test_the_report_asks_for_what_training_never_heard_of(unheard):
    base = {"run.name": unheard.name, "run.root": str(unheard.parent), "n_bootstrap": 0}
    base |= {"fold": 8}  # fold 10 of so few records has neither
    evaluate_fold(configured(EvaluateConfig, base))
    folder = unheard / "evaluate" / "fold8"
    table = pd.read_csv(folder / "held_out.csv").set_index("code")
    assert list(table.index) == OUT
    some = table[(table["n_positive"] > 0)]
    assert len(some)
    assert some[["auroc", "nearest_auroc"]].notna().all(axis=None)
    assert "never heard of" in (folder / "report.html").read_text()
    about = json.loads((unheard / "model" / "config.json").read_text())["about"]
    assert about["held_out"] == OUT


def test_an_encoder_that_knows_the_finding_is_refused(unheard, trained, train_config, simulated):
    knobs = {"ecg.weights": str(trained / "model"), "data.held_out": OUT, "run.name": "next"}
    with pytest.raises(ValueError, match="small knows AFIB, CLBBB, which data.held_out keeps"):
        train(train_config(**knobs))
    train(train_config(**knobs | {"ecg.weights": str(unheard / "model"), "optim.n_epochs": 1}))
