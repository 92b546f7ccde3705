"""Pack the predictions of a run into one small file, and unpack it; the model is not included.

    python results/published.py pack 9 runs/bank_s0 runs/bank_s1 ...   # fold 9 -> results/runs/
    python results/published.py unpack data/ptbxl build/published      # all of them -> run folders

A logit is stored to 1/500 (16 bits), the tables that ``evaluate`` wrote in addition to the scores
to five digits. A file has the predictions of the model by ``ecg_id``, scores and counts, and no
data of PTB-XL: the labels come from the data set's own tables when it is unpacked. Paths of the
machine that trained are left out.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.datasets import ptbxl

RUNS = Path(__file__).parent / "runs"
STEPS = 500  # of a logit
DIGITS = 5  # of a score in a table
FILES = ("about.json", "metrics.json", "findings.csv")
# Scores and counts alone, no report and no label; a run has those that apply to its model.
TABLES = ("held_out.json", "languages.json", "leads.json", "retrieval.json", "entailment.json")


def public_settings(run: Path) -> config.TrainConfig:
    """Return the settings of a run with paths below ``data/``, not those of the machine."""
    settings: config.TrainConfig = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.run.root, settings.data.cache_dir = "runs", None
    for source in (settings.data, *settings.data.sources):
        if source.root:
            source.root = f"data/{Path(source.root).name}"
        if source.table:
            source.table = Path("data", *Path(source.table).parts[-2:]).as_posix()
    if settings.ecg.weights:
        settings.ecg.weights = Path(settings.ecg.weights).name
    if settings.init:
        settings.init = Path(settings.init).name
    return settings


def pack(run: Path, fold: int, out: Path) -> None:
    """Write ``evaluate/fold<n>/`` and ``config.yaml`` of a run to one file.

    Of a run of several data sets, the scores on the records of ``ptbxl``.
    """
    settings = public_settings(run)
    source = "-ptbxl" if settings.data.sources else ""
    folder = run / "evaluate" / f"fold{fold}{source}"
    table = pd.read_parquet(folder / "predictions.parquet")
    codes = [c.removeprefix("true/") for c in table if c.startswith("true/")]
    y_prob = table[[f"probability/{code}" for code in codes]].to_numpy()
    rounded = np.round(STEPS * logit(np.clip(y_prob, 1e-20, 1 - 1e-16)))
    arrays = {
        "ecg_id": table["ecg_id"].to_numpy(np.int32),
        "logits": np.clip(rounded, -32767, 32767).astype(np.int16).T.copy(),
        "codes": np.array(codes),
        "fold": np.array(fold),
        "config.yaml": _bytes(to_yaml(settings)),
    }
    arrays |= {name: _bytes((folder / name).read_text()) for name in FILES}
    for path in (folder / name for name in TABLES):
        if path.exists():
            rows = few_digits(json.loads(path.read_text(encoding="utf-8")))
            arrays[path.name] = _bytes(json.dumps(rows, ensure_ascii=False, separators=(",", ":")))
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{run.name}.npz").write_bytes(memory.getvalue())


def unpack(path: Path, data_root: str | Path, out: Path) -> Path:
    """Write the run folder as ``evaluate`` left it; return its path.

    It differs by the rounding, and lacks the report and the tables' CSV.

    Raises
    ------
    ValueError
        If the data set lacks one of the records or findings.
    """
    with np.load(path, allow_pickle=False) as stored:
        codes, fold = stored["codes"].tolist(), int(stored["fold"])
        y_prob = expit(stored["logits"].T.astype(np.float64) / STEPS)
        y_true = labels(data_root, tuple(codes), stored["ecg_id"])
        folder = out / path.stem / "evaluate" / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"ecg_id": stored["ecg_id"], "strat_fold": np.full(len(y_prob), fold)}
        columns |= {f"probability/{code}": y_prob[:, i] for i, code in enumerate(codes)}
        columns |= {f"true/{code}": y_true[:, i] for i, code in enumerate(codes)}
        pd.DataFrame(columns).to_parquet(folder / "predictions.parquet")
        (out / path.stem / "config.yaml").write_bytes(stored["config.yaml"].tobytes())
        for name in (*FILES, *(name for name in TABLES if name in stored)):
            (folder / name).write_bytes(stored[name].tobytes())
    return out / path.stem


def labels(data_root: str | Path, codes: tuple[str, ...], ecg_id: np.ndarray) -> np.ndarray:
    """Return the labels of records in PTB-XL's own tables, (n_records, n_findings) bool.

    Parameters
    ----------
    data_root : path
    codes : tuple of str
        Findings of the run: all of the data set, or fewer if some were held out.
    ecg_id : ndarray of shape (n_records,), int

    Raises
    ------
    ValueError
        If the data set lacks one of the records or findings.
    """
    data = ptbxl.load_ptbxl(data_root, task="all", signals=False)
    row_of = {int(number): row for row, number in enumerate(data.ecg_id)}
    missing = [int(number) for number in ecg_id if int(number) not in row_of]
    if missing:
        raise ValueError(f"{data_root}: lacks {len(missing)} of the {len(ecg_id)} records")
    if unknown := [code for code in codes if code not in data.codes]:
        raise ValueError(f"{data_root}: lacks the findings {', '.join(unknown)}")
    rows = [row_of[int(number)] for number in ecg_id]
    return data.y_true[np.ix_(rows, [data.codes.index(code) for code in codes])]


def few_digits(value: Any) -> Any:
    """Return a value with its floats rounded to ``DIGITS`` digits after the point."""
    if isinstance(value, dict):
        return {key: few_digits(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [few_digits(inner) for inner in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def main() -> None:
    if len(sys.argv) >= 4 and sys.argv[1] == "pack" and sys.argv[2].isdigit():
        for run in map(Path, sys.argv[3:]):
            pack(run, int(sys.argv[2]), RUNS)
            print(f"packed {run.name}")
    elif len(sys.argv) == 4 and sys.argv[1] == "unpack":
        for path in sorted(RUNS.glob("*.npz")):
            print(f"unpacked {unpack(path, sys.argv[2], Path(sys.argv[3]))}")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
