"""Statistics of predictions, NumPy only."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "DEFAULT_RULE": "decision_rules",
    "THRESHOLD_RULES": "decision_rules",
    "apply_thresholds": "thresholds",
    "calibrate": "calibration",
    "compare_recipes": "paired_tests",
    "fit_calibration": "calibration",
    "headline": "summary",
    "operating_thresholds": "operating_points",
    "scores": "multilabel",
    "tune_thresholds": "thresholds",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
