"""The text cache gives what the model gives, and reads no text twice."""

import pytest
import torch

from ecg_siglip.training.text_cache import TextCache

TEXTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


@pytest.fixture
def model(make_trainer):
    return make_trainer().model.eval()


@pytest.fixture
def frozen(model):
    model.text.requires_grad_(False)
    return model


def test_prompts_are_tokenized_once(model, monkeypatch):
    expected, other = model.encode_text(TEXTS), model.encode_text(["other"])
    cache = TextCache(model, [TEXTS])
    assert torch.equal(cache.encode(["other"]), other)
    monkeypatch.setattr(model.text, "tokenize", None)
    assert torch.equal(cache.encode(TEXTS), expected)


def test_no_text_gives_no_row_that_takes_part_in_the_backward_pass(model):
    embedding = TextCache(model).encode([])
    assert embedding.shape == (0, 16)
    assert embedding.requires_grad


def test_a_frozen_encoder_encodes_each_text_once(frozen, monkeypatch):
    expected = frozen.encode_text(TEXTS)
    cache = TextCache(frozen, frozen_texts=TEXTS * 2)
    cache.refresh(batch_size=2)
    monkeypatch.setattr(frozen.text, "tokenize", None)
    monkeypatch.setattr(frozen.text, "forward", None)
    torch.testing.assert_close(cache.encode(TEXTS), expected)
    torch.testing.assert_close(cache.encode(TEXTS[::-1] * 2), torch.cat([expected.flip(0)] * 2))
    # The projection is still trained.
    cache.encode(TEXTS).sum().backward()
    assert frozen.project_text.weight.grad is not None


def test_texts_with_one_that_is_not_cached_are_encoded_by_the_model(frozen):
    texts = [*TEXTS, "a text that is not cached"]
    cache = TextCache(frozen, frozen_texts=TEXTS)
    assert torch.equal(cache.encode(texts), frozen.encode_text(texts))


def test_a_refresh_follows_the_weights_of_the_model(frozen):
    cache = TextCache(frozen, frozen_texts=TEXTS)
    with torch.no_grad():
        frozen.text.embed.weight.mul_(1.5).add_(0.1)
    expected = frozen.encode_text(TEXTS)
    assert not torch.allclose(cache.encode(TEXTS), expected)
    cache.refresh()
    torch.testing.assert_close(cache.encode(TEXTS), expected)


def test_a_trainable_encoder_is_never_cached(model):
    with pytest.raises(AssertionError):
        TextCache(model, frozen_texts=TEXTS)


@pytest.mark.parametrize(
    ("settings", "prompts", "reports"),
    [
        ({"text.locked": False}, False, False),
        ({"text.locked": True}, True, False),
        ({"text.locked": True, "objective.terms": "report/idf_jaccard"}, False, True),
        ({"text.locked": True, "objective.terms": "bank+report/idf_jaccard:0.1"}, True, True),
    ],
)
def test_a_run_caches_the_texts_of_its_objective(make_trainer, settings, prompts, reports):
    trainer = make_trainer(**settings)
    data, features = trainer.data, trainer.texts.features
    expected = set(data.prompts) if prompts else set()
    expected |= {data.reports[row] for row in data.train_rows} if reports else set()
    assert set(features) == expected
