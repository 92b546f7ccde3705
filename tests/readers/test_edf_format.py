"""EDF and EDF+ files: the same signal as written, or an error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from writers import assert_refused, ecg, edf, edfio, prepared_uv, write

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS


def test_edf_in_millivolts_and_with_other_signals(tmp_path: Path):
    recording = edfio.read_edf(edf(ecg(), unit="mV"))
    breath = edfio.EdfSignal(np.sin(np.arange(100.0)), 10, label="Resp", physical_dimension="L/min")
    recording.append_signals(breath)
    recording.set_annotations([edfio.EdfAnnotation(1.0, None, "a beat")])
    record = read_record(write(tmp_path, recording.to_bytes(), "edf"))
    assert record.leads == tuple(f"ECG {lead}" for lead in LEADS)
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_bytes_after_the_last_record_are_refused(tmp_path: Path):
    path = write(tmp_path, edf(ecg()) + b"\0" * 24)
    assert_refused(path, "the header states", "bytes, the file has")


def test_signals_of_two_sampling_rates_are_refused(tmp_path: Path):
    recording = edfio.read_edf(edf(ecg()))
    other = edfio.EdfSignal(np.sin(np.arange(1000.0)), 100, label="V7", physical_dimension="mV")
    recording.append_signals(other)
    assert_refused(write(tmp_path, recording.to_bytes()), "one sampling rate, got 100 Hz, 500 Hz")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: edf(ecg())[:192] + b"EDF+D" + edf(ecg())[197:], "discontinuous"),
        (lambda: edf(ecg())[:236] + b"-1      " + edf(ecg())[244:], "a whole number above 0"),
        (lambda: edf(ecg())[:236] + b"99999999" + edf(ecg())[244:], "the header states"),
        (lambda: edf(ecg()).replace(b"uV", b"kg"), "no signal in uV, mV or V"),
        (lambda: edf(ecg()).replace(b"-32768  ", b"32767   ", 1), "range is empty"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)
