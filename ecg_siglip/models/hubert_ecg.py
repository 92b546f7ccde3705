"""The encoder of HuBERT-ECG, a transformer for 12 leads of 5 s at 100 Hz, from transformers.

Shape letters: B records, L leads (12), S samples, M samples at 100 Hz, W windows of 5 s, N samples
of a window, P positions in time, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ecg_siglip.models.encoder_input import Resample, cut_windows

FS, N_SAMPLES = 100, 500  # of its training: rate, Hz, and length of a window
FLAT_MV = 1e-6  # a lead with a smaller range has no signal
# Entries of its config.json that set the size of a layer, with the most that is accepted.
SIZES = {
    "hidden_size": 4096,
    "num_hidden_layers": 100,
    "num_attention_heads": 128,
    "intermediate_size": 16384,
    "num_conv_pos_embeddings": 1024,
    "num_conv_pos_embedding_groups": 1024,
    "conv_dim": 4096,
    "conv_kernel": 255,
    "conv_stride": 64,
}
LISTS = ("conv_dim", "conv_kernel", "conv_stride")
MAX_LAYERS = 16  # convolutions
# Entries that have the same value in all published sizes.
FIXED = {
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "hidden_act": "gelu",
    "conv_bias": False,
    "do_stable_layer_norm": False,
    "layer_norm_eps": 1e-5,
}
# Weights of its pretraining: the mask token and the targets.
UNUSED = ("masked_spec_embed", "final_proj.", "label_embedding.")
# Names of the two parts of a weight norm in earlier versions of PyTorch.
WEIGHT_NORM = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}


class HubertEcg(nn.Module):
    """The encoder of HuBERT-ECG: (B, 12, S) signal in mV -> (B, F) features, F = hidden_size.

    Parameters
    ----------
    fs : float, Hz
        Sampling rate of the signals; they are resampled to 100 Hz.
    drop_path : float
        Dropout within the layers.
    **sizes
        The entries ``SIZES`` of its ``config.json``.

    Raises
    ------
    ValueError
        If a size is missing or out of range, or the package transformers is not installed.

    Notes
    -----
    Coppola et al. 2024 (medRxiv 2024.11.14.24317328), after HuBERT (Hsu et al. 2021,
    arXiv:2106.07447). Each lead is scaled to the range from -1 to 1, and the leads of a window of
    5 s are concatenated to one signal. The features are the mean over time and over the windows.
    """

    def __init__(self, *, fs: float, drop_path: float = 0.0, **sizes: Any):
        super().__init__()
        _check_sizes(sizes)
        transformers = _transformers()
        config = transformers.HubertConfig(
            **sizes,
            **FIXED,
            hidden_dropout=drop_path,
            attention_dropout=drop_path,
            activation_dropout=drop_path,
            feat_proj_dropout=0.0,
            layerdrop=0.0,  # a layer without a gradient is an error with several devices
            apply_spec_augment=False,
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
        )
        self.resample = Resample(fs, FS)
        self.model = transformers.HubertModel(config)
        self.n_features = int(sizes["hidden_size"])

    def forward(self, signal_BLS: Tensor) -> Tensor:
        x_BWLN = cut_windows(scale_leads(self.resample(signal_BLS)), N_SAMPLES)
        n_records, n_windows = x_BWLN.shape[:2]
        hidden = self.model(x_BWLN.flatten(0, 1).flatten(1)).last_hidden_state
        features_BF: Tensor = hidden.mean(1).reshape(n_records, n_windows, -1).mean(1)
        return features_BF


def scale_leads(signal_BLM: Tensor) -> Tensor:
    """Scale each lead of each record to the range from -1 to 1; a flat lead is -1 throughout."""
    low, high = signal_BLM.amin(2, keepdim=True), signal_BLM.amax(2, keepdim=True)
    # Divided by 1 if it is flat, since its gradient would be without bounds.
    width = torch.where(high - low > FLAT_MV, high - low, torch.ones_like(low))
    return 2 * (signal_BLM - low) / width - 1


def _check_sizes(sizes: Mapping[str, Any]) -> None:
    """Check sizes that may come from a file."""
    for problem, names in (("unknown", {*sizes} - {*SIZES}), ("missing", {*SIZES} - {*sizes})):
        if names:
            raise ValueError(f"{min(names)!s:.40} is {problem}")
    for name, most in SIZES.items():
        values = sizes[name] if name in LISTS else [sizes[name]]
        if not isinstance(values, list | tuple) or not 1 <= len(values) <= MAX_LAYERS:
            raise ValueError(f"{name}: expected a list of 1 to {MAX_LAYERS} numbers")
        for value in values:
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name}: expected 1 to {most}, got {value!s:.40}")
    if len({len(sizes[name]) for name in LISTS}) > 1:
        raise ValueError(f"{', '.join(LISTS)}: expected lists of the same length")
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if sizes["hidden_size"] % sizes[part]:
            raise ValueError(f"hidden_size={sizes['hidden_size']}: expected a multiple of {part}")


def published_sizes(config: Any) -> dict[str, Any]:
    """Return the arguments of ``HubertEcg``, without ``fs``, for a published ``config.json``.

    Raises
    ------
    ValueError
        If an entry is missing or out of range, or the layers are of another kind.
    """
    if not isinstance(config, dict):
        raise ValueError("expected a JSON object")
    for name, expected in FIXED.items():
        if config.get(name, expected) != expected:
            raise ValueError(f"{name}={config[name]!s:.40}: expected {expected}")
    sizes = {name: config[name] for name in SIZES if name in config}
    _check_sizes(sizes)
    return sizes


def own_name(published: str, sizes: Mapping[str, Any]) -> str | None:
    """Return the name of a published weight in ``HubertEcg``; None if it is not used here."""
    if published.startswith(UNUSED):
        return None
    for before, after in WEIGHT_NORM.items():
        if published.endswith(before):
            published = published.removesuffix(before) + after
    return f"model.{published}"


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError("needs the package transformers: pip install 'ecg_siglip[hf]'") from error
    return transformers
