"""Hearts vary widely, findings have any severity, and each of them remains what it is."""

import numpy as np
import pytest
from simulated_hearts import peaks

from ecg_siglip.simulation import variation
from ecg_siglip.simulation.finding_rules import RULES, person
from ecg_siglip.simulation.measurements import axis_degrees, one_beat, qrs_of, sokolow_lyon
from ecg_siglip.simulation.rhythms import simulate_ecg
from ecg_siglip.vocabulary import ptbxl


def hearts(codes, n=30):
    for seed in range(n):
        rng = np.random.default_rng(seed)
        someone = variation.varied_person(rng, 60.0, seed % 2 == 0)
        yield variation.with_varied_findings(someone, dict.fromkeys(codes, 100.0), rng)


def test_people_vary_more_than_in_the_plain_simulation():
    def spread(make):
        beats = [make(np.random.default_rng(seed), 60.0, False) for seed in range(40)]
        beats = np.array([one_beat(heart) for heart in beats])
        return beats.std(axis=0).mean()

    assert spread(variation.varied_person) > 1.5 * spread(person)


def test_people_without_findings_have_normal_intervals():
    for heart in hearts(["NORM", "SR"]):
        assert 0.11 <= heart.pr <= 0.2
        assert heart.qrs <= 0.11
        assert heart.qtc < 0.45
        assert 50 <= heart.rate <= 101
        assert -45 <= axis_degrees(qrs_of(heart)) <= 110


@pytest.mark.parametrize("code", ptbxl().codes)
def test_every_finding_gives_a_finite_signal(code):
    for heart in hearts([code], n=3):
        independent, _ = simulate_ecg(heart, 500, 4.0, np.random.default_rng(0))
        assert np.isfinite(independent).all()
        assert 0.05 < np.abs(independent).max() < 12


def test_intervals_are_beyond_their_limits_and_may_be_just_beyond():
    for code, (name, limit) in variation.LIMITS.items():
        values = np.array([getattr(heart, name) for heart in hearts([code])])
        distance = np.abs(values - limit) / limit
        if code == "SBRAD":
            assert (values < limit).all()
        else:
            assert (values > limit).all()
        assert distance.min() < 0.1 * limit or distance.min() < 0.06, code


def test_severity_goes_from_the_heart_before_to_the_heart_after_a_rule():
    rng = np.random.default_rng(0)
    before = variation.varied_person(rng, 60.0, False)
    after = variation.replace(before, forces=dict(before.forces))
    RULES["LVH"](after, rng)
    voltages = [sokolow_lyon(variation.blend(before, after, s)) for s in (0.0, 0.5, 1.0, 1.3)]
    assert voltages == sorted(voltages)
    assert voltages[0] == pytest.approx(sokolow_lyon(before))
    assert voltages[2] == pytest.approx(sokolow_lyon(after))


def test_an_uncertain_finding_is_less_severe():
    def depth(likelihood):
        values = []
        for seed in range(60):
            rng = np.random.default_rng(seed)
            heart = variation.varied_person(rng, 60.0, False)
            heart = variation.with_varied_findings(heart, {"IMI": likelihood}, rng)
            values.append(peaks(heart, "III")[1])
        return np.mean(values)

    assert depth(100.0) < depth(35.0)


def test_a_mild_finding_changes_no_interval():
    for heart in hearts(["NORM", "SR"], n=100):
        assert heart.qrs <= 0.106
        assert heart.pr < 0.2
        assert heart.qtc < 0.45
