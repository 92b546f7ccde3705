"""Training: records a second, share of the device's peak, against a plain DataLoader.

    python benchmarks/training.py DATA_ROOT

DATA_ROOT is a folder as ``simulate`` or ``ptbxl`` leaves it. The peer is what one would write
first: the same model, fed by ``torch.utils.data.DataLoader`` that reads each record with wfdb.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

import measure
import numpy as np
import torch
import wfdb
from torch.utils.flop_counter import FlopCounterMode

from ecg_siglip import config
from ecg_siglip.batches import TrainingData
from ecg_siglip.train import Ranks, Training, load_data

N_STEPS = 10
ENCODERS = {
    "resnet1d": {},
    "transformer": {"width": 192, "depths": [6], "stem_size": 21, "stem_stride": 10},
    "xresnet1d101": {"name": "xresnet1d", "width": 64, "depths": [3, 4, 23, 3], "dropout": 0.5},
}


def settings_for(root: str, encoder: str, precision: str) -> config.TrainConfig:
    settings = config.TrainConfig()
    settings.data.root, settings.run.name, settings.precision = root, "benchmark", precision
    settings.ecg.name = encoder
    for knob, value in ENCODERS[encoder].items():
        setattr(settings.ecg, knob, value)
    return settings


def peak_flops(dtype: torch.dtype) -> float:
    """What the device reaches in one large matrix product, FLOP/s."""
    n = 8192 if torch.cuda.is_available() else 2048
    a = torch.randn(n, n, device=measure.device(), dtype=dtype)
    return 2 * n**3 / measure.seconds(lambda: a @ a)


class Wfdb(torch.utils.data.Dataset):
    """Records as a plain data set: each is read when it is asked for."""

    def __init__(self, paths, rows):
        self.paths, self.rows = paths, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        signal = wfdb.rdrecord(str(self.paths[self.rows[i]])).p_signal
        return torch.from_numpy(signal.T.astype(np.float32)), int(self.rows[i])


def steps(training: Training, batches) -> float:
    """Seconds a step, the first three left out."""
    for batch in batches[:3]:
        training.run_step(batch, len(batches))
    training.losses[-1].item()
    start = time.perf_counter()
    timed = batches[3 : 4 + N_STEPS]
    for batch, coming in itertools.pairwise(timed):
        training.data.read_ahead(coming, 0)
        training.run_step(batch, len(batches))
    training.losses[-1].item()  # waits for the device
    return (time.perf_counter() - start) / (len(timed) - 1)


def plain_steps(training: Training, loaded, n_workers: int) -> float:
    """Seconds a step when a DataLoader reads the records of each batch with wfdb."""
    data, batch_size = training.data, training.settings.optim.batch_size
    loader = torch.utils.data.DataLoader(
        Wfdb(loaded.paths, data.train_rows), batch_size, shuffle=True, num_workers=n_workers
    )
    given: dict[str, torch.Tensor] = {}
    data.signals = lambda rows, epoch: given["signal"]  # type: ignore[method-assign]
    count, start = 0, time.perf_counter()
    for i, (signal, rows) in enumerate(loader):
        if i == 1:
            start = time.perf_counter()
        given["signal"] = signal.to(data.device)
        training.run_step(rows.numpy(), len(loader))
        count = i
        if i == N_STEPS // 2:
            break
    training.losses[-1].item()
    return (time.perf_counter() - start) / max(1, count)


def main() -> None:
    root = sys.argv[1]
    precision = "bfloat16"
    peak = peak_flops(torch.bfloat16)
    rows = []
    for encoder in ENCODERS:
        settings = settings_for(root, encoder, precision)
        loaded = load_data(settings, progress=True)
        data = TrainingData(loaded, settings, measure.device())
        training = Training(settings, data, Ranks())
        batches = data.batches(0)
        if len(batches) < 6:
            raise SystemExit(f"{root}: {len(batches)} batches; expected at least 6")
        with FlopCounterMode(display=False) as counter:
            training.run_step(batches[0], len(batches))
        step_s = steps(training, batches)
        data_s = measure.seconds(lambda d=data, b=batches: d.signals(b[0], 0))
        plain_s = plain_steps(training, loaded, 2)
        size = len(batches[0])
        rows.append(
            {
                "encoder": encoder,
                "fs": settings.data.fs,
                "records_per_s": size / step_s,
                "plain_records_per_s": size / plain_s,
                "ratio": plain_s / step_s,
                "gflop_per_record": counter.get_total_flops() / size / 1e9,
                "share_of_peak": counter.get_total_flops() / step_s / peak,
                "data_share_of_step": data_s / step_s,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    measure.keep("training", rows)


if __name__ == "__main__":
    main()
