"""The novelty of a record: a share of the tuning fold, in three parts, stored with the model."""

from __future__ import annotations

import numpy as np
import pytest

from ecg_siglip.models.novelty import PARTS, Normal, NoveltyScore, share_below, statistics_of

N_TUNE = 200


@pytest.fixture
def statistics() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        name: (rng.normal(3, 2, (n, 6)), rng.normal(-1, 0.1, (n, 4)))
        for name, n in (("train", 600), ("tune", N_TUNE), ("usual", 400))
    }


@pytest.fixture
def score(statistics) -> NoveltyScore:
    distance = np.random.default_rng(1).uniform(0.05, 0.2, N_TUNE)
    return NoveltyScore.fit(statistics["train"], statistics["tune"], distance)


def test_a_usual_record_has_any_share_of_the_tuning_fold(score, statistics):
    distance = np.random.default_rng(2).uniform(0.05, 0.2, 400)
    novelty = score.of_statistics(distance, statistics["usual"])
    assert abs(novelty.value.mean() - 0.5) < 0.1
    assert set(novelty.parts) == set(PARTS)
    assert 0 < (novelty.value > 0.95).mean() < 0.15


@pytest.mark.parametrize("part", PARTS)
def test_a_record_that_differs_in_one_part_is_novel_in_that_part_alone(part, score, statistics):
    distance = np.full(400, 0.1)
    frequencies, leads = statistics["usual"]
    if part == "embedding":
        distance = np.full(400, 1.5)
    elif part == "frequencies":
        frequencies = frequencies + 20
    else:
        leads = leads + 1
    novelty = score.of_statistics(distance, (frequencies, leads))
    assert novelty.value.min() == 1.0 and novelty.parts[part].min() == 1.0
    for other in set(PARTS) - {part}:
        assert novelty.parts[other].mean() < 0.7


def test_the_scale_and_correlation_of_statistics_have_no_effect_on_a_distance():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 3))
    scaled = values * [1000, 1, 0.001]
    usual = Normal.fit(values).distance(values)
    np.testing.assert_allclose(Normal.fit(scaled).distance(scaled), usual, rtol=1e-2, atol=1e-2)
    constant = np.concatenate([values, np.ones((500, 1))], axis=1)
    assert np.isfinite(Normal.fit(constant).distance(constant)).all()


def test_it_is_read_as_it_was_stored(score, statistics):
    content = score.to_arrays()
    assert all(isinstance(array, np.ndarray) for array in content.values())
    again = NoveltyScore.from_arrays(content)
    distance = np.linspace(0.05, 0.3, 400)
    for one, other in zip(
        again.of_statistics(distance, statistics["usual"]).parts.values(),
        score.of_statistics(distance, statistics["usual"]).parts.values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert NoveltyScore.from_arrays({}) is None, "a model of an earlier version"


@pytest.mark.parametrize(
    "damage",
    [
        {"novelty.tune": np.zeros((0, 3))},
        {"novelty.tune": np.zeros((4, 2))},
        {"novelty.leads.scale": np.zeros(9)},
    ],
)
def test_arrays_that_do_not_fit_are_an_error(damage, score):
    with pytest.raises(ValueError, match="novelty"):
        NoveltyScore.from_arrays(score.to_arrays() | damage)


def test_statistics_of_rows_are_those_of_each_record(monkeypatch):
    signals = np.random.default_rng(0).normal(0, 200, (7, 12, 400)).astype(np.int16)
    whole = statistics_of(signals, 100.0)
    monkeypatch.setattr("ecg_siglip.models.novelty.N_READ", 2)
    some = statistics_of(signals, 100.0, np.array([6, 0, 3]))
    for one, other in zip(whole, some, strict=True):
        np.testing.assert_allclose(other, one[[6, 0, 3]], rtol=1e-5)


def test_a_share_counts_what_is_below():
    assert share_below([3.0, 1.0, 2.0, 4.0], np.array([0.5, 2.0, 9.0])).tolist() == [0, 0.25, 1]
