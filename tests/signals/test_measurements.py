"""Measurements of simulated ECGs against their true values, and what is not measurable."""

import copy

import numpy as np
import pytest
from helpers import SHARED

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.measurements import NAMES, PER_LEAD, UNITS, measure_ecg, shown_spread
from ecg_siglip.signals.median_beats import find_qrs
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import finding_rules
from ecg_siglip.simulation.electrode_noise import at_electrodes, at_leads, draw_noise
from ecg_siglip.simulation.heart import twelve_leads
from ecg_siglip.simulation.rhythms import draw_strip, simulate_ecg
from ecg_siglip.simulation.true_measurements import true_measurements

FS = 500
PULSE_FILE = SHARED / "cases/philips/129DYPRG.XML"
INTERVALS = ("pr", "qrs", "qt")
AXES = ("p_axis", "qrs_axis", "t_axis")


def simulated(*codes, seed=0, duration=10.0, noise_mv=0.01):
    """Simulate an ECG with muscle noise; return it with its true measurements."""
    rng = np.random.default_rng([seed, 5])
    heart = finding_rules.with_findings(finding_rules.person(rng, 50.0, True), codes, rng)
    strip = draw_strip(heart, duration, copy.deepcopy(rng))
    electrodes = at_electrodes(simulate_ecg(heart, FS, duration, rng)[0])
    for electrode in electrodes:
        electrode += noise_mv * draw_noise("muscle", len(electrode), FS, rng)
    return twelve_leads(at_leads(electrodes)), true_measurements(heart, strip)


def names_without_value(measured):
    return {name for name in UNITS if getattr(measured, name).value is None}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("code", ["NORM", "CLBBB", "1AVB", "LVH"])
def test_a_clean_ecg_is_measured_as_it_was_simulated(code, seed):
    signal, true = simulated("SR", code, seed=seed)
    measured = measure_ecg(signal, FS, LEADS)
    assert measured.rate.value == pytest.approx(true.values["rate"], abs=1)
    assert measured.rr_sd.value == pytest.approx(true.values["rr_sd"], abs=3)
    for name, most in zip(INTERVALS, (15, 12, 20), strict=True):
        one = getattr(measured, name)
        assert one.value is None or one.value == pytest.approx(true.values[name], abs=most), name
    assert measured.qrs.value is not None and measured.qt.value is not None
    assert measured.qrs_axis.value == pytest.approx(true.values["qrs_axis"], abs=5)
    for name in ("r", "s", "st"):
        values = [getattr(measured, name)[lead].value for lead in LEADS]
        # In bundle branch block the QRS complex passes to ST without an end that can be seen.
        most_mv = 0.25 if code == "CLBBB" else 0.07
        np.testing.assert_allclose(values, getattr(true, name), atol=most_mv, err_msg=name)


@pytest.mark.parametrize("at_end", [True, False])
def test_a_pulse_of_calibration_at_an_end_is_no_beat(at_end):
    signal, _ = simulated("SR")
    whole = measure_ecg(signal, FS, LEADS)
    pulse = np.zeros((12, 300))
    pulse[:, 60:160] = 1.0
    pulse += signal[:, -1:] if at_end else signal[:, :1]
    measured = measure_ecg(np.hstack([signal, pulse] if at_end else [pulse, signal]), FS, LEADS)
    assert measured.rate.value == pytest.approx(whole.rate.value, abs=0.5)
    assert measured.rr_sd.value == pytest.approx(whole.rr_sd.value, abs=5)


@pytest.mark.parametrize("last_s", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("lead_set", [slice(8, 9), slice(6), slice(12)])
def test_leads_that_come_off_at_the_end_are_no_beat(lead_set, last_s):
    signal, _ = simulated("SR", seed=4)
    n_kept = signal.shape[1] - round(last_s * FS)
    rate = measure_ecg(signal[:, :n_kept], FS, LEADS).rate.value
    signal[lead_set, n_kept:] += np.linspace(1.5, 3, 12)[lead_set, None]
    assert measure_ecg(signal, FS, LEADS).rate.value == pytest.approx(rate, abs=0.5)


def test_a_premature_beat_at_the_end_counts():
    signal, _ = simulated("SR", "PVC", "BIGU", seed=3, duration=20.0)
    at = find_qrs(signal)
    for n_beats in range(6, 12):  # the last one is premature in every other part
        part = signal[:, : at[n_beats - 1] + 200]
        rr_s = np.diff(at[:n_beats]).mean() / FS
        assert measure_ecg(part, FS, LEADS).rate.value == pytest.approx(60 / rr_s, rel=0.01)


@pytest.mark.skipif(not PULSE_FILE.exists(), reason=f"{PULSE_FILE.name} is missing")
def test_the_pulse_at_the_end_of_a_real_file_is_no_beat():
    record = read_record(PULSE_FILE)
    measured = measure_ecg(record.signal, record.fs, record.leads)
    assert measured.rate.value == pytest.approx(41, abs=1)
    assert measured.rr_sd.value < 10


def test_few_leads_do_not_give_an_impossible_qrs_duration():
    signal, _ = simulated("SR")
    signal = resample(signal, FS, 650)  # played faster: QRS of about 65 ms
    whole = measure_ecg(signal, 650 * 1.4, LEADS)
    assert whole.qrs.value is not None and whole.qrs.value < 70
    few = measure_ecg(signal[:2], 650 * 1.4, ["I", "II"]).qrs
    assert few.value is None and few.reason == "too few leads"


def test_a_spread_is_shown_rounded_up_and_never_as_zero():
    assert [shown_spread(value, "ms") for value in (0.0, 0.2, 1.0, 1.1)] == ["1", "1", "1", "2"]
    assert [shown_spread(value, "mV") for value in (0.0, 0.004, 0.0041)] == [
        "0.001",
        "0.004",
        "0.005",
    ]


def test_qtc_is_by_bazett_and_by_fridericia():
    measured = measure_ecg(simulated("STACH", seed=1)[0], FS, LEADS)
    rr_s = 60 / measured.rate.value
    assert measured.qtc_bazett.value == pytest.approx(measured.qt.value / rr_s ** (1 / 2))
    assert measured.qtc_fridericia.value == pytest.approx(measured.qt.value / rr_s ** (1 / 3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("code", ["AFIB", "3AVB", "SVTAC", "PACE"])
def test_pr_is_not_measurable_without_p_waves_that_conduct(code, seed):
    signal, true = simulated(code, seed=seed)
    measured = measure_ecg(signal, FS, LEADS)
    assert {"pr", "p_axis"} <= true.absent
    assert {"pr", "p_axis"} <= names_without_value(measured)
    assert measured.pr.reason
    assert measured.rate.value == pytest.approx(true.values["rate"], abs=3)


def test_premature_ventricular_beats_are_counted_and_not_measured():
    signal, true = simulated("SR", "PVC", "BIGU", seed=3)
    measured = measure_ecg(signal, FS, LEADS)
    assert measured.rate.value == pytest.approx(true.values["rate"], abs=1)
    assert measured.qrs.value == pytest.approx(true.values["qrs"], abs=12)


@pytest.mark.parametrize("seed", range(3))
def test_paced_beats_are_measured_without_their_spikes(seed):
    signal, true = simulated("PACE", seed=seed)
    measured = measure_ecg(signal, FS, LEADS)
    assert measured.qrs.value == pytest.approx(true.values["qrs"], abs=12)
    assert measured.qt.value == pytest.approx(true.values["qt"], abs=20)
    assert measured.r["V5"].value == pytest.approx(true.r[LEADS.index("V5")], abs=0.1)


@pytest.mark.parametrize("fs", [100, 250, 257, 1000])
def test_the_sampling_rate_hardly_changes_the_measurements(fs):
    signal, _ = simulated("SR")
    one = measure_ecg(signal, FS, LEADS)
    other = measure_ecg(resample(signal, FS, fs), fs, LEADS)
    assert other.rate.value == pytest.approx(one.rate.value, abs=0.3)
    for name in INTERVALS:
        assert getattr(other, name).value == pytest.approx(getattr(one, name).value, abs=8), name


@pytest.mark.parametrize("duration", [2.5, 5.0, 30.0])
def test_short_and_longer_recordings(duration):
    signal, true = simulated("SR", duration=duration)
    measured = measure_ecg(signal, FS, LEADS)
    assert measured.rate.value == pytest.approx(true.values["rate"], abs=3)
    assert measured.qrs.value == pytest.approx(true.values["qrs"], abs=12)


def test_without_limb_leads_there_is_no_axis():
    signal, _ = simulated("SR")
    for chest_only in (signal[6:], np.vstack([np.zeros((6, signal.shape[1])), signal[6:]])):
        measured = measure_ecg(chest_only, FS, LEADS[-len(chest_only) :])
        assert {*AXES} <= names_without_value(measured)
        assert measured.qrs_axis.reason == "limb leads are missing"
        assert measured.rate.value is not None and measured.qrs.value is not None
        assert set(measured.r) == set(LEADS[6:])


def test_two_limb_leads_give_the_axis_of_all():
    signal, true = simulated("SR")
    measured = measure_ecg(signal[:2], FS, ["Lead I", "Lead II"])
    assert measured.qrs_axis.value == pytest.approx(true.values["qrs_axis"], abs=5)
    assert set(measured.r) == set(LEADS[:6])


def test_pr_needs_lead_ii_or_three_leads():
    signal, _ = simulated("SR")
    assert "lead II" in measure_ecg(signal[6:7], FS, ["V1"]).pr.reason
    assert measure_ecg(signal[1:2], FS, ["II"]).pr.value is not None


def noise_only():
    rng = np.random.default_rng(0)
    times = np.arange(5000) / FS
    white = rng.normal(0, 0.1, (12, 5000))
    return {
        "flat": np.zeros((12, 5000)),
        "invalid": np.full((12, 5000), np.nan),
        "empty": np.zeros((12, 0)),
        "short": white[:, :400],
        "white": white,
        "drift": 0.1 * np.cumsum(white, axis=1),
        "hum": np.tile(np.sin(2 * np.pi * 50 * times), (12, 1)),
        "fibrillation": np.outer(
            rng.normal(size=12), np.sin(2 * np.pi * (5 + 0.1 * times) * times)
        ),
        "step": np.tile((times > 5).astype(float), (12, 1)),
        "pulses": np.tile((np.arange(5000) % 400 == 0).astype(float), (12, 1)),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", noise_only())
def test_without_an_ecg_nothing_is_measured(kind):
    measured = measure_ecg(noise_only()[kind], FS, LEADS)
    assert names_without_value(measured) == set(UNITS)
    assert measured.rate.reason and measured.n_beats == 0
    assert not measured.r and not measured.st


@pytest.mark.parametrize("noise_mv", [0.1, 0.15, 0.3])
def test_strong_noise_leaves_out_what_it_hides(noise_mv):
    signal, true = simulated("SR", noise_mv=noise_mv)
    measured = measure_ecg(signal, FS, LEADS)
    rate = measured.rate.value
    assert rate is None or rate == pytest.approx(true.values["rate"], abs=1)
    assert measured.pr.value is None and measured.pr.reason


def test_the_spread_grows_with_the_noise():
    spreads = [
        measure_ecg(simulated("SR", noise_mv=noise_mv)[0], FS, LEADS).st["V5"].spread
        for noise_mv in (0.002, 0.02, 0.05)
    ]
    assert spreads == sorted(spreads)


def test_one_bad_lead_and_gaps_do_not_hide_the_others():
    signal, true = simulated("SR")
    rng = np.random.default_rng(0)
    noisy, gap, spots = signal.copy(), signal.copy(), signal.copy()
    noisy[2] += rng.normal(0, 0.5, signal.shape[1])
    gap[:, 1000:1100] = np.nan
    spots[rng.random(signal.shape) < 0.01] = np.nan
    for changed in (noisy, gap, spots, signal + 5.0):
        measured = measure_ecg(changed, FS, LEADS)
        assert measured.rate.value == pytest.approx(true.values["rate"], abs=2)
        assert measured.qrs.value == pytest.approx(true.values["qrs"], abs=12)


@pytest.mark.filterwarnings("error")
def test_any_valid_signal_is_measured_without_an_error():
    rng = np.random.default_rng(1)
    for _ in range(60):
        n_leads, fs = int(rng.integers(1, 13)), float(rng.choice([50, 100, 333.3, 1000]))
        size = (n_leads, int(fs * rng.uniform(0, 8)))
        signal = rng.normal(0, 10.0 ** rng.uniform(-6, 4), size)
        signal[rng.random(size) < rng.choice([0, 0.01, 0.9])] = np.nan
        measure_ecg(signal, fs, LEADS[:n_leads]).to_dict()


def test_the_measurements_are_json_with_value_or_reason():
    content = measure_ecg(simulated("AFIB")[0], FS, LEADS).to_dict()
    assert set(content) == {*UNITS, *PER_LEAD, "n_beats"} and set(NAMES) == {*UNITS, *PER_LEAD}
    assert content["pr"]["value"] is None and content["pr"]["reason"]
    assert content["qrs"] == {
        "value": round(content["qrs"]["value"]),
        "unit": "ms",
        "spread": content["qrs"]["spread"],
    }
    assert content["r"]["V5"]["unit"] == "mV"


def test_the_median_beat_has_the_marks_of_what_is_measurable():
    measured = measure_ecg(simulated("SR")[0], FS, LEADS)
    marks, beat = measured.beat.marks, measured.beat
    assert beat.leads == LEADS and beat.signal.shape[0] == 12 and beat.n_beats == measured.n_beats
    onset = marks["qrs_onset"]
    assert 1000 * (onset - marks["p_onset"]) == pytest.approx(measured.pr.value)
    assert 1000 * (marks["qrs_end"] - onset) == pytest.approx(measured.qrs.value)
    assert 1000 * (marks["t_end"] - onset) == pytest.approx(measured.qt.value)
    assert "p_onset" not in measure_ecg(simulated("AFIB")[0], FS, LEADS).beat.marks
    assert "beat" not in measured.to_dict()


def test_errors_state_what_was_expected():
    with pytest.raises(ValueError, match="sampling rate above 0 Hz, got 0"):
        measure_ecg(np.zeros((12, 100)), 0, LEADS)
    with pytest.raises(ValueError, match="none of the channels"):
        measure_ecg(np.zeros((1, 100)), FS, ["x"])
