"""What decides quickly decides as the definition does."""

import numpy as np
import pytest
from helpers import beats

from ecg_siglip.signals.signal_checks import (
    PLAUSIBLE_MV,
    _is_plausible,
    amplitude_mv,
    check_signal,
    nonflat_leads,
)

LOW, HIGH = PLAUSIBLE_MV


@pytest.mark.parametrize("n", [5, 60, 199, 200, 1000, 5000])
@pytest.mark.parametrize("amplitude", [0.98 * LOW, 1.02 * LOW, 1.0, 0.98 * HIGH, 1.02 * HIGH])
def test_the_amplitude_is_plausible_as_its_definition_states(n, amplitude):
    rng = np.random.default_rng(n)
    for n_spikes in (0, n // 99, n // 10, n // 2):
        signal = rng.normal(size=(12, n)) * rng.uniform(0.5, 2, (12, 1))
        signal[:, rng.choice(n, n_spikes, replace=False)] *= 30
        signal[rng.random(12) < 0.3] = 0.7
        signal[0] += np.arange(n)
        signal *= amplitude / amplitude_mv(signal)
        expected = LOW <= amplitude_mv(signal) <= HIGH
        assert _is_plausible(signal, np.ptp(signal, axis=1)) == expected


@pytest.mark.parametrize("n", [2, 8, 9, 16, 17, 60, 101, 102, 200, 1000, 5000])
def test_every_eighth_sample_may_be_unlike_the_others(n):
    at = np.arange(n)
    for height in (0.9 * LOW, 1.1 * LOW, 1.9 * LOW, 4.5 * LOW, 1.0):
        comb = np.where(at % 8 == 0, height, 0.0)
        # Two levels around the median, the lower one at every eighth sample.
        levels = np.where(at % 8 == 0, -height, np.array([0.0, height, -height, height])[at % 4])
        peak = np.where(at == 0, height, 0.0)
        step = np.where(at <= n // 2, 0.0, height)
        for lead in (comb, levels, peak, step):
            signal = np.tile(lead, (12, 1))
            expected = LOW <= amplitude_mv(signal) <= HIGH
            assert _is_plausible(signal, np.ptp(signal, axis=1)) == expected


def test_leads_without_a_signal_are_refused_and_found():
    signal = beats(1000)
    signal[3] = 1.0
    assert nonflat_leads(signal, "abcdefghijkl") == [0, 1, 2, *range(4, 12)]
    with pytest.raises(ValueError, match="flat lead aVR"):
        check_signal(signal)
    assert nonflat_leads(signal, "abc") == nonflat_leads(signal[:, :0], "abcdefghijkl") == []
