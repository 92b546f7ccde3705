"""Check that every fast path gives the same scores: one short training, run on each path.

    python benchmarks/fingerprint.py DATA_ROOT

The first row is the plain path: float32, one process, the whole pair matrix, nothing compiled. A
path that only sums in another order must have the same loss of the first epoch to a thousandth.
Later, training enlarges any rounding; the result of that is compared with other seeds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

# No dropout: each process draws its own, so several processes would be a different run.
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
    **{f"seed {i}, for comparison": (ONE, f"{PLAIN} seed={i}") for i in (1, 2, 3)},
}
SCORES = ("loss", "macro_auroc", "macro_auprc", "micro_f1")
SMOOTH = SCORES[:-1]  # F1 at a threshold changes in steps: it is shown and not checked
FIRST_LOSS = 1e-3  # relative, of a float32 path


def train_path(start: list[str], settings: str, root: str, folder: str) -> dict[str, float]:
    """Train; return the loss of the first epoch, and loss and tuning scores after the last."""
    name = f"r{len(os.listdir(folder))}"
    folders = [f"run.name={name}", f"run.root={folder}", f"data.root={root}"]
    command = [sys.executable, *start, "ecg_siglip.train", *RECIPE.split(), *settings.split()]
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *folders], check=True, stdout=subprocess.DEVNULL, env=threads)
    log = [json.loads(line) for line in (Path(folder) / name / "log.jsonl").open()]
    return {"first_loss": log[0]["loss"], **{key: log[-1][key] for key in SCORES}}


def check_paths(rows: list[dict[str, object]]) -> None:
    """Stop if a float32 path is another computation, or ends further off than a seed does."""
    plain, seeds = rows[0], [row for row in rows if "seed" in str(row["path"])]
    for row in rows[1:]:
        if row in seeds or "bfloat16" in str(row["path"]):
            continue
        difference = abs(float(row["first_loss"]) / float(plain["first_loss"]) - 1)
        if not difference <= FIRST_LOSS:
            raise SystemExit(f"{row['path']}: loss of the first epoch {difference:.1e} off")
        for key in SMOOTH:
            off = abs(float(row[key]) - float(plain[key]))
            most = max(abs(float(seed[key]) - float(plain[key])) for seed in seeds)
            if not off <= most:
                raise SystemExit(f"{row['path']}: {key} {off:.4f} off, seeds {most:.4f} at most")


def main() -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for path, (start, settings) in PATHS.items():
            rows.append({"path": path, **train_path(start, settings, sys.argv[1], folder)})
            print(json.dumps(rows[-1]), flush=True)
    measure.save("fingerprint", rows)
    check_paths(rows)


if __name__ == "__main__":
    main()
