"""Labelled ECGs on disk: PTB-XL, the PhysioNet challenge collections, and the waveform cache."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Collection": "challenge",
    "LabelledRecords": "records",
    "WaveformCache": "waveform_cache",
    "drop_findings": "held_out",
    "find_sets": "challenge",
    "hide_findings": "held_out",
    "load_evaluation_data": "loading",
    "load_ptbxl": "ptbxl",
    "load_training_data": "loading",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
