"""ECG encoders: one vector per signal, the same in any batch, with gradients for all weights."""

import copy
import shutil

import pytest
import torch

from ecg_siglip.models.ecg_encoders import ECG_ENCODERS, as_image, ecg_encoder

ECG = {"width": 16, "depths": [1, 1], "kernel_size": 5, "stem_size": 9, "stem_stride": 2}
ECG |= {"n_heads": 2, "drop_path": 0.0}


@pytest.fixture(params=sorted(ECG_ENCODERS))
def encoder(request):
    torch.manual_seed(0)
    return ecg_encoder(request.param, **ECG).eval()


@pytest.mark.parametrize("n_samples", [250, 1000, 1001])
def test_a_signal_of_any_length_is_encoded_as_one_vector(encoder, n_samples):
    assert encoder(torch.randn(3, 12, n_samples)).shape == (3, encoder.n_features)


def test_a_record_is_encoded_the_same_in_any_batch(encoder):
    signals = torch.randn(5, 12, 500)
    together = encoder(signals)
    alone = torch.cat([encoder(signals[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_every_weight_has_a_gradient(encoder):
    encoder.train()
    # Two steps, because a residual branch that starts at 0 passes no gradient to its first layers.
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (encoder(torch.randn(4, 12, 400)) * torch.randn(encoder.n_features)).sum().backward()
        optimizer.step()
    without = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # The bias of a key shifts all scores of a query equally, to which softmax is invariant.
    assert [n for n in without if "in_proj_bias" not in n] == []


def test_an_unknown_encoder_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="resnet1d, xresnet1d, transformer"):
        ecg_encoder("resnet2d", **ECG)


def test_the_xresnet1d101_has_the_structure_of_the_benchmark():
    """Strodthoff et al. 2021: 1.81 M parameters before the head, 256 channels with two poolings."""
    encoder = ecg_encoder("xresnet1d", width=64, depths=[3, 4, 23, 3], kernel_size=5)
    n_convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in encoder.modules())
    # 3 in the stem, 3 in each of 33 bottlenecks, and one in the shortcut with more channels.
    assert n_convolutions == 3 + 3 * 33 + 1
    assert encoder.n_features == 512
    after_stem = encoder.stem(as_image(torch.randn(2, 12, 1000)))
    assert after_stem.shape == (2, 64, 1, 250)
    assert encoder.blocks(after_stem).shape == (2, 256, 1, 32)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiling_with_bfloat16_does_not_change_the_gradient():
    settings = {"width": 16, "depths": [2], "kernel_size": 3, "stem_size": 5, "stem_stride": 2}
    torch.manual_seed(0)
    plain = ecg_encoder("resnet1d", **settings, drop_path=0.0)
    for name, parameter in plain.named_parameters():
        if "norm" in name:  # so that no branch starts at 0
            torch.nn.init.normal_(parameter, 1.0, 0.1)
    compiled = copy.deepcopy(plain)
    compiled.compile(dynamic=False)
    signal, weight = torch.randn(16, 12, 400), torch.randn(16, plain.n_features)
    gradients = []
    for encoder in (plain, compiled):
        with torch.autocast("cpu", torch.bfloat16):
            out = encoder(signal)
        (out.float() * weight).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in encoder.parameters()]))
    # Rounding may change the position of a maximum, so only the directions are compared.
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
