"""Both encoders give unit vectors; a saved model loads unchanged; damaged files are refused."""

import copy
import json

import pytest
import torch

from ecg_siglip.models.dual_encoder import EcgTextModel, Ensemble, load_model
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


def test_both_encoders_give_unit_vectors(model):
    ecg, text = model.encode_ecg(torch.randn(4, 12, 200)), model.encode_text(TEXTS)
    assert ecg.shape == (4, 12)
    assert text.shape == (3, 12)
    torch.testing.assert_close(ecg.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))


def test_a_logit_is_scaled_cosine_plus_bias(model):
    ecg, text = model.encode_ecg(torch.randn(2, 12, 200)), model.encode_text(TEXTS)
    expected = 10.0 * float((ecg[1] * text[2]).sum().detach()) - 3.2
    assert model.logits(ecg, text)[1, 2].item() == pytest.approx(expected, rel=1e-5)


def test_each_half_of_an_encoder_can_be_used_alone(model):
    signal = torch.randn(2, 12, 200)
    assert torch.equal(model.embed_ecg(model.ecg(signal)), model.encode_ecg(signal))
    tokens, mask = model.text.tokenize(TEXTS)
    assert torch.equal(model.encode_tokens(tokens, mask), model.encode_text(TEXTS))
    assert torch.equal(model.embed_text(model.text(tokens, mask)), model.encode_text(TEXTS))


def test_a_saved_model_loads_with_bitwise_the_same_embeddings(model, tmp_path):
    model.save_pretrained(tmp_path, codes=["SR", "AFIB"])
    loaded = EcgTextModel.from_pretrained(tmp_path)
    signal = torch.randn(2, 12, 200)
    assert torch.equal(loaded.encode_ecg(signal), model.encode_ecg(signal))
    assert torch.equal(loaded.encode_text(TEXTS), model.encode_text(TEXTS))
    assert loaded.config["codes"] == ["SR", "AFIB"]
    assert not loaded.training


def test_saving_does_not_change_the_configuration(model, tmp_path):
    before = copy.deepcopy(model.config)
    model.save_pretrained(tmp_path / "one", codes=["SR"])
    assert model.config == before
    ensemble = Ensemble([model, model])
    ensemble.save_pretrained(tmp_path / "two", codes=["SR"])
    assert ensemble.config == {"members": 2}
    assert load_model(tmp_path / "two").config == {"members": 2, "codes": ["SR"]}


def test_the_weights_of_a_saved_model_have_stable_names(model):
    """Models that were saved by earlier versions must load."""
    outside = {name for name in model.state_dict() if not name.startswith(("ecg.", "text."))}
    batch_norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert outside <= {
        *("log_scale", "logit_bias", "project_ecg.weight", "project_ecg.bias"),
        *("project_text.weight", "project_text.bias"),
        *(f"norm_ecg.{name}" for name in batch_norm),
    }
    assert {"log_scale", "logit_bias", "project_ecg.weight", "norm_ecg.weight"} <= outside


@pytest.mark.parametrize("part", ["config.json", "model.safetensors", "text/tokenizer.json"])
def test_a_missing_part_is_reported_by_name(model, tmp_path, part):
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
