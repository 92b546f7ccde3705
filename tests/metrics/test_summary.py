"""Summaries take the scores over findings with 5 positives, where there are any."""

import numpy as np
import pytest
from scored_folds import scored_fold

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.summary import epoch_scores, headline


def test_epochs_are_compared_by_findings_with_5_positives():
    y_true, y_prob = scored_fold()
    scores = multilabel.scores(y_true, y_prob, {"fixed_0.5": np.full(9, 0.5)}, 0)
    assert epoch_scores(y_true, y_prob) == {
        "macro_auroc": scores["macro_auroc_min5"],
        "macro_auprc": scores["macro_auprc_min5"],
        "micro_f1": scores["fixed_0.5/micro_f1"],
    }


def test_a_fold_with_few_positives_is_scored_by_all_findings():
    y_true, y_prob = np.zeros((20, 2), bool), np.random.default_rng(0).random((20, 2))
    y_true[:3] = True
    scores = multilabel.scores(y_true, y_prob, {}, 0)
    assert np.isnan(scores["macro_auroc_min5"])
    assert epoch_scores(y_true, y_prob)["macro_auroc"] == pytest.approx(scores["macro_auroc"])


def test_the_headline_has_intervals_only_if_there_are_any():
    scores = {"macro_auroc_min5": 0.9, "ece": 0.02, "ece/low": 0.01, "ece/high": 0.03}
    lines = headline(scores | {"n_records": 7, "n_findings_min5": 3}).splitlines()
    assert lines == [
        "macro_auroc_min5          0.900",
        "ece                       0.020  [0.010, 0.030]",
        "7 records, 3 findings with 5 or more",
    ]
