"""Checks that an ECG encoder keeps the contract that training and prediction rely on.

Shape letters: B records, L leads (12), S samples, F features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ecg_siglip.core.files import one_line
from ecg_siglip.models.ecg_encoders import N_LEADS

N_RECORDS = 4
TOLERANCE = 1e-4  # of features, relative to the largest


def check_encoder(encoder: type[nn.Module], n_samples: int = 1000, **options: Any) -> None:
    """Check that a class can be used as ``ecg.name``.

    Parameters
    ----------
    encoder : class
    n_samples : int
        S of the signals: ``waveform.fs`` times ``waveform.duration_s``.
    **options
        Keyword arguments of the class, ``ecg.options`` of a training.

    Raises
    ------
    ValueError
        Naming the class, what was expected, and what it does.

    Notes
    -----
    The contract:

    - ``encoder(**options)`` is a ``torch.nn.Module`` that draws random weights from torch's
      generator; loading a model builds it again, first without memory (``torch.device("meta")``),
      and then sets the stored weights.
    - ``forward`` takes (B, 12, S) float32 signals in mV at ``waveform.fs``, in the order of
      ``leads.LEADS``, after the preparation of ``waveform`` (filter, crop or pad); a missing lead
      is 0. It resamples and normalises itself, and leaves its input as it is.
    - It returns (B, F) features with gradients to all weights that need one and to the input, F
      being the attribute ``n_features``; attributions need no axis of time.
    - In evaluation mode the features of a record do not depend on the other records of the batch,
      nor on chance.
    - An attribute ``pretrained`` states what its weights were trained on, see
      ``published_weights.stated_provenance``.
    """
    check = _Check(encoder, n_samples, options)
    model = check.build()
    check.features(model.eval())
    check.gradients(model)
    check.weights(model)
    check.training(model)


class _Check:
    """The checks of one class; every error names it."""

    def __init__(self, encoder: type[nn.Module], n_samples: int, options: dict[str, Any]):
        self.encoder, self.options = encoder, options
        generator = torch.Generator().manual_seed(0)
        self.signal_BLS = torch.randn(N_RECORDS, N_LEADS, n_samples, generator=generator)

    def error(self, expected: str, got: object) -> ValueError:
        return ValueError(f"{self.encoder.__qualname__}: expected {expected}, got {got}")

    def build(self, device: str = "cpu") -> Any:
        """Return a new encoder with the weights of one seed."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(0)
            try:
                model: Any = self.encoder(**self.options)
            except Exception as error:  # of any kind: the code is the user's
                where = "" if device == "cpu" else f" on the device {device}"
                raise self.error(f"to be built{where}", one_line(error)) from error
        n_features = getattr(model, "n_features", None)
        if type(n_features) is not int or n_features < 1:
            raise self.error("n_features, a positive int", n_features)
        return model

    def same(self, one: Tensor, other: Tensor) -> bool:
        """Return whether features are equal, apart from rounding."""
        scale = max(1e-6, float(one.detach().abs().max()))
        return bool(torch.allclose(one, other, atol=TOLERANCE * scale, rtol=TOLERANCE))

    @torch.no_grad()
    def features(self, model: Any) -> None:
        """Check shape, range and independence of the features in evaluation mode."""
        before = self.signal_BLS.clone()
        features_BF = model(self.signal_BLS)
        if not torch.equal(before, self.signal_BLS):
            raise self.error("its input to stay as it is", "another one after forward")
        shape = (N_RECORDS, model.n_features)
        if not isinstance(features_BF, Tensor) or tuple(features_BF.shape) != shape:
            got = getattr(features_BF, "shape", type(features_BF).__name__)
            raise self.error(f"features of shape {shape}", got)
        if not features_BF.is_floating_point() or not features_BF.isfinite().all():
            raise self.error("finite floating-point features", features_BF.dtype)
        if not self.same(features_BF, model(self.signal_BLS)):
            raise self.error("the same features each time in evaluation mode", "others")
        alone = torch.cat([model(self.signal_BLS[i : i + 1]) for i in range(N_RECORDS)])
        if not self.same(features_BF, alone):
            raise self.error("features that do not depend on the other records", "others alone")
        if self.same(features_BF[:1].expand(shape), features_BF):
            raise self.error("features that depend on the signal", "the same for all signals")
        without_lead = self.signal_BLS.clone()
        without_lead[:, 6] = 0
        for what, signal in (("a missing lead", without_lead), ("no signal", 0 * without_lead)):
            if not model(signal).isfinite().all():
                raise self.error(f"finite features for {what} (0)", "NaN or infinity")

    def gradients(self, model: Any) -> None:
        """Check that gradients reach the input and all weights that need one."""
        signal = self.signal_BLS.clone().requires_grad_()
        model.zero_grad()
        model(signal).float().square().sum().backward()
        if signal.grad is None or not signal.grad.isfinite().all() or not signal.grad.any():
            raise self.error("a finite gradient of the signal, for attributions", "none")
        for name, weight in model.named_parameters():
            if weight.requires_grad and weight.grad is None:
                raise self.error("a gradient of every weight", f"none of {name}")
            if weight.grad is not None and not weight.grad.isfinite().all():
                raise self.error("finite gradients", f"others of {name}")

    @torch.no_grad()
    def weights(self, model: Any) -> None:
        """Check that the weights can be stored, and loaded into an encoder that is built again."""
        from safetensors.torch import load, save

        state = model.state_dict()
        try:
            stored = load(save({name: value.contiguous() for name, value in state.items()}))
        except Exception as error:
            raise self.error("weights that safetensors can store", one_line(error)) from error
        shapes = {name: value.shape for name, value in state.items()}
        meta = {name: value.shape for name, value in self.build("meta").state_dict().items()}
        if meta != shapes:
            differing = sorted({*meta.items()} ^ {*shapes.items()}, key=str)[0][0]
            raise self.error("the same weights each time it is built", f"others: {differing}")
        again = self.build()
        again.load_state_dict(stored)
        if not self.same(model(self.signal_BLS), again.eval()(self.signal_BLS)):
            raise self.error("the same features with stored weights", "others")

    def training(self, model: Any) -> None:
        """Check a step in training mode, and with bfloat16 as on a GPU."""
        model.train()
        for dtype in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
                features_BF = model(self.signal_BLS)
            if not features_BF.isfinite().all():
                raise self.error(f"finite features in training with {dtype}", "NaN or infinity")
