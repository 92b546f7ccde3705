"""The same ECG in several places is found by its signal."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from ecg_siglip.config import WaveformConfig
from ecg_siglip.datasets import duplicates, ptbxl
from ecg_siglip.datasets.duplicates import find_duplicates
from tests.helpers import SHARED


def _different(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 300, (n, 12, 500)).astype(np.int16)


def test_copies_are_pairs_with_the_first():
    signals = _different(2100)
    signals[7] = signals[2050] = signals[3]
    assert find_duplicates(signals) == [(3, 7), (3, 2050)]


def test_copies_among_many_records_without_comparing_all_pairs(monkeypatch):
    """Of 100,000 ECGs, 500 are a changed copy of another."""
    rng = np.random.default_rng(0)
    sketches = rng.normal(size=(100_000, duplicates.N_SKETCH)).astype(np.float32)
    first, later = np.arange(500), np.arange(90_000, 90_500)
    sketches[later] = sketches[first] + 0.4 * rng.normal(size=(500, duplicates.N_SKETCH))
    sketches /= np.linalg.norm(sketches, axis=1, keepdims=True)
    n_compared = 0
    similar = duplicates._similar

    def counted(some, rows, others):
        nonlocal n_compared
        n_compared += len(rows) * len(others)
        return similar(some, rows, others)

    monkeypatch.setattr(duplicates, "_similar", counted)
    monkeypatch.setattr(
        duplicates, "_correlation", lambda signals, i, j: float(i - j == 90_000) - 0.01
    )
    found = find_duplicates(np.empty((100_000, 1, 1), np.int16), sketches=sketches)
    assert {*found} <= {*zip(first.tolist(), later.tolist(), strict=True)}
    assert len(found) > 490
    assert n_compared < 0.5 * 100_000**2


def test_many_copies_of_one_ecg(monkeypatch):
    monkeypatch.setattr(duplicates, "N_EXACT", 1000)
    signals = _different(3000)
    signals[5::3] = signals[2]
    assert find_duplicates(signals) == [(2, i) for i in range(5, 3000, 3)]


def test_scale_offset_and_a_flat_lead_do_not_matter():
    signals = _different(4)
    signals[2] = signals[0] // 2 + 100
    signals[2, 5] = 0
    assert find_duplicates(signals) == [(0, 2)]


def test_flat_records_are_no_copies():
    assert find_duplicates(np.zeros((3, 12, 500), np.int16)) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real ECGs in {SHARED}")
def test_real_ecgs_that_were_filtered_and_scaled_per_lead(tmp_path):
    waveform = ptbxl.waveform_spec(WaveformConfig())
    data = ptbxl.load_ptbxl(
        SHARED / "ptbxl_more", waveform=waveform, cache_dir=tmp_path, progress=False
    )
    original = np.asarray(data.signals)
    sos = butter(3, [0.5, 40], "bandpass", fs=100, output="sos")
    changed = sosfiltfilt(sos, original.astype(float), axis=2)
    changed = (300 * changed / changed.std(axis=2, keepdims=True)).astype(np.int16)
    pairs = find_duplicates(np.concatenate([original, changed]))
    n = len(original)
    assert all(later - first == n for first, later in pairs)  # no two of them are the same ECG
    assert len(pairs) > 0.9 * n
