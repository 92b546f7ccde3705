"""The estimators pass scikit-learn's own checks, except those that cannot apply to ECGs.

X is no table of features, so that `check_estimator` skips nearly every check of the estimators
themselves. Here the checks also run on subclasses that turn each row of a table into an ECG, and
each class label into a code; all that follows is the code of the estimators.
"""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import beats, first_findings
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from ecg_siglip import EcgClassifier, EcgEncoder, Predictor
from ecg_siglip.models.artifact import load_artifact

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "scikit-learn.md"
BEATS = beats()
N_FINDINGS = 5  # columns of the labels in the checks of scikit-learn
ONE_CLASS = "predictions are a matrix, one column per finding: not one class per record"
OTHER_COLUMNS = "the columns are the model's findings, whatever the labels of fit"
NOT_APPLICABLE = {
    "EcgClassifier": {
        "check_classifiers_classes": OTHER_COLUMNS,
        "check_classifiers_one_label": ONE_CLASS,
        "check_classifiers_train": ONE_CLASS,
        "check_classifiers_multilabel_output_format_predict": (
            "predictions are bool, so that classes_[row] selects codes"
        ),
        "check_classifier_multioutput": OTHER_COLUMNS,
        "check_supervised_y_2d": ONE_CLASS,
    },
    "EcgEncoder": {
        "check_estimators_nan_inf": "fit loads the model and does not look at the samples",
    },
}
# Skipped by scikit-learn itself: an environment variable that is not set; no such method.
SKIPPED = {
    "check_array_api_input",
    "check_classifiers_multilabel_output_format_decision_function",
}
PREDICTORS: dict[str, Predictor] = {}  # by the name of the model, loaded once


class OfTables:
    """ECGs from rows of a table: beats with the amplitudes of the features, one per lead."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags

    def _load(self):
        return PREDICTORS[self.model]

    def _signals(self, X, reset):
        X = validate_data(self, X, ensure_all_finite=False, reset=reset).astype(np.float64)
        X = X[:, np.arange(12) % X.shape[1]]
        amplitude = np.where(np.isfinite(X), 1 + 0.5 * np.tanh(X), np.nan)
        return amplitude[:, :, None] * BEATS


class EcgClassifierOfTables(OfTables, EcgClassifier):
    def fit(self, X, y):
        return super().fit(X, in_codes(y, self.model))

    def score(self, X, y):
        return super().score(X, in_codes(y, self.model))


class EcgEncoderOfTables(OfTables, EcgEncoder):
    pass


def in_codes(y, model):
    """Return class labels as codes; a matrix has one column per finding."""
    codes, labels = PREDICTORS[model].artifact.codes, np.asarray(y)
    is_class = labels.dtype.kind in "iuU" or (
        labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == labels.round()).all()
    )
    if labels.ndim != 1 or not is_class:
        return y
    return [codes[zlib.crc32(str(label).encode()) % len(codes)] for label in labels]


@pytest.mark.slow
@pytest.mark.parametrize("of_tables", [EcgClassifierOfTables, EcgEncoderOfTables])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of classes with few records
def test_every_check_passes_that_can_apply_to_ecgs(of_tables, trained):
    name = str(trained / "model")
    PREDICTORS[name] = Predictor(first_findings(load_artifact(name), N_FINDINGS))
    results = check_estimator(of_tables(name, fs=100, device="cpu"), on_fail=None, on_skip=None)
    by_status: dict[str, dict[str, Any]] = {"passed": {}, "failed": {}, "skipped": {}}
    for result in results:
        by_status[result["status"]][result["check_name"]] = result["exception"]
    expected = NOT_APPLICABLE[of_tables.__name__.removesuffix("OfTables")]
    assert {*by_status["failed"]} == {*expected}, by_status["failed"]
    assert {*by_status["skipped"]} <= SKIPPED
    assert len(by_status["passed"]) > 40


@pytest.mark.parametrize("estimator", [EcgClassifier, EcgEncoder])
def test_check_estimator_passes_as_a_user_runs_it(estimator, trained):
    with pytest.warns(SkipTestWarning, match="three_d_array=True"):
        results = check_estimator(estimator(str(trained / "model")))
    assert {result["status"] for result in results} == {"passed"}


def test_the_page_lists_the_checks_that_cannot_apply_with_their_reasons():
    page = PAGE.read_text(encoding="utf-8")
    for checks in NOT_APPLICABLE.values():
        for check, reason in checks.items():
            assert f"| `{check}` | {reason} |" in page
    n_checks = sum(map(len, NOT_APPLICABLE.values()))
    assert len(re.findall(r"^\| `check_", page, re.M)) == n_checks
