"""Masks of simulated records are where the findings are."""

import numpy as np
import pytest

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import dataset, finding_rules
from ecg_siglip.simulation.finding_masks import (
    EVERYWHERE,
    FS,
    INTERVALS,
    ONLY_IN,
    finding_masks,
)
from ecg_siglip.simulation.patients import draw_findings, draw_patients
from ecg_siglip.simulation.rhythms import draw_strip
from ecg_siglip.vocabulary import ptbxl

SEED = 9
PEOPLE = draw_patients(400, SEED)
LEADS = list(LEADS)


def codes_of(ecg_id):
    """Draw the findings of a record without simulating it."""
    rng = np.random.default_rng([SEED, 1, ecg_id])
    return draw_findings(rng, PEOPLE["age"][ecg_id - 1])


def records_with(code, n=3, without=()):
    """Return the numbers of the first n records with one finding and without others."""
    numbers = [i for i in range(1, 401) if code in codes_of(i) and not {*without} & {*codes_of(i)}]
    assert len(numbers) >= n
    return numbers[:n]


def masks(ecg_id):
    """Compute the masks of a record."""
    who = PEOPLE.iloc[ecg_id - 1]
    return finding_masks(SEED, ecg_id, who["age"], who["is_woman"])


def signal(ecg_id):
    """Simulate a record, (12, 1000), mV, 100 Hz."""
    who = PEOPLE.iloc[ecg_id - 1]
    at_500_hz, _ = dataset.make_record(SEED, ecg_id, who["age"], who["is_woman"])
    return resample(at_500_hz, dataset.FS, FS)


def test_every_finding_has_a_place_or_is_everywhere():
    known = set(finding_rules.RULES)
    assert EVERYWHERE | set(INTERVALS) | set(ONLY_IN) <= known
    assert known <= set(ptbxl().codes)
    for ecg_id in range(1, 30):
        by_code = masks(ecg_id)
        assert set(by_code) == set(codes_of(ecg_id)) - EVERYWHERE
        for mask in by_code.values():
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
        codes = draw_findings(rng, who["age"])
        heart = finding_rules.with_findings(
            finding_rules.person(rng, who["age"], who["is_woman"]), codes, rng
        )
        spans = draw_strip(heart, 10.0, rng).spans
        times = np.arange(1000) / FS
        in_p = np.any(
            [(times >= start) & (times < end) for kind, start, end in spans if kind == "P"], axis=0
        )
        assert mask.any() and not mask[~in_p].any()
