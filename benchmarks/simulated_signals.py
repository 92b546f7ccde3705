"""Compare the signals of data sets in the layout of PTB-XL, for example real with simulated ones.

    python benchmarks/simulated_signals.py data/ptbxl data/pretrain ...

Prints a table with one row per measurement and one column per data set: the 5th, 50th and 95th
percentile over the records of folds 1 to 7 (at most 1,500 of them), at 100 Hz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import find_peaks

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.signal_checks import amplitude_mv

FS, MAX_RECORDS = 100, 1500
BANDS = ((0.1, 0.5), (0.5, 3), (3, 10), (10, 20), (20, 30), (30, 40), (40, 48))  # Hz
BEFORE, AFTER = 30, 50  # samples of a beat around its steepest part
LEAD = {name: i for i, name in enumerate(LEADS)}


def beats(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of the QRS complexes, and the median beat (12, 80) from its baseline."""
    slope = np.abs(signal[:, 2:] - signal[:, :-2]).sum(axis=0)
    energy = np.convolve(slope, np.ones(9) / 9, "same")
    height = 0.45 * np.quantile(energy, 0.98)
    peaks, _ = find_peaks(energy, height=height, distance=28)
    whole = [p for p in peaks if p >= BEFORE and p + AFTER < signal.shape[1]]
    if len(whole) < 2:
        return peaks, np.zeros((len(signal), BEFORE + AFTER))
    median = np.median([signal[:, p - BEFORE : p + AFTER] for p in whole], axis=0)
    return peaks, median - np.median(median[:, 19:23], axis=1, keepdims=True)


def measure(signal: np.ndarray) -> dict[str, float]:
    """Return the measurements of a record, (12, 1000), mV."""
    power = np.abs(np.fft.rfft(signal - signal.mean(axis=1, keepdims=True))) ** 2
    hz = np.fft.rfftfreq(signal.shape[1], 1 / FS)
    row = {}
    for low, high in BANDS:
        inside = power[:, (hz >= low) & (hz < high)].sum(axis=1) * 2 / signal.shape[1] ** 2
        row[f"{low:g}-{high:g} Hz, uV"] = 1000 * float(np.median(np.sqrt(inside)))
    peaks, beat = beats(signal)
    intervals = np.diff(peaks) / FS
    row["rate, /min"] = 60 / float(np.median(intervals)) if len(intervals) else np.nan
    row["RR variation, %"] = (
        100 * float(intervals.std() / intervals.mean()) if len(intervals) > 2 else np.nan
    )
    row["amplitude, mV"] = amplitude_mv(signal)
    qrs, t, p = beat[:, 22:42], beat[:, 52:74], beat[:, 4:20]
    for name in ("I", "II", "V1", "V3", "V6"):
        row[f"R in {name}, mV"] = float(qrs[LEAD[name]].max())
        row[f"S in {name}, mV"] = float(qrs[LEAD[name]].min())
    for name in ("II", "V2", "V5"):
        wave = t[LEAD[name]]
        row[f"T in {name}, mV"] = float(wave[np.abs(wave).argmax()])
        row[f"ST in {name}, mV"] = float(beat[LEAD[name], 41:44].mean())
    row["P in II, mV"] = float(p[LEAD["II"]].max())
    row["axis, degrees"] = float(np.degrees(np.arctan2(qrs[5].sum() * 2 / 3**0.5, qrs[0].sum())))
    # Width: time in which the QRS is steeper than a fifth of its steepest part.
    speed = np.sqrt((np.diff(beat[:, 16:50], axis=1) ** 2).sum(axis=0))
    steep = np.flatnonzero(speed > 0.2 * speed.max()) if speed.max() > 0 else np.zeros(1)
    row["QRS, ms"] = 10.0 * (steep[-1] - steep[0] + 1)
    # Beat-to-beat noise: what is left around the median beat.
    whole = [q for q in peaks if q >= BEFORE and q + AFTER < signal.shape[1]]
    if len(whole) > 2:
        stack = np.array([signal[:, q - BEFORE : q + AFTER] for q in whole])
        rest = np.diff(stack - np.median(stack, axis=0), axis=2)
        row["beat to beat, uV per sample"] = 1000 * float(np.median(np.abs(rest)) * 1.48)
    return row


def read(root: Path) -> list[np.ndarray]:
    """Return the signals (12, 1000), mV, of some records of folds 1 to 7."""
    table = pd.read_csv(root / "ptbxl_database.csv")
    table = table[table.strat_fold <= 7]
    files = table.filename_lr.sample(min(MAX_RECORDS, len(table)), random_state=0)
    return [np.fromfile(root / f"{file}.dat", "<i2").reshape(-1, 12).T / 1000.0 for file in files]


def main(roots: list[str]) -> None:
    """Print the table."""
    columns = {}
    for root in roots:
        rows = pd.DataFrame([measure(signal) for signal in read(Path(root))])
        low, middle, high = (rows.quantile(q) for q in (0.05, 0.5, 0.95))
        columns[root] = [
            f"{a:.3g} / {b:.3g} / {c:.3g}" for a, b, c in zip(low, middle, high, strict=True)
        ]
    print("| 5 / 50 / 95 % | " + " | ".join(Path(root).name for root in roots) + " |")
    print("|---" * (len(roots) + 1) + "|")
    for i, name in enumerate(rows.columns):
        print(f"| {name} | " + " | ".join(columns[root][i] for root in roots) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
