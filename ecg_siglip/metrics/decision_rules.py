"""Names of the threshold rules and operating points, and their defaults."""

from __future__ import annotations

from ecg_siglip.metrics.likelihood import LIKELIHOODS

THRESHOLD_RULES = ("fixed_0.5", "f1", "prevalence", "global", "expected_f1")
DEFAULT_RULE = "expected_f1"  # of predictions: docs/decisions/0007
HEADLINE_RULE = "prevalence"  # of the macro F1 by which models are compared

OPERATING_POINTS = ("screening", "balanced", "confirm")
SENSITIVITIES = (0.8, 0.9, 0.95, 0.98)
PRECISIONS = (0.5, 0.7, 0.8, 0.9)
SENSITIVITY, PRECISION = 0.9, 0.8  # defaults
# An expected precision reports no finding that is less likely: docs/explanation/certainty.md.
MIN_CONFIRMED = LIKELIHOODS["possible"]
