"""Files of public ECG encoders as their authors publish them: tiny ones, of random weights."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

WIDTHS, DEPTHS, GROUP_WIDTH, KERNEL = [8, 16, 24], [1, 2, 1], 4, 16
HUBERT = {
    "architectures": ["HuBERTECG"],
    "auto_map": {"AutoModel": "hubert_ecg.HuBERTECG"},
    "model_type": "hubert_ecg",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "conv_dim": [8] * 5,
    "conv_kernel": [10, 3, 3, 2, 2],
    "conv_stride": [4, 2, 2, 2, 2],
    "mask_time_prob": 0.33,
}


def net1d_state(n_leads: int = 12) -> dict[str, torch.Tensor]:
    """Return weights of ECGFounder with the published names."""
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = OrderedDict()

    def add(name: str, *shape: int) -> None:
        n_in = int(np.prod(shape[1:]))
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * n_in**-0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)

    def add_norm(name: str, width: int) -> None:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{kind}"] = torch.rand(width, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    n_in = WIDTHS[0]
    add("first_conv.conv", n_in, n_leads, KERNEL)
    add_norm("first_bn", n_in)
    for i, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for j in range(depth):
            block = f"stage_list.{i}.block_list.{j}"
            add_norm(f"{block}.bn1", n_in)
            add(f"{block}.conv1.conv", width, n_in, 1)
            add_norm(f"{block}.bn2", width)
            add(f"{block}.conv2.conv", width, GROUP_WIDTH, KERNEL)
            add_norm(f"{block}.bn3", width)
            add(f"{block}.conv3.conv", width, width, 1)
            add(f"{block}.se_fc1", width // 2, width)
            add(f"{block}.se_fc2", width, width // 2)
            n_in = width
    add("dense", 150, n_in)
    return state


def save_ecgfounder(folder: Path, **changes: object) -> Path:
    """Write `12_lead_ECGFounder.pth` with what a training stores next to the weights."""
    state = net1d_state()
    content = {
        "epoch": 1,
        "step": 1000,
        "state_dict": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
        "scheduler": {"best": np.float64(0.9204), "num_bad_epochs": 0},
        "val_auroc": np.float64(0.9204),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "12_lead_ECGFounder.pth"
    torch.save(content | changes, path)
    return path


def save_hubert_ecg(folder: Path, config: dict[str, object] | None = None) -> Path:
    """Write `config.json` and `model.safetensors`, with the names of earlier versions."""
    from safetensors.torch import save_file
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(1)
    folder.mkdir(parents=True, exist_ok=True)
    settings = HUBERT | (config or {})
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    known = {k: v for k, v in HUBERT.items() if k not in ("architectures", "auto_map")}
    model = HubertModel(HubertConfig(**known | {"model_type": "hubert"}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    state = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in model.state_dict().items()
    }
    state["final_proj.0.weight"], state["final_proj.0.bias"] = torch.zeros(8, 16), torch.zeros(8)
    state["label_embedding.0.weight"] = torch.zeros(100, 8)
    save_file(state, folder / "model.safetensors")
    return folder
