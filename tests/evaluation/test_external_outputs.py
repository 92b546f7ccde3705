"""Files and messages of the evaluation on other hospitals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import change_config, write_challenge_record

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets import challenge, ptbxl
from ecg_siglip.evaluation import external
from ecg_siglip.evaluation.external_outputs import evaluate_external
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel


@pytest.fixture
def evaluate(external_settings):
    """Evaluates a copy of the finished run on the sets of a folder; returns the folder written."""

    def run(root, **changes):
        settings = external_settings(root, **changes)
        evaluate_external(settings)
        return Path(settings.run.root) / settings.run.name / "evaluate" / "challenge"

    return run


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("name", "value"), [("fold", 9), ("labelled_only", True), ("data.cache_dir", "cache")]
)
def test_a_setting_for_folds_is_refused(external_settings, hospitals, name, value):
    with pytest.raises(ValueError, match=f"{name}: has no meaning with data=challenge"):
        evaluate_external(external_settings(hospitals, **{name: value}))


def test_a_missing_folder_is_refused(external_settings, tmp_path):
    with pytest.raises(ValueError, match="data.root is missing"):
        evaluate_external(external_settings("x", **{"data.root": None}))
    with pytest.raises(ValueError, match="no such folder"):
        evaluate_external(external_settings(tmp_path / "nowhere"))


def test_each_set_has_a_folder_and_a_row_of_the_summary(evaluate, hospitals, capsys):
    folder = evaluate(hospitals, report=True, **{"data.min_positives": 3})
    files = {"about.json", "codes.csv", "findings.csv", "metrics.json", "predictions.parquet"}
    files |= {"retuned.json", "report.html"}
    assert {path.name for path in (folder / "north").iterdir()} == files
    assert [row["set"] for row in read(folder / "summary.json")] == ["north", "south"]
    assert pd.read_csv(folder / "summary.csv")["n_records"].tolist() == [50, 10]
    scores = read(folder / "north" / "metrics.json")
    for key in ("macro_auroc", "macro_auprc", "prevalence/macro_f1", "ece"):
        assert scores[f"{key}/low"] <= scores[key] <= scores[f"{key}/high"]
    page = (folder / "north" / "report.html").read_text()
    for title in (
        "Re-fitted thresholds and calibration",
        "Codes for several findings",
        "Not scored on this set",
        "Codes without a counterpart",
        "Records left out",
        "Records with the largest errors",
    ):
        assert f"<h2>{title}</h2>" in page
    assert "Where the thresholds come from" not in page
    assert "One finding at a time" not in page
    printed = capsys.readouterr()
    assert "north" in printed.out and "south: left out E90001: #Dx is Unknown" in printed.err
    assert "LAD 10" in printed.err and "999999 8" in printed.err


def test_the_scores_are_those_of_the_same_records_as_a_fold(
    evaluate, hospitals, trained, snomed_codes
):
    folder = evaluate(hospitals, **{"data.min_positives": 1}) / "north"
    predictor = Predictor.load(trained / "model", "cpu")
    root = from_yaml(config.TrainConfig, trained / "config.yaml").data.root
    data = ptbxl.load_ptbxl(root, waveform=predictor.artifact.waveform)
    y_prob = predictor.probabilities(data.signals[:50])
    y_pred = multilabel.apply_thresholds(y_prob, predictor.artifact.thresholds["expected_f1"])
    table = pd.read_csv(folder / "findings.csv").set_index("code")
    predictions = pd.read_parquet(folder / "predictions.parquet")
    single = [code for code in table.index if code in data.codes and code in snomed_codes]
    assert len(single) > 5
    n_compared = 0
    for code in single:
        column = data.codes.index(code)
        # Both signals are in whole microvolts: they are the same, and so are the probabilities.
        assert np.allclose(predictions[f"probability/{code}"], y_prob[:, column], atol=1e-6)
        # A code such as that of Mobitz I adds positives to other findings.
        if (predictions[f"true/{code}"] == data.y_true[:50, column]).all():
            f1 = multilabel.f1_scores(data.y_true[:50, [column]], y_pred[:, [column]])[0]
            assert table.loc[code, "expected_f1/f1"] == pytest.approx(f1)
            n_compared += 1
    assert n_compared > 5


def test_codes_and_records_that_are_not_scored_are_listed(evaluate, hospitals):
    folder = evaluate(hospitals)
    codes = pd.read_csv(folder / "north" / "codes.csv").set_index("snomed")
    assert codes.loc[999999, "outcome"].startswith("no counterpart: not in the table")
    unmapped = read(folder / "north" / "about.json")["codes_without_counterpart"]
    assert {row["snomed"] for row in unmapped} == {39732003, 999999}
    content = read(folder / "south" / "about.json")
    assert set(content["left_out"]) == {"E90001", "E90002"}
    assert "E90002.mat" in content["left_out"]["E90002"]
    assert (content["n_records"], content["n_predicted"]) == (12, 10)


def test_the_half_of_each_record_is_written(evaluate, hospitals):
    predictions = pd.read_parquet(evaluate(hospitals) / "north" / "predictions.parquet")
    for record, half in zip(predictions["record"], predictions["half"], strict=True):
        assert (half == "tuning") == challenge.in_tuning_half(record)


def test_too_few_positives_to_refit_are_reported(evaluate, hospitals, capsys):
    table = pd.read_csv(evaluate(hospitals, **{"data.min_positives": 1}) / "north" / "findings.csv")
    # As many as the most frequent finding has in the whole set: a half has fewer.
    n = int(np.minimum(table["n_positive"], 50 - table["n_positive"]).max())
    folder = evaluate(hospitals, **{"data.min_positives": n}) / "north"
    assert f"no finding has {n} positives" in read(folder / "retuned.json")["too_few"]
    assert "too few positives to re-fit thresholds" in capsys.readouterr().out


def test_a_set_without_a_scored_finding_has_a_row_without_scores(evaluate, hospitals, capsys):
    folder = evaluate(hospitals, **{"data.min_positives": 100})
    row = read(folder / "summary.json")[0]
    assert row["n_findings"] == 0 and "macro_auroc" not in row
    assert {path.name for path in (folder / "north").iterdir()} == {"about.json", "codes.csv"}
    assert "nothing to score in 50 records" in capsys.readouterr().err


def test_records_of_the_training_folds_are_left_out(evaluate, simulated, tmp_path):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    root = tmp_path / "hospitals"
    for fold in range(1, 11):
        write_challenge_record(root / "ptbxl", f"HR{data.ecg_id[data.fold(fold)[0]]:05}")
    assert read(evaluate(root) / "ptbxl" / "about.json")["n_predicted"] == 1
    (tmp_path / "empty").mkdir()
    folder = evaluate(root, **{"data.ptbxl": str(tmp_path / "empty")})
    assert read(folder / "ptbxl" / "about.json")["n_predicted"] == 0


def test_a_model_without_the_default_rule_is_reported_by_its_former_default(evaluate, hospitals):
    folder = evaluate(hospitals)
    folder = folder.parents[1] / "model"
    change_config(folder, lambda content: content["thresholds"].pop("expected_f1"))
    page = evaluate(hospitals, report=True, **{"data.min_positives": 3}) / "north" / "report.html"
    assert "threshold rule <b>prevalence</b>" in page.read_text()


def test_a_failed_evaluation_leaves_the_former_results(evaluate, hospitals, monkeypatch):
    folder = evaluate(hospitals)
    before = (folder / "summary.json").read_text()
    monkeypatch.setattr(external, "tqdm", None)
    with pytest.raises(TypeError):
        evaluate(hospitals)
    assert (folder / "summary.json").read_text() == before
    assert [path.name for path in folder.parent.iterdir()] == ["challenge"]
