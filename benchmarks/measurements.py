"""Errors of the measurements of an ECG: against simulated ECGs, PTB-XL and devices.

    python benchmarks/measurements.py DATA_ROOT [CASES] [--ludb LUDB]

DATA_ROOT is a PTB-XL with records at 100 Hz (its axes are compared), CASES a folder of files of any
format that state measurements of devices, LUDB the Lobachevsky University database (its annotations
are compared; it has not been tried, since it was not available).
"""

from __future__ import annotations

import argparse
import copy
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import measure
import numpy as np
import pandas as pd

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.measurements import UNITS, Measurements, measure_ecg
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.dataset import draw_heart, draw_realistic_heart
from ecg_siglip.simulation.electrode_noise import FS, at_electrodes, at_leads, draw_noise
from ecg_siglip.simulation.heart import Heart, twelve_leads
from ecg_siglip.simulation.recording import record
from ecg_siglip.simulation.rhythms import draw_strip, simulate_ecg
from ecg_siglip.simulation.true_measurements import TrueMeasurements, true_measurements

SEED, DURATION_S = 1234, 10.0
# Noise at each electrode, mV: baseline wander, mains hum, muscle potentials.
NOISE = {
    "none": (0.0, 0.0, 0.0),
    "slight": (0.05, 0.003, 0.01),
    "moderate": (0.1, 0.01, 0.03),
    "strong": (0.2, 0.03, 0.08),
}
RHYTHMS = {
    "atrial fibrillation": ("AFIB",),
    "atrial flutter": ("AFLT",),
    "complete AV block": ("3AVB",),
    "ventricular pacing": ("PACE",),
    "supraventricular tachycardia": ("SVTAC",),
    "ventricular bigeminy": ("SR", "PVC", "BIGU"),
    "left bundle branch block": ("SR", "CLBBB"),
    "preexcitation": ("SR", "WPW"),
    "sinus tachycardia": ("STACH",),
}
SHOWN = ("rate", "rr_sd", "pr", "qrs", "qt", "p_axis", "qrs_axis", "t_axis")
# Range of the axis by PTB-XL's classes, degrees.
AXIS = {"MID": (-30, 90), "LAD": (-90, 0), "ALAD": (-90, -30), "RAD": (90, 150), "ARAD": (90, 180)}
MARGIN = 10  # degrees
DEVICE = ("rate", "pr", "qrs", "qt", "p_axis", "qrs_axis", "t_axis")
Sample = tuple[np.ndarray, TrueMeasurements]


def of_heart(heart: Heart, noise: str, rng: np.random.Generator) -> Sample:
    """Simulate the ECG of a heart with a level of noise, or ``as recorded``."""
    strip = draw_strip(heart, DURATION_S, copy.deepcopy(rng))
    true = true_measurements(heart, strip)
    independent, _ = simulate_ecg(heart, FS, DURATION_S, rng)
    if noise == "as recorded":
        return record(independent, rng)[0], true
    electrodes = at_electrodes(independent)
    for kind, level in zip(("wander", "mains", "muscle"), NOISE[noise], strict=True):
        for electrode in electrodes:
            electrode += level * draw_noise(kind, len(electrode), FS, rng)
    return twelve_leads(at_leads(electrodes)), true


def people(n: int, noise: str) -> Iterator[Sample]:
    """Simulate people with the findings of PTB-XL; ``as recorded``: of difficulty=realistic."""
    for i in range(1, n + 1):
        who = (SEED, i, 30.0 + (7 * i) % 55, bool(i % 2))
        is_realistic = noise == "as recorded"
        _, heart, rng = draw_realistic_heart(*who, 0.3) if is_realistic else draw_heart(*who)
        yield of_heart(heart, noise, rng)


def with_rhythm(n: int, codes: tuple[str, ...]) -> Iterator[Sample]:
    """Simulate people with some findings and slight noise."""
    for i in range(n):
        rng = np.random.default_rng([SEED, i, zlib.crc32(",".join(codes).encode())])
        person = finding_rules.person(rng, 40.0 + i % 45, bool(i % 2))
        yield of_heart(finding_rules.with_findings(person, codes, rng), "slight", rng)


def difference(name: str, value: float, true: float) -> float:
    """Return value - true, of angles the smaller one of both directions."""
    change = value - true
    return (change + 180) % 360 - 180 if UNITS.get(name) == "degrees" else change


def errors(samples: Iterator[Sample], leads: tuple[str, ...] = LEADS) -> list[dict[str, object]]:
    """Measure samples; return a row per measurement."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    counts: Counter[tuple[str, str]] = Counter()
    rows = [LEADS.index(lead) for lead in leads]
    for signal, true in samples:
        measured = measure_ecg(signal[rows], FS, leads)
        for name in SHOWN:
            value = getattr(measured, name).value
            if name in true.values:
                counts[name, "true"] += 1
                counts[name, "missing"] += value is None
                if value is not None:
                    found[name].append(difference(name, value, true.values[name]))
            elif name in true.absent:
                counts[name, "absent"] += 1
                counts[name, "false"] += value is not None
        for name in ("r", "s", "st"):
            for row, lead in zip(rows, leads, strict=True):
                one = getattr(measured, name).get(lead)
                counts[name, "true"] += 1
                if one is None or one.value is None:
                    counts[name, "missing"] += 1
                else:
                    found[name].append(one.value - float(getattr(true, name)[row]))
    return [summary(name, found[name], counts) for name in (*SHOWN, "r", "s", "st")]


def summary(name: str, found: list[float], counts: Counter[tuple[str, str]]) -> dict[str, object]:
    """Return the row of a measurement: bias, median and 90th percentile of the absolute error."""
    size = np.abs(found)
    figures = [np.median(found), *np.percentile(size, [50, 90])] if found else [None] * 3
    digits = 3 if name in ("r", "s", "st") else 1
    rounded = [None if each is None else round(float(each), digits) for each in figures]
    return {
        "measurement": name,
        "unit": UNITS.get(name, "mV"),
        **dict(zip(("bias", "median_error", "error_90"), rounded, strict=True)),
        **{key: counts[name, key] for key in ("true", "missing", "absent", "false")},
    }


def ptbxl_axes(root: Path, n: int) -> list[dict[str, object]]:
    """Compare the axis with the column ``heart_axis`` of PTB-XL, folds 1-8."""
    table = pd.read_csv(root / "ptbxl_database.csv", index_col="ecg_id")
    table = table[(table["strat_fold"] <= 8) & table["heart_axis"].isin(list(AXIS))]
    table = table.sample(min(n, len(table)), random_state=0)
    axes: defaultdict[str, list[float]] = defaultdict(list)
    for name, label in zip(table["filename_lr"], table["heart_axis"], strict=True):
        one = read_record(root / name)
        axis = measure_ecg(one.signal, one.fs, one.leads).qrs_axis.value
        axes[str(label)].append(np.nan if axis is None else axis)
    rows: list[dict[str, object]] = []
    for label, (low, high) in AXIS.items():
        values = np.array(axes[label])
        known = values[np.isfinite(values)]
        inside = (known >= low - MARGIN) & (known <= high + MARGIN)
        quartiles = np.percentile(known, [25, 50, 75]).round() if len(known) else []
        rows.append(
            {
                "heart_axis": label,
                "range": [low, high],
                "n": len(values),
                "not_measurable": len(values) - len(known),
                "inside": round(float(inside.mean()), 3) if len(known) else None,
                "quartiles": [float(each) for each in quartiles],
            }
        )
    return rows


def devices(folder: Path) -> list[dict[str, object]]:
    """Compare the measurements with those of devices that the files of a folder state."""
    rows: list[dict[str, object]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            one = read_record(path)
        except ValueError:
            continue
        stated = {each.name: each.value for each in one.device.measurements}
        if "rr" in stated:
            stated.setdefault("rate", 60_000 / stated["rr"])
        if not stated:
            continue
        measured: Measurements = measure_ecg(one.signal, one.fs, one.leads)
        for name in DEVICE:
            if name in stated:
                ours = getattr(measured, name)
                row = {"file": path.name, "measurement": name, "device": round(stated[name], 1)}
                value = None if ours.value is None else round(ours.value, 1)
                rows.append(row | {"ours": value, "reason": ours.reason})
    return rows


def annotated_values(
    samples: np.ndarray, symbols: Sequence[str], fs: float
) -> dict[str, list[float]]:
    """Return the intervals of each annotated beat, as in LUDB: ``(``, ``p``, ``)``, ``N``, ``t``.

    Parameters
    ----------
    samples : ndarray of int64
        Times of the annotations of one lead, in order, as of ``wfdb.rdann``.
    symbols : sequence of str
        Their symbols: ``(`` and ``)`` are onset and end of the wave between them.
    fs : float, Hz

    Returns
    -------
    dict of str to list of float, ms
        ``pr``, ``qrs`` and ``qt``. A wave without onset or end, or in another order, is left out.
    """
    waves: list[tuple[str, float, float]] = []
    for i in range(1, len(symbols) - 1):
        if symbols[i - 1] == "(" and symbols[i + 1] == ")":
            waves.append((symbols[i], float(samples[i - 1]), float(samples[i + 1])))
    found: dict[str, list[float]] = {"pr": [], "qrs": [], "qt": []}
    for i, (symbol, onset, end) in enumerate(waves):
        if symbol != "N":
            continue
        found["qrs"].append(1000 * (end - onset) / fs)
        if i and waves[i - 1][0] == "p":
            found["pr"].append(1000 * (onset - waves[i - 1][1]) / fs)
        if i + 1 < len(waves) and waves[i + 1][0] == "t":
            found["qt"].append(1000 * (waves[i + 1][2] - onset) / fs)
    return found


def ludb(folder: Path) -> list[dict[str, object]]:
    """Compare the intervals with the annotations of LUDB, medians over leads and beats."""
    import wfdb

    rows: list[dict[str, object]] = []
    for header in sorted(folder.rglob("*.hea")):
        one = read_record(header)
        measured = measure_ecg(one.signal, one.fs, one.leads)
        stated: defaultdict[str, list[float]] = defaultdict(list)
        for lead in LEADS:
            path = header.with_suffix(f".{lead.lower()}")
            if path.exists():
                marks = wfdb.rdann(str(header.with_suffix("")), lead.lower())
                for name, values in annotated_values(marks.sample, marks.symbol, one.fs).items():
                    stated[name] += values
        for name, values in stated.items():
            ours = getattr(measured, name).value
            if values and ours is not None:
                rows.append({"measurement": name, "difference": ours - float(np.median(values))})
    return rows


def show(title: str, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Print a table; return its rows with the title."""
    print(f"\n{title}\n{pd.DataFrame(rows).to_string(index=False)}", flush=True)
    return [{"table": title, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="PTB-XL with records at 100 Hz")
    parser.add_argument("cases", type=Path, nargs="?", help="folder with files of devices")
    parser.add_argument("--ludb", type=Path, help="folder of LUDB")
    parser.add_argument("-n", type=int, default=200, help="simulated records per table")
    arguments = parser.parse_args()
    n = arguments.n
    rows: list[dict[str, object]] = []
    start = time.perf_counter()
    for noise in (*NOISE, "as recorded"):
        rows += show(f"noise: {noise}", errors(people(n, noise)))
    n_records = (len(NOISE) + 1) * n
    print(f"{1000 * (time.perf_counter() - start) / n_records:.0f} ms per record, simulated, too")
    for leads in (("I",), ("II",), ("I", "II"), ("I", "II", "V2")):
        rows += show(f"leads: {', '.join(leads)}", errors(people(n // 2, "slight"), leads))
    for rhythm, codes in RHYTHMS.items():
        rows += show(f"rhythm: {rhythm}", errors(with_rhythm(n // 4, codes)))
    rows += show("axis in PTB-XL, folds 1-8", ptbxl_axes(arguments.root, 5 * n))
    if arguments.cases:
        rows += show("devices", devices(arguments.cases))
    if arguments.ludb:
        differences = pd.DataFrame(ludb(arguments.ludb)).groupby("measurement")["difference"]
        table = differences.describe().reset_index().to_dict("records")
        rows += show("LUDB", [{str(key): value for key, value in row.items()} for row in table])
    measure.save("measurements", rows)


if __name__ == "__main__":
    main()
