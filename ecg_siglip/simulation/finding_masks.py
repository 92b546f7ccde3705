"""Where in a simulated record each of its findings is: which leads, which moments.

The simulator knows what no annotator writes down. Of a finding that changes the shape of waves, the
truth is what would be otherwise without it: the same heart, the same beats, the finding's rule left
out. Of a finding that is a time or a beat (a long PR interval, an ectopic beat), it is that beat.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ecg_siglip.simulation import dataset, finding_rules
from ecg_siglip.simulation.heart import Heart, Strip, simulate_ecg, strip_of, twelve_leads

FS = 100  # of the masks, Hz
SEEN_MV = 0.05  # half a millimetre on paper: what a reader can see
EARLY = ("early P", "ectopic QRS", "ectopic ST-T")
# Findings that are certain stretches of the strip, in every lead.
STRETCHES: dict[str, tuple[str, ...]] = {
    "1AVB": ("PR",), "LPR": ("PR",), "WPW": ("PR", "QRS"), "PACE": ("spike", "QRS"),
    "PVC": EARLY, "PAC": EARLY, "PRC(S)": EARLY, "BIGU": EARLY, "TRIGU": EARLY,
}  # fmt: skip
# Findings whose rule moves the QRS, too: only there is a difference theirs.
ONLY = {"LAO/LAE": ("P",), "RAO/RAE": ("P",)}
# A rhythm is in all of the record, and what is normal nowhere.
EVERYWHERE = {
    "NORM", "SR", "SBRAD", "STACH", "SARRH", "SVARR", "AFIB", "AFLT", "SVTAC", "PSVT",
    "2AVB", "3AVB",
}  # fmt: skip


def finding_masks(seed: int, ecg_id: int, age: float, is_woman: bool) -> dict[str, np.ndarray]:
    """Where each finding of a simulated record is.

    Parameters
    ----------
    seed, ecg_id, age, is_woman
        As ``dataset.make_record`` takes them: the masks are those of the record that it makes.

    Returns
    -------
    dict of str to ndarray of shape (12, 1000), bool
        At 100 Hz, leads in the order of ``leads.LEADS``. Findings that are everywhere, as a
        rhythm is, are left out.

    Examples
    --------
    >>> found = finding_masks(seed=0, ecg_id=7, age=70.0, is_woman=True)
    >>> {code: round(float(mask.mean()), 2) for code, mask in found.items()}
    {'LAFB': 0.08, 'IMI': 0.13, 'QWAVE': 0.05}
    """
    rng = np.random.default_rng([seed, 1, ecg_id])
    codes = dataset.draw_findings(rng, age)
    person = finding_rules.person(rng, age, is_woman)
    chance: dict[str, Any] = {}  # what each rule draws from
    heart = copy.deepcopy(person)
    for code, rule in finding_rules.RULES.items():
        if code in codes:
            chance[code] = rng.bit_generator.state
            rule(heart, rng)
    beats_from = rng.bit_generator.state
    strip = strip_of(heart, dataset.DURATION_S, _again(beats_from))
    signal = _drawn(heart, beats_from)
    found = {}
    for code in codes:
        if code in EVERYWHERE:
            continue
        if code in STRETCHES:
            found[code] = np.tile(_stretches(strip, STRETCHES[code]), (12, 1))
            continue
        other = copy.deepcopy(person)
        for name, state in chance.items():
            if name != code:
                finding_rules.RULES[name](other, _again(state))
        differs = np.abs(signal - _drawn(other, beats_from)) >= SEEN_MV
        found[code] = differs.reshape(12, -1, dataset.FS // FS).any(axis=2)
        if code in ONLY:
            found[code] &= _stretches(strip, ONLY[code])
    return found


def _again(state: Any) -> np.random.Generator:
    """Chance as it was at a moment."""
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng


def _drawn(heart: Heart, state: Any) -> np.ndarray:
    """The twelve leads without noise, (12, 5000), mV."""
    independent, _ = simulate_ecg(heart, dataset.FS, dataset.DURATION_S, _again(state))
    return twelve_leads(independent)


def _stretches(strip: Strip, kinds: tuple[str, ...]) -> np.ndarray:
    """Where one of these stands, (1000,) bool; PR goes from a P wave to the next QRS."""
    spans = [(start, end) for kind, start, end in strip.spans if kind in kinds]
    onsets = np.sort(np.array(strip.qrs_onsets))
    if "PR" in kinds:
        for kind, start, _ in strip.spans:
            after = onsets[onsets > start]
            if kind == "P" and len(after) and after[0] - start < 0.5:
                spans.append((start, float(after[0])))
    if "early P" in kinds:  # and the beat that it leads to
        for kind, start, _ in strip.spans:
            after = onsets[onsets > start]
            if kind == "early P" and len(after):
                spans.append((start, float(after[0]) + strip.heart.qrs))
    times = np.arange(round(strip.duration * FS)) / FS
    here = np.zeros(len(times), bool)
    for start, end in spans:
        here |= (times >= start) & (times < end)
    return here
