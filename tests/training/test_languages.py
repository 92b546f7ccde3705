"""Training with prompts in several languages: one language per step."""

import numpy as np
import torch

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.vocabulary import ptbxl


def training_data(settings):
    return TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))


def test_every_step_has_one_language_and_all_languages_occur(train_config):
    data = training_data(train_config(**{"text.language": "mixed", "optim.batch_size": 16}))
    languages = []
    for epoch in range(3):
        for rows in data.batches(epoch):
            prompts, _, _ = data.texts("bank", rows, epoch)
            languages.append(data.prompts_in.index(prompts))
            captions, owners, labels = data.texts("finding", rows, epoch)
            for caption, label in zip(captions, labels, strict=True):
                assert caption == prompts[int(label.argmax())]
            assert len(owners) == len(captions)
    assert np.bincount(languages, minlength=3).min() > len(languages) / 6
    assert data.prompts == ptbxl().prompts(data.codes, "en")


def test_the_language_of_a_step_is_the_same_for_every_process(train_config):
    settings = train_config(**{"text.language": "mixed", "optim.batch_size": 16})
    first, second = training_data(settings), training_data(settings)
    for rows in first.batches(0):
        assert first.texts("bank", rows, 0)[0] == second.texts("bank", rows.copy(), 0)[0]


def test_a_model_of_one_language_is_trained_in_it(train_config):
    data = training_data(train_config(**{"text.language": "de"}))
    for rows in data.batches(0):
        assert data.texts("bank", rows, 0)[0] == ptbxl().prompts(data.codes, "de")
