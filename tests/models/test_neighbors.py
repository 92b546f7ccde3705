"""Neighbors: the nearest training records, and novelty as a share of the tuning fold."""

import json
import shutil

import numpy as np
import pytest
from helpers import as_earlier, configured

from ecg_siglip.config import PredictConfig
from ecg_siglip.core.translation import LANGUAGE_NAMES, translations
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import novelty_warning, predict_records
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.model_files import NEIGHBORS as FILE
from ecg_siglip.models.neighbors import Neighbors, unit
from ecg_siglip.models.novelty import NOVEL, PARTS
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS


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


def test_novelty_in_the_embedding_is_a_share_of_the_tuning_fold(cloud):
    rng = np.random.default_rng(2)
    usual = np.array([1.0, 0, 0, 0]) + rng.normal(0, 0.2, (400, 4))

    def novelty(embedding_BD: np.ndarray) -> np.ndarray:
        return cloud.novelty_from_cosine(cloud.nearest(embedding_BD, 1)[1][:, 0])

    assert abs(novelty(usual).mean() - 0.5) < 0.12
    assert novelty(-usual).min() > NOVEL
    assert novelty(cloud.embedding_ND[:5]).max() < 0.1


def test_a_model_of_an_earlier_version_has_the_novelty_of_the_embedding(cloud):
    cosine = np.array([0.99, -1.0])
    novelty = cloud.novelty(cosine, np.zeros((2, 12, 1000), np.int16), 100.0)
    np.testing.assert_array_equal(novelty.value, cloud.novelty_from_cosine(cosine))
    assert set(novelty.parts) == {"embedding"}


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


def test_a_record_unlike_the_training_records_has_a_warning_that_states_in_what(
    trained, simulated, tmp_path
):
    predictor = Predictor.load(trained / "model", "cpu")
    record = read_record(simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0])
    noise = np.random.default_rng(0).normal(0, 0.5, (12, record.signal.shape[1]))
    lines = {}
    for name, signal in (("usual", record.signal), ("noise", record.signal + noise)):
        np.savetxt(
            tmp_path / f"{name}.csv", signal.T, delimiter=",", header=",".join(LEADS), comments=""
        )
        base = {
            "run.name": "r",
            "records": [str(tmp_path)],
            "read.fs": record.fs,
            "read.units": "mV",
        }
        settings = configured(PredictConfig, base)
        (lines[name],) = predict_records(predictor, [tmp_path / f"{name}.csv"], settings)
    assert lines["usual"].novelty < NOVEL < lines["noise"].novelty
    assert set(lines["noise"].novelty_parts) == set(PARTS)
    (warning,) = (each for each in lines["noise"].warnings if "unusual recording" in each)
    assert PARTS["frequencies"] in warning and "at most 1 in 1,000 comparison ECGs" in warning
    assert not any("unusual" in each for each in lines["usual"].warnings)


def test_a_warning_names_the_part_that_is_most_novel_in_every_language():
    parts = {"frequencies": 0.999, "leads": 0.4, "embedding": 0.995}
    text = novelty_warning(0.9966, parts)
    assert PARTS["frequencies"] in text and "at most 4 in 1,000 comparison ECGs" in text
    assert PARTS["leads"] in novelty_warning(1.0, {"leads": 1.0, "embedding": 1.0})
    assert PARTS["embedding"] in novelty_warning(1.0, {"embedding": 1.0})
    for language in set(LANGUAGE_NAMES) - {"en"}:
        other = translations(language).sentence(text)
        assert other != text and "4" in other and PARTS["frequencies"] not in other


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
