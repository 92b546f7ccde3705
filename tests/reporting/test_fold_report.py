"""The report of a fold: one file without external parts, with all text escaped."""

import numpy as np
import pytest
from helpers import step_signal as signal

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.reporting.finding_details import finding_details
from ecg_siglip.reporting.fold_report import (
    FoldReport,
    _verdicts,
    worst_cases,
    write_fold_report,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    y_true = rng.random((120, 3)) < [0.5, 0.3, 0.02]
    y_prob = np.clip(0.3 + 0.4 * y_true + 0.15 * rng.standard_normal((120, 3)), 0.01, 0.99)
    thresholds = {r: multilabel.tune_thresholds(y_true, y_prob, r) for r in THRESHOLD_RULES}
    path = tmp_path_factory.mktemp("report") / "report.html"
    codes = ("SR", "AFIB", "X<Y")
    report = FoldReport(
        title="a <script>alert(1)</script> run",
        scores=multilabel.scores(y_true, y_prob, thresholds, n_bootstrap=20),
        rows=multilabel.per_finding(y_true, y_prob, thresholds),
        codes=codes,
        names=["sinus rhythm", "atrial fibrillation", "a & b"],
        y_true=y_true,
        y_prob=y_prob,
        thresholds=thresholds,
        tune=(y_true, y_prob),
        worst=[
            {
                "record": "ecg_id 7 <b>",
                "signal": signal(),
                "fs": 100.0,
                "probabilities": dict(zip(codes, y_prob[0], strict=True)),
                "findings": ["SR"],
                "true": ["AFIB"],
                "why": "AFIB missed",
            }
        ],
        context={"run": "r & d"},
    )
    write_fold_report(path, report)
    return path


def test_the_report_is_one_file_without_external_parts(page):
    html = page.read_text()
    assert list(page.parent.iterdir()) == [page]
    for external in ('src="http', 'href="http', "src='http", "@import", "url(http"):
        assert external not in html
    assert html.count("data:image/") + html.count("<svg") >= 5
    assert len(html) < 6e6


def test_the_report_states_its_purpose_and_its_results(page):
    html = page.read_text()
    assert "not for diagnosis" in html
    for word in ("ecg_id 7", "AFIB missed", "atrial fibrillation", "prevalence", "95 %"):
        assert word in html


def test_names_from_data_are_escaped(page):
    html = page.read_text()
    assert "<script>alert(1)" not in html
    assert "ecg_id 7 <b>" not in html
    assert "&lt;b&gt;" in html
    assert "X&lt;Y" in html


def test_rows_codes_and_columns_of_different_numbers_are_refused():
    content = {
        "title": "",
        "scores": {},
        "codes": ("SR",),
        "names": ["sinus rhythm"],
        "y_true": np.zeros((2, 1), bool),
        "y_prob": np.zeros((2, 1)),
        "thresholds": {"f1": np.zeros(1)},
        "context": {},
    }
    with pytest.raises(ValueError, match="one row, code, name and column per finding"):
        FoldReport(rows=[], rule="f1", **content)
    with pytest.raises(ValueError, match="threshold rule expected_f1: expected one of f1"):
        FoldReport(rows=[{}], **content)


def test_the_findings_of_a_case_are_missed_false_positive_or_right(page):
    html = page.read_text()
    assert '<li class="missed"><b>missed</b> AFIB, atrial fibrillation' in html
    assert '<li class="false"><b>false positive</b> SR, sinus rhythm' in html
    assert "<b>right</b>" not in html


def test_the_worst_cases_have_the_largest_cross_entropy():
    y_true = np.array([[True, False], [True, False], [False, False]])
    y_prob = np.array([[0.9, 0.1], [0.01, 0.1], [0.1, 0.8]])
    cases = worst_cases(["a", "b", "c"], ["SR", "PVC"], y_true, y_prob, y_prob >= 0.5, n=2)
    assert [row for row, _ in cases] == [1, 2]
    first, second = (case for _, case in cases)
    assert first["why"] == "SR missed: probability 0.01"
    assert (first["record"], first["true"], first["findings"]) == ("b", ["SR"], [])
    assert second["why"] == "PVC predicted without a label: probability 0.80"
    assert (second["true"], second["findings"]) == ([], ["PVC"])
    assert second["probabilities"] == {"SR": 0.1, "PVC": 0.8}


def test_an_unknown_label_is_no_error_of_a_record():
    y_true = np.array([[1, np.nan], [1, 0], [np.nan, np.nan]])
    y_prob = np.array([[0.6, 0.999], [0.4, 0.1], [0.9, 0.9]])
    cases = worst_cases(["a", "b", "c"], ["SR", "PVC"], y_true, y_prob, y_prob >= 0.5, n=2)
    assert [row for row, _ in cases] == [1, 0]
    case = cases[1][1]
    assert (case["true"], case["unknown"], case["findings"]) == (["SR"], ["PVC"], ["SR", "PVC"])
    assert case["why"] == "SR missed: probability 0.60"
    verdicts = {each["code"]: each["verdict"] for each in _verdicts(case, {})}
    assert verdicts == {"SR": "right", "PVC": "unknown label"}


def test_the_report_counts_known_labels_only_where_some_are_not(page, tmp_path):
    assert "<button>known</button>" not in page.read_text()
    rng = np.random.default_rng(0)
    y_true = np.where(rng.random((120, 2)) < 0.3, np.nan, rng.random((120, 2)) < 0.4)
    y_true[:, 1] = np.nan
    y_prob = rng.random((120, 2))
    thresholds = {r: multilabel.tune_thresholds(y_true, y_prob, r) for r in THRESHOLD_RULES}
    report = FoldReport(
        title="partly known",
        scores=multilabel.scores(y_true, y_prob, thresholds, n_bootstrap=5),
        rows=multilabel.per_finding(y_true, y_prob, thresholds),
        codes=["SR", "AFIB"],
        names=["sinus rhythm", "atrial fibrillation"],
        y_true=y_true,
        y_prob=y_prob,
        thresholds=thresholds,
        tune=(y_true, y_prob),
        context={},
        details=finding_details(
            y_true, y_prob, ["SR", "AFIB"], thresholds, "f1", range(120), range(120), "predict"
        ),
    )
    write_fold_report(tmp_path / "report.html", report)
    html = (tmp_path / "report.html").read_text()
    n_known = int((~np.isnan(y_true[:, 0])).sum())
    assert "<button>known</button>" in html
    assert f'<td data-value="{n_known}">{n_known}</td>' in html
    assert ">nan<" not in html.lower()
