"""HuBERT-ECG: features of published weights are those of transformers on concatenated leads."""

import pytest
import torch
from published_encoders import HUBERT, save_hubert_ecg
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")

from ecg_siglip.models import check_encoder  # noqa: E402
from ecg_siglip.models.hubert_ecg import (  # noqa: E402
    HubertEcg,
    own_name,
    published_sizes,
    scale_leads,
)

SIZES = published_sizes(HUBERT)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Published weights by their published names."""
    return load_file(save_hubert_ecg(tmp_path_factory.mktemp("h")) / "model.safetensors")


@pytest.fixture
def encoder(weights):
    """The encoder with these weights, for signals at its own rate."""
    model = HubertEcg(fs=100, **SIZES)
    named = {own_name(name, SIZES): value for name, value in weights.items()}
    del named[None]
    model.load_state_dict(named)
    return model.eval()


def test_features_are_the_mean_over_two_halves_of_concatenated_leads(encoder, weights):
    known = {k: v for k, v in HUBERT.items() if k not in ("architectures", "auto_map")}
    model = transformers.HubertModel(
        transformers.HubertConfig(**known | {"model_type": "hubert"})
    ).eval()
    published = {k: v for k, v in weights.items() if not k.startswith(("final_", "label_"))}
    model.load_state_dict(published)  # PyTorch reads the earlier names of a weight norm
    signal = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    low, high = signal.amin(2, keepdim=True), signal.amax(2, keepdim=True)
    scaled = 2 * (signal - low) / (high - low + 1e-8) - 1
    with torch.no_grad():
        halves = [
            model(scaled[:, :, start : start + 500].reshape(2, 6000)).last_hidden_state.mean(1)
            for start in (0, 500)
        ]
        torch.testing.assert_close(encoder(signal), sum(halves) / 2, rtol=1e-4, atol=1e-5)


def test_it_keeps_the_contract_of_encoders():
    check_encoder(HubertEcg, fs=100, **SIZES)
    check_encoder(HubertEcg, 1250, fs=500, **SIZES)


def test_the_published_small_size_has_the_published_number_of_weights():
    """30.21 M, 121 of the 122 MB of its file; 93 positions for 5 s, as published."""
    small = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8}
    small |= {"intermediate_size": 2048, "conv_dim": [512] * 5}
    small |= {"num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}
    with torch.device("meta"):
        encoder = HubertEcg(fs=100, **SIZES | small).eval()  # in training it reads random numbers
        assert encoder.model(torch.zeros(1, 6000)).last_hidden_state.shape == (1, 93, 512)
    assert sum(p.numel() for p in encoder.parameters()) == 30_209_152
    # The file has 148 tensors: these, the mask token, and three of the targets of pretraining.
    assert len(encoder.state_dict()) + 1 + 3 == 148


def test_training_mode_without_dropout_equals_evaluation_mode(encoder):
    signal = torch.randn(2, 12, 1000)
    torch.testing.assert_close(encoder.train()(signal), encoder.eval()(signal))


def test_a_flat_lead_has_a_bounded_gradient():
    signal = torch.randn(1, 12, 100)
    signal[:, 3] = 0
    signal.requires_grad_()
    scaled = scale_leads(signal)
    assert (scaled[:, 3] == -1).all() and scaled.amin() == -1 and scaled.amax() <= 1
    scaled.square().sum().backward()
    assert signal.grad.abs().max() < 1e3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_stable_layer_norm": True}, "do_stable_layer_norm=True: expected False"),
        ({"hidden_size": 10**9}, "hidden_size: expected 1 to 4096"),
        ({"num_attention_heads": 3}, "hidden_size=16: expected a multiple of num_attention_heads"),
        ({"conv_dim": 8}, "conv_dim: expected a list"),
        ({"conv_dim": [8] * 4}, "expected lists of the same length"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers: expected 1 to 100, got 2"),
    ],
)
def test_other_configurations_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        published_sizes(HUBERT | changes)


def test_a_missing_entry_is_an_error():
    with pytest.raises(ValueError, match="conv_kernel is missing"):
        published_sizes({k: v for k, v in HUBERT.items() if k != "conv_kernel"})
    with pytest.raises(ValueError, match="expected a JSON object"):
        published_sizes([])
