"""Faults added to a clean ECG give warnings that name the leads; the clean ECG gives none."""

import re
from collections import Counter

import numpy as np
import pytest
from helpers import SHARED

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals import quality
from ecg_siglip.signals.leads import LEADS, order_leads
from ecg_siglip.signals.quality import quality_warnings
from ecg_siglip.signals.resampling import resample

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


def offset(lead, mv):
    return np.where(np.array(LEADS) == lead, mv, 0.0)[:, None]


def test_an_offset_above_a_millivolt_is_named_once(clean):
    signal = clean + offset("V1", 1.5) + offset("V2", -300.0)
    expected = "baseline of V1, V2 off zero (300 mV): an electrode offset"
    assert quality_warnings(signal, 500) == [expected]
    assert quality_warnings(signal, 500, offset_removed=True) == [f"{expected}, taken off"]
    assert quality_warnings(clean + offset("V1", 0.9), 500) == []


@pytest.mark.parametrize("fs", [128, 250, 500, 1000])
@pytest.mark.parametrize("hz", [50, 60])
def test_mains_hum_is_named_with_its_frequency(clean, fs, hz):
    signal = resample(clean.astype(np.float32), 500, fs)
    hum = np.sin(2 * np.pi * hz * np.arange(signal.shape[1]) / fs)
    signal[LEAD["V3"]] += 0.12 * hum
    warnings = quality_warnings(signal, fs)
    assert f"mains hum of {hz} Hz in V3 (0.12 mV)" in warnings
    signal[LEAD["V3"]] -= 0.065 * hum
    assert f"mains hum of {hz} Hz in V3 (0.055 mV)" in quality_warnings(signal, fs)
    signal[:] = 0.3 * hum * np.linspace(0.5, 1.5, 12)[:, None]
    (warning,) = quality_warnings(signal, fs)
    assert warning.startswith(f"hardly more than mains hum of {hz} Hz (0.45 mV)")
    (warning,) = quality_warnings(signal / 10, fs)  # too weak to be named next to an ECG
    assert warning.startswith(f"hardly more than mains hum of {hz} Hz (0.045 mV)")


@pytest.mark.parametrize(("fs", "hz"), [(100, 60), (100, 50)])
def test_hum_above_half_of_the_sampling_rate_is_named(clean, fs, hz):
    signal = resample(clean.astype(np.float32), 500, fs)
    signal = signal + 0.3 * np.cos(2 * np.pi * hz * np.arange(1000) / fs)
    assert any(f"mains hum of {hz} Hz" in sentence for sentence in quality_warnings(signal, fs))


@pytest.mark.parametrize("fs", [50.0, 51.2, 60.0, 62.5, 64.0, 80.0, 125.0])
def test_a_clean_record_has_no_hum_at_any_sampling_rate(clean, fs):
    signal = resample(clean.astype(np.float32), 500, fs)
    signal = signal + np.float32(0.5) * np.sin(2 * np.pi * 0.2 * np.arange(signal.shape[1]) / fs)
    assert not any("mains" in sentence for sentence in quality_warnings(signal, fs))


def test_a_spike_is_no_hum(clean):
    clean[LEAD["V3"], 2000] += 40
    assert not any("mains" in sentence for sentence in quality_warnings(clean, 500))


@pytest.mark.parametrize("at", ["beginning", "end"])
@pytest.mark.parametrize("level", [0.0, 0.7])
def test_padding_is_named_once(clean, at, level):
    rows = slice(0, 1000) if at == "beginning" else slice(4000, 5000)
    clean[:, rows] = level
    assert quality_warnings(clean, 500) == [f"no lead has a signal at the {at} (2.0 s): padded?"]


def test_the_shared_padded_record_has_one_warning():
    path = SHARED / "cases" / "wfdb" / "zeropad"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("needs cases/ in a folder `shared` next to the checkout")
    record = read_record(path)
    (warning,) = quality_warnings(order_leads(record.signal, record.leads), record.fs)
    assert warning == "no lead has a signal at the end (2.0 s): padded?"


def test_a_gap_in_all_leads_is_named_once(clean):
    clean[:, 2000:2600] = 0.1
    assert quality_warnings(clean, 500) == ["no lead moves for 1.2 s: a gap in the recording?"]


def test_leads_with_the_same_fault_share_a_sentence(clean):
    clean[[LEAD["V1"], LEAD["V4"]], 1000:1500] = 0.2
    warnings = quality_warnings(clean, 500)
    assert "V1, V4 do not move for 1.0 s or less: loose electrodes?" in warnings
    clean[[LEAD["V2"], LEAD["V5"]]] = np.clip(30 * clean[[LEAD["V2"], LEAD["V5"]]], None, 2.5)
    assert any("V2, V5 are cut off at 2.5 mV" in w for w in quality_warnings(clean, 500))


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("size_mv", [1.0, -1.0, 0.42, -0.42])
def test_a_calibration_pulse_is_named(clean, fs, derived, size_mv):
    pulse = np.zeros(5000)
    pulse[100:200] = size_mv
    signal = clean.copy()
    signal[:, :250] = 0.0
    # A device that computes III and the augmented leads from I and II computes the pulse, too.
    signal += np.array([1, 1, 0, -1, 0.5, 0.5, *[1] * 6] if derived else [1] * 12)[:, None] * pulse
    warnings = quality_warnings(resample(signal.astype(np.float32), 500, fs), fs)
    named = f"a calibration pulse ({abs(size_mv):.1f} mV, 0.2 s after"
    assert any(named in w for w in warnings), warnings


@pytest.mark.parametrize("flat", [50, 150])
@pytest.mark.parametrize("at_end", [False, True])
def test_a_calibration_pulse_next_to_a_flat_baseline_is_named(clean, flat, at_end):
    signal = clean[:, ::-1].copy() if at_end else clean.copy()
    signal[:, :300] = 0.0
    signal[:, flat : flat + 100] = 1.0
    warnings = quality_warnings(signal[:, ::-1] if at_end else signal, 500)
    assert any("a calibration pulse (1.0 mV" in warning for warning in warnings), warnings
    assert not any("cut off" in warning for warning in warnings)


def test_spikes_beyond_the_range_are_named(clean):
    clean[LEAD["V3"], 2000] = 45.0
    warnings = quality_warnings(clean, 500)
    assert any(w.startswith("spikes in V3 (4") and "removed beyond 32.8 mV" in w for w in warnings)


def test_gaps_are_interpolated_and_named(clean):
    clean[LEAD["V3"], 2000:2040] = np.nan
    assert quality_warnings(clean, 500) == ["gaps in V3 interpolated (0.8 % of the samples)"]


def test_false_alarms_on_real_records_are_rare(shared_ptbxl):
    data = ptbxl.load_ptbxl(shared_ptbxl, signals=False)
    counts: Counter[str] = Counter()
    rows = data.fold(8)[::2]
    for row in rows:
        record = read_record(data.paths[row])
        signal = order_leads(record.signal, record.leads)
        counts.update(re.sub(r" \(.*", "", w) for w in quality_warnings(signal, record.fs))
    rare = {w: n for w, n in counts.items() if not re.match("noise|a moving baseline", w)}
    assert max(rare.values(), default=0) <= 0.01 * len(rows) + 1, rare
    assert sum(rare.values()) <= 0.03 * len(rows), rare


def test_short_records_are_checked(clean):
    assert quality_warnings(clean[:, 150:800], 500) == []


def test_shortcuts_decide_as_the_definitions(clean):
    signal = resample(clean, 500, 100).astype(np.float64)
    rng = np.random.default_rng(0)
    # Steps up and down in turn have second differences of one size: their median is their mean.
    # With a step left out now and then, their median is above their mean.
    teeth = np.tile([1.0, -1.0], signal.shape[1] // 2) * (np.arange(signal.shape[1]) % 100 < 70)
    noises = [scale * rng.normal(size=signal.shape) for scale in (0.01, 0.03, 0.1)]
    for noise in (*noises, *(scale * teeth[None] for scale in (0.012, 0.018, 0.022))):
        noisy = (0.01 * signal if noise.shape[0] == 1 else signal) + noise
        noisy[rng.random(12) < 0.5] *= 0.1
        second_difference = np.abs(np.diff(quality._seconds(noisy), n=2, axis=2))
        noise_mv = (1.4826 * np.median(second_difference, axis=2) / np.sqrt(6)).max(axis=1)
        is_noisy = noise_mv > quality.NOISE_MV
        np.testing.assert_array_equal(quality._noise_mv(noisy) > quality.NOISE_MV, is_noisy)
        np.testing.assert_allclose(quality._noise_mv(noisy)[is_noisy], noise_mv[is_noisy])
    moving = signal + rng.uniform(0, 4, (12, 1)) * np.linspace(0, 1, signal.shape[1])
    drift_mv = np.ptp(np.median(quality._seconds(moving), axis=2), axis=1)
    is_moving = drift_mv > quality.DRIFT_MV
    assert 0 < is_moving.sum() < 12
    np.testing.assert_array_equal(quality._drift_mv(moving) > quality.DRIFT_MV, is_moving)
    np.testing.assert_allclose(quality._drift_mv(moving)[is_moving], drift_mv[is_moving])


def test_a_run_is_found_where_the_longest_is_long_enough():
    flags = np.random.default_rng(0).random((200, 300)) < 0.9
    for n in (1, 2, 3, 7, 16, 49, 299, 301):
        expected = quality._longest_run(flags) >= n
        np.testing.assert_array_equal(quality._has_run(flags, n), expected)
