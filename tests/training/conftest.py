"""Training data and trainers on the small simulated data set."""

import pytest
import torch

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.trainer import Trainer


@pytest.fixture
def make_data(train_config):
    """Makes the TrainingData of a configuration, on the CPU."""

    def make(distributed=None, **settings) -> TrainingData:
        chosen = train_config(**settings)
        loaded = load_training_data(chosen, progress=False)
        return TrainingData(loaded, chosen, torch.device("cpu"), distributed=distributed)

    return make


@pytest.fixture
def make_trainer(make_data):
    """Makes the Trainer of a configuration, before its first step."""

    def make(**settings) -> Trainer:
        data = make_data(**settings)
        return Trainer(data.settings, data)

    return make
