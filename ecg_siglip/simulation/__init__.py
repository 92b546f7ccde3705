"""Simulated ECGs with known findings."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Heart": "heart",
    "RULES": "finding_rules",
    "finding_masks": "finding_masks",
    "make_record": "dataset",
    "simulate_ecg": "rhythms",
    "simulate_dataset": "dataset",
    "simulate_hospital": "hospital",
    "true_measurements": "true_measurements",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
