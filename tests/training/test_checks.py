"""Settings that exclude each other are refused before any data are read."""

import pytest

from ecg_siglip.training.checks import check_train_settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective.loss": "softmax", "objective.n_chunk": 8},
            r"objective\.n_chunk: .*expected null",
        ),
        (
            {"objective.loss": "softmax", "objective.across": "ring"},
            r"objective\.across=ring: .*expected gather",
        ),
        (
            {"text.name": "none", "objective.terms": "report/diagonal"},
            r"text=none with objective\.terms=report/diagonal.*expected objective=bank",
        ),
        (
            {"text.name": "none", "objective.terms": "bank+report/diagonal"},
            r"text=none with objective\.terms=bank\+report/diagonal",
        ),
        (
            {"objective.teachers": ["a"], "objective.terms": "findings/jaccard"},
            r"objective\.teachers with objective\.terms=findings/jaccard",
        ),
        ({"objective.terms": "bonk"}, r"objective\.terms='bonk'"),
        ({"ecg.locked": True}, r"ecg\.locked=true"),
        ({"data.train_folds": []}, r"data\.train_folds=\[\]: expected at least one fold"),
        ({"data.tune_fold": 8}, r"data\.tune_fold=8: expected a fold that is not trained on"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(train_config, settings, message):
    with pytest.raises(ValueError, match=message):
        check_train_settings(train_config(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective.loss": "softmax", "objective.terms": "findings/diagonal"},
        {"objective.across": "ring", "objective.n_chunk": 8},
        {"text.name": "none", "ecg.locked": True},
        {"objective.teachers": ["a"], "objective.terms": "bank+finding/present:0.5"},
    ],
)
def test_settings_that_fit_are_accepted(train_config, settings):
    check_train_settings(train_config(**settings))
