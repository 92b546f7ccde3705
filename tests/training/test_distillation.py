"""Teachers are mixed into the labels of the records that they were not trained on, only."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import change_config

from ecg_siglip.core.run_folder import to_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.model_files import NEIGHBORS as FILE
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.distillation import soft_labels
from ecg_siglip.training.targets import PairTargets, parse_terms
from ecg_siglip.training.trainer import Trainer

CPU = torch.device("cpu")
FOLDS = {"a": [1, 2, 3, 4], "b": [1, 2, 5, 6], "c": [3, 4, 5, 6]}
FOLD_SETTINGS = {"data.train_folds": [1, 2, 3, 4, 5, 6], "data.tune_fold": 7}


@pytest.fixture(scope="module")
def teachers(trained, tmp_path_factory):
    """Three copies of the finished run, with other training folds in their provenance."""
    root = tmp_path_factory.mktemp("teachers")
    for name, folds in FOLDS.items():
        shutil.copytree(trained, root / name)
        folder = root / name / "model"
        (folder / FILE).unlink()  # it has the training records of the other folds
        about = {"run": name, "train_folds": folds, "tune_fold": 7}
        change_config(folder, lambda stored, about=about: stored["about"].update(about))
    return root


@pytest.fixture
def student_config(train_config, teachers):
    def make(**settings):
        base = {"run.root": str(teachers), "objective.teachers": ["a", "b", "c"]}
        return train_config(**(base | FOLD_SETTINGS | settings))

    return make


def test_a_teacher_is_used_for_the_folds_that_it_has_not_seen(student_config, teachers):
    settings = student_config(**{"objective.teacher_share": 0.25})
    data = load_training_data(settings, progress=False)
    probabilities = Predictor.load(teachers / "a" / "model", "cpu").probabilities(data.signals)
    labels, summaries = soft_labels(data, settings)
    is_train = np.isin(data.strat_fold, [1, 2, 3, 4, 5, 6])
    # Each fold is unseen by one of three teachers with equal probabilities.
    expected = 0.75 * data.y_true + 0.25 * probabilities
    np.testing.assert_allclose(labels[is_train], expected[is_train], atol=1e-5)
    assert (labels[~is_train] == data.y_true[~is_train]).all()
    assert [(each["run"], each["train_folds"]) for each in summaries] == list(FOLDS.items())


def test_the_mean_is_over_the_teachers_that_have_not_seen_the_record(
    student_config, teachers, tmp_path
):
    root = shutil.copytree(teachers, tmp_path / "two")

    def change(stored):
        stored["about"]["train_folds"] = FOLDS["a"]  # a and b are used for 5 and 6, c for 1 and 2
        stored["calibration"] = (np.array(stored["calibration"]) * [1.0, 0.5]).tolist()

    change_config(root / "b" / "model", change)
    settings = student_config(**{"run.root": str(root), "objective.teacher_share": 1.0})
    data = load_training_data(settings, progress=False)
    with pytest.raises(ValueError, match="every one was trained or tuned on fold 3"):
        soft_labels(data, settings)
    of_two = {"train_folds": [1, 2]}  # b is used for 3 and 4 as well
    change_config(root / "b" / "model", lambda stored: stored["about"].update(of_two))
    labels, _ = soft_labels(data, settings)
    for folds, names in (([1, 2], "c"), ([3, 4], "b"), ([5, 6], "ab")):
        rows = data.fold(*folds)
        probabilities = [
            Predictor.load(root / name / "model", "cpu").probabilities(data.signals[rows])
            for name in names
        ]
        np.testing.assert_allclose(labels[rows], np.mean(probabilities, axis=0), atol=1e-5)


def test_a_teacher_with_other_data_folds_or_signals_is_refused(student_config, teachers, tmp_path):
    data = load_training_data(student_config(), progress=False)
    with pytest.raises(ValueError, match="fits no run"):
        soft_labels(data, student_config(**{"objective.teachers": ["d"]}))
    with pytest.raises(ValueError, match="fold 6 of the same records"):
        soft_labels(data, student_config(**{"data.train_folds": [1, 2, 3, 4, 5]}))
    root = shutil.copytree(teachers, tmp_path / "worse")
    shutil.rmtree(root / "c" / "model")
    with pytest.raises(ValueError, match="c/model: expected a finished run"):
        soft_labels(data, student_config(**{"run.root": str(root)}))
    about = json.loads((root / "a" / "model" / "config.json").read_text())["about"]
    changed = {"data": about["data"] + "0"}
    change_config(root / "a" / "model", lambda stored: stored["about"].update(changed))
    with pytest.raises(ValueError, match="a: was trained on other records"):
        soft_labels(data, student_config(**{"run.root": str(root)}))
    with pytest.raises(ValueError, match="a: has signals with other settings"):
        soft_labels(data, student_config(**{"waveform.low_hz": 0.4}))
    for terms in ("findings/jaccard", "findings/present"):
        with pytest.raises(ValueError, match="teachers predict single findings"):
            train(student_config(**{"objective.terms": terms}))
    with pytest.raises(ValueError, match=r"objective\.teachers: d fits no run"):
        train(student_config(**{"objective.teachers": ["d"]}))


def test_with_a_share_of_0_the_losses_equal_those_without_teachers(
    student_config, teachers, train_config
):
    train(student_config(**{"run.name": "with", "objective.teacher_share": 0.0}))
    train(train_config(**FOLD_SETTINGS, **{"run.root": str(teachers), "run.name": "without"}))

    def losses(name):
        lines = (teachers / name / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert losses("with") == losses("without")
    about = json.loads((teachers / "with" / "model" / "config.json").read_text())["about"]
    assert [each.run for each in Provenance.from_json(about).lineage()] == ["with", "a", "b", "c"]
    assert "0 of a label from a, b, c" in (teachers / "with" / "model" / "README.md").read_text()


def test_a_share_changes_the_targets_but_not_the_pair_shares_and_the_prior(student_config):
    settings = student_config()
    loaded = load_training_data(settings, progress=False)
    labels, _ = soft_labels(loaded, settings)
    hard = TrainingData(loaded, settings, CPU)
    soft = TrainingData(loaded, settings, CPU, labels)
    (term,) = parse_terms("bank")
    rows = hard.batches(0)[0]
    _, own, named = hard.texts("bank", rows, 0)
    matrix = soft.targets(term, rows, own, named).matrix()
    np.testing.assert_allclose(matrix.numpy(), labels[rows], atol=1e-6)
    assert not torch.equal(matrix, hard.targets(term, rows, own, named).matrix())
    assert soft.pair_shares(term)["false_negative"] == 0.0
    assert torch.equal(soft.prior_logits(), hard.prior_logits())


def test_a_run_is_not_its_own_teacher_and_is_not_resumed_with_other_teachers(
    student_config, teachers, tmp_path
):
    root = shutil.copytree(teachers, tmp_path / "three")
    settings = student_config(
        **{"run.root": str(root), "run.name": "d", "objective.teachers": ["?"]}
    )
    (root / "d").mkdir()
    (root / "d" / "config.yaml").write_text(to_yaml(settings))  # as if killed
    loaded = load_training_data(settings, progress=False)
    labels, summaries = soft_labels(loaded, settings)
    assert [each["run"] for each in summaries] == ["a", "b", "c"]
    training = Trainer(settings, TrainingData(loaded, settings, CPU, labels))
    training.teachers = summaries
    state = training.state()
    training.resume(state, root / "d" / "state.pt")
    training.teachers = summaries[:2]
    with pytest.raises(ValueError, match="begun with other teachers"):
        training.resume(state, root / "d" / "state.pt")


def test_the_soft_target_of_several_findings_is_their_sum_minus_all_but_one():
    labels = torch.tensor([[1.0, 0.7, 0.2], [0.5, 0.4, 1.0]])
    texts = torch.tensor([[0.0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
    no_record = torch.zeros(4, dtype=torch.int64)
    matrix = PairTargets("present", labels, texts, no_record[:2], no_record, torch.ones(3)).matrix()
    expected = torch.tensor([[0.7, 0.7, 0, 0.2], [0.4, 0, 0, 0.5]])
    torch.testing.assert_close(matrix, expected)
