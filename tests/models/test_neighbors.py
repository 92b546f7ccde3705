"""Neighbors: the nearest training records, and novelty as a share of the tuning fold."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import as_earlier, configured

from ecg_siglip.config import PredictConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.model_files import NEIGHBORS as FILE
from ecg_siglip.models.neighbors import NOVEL, Neighbors, unit
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record


@pytest.fixture
def cloud() -> Neighbors:
    """Training and tuning records around one direction."""
    rng = np.random.default_rng(0)
    centre = np.array([1.0, 0, 0, 0])
    train, tune = (centre + rng.normal(0, 0.2, (n, 4)) for n in (50, 40))
    return Neighbors.from_embeddings(train, np.arange(100, 150), rng.random((50, 11)) < 0.3, tune)


def test_the_nearest_have_the_largest_cosines(cloud):
    queries = np.random.default_rng(1).normal(size=(6, 4))
    rows, cosines = cloud.nearest(queries, 5)
    embedding = cloud.embedding_ND.astype(np.float64)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for i in range(6):
        cosine = embedding @ unit[i]
        assert set(rows[i]) == set(np.argsort(-cosine)[:5])
        np.testing.assert_allclose(cosines[i], np.sort(cosine)[::-1][:5], atol=1e-5)
    assert cloud.nearest(queries, 500)[0].shape == (6, 50)


def test_many_queries_have_the_neighbors_of_each(cloud, monkeypatch):
    queries = np.random.default_rng(1).normal(size=(7, 4))
    whole = cloud.nearest(queries, 5)
    monkeypatch.setattr("ecg_siglip.models.neighbors.N_PAIRS", 2 * len(cloud.ecg_id))
    rows, cosines = cloud.nearest(queries, 5)
    np.testing.assert_array_equal(rows, whole[0])
    np.testing.assert_allclose(cosines, whole[1], rtol=1e-6)
    assert cloud.nearest(queries[:0], 5)[0].shape == (0, 5)


def test_the_norm_of_a_query_has_no_effect(cloud):
    queries = np.random.default_rng(1).normal(size=(3, 4))
    for one, scaled in zip(cloud.nearest(queries, 4), cloud.nearest(7 * queries, 4), strict=True):
        np.testing.assert_allclose(one, scaled, atol=1e-6)


def test_novelty_is_a_share_of_the_tuning_fold(cloud):
    rng = np.random.default_rng(2)
    usual = np.array([1.0, 0, 0, 0]) + rng.normal(0, 0.2, (400, 4))
    assert abs(cloud.novelty(usual).mean() - 0.5) < 0.12
    assert cloud.novelty(-usual).min() > NOVEL
    assert cloud.novelty(cloud.embedding_ND[:5]).max() < 0.1


@pytest.mark.parametrize("n_findings", [1, 8, 11])
def test_they_are_loaded_as_they_were_saved(tmp_path, n_findings):
    rng = np.random.default_rng(0)
    labels = rng.random((9, n_findings)) < 0.5
    saved = Neighbors.from_embeddings(
        rng.normal(size=(9, 4)),
        np.arange(9),
        labels,
        rng.normal(size=(3, 4)),
        (rng.normal(size=(9, 6)), rng.normal(size=(3, 6))),
        [f"ward/心電図 {i}\n.xml" for i in range(9)],
    )
    assert saved.name(8) == "ward/心電図 8\n.xml"
    saved.save(tmp_path)
    loaded = Neighbors.load(tmp_path, n_findings)
    for name in (
        "embedding_ND",
        "ecg_id",
        "labels_NF",
        "tune_distance",
        "sketch_NS",
        "tune_sketch_MS",
    ):
        got, expected = getattr(loaded, name), getattr(saved, name)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
    assert loaded.names == saved.names
    assert Neighbors.load(tmp_path / "nowhere", n_findings) is None


def test_a_damaged_file_is_an_error_that_names_it(tmp_path, cloud):
    cloud.save(tmp_path)
    with pytest.raises(ValueError, match=r"neighbours\.safetensors: damaged: labels of another"):
        Neighbors.load(tmp_path, 77)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"neighbours\.safetensors: damaged"):
        Neighbors.load(tmp_path, 11)


def test_a_trained_model_has_its_own_training_records(trained, simulated):
    predictor = Predictor.load(trained / "model", "cpu")
    neighbors = predictor.artifact.neighbors
    table = ptbxl.read_metadata(simulated)
    train_ids = table.index[table["strat_fold"] <= 8]
    assert set(neighbors.ecg_id) == set(train_ids)
    own = train_ids[:5]
    signals = [
        predictor.prepare(read_record(simulated / table["filename_lr"][ecg_id])) for ecg_id in own
    ]
    _, embedding_BD = predictor.forward(np.stack(signals))
    rows, cosines = neighbors.nearest(embedding_BD, len(neighbors.ecg_id))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-3)
    for ecg_id, row, cosine in zip(own, rows, cosines, strict=True):
        # In half precision the nearest records may have equal cosines.
        assert cosine[neighbors.ecg_id[row] == ecg_id][0] == pytest.approx(cosine[0], abs=1e-3)


def test_a_prediction_has_similar_ecgs_with_their_findings(trained, simulated, capsys):
    table = ptbxl.read_metadata(simulated)
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    path = str(simulated / table["filename_lr"].iloc[0])
    capsys.readouterr()
    predict(configured(PredictConfig, base | {"records": [path], "n_similar": 3}))
    predict(configured(PredictConfig, base | {"records": [path]}))
    prediction, plain = map(json.loads, capsys.readouterr().out.splitlines())
    artifact = load_artifact(trained / "model")
    neighbors = artifact.neighbors
    cosines = [similar["cosine"] for similar in prediction["similar"]]
    assert cosines == sorted(cosines, reverse=True)
    assert len(cosines) == 3
    for similar in prediction["similar"]:
        labels = neighbors.labels_NF[neighbors.ecg_id == similar["ecg_id"]][0]
        pairs = zip(artifact.codes, labels, strict=True)
        assert similar["findings"] == [code for code, present in pairs if present]
    assert "similar" not in plain
    assert plain["novelty"] == prediction["novelty"]


def test_a_record_unlike_the_training_records_has_a_warning(trained, simulated, capsys):
    # With a tuning fold very near to the training records, any record is unlike them.
    predictor = Predictor.load(trained / "model", "cpu")
    neighbors = predictor.artifact.neighbors
    near = replace(neighbors, tune_distance=np.full(200, -1.0, np.float32))
    predictor.artifact = replace(predictor.artifact, neighbors=near)
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    settings = configured(PredictConfig, {"run.name": "r", "records": [str(path)]})
    (prediction,) = predict_records(predictor, [path], settings)
    assert prediction.novelty == 1.0
    assert any(
        "unlike the ECGs that the model learned from" in line for line in prediction.warnings
    )


def test_a_model_saved_without_them_is_loaded(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    (tmp_path / "model" / FILE).unlink()
    with pytest.raises(ValueError, match=f"{FILE} is missing"):
        load_artifact(tmp_path / "model")
    as_earlier(tmp_path / "model")
    assert load_artifact(tmp_path / "model").neighbors is None


def test_training_records_are_recognized_unless_their_number_is_small():
    ids = np.array([5, 1 << 40, (1 << 32) - 1])
    zeros = np.zeros((3, 2), np.float32)
    neighbors = Neighbors.from_embeddings(zeros, ids, zeros > 0, zeros)
    numbers = np.array([1 << 40, 5, (1 << 32) - 1, 1 << 41])
    assert neighbors.holds(numbers, zeros).tolist() == [True, False, False, False]
    assert neighbors.name(0) == "5"


def test_training_records_are_recognized_by_their_signals_whatever_their_names():
    rng = np.random.default_rng(0)
    sketches = unit(rng.normal(size=(40, 64)))
    zeros = np.zeros((30, 2), np.float32)
    ids = np.arange(1 << 40, (1 << 40) + 30)
    neighbors = Neighbors.from_embeddings(
        zeros, ids, zeros > 0, zeros[:10], (sketches[:30], sketches[30:])
    )
    changed = unit(sketches + 0.02 * rng.normal(size=sketches.shape))
    others = unit(rng.normal(size=(40, 64)))
    numbers = np.resize(ids, 40)  # the names mean nothing
    assert neighbors.holds(numbers, changed).tolist() == [True] * 30 + [False] * 10
    assert neighbors.holds(numbers, changed, tuned=True).tolist() == [False] * 30 + [True] * 10
    assert not neighbors.holds(numbers, others).any()
    assert not neighbors.holds(numbers, np.zeros((40, 64), np.float32)).any()
