"""A prepared record has the input of the model and the properties of the recording."""

import numpy as np
import pytest
from helpers import beats

from ecg_siglip.readers.preparation import prepare_record, recorded_signal
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS, available_leads
from ecg_siglip.signals.preprocessing import from_int16, prepare_signal

SPEC = {"to_fs": 100.0, "duration_s": 10.0, "low_hz": 0.5}


def record(n_samples: int = 6000, leads: tuple[str, ...] = LEADS) -> Record:
    signal = beats(n_samples, fs=500)[[LEADS.index(lead) for lead in leads]]
    return Record("r7", signal, 500.0, leads, ())


def test_the_signal_is_that_of_prepare_signal_in_microvolts():
    prepared = prepare_record(record(), SPEC)
    assert prepared.signal.dtype == np.int16
    expected = prepare_signal(record().signal, 500.0, LEADS, **SPEC)
    np.testing.assert_array_equal(from_int16(prepared.signal), expected)


def test_name_duration_and_leads_are_those_of_the_recording():
    prepared = prepare_record(record(leads=("I", "II", "V2")), SPEC | {"allow_missing_leads": True})
    assert (prepared.record, prepared.duration_s, prepared.warnings) == ("r7", 12.0, [])
    np.testing.assert_array_equal(prepared.available, available_leads(["I", "II", "V2"]))


def test_errors_name_the_record():
    with pytest.raises(ValueError, match="^record r7: 3 s of signal, expected 10 s"):
        prepare_record(record(1500), SPEC)
    with pytest.raises(ValueError, match="^record r7: .*missing V6"):
        prepare_record(record(leads=LEADS[:-1]), SPEC)


def test_the_part_that_the_model_sees_is_kept_as_recorded():
    whole = record()
    whole.signal[:, 3000:3010] = np.nan  # a gap stays a gap
    kept = recorded_signal(whole, 10.0)
    assert (kept.fs, kept.signal.shape) == (500.0, (12, 5000))
    np.testing.assert_array_equal(kept.signal, whole.signal[:, 500:5500])
    few = recorded_signal(record(2000, ("I", "II")), 10.0)
    assert few.signal.shape == (12, 2000), "shorter: all of it, without padding"
    np.testing.assert_allclose(few.signal[2], few.signal[1] - few.signal[0], atol=1e-6)
    assert np.isnan(few.signal[6:]).all()
