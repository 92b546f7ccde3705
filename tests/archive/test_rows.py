"""Rows: the JSON that `predict` prints, as columns of the same content; a row per window."""

import json

import numpy as np
import pytest
from helpers import rewritten

from ecg_siglip import config
from ecg_siglip.archive.rows import (
    count_records,
    error_row,
    prediction_rows,
    table_columns,
    table_row,
)
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def predictions(predictor, simulated, tmp_path_factory):
    """Predictions of a record of 10 s and of one of 60 s whose third window is flat."""
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    signal = np.tile(read_record(path).signal, 6).T.astype(float)
    signal[2000:3000] = 0
    long = rewritten(path, tmp_path_factory.mktemp("long"), "long", p_signal=signal)
    return predict_records(predictor, [path, long], config.PredictConfig())


def test_a_row_is_the_printed_json_with_a_status(predictions):
    for prediction in predictions:
        (row,) = prediction_rows(prediction, "m")
        assert (row["status"], row["reason"], row["schema_version"]) == ("predicted", None, 1)
        printed = json.loads(prediction.to_json("m"))
        assert {key: row[key] for key in printed} == printed


def test_the_columns_hold_all_that_a_row_holds(predictor, predictions):
    (row,) = prediction_rows(predictions[0], "m")
    columns = table_columns(predictor.artifact.codes)
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    cells = dict(zip(names, table_row(row, columns), strict=True))
    assert cells["findings"] == [finding["code"] for finding in row["findings"]]
    assert cells["recorded_at"] == row["recording"]["recorded_at"]
    assert cells["rate [1/min]"] == row["measurements"]["rate"]["value"]
    assert cells["st V1 [mV]"] == row["measurements"]["st"]["V1"]["value"]
    for code, probability in row["probabilities"].items():
        assert cells[f"probability/{code}"] == probability
    details = json.loads(cells["details"])
    kept = {key for key in row if key in names or key == "probabilities"}
    assert {key for key, value in row.items() if value} <= kept | set(details)
    assert details["measurements"] == row["measurements"]


def test_a_record_that_failed_has_a_row_with_the_reason(predictor):
    columns = table_columns(predictor.artifact.codes)
    cells = table_row(error_row("x", "record x: no header"), columns)
    filled = {
        c.name: cell for c, cell in zip(columns, cells, strict=True) if cell not in (None, [])
    }
    assert filled == {
        "schema_version": 1,
        "record": "x",
        "status": "unreadable",
        "reason": "record x: no header",
    }


def test_a_long_record_has_a_row_per_window(predictions):
    short, long = predictions
    (only,) = prediction_rows(short, "m", "window")
    assert (only["window"], only["start_s"]) == (0, None)
    rows = prediction_rows(long, "m", "window")
    assert [row["start_s"] for row in rows] == [0, 10, 20, 30, 40, 50]
    assert [row["window"] for row in rows] == list(range(6))
    unusable = rows[2]
    assert unusable["status"] == "unusable window" and "flat" in unusable["reason"]
    shown = [row for row in rows if "measurements" in row]
    assert len(shown) == 1 and shown[0]["novelty"] is not None
    for row in rows[:2]:
        present = {finding["code"] for finding in row["findings"]}
        assert present <= set(row["probabilities"])
    assert rows[0]["probabilities"] == pytest.approx(only["probabilities"], abs=0.05)
    counted = count_records((row["status"], row["window"]) for row in [only, *rows])
    assert counted == {"predicted": 2}
