"""Where in a simulated record each of its findings is: in which leads, at which times.

The simulator knows this ground truth, which is not annotated in real data. For a finding that
changes the shape of waves, the mask is the difference from the record without it: the same heart
and the same beats, without the rule of the finding. For a finding that is an interval or a beat (a
long PR interval, an ectopic beat), the mask is that interval or beat.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.dataset import DURATION_S
from ecg_siglip.simulation.electrode_noise import FS as SIGNAL_FS
from ecg_siglip.simulation.heart import Heart, twelve_leads
from ecg_siglip.simulation.patients import draw_findings
from ecg_siglip.simulation.rhythms import Strip, draw_strip, simulate_ecg

FS = 100  # of the masks, Hz
VISIBLE_MV = 0.05  # half a millimetre on paper
EARLY = ("early P", "ectopic QRS", "ectopic ST-T")
# Findings that are certain intervals, in every lead, by the kinds of their spans.
INTERVALS: dict[str, tuple[str, ...]] = {
    "1AVB": ("PR",), "LPR": ("PR",), "WPW": ("PR", "QRS"), "PACE": ("spike", "QRS"),
    "PVC": EARLY, "PAC": EARLY, "PRC(S)": EARLY, "BIGU": EARLY, "TRIGU": EARLY,
}  # fmt: skip
# Findings whose rule also moves the QRS: only differences in these intervals count.
ONLY_IN = {"LAO/LAE": ("P",), "RAO/RAE": ("P",)}
# Findings without a mask: a rhythm is in the whole record, a normal finding nowhere.
EVERYWHERE = {
    "NORM", "SR", "SBRAD", "STACH", "SARRH", "SVARR", "AFIB", "AFLT", "SVTAC", "PSVT",
    "2AVB", "3AVB",
}  # fmt: skip


def finding_masks(seed: int, ecg_id: int, age: float, is_woman: bool) -> dict[str, np.ndarray]:
    """Compute where each finding of a simulated record is.

    Parameters
    ----------
    seed, ecg_id, age, is_woman
        As for ``dataset.make_record``: the masks are those of the record that it makes.

    Returns
    -------
    dict of str to ndarray of shape (12, 1000), bool
        At 100 Hz, leads in the order of ``leads.LEADS``. Findings without a place, such as a
        rhythm, are left out.

    Examples
    --------
    >>> masks = finding_masks(seed=0, ecg_id=7, age=70.0, is_woman=True)
    >>> {code: round(float(mask.mean()), 2) for code, mask in masks.items()}
    {'LAFB': 0.08, 'IMI': 0.13, 'QWAVE': 0.05}
    """
    rng = np.random.default_rng([seed, 1, ecg_id])
    codes = draw_findings(rng, age)
    person = finding_rules.person(rng, age, is_woman)
    state_before: dict[str, Any] = {}  # of the random generator, by rule
    heart = copy.deepcopy(person)
    for code, rule in finding_rules.RULES.items():
        if code in codes:
            state_before[code] = rng.bit_generator.state
            rule(heart, rng)
    beats_state = rng.bit_generator.state
    strip = draw_strip(heart, DURATION_S, _generator(beats_state))
    signal = _simulate(heart, beats_state)
    masks = {}
    for code in codes:
        if code in EVERYWHERE:
            continue
        if code in INTERVALS:
            masks[code] = np.tile(_in_intervals(strip, INTERVALS[code]), (12, 1))
            continue
        other = copy.deepcopy(person)
        for name, state in state_before.items():
            if name != code:
                finding_rules.RULES[name](other, _generator(state))
        differs = np.abs(signal - _simulate(other, beats_state)) >= VISIBLE_MV
        masks[code] = differs.reshape(12, -1, SIGNAL_FS // FS).any(axis=2)
        if code in ONLY_IN:
            masks[code] &= _in_intervals(strip, ONLY_IN[code])
    return masks


def _generator(state: Any) -> np.random.Generator:
    """Return a random generator in a state."""
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng


def _simulate(heart: Heart, state: Any) -> np.ndarray:
    """Simulate the twelve leads without noise, (12, 5000), mV."""
    independent, _ = simulate_ecg(heart, SIGNAL_FS, DURATION_S, _generator(state))
    return twelve_leads(independent)


def _in_intervals(strip: Strip, kinds: tuple[str, ...]) -> np.ndarray:
    """Return the times within some kinds of spans, (1000,) bool; PR is from P to the next QRS."""
    spans = [(start, end) for kind, start, end in strip.spans if kind in kinds]
    onsets = np.sort(np.array(strip.qrs_onsets))
    if "PR" in kinds:
        for kind, start, _ in strip.spans:
            after = onsets[onsets > start]
            if kind == "P" and len(after) and after[0] - start < 0.5:
                spans.append((start, float(after[0])))
    if "early P" in kinds:  # with the beat that follows it
        for kind, start, _ in strip.spans:
            after = onsets[onsets > start]
            if kind == "early P" and len(after):
                spans.append((start, float(after[0]) + strip.heart.qrs))
    times = np.arange(round(strip.duration * FS)) / FS
    inside = np.zeros(len(times), bool)
    for start, end in spans:
        inside |= (times >= start) & (times < end)
    return inside
