"""Helpers of several tests: the path of real ECGs, small configurations, small ECGs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wfdb

from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.signals.leads import LEADS, LEADS_FROM_ELECTRODES

SHARED = Path(__file__).resolve().parents[2] / "shared"
FS = 100

TINY = {
    "ecg.width": 8,
    "ecg.depths": [1, 1],
    "ecg.stem_stride": 4,
    "text.width": 16,
    "text.depth": 1,
    "text.n_heads": 2,
    "text.vocab_size": 300,
    "embed_dim": 16,
    "optim.n_epochs": 2,
    "optim.batch_size": 32,
    "augment.mixup": 0.0,
}


def configured(schema: type, settings: dict[str, object]):
    """Make a configuration from dotted settings, as the command line does."""
    from omegaconf import OmegaConf

    base = OmegaConf.structured(schema)
    for name, value in settings.items():
        OmegaConf.update(base, name, value)
    return OmegaConf.to_object(base)


def export_onnx(run: Path, folder: Path, **settings: object) -> Path:
    """Export the model of a run to `folder/deep/model.onnx`."""
    from ecg_siglip.config import ExportConfig
    from ecg_siglip.export import export

    out = folder / "deep" / "model.onnx"
    base = {"run.name": run.name, "run.root": str(run.parent), "out": str(out)}
    export(configured(ExportConfig, base | settings))
    return out


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Change `config.json` of a saved model, as if it had been saved so; return its content."""
    from ecg_siglip.models.model_files import SEAL, write_config

    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in SEAL}
    change(content)
    write_config(folder, content)
    return content


def as_earlier(folder: Path) -> None:
    """Remove format and hashes from a saved model: one of an earlier version has none."""
    from ecg_siglip.models.model_files import SEAL

    for path in [folder / "config.json", *folder.glob("member*/config.json")]:
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({k: v for k, v in content.items() if k not in SEAL}))


def first_findings(artifact: Any, n: int) -> Any:
    """Return a model of its first findings alone."""
    return replace(
        artifact,
        codes=artifact.codes[:n],
        prompts=artifact.prompts[:n],
        calibration=artifact.calibration[:n],
        thresholds={rule: values[:n] for rule, values in artifact.thresholds.items()},
        operating={rule: values[:n] for rule, values in artifact.operating.items()},
    )


def with_unknown(data: LabelledRecords, share: float = 0.3, seed: int = 0) -> LabelledRecords:
    """Return the data with a share of its labels unknown; with `share=0` all are known."""
    known = np.random.default_rng(seed).random(data.y_true.shape) >= share
    return replace(data, y_true=data.y_true & known, known=known)


def beats(n: int = 1000, fs: float = FS, seed: int = 0) -> np.ndarray:
    """Make twelve leads of narrow beats, 1 Hz, in mV, that obey the relations of limb leads."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / fs
    beat = np.exp(-(((t + 0.5) % 1 - 0.5) ** 2) / (2 * 0.02**2))
    electrodes = rng.uniform(-1.5, 1.5, (9, 1)) * beat + rng.normal(0, 0.02, (9, n))
    return (LEADS_FROM_ELECTRODES @ electrodes).astype(np.float32)


def limb_error(signal: np.ndarray) -> float:
    """Return the largest deviation from the relations of Einthoven and Goldberger."""
    i, ii, iii, avr, avl, avf = signal[..., :6, :].swapaxes(-1, -2).T
    return max(
        np.abs(iii - (ii - i)).max(), np.abs(avr + (i + ii) / 2).max(),
        np.abs(avl - (i - ii / 2)).max(), np.abs(avf - (ii - i / 2)).max(),
    )  # fmt: skip


def step_signal(n_samples=1000, fs=100):
    """Make a signal with a step of 1 mV at 5 s in lead II; the other leads are flat."""
    x = np.zeros((12, n_samples))
    x[1, 5 * fs :] = 1.0
    return x


def rewritten(path, folder, name="bad", **changed):
    """Write a copy of a WFDB record with some of its fields changed; return its path."""
    record = wfdb.rdrecord(str(path))
    fields = {"fs": record.fs, "units": record.units, "sig_name": record.sig_name}
    fields |= {"p_signal": record.p_signal, "fmt": record.fmt} | changed
    n_leads = fields["p_signal"].shape[1]
    for key in ("units", "sig_name", "fmt"):
        fields[key] = list(fields[key][:n_leads])
    wfdb.wrsamp(name, write_dir=str(folder), **fields)
    return folder / name


def ecg_uv(fs: float, duration_s: float) -> np.ndarray:
    """Make twelve leads of spikes at intervals of 1 s, (12, n_samples), int16."""
    t = np.arange(round(fs * duration_s)) / fs
    spike = np.exp(-((((t + 0.5) % 1) - 0.5) ** 2) / 2e-3)
    return np.rint(np.outer(np.linspace(400, 1500, 12), spike)).astype("<i2")


def write_challenge_record(
    folder: Path,
    name: str,
    comments: str = "#Age: 60\n#Sex: Male\n#Dx: 426783006\n",
    fs: float = 500,
    duration_s: float = 10.0,
    uv: np.ndarray | None = None,
    first: str | None = None,
) -> Path:
    """Write a record as in the challenges: a MATLAB 4 matrix `val` after 24 bytes of header."""
    folder.mkdir(parents=True, exist_ok=True)
    uv = ecg_uv(fs, duration_s) if uv is None else uv
    matrix = np.array([30, *uv.shape, 0, 4], "<i4").tobytes() + b"val\0"
    (folder / f"{name}.mat").write_bytes(matrix + uv.T.tobytes())
    lines = [f"{first or name} 12 {fs:g} {uv.shape[1]} 05-May-2020 14:50:55"]
    for lead, values in zip(LEADS, uv, strict=True):
        checksum = int(values.astype(np.int64).sum()).__and__(0xFFFF)
        checksum -= 0x10000 * (checksum >= 0x8000)
        lines.append(f"{name}.mat 16+24 1000/mV 16 0 {values[0]} {checksum} 0 {lead}")
    header = folder / f"{name}.hea"
    header.write_text("\n".join(lines) + "\n" + comments)
    return header


def write_ptbxl_record(path: Path, digital: np.ndarray) -> None:
    """Write samples (12, n_samples), uV, as a WFDB record in the form of PTB-XL's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digital = digital.astype("<i2")
    lines = [f"{path.name} 12 100 {digital.shape[1]}"]
    for lead, row in zip(map(str.upper, LEADS), digital, strict=True):
        checksum = int(row.sum(dtype=np.int64)) % 65536
        lines.append(f"{path.name}.dat 16 1000.0(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    Path(f"{path}.hea").write_text("\n".join(lines) + "\n")
    Path(f"{path}.dat").write_bytes(digital.T.tobytes())


def write_ptbxl(root: Path) -> Path:
    """Write six records of noise with the amplitude of an ECG; ecg_ids with a gap, not sorted."""
    rng = np.random.default_rng(0)
    rows = []
    for number, ecg_id in enumerate([1, 2, 3, 7, 5, 6]):
        name = f"records100/00000/{ecg_id:05d}_lr"
        write_ptbxl_record(root / name, rng.integers(-900, 900, (12, 1000)))
        rows.append(
            {
                "ecg_id": ecg_id,
                "patient_id": 100.0 + number // 2,
                "report": "sinusrhythmus",
                "scp_codes": "{'NORM': 100.0, 'LVOLT': 0.0, 'SR': 0.0}",
                "strat_fold": 1 + number // 2,
                "filename_lr": name,
                "filename_hr": name.replace("100", "500").replace("_lr", "_hr"),
            }
        )
    pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
    (root / "scp_statements.csv").write_text(",description\n")
    return root
