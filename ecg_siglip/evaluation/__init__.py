"""Scores of models."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "ExternalPredictions": "external",
    "compare_runs": "comparison",
    "evaluate_external": "external_outputs",
    "load_run": "trained_run",
    "deletion_curve": "attribution_tests",
    "evaluate_fold": "fold",
    "pointing": "attribution_tests",
    "zero_shot_scores": "zero_shot",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
