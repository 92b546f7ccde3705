"""Measure waiting times: ``--help`` of each command, and ``predict``.

python benchmarks/commands.py RUN RECORD      # a run folder, a record to predict
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np

COMMANDS = ("train", "evaluate", "predict", "compare", "ensemble", "ptbxl", "simulate")


def fastest_s(arguments: list[str], n: int = 3) -> float:
    """Return the time of the fastest of n runs of a program, s."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib(arguments: list[str]) -> float:
    """Return the peak memory of a program, MiB."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: ended with {status}")
    return usage.ru_maxrss / 1024


def link_copies(record: Path, n: int, folder: Path) -> Path:
    """Return a folder with n links to a record."""
    for i in range(n):
        copy = folder / f"{i:06d}"
        copy.mkdir(parents=True)
        for part in record.parent.glob(f"{record.name}.*"):
            (copy / part.name).symlink_to(part.resolve())
    return folder


def main() -> None:
    run, record = Path(sys.argv[1]), sys.argv[2]
    n_many = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
    rows: list[dict[str, object]] = [
        {"what": f"{name} --help, s", "value": fastest_s(["-m", f"ecg_siglip.{name}", "--help"])}
        for name in COMMANDS
    ]
    rows.append({"what": "import torch, s", "value": fastest_s(["-c", "import torch"])})
    predict = ["-m", "ecg_siglip.predict", f"run.root={run.parent}", f"run.name={run.name}"]
    rows.append(
        {
            "what": "predict, first prediction, s",
            "value": fastest_s([*predict, f"records=[{record}]"]),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        for n in (100, n_many):
            many = link_copies(Path(record), n, Path(folder) / str(n))
            start = time.perf_counter()
            mib = peak_mib([*predict, f"records=[{many}]"])
            seconds = time.perf_counter() - start
            rows.append({"what": f"predict, memory over {n:,} records, MiB", "value": mib})
        rows.append({"what": "predict, records per second from files", "value": n / seconds})
    from ecg_siglip.inference.predictor import Predictor

    predictor = Predictor.load(run / "model")
    signals = np.zeros((1024, 12, 1000), np.int16)
    seconds = measure.seconds(lambda: predictor.probabilities(signals), 3)
    rows.append({"what": "predict, records per second in memory", "value": len(signals) / seconds})
    for row in rows:
        print(json.dumps(row))
    measure.save("commands", rows)


if __name__ == "__main__":
    main()
