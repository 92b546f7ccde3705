"""Inference: from records to predictions."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "EcgClassifier": "classifier",
    "EcgEncoder": "encoder",
    "Finding": "prediction",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "Timeline": "timeline",
    "interpret_question": "questions",
    "attribute": "attribution",
    "predict_records": "pipeline",
    "tune_fold": "tuning",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
