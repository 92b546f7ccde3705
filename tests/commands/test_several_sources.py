"""From several data sets to scores of each: training, evaluation, comparison, another table."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, configured, write_challenge_record

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.checking import check_data
from ecg_siglip.evaluation.comparison import compare_runs
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEAD_SETS
from ecg_siglip.simulation.dataset import simulate_dataset
from ecg_siglip.train import train
from ecg_siglip.training.ensembling import join_runs
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary
from ecg_siglip.vocabulary import snomed

RULE = "expected_f1"


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """A table of 120 simulated records, with patients, folds and reports."""
    root = simulate_dataset(tmp_path_factory.mktemp("ours") / "ours", n_records=120, seed=5)
    data = ptbxl.load_ptbxl(root, signals=False)
    findings = [
        ";".join(code for code, present in zip(data.codes, row, strict=True) if present)
        for row in data.y_true
    ]
    frame = pd.DataFrame(
        {
            "path": [str(path.relative_to(root)) for path in data.paths],
            "record": [f"ours-{number}" for number in data.ecg_id],
            "findings": findings,
            "patient_id": [f"p{patient}" for patient in data.patient_id],
            "fold": data.strat_fold,
            "report": data.reports,
        }
    )
    frame.to_csv(root / "ours.csv", index=False)
    frame.drop(columns="findings").to_csv(root / "reports.csv", index=False)
    return root / "ours.csv"


def _sources(simulated: Path, ours: Path, **changed) -> list[dict[str, object]]:
    return [
        {"name": "sim", "kind": "ptbxl", "root": str(simulated)},
        {"name": "ours", "kind": "table", "table": str(ours), **changed},
    ]


def _train(runs: Path, name: str, **settings) -> Path:
    base = {"run.name": name, "run.root": str(runs), "data.n_workers": 1}
    train(configured(config.TrainConfig, base | TINY | settings))
    return runs / name


def _evaluate(run: Path, **settings) -> None:
    base = {"run.name": run.name, "run.root": str(run.parent), "device": "cpu", "report": False}
    base |= {"n_bootstrap": 10, "data.n_workers": 1}
    evaluate_fold(configured(config.EvaluateConfig, base | settings))


def _metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def runs(simulated, ours, tmp_path_factory) -> Path:
    """Runs `both` (tuned per source, with fewer leads) and `one`, evaluated on fold 10."""
    root = tmp_path_factory.mktemp("runs")
    special = {"data.tune_per_source": True, "augment.fewer_leads": 0.3}
    both = _train(root, "both", **{"data.sources": _sources(simulated, ours)}, **special)
    one = _train(root, "one", **{"data.root": str(simulated)})
    _evaluate(both, report=True)
    _evaluate(one)
    return root


def test_a_fold_is_scored_over_all_and_per_source(runs, capsys):
    folder = runs / "both" / "evaluate" / "fold10"
    scores = _metrics(folder)
    rows = pd.read_csv(folder / "sources.csv")
    assert rows["source"].tolist() == ["sim", "ours"]
    assert rows["n_records"].sum() == scores["n_records"]
    for row in rows.to_dict("records"):
        prefix = f"source/{row['source']}/"
        assert scores[f"{prefix}n_known"] == row["n_known"] > 0
        for key in (f"{RULE}/macro_f1", f"{RULE}/micro_f1", "macro_auroc"):
            assert scores[prefix + key] == pytest.approx(row[key])
            assert scores[f"{prefix}{key}/low"] <= scores[f"{prefix}{key}/high"]
    per_finding = pd.read_csv(folder / "findings_by_source.csv")
    assert set(per_finding["source"]) == {"sim", "ours"}
    page = (folder / "report.html").read_text()
    assert "By data set" in page and "ours-" in page


def test_the_predictions_name_data_set_and_record(runs, ours, simulated):
    table = pd.read_parquet(runs / "both" / "evaluate" / "fold10" / "predictions.parquet")
    theirs = pd.read_csv(ours)
    expected = theirs["record"][theirs["fold"] == 10].tolist()
    assert table["record"][table["source"] == "ours"].tolist() == expected
    data = ptbxl.load_ptbxl(simulated, signals=False)
    ids = [str(number) for number in data.ecg_id[data.fold(10)]]
    assert table["record"][table["source"] == "sim"].tolist() == ids


def test_one_source_is_evaluated_with_its_own_thresholds(runs):
    _evaluate(runs / "both", **{"data.source": "ours"}, report=True)
    folder = runs / "both" / "evaluate" / "fold10-ours"
    alone, whole = _metrics(folder), _metrics(folder.with_name("fold10"))
    assert alone["n_records"] == whole["source/ours/n_records"] < whole["n_records"]
    for key in (f"{RULE}/micro_f1", "macro_auroc", "ece"):
        assert alone[key] == pytest.approx(whole[f"source/ours/{key}"])
    assert not [key for key in alone if key.startswith("source/")]
    own = load_artifact(runs / "both" / "model").for_source("ours")
    thresholds = pd.read_csv(folder / "findings.csv")[f"{RULE}/threshold"]
    np.testing.assert_allclose(thresholds, own.thresholds[RULE])
    assert "on fold 10 of ours" in (folder / "report.html").read_text()


def test_an_unknown_source_is_refused(runs):
    with pytest.raises(ValueError, match=r"data\.source=theirs: expected one of sim, ours"):
        _evaluate(runs / "both", **{"data.source": "theirs"})
    with pytest.raises(ValueError, match=r"source=theirs: both has .* of sim, ours; expected one"):
        Predictor.load(runs / "both" / "model", "cpu", source="theirs")
    with pytest.raises(ValueError, match=r"source=sim: one has .*data\.tune_per_source=true"):
        Predictor.load(runs / "one" / "model", "cpu", source="sim")


def test_a_source_has_its_own_tuning_for_every_set_of_leads(runs):
    artifact = load_artifact(runs / "both" / "model")
    predictor = Predictor.load(runs / "both" / "model", "cpu", source="ours")
    own = predictor.artifact
    assert list(artifact.sources) == ["sim", "ours"]
    assert set(own.fewer_leads) == set(artifact.fewer_leads)
    assert not np.allclose(own.calibration, artifact.calibration)
    assert own.title == f"{artifact.provenance.title}, source ours"
    card = (runs / "both" / "model" / "README.md").read_text()
    assert "`source=ours`" in card
    signals = np.zeros((1, 12, 1000), np.int16)
    raw, _ = predictor.forward(signals)
    assert {"12", *own.fewer_leads} == {*LEAD_SETS}
    for leads in LEAD_SETS:
        expected = multilabel.calibrate(raw, artifact.sources["ours"][leads].calibration)
        np.testing.assert_array_equal(predictor.probabilities(signals, lead_set=leads), expected)


def test_predict_uses_the_tuning_of_a_source(runs, simulated, capsys):
    record = str(simulated / "records100/00000/00001_lr")
    base = {"run.name": "both", "run.root": str(runs), "records": [record], "device": "cpu"}
    outputs = []
    for source in (None, "ours"):
        predict(configured(config.PredictConfig, base | {"source": source}))
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0]["probabilities"] != outputs[1]["probabilities"]
    assert outputs[1]["model"] == f"{outputs[0]['model']}, source ours"


def test_an_ensemble_is_tuned_per_source_as_its_members(runs, simulated, ours):
    special = {"data.tune_per_source": True, "augment.fewer_leads": 0.3, "seed": 1}
    _train(runs, "both_s1", **{"data.sources": _sources(simulated, ours)}, **special)
    settings = {"run.name": "pair", "run.root": str(runs), "runs": ["both", "both_s1"]}
    join_runs(configured(config.EnsembleConfig, settings | {"device": "cpu"}))
    artifact = load_artifact(runs / "pair" / "model")
    assert {name: [*t] for name, t in artifact.sources.items()} == {
        "sim": [*LEAD_SETS],
        "ours": [*LEAD_SETS],
    }


def _compare(runs: Path, out: Path, **settings) -> dict:
    base = {"runs": ["both", "one"], "root": str(runs), "out": str(out), "n_resamples": 20}
    return compare_runs(configured(config.CompareConfig, base | {"device": "cpu"} | settings))


def test_runs_of_different_sources_are_compared_on_the_records_of_one(runs, tmp_path, capsys):
    with pytest.raises(ValueError, match="records that are not the"):
        _compare(runs, tmp_path / "all")
    result = _compare(runs, tmp_path / "sim", **{"data.source": "sim"})
    table = pd.read_parquet(runs / "one" / "evaluate" / "fold10" / "predictions.parquet")
    assert result["n_records"] == len(table)
    assert [row["name"] for row in result["rows"]] == ["both", "one"]
    with pytest.raises(ValueError, match=r"data\.source=ours: no record is common to both, one"):
        _compare(runs, tmp_path / "ours", **{"data.source": "ours"})


def test_a_model_is_evaluated_on_another_table(runs, ours):
    _evaluate(runs / "one", **{"data.kind": "table", "data.table": str(ours)}, report=True)
    folder = runs / "one" / "evaluate" / "table-ours"
    assert _metrics(folder)["n_records"] == 120
    table = pd.read_parquet(folder / "predictions.parquet")
    assert table["record"].tolist() == pd.read_csv(ours)["record"].tolist()
    assert "one on ours" in (folder / "report.html").read_text()
    _evaluate(runs / "one", fold=3, **{"data.kind": "table", "data.table": str(ours)})
    part = pd.read_parquet(folder.with_name("table-ours-fold3") / "predictions.parquet")
    assert set(part["strat_fold"]) == {3}


def test_records_that_the_model_has_seen_are_refused(runs, ours, tmp_path, simulated):
    other = {"data.kind": "table", "data.table": str(ours)}
    with pytest.raises(ValueError, match="ours: both has seen fold . of the same records"):
        _evaluate(runs / "both", **other)
    _evaluate(runs / "both", fold=10, **other)  # not seen
    frame = pd.read_csv(ours)
    frame["path"] = [str(ours.parent / path) for path in frame["path"]]
    part = frame[frame["fold"] < 3].assign(findings="NORM")
    part.to_csv(tmp_path / "part.csv", index=False)
    changed = {"data.kind": "table", "data.table": str(tmp_path / "part.csv")}
    with pytest.raises(ValueError, match=r"part: .* are records that both was trained on: ours-"):
        _evaluate(runs / "both", **changed)
    frame["record"] = [f"new-{record}" for record in frame["record"]]
    frame.to_csv(tmp_path / "new.csv", index=False)
    renamed = {"data.kind": "table", "data.table": str(tmp_path / "new.csv")}
    # Their signals show that they are the same.
    with pytest.raises(ValueError, match="new: .* are records that both was trained on: new-"):
        _evaluate(runs / "both", **renamed)
    _evaluate(runs / "both", fold=10, **renamed)
    known = frame["patient_id"][frame["fold"] == 1].iloc[0]
    unseen = frame[frame["fold"] == 10].assign(patient_id=known)
    unseen.to_csv(tmp_path / "new.csv", index=False)
    _evaluate(runs / "both", **renamed)  # nothing shows that the patients are the same
    with pytest.raises(ValueError, match="are records of patients that both was trained on: new-"):
        _evaluate(runs / "both", **renamed, **{"data.patients": "ours"})
    with pytest.raises(ValueError, match=r"data\.patients=.*no data set of these patients"):
        _evaluate(runs / "both", **renamed, **{"data.patients": "theirs"})
    with pytest.raises(ValueError, match="simulated: one has seen fold . of the same records"):
        _evaluate(runs / "one", **{"data.kind": "ptbxl", "data.root": str(simulated)})


def test_settings_of_another_data_set_need_its_kind(runs, ours):
    with pytest.raises(ValueError, match=r"data\.table: belongs to another data set"):
        _evaluate(runs / "one", **{"data.table": str(ours)})
    other = {"data.kind": "table", "data.table": str(ours), "data.source": "sim"}
    with pytest.raises(ValueError, match=r"data\.source=sim with data\.kind=table"):
        _evaluate(runs / "both", **other)


@pytest.mark.parametrize("objective", ["report/diagonal", "report/idf_jaccard"])
def test_reports_without_labels_are_learned(ours, tmp_path, objective):
    reports = ours.with_name("reports.csv")
    settings = {"data.kind": "table", "data.table": str(reports), "objective.terms": objective}
    if objective == "report/idf_jaccard":
        with pytest.raises(ValueError, match="known"):
            _train(tmp_path, "alone", **settings)
        return
    run = _train(tmp_path, "alone", **settings)
    assert np.isfinite(load_artifact(run / "model").calibration).all()
    _evaluate(run, report=True)
    scores = _metrics(run / "evaluate" / "fold10")
    assert scores["macro_auroc"] is None and scores["n_records"] > 0
    assert (run / "evaluate" / "fold10" / "retrieval.csv").exists()


def test_reports_without_labels_are_learned_alongside_labels(simulated, ours, tmp_path):
    sources = _sources(simulated, ours.with_name("reports.csv"))
    terms = "bank/present+report/diagonal:0.3"
    settings = {"data.sources": sources, "objective.terms": terms, "data.tune_per_source": True}
    run = _train(tmp_path, "mixed", **settings)
    artifact = load_artifact(run / "model")
    assert list(artifact.sources) == ["sim"]  # the others have no label to tune on
    assert not artifact.neighbors.labels_NF[artifact.neighbors.ecg_id >= 1 << 32].any()
    _evaluate(run, report=True)
    scores = _metrics(run / "evaluate" / "fold10")
    assert scores["source/ours/n_known"] == 0 and scores["source/ours/macro_auroc"] is None
    assert scores["macro_auroc"] == pytest.approx(scores["source/sim/macro_auroc"])


def _start(runs: Path, tmp_path: Path, model: str, **settings) -> Path:
    start = {"init": str(runs / model / "model"), "data.train_folds": [1, 2, 3, 4, 5, 6, 7, 8]}
    return _train(tmp_path, "next", **start | settings)


def test_a_model_of_one_source_starts_a_run_on_several(runs, simulated, ours, tmp_path):
    run = _start(runs, tmp_path, "one", **{"data.sources": _sources(simulated, ours)})
    assert load_artifact(run / "model").provenance.pretrained.run == "one"


def test_a_fold_that_the_model_has_seen_of_one_source_is_refused(runs, simulated, ours, tmp_path):
    folds = {"data.train_folds": [1, 2, 3], "data.tune_fold": 4}
    with pytest.raises(ValueError, match="one has seen fold 4 of the same records"):
        _start(runs, tmp_path, "one", **{"data.sources": _sources(simulated, ours)}, **folds)
    with pytest.raises(ValueError, match="both has seen fold 4 of the same records"):
        _start(runs, tmp_path, "both", **{"data.root": str(simulated)}, **folds)
    table = {"data.kind": "table", "data.table": str(ours), **folds}
    with pytest.raises(ValueError, match="both has seen fold 4 of the same records"):
        _start(runs, tmp_path, "both", **table)
    _start(runs, tmp_path, "one", **table)  # it has never seen this source


def test_a_table_with_other_labels_has_the_same_records(runs, ours, tmp_path):
    frame = pd.read_csv(ours)
    frame["path"] = [str(ours.parent / path) for path in frame["path"]]
    frame.assign(findings="NORM").to_csv(tmp_path / "labels.csv", index=False)
    settings = {"data.kind": "table", "data.table": str(tmp_path / "labels.csv")}
    with pytest.raises(ValueError, match="both has seen fold 4 of the same records"):
        _start(
            runs,
            tmp_path,
            "both",
            **settings,
            **{"data.train_folds": [1, 2, 3], "data.tune_fold": 4},
        )


def test_records_that_changed_their_fold_are_refused(runs, ours, tmp_path):
    frame = pd.read_csv(ours)
    frame["path"] = [str(ours.parent / path) for path in frame["path"]]
    frame = frame.assign(fold=frame["fold"] % 10 + 1)[:-1]
    frame.to_csv(tmp_path / "moved.csv", index=False)
    settings = {"data.kind": "table", "data.table": str(tmp_path / "moved.csv")}
    with pytest.raises(ValueError, match=r"both was trained on .* records of fold 9, 10, which"):
        _start(runs, tmp_path, "both", **settings)


@pytest.fixture(scope="module")
def collections(tmp_path_factory) -> Path:
    """Two collections of the challenges with 60 simulated records each."""
    simulated = simulate_dataset(tmp_path_factory.mktemp("raw") / "raw", n_records=120, seed=9)
    data, vocabulary = ptbxl.load_ptbxl(simulated, signals=False), ptbxl_vocabulary()
    table = snomed.table(vocabulary)
    codes = {
        entry.code: entry.snomed[0]
        for entry in vocabulary.entries
        if entry.snomed and table[entry.snomed[0]].findings == (entry.code,)
    }
    root = simulated.parent / "challenge"
    for i, path in enumerate(data.paths):
        present = [code for code, one in zip(data.codes, data.y_true[i], strict=True) if one]
        dx = [codes[code] for code in present if code in codes] or [426783006]
        uv = np.rint(read_record(path).signal * 1000).astype("<i2")
        comments = f"#Dx: {','.join(map(str, dx))}\n"
        folder = root / ("north" if i < 60 else "south")
        write_challenge_record(folder, f"E{i:05}", comments, fs=100, uv=uv)
    return root


def test_the_challenge_collections_are_trained_on(collections, tmp_path, capsys):
    settings = {"data.kind": "challenge", "data.root": str(collections)}
    run = _train(tmp_path, "r2", **settings)
    assert re.search(r"\d+ of 71 findings have no known label .* left out", capsys.readouterr().err)
    artifact = load_artifact(run / "model")
    assert "AFIB" in artifact.codes and len(artifact.codes) < 71
    assert artifact.provenance.held_out == []
    _evaluate(run)
    rows = pd.read_csv(run / "evaluate" / "fold10" / "sources.csv")
    assert rows["source"].tolist() == ["north", "south"]
    _evaluate(run, **{"data.source": "south"})
    table = pd.read_parquet(run / "evaluate" / "fold10-south" / "predictions.parquet")
    assert table["record"].str.startswith("south/E").all()


def test_a_collection_may_have_the_name_of_another_data_set(collections, simulated, tmp_path):
    sources = [
        {"name": "north", "kind": "ptbxl", "root": str(simulated)},
        {"name": "cinc", "kind": "challenge", "root": str(collections)},
    ]
    check = check_data(
        configured(config.CheckConfig, {"data.sources": sources, "files": False}), False
    )
    assert not [issue for issue in check.issues if "name" in issue.message]
    run = _train(tmp_path, "r", **{"data.sources": sources})
    _evaluate(run)
    rows = pd.read_csv(run / "evaluate" / "fold10" / "sources.csv")
    assert rows["source"].tolist() == ["north", "cinc-north", "south"]


def test_a_collection_is_a_source_among_others(collections, simulated, tmp_path):
    sources = [
        {"name": "sim", "kind": "ptbxl", "root": str(simulated)},
        {"name": "challenge", "kind": "challenge", "root": str(collections), "tune": False},
    ]
    run = _train(tmp_path, "r", **{"data.sources": sources, "data.temperature": 2.0})
    shutil.rmtree(collections / "cache", ignore_errors=True)
    _evaluate(run)
    rows = pd.read_csv(run / "evaluate" / "fold10" / "sources.csv")
    assert rows["source"].tolist() == ["sim", "north", "south"]
    n_known = dict(zip(rows["source"], rows["n_known"] / rows["n_records"], strict=True))
    assert n_known["north"] < n_known["sim"] <= len(ptbxl_vocabulary().codes)
    with pytest.raises(ValueError, match=r"data\.source=challenge: expected one of sim, north"):
        _evaluate(run, **{"data.source": "challenge"})
