"""A run's answers in one small file, and back: what a table needs, not the model.

    python results/published.py pack 9 runs/bank_s0 runs/bank_s1 ...   # fold 9 -> results/runs/
    python results/published.py unpack build/published                 # all of them -> run folders

A logit is kept to 1/500 (16 bits); paths of the machine that trained are left out.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ecg_siglip import config

RUNS = Path(__file__).parent / "runs"
STEPS = 500  # of a logit
FILES = ("about.json", "metrics.json", "findings.csv")


def pack(run: Path, fold: int, out: Path) -> None:
    """``evaluate/fold<n>/`` and ``config.yaml`` of a run as one file."""
    settings = config.from_yaml(config.TrainConfig, run / "config.yaml")
    settings.run.root, settings.data.root, settings.data.cache_dir = "runs", "data/ptbxl", None
    folder = run / "evaluate" / f"fold{fold}"
    table = pd.read_parquet(folder / "predictions.parquet")
    codes = [c.removeprefix("true/") for c in table if c.startswith("true/")]
    y_prob = table[[f"probability/{code}" for code in codes]].to_numpy()
    rounded = np.round(STEPS * logit(np.clip(y_prob, 1e-20, 1 - 1e-16)))
    arrays = {
        "ecg_id": table["ecg_id"].to_numpy(np.int32),
        "logits": np.clip(rounded, -32767, 32767).astype(np.int16).T.copy(),
        "y_true": np.packbits(table[[f"true/{code}" for code in codes]].to_numpy(bool)),
        "codes": np.array(codes),
        "fold": np.array(fold),
        "config.yaml": _bytes(config.to_yaml(settings)),
    }
    arrays |= {name: _bytes((folder / name).read_text()) for name in FILES}
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{run.name}.npz").write_bytes(memory.getvalue())


def unpack(path: Path, out: Path) -> Path:
    """The run folder again, as ``evaluate`` left it but for the rounding and the report."""
    with np.load(path, allow_pickle=False) as stored:
        codes, fold = stored["codes"].tolist(), int(stored["fold"])
        y_prob = expit(stored["logits"].T.astype(np.float64) / STEPS)
        y_true = np.unpackbits(stored["y_true"], count=y_prob.size).reshape(y_prob.shape) > 0
        folder = out / path.stem / "evaluate" / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"ecg_id": stored["ecg_id"], "strat_fold": np.full(len(y_prob), fold)}
        columns |= {f"probability/{code}": y_prob[:, i] for i, code in enumerate(codes)}
        columns |= {f"true/{code}": y_true[:, i] for i, code in enumerate(codes)}
        pd.DataFrame(columns).to_parquet(folder / "predictions.parquet")
        (out / path.stem / "config.yaml").write_bytes(stored["config.yaml"].tobytes())
        for name in FILES:
            (folder / name).write_bytes(stored[name].tobytes())
    json.loads((folder / "about.json").read_text())
    return out / path.stem


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def main() -> None:
    if len(sys.argv) >= 4 and sys.argv[1] == "pack" and sys.argv[2].isdigit():
        for run in map(Path, sys.argv[3:]):
            pack(run, int(sys.argv[2]), RUNS)
            print(f"packed {run.name}")
    elif len(sys.argv) == 3 and sys.argv[1] == "unpack":
        for path in sorted(RUNS.glob("*.npz")):
            print(f"unpacked {unpack(path, Path(sys.argv[2]))}")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
