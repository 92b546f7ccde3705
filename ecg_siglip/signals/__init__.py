"""Leads, preprocessing, quality and augmentation: from a recording in mV to the model's input."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "LEADS": "leads",
    "LEAD_SETS": "leads",
    "available_leads": "leads",
    "from_int16": "preprocessing",
    "Measurement": "measurements",
    "Measurements": "measurements",
    "MedianBeat": "median_beats",
    "lead_name": "leads",
    "measure_ecg": "measurements",
    "order_leads": "leads",
    "prepare_signal": "preprocessing",
    "quality_warnings": "quality",
    "resample": "resampling",
    "to_int16": "preprocessing",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
