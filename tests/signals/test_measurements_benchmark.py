"""The benchmark of measurements compares them with annotations and devices as they are stated."""

import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecg_siglip.signals.leads import LEADS

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import measurements as benchmark


def test_annotated_waves_give_the_intervals_of_each_beat():
    marks = [(100, "("), (120, "p"), (140, ")"), (180, "("), (200, "N"), (220, ")")]
    marks += [(300, "("), (340, "t"), (380, ")")]
    marks += [(480, "("), (500, "N"), (530, ")"), (600, "t"), (660, ")")]  # T without an onset
    samples, symbols = zip(*marks, strict=True)
    found = benchmark.annotated_values(np.array(samples), symbols, 500.0)
    assert found == {"pr": [160.0], "qrs": [80.0, 100.0], "qt": [400.0]}


def test_a_record_in_the_layout_of_ludb_is_compared(tmp_path):
    times = np.arange(5000) / 500
    phase = (times + 0.5) % 1.0 - 0.5  # of beats at each whole second
    wave = np.maximum(1 - np.abs(phase) / 0.05, 0)
    wave += 0.15 * np.exp(-0.5 * ((phase + 0.16) / 0.02) ** 2)
    wave += 0.3 * np.exp(-0.5 * ((phase - 0.3) / 0.04) ** 2)
    sizes = np.array([0.6, 1.0, 0.4, -0.8, 0.1, 0.7, -0.5, 0.5, 0.8, 1.2, 1.0, 0.8])
    wfdb.wrsamp(
        "1", 500, ["mV"] * 12, [lead.lower() for lead in LEADS],
        p_signal=wave[:, None] * sizes, fmt=["16"] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    beats = np.arange(500, 4500, 500)
    offsets = [(-100, "("), (-80, "p"), (-50, ")"), (-25, "("), (0, "N"), (25, ")")]
    offsets += [(100, "("), (150, "t"), (190, ")")]
    samples = np.concatenate([beats + offset for offset, _ in offsets])
    symbols = np.repeat([symbol for _, symbol in offsets], len(beats))
    order = np.argsort(samples, kind="stable")
    wfdb.wrann("1", "ii", samples[order], list(symbols[order]), write_dir=str(tmp_path))
    rows = {row["measurement"]: row["difference"] for row in benchmark.ludb(tmp_path)}
    assert rows == pytest.approx({"pr": 0, "qrs": 0, "qt": 0}, abs=20)
