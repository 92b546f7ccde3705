"""Every statement has a rule; a normal heart is normal; the order of findings has no effect."""

import numpy as np
import pytest
from simulated_hearts import hearts, peaks, t_height

from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.measurements import axis_degrees, qrs_of, sokolow_lyon
from ecg_siglip.vocabulary import ptbxl


def test_every_statement_has_a_rule_and_every_rule_is_a_statement():
    assert set(finding_rules.RULES) == set(ptbxl().codes)


def test_a_normal_ecg_is_within_normal_limits():
    for heart in hearts("NORM", "SR"):
        assert 60 <= heart.rate <= 100
        assert 0.12 <= heart.pr <= 0.20
        assert heart.qrs <= 0.11
        assert -30 <= axis_degrees(qrs_of(heart)) <= 90
        assert sokolow_lyon(heart) < 3.5
        assert all(t_height(heart, lead) > 0 for lead in ("I", "II", "V4", "V5", "V6"))
        assert t_height(heart, "aVR") < 0
        r_waves = [peaks(heart, lead)[0] for lead in ("V1", "V2", "V4")]
        assert r_waves[0] < r_waves[1] < r_waves[2]
        assert -peaks(heart, "V1")[1] > peaks(heart, "V1")[0]


def test_the_order_of_the_findings_does_not_matter():
    def heart(codes):
        rng = np.random.default_rng(3)
        return finding_rules.with_findings(finding_rules.person(rng, 60.0, True), codes, rng)

    first, second = heart(["LVH", "AFIB", "LAFB"]), heart(["LAFB", "LVH", "AFIB"])
    np.testing.assert_array_equal(qrs_of(first), qrs_of(second))
    assert first.rate == second.rate


def test_an_unknown_finding_is_rejected():
    with pytest.raises(ValueError, match="finding XYZ: no rule"):
        next(hearts("XYZ"))
