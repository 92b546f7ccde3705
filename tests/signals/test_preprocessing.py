"""Preprocessing gives the model's input in mV at its sampling rate, or refuses the record."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import beats as ecg
from helpers import limb_error

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, order_leads
from ecg_siglip.signals.preprocessing import (
    bandpass,
    fit_length,
    from_int16,
    prepare_signal,
    quantize,
    to_int16,
)
from ecg_siglip.signals.resampling import resample
from ecg_siglip.signals.signal_checks import check_signal

FS = 100


def prepare(signal: np.ndarray, fs: float = FS, leads: Any = LEADS, **settings: Any) -> np.ndarray:
    settings = {"to_fs": FS, "duration_s": 10.0, "record": "r7", **settings}
    return prepare_signal(signal, fs, leads, **settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_bad_sample_is_refused(bad: float):
    signal = ecg()
    signal[7, 123] = bad
    with pytest.raises(ValueError, match=r"record r7: .*NaN or infinity in lead V2 \(1 of 1000"):
        prepare(signal)


def test_few_bad_samples_are_interpolated_if_allowed():
    signal = ecg()
    signal[7, 123:126] = np.nan
    with pytest.raises(ValueError, match=r"; waveform.allow_gaps=true interpolates gaps of at"):
        prepare(signal)
    expected = signal.copy()
    expected[7, 123:126] = np.linspace(signal[7, 122], signal[7, 126], 5)[1:4]
    np.testing.assert_allclose(prepare(signal, allow_gaps=True), expected, atol=1e-3)
    signal[7, 100:200] = np.nan
    with pytest.raises(ValueError, match="^record r7: .* in lead V2 .*expected gaps of at most"):
        prepare(signal, allow_gaps=True)


@pytest.mark.parametrize("offset_mv", [0.3, 1.0, 10.0, 300.0])
def test_a_constant_offset_changes_nothing_with_a_high_pass(offset_mv: float):
    offsets = np.random.default_rng(0).uniform(-offset_mv, offset_mv, (12, 1))
    expected = prepare(ecg(), low_hz=0.5)
    shifted = prepare((ecg() + offsets).astype(np.float32), low_hz=0.5)
    np.testing.assert_allclose(shifted, expected, atol=0.002)
    kept = prepare(ecg() + np.float32(0.5))
    np.testing.assert_allclose(kept, ecg() + np.float32(0.5), atol=0.001)


def test_padding_and_an_offset_are_no_step_with_a_high_pass():
    signal = ecg() + np.float32(20)
    signal[:, 800:] = 0
    prepared = prepare(signal, low_hz=0.5)
    shorter = prepare(ecg()[:, :800], low_hz=0.5, duration_s=8.0)
    np.testing.assert_allclose(prepared[:, :750], shorter[:, :750], atol=0.05)
    assert np.abs(prepared[:, 850:]).max() < 0.1


def test_a_model_of_version_1_keeps_its_resampling():
    hum = np.tile(0.1 * np.sin(2 * np.pi * 50 * np.arange(5000) / 500 + 0.7), (12, 1))
    signal = (ecg(5000) + hum).astype(np.float32)
    from scipy.signal import resample_poly

    def resampled(version: int) -> np.ndarray:
        return prepare_signal(signal, 500, LEADS, to_fs=100, duration_s=10.0, version=version)

    expected = resample_poly(signal.astype(np.float64), 1, 5, axis=1, padtype="line")
    np.testing.assert_allclose(resampled(1), expected, atol=0.001)
    assert np.abs(resampled(2) - resampled(1)).max() > 0.02


@pytest.mark.parametrize("spike_mv", [40.0, 1000.0])
def test_a_spike_changes_nothing_around_it_with_a_high_pass(spike_mv: float):
    signal = ecg()
    signal[6, 500] = (signal[6, 499] + signal[6, 501]) / 2
    expected = prepare(signal, low_hz=0.5)
    signal[6, 500] = spike_mv
    np.testing.assert_allclose(prepare(signal, low_hz=0.5), expected, atol=0.002)


def test_infinite_samples_are_refused_without_another_warning(recwarn):
    signal = ecg()
    signal[2, 10:12] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity in lead III"):
        prepare(signal, low_hz=0.5)
    assert not recwarn.list


def test_spikes_are_clipped_and_longer_excesses_refused():
    signal = ecg()
    signal[6, 500] = 40.0
    assert prepare(signal)[6, 500] == np.float32(32.767)
    signal[6, 500:520] = 40.0
    with pytest.raises(ValueError, match="^record r7: lead V1 up to 40 mV, expected at most 32"):
        prepare(signal)


@pytest.mark.parametrize("level", [0.0, 1.7])
def test_flat_leads_are_refused_unless_allowed(level: float):
    signal = ecg()
    signal[[3, 9]] = level
    with pytest.raises(
        ValueError, match=r"record r7: flat leads aVR, V4.*waveform.allow_flat=true"
    ):
        prepare(signal)
    assert prepare(signal, allow_flat=True).shape == (12, 1000)
    with pytest.raises(ValueError, match=r"record r7: flat leads I, .*V6"):
        prepare(np.zeros((12, 1000), np.float32), allow_flat=True)


@pytest.mark.parametrize("factor", [1000, 1 / 1000])
def test_wrong_units_are_refused(factor: float):
    with pytest.raises(ValueError, match=r"record r7: .*wrong units or gain"):
        prepare(ecg() * np.float32(factor))


def test_artefacts_do_not_count_as_wrong_units():
    """Five saturated leads and one spike are bad, but the units are right."""
    signal = ecg()
    signal[:5] *= 1000
    signal[8, 500] = 30.0
    check_signal(signal)


def test_every_real_ecg_is_plausible_and_none_is_with_wrong_units(
    shared_ptbxl: Path, shared_challenge: Path
):
    headers = sorted(shared_ptbxl.glob("records?00/*/*.hea"))[::40]
    headers += sorted(shared_challenge.glob("*/*.hea"))
    for header in headers:
        record = read_record(header)
        signal = order_leads(record.signal, record.leads, record.name)
        check_signal(signal, record.name)
        for factor in (1000, 1 / 1000):
            with pytest.raises(ValueError, match="wrong units or gain"):
                check_signal(signal * np.float32(factor), record.name)


@pytest.mark.parametrize("hz", [0.5, 5, 20, 40])
@pytest.mark.parametrize(("fs", "to_fs"), [(500, 100), (1000, 100), (257, 100), (100, 500)])
def test_a_sine_keeps_amplitude_and_phase(hz: float, fs: int, to_fs: int):
    def sine(n: int, rate: float) -> np.ndarray:
        return np.sin(2 * np.pi * hz * np.arange(n) / rate + 0.7, dtype=np.float32)[None]

    resampled = resample(sine(10 * fs, fs), fs, to_fs)
    assert resampled.shape == (1, 10 * to_fs)
    assert resampled.dtype == np.float32
    inner = slice(to_fs, -to_fs)
    np.testing.assert_allclose(resampled[:, inner], sine(10 * to_fs, to_fs)[:, inner], atol=0.01)


def test_resampling_does_not_alias():
    fast = np.sin(2 * np.pi * 70 * np.arange(5000) / 500)[None]
    assert np.abs(resample(fast, 500, 100)[:, 100:-100]).max() < 0.01


@pytest.mark.parametrize("fs", [125, 250, 257, 360, 500, 1000])
def test_mains_hum_at_half_of_the_sampling_rate_is_removed(fs: int):
    hum = np.sin(2 * np.pi * 50 * np.arange(10 * fs) / fs + 1)[None]
    assert np.abs(resample(hum, fs, 100)[:, 100:-100]).max() < 0.005


def test_an_odd_rate_needs_no_filter_of_gigabytes():
    resampled = resample(ecg(5000, 500), 499.973, FS)
    assert abs(resampled.shape[1] - 1000) <= 1
    np.testing.assert_allclose(resampled[:, :1000], resample(ecg(5000, 500), 500, FS), atol=0.1)


def test_resampling_does_not_ring_at_the_ends_of_an_offset_signal():
    drift = np.linspace(5.0, 6.0, 5000)[None]
    np.testing.assert_allclose(resample(drift, 500, 100)[0], drift[0, ::5], atol=0.001)


def test_limb_leads_stay_related():
    signal = prepare(ecg(5000, 500), 500, low_hz=0.5, high_hz=40)
    assert limb_error(signal) <= 0.0021  # two steps of 1 uV, by rounding alone


def test_filter_removes_other_frequencies_only():
    t = np.arange(1000) / FS
    inside, wander, mains = (np.sin(2 * np.pi * hz * t)[None] for hz in (8, 0.1, 48))
    filtered = bandpass(inside + wander + 2.0 + mains, FS, 0.5, 35)
    np.testing.assert_allclose(filtered[:, 100:-100], inside[:, 100:-100], atol=0.05)
    low_pass = bandpass(inside + 2.0 + mains, FS, None, 35)
    np.testing.assert_allclose(low_pass[:, 100:-100], inside[:, 100:-100] + 2, atol=0.05)


def test_filter_keeps_the_baseline_of_a_record_that_ends_within_a_beat():
    """Padded by point reflection, the baseline would be off by more than half a millivolt."""
    for n in (980, 1000, 1020, 1050):
        whole, cut = ecg(4000), ecg(4000)[:, 1000 : 1000 + n]
        expected = bandpass(whole, FS, 0.5)[:, 1000 : 1000 + n]
        assert np.abs(bandpass(cut, FS, 0.5) - expected).max() < 0.25


def test_filter_does_not_move_the_beat():
    peak = prepare(ecg())[:, 150:250].argmax(axis=1)
    filtered = prepare(ecg(), low_hz=0.5, high_hz=35)[:, 150:250].argmax(axis=1)
    upright = ecg()[:, 200] > 0.3
    assert upright.any()
    np.testing.assert_array_equal(peak[upright], filtered[upright])


@pytest.mark.parametrize(("low", "high"), [(None, 50), (None, 60), (0, None), (40, 30), (5, 5)])
def test_impossible_corners_are_refused(low: float | None, high: float | None):
    with pytest.raises(ValueError, match="expected 0 < low_hz < high_hz < 50 Hz"):
        prepare(ecg(), low_hz=low, high_hz=high)


def test_impossible_sampling_rates_are_refused():
    with pytest.raises(ValueError, match="above 0 Hz"):
        resample(ecg(), 0, 100)


def test_longer_records_are_cropped_to_their_middle():
    signal = ecg(1401)
    np.testing.assert_array_equal(fit_length(signal, 1000), signal[:, 200:1200])


def test_short_records_are_refused_unless_allowed():
    signal = ecg(1500, 500)
    expected = "record r7: 3 s of signal, expected 10 s; pad with waveform.allow_short=true"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        prepare(signal, 500)
    padded = prepare(signal, 500, allow_short=True)
    np.testing.assert_array_equal(padded[:, :300], prepare(signal, 500, duration_s=3.0))
    assert padded.shape == (12, 1000)
    assert not padded[:, 300:].any()


def test_one_sample_less_is_rounding():
    fitted = fit_length(ecg(999), 1000)
    np.testing.assert_array_equal(fitted[:, :999], ecg(999))
    np.testing.assert_array_equal(fitted[:, 999], ecg(999)[:, 998])
    with pytest.raises(ValueError, match="998 samples of signal, expected 1000"):
        fit_length(ecg(998), 1000)


def test_a_record_that_is_short_by_a_twentieth_of_a_second_is_long_enough():
    fitted = fit_length(ecg(995), 1000, fs=100)
    np.testing.assert_array_equal(fitted[:, 994:], np.repeat(ecg(995)[:, -1:], 6, axis=1))
    with pytest.raises(ValueError, match=r"^9.94 s of signal, expected 10 s"):
        fit_length(ecg(994), 1000, fs=100)


def test_empty_signals_are_always_refused():
    with pytest.raises(ValueError, match=r"record r7: 0 s of signal"):
        prepare(ecg()[:, :0], allow_short=True)
    with pytest.raises(ValueError, match=r"record r7: 0 s of signal, expected 10 s$"):
        fit_length(ecg()[:, :0], 1000, allow_short=True, record="r7", fs=100)


def test_every_int16_is_reproduced():
    microvolts = np.arange(-32767, 32768).astype(np.int16)
    millivolts = from_int16(microvolts)
    assert millivolts.dtype == np.float32
    np.testing.assert_array_equal(to_int16(millivolts), microvolts)
    np.testing.assert_array_equal(quantize(millivolts), millivolts)


def test_quantize_rounds_and_clips():
    signal = np.array([0.0004, 0.0006, -0.0006, 1.23456, 40.0, -40.0])
    expected = np.array([0, 0.001, -0.001, 1.235, 32.767, -32.767], np.float32)
    np.testing.assert_array_equal(quantize(signal), expected)


def test_prepared_signal_equals_its_cache():
    signal = prepare(ecg(5000, 500), 500, low_hz=0.5)
    np.testing.assert_array_equal(from_int16(to_int16(signal)), signal)


def test_ptbxl_records_are_not_changed(shared_ptbxl: Path):
    for header in sorted(shared_ptbxl.glob("records100/*/*.hea"))[::200]:
        record = read_record(header)
        np.testing.assert_array_equal(prepare(record.signal, 100, record.leads), record.signal)


def test_500_hz_records_equal_their_100_hz_twins(shared_ptbxl: Path):
    """PTB-XL's own 100 Hz files were decimated differently, 2 ms early: median 0.994."""
    scores = []
    for header in sorted(shared_ptbxl.glob("records500/*/*.hea"))[::3]:
        high = read_record(header)
        twin = header.name.replace("_hr", "_lr")
        low = read_record(shared_ptbxl / "records100" / header.parent.name / twin)
        pair = prepare(high.signal, 500, high.leads), prepare(low.signal, 100, low.leads)
        scores.append(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1])
    assert len(scores) == 34
    assert np.median(scores) > 0.99
    assert min(scores) > 0.9
