"""The estimators in scikit-learn's own tools: cross-validation, searches, pipelines, tables."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from helpers import first_findings
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from ecg_siglip import EcgClassifier, EcgEncoder, Predictor
from ecg_siglip.datasets import ptbxl
from ecg_siglip.metrics import multilabel
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import order_leads

N = 40


@pytest.fixture(scope="module")
def data(simulated):
    return ptbxl.load_ptbxl(simulated, signals=False)


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def small(predictor):
    """The same model of ten findings: its fits take less time."""
    return Predictor(first_findings(predictor.artifact, 10))


@pytest.fixture(scope="module")
def records(data):
    return [read_record(path) for path in data.paths[:N]]


@pytest.fixture(scope="module")
def labels(data):
    return data.y_true[:N]


@pytest.fixture(scope="module")
def codes(data, labels):
    return [[data.codes[i] for i in np.flatnonzero(row)] for row in labels]


def test_labels_as_matrix_table_and_codes_are_the_same(predictor, data, records, labels, codes):
    expected = EcgClassifier(predictor).fit(records, labels).predict_proba(records[:3])
    shuffled = np.random.default_rng(0).permutation(len(data.codes))
    table = pd.DataFrame(labels, columns=list(data.codes)).iloc[:, shuffled]
    texts = pd.Series([";".join(listed) for listed in codes])
    for y in (table, codes, np.array([*codes, []], dtype=object)[:-1], texts):
        fitted = EcgClassifier(predictor).fit(records, y)
        assert np.array_equal(fitted.predict_proba(records[:3]), expected)
        assert fitted.score(records, y) == fitted.score(records, labels)


def test_a_finding_without_a_column_of_the_table_is_unknown(predictor, data, records, labels):
    table = pd.DataFrame({"NORM": labels[:, data.codes.index("NORM")]})
    calibration = EcgClassifier(predictor).fit(records, table).predictor_.artifact.calibration
    is_calibrated = (calibration != [1, 0]).any(axis=1)
    assert [data.codes[i] for i in np.flatnonzero(is_calibrated)] == ["NORM"]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([["NORM"], ["AFBI"]], r"y, record 1: AFBI is no finding of this model; did you mean"),
        (["NORM;XX", ""], r"y, record 0: XX is no finding"),
        (pd.DataFrame({"NROM": [0, 1]}), r"y, column: NROM is no finding .* did you mean NORM"),
        (pd.Series(["NORM", np.nan]), r"y, record 1: expected codes, as of the other records"),
        ([0, 1], r"y: Unknown label type: expected a matrix of 0, 1 and NaN"),
        ([{"NORM": 1}, {"NORM": 0}], r"y: Unknown label type"),
        (None, r"requires y to be passed, but the target y is None"),
        ([["NORM"]], r"y: expected 0, 1 and NaN of shape \(2, 71\), got \(1, 71\)"),
    ],
)
def test_wrong_labels_are_named(predictor, records, y, message):
    with pytest.raises(ValueError, match=message):
        EcgClassifier(predictor).fit(records[:2], y)


@pytest.mark.parametrize(
    ("ecgs", "message"),
    [
        ([None], r"ECGs: expected paths, Record objects, or numbers"),
        ([np.zeros((12, 1000)), np.zeros((12, 900))], r"ECGs: expected paths"),
        (pd.DataFrame({"path": ["a"]}), r"ECGs: expected paths"),
        (np.zeros((1, 12, 1000), complex), r"ECGs: expected paths"),
        (np.zeros((2, 8, 1000)), r"expected \(n_records, 12, n_samples\), got \(2, 8, 1000\)"),
        (np.full((1, 12, 1000), np.nan), r"record 0: "),
    ],
)
def test_wrong_ecgs_are_named(predictor, ecgs, message):
    with pytest.raises(ValueError, match=message):
        EcgClassifier.from_pretrained(predictor, fs=100).predict(ecgs)


def test_before_fit_there_are_no_predictions_and_a_clone_is_not_fitted(trained, data):
    classifier = EcgClassifier(str(trained / "model"), device="cpu")
    fitted = EcgClassifier.from_pretrained(trained / "model", device="cpu")
    encoder = EcgEncoder(str(trained / "model"), device="cpu")
    assert fitted.predict(data.paths[0]).shape == (1, 71)
    for estimator, method in (
        (classifier, "predict"),
        (clone(fitted), "predict_proba"),
        (encoder, "transform"),
    ):
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(data.paths[0])
    assert clone(fitted).get_params() == fitted.get_params()
    assert classifier.set_params(rule="prevalence").get_params()["rule"] == "prevalence"
    with pytest.raises(ValueError, match="Invalid parameter 'rules'"):
        classifier.set_params(rules="f1")


def test_the_score_is_the_macro_f1_over_findings_with_a_positive(predictor, records, labels):
    classifier = EcgClassifier.from_pretrained(predictor)
    predicted = classifier.predict(records)
    has_positive = labels.any(axis=0)
    expected = f1_score(
        labels[:, has_positive], predicted[:, has_positive], average="macro", zero_division=0
    )
    assert classifier.score(records, labels) == pytest.approx(expected)
    assert expected == pytest.approx(multilabel.macro_f1(labels, predicted))
    assert np.isnan(classifier.score(records, np.zeros_like(labels)))


def test_cross_validation_and_searches_run_with_matrices_and_codes(small, records, labels):
    classifier, folds = EcgClassifier(small), KFold(2)
    labels = labels[:, :10]
    codes = [[small.artifact.codes[i] for i in np.flatnonzero(row)] for row in labels]
    scores = cross_val_score(classifier, records, labels, cv=folds)
    assert np.array_equal(cross_val_score(classifier, records, codes, cv=folds), scores)
    by_hand = [
        clone(classifier).fit([records[i] for i in fit], labels[fit]).score(
            [records[i] for i in score], labels[score]
        )
        for fit, score in folds.split(records)
    ]  # fmt: skip
    assert scores == pytest.approx(by_hand)
    grid = {"rule": ["fixed_0.5", classifier.rule]}
    search = GridSearchCV(classifier, grid, cv=folds).fit(records, labels)
    assert search.best_params_["rule"] in grid["rule"]
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(scores.mean())
    assert search.predict(records[:2]).shape == (2, 10)
    assert not hasattr(classifier, "predictor_")


@pytest.mark.slow
def test_other_processes_compute_the_same(trained, records, labels):
    for estimator, y in (
        (EcgClassifier(str(trained / "model"), device="cpu"), labels),
        (
            make_pipeline(
                EcgEncoder(str(trained / "model"), device="cpu"), LogisticRegression(max_iter=500)
            ),
            labels[:, labels.sum(axis=0).argmax()],
        ),
    ):
        here = cross_val_score(estimator, records, y, cv=KFold(2))
        assert np.array_equal(cross_val_score(estimator, records, y, cv=KFold(2), n_jobs=2), here)


def test_a_fitted_classifier_survives_pickle_and_joblib(small, records, labels, tmp_path):
    fitted = EcgClassifier(small).fit(records, labels[:, :10])
    expected = fitted.predict_proba(records[:3])
    joblib.dump(fitted, tmp_path / "c.joblib")
    for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "c.joblib")):
        assert np.array_equal(again.predict_proba(records[:3]), expected)
    # What is sent to another process names the model.
    assert len(pickle.dumps(clone(EcgClassifier("runs/r1/model")))) < 1000


def test_the_encoder_gives_the_embeddings_of_the_model(predictor, records):
    encoder = EcgEncoder(predictor).fit(records)
    embedding = encoder.transform(records[:3])
    assert embedding.shape == (3, predictor.n_dims) and embedding.dtype == np.float32
    assert np.array_equal(embedding, predictor.encode_ecg(records[:3]))
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    signals = np.stack([predictor.prepare(record) for record in records[:3]])
    _, expected = predictor.forward(signals)
    assert embedding == pytest.approx(expected, abs=1e-6)
    array = np.stack([order_leads(r.signal, r.leads) for r in records[:3]])
    by_array = EcgEncoder(predictor, fs=records[0].fs).fit(array)
    assert np.array_equal(by_array.transform(array), embedding)
    assert by_array.n_features_in_ == 12


def test_leads_of_arrays_may_be_in_any_order_and_fewer_if_the_others_follow(predictor, records):
    names = ["V1", "V2", "V3", "V4", "V5", "V6", "II", "I"]
    arrays = [order_leads(record.signal, record.leads) for record in records[:2]]
    eight = np.stack([[*array[6:], array[1], array[0]] for array in arrays])
    encoder = EcgEncoder(predictor, fs=records[0].fs, leads=names).fit(eight)
    assert encoder.n_features_in_ == 8
    expected = predictor.encode_ecg(records[:2])
    assert encoder.transform(eight) == pytest.approx(expected, abs=2e-3)  # III = II - I in uV
    assert predictor.encode_ecg(eight, records[0].fs, names) == pytest.approx(
        encoder.transform(eight)
    )


def test_outputs_are_tables_with_the_index_of_the_paths(predictor, data, labels):
    paths = pd.Series([str(path) for path in data.paths[:5]], index=data.ecg_id[:5])
    encoder = EcgEncoder(predictor).set_output(transform="pandas")
    table = encoder.fit_transform(paths)
    assert table.index.equals(paths.index)
    assert list(table.columns[:2]) == ["ecgencoder0", "ecgencoder1"]
    classifier = EcgClassifier.from_pretrained(predictor).set_output(transform="pandas")
    probabilities = classifier.transform(paths)
    assert list(probabilities.columns) == list(classifier.classes_)
    assert np.array_equal(probabilities.to_numpy(), classifier.predict_proba(paths))


def test_embeddings_join_other_columns_of_a_table(predictor, data, labels):
    table = pd.DataFrame({"path": [str(path) for path in data.paths[:N]], "age": np.arange(N)})
    columns = ColumnTransformer([("ecg", EcgEncoder(predictor), "path")], remainder="passthrough")
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=500))
    y = labels[:, labels.sum(axis=0).argmax()]
    assert len(cross_val_score(pipeline, table, y, cv=2)) == 2
    assert columns.fit_transform(table).shape == (N, predictor.n_dims + 1)
