"""Waiting: ``--help`` of each verb, the first answer of ``predict``, records a second.

python benchmarks/verbs.py RUN RECORD      # a run folder, a record to ask about
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

VERBS = ("train", "evaluate", "predict", "compare", "ensemble", "ptbxl", "simulate")


def fastest(words: list[str], n: int = 3) -> float:
    times = []
    for _ in range(n):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib(words: list[str]) -> float:
    """Memory of a program at its height, MiB."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with {status}")
    return usage.ru_maxrss / 1024


def copies(record: Path, n: int, folder: Path) -> Path:
    """A folder in which a record lies n times."""
    for i in range(n):
        place = folder / f"{i:06d}"
        place.mkdir(parents=True)
        for part in record.parent.glob(f"{record.name}.*"):
            (place / part.name).symlink_to(part.resolve())
    return folder


def main() -> None:
    run, record = Path(sys.argv[1]), sys.argv[2]
    n_many = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
    rows: list[dict[str, object]] = [
        {"what": f"{verb} --help, s", "value": fastest(["-m", f"ecg_siglip.{verb}", "--help"])}
        for verb in VERBS
    ]
    rows.append({"what": "import torch, s", "value": fastest(["-c", "import torch"])})
    ask = ["-m", "ecg_siglip.predict", f"run.root={run.parent}", f"run.name={run.name}"]
    rows.append(
        {"what": "predict, first answer, s", "value": fastest([*ask, f"records=[{record}]"])}
    )
    with tempfile.TemporaryDirectory() as folder:
        for n in (100, n_many):
            many = copies(Path(record), n, Path(folder) / str(n))
            start = time.perf_counter()
            mib = peak_mib([*ask, f"records=[{many}]"])
            taken = time.perf_counter() - start
            rows.append({"what": f"predict, memory over {n:,} records, MiB", "value": mib})
        rows.append({"what": "predict, records a second from files", "value": n / taken})
    from ecg_siglip.inference.predictor import Predictor

    predictor = Predictor.load(run / "model")
    signals = np.zeros((1024, 12, 1000), np.int16)
    taken = measure.seconds(lambda: predictor.probabilities(signals), 3)
    rows.append({"what": "predict, records a second in memory", "value": len(signals) / taken})
    for row in rows:
        print(json.dumps(row))
    measure.keep("verbs", rows)


if __name__ == "__main__":
    main()
