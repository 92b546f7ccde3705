"""Measure the CPU time of a training step by which tower is trained.

    python benchmarks/tune.py DATA WEIGHTS [CACHE]

WEIGHTS is the model of a finished run, for the rows with a locked ECG encoder. Steps of all kinds
take turns in one process and CPU time is counted, so other work on the machine matters little.
"""

import statistics
import sys
import time

import torch
from omegaconf import OmegaConf

from ecg_siglip import config
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.trainer import Trainer

ROOT, WEIGHTS = sys.argv[1:3]
CACHE = sys.argv[3] if len(sys.argv) > 3 else None
N_STEPS = 8
BASE = {
    "run": {"name": "none"},
    "data": {"root": ROOT, "cache_dir": CACHE},
    "precision": "bfloat16",
}
NO_AUGMENTATION = dict.fromkeys(("shift_s", "gain", "wander_mv", "lead_mask", "mixup"), 0.0)
DEFAULT_AUGMENTATION = {"mixup": 0.0}
LOCKED_ECG = {"locked": True, "weights": WEIGHTS}
KINDS = {
    "small, freeze=none": {},
    "small, freeze=text": {"text": {"locked": True}},
    "minilm, freeze=none": {"text": {"name": "minilm"}},
    "minilm, LoRA of rank 8": {"text": {"name": "minilm", "lora_rank": 8}},
    "minilm, freeze=text": {"text": {"name": "minilm", "locked": True}},
    "small, freeze=ecg": {"ecg": LOCKED_ECG},
    "small, freeze=ecg, augment=none": {"ecg": LOCKED_ECG, "augment": NO_AUGMENTATION},
}


def start_training(overrides: dict) -> Trainer:
    """Return a trainer at its first step, with some settings changed."""
    defaults = OmegaConf.structured(config.TrainConfig)
    merged = OmegaConf.merge(defaults, BASE, {"augment": DEFAULT_AUGMENTATION}, overrides)
    settings = OmegaConf.to_object(merged)
    data = TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))
    training = Trainer(settings, data)
    if settings.ecg.weights:
        training.start_from(settings.ecg.weights)
    training.cache_ecg_features()
    return training


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainings = {name: start_training(overrides) for name, overrides in KINDS.items()}
    seconds = {name: [] for name in KINDS}
    for step in range(N_STEPS):
        for name, training in trainings.items():
            started = time.process_time()
            training.run_step(training.data.batches(0)[step], 1000)
            seconds[name].append(time.process_time() - started)
    for name, times in seconds.items():
        print(f"{name:32}{1e3 * statistics.median(times[1:]):8.0f} ms")
