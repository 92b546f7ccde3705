"""Same scores on every fast path: one short training, said again with each of them.

    python benchmarks/fingerprint.py DATA_ROOT

The first row is the plain way: float32, one process, the pair matrix whole, nothing compiled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

# No dropout: each process draws its own, so that several of them are another run.
RECIPE = (
    "objective=bank_report ecg.width=16 ecg.depths=[1,1,1] optim.n_epochs=12 optim.batch_size=64 "
    "augment.mixup=0 ecg.dropout=0 n_threads=1 device=cpu"
)
PLAIN = "precision=float32 objective.n_chunk=65536"
ONE, TWO = ["-m"], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
PATHS = {
    "plain": (ONE, PLAIN),
    "the loss in chunks of 16 texts": (ONE, "precision=float32 objective.n_chunk=16"),
    "compiled": (ONE, f"{PLAIN} compile=true"),
    "two processes, gather": (TWO, PLAIN),
    "two processes, ring, chunks": (
        TWO,
        "precision=float32 objective.across=ring objective.n_chunk=16",
    ),
    "bfloat16": (ONE, "precision=bfloat16"),
    "bfloat16, compiled, chunks": (ONE, "precision=bfloat16 compile=true objective.n_chunk=16"),
    "another seed, for comparison": (ONE, f"{PLAIN} seed=1"),
}
SCORES = ("loss", "macro_auroc", "macro_auprc", "micro_f1")


def trained(start: list[str], knobs: str, root: str, folder: str) -> dict[str, float]:
    """Loss and scores on the tuning fold after the last epoch."""
    name = f"r{len(os.listdir(folder))}"
    where = [f"run.name={name}", f"run.root={folder}", f"data.root={root}"]
    command = [sys.executable, *start, "ecg_siglip.train", *RECIPE.split(), *knobs.split(), *where]
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=threads)
    last = (Path(folder) / name / "log.jsonl").read_text().splitlines()[-1]
    return {key: json.loads(last)[key] for key in SCORES}


def hold(plain: dict[str, object], other: dict[str, object]) -> None:
    """Stop where a path that differs in the order of sums only ends elsewhere."""
    for score in SCORES:
        allowed = 0.01 * float(plain["loss"]) if score == "loss" else 0.01
        if not abs(float(other[score]) - float(plain[score])) <= allowed:
            raise SystemExit(f"{other['path']}: {score} {other[score]}, plain {plain[score]}")


def main() -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for path, (start, knobs) in PATHS.items():
            rows.append({"path": path, **trained(start, knobs, sys.argv[1], folder)})
            print(json.dumps(rows[-1]), flush=True)
            if "float32" in knobs and "seed" not in knobs:
                hold(rows[0], rows[-1])
    measure.keep("fingerprint", rows)


if __name__ == "__main__":
    main()
