"""Hearts with findings and measurements on them, for the tests of the simulation."""

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.measurements import one_beat, qrs_of, qrs_peaks
from ecg_siglip.simulation.rhythms import simulate_ecg

LEAD = {name: i for i, name in enumerate(LEADS)}
N_HEARTS = 12


def hearts(*codes):
    """Yield hearts of different people with these findings."""
    for seed in range(N_HEARTS):
        rng = np.random.default_rng([seed, 7])
        yield finding_rules.with_findings(
            finding_rules.person(rng, 55.0, bool(seed % 2)), codes, rng
        )


def qrs_onsets(heart, duration=30.0, seed=0):
    """Simulate an ECG; return the times of its QRS complexes, s."""
    return np.array(simulate_ecg(heart, 250, duration, np.random.default_rng(seed))[1])


def qrs_width(heart):
    """Measure from the first to the last sample with a lead above 5 % of the QRS, s."""
    size = np.abs(qrs_of(heart)).max(axis=0)
    above = np.flatnonzero(size > 0.05 * size.max())
    return (above[-1] - above[0]) / 1000


def t_height(heart, lead):
    """Measure the T wave, mV: the largest deflection between the ends of QRS and T."""
    beat = one_beat(heart)[LEAD[lead]]
    stop = 0.4 + heart.qtc * (60 / heart.rate) ** (1 / 3)
    window = beat[int((0.4 + heart.qrs + 0.06) * 1000) : int(stop * 1000)]
    return window[np.argmax(np.abs(window))]


def st_height(heart, lead):
    """Measure the ST segment 60 ms after the end of the QRS, from the PR segment, mV."""
    beat = one_beat(heart)[LEAD[lead]]
    return beat[int((0.4 + heart.qrs + 0.06) * 1000)] - beat[392]


def peaks(heart, lead):
    """Measure R and the deeper one of Q and S in a lead, mV."""
    high, low = qrs_peaks(heart)
    return high[LEAD[lead]], low[LEAD[lead]]
