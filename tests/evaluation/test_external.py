"""Records of other hospitals: predictions, labels and thresholds re-fitted on one half."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import write_challenge_record

from ecg_siglip.datasets import challenge, ptbxl
from ecg_siglip.evaluation.external import (
    code_rows,
    predict_collection,
    retuned,
    seen_in_training,
)
from ecg_siglip.evaluation.trained_run import load_run
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.provenance import Provenance


@pytest.fixture(scope="module")
def artifact(trained):
    return Predictor.load(trained / "model", "cpu").artifact


@pytest.fixture
def predict_set(external_settings):
    """Predicts one set of a folder, with as many positives required as given."""

    def predict(root, name, min_positives=2):
        settings = external_settings(root, **{"data.min_positives": min_positives})
        run = load_run(settings.run, "cpu")
        collection = challenge.collect(name, challenge.find_sets(root)[name])
        return predict_collection(settings, run, collection), settings, run

    return predict


def test_every_record_of_a_set_is_predicted_or_left_out_with_a_reason(predict_set, hospitals):
    predictions, _, _ = predict_set(hospitals, "south")
    assert len(predictions.paths) == len(predictions.headers) == 10
    assert set(predictions.left_out) == {"E90001", "E90002"}
    n_queries = len(predictions.queries)
    assert predictions.y_prob.shape == predictions.labels.y_true.shape == (10, n_queries)
    assert all(y_pred.shape == (10, n_queries) for y_pred in predictions.y_pred.values())
    assert (predictions.n_padded, predictions.n_cropped) == (0, 0)
    not_scored = {q.code for q in predictions.queries} - {
        predictions.queries[i].code for i in predictions.scored
    }
    assert not_scored == set(predictions.not_scored)


def test_a_finding_is_positive_from_its_threshold_and_several_if_one_of_them_is(
    predict_set, hospitals
):
    predictions, _, run = predict_set(hospitals, "north")
    artifact = run.predictor.artifact
    for rule, thresholds in predictions.thresholds.items():
        y_pred = predictions.y_pred[rule]
        for i, query in enumerate(predictions.queries):
            if len(query.findings) == 1:
                own = artifact.thresholds[rule][artifact.codes.index(query.findings[0])]
                assert thresholds[i] == own
                assert (y_pred[:, i] == (predictions.y_prob[:, i] >= own)).all()
            else:
                assert np.isnan(thresholds[i])


def test_every_code_of_the_set_has_a_row_with_its_use(predict_set, hospitals):
    predictions, _, run = predict_set(hospitals, "north")
    rows = {row["snomed"]: row for row in code_rows(predictions, run.predictor.artifact)}
    dx = [challenge.read_labels(path).dx for path in sorted((hospitals / "north").glob("*.hea"))]
    assert set(rows) == set().union(*dx)
    for code, row in rows.items():
        assert row["n_records"] == sum(code in codes for codes in dx)
    assert rows[39732003]["outcome"].startswith("no counterpart")
    assert rows[999999]["outcome"] == "no counterpart: not in the table of the challenges"
    assert "scored in SR" in rows[426783006]["outcome"]


def test_a_code_of_a_finding_that_the_model_lacks_has_no_counterpart(predict_set, hospitals):
    predictions, _, run = predict_set(hospitals, "north")
    without = replace(predictions, queries=[q for q in predictions.queries if q.code != "SR"])
    artifact = run.predictor.artifact
    fewer = replace(artifact, codes=tuple(code for code in artifact.codes if code != "SR"))
    rows = {row["snomed"]: row for row in code_rows(without, fewer)}
    assert rows[426783006]["outcome"] == "no counterpart: the model lacks SR"


def test_refitted_thresholds_do_not_depend_on_the_other_half(predict_set, hospitals, tmp_path):
    predictions, settings, _ = predict_set(hospitals, "north")
    before = retuned(predictions, settings)
    assert before["n_tuning"] + before["n_reported"] == 50 and before["findings"]
    relabelled = tmp_path / "relabelled"
    shutil.copytree(hospitals, relabelled)
    for path in (relabelled / "north").glob("*.hea"):
        if not challenge.in_tuning_half(path.stem):
            path.write_text(path.read_text().replace("426783006", "164889003,426783006"))
    changed, _, _ = predict_set(relabelled, "north")
    assert (changed.labels.y_true != predictions.labels.y_true).any()
    after = retuned(changed, settings)
    common = set(before["findings"]) & set(after["findings"])
    assert len(common) > 2 and "SR" in common
    for code in common:
        assert after["calibration"][code] == before["calibration"][code]
        assert after["thresholds"]["f1"][code] == before["thresholds"]["f1"][code]


def test_the_differences_are_those_of_the_scores_of_one_half(predict_set, hospitals):
    predictions, settings, _ = predict_set(hospitals, "north")
    scores = retuned(predictions, settings)
    assert set(scores["as_it_is"]) == set(scores["retuned"])
    assert scores["retuned"]["n_records"] == (~predictions.is_tuning).sum()
    for key in ("ece", "f1/macro_f1"):
        gain = scores["retuned"][key] - scores["as_it_is"][key]
        assert scores["difference"][key] == pytest.approx(gain)
        assert scores["difference"][f"{key}/low"] <= scores["difference"][f"{key}/high"]


def test_halves_without_enough_positives_are_not_refitted(predict_set, hospitals):
    predictions, settings, _ = predict_set(hospitals, "north")
    settings.data.min_positives = 40
    scores = retuned(predictions, settings)
    assert "no finding has 40 positives, and as many negatives" in scores["too_few"]
    assert scores["findings"] == [] and "retuned" not in scores


def test_records_of_a_patient_are_in_one_half(artifact, simulated, tmp_path):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    ids = data.ecg_id[data.fold(10)]
    paths = [write_challenge_record(tmp_path / "ptbxl", f"HR{i:05}") for i in ids]
    left_out, patients = seen_in_training(challenge.collect("ptbxl", paths), artifact, simulated)
    assert not left_out
    patient_of = dict(zip(data.ecg_id.tolist(), data.patient_id.tolist(), strict=True))
    assert patients == {f"HR{i:05}": f"patient {patient_of[i]}" for i in ids}


def test_records_of_the_training_and_tuning_folds_are_left_out(artifact, simulated, tmp_path):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    ids = [data.ecg_id[data.fold(fold)[0]] for fold in range(1, 11)] + [21000]
    paths = [write_challenge_record(tmp_path / "ptbxl", f"HR{i:05}") for i in ids]
    collection = challenge.collect("ptbxl", paths)
    left_out, patients = seen_in_training(collection, artifact, simulated)
    assert set(patients) == {f"HR{ids[9]:05}"}  # of fold 10: trained on 1 to 8, tuned on 9
    assert sum("trained or tuned on" in reason for reason in left_out.values()) == 9
    assert left_out["HR21000"].startswith("record 21000 of PTB-XL, of a fold unknown to")
    without_table, _ = seen_in_training(collection, artifact, tmp_path)
    assert len(without_table) == 11


@pytest.mark.parametrize(("data_version", "n_left_out"), [(None, 1), ("9 records, metadata", 0)])
def test_the_folds_of_an_ancestor_count_if_its_records_are_the_same(
    artifact, simulated, tmp_path, data_version, n_left_out
):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    path = write_challenge_record(tmp_path / "ptbxl", f"HR{data.ecg_id[data.fold(10)[0]]:05}")
    ancestor = Provenance.from_json(
        {
            "data": data_version or artifact.provenance.data,
            "train_folds": [10],
            "tune_fold": 1,
            "run": "pretrain",
        }
    )
    descendant = replace(artifact, provenance=replace(artifact.provenance, pretrained=ancestor))
    collection = challenge.collect("ptbxl", [path])
    assert len(seen_in_training(collection, descendant, simulated)[0]) == n_left_out


def test_an_ancestor_that_was_trained_on_ptbxl_counts_for_a_model_of_other_data(
    artifact, simulated, tmp_path
):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    ids = [data.ecg_id[data.fold(fold)[0]] for fold in (8, 10)]
    paths = [write_challenge_record(tmp_path / "ptbxl", f"HR{i:05}") for i in ids]
    adapted = replace(
        artifact.provenance,
        data="50 records, metadata sha256 123, records sha256 456",
        train_folds=[1],
        tune_fold=2,
        pretrained=artifact.provenance,
    )
    collection = challenge.collect("ptbxl", paths)
    left_out, _ = seen_in_training(collection, replace(artifact, provenance=adapted), simulated)
    assert list(left_out) == [f"HR{ids[0]:05}"]
