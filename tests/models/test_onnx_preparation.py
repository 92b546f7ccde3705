"""The preparation in the ONNX file does what `prepare_signal` does, and refuses the same."""

import numpy as np
import pytest
from helpers import beats

from ecg_siglip.models.onnx_preparation import ERRORS, preparation_graph
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import prepare_signal

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")
pytest.importorskip("onnxscript", reason="needs the extra [export]")

DEFAULT = {
    "version": 2, "to_fs": 100, "duration_s": 10.0, "low_hz": 0.5, "high_hz": None,
    "allow_short": False, "allow_flat": False, "allow_gaps": False,
}  # fmt: skip
SPECS = {
    "default": DEFAULT,
    "an earlier model": DEFAULT | {"version": 1, "low_hz": None},
    "low-pass": DEFAULT | {"low_hz": None, "high_hz": 40.0},
    "band, 250 Hz, lenient": DEFAULT
    | {"low_hz": 0.05, "high_hz": 40.0, "to_fs": 250, "allow_short": True, "allow_flat": True},
}
STEP_MV = 0.001


@pytest.fixture(scope="module")
def run():
    sessions = {}

    def prepare(spec, signal, fs):
        key = str(spec)
        if key not in sessions:
            content = preparation_graph(spec).SerializeToString()
            sessions[key] = onnxruntime.InferenceSession(content)
        batch = (signal if signal.ndim == 3 else signal[None]).astype(np.float32)
        inputs = {"signal": batch, "fs": np.array([fs], np.float32)}
        prepared, error = sessions[key].run(["prepared", "error"], inputs)
        return (prepared, error) if signal.ndim == 3 else (prepared[0], int(error[0]))

    return prepare


def ecg(fs, duration_s=10.0, offset_mv=0.0, seed=0):
    """Make beats with baseline wander and an offset, (12, n) float32, mV."""
    n = int(np.ceil(duration_s * fs))
    wander = 0.3 * np.sin(2 * np.pi * 0.25 * np.arange(n) / fs + np.arange(12)[:, None])
    return (beats(n, fs, seed) + wander + offset_mv).astype(np.float32)


def assert_same(prepared, expected):
    # float32 rounds a few samples to the next microvolt.
    assert np.abs(prepared - expected).max() <= 1.5 * STEP_MV
    assert (np.abs(prepared - expected) > STEP_MV / 2).mean() < 0.01


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("fs", [100, 128, 250, 257, 360, 499.973, 500, 1000, 2000])
def test_it_prepares_as_the_package_at_any_sampling_rate(run, spec, fs):
    signal = ecg(fs)
    prepared, error = run(spec, signal, fs)
    assert error == 0
    assert_same(prepared, prepare_signal(signal, fs, LEADS, **spec))


@pytest.mark.parametrize("duration_s", [9.96, 10.0, 10.01, 12.34, 60.0])
@pytest.mark.parametrize("offset_mv", [0.0, -20.0])
def test_it_takes_the_middle_of_any_length(run, duration_s, offset_mv):
    signal = ecg(500, duration_s, offset_mv)
    prepared, error = run(DEFAULT, signal, 500)
    assert error == 0
    assert_same(prepared, prepare_signal(signal, 500, LEADS, **DEFAULT))


def test_padded_ends_are_brought_to_the_baseline(run):
    signal = ecg(500, offset_mv=5.0)
    signal[:, :700] = 0.0
    signal[:, -1200:] = -32.768
    prepared, error = run(DEFAULT, signal, 500)
    assert error == 0
    assert_same(prepared, prepare_signal(signal, 500, LEADS, **DEFAULT))


def test_a_lenient_model_pads_and_takes_flat_leads(run):
    spec = SPECS["band, 250 Hz, lenient"]
    signal = ecg(500, 6.0)
    signal[3] = 0.25
    prepared, error = run(spec, signal, 500)
    assert error == 0
    assert_same(prepared, prepare_signal(signal, 500, LEADS, **spec))


def changed(sample=None, gain=1.0, flat=()):
    signal = ecg(500) * np.float32(gain)
    signal[list(flat)] = 0.1
    if sample is not None:
        signal[4, 1234] = sample
    return signal


@pytest.mark.parametrize(
    ("signal", "fs", "code"),
    [
        (ecg(500), 0.002, 1),
        (ecg(500), float("nan"), 1),
        (ecg(500), 1e6, 1),
        (ecg(500), 1000, 2),
        (ecg(500, 9.9), 500, 2),
        (np.zeros((12, 1), np.float32), 500, 2),
        (np.zeros((12, 0), np.float32), 500, 2),
        (changed(sample=np.nan), 500, 3),
        (changed(sample=-np.inf), 500, 3),
        (changed(gain=1000), 500, 4),
        (changed(gain=1 / 1000), 500, 4),
        (changed(gain=1000, flat=[0, 1, 2, 3, 4]), 500, 4),
        (changed(flat=[7]), 500, 5),
        (changed(flat=[0, 1, 2, 3, 4, 5, 6]), 500, 5),
        (changed(flat=list(range(12))), 500, 5),
        (changed(sample=33.5), 500, 6),
    ],
)
def test_it_refuses_what_the_package_refuses(run, signal, fs, code):
    assert run(DEFAULT, signal, fs)[1] == code, ERRORS[code]
    if code in (2, 3, 4, 5) and signal.shape[1] > 1:
        with pytest.raises(ValueError, match="expected|flat"):
            prepare_signal(signal, fs, LEADS, **DEFAULT)


def test_an_error_of_one_record_is_none_of_the_others(run):
    good = ecg(500)
    batch = np.stack([good, good * 1000, changed(flat=[2]), good])
    prepared, error = run(DEFAULT, batch, 500)
    assert error.tolist() == [0, 4, 5, 0]
    assert prepared[3] == pytest.approx(prepared[0])
    assert_same(prepared[0], prepare_signal(good, 500, LEADS, **DEFAULT))
