"""Details of a finding: counts, curves and example records agree with its probabilities."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR
from ecg_siglip.metrics import multilabel
from ecg_siglip.reporting.finding_details import N_POINTS, SIZE, finding_details, report_command

CODES = ("SR", "AFIB", "X/Y_", "NONE")


@pytest.fixture(scope="module")
def fold():
    rng = np.random.default_rng(0)
    y_true = rng.random((400, 4)) < [0.7, 0.2, 0.05, 0.0]
    y_prob = np.clip(0.35 + 0.25 * y_true + 0.15 * rng.standard_normal((400, 4)), 0.01, 0.99)
    thresholds = {r: multilabel.tune_thresholds(y_true, y_prob, r) for r in ("f1", "fixed_0.5")}
    return y_true, y_prob, thresholds


@pytest.fixture(scope="module")
def details(fold):
    ids = np.arange(1000, 1400)
    paths = [f"data/my ecgs/{i}_lr" for i in ids]
    y_true, y_prob, thresholds = fold
    return finding_details(
        y_true, y_prob, CODES, thresholds, "f1", ids, paths, "predict run.name=r1"
    )


def points(text):
    x, y = np.array([point.split(",") for point in text.split()], float).T
    return x / SIZE, 1 - y / SIZE


def test_counts_are_those_of_the_threshold(fold, details):
    y_true, y_prob, thresholds = fold
    for f, finding in enumerate(details):
        for rule, n in finding.counts.items():
            y_pred = y_prob[:, f] >= thresholds[rule][f]
            assert n["threshold"] == thresholds[rule][f]
            assert n["tp"] == (y_pred & y_true[:, f]).sum()
            assert n["fp"] + n["tn"] == (~y_true[:, f]).sum()
            assert sum(n[key] for key in ("tp", "fp", "fn", "tn")) == 400


def test_curves_have_few_points_and_the_right_area(fold, details):
    y_true, y_prob, _ = fold
    for f, finding in enumerate(details[:3]):
        x, y = points(finding.roc)
        assert 3 < len(x) <= N_POINTS + 2
        assert auc(x, y) == pytest.approx(roc_auc_score(y_true[:, f], y_prob[:, f]), abs=0.01)
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        recall, precision = points(finding.pr)
        area = average_precision_score(y_true[:, f], y_prob[:, f])
        assert auc(recall, precision) == pytest.approx(area, abs=0.04)


def test_the_dot_is_at_the_threshold(fold, details):
    y_true, y_prob, thresholds = fold
    finding, y_pred = details[1], y_prob[:, 1] >= thresholds["f1"][1]
    sensitivity = (y_pred & y_true[:, 1]).sum() / y_true[:, 1].sum()
    precision = (y_pred & y_true[:, 1]).sum() / y_pred.sum()
    assert finding.roc_at[1] == pytest.approx(100 * (1 - sensitivity), abs=0.06)
    assert finding.pr_at == pytest.approx((100 * sensitivity, 100 * (1 - precision)), abs=0.06)


def test_examples_have_the_most_extreme_probabilities(fold, details):
    y_true, y_prob, thresholds = fold
    finding = details[1]
    for group, label, is_positive in (
        (finding.true_positives, True, True),
        (finding.false_positives, False, True),
        (finding.missed, True, False),
    ):
        among = (y_true[:, 1] == label) & ((y_prob[:, 1] >= thresholds["f1"][1]) == is_positive)
        order = np.sort(y_prob[among, 1])
        expected = order[::-1][:3] if is_positive else order[:3]
        assert [example.probability for example in group] == expected.tolist()
        assert all(among[int(example.record) - 1000] for example in group)


def test_the_command_of_a_finding_is_one_of_predict(details):
    ConfigStore.instance().store(name="predict_schema", node=config.PredictConfig)
    words = shlex.split(details[2].command)[1:]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        settings = compose("predict", words)
    shown = [*details[2].true_positives, *details[2].false_positives, *details[2].missed]
    assert list(settings.records) == [f"data/my ecgs/{example.record}_lr" for example in shown]
    assert settings.report == "X_Y_.html"


@pytest.mark.parametrize(
    "path", ["a", "a b", "ä/1", "a,b", "a'b", 'a"b', "a[0]", "a=b", "a$b", "a\\b"]
)
def test_the_command_keeps_every_path(path):
    ConfigStore.instance().store(name="predict_schema", node=config.PredictConfig)
    words = shlex.split(report_command([path, "b"], "SR", "predict"))[1:]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert list(compose("predict", words).records) == [path, "b"]


def test_a_finding_without_positives_has_no_curve(details):
    finding = details[3]
    assert (finding.roc, finding.pr, finding.bins, finding.roc_at, finding.pr_at) == (
        "",
        "",
        [],
        None,
        None,
    )
    assert not finding.true_positives and not finding.missed


def test_the_report_has_details_of_every_finding(evaluated):
    html = (evaluated / "report.html").read_text("utf-8")
    table = pd.read_csv(evaluated / "findings.csv")
    assert html.count('<details class="finding"') == len(table)
    assert set(re.findall(r'href="#(finding-\d+)"', html)) == set(
        re.findall(r'<details class="finding" id="([^"]+)"', html)
    )
    n_panels = html.count("<svg")
    assert n_panels == 3 * ((table["n_positive"] > 0) & (table["n_positive"] < 14)).sum()
    commands = re.findall(r"<pre>(.*?)</pre>", html)
    assert commands and "python -m ecg_siglip.predict run.name=small" in commands[0]


def test_a_finding_is_shown_with_the_records_whose_label_is_known(fold):
    y_true, y_prob, thresholds = fold
    ids = np.arange(1000, 1400)
    known = np.random.default_rng(5).random(y_true.shape) < 0.6
    partly = np.where(known, y_true, np.nan)
    ours = finding_details(partly, y_prob, CODES, thresholds, "f1", ids, ids, "predict")
    for f, details in enumerate(ours):
        rows = known[:, f]
        alone = {rule: values[[f]] for rule, values in thresholds.items()}
        (expected,) = finding_details(
            y_true[rows][:, [f]], y_prob[rows][:, [f]], CODES[f : f + 1], alone, "f1",
            ids[rows], ids[rows], "predict",
        )  # fmt: skip
        assert details == expected
