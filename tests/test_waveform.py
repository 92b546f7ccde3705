"""Waveform: the model sees the leads it expects, in mV, at its rate, or the record is refused."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_siglip import records, waveform
from ecg_siglip.waveform import LEADS

FS = 100


def ecg(n: int = 1000, fs: float = FS, seed: int = 0) -> np.ndarray:
    """Twelve leads of narrow beats, 1 Hz, in mV, with every relation between limb leads."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / fs
    beat = np.exp(-(((t + 0.5) % 1 - 0.5) ** 2) / (2 * 0.02**2))
    electrodes = rng.uniform(-1.5, 1.5, (9, 1)) * beat + rng.normal(0, 0.02, (9, n))
    return (waveform.LEADS_FROM_ELECTRODES @ electrodes).astype(np.float32)


def prepare(signal: np.ndarray, fs: float = FS, leads: Any = LEADS, **settings: Any) -> np.ndarray:
    settings = {"to_fs": FS, "duration_s": 10.0, "record": "r7", **settings}
    return waveform.prepare(signal, fs, leads, **settings)


def limb_error(signal: np.ndarray) -> float:
    i, ii, iii, avr, avl, avf = signal[..., :6, :].swapaxes(-1, -2).T
    return max(
        np.abs(iii - (ii - i)).max(), np.abs(avr + (i + ii) / 2).max(),
        np.abs(avl - (i - ii / 2)).max(), np.abs(avf - (ii - i / 2)).max(),
    )  # fmt: skip


# ---- lead order -------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, lambda name: f" {name} "])
def test_leads_are_found_by_name(spell: Any):
    signal, shuffled = ecg(), np.random.default_rng(1).permutation(12)
    names = [spell(LEADS[i]) for i in shuffled]
    np.testing.assert_array_equal(waveform.order_leads(signal[shuffled], names), signal)


def test_leads_beyond_the_twelve_are_left_out():
    signal = np.vstack([np.full((2, 1000), 99, np.float32), ecg()])
    np.testing.assert_array_equal(waveform.order_leads(signal, ["X", "V3R", *LEADS]), ecg())


def test_missing_and_doubled_leads_are_named():
    kept = [i for i, lead in enumerate(LEADS) if lead not in ("aVF", "V6")]
    with pytest.raises(ValueError, match=r"record r7: .*missing aVF, V6"):
        waveform.order_leads(ecg()[kept], [LEADS[i] for i in kept], "r7")
    with pytest.raises(ValueError, match=r"record r7: .*missing V2; more than once V1"):
        waveform.order_leads(ecg(), [*LEADS[:7], "v1 ", *LEADS[8:]], "r7")
    with pytest.raises(ValueError, match=r"record r7: .*12 leads as named, got shape"):
        waveform.order_leads(ecg().T, LEADS, "r7")


# ---- check ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_bad_sample_is_refused(bad: float):
    signal = ecg()
    signal[7, 123] = bad
    with pytest.raises(ValueError, match=r"record r7: .*NaN or infinity in lead V2 \(1 of 1000"):
        prepare(signal)


@pytest.mark.parametrize("level", [0.0, 1.7])
def test_flat_leads(level: float):
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


def test_artefacts_are_not_wrong_units():
    """Five saturated leads and one spike are bad, but the units are right."""
    signal = ecg()
    signal[:5] *= 1000
    signal[8, 500] = 30.0
    waveform.check_signal(signal)


def test_every_real_ecg_is_plausible_and_none_is_with_wrong_units(
    shared_ptbxl: Path, shared_challenge: Path
):
    headers = sorted(shared_ptbxl.glob("records?00/*/*.hea"))[::40]
    headers += sorted(shared_challenge.glob("*/*.hea"))
    for header in headers:
        record = records.read(header)
        signal = waveform.order_leads(record.signal, record.leads, record.name)
        waveform.check_signal(signal, record.name)
        for factor in (1000, 1 / 1000):
            with pytest.raises(ValueError, match="wrong units or gain"):
                waveform.check_signal(signal * np.float32(factor), record.name)


# ---- resample, filter -------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [0.5, 5, 20, 40])
@pytest.mark.parametrize(("fs", "to_fs"), [(500, 100), (1000, 100), (257, 100), (100, 500)])
def test_a_sine_keeps_amplitude_and_phase(hz: float, fs: int, to_fs: int):
    def sine(n: int, rate: float) -> np.ndarray:
        return np.sin(2 * np.pi * hz * np.arange(n) / rate + 0.7, dtype=np.float32)[None]

    resampled = waveform.resample(sine(10 * fs, fs), fs, to_fs)
    assert resampled.shape == (1, 10 * to_fs)
    assert resampled.dtype == np.float32
    inner = slice(to_fs, -to_fs)
    np.testing.assert_allclose(resampled[:, inner], sine(10 * to_fs, to_fs)[:, inner], atol=0.01)


def test_resampling_does_not_alias():
    fast = np.sin(2 * np.pi * 70 * np.arange(5000) / 500)[None]
    assert np.abs(waveform.resample(fast, 500, 100)[:, 100:-100]).max() < 0.01


def test_an_odd_rate_needs_no_filter_of_gigabytes():
    resampled = waveform.resample(ecg(5000, 500), 499.973, FS)
    assert abs(resampled.shape[1] - 1000) <= 1
    np.testing.assert_allclose(
        resampled[:, :1000], waveform.resample(ecg(5000, 500), 500, FS), atol=0.1
    )


def test_resampling_does_not_ring_at_the_ends_of_an_offset_signal():
    drift = np.linspace(5.0, 6.0, 5000)[None]
    np.testing.assert_allclose(waveform.resample(drift, 500, 100)[0], drift[0, ::5], atol=0.001)


def test_limb_leads_stay_related():
    signal = prepare(ecg(5000, 500), 500, low_hz=0.5, high_hz=40)
    assert limb_error(signal) <= 0.0021  # two steps of 1 uV, by rounding alone


def test_filter_takes_what_is_outside_and_leaves_what_is_inside():
    t = np.arange(1000) / FS
    inside, wander, mains = (np.sin(2 * np.pi * hz * t)[None] for hz in (8, 0.1, 48))
    filtered = waveform.bandpass(inside + wander + 2.0 + mains, FS, 0.5, 35)
    np.testing.assert_allclose(filtered[:, 100:-100], inside[:, 100:-100], atol=0.05)
    low_pass = waveform.bandpass(inside + 2.0 + mains, FS, None, 35)
    np.testing.assert_allclose(low_pass[:, 100:-100], inside[:, 100:-100] + 2, atol=0.05)


def test_filter_ends_well_where_a_record_ends_within_a_beat():
    """Continued by point reflection, the baseline would leave by more than half a millivolt."""
    for n in (980, 1000, 1020, 1050):
        whole, cut = ecg(4000), ecg(4000)[:, 1000 : 1000 + n]
        expected = waveform.bandpass(whole, FS, 0.5)[:, 1000 : 1000 + n]
        assert np.abs(waveform.bandpass(cut, FS, 0.5) - expected).max() < 0.25


def test_filter_does_not_move_the_beat():
    peak = prepare(ecg())[:, 150:250].argmax(axis=1)
    filtered = prepare(ecg(), low_hz=0.5, high_hz=35)[:, 150:250].argmax(axis=1)
    upright = ecg()[:, 200] > 0.3
    assert upright.any()
    np.testing.assert_array_equal(peak[upright], filtered[upright])


@pytest.mark.parametrize(("low", "high"), [(None, 50), (None, 60), (0, None), (40, 30), (5, 5)])
def test_corners_that_cannot_be(low: float | None, high: float | None):
    with pytest.raises(ValueError, match="expected 0 < low_hz < high_hz < 50 Hz"):
        prepare(ecg(), low_hz=low, high_hz=high)


def test_rates_that_cannot_be():
    with pytest.raises(ValueError, match="above 0 Hz"):
        waveform.resample(ecg(), 0, 100)


# ---- length -----------------------------------------------------------------------------------


def test_longer_records_give_their_middle():
    signal = ecg(1401)
    np.testing.assert_array_equal(waveform.fit_length(signal, 1000), signal[:, 200:1200])


def test_short_records_are_refused_unless_asked_for():
    signal = ecg(1500, 500)
    expected = "record r7: 3.0 s of signal, expected 10 s; pad with waveform.allow_short=true"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        prepare(signal, 500)
    padded = prepare(signal, 500, allow_short=True)
    np.testing.assert_array_equal(padded[:, :300], prepare(signal, 500, duration_s=3.0))
    assert padded.shape == (12, 1000)
    assert not padded[:, 300:].any()


def test_one_sample_less_is_rounding():
    fitted = waveform.fit_length(ecg(999), 1000)
    np.testing.assert_array_equal(fitted[:, :999], ecg(999))
    np.testing.assert_array_equal(fitted[:, 999], ecg(999)[:, 998])
    with pytest.raises(ValueError, match="998 samples of signal, expected 1000"):
        waveform.fit_length(ecg(998), 1000)


def test_no_signal_is_refused_always():
    with pytest.raises(ValueError, match=r"record r7: 0 s of signal"):
        prepare(ecg()[:, :0], allow_short=True)
    with pytest.raises(ValueError, match=r"record r7: 0\.0 s of signal, expected 10 s$"):
        waveform.fit_length(ecg()[:, :0], 1000, allow_short=True, record="r7", fs=100)


# ---- steps of 1 uV ----------------------------------------------------------------------------


def test_every_int16_survives():
    microvolts = np.arange(-32767, 32768).astype(np.int16)
    millivolts = waveform.from_int16(microvolts)
    assert millivolts.dtype == np.float32
    np.testing.assert_array_equal(waveform.to_int16(millivolts), microvolts)
    np.testing.assert_array_equal(waveform.quantize(millivolts), millivolts)


def test_quantize_rounds_and_cuts_off():
    signal = np.array([0.0004, 0.0006, -0.0006, 1.23456, 40.0, -40.0])
    expected = np.array([0, 0.001, -0.001, 1.235, 32.767, -32.767], np.float32)
    np.testing.assert_array_equal(waveform.quantize(signal), expected)


def test_prepared_signal_equals_its_cache():
    signal = prepare(ecg(5000, 500), 500, low_hz=0.5)
    np.testing.assert_array_equal(waveform.from_int16(waveform.to_int16(signal)), signal)


def test_ptbxl_comes_out_bit_for_bit(shared_ptbxl: Path):
    for header in sorted(shared_ptbxl.glob("records100/*/*.hea"))[::200]:
        record = records.read(header)
        np.testing.assert_array_equal(prepare(record.signal, 100, record.leads), record.signal)


def test_500_hz_records_equal_their_100_hz_twins(shared_ptbxl: Path):
    """PTB-XL's own 100 Hz files were decimated otherwise, 2 ms early: 0.994 in the median."""
    scores = []
    for header in sorted(shared_ptbxl.glob("records500/*/*.hea"))[::3]:
        high = records.read(header)
        twin = header.name.replace("_hr", "_lr")
        low = records.read(shared_ptbxl / "records100" / header.parent.name / twin)
        pair = prepare(high.signal, 500, high.leads), prepare(low.signal, 100, low.leads)
        scores.append(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1])
    assert len(scores) == 34
    assert np.median(scores) > 0.99
    assert min(scores) > 0.9


# ---- augmentation -----------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "shift_s": 1.0, "gain": 0.2, "wander_mv": 0.3, "lead_mask": 0.3, "time_mask_s": 2.0,
}  # fmt: skip
SIZE: dict[str, Any] = {"fs": FS, "n_samples": 1000}


def batch(n: int = 8) -> np.ndarray:
    return np.stack([ecg(seed=seed) for seed in range(n)])


def augmented(ids: list[int], seed: int = 3, epoch: int = 5, **settings: Any) -> np.ndarray:
    signal = np.stack([ecg(seed=i) for i in ids])
    params = waveform.draw_augmentation(
        seed, epoch, np.array(ids), **(settings or SETTINGS), **SIZE
    )
    return waveform.augment(signal, params)


def test_a_row_depends_on_seed_epoch_and_record_alone():
    whole = augmented([10, 11, 12, 13])
    np.testing.assert_array_equal(augmented([13, 10]), whole[[3, 0]])
    np.testing.assert_array_equal(augmented([12])[0], whole[2])
    for other in (augmented([12], seed=4)[0], augmented([12], epoch=6)[0]):
        assert not np.array_equal(other, whole[2])


def test_the_numbers_drawn_never_change():
    """Frozen, so that a run resumed by a later version goes on as it began."""
    params = waveform.draw_augmentation(1, 2, np.array([38, 21837]), **SETTINGS, **SIZE)
    drawn = [params[key].ravel().tolist() for key in ("shift", "mask_start", "mask_stop")]
    assert drawn == [[57, -46], [216, 1], [346, 198]]


def test_one_switch_does_not_move_the_numbers_of_another():
    everything = waveform.draw_augmentation(0, 0, np.arange(9), **SETTINGS, **SIZE)
    for name, value in SETTINGS.items():
        alone = waveform.draw_augmentation(0, 0, np.arange(9), **{name: value}, **SIZE)
        for key in alone:
            np.testing.assert_array_equal(alone[key], everything[key])


def test_all_off_is_the_identity():
    params = waveform.draw_augmentation(0, 0, np.arange(8), **SIZE)
    signal = batch()
    assert params == {}
    assert waveform.augment(signal, params) is signal


@pytest.mark.parametrize("n_on", [1, 2, 5])
def test_tensors_and_arrays_agree(n_on: int):
    torch = pytest.importorskip("torch")
    for names in combinations(SETTINGS, n_on):
        settings = {name: SETTINGS[name] for name in names}
        params = waveform.draw_augmentation(0, 1, np.arange(8), **settings, **SIZE)
        ours = waveform.augment(batch(), params)
        tensors = {key: torch.from_numpy(value) for key, value in params.items()}
        theirs = waveform.augment(torch.from_numpy(batch()), tensors)
        assert theirs.dtype == torch.float32
        assert ours.dtype == np.float32
        np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-6)


def test_augment_leaves_its_input_alone():
    signal = batch()
    params = waveform.draw_augmentation(0, 1, np.arange(8), **SETTINGS, **SIZE)
    waveform.augment(signal, params)
    np.testing.assert_array_equal(signal, batch())


def test_shift_holds_the_end_and_does_not_wrap():
    signal = np.broadcast_to(np.arange(1000, dtype=np.float32), (64, 12, 1000))
    params = waveform.draw_augmentation(0, 0, np.arange(64), shift_s=0.5, **SIZE)
    shift = params["shift"].ravel()
    assert shift.min() < -30
    assert shift.max() > 30
    assert np.abs(shift).max() <= 50
    for row, moved in zip(waveform.augment(signal, params), shift, strict=True):
        expected = np.clip(np.arange(1000) - moved, 0, 999)
        np.testing.assert_array_equal(row, np.broadcast_to(expected, (12, 1000)))


def test_gain_is_one_factor_within_its_bounds():
    ratio = augmented(list(range(64)), gain=0.2) / np.stack([ecg(seed=i) for i in range(64)])
    factors = np.median(ratio, axis=(1, 2))
    np.testing.assert_allclose(
        ratio, np.broadcast_to(factors[:, None, None], ratio.shape), rtol=1e-5
    )
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2


def test_wander_is_slow_bounded_and_keeps_the_limb_leads_related():
    signal = np.zeros((64, 12, 3000), np.float32)
    params = waveform.draw_augmentation(0, 0, np.arange(64), wander_mv=0.3, fs=FS, n_samples=3000)
    wander = waveform.augment(signal, params)
    assert 0.1 < np.abs(wander).max() <= 0.3
    assert np.abs(np.diff(wander)).max() < 0.3 * 2 * np.pi * 0.5 / FS
    assert limb_error(wander) < 1e-6
    assert len({row.tobytes() for lead in wander for row in lead}) == 64 * 12


def test_lead_mask_blanks_the_asked_share_and_never_all():
    signal = np.ones((500, 12, 10), np.float32)
    for chance in (0.1, 0.9):
        params = waveform.draw_augmentation(
            0, 0, np.arange(500), lead_mask=chance, fs=FS, n_samples=10
        )
        kept = waveform.augment(signal, params)
        assert set(np.unique(kept)) == {0, 1}
        assert kept.any(axis=(1, 2)).all()
        assert (kept == kept[:, :, :1]).all()
        assert abs((kept == 0).mean() - chance) < 0.04


def test_time_mask_blanks_one_stretch_in_all_leads():
    signal = np.ones((200, 12, 1000), np.float32)
    params = waveform.draw_augmentation(0, 0, np.arange(200), time_mask_s=2.0, **SIZE)
    blank = waveform.augment(signal, params) == 0
    assert (blank == blank[:, :1]).all()
    lengths = blank[:, 0].sum(axis=1)
    assert lengths.min() < 20
    assert 180 < lengths.max() <= 200
    edges = np.abs(np.diff(blank[:, 0].astype(int), axis=1)).sum(axis=1)
    assert edges.max() <= 2


@pytest.mark.parametrize("name", ["shift_s", "time_mask_s"])
def test_augmentation_longer_than_the_signal(name: str):
    settings: dict[str, Any] = {name: 10.0}
    with pytest.raises(ValueError, match=f"{name}=10: expected 0 or more and less than the 10 s"):
        waveform.draw_augmentation(0, 0, np.arange(2), **settings, **SIZE)
