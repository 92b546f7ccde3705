"""Masks of simulated records are where the findings are."""

import numpy as np
import pytest

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import resample
from ecg_siglip.simulation import dataset, finding_rules
from ecg_siglip.simulation.finding_masks import EVERYWHERE, FS, ONLY, STRETCHES, finding_masks
from ecg_siglip.simulation.heart import simulate_ecg, strip_of
from ecg_siglip.vocabulary import findings

SEED = 9
PEOPLE = dataset.draw_patients(400, SEED)
LEADS = list(LEADS)


def drawn(ecg_id):
    """The findings of a record, without making it."""
    rng = np.random.default_rng([SEED, 1, ecg_id])
    return dataset.draw_findings(rng, PEOPLE["age"][ecg_id - 1])


def records_with(code, n=3, without=()):
    found = [i for i in range(1, 401) if code in drawn(i) and not {*without} & {*drawn(i)}]
    assert len(found) >= n
    return found[:n]


def masks(ecg_id):
    who = PEOPLE.iloc[ecg_id - 1]
    return finding_masks(SEED, ecg_id, who["age"], who["is_woman"])


def signal(ecg_id):
    who = PEOPLE.iloc[ecg_id - 1]
    made, _ = dataset.make_record(SEED, ecg_id, who["age"], who["is_woman"])
    return resample(made, dataset.FS, FS)


def test_every_finding_has_a_place_or_is_everywhere():
    known = set(finding_rules.RULES)
    assert EVERYWHERE | set(STRETCHES) | set(ONLY) <= known
    assert known <= set(findings.STATEMENTS)
    for ecg_id in range(1, 30):
        found = masks(ecg_id)
        assert set(found) == set(drawn(ecg_id)) - EVERYWHERE
        for mask in found.values():
            assert mask.shape == (12, 1000) and mask.dtype == bool


@pytest.mark.parametrize(
    ("code", "inside", "outside"),
    [
        ("IMI", ("II", "III", "aVF"), ("V1", "V2", "V3")),
        ("ASMI", ("V1", "V2", "V3"), ("II", "aVF")),
        ("ISC_", ("I", "aVL", "V5", "V6"), ("II", "V2")),
        ("NST_", ("V3", "V4"), ("aVL", "III")),
    ],
)
def test_an_infarct_or_ischaemia_is_in_the_leads_over_its_wall(code, inside, outside):
    for ecg_id in records_with(code, without=["PACE", "CLBBB"]):
        share = dict(zip(LEADS, masks(ecg_id)[code].mean(axis=1), strict=True))
        assert np.mean([share[lead] for lead in inside]) > 1.5 * np.mean(
            [share[lead] for lead in outside]
        )


def test_an_ectopic_beat_is_in_every_lead_and_lasts_less_than_a_second():
    for ecg_id in records_with("PVC"):
        mask = masks(ecg_id)["PVC"]
        assert (mask == mask[0]).all()
        edges = np.flatnonzero(np.diff(mask[0].astype(int), prepend=0, append=0))
        lengths = np.diff(edges)[::2]
        assert 1 <= len(lengths) <= 4 and lengths.max() < 100
        inside = np.abs(signal(ecg_id) - np.median(signal(ecg_id), axis=1)[:, None])
        assert inside[:, mask[0]].mean() > 1.5 * inside[:, ~mask[0]].mean(), "a wide, tall beat"


def test_a_large_atrium_is_in_the_p_waves_alone():
    for ecg_id in records_with("LAO/LAE", 2):
        mask = masks(ecg_id)["LAO/LAE"].any(axis=0)
        who = PEOPLE.iloc[ecg_id - 1]
        rng = np.random.default_rng([SEED, 1, ecg_id])
        codes = dataset.draw_findings(rng, who["age"])
        heart = finding_rules.with_findings(
            finding_rules.person(rng, who["age"], who["is_woman"]), codes, rng
        )
        spans = strip_of(heart, 10.0, rng).spans
        times = np.arange(1000) / FS
        in_p = np.any(
            [(times >= start) & (times < end) for kind, start, end in spans if kind == "P"], axis=0
        )
        assert mask.any() and not mask[~in_p].any()


def test_the_strip_is_the_one_that_is_drawn():
    heart = finding_rules.person(np.random.default_rng(1), 60, False)
    strip = strip_of(heart, 10.0, np.random.default_rng(2))
    _, onsets = simulate_ecg(heart, 500, 10.0, np.random.default_rng(2))
    began = sorted(start for kind, start, _ in strip.spans if kind == "QRS" and 0 <= start < 10)
    assert began == onsets
