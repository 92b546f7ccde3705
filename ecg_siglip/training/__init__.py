"""Training: batches, pair loss, training loop, and the finished model."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Batch": "data",
    "PairTargets": "targets",
    "TextCache": "text_cache",
    "Trainer": "trainer",
    "TrainingData": "data",
    "check_train_settings": "checks",
    "join_runs": "ensembling",
    "pair_loss": "losses",
    "parse_terms": "targets",
    "prepare_run": "run",
    "soft_labels": "distillation",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
