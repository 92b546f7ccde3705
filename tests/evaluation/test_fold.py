"""Evaluation of a fold: its files and keys; nothing is fitted to the labels of the fold."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import change_config

from ecg_siglip import evaluate
from ecg_siglip.config import EvaluateConfig, RunConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.fold import evaluate_fold, predict_command
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.model_files import NEIGHBORS

RULES = ("fixed_0.5", "f1", "prevalence", "global", "expected_f1")


def test_the_files_and_keys_are_those_of_the_contract(evaluated):
    files = {path.name for path in evaluated.iterdir()}
    assert files == {
        *("metrics.json", "findings.csv", "predictions.parquet", "report.html", "about.json"),
        *("retrieval.csv", "retrieval.json", "entailment.csv", "entailment.json"),
    }
    scores = json.loads((evaluated / "metrics.json").read_text())
    keys = [f"{rule}/{kind}_f1" for rule in RULES for kind in ("macro", "micro", "samples")]
    keys += [f"{rule}/macro_f1_min5" for rule in RULES]
    keys += [f"consistent/{kind}" for kind in ("macro_f1", "micro_f1", "samples_f1")]
    keys += ["consistent/macro_f1_min5"]
    keys += ["macro_auroc", "macro_auroc_min5", "macro_auprc", "macro_auprc_min5", "micro_auprc"]
    keys += ["ece"]
    intervals = [f"{key}/{end}" for key in keys for end in ("low", "high")]
    counts = {"n_records", "n_findings", "n_findings_min5", "n_contradictory"}
    assert set(scores) == {*keys, *intervals, *counts}


def test_the_predictions_have_one_row_per_record_of_the_fold(evaluated, simulated):
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


def test_the_same_model_and_records_give_the_same_bytes(run_copy, fold_settings):
    contents = []
    for _ in range(2):
        evaluate_fold(fold_settings(report=True, n_bootstrap=20))
        files = sorted((run_copy / "evaluate" / "fold10").iterdir())
        contents.append({path.name: path.read_bytes() for path in files if path.is_file()})
    assert {"report.html", "metrics.json", "findings.csv", "predictions.parquet"} <= {*contents[0]}
    for name, content in contents[0].items():
        assert contents[1][name] == content, name


def test_thresholds_and_probabilities_do_not_depend_on_the_labels_of_the_fold(
    run_copy, evaluated, simulated, fold_settings, tmp_path
):
    relabelled = tmp_path / "relabelled"
    shutil.copytree(simulated, relabelled)
    table = pd.read_csv(relabelled / "ptbxl_database.csv")
    table.loc[table["strat_fold"] == 10, "scp_codes"] = "{'AFIB': 0.0}"
    table.to_csv(relabelled / "ptbxl_database.csv", index=False)
    evaluate_fold(fold_settings(**{"data.root": str(relabelled)}))
    folder = run_copy / "evaluate" / "fold10"
    before = pd.read_parquet(evaluated / "predictions.parquet")
    after = pd.read_parquet(folder / "predictions.parquet")
    assert after["true/AFIB"].all() and not before["true/AFIB"].all()
    columns = [name for name in before if name.startswith("probability/")]
    assert (
        np.abs(before[columns] - after[columns]).to_numpy().max() < 1e-5
    )  # the GPU adds in any order
    thresholds = [f"{rule}/threshold" for rule in RULES]
    pd.testing.assert_frame_equal(
        pd.read_csv(evaluated / "findings.csv")[thresholds],
        pd.read_csv(folder / "findings.csv")[thresholds],
    )


def test_a_failed_report_leaves_no_partial_folder(run_copy, fold_settings, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecg_siglip.reporting.fold_report.write_fold_report", fail)
    with pytest.raises(OSError, match="No space left"):
        evaluate_fold(fold_settings(report=True))
    assert not any((run_copy / "evaluate").iterdir())


def test_a_model_of_another_vocabulary_is_refused(run_copy, fold_settings):
    def shorten(stored):
        for key in ("codes", "prompts", "calibration"):
            stored[key].pop()
        for kind in ("thresholds", "operating"):
            stored[kind] = {rule: values[:-1] for rule, values in stored[kind].items()}

    (run_copy / "model" / NEIGHBORS).unlink()
    change_config(run_copy / "model", shorten)
    with pytest.raises(ValueError, match="another vocabulary"):
        evaluate_fold(fold_settings())
    change_config(run_copy / "model", lambda stored: stored["codes"].__setitem__(0, "NOPE"))
    with pytest.raises(ValueError, match="NOPE"):
        evaluate_fold(fold_settings())


def test_records_without_a_finding_can_be_left_out(run_copy, fold_settings, tmp_path, simulated):
    table = pd.read_csv(simulated / "ptbxl_database.csv")
    unlabelled = tmp_path / "unlabelled"
    shutil.copytree(simulated, unlabelled)
    table.loc[table[table["strat_fold"] == 10].index[0], "scp_codes"] = "{}"
    table.to_csv(unlabelled / "ptbxl_database.csv", index=False)
    n_records = {}
    for labelled_only in (False, True):
        changes = {"labelled_only": labelled_only, "data.root": str(unlabelled)}
        evaluate_fold(fold_settings(**changes))
        scores = json.loads((run_copy / "evaluate" / "fold10" / "metrics.json").read_text())
        n_records[labelled_only] = scores["n_records"]
    assert n_records[False] - n_records[True] == 1


@pytest.mark.parametrize(("fold", "action"), [(3, "trained"), (9, "tuned")])
def test_a_fold_that_the_run_has_seen_is_scored_with_a_note(fold_settings, capsys, fold, action):
    evaluate_fold(fold_settings(fold=fold))
    printed = capsys.readouterr()
    assert f"the run was {action} on fold {fold}" in printed.err
    assert f"fold{fold}/" in printed.out


def test_every_f1_is_printed_with_its_rule(fold_settings, capsys):
    evaluate_fold(fold_settings())
    printed = capsys.readouterr()
    assert "note" not in printed.err
    assert "expected_f1/macro_f1_min5" in printed.out
    assert "fixed_0.5/micro_f1" in printed.out


def test_a_model_without_the_default_rule_is_reported_by_its_former_default(
    run_copy, fold_settings
):
    folder = run_copy / "model"
    change_config(folder, lambda content: content["thresholds"].pop("expected_f1"))
    evaluate_fold(fold_settings(report=True))
    page = (run_copy / "evaluate" / "fold10" / "report.html").read_text()
    assert "threshold rule <b>prevalence</b>" in page


@pytest.mark.parametrize(
    ("root", "command"),
    [
        ("runs", "python -m ecg_siglip.predict run.name=r1"),
        ("my runs", "python -m ecg_siglip.predict run.name=r1 'run.root=my runs'"),
    ],
)
def test_the_report_has_the_command_that_predicts_with_the_run(root, command):
    assert predict_command(EvaluateConfig(run=RunConfig("r1", root))) == command
    default = EvaluateConfig(run=RunConfig("default", root), model="default")
    assert predict_command(default) == "python -m ecg_siglip.predict model=default"


def test_an_impossible_fold_is_an_error_on_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "run.name=r", "fold=11"])
    with pytest.raises(SystemExit) as stop:
        evaluate.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "evaluate: fold=11: expected at most 10\n"
