"""Arrays of another shape or with other values are rejected with the place of the mistake."""

import numpy as np
import pytest

from ecg_siglip.metrics.validation import (
    binary,
    labels_and_predictions,
    labels_and_probabilities,
    probabilities,
)


def test_numbers_that_are_0_or_1_become_bool():
    result = binary("y_true", [[0, 1.0], [1, 0]])
    assert result.dtype == bool
    assert result.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("values", [[0, 1], np.zeros((0, 3)), np.zeros((2, 0)), 1])
def test_labels_need_records_and_findings(values):
    with pytest.raises(ValueError, match=r"y_true: expected shape \(n_records, n_findings\)"):
        binary("y_true", values)


@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01, np.inf])
def test_a_number_outside_0_to_1_is_named_with_its_row_and_column(bad):
    y_prob = np.full((4, 3), 0.5)
    y_prob[2, 1] = bad
    with pytest.raises(ValueError, match=r"in row 2, column 1 \(1 such values\)"):
        probabilities("y_prob", y_prob)


def test_the_ends_of_the_range_are_probabilities():
    assert probabilities("y_prob", [[0, 1]]).tolist() == [[0.0, 1.0]]


def test_labels_must_have_the_shape_of_what_they_are_compared_with():
    with pytest.raises(ValueError, match=r"y_prob: expected shape \(2, 1\), got \(1, 2\)"):
        labels_and_probabilities([[1], [0]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"y_pred: expected shape \(2, 1\), got \(1, 2\)"):
        labels_and_predictions([[1], [0]], [[1, 0]])
