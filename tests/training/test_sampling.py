"""The records of an epoch: each once, or by weights of records and data sets."""

from types import SimpleNamespace

import numpy as np
import pytest

from ecg_siglip.training.sampling import draw_epoch, row_weights

ROWS = np.arange(10, 70)


def _data(sizes=(70,), weight=None):
    source_of = np.repeat(np.arange(len(sizes)), sizes)
    return SimpleNamespace(sources=tuple("abc"[: len(sizes)]), source_of=source_of, weight=weight)


def test_without_weights_each_record_occurs_once_in_the_order_of_the_seed():
    assert row_weights(_data(), ROWS, 5.0) is None
    rows = draw_epoch(ROWS, None, [3, 1])
    assert rows.tolist() == np.random.default_rng([3, 1]).permutation(ROWS).tolist()


def test_a_record_occurs_as_often_as_its_weight_states():
    weight = np.random.default_rng(0).uniform(0, 4, 70).astype(np.float32)
    weight[20] = 0
    w = row_weights(_data(weight=weight), ROWS, 1.0)
    assert np.isclose(w.mean(), 1) and np.allclose(w / w[0], weight[ROWS] / weight[10])
    counts = np.zeros(70)
    for epoch in range(400):
        rows = draw_epoch(ROWS, w, [0, epoch])
        assert len(rows) == len(ROWS)
        count = np.bincount(rows, minlength=70)
        assert (count[ROWS] >= np.floor(w - 1e-9)).all()
        assert (count[ROWS] <= np.ceil(w + 1e-9)).all()
        counts += count
    assert counts[20] == 0
    assert np.abs(counts[ROWS] / 400 - w).max() < 0.1


def test_a_temperature_makes_the_shares_of_the_data_sets_more_even():
    data, rows = _data((64, 4)), np.arange(68)
    assert row_weights(data, rows, 1.0) is None
    w = row_weights(data, rows, 2.0)
    assert np.isclose(w[:64].sum() / w[64:].sum(), 8 / 2)
    even = row_weights(data, rows, 100.0)
    assert np.isclose(even[:64].sum() / even[64:].sum(), 1, atol=0.05)
    drawn = draw_epoch(rows, w, [0, 0])
    assert len(drawn) == 68 and abs((drawn >= 64).sum() - 68 / 5) <= 2


def test_weights_of_zero_are_refused():
    with pytest.raises(ValueError, match="no training record has a weight above 0"):
        row_weights(_data(weight=np.zeros(70, np.float32)), ROWS, 1.0)
