"""Breakdowns of the scores of a fold: by leads, by language, and of the reports."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import configured

from ecg_siglip.config import EvaluateConfig, RunConfig
from ecg_siglip.datasets.loading import load_evaluation_data
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.evaluation.subgroups import (
    LAYOUTS,
    Breakdown,
    breakdown_tables,
    scores_by_leads,
    scores_of_reports,
)
from ecg_siglip.evaluation.trained_run import load_run
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.signals.leads import LEAD_SETS, available_leads, mask_leads
from ecg_siglip.vocabulary import ptbxl


@pytest.fixture(scope="module")
def small(trained):
    """The finished run, and the data that it is evaluated on."""
    run = load_run(RunConfig(trained.name, str(trained.parent)), "cpu")
    artifact, data = run.predictor.artifact, EvaluateConfig().data
    return run, load_evaluation_data(data, run.settings, artifact.waveform, artifact.codes)


def test_each_lead_set_is_scored_by_the_findings_that_it_shows(small):
    run, data = small
    artifact, rows = run.predictor.artifact, data.fold(10)
    tuning = {name: artifact.tuning() for name in LEAD_SETS if name != "12"}
    predictor = Predictor(replace(artifact, fewer_leads=tuning), artifact.model.device)
    table = scores_by_leads(predictor, data.signals[rows], data.y_true[rows], 32)
    assert [row["leads"] for row in table] == list(LEAD_SETS)
    n_findings = [row["n_findings"] for row in table]
    assert n_findings[0] == len(artifact.codes) > n_findings[2] > 0
    assert np.isnan(table[0]["unseen_macro_auroc_min5"])
    seen = ~artifact.vocabulary.not_assessable(artifact.codes, available_leads(LEAD_SETS["6"]))
    limb_prob = predictor.probabilities(mask_leads(data.signals[rows], "6"), 32)
    limb = multilabel.scores(data.y_true[rows][:, seen], limb_prob[:, seen], {}, n_bootstrap=0)
    assert table[2]["macro_auroc_min5"] == pytest.approx(limb["macro_auroc_min5"])


def test_a_model_of_all_leads_has_no_scores_by_leads(small):
    run, data = small
    rows = data.fold(10)
    assert scores_by_leads(run.predictor, data.signals[rows], data.y_true[rows], 32) == []


def test_languages_are_compared_with_the_first_one(trained_in_all_languages, tmp_path):
    run = shutil.copytree(trained_in_all_languages, tmp_path / "mixed")
    base = {"run.name": run.name, "run.root": str(run.parent), "n_bootstrap": 0}
    evaluate_fold(configured(EvaluateConfig, base))
    folder = run / "evaluate" / "fold10"
    table = pd.read_csv(folder / "languages.csv").set_index("language")
    assert list(table.index) == list(ptbxl().languages)
    scores = json.loads((folder / "metrics.json").read_text())
    assert table["macro_auroc_min5"]["en"] == pytest.approx(scores["macro_auroc_min5"])
    assert (table["mean_change"]["en"], table["same_calls"]["en"]) == (0.0, 1.0)
    assert table["mean_change"]["ja"] > 0
    assert "<h2>Prompts in other languages</h2>" in (folder / "report.html").read_text()


def test_a_model_of_all_leads_and_one_language_has_only_the_tables_of_the_reports(evaluated):
    names = {name for name in LAYOUTS if (evaluated / f"{name}.csv").exists()}
    assert names == {"retrieval", "entailment"}


def test_reports_retrieve_ecgs_and_entail_prompts(small):
    run, data = small
    tables = breakdown_tables(run.predictor, data, data.fold(10), run.settings, 32, n_bootstrap=0)
    retrieved, entailed = tables
    assert (retrieved.name, entailed.name) == ("retrieval", "entailment")
    assert {row["whose"] for row in retrieved.rows} <= {"all", "not by a machine"}
    assert {row["code"] for row in entailed.rows} <= set(data.codes)
    assert len(retrieved.formatted) == len(retrieved.rows)


def test_records_without_a_report_are_left_out(small):
    run, data = small
    rows = data.fold(10)
    reports = list(data.reports)
    for row in rows[1:]:
        reports[row] = ""
    one = replace(data, reports=reports)
    retrieved, _ = scores_of_reports(run.predictor, one, rows, data.y_true[rows], 32, 0)
    assert retrieved and all(row["n_queries"] == 1 for row in retrieved)
    none = replace(data, reports=[""] * len(reports))
    assert scores_of_reports(run.predictor, none, rows, data.y_true[rows], 32, 0) == ([], [])


def test_a_section_has_the_columns_of_its_layout():
    section = Breakdown("entailment", [{"code": "SR", "name": "sinus rhythm"}]).section()
    assert section["title"] == "Prompts entailed by the reports"
    assert section["head"] == ["finding", "name", "positives", "AUROC of the report", "of the ECG"]
    ((code, name, *scores),) = section["rows"]
    assert (code, name) == ("SR", "sinus rhythm")
    assert np.isnan(scores).all()


def test_a_section_shows_the_formatted_rows():
    row = {"direction": "ECG to report", "whose": "all"}
    section = Breakdown("retrieval", [row], [row | {"whose": "all reports"}]).section()
    assert section["rows"][0][:2] == ["ECG to report", "all reports"]
