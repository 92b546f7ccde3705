"""Defaults are among the names, and every name has thresholds."""

import numpy as np

from ecg_siglip.metrics import decision_rules
from ecg_siglip.metrics.operating_points import operating_thresholds
from ecg_siglip.metrics.thresholds import tune_thresholds


def test_the_defaults_are_among_the_choices():
    assert decision_rules.DEFAULT_RULE in decision_rules.THRESHOLD_RULES
    assert decision_rules.SENSITIVITY in decision_rules.SENSITIVITIES
    assert decision_rules.PRECISION in decision_rules.PRECISIONS


def test_every_rule_and_target_has_thresholds():
    y_prob = np.random.default_rng(0).random((30, 2))
    for rule in decision_rules.THRESHOLD_RULES:
        assert tune_thresholds(y_prob > 0.5, y_prob, rule).shape == (2,)
    targets = {f"sensitivity_{s:g}" for s in decision_rules.SENSITIVITIES}
    targets |= {f"precision_{p:g}" for p in decision_rules.PRECISIONS}
    assert set(operating_thresholds(y_prob)) == targets
