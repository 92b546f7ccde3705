"""Measure training: records per second, share of the device's limits, against a DataLoader.

    python benchmarks/training.py DATA_ROOT                  # every encoder at 100 and 500 Hz
    python benchmarks/training.py DATA_ROOT ENCODER FS       # one, as JSON
    python benchmarks/training.py DATA_ROOT --whole          # how long a complete training takes

DATA_ROOT is a folder written by ``simulate records500=true`` or ``ptbxl``. The peer is the obvious
implementation: the same model, fed by ``torch.utils.data.DataLoader`` that reads each record with
wfdb.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import torch
import wfdb
import yaml
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.trainer import Trainer

N_STEPS = 10
FAST = Path(__file__).parents[1] / "conf" / "experiment" / "fast.yaml"
ENCODERS = {
    "resnet1d": {},
    "transformer": {"width": 192, "depths": [6], "stem_size": 21, "stem_stride": 10},
    "xresnet1d101": {"name": "xresnet1d", "width": 64, "depths": [3, 4, 23, 3], "dropout": 0.5},
}
# Kinds of work, by the names of PyTorch's operations.
KINDS = {
    "convolutions": ("convolution", "conv"),
    "normalisation": ("batch_norm", "bn_", "layer_norm"),
    "attention": ("attention",),
    "matrix products": ("addmm", "::mm", "::bmm", "gemm"),
    "optimizer, averaging": ("_foreach", "_fused", "lerp", "addc", "::sqrt", "Optimizer", "adam"),
    "copies and casts": ("copy_", "contiguous", "clone", "::to", "cat", "index", "Memcpy"),
    "activations": ("relu", "clamp_min", "threshold", "gelu", "sigmoid", "softmax", "dropout"),
    "sums and products (shortcuts, gates)": ("::add", "::mul", "::div", "::sub", "::sum"),
}


class Bytes(TorchDispatchMode):
    """Counter of the bytes that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            # A tensor written in place is among arguments and results, and is moved twice.
            moved = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            self.total += sum(t.numel() * t.element_size() for t in moved)
        return out


def make_settings(root: str, encoder: str, fs: int) -> config.TrainConfig:
    """Return the default settings with an encoder and a sampling rate."""
    settings = config.TrainConfig()
    settings.data.root, settings.run.name, settings.precision = root, "benchmark", "bfloat16"
    settings.data.fs = settings.waveform.fs = fs
    settings.ecg.name = encoder
    for name, value in ENCODERS[encoder].items():
        setattr(settings.ecg, name, value)
    return settings


def device_limits() -> tuple[float, float]:
    """Measure FLOP/s of a large product (bfloat16) and bytes/s of a large copy."""
    on_gpu = torch.cuda.is_available()
    n = 8192 if on_gpu else 2048
    a = torch.randn(n, n, device=measure.device(), dtype=torch.bfloat16)
    block = torch.empty((1 << 30) if on_gpu else (1 << 27), device=measure.device())
    other = torch.empty_like(block)
    copied = 2 * block.numel() * block.element_size()
    return (
        2 * n**3 / measure.seconds(lambda: a @ a),
        copied / measure.seconds(lambda: other.copy_(block)),
    )


class Wfdb(torch.utils.data.Dataset):
    """Plain data set that reads each record on access."""

    def __init__(self, paths, rows):
        self.paths, self.rows = paths, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        signal = wfdb.rdrecord(str(self.paths[self.rows[i]])).p_signal
        return torch.from_numpy(signal.T.astype(np.float32)), int(self.rows[i])


def seconds_per_step(training: Trainer, batches) -> float:
    """Return seconds per step, without the first three steps."""
    for batch in batches[:3]:
        training.run_step(batch, len(batches))
    training.losses[-1].item()
    start = time.perf_counter()
    timed = list(itertools.islice(itertools.cycle(batches), 3, 4 + N_STEPS))
    for batch, coming in itertools.pairwise(timed):
        training.data.read_ahead(coming, 0)
        training.run_step(batch, len(batches))
    training.losses[-1].item()  # waits for the device
    return (time.perf_counter() - start) / (len(timed) - 1)


def seconds_per_plain_step(training: Trainer, loaded, n_workers: int) -> float:
    """Return seconds per step when a DataLoader reads the records of each batch with wfdb."""
    data, batch_size = training.data, training.settings.optim.batch_size
    loader = torch.utils.data.DataLoader(
        Wfdb(loaded.paths, data.train_rows), batch_size, shuffle=True, num_workers=n_workers
    )
    current: dict[str, torch.Tensor] = {}
    data.signals = lambda rows, epoch: current["signal"]  # type: ignore[method-assign]
    start, counted = time.perf_counter(), 0
    for i, (signal, rows) in enumerate(loader):
        if len(rows) < batch_size:
            break
        current["signal"] = signal.to(data.device)
        training.run_step(rows.numpy(), len(loader))
        if i == 0:
            training.losses[-1].item()
            start = time.perf_counter()
        counted = i
        if i == N_STEPS:
            break
    training.losses[-1].item()
    return (time.perf_counter() - start) / max(1, counted)


def time_shares(training: Trainer, batches) -> dict[str, float]:
    """Return shares of the device's time of a step, by kind of operation."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiler:
        for batch in batches[:3]:
            training.run_step(batch, len(batches))
        training.losses[-1].item()
    shares: dict[str, float] = {}
    events = profiler.key_averages()
    if on_gpu:  # the kernels alone; the operations that launch them are listed with the same time
        events = [event for event in events if event.device_type != DeviceType.CPU]
    for event in events:
        time_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        kind = next(
            (kind for kind, names in KINDS.items() if any(n in event.key for n in names)),
            "all else (pooling, loss, augmentation, host)",
        )
        shares[kind] = shares.get(kind, 0.0) + time_us
    total = sum(shares.values())
    ordered = sorted(shares.items(), key=lambda kind_and_time: -kind_and_time[1])
    return {kind: time_us / total for kind, time_us in ordered}


def measure_encoder(root: str, encoder: str, fs: int) -> dict[str, object]:
    """Measure one encoder at one sampling rate; return a row of the table."""
    flops_limit, bytes_limit = device_limits()
    settings = make_settings(root, encoder, fs)
    loaded = load_training_data(settings, progress=False)
    data = TrainingData(loaded, settings, measure.device())
    training = Trainer(settings, data)
    batches = data.batches(0)
    if len(batches) < 4:
        raise SystemExit(f"{root}: {len(batches)} batches; expected at least 4")
    with FlopCounterMode(display=False) as counter:
        training.run_step(batches[0], len(batches))
    with Bytes() as moved:
        training.run_step(batches[0], len(batches))
    flops = counter.get_total_flops()
    step_s = seconds_per_step(training, batches)
    data_s = measure.seconds(lambda: data.reader.signals(batches[0], 0))
    shares = time_shares(training, batches)
    plain_s = seconds_per_plain_step(training, loaded, 2)
    size = len(batches[0])
    # The least time that the device's limits allow for these FLOPs and these bytes.
    roofline_s = max(flops / flops_limit, moved.total / bytes_limit)
    return {
        "encoder": encoder,
        "fs": fs,
        "batch_size": size,
        "records_per_s": size / step_s,
        "plain_records_per_s": settings.optim.batch_size / plain_s,
        "ratio": size / step_s * plain_s / settings.optim.batch_size,
        "gflop_per_record": flops / size / 1e9,
        "mbyte_per_record": moved.total / size / 1e6,
        "limit_tflops": flops_limit / 1e12,
        "limit_gbytes": bytes_limit / 1e9,
        "share_of_flops": flops / step_s / flops_limit,
        "share_of_roofline": roofline_s / step_s,
        "data_share_of_step": data_s / step_s,
        "where": shares,
    }


def measure_whole_training(root: str) -> dict[str, object]:
    """Measure a complete training on as many records as PTB-XL has, from the command to the end, s.

    On a GPU the defaults, on a CPU ``experiment=fast``, for one epoch and for three; the other
    epochs are extrapolated.
    """
    recipe = [] if torch.cuda.is_available() else ["experiment=fast"]
    settings = config.TrainConfig()
    settings.data.root = root
    load_training_data(settings, progress=True)  # the cache is built once, not in each training

    def seconds_of(*overrides: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            run = ["run.name=whole", f"run.root={folder}", f"data.root={root}", *recipe, *overrides]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "ecg_siglip.train", *run], check=True)
            return time.perf_counter() - start

    n_records = len(ptbxl.load_ptbxl(root, signals=False).fold(*settings.data.train_folds))
    n_epochs = settings.optim.n_epochs
    if recipe:
        n_epochs = yaml.safe_load(FAST.read_text())["optim"]["n_epochs"]
    one, three = seconds_of("optim.n_epochs=1"), seconds_of("optim.n_epochs=3")
    return {
        "n_records": n_records,
        "recipe": recipe[0] if recipe else "the defaults",
        "n_epochs": n_epochs,
        "n_run": 3,
        "seconds": one + (n_epochs - 1) * (three - one) / 2,
    }


def main() -> None:
    root, arguments = sys.argv[1], sys.argv[2:]
    if arguments == ["--whole"]:
        measure.save("whole", [measure_whole_training(root)])
    elif arguments:
        print(json.dumps(measure_encoder(root, arguments[0], int(arguments[1]))))
    else:
        rows = []
        for fs, encoder in itertools.product((100, 500), ENCODERS):
            rows.append(measure.run_separately("training.py", root, encoder, fs))
            print(json.dumps(rows[-1]), flush=True)
        measure.save("training", rows)


if __name__ == "__main__":
    main()
