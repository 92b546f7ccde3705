"""Other hospitals end to end: the scores are those of the fold, and what cannot be told is said."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import configured
from helpers import write_challenge_record as write

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets import challenge, ptbxl
from ecg_siglip.evaluation import external as external_module
from ecg_siglip.evaluation.external import seen_in_training
from ecg_siglip.evaluation.external_outputs import evaluate_external
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.readers.record import read_record
from ecg_siglip.vocabulary import snomed
from ecg_siglip.vocabulary.findings import STATEMENTS

SNOMED = {
    entry.code: entry.snomed[0]
    for entry in STATEMENTS.values()
    if entry.snomed and snomed.table()[entry.snomed[0]].findings == (entry.code,)
}


@pytest.fixture(scope="session")
def hospital(simulated, tmp_path_factory):
    """Sixty simulated records in challenge form, in two sets, with what headers may bring along."""
    root = tmp_path_factory.mktemp("hospitals")
    data = ptbxl.load_ptbxl(simulated, signals=False)
    for i in range(60):
        record = read_record(data.paths[i])
        present = [code for j, code in enumerate(data.codes) if data.y_true[i, j]]
        dx = [SNOMED[code] for code in present if code in SNOMED]
        dx += [39732003] * (i % 5 == 0) + [999999] * (i % 7 == 0) + [426783006] * (not dx)
        uv = np.rint(record.signal * 1000).astype("<i2")
        comments = f"#Age: {20 + i}\n#Sex: Female\n#Dx: {','.join(map(str, dx))}\n"
        name = f"E{data.ecg_id[i]:05}"
        write(root / ("north" if i < 50 else "south"), name, comments, fs=100, uv=uv)
    write(root / "south", "E90001", "#Dx: Unknown\n")
    write(root / "south", "E90002").with_suffix(".mat").unlink()
    return root


@pytest.fixture
def run(trained, tmp_path):
    """Evaluates a copy of the finished run; its folder of results."""
    shutil.copytree(trained, tmp_path / trained.name)

    def make(root, **knobs):
        base = {"run.name": trained.name, "run.root": str(tmp_path), "device": "cpu"}
        base |= {"data.kind": "challenge", "data.root": str(root), "n_bootstrap": 20}
        evaluate_external(configured(config.EvaluateConfig, base | {"report": False} | knobs))
        return tmp_path / trained.name / "evaluate" / "challenge"

    return make


@pytest.mark.parametrize(
    ("knob", "value"), [("fold", 9), ("labelled_only", True), ("data.cache_dir", "cache")]
)
def test_what_means_nothing_here_is_refused(run, hospital, knob: str, value: object):
    with pytest.raises(ValueError, match=f"{knob}: means nothing with data=challenge"):
        run(hospital, **{knob: value})


def read(path):
    return json.loads(path.read_text())


def test_a_folder_a_set_and_a_summary(run, hospital, capsys):
    folder = run(hospital, report=True, **{"data.min_positives": 3})
    files = {"about.json", "codes.csv", "findings.csv", "metrics.json", "predictions.parquet"}
    assert {path.name for path in (folder / "north").iterdir()} == {
        *files, "retuned.json", "report.html",
    }  # fmt: skip
    assert [row["set"] for row in read(folder / "summary.json")] == ["north", "south"]
    assert pd.read_csv(folder / "summary.csv")["n_records"].tolist() == [50, 10]
    scores = read(folder / "north" / "metrics.json")
    for key in ("macro_auroc", "macro_auprc", "expected_f1/macro_f1", "ece"):
        assert scores[f"{key}/low"] <= scores[key] <= scores[f"{key}/high"]
    page = (folder / "north" / "report.html").read_text()
    for title in ("found anew", "Codes without a counterpart", "Not scored on this set"):
        assert title in page
    assert "Where the thresholds come from" not in page
    said = capsys.readouterr()
    assert "north" in said.out and "south: left out E90001: #Dx is Unknown" in said.err
    assert "LAD 10" in said.err and "999999 8" in said.err


def test_the_scores_are_those_that_the_same_records_have_as_a_fold(run, hospital, trained):
    folder = run(hospital, **{"data.min_positives": 1}) / "north"
    data = ptbxl.load_ptbxl(
        from_yaml(config.TrainConfig, trained / "config.yaml").data.root,
        waveform=Predictor.load(trained / "model", "cpu").artifact.waveform,
    )
    predictor = Predictor.load(trained / "model", "cpu")
    y_prob = predictor.probabilities(data.signals[:50])
    table = pd.read_csv(folder / "findings.csv")
    single = [code for code in table["code"] if code in data.codes and code in SNOMED]
    assert len(single) > 5
    y_pred = multilabel.apply_thresholds(y_prob, predictor.artifact.thresholds["expected_f1"])
    predictions = pd.read_parquet(folder / "predictions.parquet")
    n_compared = 0
    for code in single:
        column = data.codes.index(code)
        row = table[table["code"] == code].iloc[0]
        # Whole microvolts both times: the same signal, the same answer.
        assert np.allclose(predictions[f"probability/{code}"], y_prob[:, column], atol=1e-6)
        if (predictions[f"true/{code}"] == data.y_true[:50, column]).all():
            f1 = multilabel.f1_scores(data.y_true[:50, [column]], y_pred[:, [column]])[0]
            assert row["expected_f1/f1"] == pytest.approx(f1)
            n_compared += 1
    assert n_compared > 5  # a code such as that of Mobitz I adds positives to others


def test_every_code_is_listed_with_what_came_of_it(run, hospital):
    folder = run(hospital) / "north"
    codes = pd.read_csv(folder / "codes.csv").set_index("snomed")
    said = [challenge.read_labels(path).dx for path in sorted((hospital / "north").glob("*.hea"))]
    assert set(codes.index) == set().union(*said)
    for number, row in codes.iterrows():
        assert row["n_records"] == sum(number in dx for dx in said)
    assert codes.loc[39732003, "outcome"].startswith("no counterpart")
    assert codes.loc[999999, "outcome"].startswith("no counterpart: not in the table")
    assert "scored in SR" in codes.loc[426783006, "outcome"]
    nowhere = read(folder / "about.json")["codes_without_counterpart"]
    assert {row["snomed"] for row in nowhere} == {39732003, 999999}


def test_broken_and_unlabelled_records_are_named_and_the_rest_is_scored(run, hospital):
    about = read(run(hospital) / "south" / "about.json")
    assert set(about["left_out"]) == {"E90001", "E90002"}
    assert "E90002.mat" in about["left_out"]["E90002"]
    assert (about["n_records"], about["n_answered"]) == (12, 10)


def test_thresholds_found_anew_on_one_half_never_see_the_other(run, hospital, tmp_path):
    before = read(run(hospital, **{"data.min_positives": 2}) / "north" / "retuned.json")
    assert before["n_tuning"] + before["n_reported"] == 50 and before["findings"]
    assert set(before["as_it_is"]) == set(before["retuned"])
    gain = before["difference"]["ece"]
    assert gain == pytest.approx(before["retuned"]["ece"] - before["as_it_is"]["ece"])
    predictions = pd.read_parquet(run(hospital) / "north" / "predictions.parquet")
    for name, part in zip(predictions["record"], predictions["half"], strict=True):
        assert (part == "tuning") == challenge.in_tuning_half(name)
    # Other labels in the half that is counted: what was found on the tuning half stays.
    lying = tmp_path / "lying"
    shutil.copytree(hospital, lying)
    for path in (lying / "north").glob("*.hea"):
        if not challenge.in_tuning_half(path.stem):
            path.write_text(path.read_text().replace("426783006", "164889003,426783006"))
    folder = run(lying, **{"data.min_positives": 2}) / "north"
    after, same = read(folder / "retuned.json"), pd.read_parquet(folder / "predictions.parquet")
    common = set(before["findings"]) & set(after["findings"])
    assert len(common) > 2 and "SR" in common
    for code in common:
        assert after["calibration"][code] == before["calibration"][code]
        assert after["thresholds"]["f1"][code] == before["thresholds"]["f1"][code]
    assert np.allclose(same["probability/SR"], predictions["probability/SR"])


def test_too_few_positives_to_tune_are_said_and_not_an_error(run, hospital, capsys):
    counts = pd.read_csv(run(hospital, **{"data.min_positives": 1}) / "north" / "findings.csv")
    # As many as one finding has in the whole set: in a half there are fewer.
    n = int(np.minimum(counts["n_positive"], 50 - counts["n_positive"]).max())
    folder = run(hospital, **{"data.min_positives": n}) / "north"
    assert (
        f"no finding has {n} positives, and as many negatives"
        in read(folder / "retuned.json")["too_few"]
    )
    assert "too few positives" in capsys.readouterr().out


def test_a_missing_folder_is_a_clear_error(run, hospital):
    with pytest.raises(ValueError, match="data.root is missing"):
        run(hospital, **{"data.root": None})
    with pytest.raises(ValueError, match="no such folder"):
        run(hospital / "nowhere")


def test_a_model_from_before_the_default_rule_is_reported_by_the_rule_it_has(run, hospital):
    folder = run(hospital)
    path = folder.parents[1] / "model" / "config.json"
    content = json.loads(path.read_text())
    del content["thresholds"]["expected_f1"]
    path.write_text(json.dumps(content))
    page = run(hospital, report=True, **{"data.min_positives": 3}) / "north" / "report.html"
    assert "threshold rule <b>prevalence</b>" in page.read_text()


def test_a_set_that_decides_nothing_has_a_row_without_scores(run, hospital, capsys):
    folder = run(hospital, **{"data.min_positives": 100})
    row = read(folder / "summary.json")[0]
    assert row["n_findings"] == 0 and "macro_auroc" not in row
    assert {path.name for path in (folder / "north").iterdir()} == {"about.json", "codes.csv"}
    assert "nothing to score in 50 records" in capsys.readouterr().err


def test_records_that_were_trained_on_are_left_out(run, trained, simulated, tmp_path):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    root = tmp_path / "hospitals"
    for fold in range(1, 11):
        ecg_id = data.ecg_id[data.fold(fold)[0]]
        write(root / "ptbxl", f"HR{ecg_id:05}")
    write(root / "ptbxl", "HR21000")
    about = read(run(root) / "ptbxl" / "about.json")
    assert about["n_answered"] == 1  # fold 10: trained on 1 to 8, tuned on 9
    why = list(about["left_out"].values())
    assert sum("trained or tuned on" in one for one in why) == 9
    assert sum("of a fold unknown" in one for one in why) == 1
    # Without a table nobody can say.
    (tmp_path / "empty").mkdir()
    about = read(run(root, **{"data.ptbxl": str(tmp_path / "empty")}) / "ptbxl" / "about.json")
    assert about["n_answered"] == 0


def test_records_of_a_patient_fall_into_one_half(trained, simulated, tmp_path):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    ids = data.ecg_id[data.fold(10)]
    paths = [write(tmp_path / "ptbxl", f"HR{i:05}") for i in ids]
    artifact = Predictor.load(trained / "model", "cpu").artifact
    left_out, patients = seen_in_training(challenge.collect("ptbxl", paths), artifact, simulated)
    assert not left_out
    owner = dict(zip(data.ecg_id.tolist(), data.patient_id.tolist(), strict=True))
    assert patients == {f"HR{i:05}": f"patient {owner[i]}" for i in ids}


def test_an_ancestor_of_the_same_records_counts_and_one_of_others_does_not(
    trained, simulated, tmp_path
):
    from dataclasses import replace

    data = ptbxl.load_ptbxl(simulated, signals=False)
    paths = [write(tmp_path / "ptbxl", f"HR{data.ecg_id[data.fold(10)[0]]:05}")]
    collection = challenge.collect("ptbxl", paths)
    artifact = Predictor.load(trained / "model", "cpu").artifact
    for version, n_left_out in ((artifact.provenance.data, 1), ("9 records, metadata sha256 0", 0)):
        before = {"data": version, "train_folds": [10], "tune_fold": 1, "run": "pretrain"}
        young = replace(
            artifact,
            provenance=replace(artifact.provenance, pretrained=Provenance.from_json(before)),
        )
        assert len(seen_in_training(collection, young, simulated)[0]) == n_left_out


def test_a_failed_run_leaves_the_results_that_were_there(run, hospital, tmp_path, monkeypatch):
    folder = run(hospital)
    before = (folder / "summary.json").read_text()
    monkeypatch.setattr(external_module, "tqdm", None)
    with pytest.raises(TypeError):
        run(hospital)
    assert (folder / "summary.json").read_text() == before
    assert [path.name for path in folder.parent.iterdir()] == ["challenge"]


@pytest.mark.slow
def test_the_command_answers_the_real_collections(trained, tmp_path, shared_challenge):
    shutil.copytree(trained, tmp_path / trained.name)
    command = [
        *(sys.executable, "-m", "ecg_siglip.evaluate", f"run.name={trained.name}"),
        *(f"run.root={tmp_path}", "data=challenge", f"data.root={shared_challenge}"),
        *("data.min_positives=2", "n_bootstrap=50", "device=cpu"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / trained.name / "evaluate" / "challenge"
    rows = {row["set"]: row for row in read(folder / "summary.json")}
    assert {name: row["n_records"] for name, row in rows.items()} == {
        "chapman_ningbo": 12, "cpsc2018": 2, "cpsc2018_extra": 6, "georgia": 12, "ptbxl": 0,
    }  # fmt: skip
    assert rows["chapman_ningbo"]["n_findings"] > 5
    assert (folder / "chapman_ningbo" / "report.html").stat().st_size > 100_000
    assert "PRWP 1" in done.stderr and "Brady 1" in done.stderr
