"""The encoder of ECGFounder, a residual network (Net1D) for 12 leads at 500 Hz.

Shape letters: B records, L leads (12), S samples, C channels, P positions in time, F features.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecg_siglip.models.encoder_input import Resample
from ecg_siglip.signals.leads import LEADS

FS = 500  # of its training, Hz
STRIDE = 2  # of the stem and of the first block of a stage
EPSILON = 1e-16  # added to a variance, so that a signal of zeros has a gradient
MAX_WIDTH, MAX_STAGES, MAX_BLOCKS, MAX_KERNEL = 4096, 16, 64, 255
# Layers of a published block, with their names here.
LAYERS = {
    "conv1.conv": "conv1",
    "conv2.conv": "conv2",
    "conv3.conv": "conv3",
    "se_fc1": "squeeze",
    "se_fc2": "excite",
}
KEY = re.compile(r"stage_list\.(\d{1,2})\.block_list\.(\d{1,2})\.(.+)\.(weight|bias)")
# The published network was trained with its batch norms switched off; `dense` is its head.
UNUSED = re.compile(r"(?:.*\.)?(?:bn[123]|first_bn|dense)\.\w+")


def pad_same(x_BCP: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """Pad with 0 so that a convolution returns ceil(P / stride) positions; the odd one at the end.

    Notes
    -----
    ``padding="same"`` of TensorFlow, which depends on P; that of PyTorch allows no stride.
    """
    n_out = -(-x_BCP.shape[2] // stride)
    n_padding = max(0, (n_out - 1) * stride + kernel_size - x_BCP.shape[2])
    return functional.pad(x_BCP, (n_padding // 2, n_padding - n_padding // 2))


class Block(nn.Module):
    """Bottleneck with a grouped convolution and squeeze-and-excitation: (B, C, P) -> (B, C', P').

    Parameters
    ----------
    n_in, n_out : int
        C and C'; channels that are added have zeros as their shortcut, half of them on each side.
    kernel_size, stride : int
        Of the grouped convolution; the shortcut is pooled by its maximum.
    group_width : int
        Channels of a group.
    is_first : bool
        Whether the input has been activated already.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel_size: int, stride: int, group_width: int, is_first: bool
    ):
        super().__init__()
        self.kernel_size, self.stride, self.is_first = kernel_size, stride, is_first
        self.conv1 = nn.Conv1d(n_in, n_out, 1)
        n_groups = n_out // group_width
        self.conv2 = nn.Conv1d(n_out, n_out, kernel_size, stride, groups=n_groups)
        self.conv3 = nn.Conv1d(n_out, n_out, 1)
        self.squeeze = nn.Linear(n_out, n_out // 2)
        self.excite = nn.Linear(n_out // 2, n_out)
        n_added = n_out - n_in
        self.added = (n_added // 2, n_added - n_added // 2)

    def forward(self, x_BCP: Tensor) -> Tensor:
        branch = self.conv1(x_BCP if self.is_first else functional.silu(x_BCP))
        branch = pad_same(functional.silu(branch), self.kernel_size, self.stride)
        branch = self.conv3(functional.silu(self.conv2(branch)))
        gate_BC = torch.sigmoid(self.excite(functional.silu(self.squeeze(branch.mean(2)))))
        shortcut = x_BCP
        if self.stride > 1:
            shortcut = functional.max_pool1d(pad_same(x_BCP, self.stride, self.stride), self.stride)
        shortcut = functional.pad(shortcut, (0, 0, *self.added))
        return branch * gate_BC[:, :, None] + shortcut


class EcgFounder(nn.Module):
    """The encoder of ECGFounder: (B, 12, S) signal in mV -> (B, F) features, F = last width.

    Parameters
    ----------
    fs : float, Hz
        Sampling rate of the signals; they are resampled to 500 Hz.
    stem_width : int
        Channels of the first convolution.
    widths, depths : list of int
        Channels and blocks of each stage.
    kernel_size, group_width : int
        Of the grouped convolutions.

    Raises
    ------
    ValueError
        If a size is out of range.

    Notes
    -----
    Li et al. 2024 (arXiv:2410.04133); the layers are those of Net1D of Hong et al. (github.com/
    hsd1503/resnet1d) with SiLU and without batch norm and dropout. Each record is normalised by the
    mean and the standard deviation of all its leads together. The features are the mean over time.
    """

    def __init__(
        self,
        *,
        fs: float,
        stem_width: int,
        widths: Sequence[int],
        depths: Sequence[int],
        kernel_size: int,
        group_width: int,
        drop_path: float = 0.0,  # has no effect: published without dropout
    ):
        super().__init__()
        _check_sizes([stem_width, *widths], depths, kernel_size, group_width)
        self.resample = Resample(fs, FS)
        self.kernel_size = kernel_size
        self.stem = nn.Conv1d(len(LEADS), stem_width, kernel_size, STRIDE)
        blocks: list[nn.Module] = []
        n_in = stem_width
        for width, depth in zip(widths, depths, strict=True):
            for i in range(depth):
                stride = STRIDE if i == 0 else 1
                blocks.append(Block(n_in, width, kernel_size, stride, group_width, not blocks))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.n_features = n_in

    def forward(self, signal_BLS: Tensor) -> Tensor:
        x_BLP = self.resample(signal_BLS)
        centred = x_BLP - x_BLP.mean((1, 2), keepdim=True)
        x_BLP = centred / (centred.square().mean((1, 2), keepdim=True) + EPSILON).sqrt()
        x_BCP = functional.silu(self.stem(pad_same(x_BLP, self.kernel_size, STRIDE)))
        features_BF: Tensor = self.blocks(x_BCP).mean(2)
        return features_BF


def _check_sizes(
    widths: Sequence[int], depths: Sequence[int], kernel_size: int, group_width: int
) -> None:
    """Check sizes that may come from a file."""
    for what, values, most in (
        ("widths", widths, MAX_WIDTH),
        ("depths", depths, MAX_BLOCKS),
        ("kernel_size", [kernel_size], MAX_KERNEL),
        ("group_width", [group_width], MAX_WIDTH),
    ):
        for value in values:
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{what}: expected 1 to {most}, got {value!s:.40}")
    if not 1 <= len(depths) == len(widths) - 1 <= MAX_STAGES:
        raise ValueError(f"expected as many widths as depths, 1 to {MAX_STAGES}")
    for before, width in itertools.pairwise(widths):
        if width % group_width or width < max(2, before):
            raise ValueError(
                f"widths: expected multiples of group_width={group_width} that do not decrease, "
                f"got {width} after {before}"
            )


def published_sizes(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the arguments of ``EcgFounder``, without ``fs``, for published weights.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Shape of each published weight.

    Raises
    ------
    ValueError
        If a layer is missing, or they are of another number of leads.
    """
    shapes = {name.removeprefix("module."): tuple(shape) for name, shape in shapes.items()}
    stem = shapes.get("first_conv.conv.weight", ())
    if len(stem) != 3:
        raise ValueError("expected weights of ECGFounder: first_conv.conv.weight is missing")
    if stem[1] != len(LEADS):
        raise ValueError(f"expected weights for 12 leads, got {stem[1]}: 12_lead_ECGFounder.pth")
    widths, depths = list[int](), list[int]()
    stage = block = 0
    group_width = 1
    while shape := shapes.get(f"stage_list.{stage}.block_list.{block}.conv2.conv.weight"):
        if len(shape) != 3:
            raise ValueError("expected weights of ECGFounder: conv2 is no convolution")
        if block == 0:
            widths.append(shape[0])
            depths.append(0)
            group_width = shape[1]
        depths[stage] += 1
        is_last = f"stage_list.{stage}.block_list.{block + 1}.conv2.conv.weight" not in shapes
        stage, block = (stage + 1, 0) if is_last else (stage, block + 1)
    if not widths:
        raise ValueError("expected weights of ECGFounder: stage_list.0 is missing")
    return {
        "stem_width": stem[0],
        "widths": widths,
        "depths": depths,
        "kernel_size": stem[2],
        "group_width": group_width,
    }


def own_name(published: str, sizes: Mapping[str, Any]) -> str | None:
    """Return the name of a published weight in ``EcgFounder``; None if it is not used here.

    Parameters
    ----------
    published : str
    sizes : mapping
        As ``published_sizes`` returns them.
    """
    name = published.removeprefix("module.")  # of a training on several devices
    if UNUSED.fullmatch(name):
        return None
    if match := KEY.fullmatch(name):
        stage, block, layer, kind = match.groups()
        n_before = sum(sizes["depths"][: int(stage)])
        return f"blocks.{n_before + int(block)}.{LAYERS.get(layer, layer)}.{kind}"
    return name.replace("first_conv.conv.", "stem.")
