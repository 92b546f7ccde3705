"""Scores of models."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "ExternalPredictions": "external",
    "compare_runs": "comparison",
    "deletion_curve": "attribution_tests",
    "evaluate_run": "fold",
    "pointing": "attribution_tests",
    "zero_shot_scores": "zero_shot",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
