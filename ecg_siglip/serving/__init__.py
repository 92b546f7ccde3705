"""Web page and JSON API."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "PredictionService": "prediction_service",
    "RequestGuard": "request_guard",
    "UploadResult": "uploads",
    "make_api": "json_api",
    "save_uploads": "uploads",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
