"""DICOM ECG waveforms: the same signal as written, or an error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from writers import FS, assert_refused, dicom, dicom_group, ecg, prepared_uv, write

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS


def test_the_longest_original_group_and_its_annotations_are_read(tmp_path: Path):
    record = read_record(write(tmp_path, dicom(ecg()), "dcm"))
    assert record.leads == LEADS
    assert record.comments == ("Sinus rhythm",)


def test_correction_and_padding_are_applied(tmp_path: Path):
    uv = ecg()
    group = dicom_group(uv, FS)
    group.WaveformPaddingValue = np.int16(uv[5, 7]).tobytes()
    group.ChannelDefinitionSequence[5].ChannelSensitivity = "4"
    group.ChannelDefinitionSequence[5].ChannelSensitivityCorrectionFactor = "0.5"
    group.ChannelDefinitionSequence[5].ChannelBaseline = "-30"
    signal = read_record(write(tmp_path, dicom(uv, groups=[group]))).signal
    expected = np.where(uv[5] == uv[5, 7], np.nan, 2 * uv[5] - 30) / 1000
    np.testing.assert_allclose(signal[5], expected, atol=1e-6)
    assert np.isnan(signal[5, 7])


@pytest.mark.parametrize("kind", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_implicit_and_explicit_value_representations(tmp_path: Path, kind: str):
    path = write(tmp_path, dicom(ecg(), syntax=kind))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())


def test_leads_in_several_short_groups_are_a_print_layout(tmp_path: Path):
    uv = ecg()
    short = [dicom_group(uv[i : i + 3, :1250], FS, LEADS[i : i + 3]) for i in range(0, 12, 3)]
    rhythm = dicom_group(uv[1:2], FS, LEADS[1:2])
    path = write(tmp_path, dicom(uv, groups=[*short, rhythm]))
    assert_refused(path, "1 of 12 leads", "print layout")


def test_compressed_files_are_not_unpacked(tmp_path: Path):
    deflated = dicom(ecg(), syntax="1.2.840.10008.1.2.1.99")
    assert_refused(write(tmp_path, deflated), "uncompressed transfer syntax")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dicom(ecg(), sop_class="7"), "expected an ECG waveform, got the SOP class Secon"),
        (lambda: dicom(ecg(), groups=[dicom_group(ecg(), FS, origin="DERIVED")]), "original"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)
