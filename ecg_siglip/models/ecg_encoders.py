"""ECG encoders, from a signal to a vector: residual networks and a transformer.

Shape letters: B records, L leads (12), S samples, C channels, P positions in time, F features.
The convolutional encoders represent time as the width of an image of height 1, (B, C, 1, P) with
the channels last in memory. On a CPU with bfloat16 a step takes a quarter less time than with
one-dimensional convolutions, and it is the layout for a GPU's tensor cores.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from ecg_siglip.models.external_encoders import external_encoder
from ecg_siglip.models.public_encoders import PUBLIC_ENCODERS, public_encoder

N_LEADS = 12


class _SumOfAll(torch.autograd.Function):
    """Sum over all processes, with the gradient of the sum of their losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        total = grad.clone()
        dist.all_reduce(total)
        return total


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the records of all processes, on any device.

    Notes
    -----
    With the statistics of each process alone, two processes would train a different model than
    one; ``torch.nn.SyncBatchNorm`` solves that on GPUs only. The mean is computed first, then the
    squared deviations from it, because E[x^2] - E[x]^2 loses too many digits.
    """

    def forward(self, x_BC1P: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x_BC1P)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        x = x_BC1P.to(self.weight.dtype)
        n_local = x.new_tensor([x.numel() / x.shape[1]])
        total = _SumOfAll.apply(torch.cat([x.sum((0, 2, 3)), n_local]))
        n, mean_C = total[-1].detach(), total[:-1] / total[-1].detach()
        centred = x - mean_C[:, None, None]
        var_C = _SumOfAll.apply(centred.square().sum((0, 2, 3))) / n
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * n / (n - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale_C = self.weight * torch.rsqrt(var_C + self.eps)
        return (centred * scale_C[:, None, None] + self.bias[:, None, None]).to(x_BC1P.dtype)


def convolution(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a padded convolution over time: (B, n_in, 1, P) -> (B, n_out, 1, P / stride)."""
    return nn.Conv2d(n_in, n_out, (1, size), (1, stride), (0, size // 2), bias=False)


def as_image(signal_BLS: Tensor) -> Tensor:
    """Return signals as images (B, 12, 1, S), with the channels last in memory.

    Not on mps, where such convolutions had wrong gradients (pytorch/pytorch#143196) and are slow
    (#193349).
    """
    if signal_BLS.device.type == "mps":
        return signal_BLS[:, :, None]
    return signal_BLS[:, :, None].contiguous(memory_format=torch.channels_last)


def largest(x_BC1P: Tensor) -> Tensor:
    """Return the maximum over time, (B, C); its gradient goes to one position, as in max pooling.

    Notes
    -----
    ``amax`` divides the gradient among all positions that equal the maximum. Compiled with
    bfloat16, it compares rounded with unrounded numbers, finds none that are equal, and divides by
    0.
    """
    values: Tensor = x_BC1P[:, :, 0].max(dim=2).values
    return values


class ResidualBlock(nn.Module):
    """Residual block of two convolutions with squeeze-and-excitation.

    Notes
    -----
    Squeeze-and-excitation: Hu et al. 2018, arXiv:1709.01507.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, kernel_size: int, drop_path: float):
        super().__init__()
        self.conv1 = convolution(n_in, n_out, kernel_size, stride)
        self.norm1 = BatchNorm(n_out)
        self.conv2 = convolution(n_out, n_out, kernel_size)
        self.norm2 = BatchNorm(n_out)
        n_squeezed = max(8, n_out // 8)
        self.squeeze = nn.Linear(n_out, n_squeezed)
        self.excite = nn.Linear(n_squeezed, n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d((1, stride), ceil_mode=True),
                convolution(n_in, n_out, 1),
                BatchNorm(n_out),
            )
        self.drop_path = drop_path
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x_BC1P: Tensor) -> Tensor:
        branch = functional.relu(self.norm1(self.conv1(x_BC1P)))
        branch = self.norm2(self.conv2(branch))
        gate_BC = torch.sigmoid(self.excite(functional.relu(self.squeeze(branch.mean((2, 3))))))
        branch = branch * gate_BC[:, :, None, None]
        if self.training and self.drop_path > 0:
            keep = torch.rand(len(branch), 1, 1, 1, device=branch.device) >= self.drop_path
            branch = branch * keep / (1 - self.drop_path)
        return functional.relu(branch + self.shortcut(x_BC1P))


class ResNet1d(nn.Module):
    """Residual 1D-CNN: (B, 12, S) signal in mV -> (B, F) features, F = 2 x last width.

    Notes
    -----
    He et al. 2016 (arXiv:1512.03385) in one dimension; each stage doubles the time step and the
    channels. The features are the mean and the maximum over time: a rhythm is present in the whole
    record, an extrasystole may occur once.
    """

    def __init__(
        self,
        *,
        width: int,
        depths: list[int],
        kernel_size: int,
        stem_size: int,
        stem_stride: int,
        drop_path: float,
        **_: Any,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"ecg.kernel_size={kernel_size}: expected an odd number")
        self.stem = nn.Sequential(
            convolution(N_LEADS, width, stem_size, stem_stride),
            BatchNorm(width),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        n_in, n_blocks = width, sum(depths)
        for stage, depth in enumerate(depths):
            n_out = width * 2**stage
            for block in range(depth):
                drop = drop_path * len(blocks) / max(1, n_blocks - 1)
                stride = 2 if block == 0 else 1
                blocks.append(ResidualBlock(n_in, n_out, stride, kernel_size, drop))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.n_features = 2 * n_in

    def forward(self, signal_BLS: Tensor) -> Tensor:
        x_BC1P = self.blocks(self.stem(as_image(signal_BLS)))
        return torch.cat([x_BC1P.mean((2, 3)), largest(x_BC1P)], dim=1)


def _tricks_layer(
    n_in: int, n_out: int, kernel_size: int, stride: int = 1, relu: bool = True, zero: bool = False
) -> nn.Sequential:
    """Return a convolution with Kaiming initialization and a batch norm.

    Parameters
    ----------
    zero : bool
        Initialize the weight of the norm at 0.
    """
    conv = convolution(n_in, n_out, kernel_size, stride)
    nn.init.kaiming_normal_(conv.weight)
    norm = BatchNorm(n_out)
    nn.init.constant_(norm.weight, 0.0 if zero else 1.0)
    return nn.Sequential(conv, norm, nn.ReLU()) if relu else nn.Sequential(conv, norm)


class Bottleneck(nn.Module):
    """Bottleneck block with a shortcut: (B, C, 1, P) -> (B, 4 width, 1, P / stride)."""

    def __init__(self, n_in: int, width: int, kernel_size: int, stride: int):
        super().__init__()
        n_out = 4 * width
        self.branch = nn.Sequential(
            _tricks_layer(n_in, width, 1),
            _tricks_layer(width, width, kernel_size, stride),
            _tricks_layer(width, n_out, 1, relu=False, zero=True),
        )
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d((1, stride), ceil_mode=True))
        if n_in != n_out:
            shortcut.append(_tricks_layer(n_in, n_out, 1, relu=False))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x_BC1P: Tensor) -> Tensor:
        return functional.relu(self.branch(x_BC1P) + self.shortcut(x_BC1P))


class XResNet1d(nn.Module):
    """The xresnet1d of the PTB-XL benchmark: (B, 12, S) in mV -> (B, F), F = 8 x width.

    Notes
    -----
    Strodthoff et al. 2021 (doi:10.1109/JBHI.2020.3022989), based on He et al. 2019 (bag of tricks,
    arXiv:1812.01187): a stem of three convolutions and a max pool; bottlenecks whose shortcut
    pools before it projects and whose last norm is initialized at 0; all stages of the same width;
    maximum and mean over time and a batch norm before the head. Depths 3, 4, 23, 3 with width 64
    and kernel size 5 are their xresnet1d101.
    """

    def __init__(self, *, width: int, depths: list[int], kernel_size: int, **_: Any):
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(
            _tricks_layer(N_LEADS, half, kernel_size, stride=2),
            _tricks_layer(half, half, kernel_size),
            _tricks_layer(half, width, kernel_size),
            nn.MaxPool2d((1, 3), (1, 2), (0, 1)),
        )
        blocks: list[nn.Module] = []
        n_in = width
        for stage, depth in enumerate(depths):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(n_in, width, kernel_size, stride))
                n_in = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.norm = BatchNorm(2 * n_in)
        self.n_features = 2 * n_in

    def forward(self, signal_BLS: Tensor) -> Tensor:
        x_BC1P = self.blocks(self.stem(as_image(signal_BLS)))
        pooled_BF = torch.cat([largest(x_BC1P), x_BC1P.mean((2, 3))], dim=1)
        return self.norm(pooled_BF[:, :, None, None])[:, :, 0, 0]


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Return the fixed position encoding (n_positions, width) of arXiv:1706.03762."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2) / width)
    angles = torch.arange(n_positions)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(n_positions, -1)[:, :width]


def transformer(width: int, depth: int, n_heads: int, dropout: float) -> nn.TransformerEncoder:
    """Return pre-norm transformer layers with attention over the whole sequence."""
    if width % n_heads:
        raise ValueError(f"width {width}: expected a multiple of n_heads={n_heads}")
    layer = nn.TransformerEncoderLayer(
        width, n_heads, 4 * width, dropout, functional.gelu, batch_first=True, norm_first=True
    )
    norm = nn.LayerNorm(width)
    return nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)


class EcgTransformer(nn.Module):
    """Transformer over segments of the signal: (B, 12, S) in mV -> (B, F) features, F = width.

    Notes
    -----
    A convolutional stem divides the signal into tokens (stem_stride samples per token; 10 at 100 Hz
    are 0.1 s). A learned query pools them by attention, as in SigLIP's vision tower
    (arXiv:2303.15343).
    """

    def __init__(
        self,
        *,
        width: int,
        depths: list[int],
        n_heads: int,
        stem_size: int,
        stem_stride: int,
        drop_path: float,
        **_: Any,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(N_LEADS, width, stem_size, stem_stride, stem_size // 2),
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=1),
        )
        self.layers = transformer(width, sum(depths), n_heads, drop_path)
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pool = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.n_features = width

    def forward(self, signal_BLS: Tensor) -> Tensor:
        x_BPC = self.stem(signal_BLS).transpose(1, 2)
        x_BPC = x_BPC + sinusoids(x_BPC.shape[1], x_BPC.shape[2]).to(x_BPC)
        x_BPC = self.layers(x_BPC)
        query = self.query.expand(len(x_BPC), -1, -1).to(x_BPC.dtype)
        pooled, _ = self.pool(query, x_BPC, x_BPC, need_weights=False)
        return pooled[:, 0]


ECG_ENCODERS: dict[str, type[ResNet1d] | type[XResNet1d] | type[EcgTransformer]] = {
    "resnet1d": ResNet1d,
    "xresnet1d": XResNet1d,
    "transformer": EcgTransformer,
}


def ecg_encoder(name: str, options: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Return a new ECG encoder; its ``n_features`` is F of the (B, F) that it returns.

    Parameters
    ----------
    name : str
        A key of ``ECG_ENCODERS`` or ``PUBLIC_ENCODERS``, or the dotted name of a class of another
        package.
    options : dict, optional
        Keyword arguments of a public encoder or of a class of another package.
    **settings
        width, depths, kernel_size, stem_size, stem_stride, n_heads, drop_path; each encoder of this
        package uses those that it needs.

    Raises
    ------
    ValueError
        If no encoder has that name; as ``external_encoders.external_encoder`` and
        ``public_encoders.public_encoder``.
    """
    if "." in name:
        return external_encoder(name, options or {})
    if name in PUBLIC_ENCODERS:
        return public_encoder(name, options or {}, settings.get("drop_path", 0.0))
    if name not in ECG_ENCODERS:
        raise ValueError(
            f"ecg.name={name}: expected one of {', '.join([*ECG_ENCODERS, *PUBLIC_ENCODERS])}, or "
            "a class as my_package.MyEncoder"
        )
    if options:
        raise ValueError(
            f"ecg.options={options}: {name} has settings of its own (ecg.width, ...); expected "
            "options with a class of another package only"
        )
    return ECG_ENCODERS[name](**settings)
