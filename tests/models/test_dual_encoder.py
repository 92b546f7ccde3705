"""The towers share one unit sphere; a saved model answers as before; damage is named."""

import json

import pytest
import torch

from ecg_siglip.core.distributed import pick_device
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.text_encoders import text_encoder

TEXTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    text = {"name": "small", "width": 32, "depth": 1, "n_heads": 2, "max_tokens": 16}
    text |= {"pool": "mean", "vocab_size": 300}
    ecg = {"name": "resnet1d", "width": 8, "depths": [1, 1], "kernel_size": 3, "stem_size": 5}
    ecg |= {"stem_stride": 2, "n_heads": 1, "dropout": 0.5, "drop_path": 0.0}
    config = {"embed_dim": 12, "ecg": ecg, "text": text, "logit_scale": 10.0, "logit_bias": -3.2}
    return EcgTextModel(config, text_encoder(texts=TEXTS, **text)).eval()


def test_both_towers_end_on_the_unit_sphere(model):
    ecg, text = model.encode_ecg(torch.randn(4, 12, 200)), model.encode_text(TEXTS)
    assert ecg.shape == (4, 12)
    assert text.shape == (3, 12)
    torch.testing.assert_close(ecg.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))


def test_a_logit_is_scaled_cosine_plus_bias(model):
    ecg, text = model.encode_ecg(torch.randn(2, 12, 200)), model.encode_text(TEXTS)
    expected = 10.0 * float((ecg[1] * text[2]).sum()) - 3.2
    assert model.logits(ecg, text)[1, 2].item() == pytest.approx(expected, rel=1e-5)


def test_a_saved_model_gives_bitwise_the_same_answers(model, tmp_path):
    model.save_pretrained(tmp_path, codes=["SR", "AFIB"])
    loaded = EcgTextModel.from_pretrained(tmp_path)
    signal = torch.randn(2, 12, 200)
    assert torch.equal(loaded.encode_ecg(signal), model.encode_ecg(signal))
    assert torch.equal(loaded.encode_text(TEXTS), model.encode_text(TEXTS))
    assert loaded.config["codes"] == ["SR", "AFIB"]
    assert not loaded.training


@pytest.mark.parametrize("part", ["config.json", "model.safetensors", "text/tokenizer.json"])
def test_a_missing_part_is_named(model, tmp_path, part):
    model.save_pretrained(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(ValueError, match=f"{part.split('/')[-1]}.* is missing"):
        EcgTextModel.from_pretrained(tmp_path)


def test_truncated_weights_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        EcgTextModel.from_pretrained(tmp_path)


def test_weights_of_another_shape_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["embed_dim"] = 13
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="differ"):
        EcgTextModel.from_pretrained(tmp_path)


def test_a_name_that_is_neither_folder_nor_on_the_hub_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="no such folder, and not on the hub"):
        EcgTextModel.from_pretrained("nobody/nothing-of-that-name")


def test_a_gpu_that_is_not_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no CUDA device"):
        pick_device("cuda")


def test_a_locked_text_encoder_reads_each_text_once(model, monkeypatch):
    wanted = model.encode_text(TEXTS)
    model.text.requires_grad_(False)
    model.train().read_locked(TEXTS * 2, batch_size=2)
    monkeypatch.setattr(model.text, "tokenize", None)  # nothing is read again
    torch.testing.assert_close(model.encode_text(TEXTS), wanted)
    torch.testing.assert_close(model.encode_text(TEXTS[::-1] * 2), torch.cat([wanted.flip(0)] * 2))
    # The projection goes on learning.
    model.encode_text(TEXTS).sum().backward()
    assert model.project_text.weight.grad is not None


def test_a_text_that_was_not_read_before_is_encoded_as_ever(model):
    model.text.requires_grad_(False)
    wanted = model.encode_text([*TEXTS, "new"])
    model.read_locked(TEXTS)
    torch.testing.assert_close(model.encode_text([*TEXTS, "new"]), wanted)
