"""The checks of an encoder pass for those of the package and find each break of the contract."""

import pytest
import torch
from torch import nn

from ecg_siglip.models import check_encoder
from ecg_siglip.models.ecg_encoders import ECG_ENCODERS

SMALL = {"width": 16, "depths": [1, 1], "kernel_size": 5, "stem_size": 9, "stem_stride": 4}
SMALL |= {"n_heads": 2, "drop_path": 0.1}


class Good(nn.Module):
    """Mean and standard deviation of a convolution."""

    def __init__(self, n_features: int = 6):
        super().__init__()
        self.n_features = n_features
        self.convolution = nn.Conv1d(12, n_features, 9)

    def forward(self, signal):
        return self.convolution(signal).tanh().mean(2)


class NoLength(Good):
    def __init__(self):
        super().__init__()
        del self.n_features


class WrongLength(Good):
    def forward(self, signal):
        return super().forward(signal)[:, :-1]


class InPlace(Good):
    def forward(self, signal):
        with torch.no_grad():
            signal -= signal.mean(2, keepdim=True)
        return super().forward(signal)


class OfTheBatch(Good):
    def forward(self, signal):
        features = super().forward(signal)
        return features - features.mean(0)


class Random(Good):
    def forward(self, signal):
        return super().forward(signal) + torch.rand(1)


class Constant(Good):
    def forward(self, signal):
        return self.convolution.weight.mean((1, 2)).expand(len(signal), -1)


class NanWithoutSignal(Good):
    def forward(self, signal):
        return super().forward(signal / signal.std((1, 2), keepdim=True))


class Detached(Good):
    def forward(self, signal):
        return super().forward(signal.detach())


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(3, 3)


class Shared(Good):
    def __init__(self):
        super().__init__()
        self.again = nn.Conv1d(12, 6, 9)
        self.again.weight = self.convolution.weight
        del self.again.bias
        self.again.bias = None


class Grows(Good):
    n_built = 0

    def __init__(self):
        Grows.n_built += 1
        super().__init__(5 + Grows.n_built)


class NotOnMeta(Good):
    def __init__(self):
        super().__init__()
        self.scale = float(self.convolution.weight.abs().sum())


@pytest.mark.parametrize("name", sorted(ECG_ENCODERS))
def test_the_encoders_of_the_package_pass(name):
    check_encoder(ECG_ENCODERS[name], 400, **SMALL)


def test_a_good_encoder_passes_with_its_options():
    check_encoder(Good, n_features=4)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (NoLength, "expected n_features, a positive int, got None"),
        (WrongLength, r"expected features of shape \(4, 6\), got torch.Size\(\[4, 5\]\)"),
        (InPlace, "expected its input to stay as it is"),
        (OfTheBatch, "expected features that do not depend on the other records"),
        (Random, "expected the same features each time in evaluation mode"),
        (Constant, "expected features that depend on the signal"),
        (NanWithoutSignal, r"expected finite features for no signal \(0\)"),
        (Detached, "expected a finite gradient of the signal"),
        (Unused, "expected a gradient of every weight, got none of other.weight"),
        (Shared, "expected weights that safetensors can store"),
        (Grows, "expected the same weights each time it is built"),
        (NotOnMeta, "expected to be built on the device meta"),
    ],
)
def test_each_break_of_the_contract_is_named(encoder, message):
    with pytest.raises(ValueError, match=f"^{encoder.__name__}: {message}"):
        check_encoder(encoder, 300)


def test_options_that_the_class_does_not_take_are_named():
    with pytest.raises(ValueError, match="Good: expected to be built, got .*'depth'"):
        check_encoder(Good, depth=3)
