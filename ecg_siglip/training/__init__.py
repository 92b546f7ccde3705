"""From batches to weights."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "PairTargets": "targets",
    "Trainer": "trainer",
    "TrainingData": "data",
    "join_runs": "ensembling",
    "pair_loss": "losses",
    "parse_terms": "targets",
    "soft_labels": "distillation",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
