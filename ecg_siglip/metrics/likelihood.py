"""Words for calibrated probabilities, the same wherever a prediction is read.

What a word means was compared with how often it was true: docs/explanation/certainty.md.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from ecg_siglip.core.translation import Translate

# From this probability up, the highest first.
LIKELIHOODS = {
    "very likely": 0.9,
    "likely": 0.6,
    "possible": 0.3,
    "unlikely": 0.05,
    "very unlikely": 0.0,
}
# The same from the lowest up.
WORDS, LOWEST = list(LIKELIHOODS)[::-1], list(LIKELIHOODS.values())[::-1]


def likelihood_word(probability: float) -> str:
    """Return the word for a calibrated probability.

    Parameters
    ----------
    probability : float in [0, 1]

    Examples
    --------
    >>> likelihood_word(0.72)
    'likely'
    """
    return WORDS[bisect_right(LOWEST, probability) - 1]


def likelihood_range(word: str) -> tuple[float, float]:
    """Return the lowest probability of a word, and that of the next higher one (or 1).

    Examples
    --------
    >>> likelihood_range("possible")
    (0.3, 0.6)
    """
    lowest = LIKELIHOODS[word]
    return lowest, min((other for other in LIKELIHOODS.values() if other > lowest), default=1.0)


def scale_in_words(_: Translate = str) -> str:
    """Return the scale as part of a sentence, for the notes of reports and pages.

    Examples
    --------
    >>> scale_in_words()
    'very likely from 90 %, likely from 60 %, possible from 30 %, unlikely from 5 %, very unlikely \
below'
    """
    *words, last = LIKELIHOODS
    parts = [
        _("%(word)s from %(percent)d %%")
        % {"word": _(word), "percent": round(100 * LIKELIHOODS[word])}
        for word in words
    ]
    return _(", ").join([*parts, _("%(word)s below") % {"word": _(last)}])


def percent(probability: float) -> str:
    """Format a probability for people; what is below one percent is never 0.

    It is rounded down, as the ranges of the words are: 0.899 is 89 % and likely.

    Examples
    --------
    >>> percent(0.0004), percent(0.899), percent(0.9996)
    ('< 1 %', '89 %', '> 99 %')
    """
    if probability < 0.01:
        return "< 1 %"
    if probability > 0.99:
        return "> 99 %"
    return f"{math.floor(100 * probability + 1e-9)} %"
