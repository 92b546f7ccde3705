"""Faults added to a clean ECG give warnings that name the leads; the clean ECG gives none."""

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, order_leads
from ecg_siglip.signals.preprocessing import resample
from ecg_siglip.signals.quality import quality_warnings

LEAD = {name: i for i, name in enumerate(LEADS)}


@pytest.fixture
def clean():
    """Return 10 s at 500 Hz with one beat per second and limb leads that fit Einthoven's law."""
    time = np.arange(5000) / 500
    beat = np.exp(-(((time % 1 - 0.4) / 0.02) ** 2)) + 0.3 * np.exp(
        -(((time % 1 - 0.7) / 0.06) ** 2)
    )
    one, two = 0.8 * beat, 1.1 * beat
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    chest = [size * beat for size in (-0.6, 0.4, 0.8, 1.3, 1.2, 0.9)]
    rng = np.random.default_rng(0)
    return np.array([*limbs, *chest]) + rng.normal(0, 1e-4, (12, 1)) + 1e-4 * np.sin(40 * time)


def test_a_clean_record_has_no_warning(clean):
    assert quality_warnings(clean, 500) == []
    assert quality_warnings(resample(clean.astype(np.float32), 500, 100), 100) == []


@pytest.mark.parametrize(
    ("lead", "fault", "warning"),
    [
        ("V3", lambda x: x + np.random.default_rng(1).normal(0, 0.2, x.shape), "noise in V3"),
        ("V6", lambda x: x + np.linspace(0, 3, x.size), "a moving baseline in V6 (2.7 mV)"),
        ("V1", lambda x: np.where(np.arange(x.size) < 400, 0, x), "V1 does not move for 0.8 s"),
        ("V4", lambda x: np.clip(4 * x, None, 2.5), "lead V4 is cut off at 2.5 mV"),
        ("III", lambda x: x + 0.5 * np.sin(np.arange(x.size) / 100), "I + III is not II"),
    ],
)
def test_a_fault_is_named_with_its_lead(clean, lead, fault, warning):
    clean[LEAD[lead]] = fault(clean[LEAD[lead]])
    warnings = quality_warnings(clean, 500)
    assert any(warning in sentence for sentence in warnings), warnings
    assert len(warnings) == 1, warnings


@pytest.mark.parametrize("fs", [100, 500, 1000])
def test_the_flat_top_of_a_broad_wave_does_not_count_as_clipped(fs):
    time = np.arange(10 * fs) / fs
    wave = 1.2 * np.exp(-(((time % 1 - 0.5) / 0.08) ** 2))
    signal = np.round(np.outer(np.linspace(0.6, 1.4, 12), wave) / 0.00488) * 0.00488
    assert not any("cut off" in sentence for sentence in quality_warnings(signal, fs))


def test_noise_in_the_last_second_is_noise(clean):
    clean[LEAD["V3"], -475:] += np.random.default_rng(0).normal(0, 0.5, 475)
    assert any("noise in V3" in sentence for sentence in quality_warnings(clean, 500))


def test_exchanged_arms_are_suspected(clean):
    swapped = clean.copy()
    swapped[LEAD["I"]] *= -1
    swapped[[1, 2, 3, 4]] = clean[[2, 1, 4, 3]]
    assert quality_warnings(swapped, 500) == ["arm electrodes exchanged, or dextrocardia?"]


def test_a_lead_without_any_signal_is_flat(clean):
    clean[LEAD["V2"]] = 0.0
    assert quality_warnings(clean, 500) == ["lead V2 does not move for 10.0 s: a loose electrode?"]


def test_most_real_records_have_no_warning_and_most_exchanged_arms_have_one(shared_ptbxl):
    data = ptbxl.load_ptbxl(shared_ptbxl, signals=False)
    rows = data.fold(8)[:60]
    n_warned = n_false = n_detected = 0
    for row in rows:
        record = read_record(data.paths[row])
        signal = order_leads(record.signal, record.leads)
        n_warned += bool(quality_warnings(signal, record.fs))
        n_false += any("exchanged" in w for w in quality_warnings(signal, record.fs))
        signal[LEAD["I"]] *= -1
        signal[[1, 2, 3, 4]] = signal[[2, 1, 4, 3]]
        n_detected += any("exchanged" in w for w in quality_warnings(signal, record.fs))
    assert n_warned < 0.2 * len(rows)
    assert n_false <= 1
    assert n_detected > 0.8 * len(rows)


def test_short_records_are_checked(clean):
    assert quality_warnings(clean[:, 150:800], 500) == []
