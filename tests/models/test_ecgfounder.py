"""ECGFounder: features of published weights are those of the published layers, written out."""

import pytest
import torch
from published_encoders import DEPTHS, KERNEL, WIDTHS, net1d_state
from torch.nn import functional

from ecg_siglip.models import check_encoder
from ecg_siglip.models.ecgfounder import Block, EcgFounder, own_name, pad_same, published_sizes

SIZES = published_sizes({name: value.shape for name, value in net1d_state().items()})


def loaded() -> EcgFounder:
    """The encoder with the weights of `net1d_state`, for signals at its own rate."""
    encoder = EcgFounder(fs=500, **SIZES)
    state = {own_name(name, SIZES): value for name, value in net1d_state().items()}
    del state[None]
    encoder.load_state_dict(state)
    return encoder.eval()


def convolve(x, state, name, stride=1, groups=1):
    """A convolution with ceil(P / stride) outputs."""
    weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
    n_out = (x.shape[2] + stride - 1) // stride
    padding = max(0, (n_out - 1) * stride + weight.shape[2] - x.shape[2])
    x = torch.cat(
        [
            x.new_zeros(*x.shape[:2], padding // 2),
            x,
            x.new_zeros(*x.shape[:2], padding - padding // 2),
        ],
        dim=2,
    )
    return functional.conv1d(x, weight, bias, stride=stride, groups=groups)


def published_features(signal, state):
    """The published network, layer by layer with the published names."""
    x = torch.stack([(one - one.mean()) / (one.std(correction=0) + 1e-8) for one in signal])
    x = convolve(x, state, "first_conv", stride=2)
    x = x * torch.sigmoid(x)
    for i, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for j in range(depth):
            name = f"stage_list.{i}.block_list.{j}"
            stride = 2 if j == 0 else 1
            y = x if i == j == 0 else x * torch.sigmoid(x)
            y = convolve(y, state, f"{name}.conv1")
            y = convolve(y * torch.sigmoid(y), state, f"{name}.conv2", stride, width // 4)
            y = convolve(y * torch.sigmoid(y), state, f"{name}.conv3")
            gate = y.mean(2) @ state[f"{name}.se_fc1.weight"].T + state[f"{name}.se_fc1.bias"]
            gate = gate * torch.sigmoid(gate)
            gate = gate @ state[f"{name}.se_fc2.weight"].T + state[f"{name}.se_fc2.bias"]
            y = y * torch.sigmoid(gate)[:, :, None]
            if stride == 2:  # the maximum of two neighbours, and of the last one and 0
                x = torch.cat([x, x.new_zeros(*x.shape[:2], 1)], dim=2)
                n = x.shape[2] // 2
                x = torch.maximum(x[:, :, : 2 * n : 2], x[:, :, 1 : 2 * n : 2])
            before = (width - x.shape[1]) // 2
            padded = x.new_zeros(len(x), width, x.shape[2])
            padded[:, before : before + x.shape[1]] = x
            x = padded + y
    return x.mean(2)


@pytest.mark.parametrize("n_samples", [5000, 1001])
def test_features_are_those_of_the_published_layers(n_samples):
    signal = torch.randn(3, 12, n_samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = loaded()(signal)
        expected = published_features(signal, net1d_state())
    assert found.shape == (3, WIDTHS[-1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_keeps_the_contract_of_encoders():
    check_encoder(EcgFounder, fs=100, **SIZES)


def test_gain_and_offset_of_a_record_do_not_matter():
    signal, encoder = torch.randn(2, 12, 2000), loaded()
    torch.testing.assert_close(encoder(5 * signal + 0.3), encoder(signal), rtol=1e-3, atol=1e-4)


def test_published_sizes_give_a_network_of_the_published_size():
    """30.75 M weights: three times as many, with their optimizer, fill the published 370 MB."""
    widths, depths = [64, 160, 160, 400, 400, 1024, 1024], [2, 2, 2, 3, 3, 4, 4]
    with torch.device("meta"):
        encoder = EcgFounder(
            fs=500, stem_width=64, widths=widths, depths=depths, kernel_size=16, group_width=16
        )
    n_head = 1024 * 150 + 150
    assert encoder.n_features == 1024
    assert sum(p.numel() for p in encoder.parameters()) + n_head == 30_752_646


def test_every_weight_of_a_block_has_its_name_and_norms_and_head_have_none():
    sizes = {"depths": [2, 3]}
    names = {
        "module.first_conv.conv.weight": "stem.weight",
        "stage_list.0.block_list.1.conv2.conv.bias": "blocks.1.conv2.bias",
        "stage_list.1.block_list.0.se_fc1.weight": "blocks.2.squeeze.weight",
        "stage_list.1.block_list.2.se_fc2.bias": "blocks.4.excite.bias",
        "stage_list.0.block_list.0.bn3.running_var": None,
        "first_bn.weight": None,
        "dense.bias": None,
    }
    assert {name: own_name(name, sizes) for name in names} == names


def test_sizes_follow_from_the_shapes():
    assert SIZES == {
        "stem_width": 8,
        "widths": WIDTHS,
        "depths": DEPTHS,
        "kernel_size": KERNEL,
        "group_width": 4,
    }


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "first_conv.conv.weight is missing"),
        ({"first_conv.conv.weight": (8, 1, 16)}, "expected weights for 12 leads, got 1"),
        ({"first_conv.conv.weight": (8, 12, 16)}, "stage_list.0 is missing"),
    ],
)
def test_other_weights_are_errors(shapes, message):
    with pytest.raises(ValueError, match=message):
        published_sizes(shapes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": [8, 10**9]}, "widths: expected 1 to 4096"),
        ({"widths": [8, 16, 10]}, "multiples of group_width=4"),
        ({"depths": [1]}, "as many widths as depths"),
        ({"depths": [2, 1, 10**6]}, "depths: expected 1 to 64"),
        ({"kernel_size": "16"}, "kernel_size: expected 1 to 255, got 16"),
        ({"fs": 5}, "expected 50 to 1000 Hz"),
    ],
)
def test_sizes_out_of_range_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        EcgFounder(**{"fs": 100, **SIZES, **changes})


def test_padding_and_shortcut():
    x = torch.arange(1.0, 6).reshape(1, 1, 5)
    assert pad_same(x, 4, 2)[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    block = Block(1, 4, 3, 2, 2, True)
    torch.nn.init.zeros_(block.conv3.weight)
    torch.nn.init.zeros_(block.conv3.bias)
    assert block(x)[0].tolist() == [[0, 0, 0], [2, 4, 5], [0, 0, 0], [0, 0, 0]]
