"""One scale of words for probabilities, and percentages that agree with it."""

import numpy as np
import pytest

from ecg_siglip.metrics.likelihood import (
    LIKELIHOODS,
    likelihood_range,
    likelihood_word,
    percent,
)


def test_every_probability_has_the_word_of_its_range():
    for p in np.linspace(0, 1, 2001):
        low, high = likelihood_range(likelihood_word(p))
        assert low <= p < high or p == high == 1
    assert likelihood_word(0.0) == "very unlikely" and likelihood_word(1.0) == "very likely"


def test_a_higher_probability_never_has_a_lower_word():
    order = list(LIKELIHOODS)[::-1]
    ranks = [order.index(likelihood_word(p)) for p in np.linspace(0, 1, 501)]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(len(LIKELIHOODS)))


@pytest.mark.parametrize("p", np.linspace(0.01, 0.99, 197))
def test_the_percentage_that_is_shown_has_the_same_word(p):
    shown = int(percent(p).removesuffix(" %"))
    assert likelihood_word(shown / 100) == likelihood_word(p)
    assert -1e-6 <= 100 * p - shown < 1 + 1e-6


def test_no_probability_is_shown_as_none_or_as_certainty():
    assert [percent(p) for p in (0.0, 0.0099, 0.01, 0.29, 0.99, 1.0)] == [
        *("< 1 %", "< 1 %", "1 %", "29 %", "99 %", "> 99 %"),
    ]
