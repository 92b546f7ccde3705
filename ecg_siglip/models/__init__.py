"""ECG and text encoders, the model built from them, and the files of a trained model."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Artifact": "artifact",
    "EcgTextModel": "dual_encoder",
    "Ensemble": "dual_encoder",
    "Neighbors": "neighbors",
    "Provenance": "provenance",
    "check_encoder": "encoder_checks",
    "ecg_encoder": "ecg_encoders",
    "load_artifact": "artifact",
    "load_model": "dual_encoder",
    "model_card": "model_card",
    "push_to_hub": "artifact",
    "register_ecg_encoder": "external_encoders",
    "save_artifact": "artifact",
    "text_encoder": "text_encoders",
    "to_onnx": "onnx_export",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
