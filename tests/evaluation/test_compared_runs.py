"""Runs of different data sets, compared on the records that all have."""

import numpy as np
import pytest

from ecg_siglip.config import TrainConfig
from ecg_siglip.evaluation.compared_runs import Run, common_records
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.models.provenance import Provenance


def _run(name: str, records: str, y_true: list[list[float]], codes=("A", "B")) -> Run:
    labels = np.array(y_true)
    labels = labels if np.isnan(labels).any() else labels.astype(bool)
    y_prob = np.arange(labels.size).reshape(labels.shape) / 100
    output = ModelOutput(y_prob, {"f1": np.full(2, 0.5)})
    ids = np.arange(len(labels)) + len(name)
    return Run(name, TrainConfig(), ids, codes, labels, output, Provenance(name), tuple(records))


FIRST = _run("first", "abc", [[1, 0], [0, 1], [1, 1]])


def test_records_are_paired_by_name_in_the_order_of_the_first_run(capsys):
    second = _run("second", "cxa", [[1, 1], [0, 0], [1, 0]])
    one, two = common_records([FIRST, second], "ours")
    assert one.records == two.records == ("a", "c")
    assert np.array_equal(one.ecg_id, two.ecg_id)
    assert two.output.y_prob.tolist() == second.output.y_prob[[2, 0]].tolist()
    assert one.y_true.tolist() == two.y_true.tolist() == [[True, False], [True, True]]
    assert "2 of the 3 records of second are compared" in capsys.readouterr().err


def test_a_label_that_one_run_does_not_know_is_not_compared():
    second = _run("second", "abc", [[1, np.nan], [0, 1], [1, 1]])
    for run in common_records([FIRST, second], "ours"):
        assert np.array_equal(run.y_true, [[1, np.nan], [0, 1], [1, 1]], equal_nan=True)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (_run("second", "abc", [[1, 0], [0, 1], [1, 0]]), "second: other findings or labels than"),
        (_run("second", "abc", [[1, 0]] * 3, ("A", "C")), "second: other findings or labels than"),
        (_run("second", "xyz", [[1, 0]] * 3), "data.source=ours: no record is common to first, se"),
        (_run("second", "", [[1, 0]] * 3), "second: records without names of their own; evaluate"),
        (_run("second", "aab", [[1, 0]] * 3), "second: records without names of their own"),
    ],
)
def test_runs_that_do_not_fit_are_refused(second, message):
    with pytest.raises(ValueError, match=message):
        common_records([FIRST, second], "ours")
