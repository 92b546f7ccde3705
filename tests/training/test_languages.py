"""Training with prompts in several languages: all banks in each step."""

import dataclasses

import numpy as np
import pytest
import torch

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import new_model
from ecg_siglip.training.text_cache import TextCache
from ecg_siglip.training.trainer import batch_loss
from ecg_siglip.vocabulary import ptbxl


def training_data(settings):
    return TrainingData(load_training_data(settings, progress=False), settings, torch.device("cpu"))


def test_captions_of_a_step_have_one_language_and_all_languages_occur(train_config):
    data = training_data(train_config(**{"text.language": "mixed", "optim.batch_size": 16}))
    languages = []
    for epoch in range(3):
        for rows in data.batches(epoch):
            prompts, _, _ = data.texts("bank", rows, epoch)
            languages.append(data.banks.prompts.index(prompts))
            captions, owners, labels = data.texts("finding", rows, epoch)
            for caption, label in zip(captions, labels, strict=True):
                assert caption == prompts[int(label.argmax())]
            assert len(owners) == len(captions)
    assert np.bincount(languages, minlength=3).min() > len(languages) / 6
    assert data.prompts == ptbxl().prompts(data.codes, "en")


def test_each_step_has_the_bank_of_every_language_with_a_share_of_the_weight(train_config):
    data = training_data(train_config(**{"text.language": "mixed", "optim.batch_size": 16}))
    rows = data.batches(0)[0]
    banks = data.batch(rows, 0).text_terms
    vocabulary = ptbxl()
    assert [bank.texts for bank in banks] == [
        vocabulary.prompts(data.codes, language) for language in ("en", "de", "ja")
    ]
    assert [bank.term.weight for bank in banks] == [pytest.approx(1 / 3)] * 3
    for bank in banks:
        torch.testing.assert_close(bank.targets.matrix(), banks[0].targets.matrix())


def test_the_loss_in_several_languages_is_the_mean_of_those_of_each(train_config):
    data = training_data(train_config(**{"text.language": "mixed", "optim.batch_size": 16}))
    model = new_model(data.settings, data, data.terms).eval()
    cache = TextCache(model, data.banks.prompts)
    batch = data.batch(data.batches(0)[0], 0)
    losses = []
    for bank in batch.text_terms:
        alone = dataclasses.replace(bank, term=data.terms[0])
        losses.append(batch_loss(model, cache, dataclasses.replace(batch, text_terms=[alone])))
    torch.testing.assert_close(batch_loss(model, cache, batch), sum(losses) / 3)


def test_the_language_of_a_step_is_the_same_for_every_process(train_config):
    settings = train_config(**{"text.language": "mixed", "optim.batch_size": 16})
    first, second = training_data(settings), training_data(settings)
    for rows in first.batches(0):
        assert first.texts("bank", rows, 0)[0] == second.texts("bank", rows.copy(), 0)[0]


def test_a_model_of_one_language_is_trained_in_it(train_config):
    data = training_data(train_config(**{"text.language": "de"}))
    for rows in data.batches(0):
        assert data.texts("bank", rows, 0)[0] == ptbxl().prompts(data.codes, "de")
