"""The files and keys of the contract; tuning and reporting never meet."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.tuning import tune_fold
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.summary import headline

RULES = ("fixed_0.5", "f1", "prevalence", "global", "expected_f1")


@pytest.fixture
def settings(trained):
    def make(**knobs):
        base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
        return configured(config.EvaluateConfig, base | {"n_bootstrap": 0, "report": False} | knobs)

    return make


def copied(trained, tmp_path):
    """A copy of the run that a test may change."""
    shutil.copytree(trained, tmp_path / trained.name)
    return {"run.root": str(tmp_path)}


def test_the_files_and_keys_are_those_of_the_contract(evaluated):
    files = {path.name for path in evaluated.iterdir()}
    assert files == {
        *("metrics.json", "findings.csv", "predictions.parquet", "report.html", "about.json"),
        *("retrieval.csv", "retrieval.json", "entailment.csv", "entailment.json"),
    }
    scores = json.loads((evaluated / "metrics.json").read_text())
    keys = [f"{rule}/{kind}_f1" for rule in RULES for kind in ("macro", "micro", "samples")]
    keys += [f"{rule}/macro_f1_min5" for rule in RULES]
    keys += ["macro_auroc", "macro_auroc_min5", "macro_auprc", "macro_auprc_min5", "micro_auprc"]
    keys += ["ece"]
    intervals = [f"{key}/{end}" for key in keys for end in ("low", "high")]
    assert set(scores) == {*keys, *intervals, "n_records", "n_findings", "n_findings_min5"}


def test_predictions_hold_one_row_a_record_of_the_fold(evaluated, simulated):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    rows = data.fold(10)
    table = pd.read_parquet(evaluated / "predictions.parquet")
    assert table["ecg_id"].tolist() == data.ecg_id[rows].tolist()
    assert set(table["strat_fold"]) == {10}
    assert (table[[f"true/{code}" for code in data.codes]].to_numpy() == data.y_true[rows]).all()
    y_prob = table[[f"probability/{code}" for code in data.codes]].to_numpy()
    assert ((y_prob >= 0) & (y_prob <= 1)).all()


def test_the_scores_are_those_of_the_predictions_and_the_stored_thresholds(evaluated, trained):
    table = pd.read_parquet(evaluated / "predictions.parquet")
    stored = json.loads((trained / "model" / "config.json").read_text())
    scores = json.loads((evaluated / "metrics.json").read_text())
    y_true = table[[f"true/{code}" for code in stored["codes"]]].to_numpy()
    y_prob = table[[f"probability/{code}" for code in stored["codes"]]].to_numpy()
    for rule in RULES:
        y_pred = multilabel.apply_thresholds(y_prob, stored["thresholds"][rule])
        assert scores[f"{rule}/macro_f1"] == pytest.approx(multilabel.macro_f1(y_true, y_pred))
        assert scores[f"{rule}/micro_f1"] == pytest.approx(multilabel.micro_f1(y_true, y_pred))


def test_what_the_reported_fold_says_does_not_move_thresholds_or_probabilities(
    trained, evaluated, simulated, settings, tmp_path
):
    lying = tmp_path / "lying"
    shutil.copytree(simulated, lying)
    table = pd.read_csv(lying / "ptbxl_database.csv")
    # A cardiologist of another mind reads fold 10: everybody has atrial fibrillation.
    table.loc[table["strat_fold"] == 10, "scp_codes"] = "{'AFIB': 0.0}"
    table.to_csv(lying / "ptbxl_database.csv", index=False)
    evaluate_fold(settings(**copied(trained, tmp_path), **{"data.root": str(lying)}))
    there = tmp_path / trained.name / "evaluate" / "fold10"
    before = pd.read_parquet(evaluated / "predictions.parquet")
    after = pd.read_parquet(there / "predictions.parquet")
    assert (after["true/AFIB"]).all()
    columns = [name for name in before if name.startswith("probability/")]
    assert np.abs(before[columns] - after[columns]).to_numpy().max() < 1e-6
    thresholds = [f"{rule}/threshold" for rule in RULES]
    pd.testing.assert_frame_equal(
        pd.read_csv(evaluated / "findings.csv")[thresholds],
        pd.read_csv(there / "findings.csv")[thresholds],
    )


def test_tuning_takes_one_fold_and_gives_calibration_and_all_rules():
    rng = np.random.default_rng(0)
    y_true = rng.random((200, 4)) < 0.3
    y_prob = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.standard_normal(y_true.shape), 0.01, 0.99)
    calibration, thresholds, calibrated = tune_fold(y_true, y_prob)
    assert calibration.shape == (4, 2)
    assert tuple(thresholds) == RULES
    assert np.allclose(calibrated, multilabel.calibrate(y_prob, calibration))


def test_a_failed_report_leaves_no_half_written_folder(trained, settings, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecg_siglip.reporting.fold_report.write_fold_report", broken)
    with pytest.raises(OSError, match="No space left"):
        evaluate_fold(settings(report=True, **copied(trained, tmp_path)))
    assert not any((tmp_path / trained.name / "evaluate").iterdir())


def test_a_run_that_is_not_there_or_not_finished_is_a_clear_error(trained, settings, tmp_path):
    with pytest.raises(ValueError, match="no such run"):
        evaluate_fold(settings(**{"run.name": "nobody"}))
    root = copied(trained, tmp_path)
    shutil.rmtree(tmp_path / trained.name / "model")
    with pytest.raises(ValueError, match="training has not finished"):
        evaluate_fold(settings(**root))


def test_a_model_of_another_vocabulary_is_refused(trained, settings, tmp_path):
    root = copied(trained, tmp_path)
    path = tmp_path / trained.name / "model" / "config.json"
    stored = json.loads(path.read_text())
    for part in (stored, *stored["thresholds"].values()):
        keys = ("codes", "prompts", "calibration") if part is stored else ()
        for key in keys:
            part[key].pop()
    for kind in ("thresholds", "operating"):
        stored[kind] = {rule: values[:-1] for rule, values in stored[kind].items()}
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="another vocabulary"):
        evaluate_fold(settings(**root))
    stored["codes"][0] = "NOPE"
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="NOPE"):
        evaluate_fold(settings(**root))


def test_records_without_a_finding_can_be_left_out(trained, settings, tmp_path, simulated, capsys):
    table = pd.read_csv(simulated / "ptbxl_database.csv")
    chosen = table[table["strat_fold"] == 10].index[0]
    silent = tmp_path / "silent"
    shutil.copytree(simulated, silent)
    table.loc[chosen, "scp_codes"] = "{}"
    table.to_csv(silent / "ptbxl_database.csv", index=False)
    knobs = copied(trained, tmp_path) | {"data.root": str(silent)}
    folder = tmp_path / trained.name / "evaluate" / "fold10"
    n_records = {}
    for labelled_only in (False, True):
        evaluate_fold(settings(labelled_only=labelled_only, **knobs))
        scores = json.loads((folder / "metrics.json").read_text())
        n_records[labelled_only] = scores["n_records"]
    assert n_records[False] - n_records[True] == 1


def test_a_fold_that_was_trained_on_is_reported_with_a_note(trained, settings, tmp_path, capsys):
    evaluate_fold(settings(fold=3, **copied(trained, tmp_path)))
    assert "was trained on fold 3" in capsys.readouterr().err


def test_the_headline_names_the_rule_with_every_f1(evaluated):
    text = headline(json.loads((evaluated / "metrics.json").read_text()))
    assert "expected_f1/macro_f1_min5" in text
    assert "fixed_0.5/micro_f1" in text


@pytest.mark.slow
def test_an_empty_fold_is_one_line_and_exit_1(trained, tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ecg_siglip.evaluate",
            f"run.name={trained.name}",
            f"run.root={trained.parent}",
            "fold=11",
        ],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert result.returncode == 1
    assert result.stderr == "evaluate: fold=11: expected at most 10\n"


def test_a_model_from_before_the_default_rule_is_reported_by_the_rule_it_has(
    trained, settings, tmp_path
):
    root = copied(trained, tmp_path)
    path = tmp_path / trained.name / "model" / "config.json"
    content = json.loads(path.read_text())
    del content["thresholds"]["expected_f1"]
    path.write_text(json.dumps(content))
    evaluate_fold(settings(**root, report=True))
    report = tmp_path / trained.name / "evaluate" / "fold10" / "report.html"
    assert "threshold rule <b>prevalence</b>" in report.read_text()
