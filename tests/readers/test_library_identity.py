"""Identity and results of records that ecgdatakit has read."""

import pytest
from writers import NAME

from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.library_identity import identity_of, results_of

models = pytest.importorskip("ecgdatakit.models", reason="needs the extra [formats]")


def test_an_empty_record_states_nothing():
    record = models.ECGRecord()
    assert identity_of(record) == Identity()
    assert results_of(record) == DeviceResults()


def test_intervals_by_the_waves_of_the_reference_beat_and_qtc_without_formula():
    record = models.ECGRecord()
    record.annotations = {
        "median_p_onset_ms": "286", "median_qrs_onset_ms": "434", "median_qrs_offset_ms": "554",
        "median_t_offset_ms": "854", "qtc": "443 ms (formula code 0)",
    }  # fmt: skip
    found = {each.name: each.value for each in results_of(record).measurements}
    assert found == {"pr": 148.0, "qrs": 120.0, "qt": 420.0, "qtc": 443.0}


def test_statements_have_their_reasons_and_no_names():
    record = models.ECGRecord()
    record.patient.last_name = NAME
    record.interpretation.statements = [("Bradycardia", "rate < 50"), (f"of {NAME}", "")]
    record.interpretation.source = "confirmed"
    results = results_of(record)
    assert results.statements == ("Bradycardia (rate < 50)", "of [name]")
    assert results.confirmed


def test_a_filter_that_is_off_is_not_stated():
    record = models.ECGRecord()
    filters = record.recording.acquisition.filters
    filters.highpass, filters.notch, filters.notch_active = 0.05, 50.0, False
    identity = identity_of(record)
    assert (identity.high_pass, identity.low_pass, identity.notch) == ("0.05 Hz", "", "")
