"""Findings of 12-lead ECGs from a shared embedding of ECGs and clinical text.

The steps of one prediction::

    readers.read_record(path)       a file of any format -> leads, mV, Hz
    signals.prepare_signal(...)     -> (12, n_samples): order leads, resample, filter, crop or pad
    model.encode_ecg(signal)        -> a unit vector
    model.encode_text(prompts)      -> one unit vector per finding (once per load)
    exp(log_scale) * cosine + bias  -> logit of the probability that the finding is present
    calibrate, apply_thresholds     -> [Finding(code, name, probability, threshold, present)]

Each command is a module: ``python -m ecg_siglip.simulate``, ``.ptbxl``, ``.train``, ``.evaluate``,
``.predict``, ``.compare``, ``.ensemble``, ``.export``, ``.app``. The sub-packages, from the lowest
layer to the highest: ``core``, ``vocabulary``, ``signals``; ``metrics``, ``readers``,
``simulation``; ``datasets``, ``models``; ``inference``; ``training``, ``reporting``;
``evaluation``, ``serving``. For research, not for diagnosis.
"""

from ecg_siglip.core.lazy import lazy_names

__version__ = "0.3.0"
_MODULE_OF = {
    "EcgClassifier": "inference.classifier",
    "EcgEncoder": "inference.encoder",
    "EcgTextModel": "models.dual_encoder",
    "Finding": "inference.prediction",
    "Predictor": "inference.predictor",
    "Record": "readers.record",
    "read_record": "readers.record",
}
_PACKAGES = (
    *("core", "datasets", "evaluation", "inference", "metrics", "models", "readers", "reporting"),
    *("serving", "signals", "simulation", "training", "vocabulary"),
)
__all__ = [*_MODULE_OF, *_PACKAGES]
__getattr__ = lazy_names(__name__, _MODULE_OF | dict.fromkeys(_PACKAGES, ""))
