"""Files of devices: the readers return the simulated signal, rate and leads."""

import importlib.util

import numpy as np
import pytest
from helpers import beats

from ecg_siglip.readers import read_record
from ecg_siglip.signals.leads import LEADS, order_leads
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import device_files

FS = 500


@pytest.mark.parametrize("kind", device_files.WRITERS)
def test_a_file_is_read_as_it_was_written(kind, tmp_path):
    pytest.importorskip("defusedxml", reason="needs the extra [formats]")
    pytest.importorskip("pydicom", reason="needs the extra [formats]")
    (tmp_path / kind).mkdir()
    signal = beats(5000, FS)
    name = device_files.write_device_file(tmp_path, kind, signal, 7, "P1", 61.0, True)
    record = read_record(tmp_path / name)
    assert not record.warnings
    expected = resample(signal, FS, 250) if kind == "csv" else signal
    assert record.fs == (250 if kind == "csv" else FS)
    # MUSE: four leads are sums of two that are rounded to 4.88 uV.
    tolerance = {"muse": 0.006, "dicom": 0.0006, "csv": 0.0006}[kind]
    np.testing.assert_allclose(
        order_leads(record.signal, record.leads), expected, atol=tolerance, rtol=0
    )


def test_dicom_is_a_file_of_the_standard(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="needs the extra [formats]")
    signal = beats(5000, FS)
    path = tmp_path / "a.dcm"
    path.write_bytes(device_files.dicom(signal, 3, "P1", 61.0, True))
    dataset = pydicom.dcmread(path)
    assert (dataset.PatientID, dataset.PatientAge, dataset.PatientSex) == ("P1", "061Y", "F")
    samples = dataset.waveform_array(0)  # in the stated units, uV
    np.testing.assert_allclose(samples.T / 1000, signal, atol=0.0006)
    meanings = [
        channel.ChannelSourceSequence[0].CodeMeaning
        for channel in dataset.WaveformSequence[0].ChannelDefinitionSequence
    ]
    assert meanings == [f"Lead {lead}" for lead in LEADS]


def test_without_pydicom_one_line_states_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pydicom: pip install 'ecg_siglip\[formats\]'"):
        device_files.check_writers()
