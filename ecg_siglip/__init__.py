"""12-lead ECGs and clinical words in one embedding: names every finding in a record.

The walk of one record::

    records.read(path)             a file, any format -> leads, mV, Hz
    waveform.prepare(...)          -> (12, n_samples): lead order, resample, filter, crop or pad
    model.encode_ecg(signal)       -> a unit vector
    model.encode_text(prompts)     -> a unit vector a finding (once per load)
    exp(log_scale) * cosine + bias -> sigmoid: is the sentence true of this record?
    metrics.calibrate, thresholds  -> [Finding(code, name, probability, threshold, present)]

Each verb is a module: ``python -m ecg_siglip.simulate``, ``.ptbxl``, ``.train``, ``.evaluate``,
``.predict``, ``.compare``, ``.ensemble``, ``.export``, ``.app``. For research, not for diagnosis.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
_HOMES = {
    "EcgClassifier": "classifier",
    "EcgTextModel": "model",
    "Finding": "predictor",
    "Predictor": "predictor",
    "Record": "records",
}
_ROOMS = ("findings", "losses", "metrics", "plots", "ptbxl", "records", "simulate", "waveform")
__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    # Looked up when asked for: `import ecg_siglip` alone must not wait for PyTorch.
    if name in _HOMES:
        return getattr(import_module(f"ecg_siglip.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"ecg_siglip.{name}")
    raise AttributeError(f"module 'ecg_siglip' has no attribute {name!r}")
