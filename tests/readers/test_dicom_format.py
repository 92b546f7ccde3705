"""DICOM ECG waveforms: the same signal as written, or an error."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import (
    FS,
    assert_refused,
    dicom,
    dicom_group,
    dicom_groups,
    ecg,
    prepared_uv,
    pydicom,
    write,
)

from ecg_siglip.readers.dicom_format import read_dicom
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS

CASES = SHARED / "cases" / "dicom"
EXPLICIT = b"1.2.840.10008.1.2.1\0"


def read_groups(folder: Path, *groups: "pydicom.Dataset", **stated: object) -> Record:
    """Read a DICOM file with these multiplex groups."""
    return read_record(write(folder, dicom(ecg(), groups=list(groups))), **stated)


def test_the_longest_original_group_and_its_annotations_are_read(tmp_path: Path):
    record = read_record(write(tmp_path, dicom(ecg()), "dcm"))
    assert record.leads == LEADS
    assert record.comments == ("Sinus rhythm",)


def test_sensitivity_correction_and_baseline(tmp_path: Path):
    uv = ecg()
    group = dicom_group(uv, FS)
    group.ChannelDefinitionSequence[5].ChannelSensitivity = "4"
    group.ChannelDefinitionSequence[5].ChannelSensitivityCorrectionFactor = "0.5"
    group.ChannelDefinitionSequence[5].ChannelBaseline = "-30"
    signal = read_groups(tmp_path, group).signal
    np.testing.assert_allclose(signal[5], (2 * uv[5] - 30) / 1000, atol=1e-6)


def test_a_correction_factor_of_0_is_refused(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    group.ChannelDefinitionSequence[5].ChannelSensitivityCorrectionFactor = "0"
    with pytest.raises(ValueError, match=r"ChannelSensitivityCorrectionFactor of 0 for lead aVF"):
        read_groups(tmp_path, group)


def in_12_bits(stored: np.ndarray, dtype: str = "<i2") -> "pydicom.Dataset":
    """Return a group of samples that are stored in 12 of 16 bits, (n_leads, n_samples)."""
    group = dicom_group(ecg(), FS)
    for channel in group.ChannelDefinitionSequence:
        channel.WaveformBitsStored, channel.ChannelBaseline = 12, "0"
    group.WaveformData = stored.T.astype(dtype).tobytes()
    return group


def test_the_sign_of_fewer_bits_than_a_sample_has(tmp_path: Path):
    uv = ecg().astype(int)
    for stored, n_warnings in ((uv, 0), (uv & 0xFFF, 1)):
        record = read_groups(tmp_path, in_12_bits(stored))
        np.testing.assert_array_equal(prepared_uv(record), uv)
        assert len(record.warnings) == n_warnings
    for stored in (uv * 10, (uv & 0xFFF) + 0x1000):
        with pytest.raises(ValueError, match=r"states 12 bits stored \(WaveformBitsStored\)"):
            read_groups(tmp_path, in_12_bits(stored))
    group = in_12_bits(uv + 2048)
    group.WaveformSampleInterpretation = "US"
    for channel in group.ChannelDefinitionSequence:
        channel.ChannelBaseline = str(-2048 * float(channel.ChannelSensitivity))
    np.testing.assert_array_equal(prepared_uv(read_groups(tmp_path, group)), uv)


# Padding


@pytest.mark.parametrize("value", [0, 100, 7])
def test_a_padding_value_inside_the_range_is_an_ordinary_sample(tmp_path: Path, value: int):
    group = dicom_group(ecg(), FS)
    group.WaveformPaddingValue = np.int16(value).tobytes()
    record = read_groups(tmp_path, group)
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert record.warnings == ()


@pytest.mark.parametrize("value", [-32768, 32767])
def test_a_padding_value_outside_the_range_is_no_sample(tmp_path: Path, value: int):
    """Also in one lead, and in a lead without any sample."""
    uv = ecg()
    uv[3, 1000:1010] = uv[7, :] = value
    group = dicom_group(uv, FS)
    group.WaveformPaddingValue = np.int16(value).tobytes()
    signal = read_groups(tmp_path, group).signal
    assert np.isnan(signal[3, 1000:1010]).all() and np.isnan(signal[7]).all()
    assert np.isnan(signal).sum() == 10 + uv.shape[1]


def test_padding_of_all_channels_is_cut_off_at_the_ends_and_marked_between(tmp_path: Path):
    uv = ecg()
    group = dicom_group(uv, FS)
    stored = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
    stored[-700:] = stored[2000:2200] = stored[3000:3050] = 0
    group.WaveformData, group.WaveformPaddingValue = stored.tobytes(), bytes(2)
    record = read_groups(tmp_path, group)
    assert record.signal.shape == (12, uv.shape[1] - 700)
    assert record.warnings == ("700 samples of padding at the beginning or end cut off",)
    assert np.isnan(record.signal[:, 2000:2200]).all()
    assert np.isnan(record.signal).sum() == 12 * 200  # 50 samples are no padding


# Groups


def test_leads_in_groups_of_equal_length_are_one_recording(tmp_path: Path):
    record = read_record(write(tmp_path, dicom_groups(ecg())))
    assert record.leads == LEADS
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def strips(uv: np.ndarray, *starts_ms: int | None) -> list["pydicom.Dataset"]:
    """Return four groups of three leads of 2.5 s."""
    return [
        dicom_group(uv[i : i + 3, :1250], FS, LEADS[i : i + 3], start_ms=start_ms)
        for i, start_ms in zip(range(0, 12, 3), starts_ms, strict=True)
    ]


def test_leads_in_several_short_groups_are_a_print_layout(tmp_path: Path):
    uv = ecg()
    rhythm = dicom_group(uv[1:2], FS, LEADS[1:2])
    for groups in ([*strips(uv, None, None, None, None), rhythm],
                   [rhythm, *strips(uv, 0, 2500, 5000, 7500)],
                   strips(uv, 0, 2500, 5000, 7500)):  # fmt: skip
        with pytest.raises(ValueError, match="^record rec: leads .* print layout"):
            read_groups(tmp_path, *groups)


def test_a_rhythm_strip_of_the_same_length_is_a_repetition(tmp_path: Path):
    uv = ecg()
    rhythm = dicom_group(uv[1:2] + 1, FS, LEADS[1:2])
    threes = [dicom_group(uv[i : i + 3], FS, LEADS[i : i + 3]) for i in range(0, 12, 3)]
    for groups in ([*threes, rhythm], [rhythm, *threes]):
        record = read_groups(tmp_path, *groups)
        np.testing.assert_array_equal(prepared_uv(record), uv)
        assert record.warnings == ("5 groups that repeat leads, of each lead the longest is read",)


def test_the_first_of_two_recordings_is_read_with_a_warning(tmp_path: Path):
    groups = [dicom_group(ecg() + 6 * i, FS, start_ms=20_000 * i) for i in (0, 1)]
    record = read_groups(tmp_path, *groups)
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert record.warnings == ("2 groups that repeat leads, of each lead the longest is read",)


def test_derived_groups_are_read_if_there_is_no_original_rhythm(tmp_path: Path):
    record = read_groups(tmp_path, dicom_group(ecg(), FS, origin="DERIVED"))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert "derived" in record.warnings[0]


def test_median_beats_are_no_rhythm(tmp_path: Path):
    beat = dicom_group(ecg(600), FS, origin="DERIVED")
    longer = dicom_group(ecg(), FS)
    longer.MultiplexGroupLabel = "MEDIAN BEAT"
    for groups in ([beat], [longer], [beat, longer]):
        with pytest.raises(ValueError, match="only median beats"):
            read_groups(tmp_path, *groups)


def pressure(n: int, fs: int, name: str = "Arterial pressure") -> "pydicom.Dataset":
    """Return a group of a blood pressure."""
    group = dicom_group(ecg(n)[:1] * 0 + 80, fs, LEADS[:1])
    channel = group.ChannelDefinitionSequence[0]
    channel.ChannelSourceSequence[0].CodeValue = "4:150032"
    channel.ChannelSourceSequence[0].CodeMeaning = name
    channel.ChannelSensitivityUnitsSequence[0].CodeValue = "mm[Hg]"
    return group


@pytest.mark.parametrize("sop_class", ["9.2.1", "9.3.1", "9.1.4", "9.1.3", "9.9"])
def test_ecg_leads_in_any_waveform_class(tmp_path: Path, sop_class: str):
    """Pressures at another rate do not matter, even if their samples cannot be read."""
    odd = pressure(2500, 125)
    odd.WaveformSampleInterpretation, odd.WaveformBitsAllocated = "MB", 8
    for other in (pressure(5000, 250), odd):
        content = dicom(ecg(), groups=[other, dicom_group(ecg(), FS)], sop_class=sop_class)
        record = read_record(write(tmp_path, content))
        assert record.leads == LEADS
        np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_a_waveform_without_leads_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no channel that can be a lead of an ECG: Arterial"):
        read_groups(tmp_path, pressure(5000, 500))


# Times


@pytest.mark.parametrize("unit", ["samples", "s"])
def test_channels_that_are_sampled_one_after_another_are_aligned(tmp_path: Path, unit: str):
    """A ramp keeps its values under linear interpolation but for the very first samples."""
    t = np.arange(5000)
    uv = np.tile(t, (12, 1)).astype(np.int16)
    group = dicom_group(uv, FS)
    for i, channel in enumerate(group.ChannelDefinitionSequence):
        if unit == "samples":
            channel.ChannelSampleSkew = str(1 + i / 12)
        else:
            channel.ChannelTimeSkew = f"{(1 + i / 12) / FS:.12f}"
    signal = 1000 * read_groups(tmp_path, group).signal
    for i in range(12):
        np.testing.assert_allclose(signal[i, 1:], t[1:] - i / 12, atol=2e-3)
    assert signal.shape == (12, 5000)


def test_the_same_skew_in_all_channels_changes_nothing(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    for channel in group.ChannelDefinitionSequence:
        channel.ChannelSampleSkew = "3.5"
    np.testing.assert_array_equal(prepared_uv(read_groups(tmp_path, group)), ecg())


def test_skews_that_contradict_each_other_or_are_those_of_strips_are_refused(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    channel = group.ChannelDefinitionSequence[4]
    channel.ChannelTimeSkew = "2.5"
    with pytest.raises(ValueError, match="begin up to 2.5 s apart"):
        read_groups(tmp_path, group)
    channel.ChannelSampleSkew = "0.5"
    with pytest.raises(ValueError, match=r"lead aVL has a skew of 0\.5 samples and of 2\.5 s"):
        read_groups(tmp_path, group)


def test_a_missing_sampling_rate_can_be_given(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    for rate in ("0", None):
        group.SamplingFrequency = rate
        with pytest.raises(ValueError, match="give read.fs"):
            read_groups(tmp_path, group)
        np.testing.assert_array_equal(prepared_uv(read_groups(tmp_path, group, fs=FS)), ecg())


# Names and units


@pytest.mark.parametrize(
    ("scheme", "code", "meaning", "label", "lead"),
    [
        ("MDC", "2:3", "Lead V1", None, "V1"), ("SCPECG", "5.6.3-9-64", "", None, "aVF"),
        ("MDC", "MDC_ECG_LEAD_V3", "", None, "V3"), ("99X", "7", "Lead I (Einthoven)", None, "I"),
        ("99X", "7", "aVR, augmented voltage, right", None, "aVR"), ("", "", "", "V4", "V4"),
        ("99X", "1", "Channel 1", "ECG II", "II"), ("MDC", "2:0", "unspecified", "V2", "V2"),
        ("MDC", "2:65", "Lead -aVR", None, "Lead -aVR [2:65]"),
        ("MDC", "2:65", "aVR (inverted)", None, "aVR [2:65]"),
        ("99X", "7", "Lead -aVR", None, "Lead -aVR"), ("MDC", "4:3", "x", None, "x"),
    ],
)  # fmt: skip
def test_names_of_leads(scheme: str, code: str, meaning: str, label: str | None, lead: str):
    group = dicom_group(ecg(), FS)
    channel = group.ChannelDefinitionSequence[11]
    source = channel.ChannelSourceSequence[0]
    source.CodingSchemeDesignator, source.CodeValue, source.CodeMeaning = scheme, code, meaning
    if label:
        channel.ChannelLabel = label
    channels = read_dicom(dicom(ecg(), groups=[group])).channels
    name = channels[11].name.removeprefix("MDC_ECG_LEAD_").removeprefix("ECG ")
    assert name.removeprefix("Lead ") == lead.removeprefix("Lead ")


def test_a_channel_with_two_names_is_refused(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    group.ChannelDefinitionSequence[0].ChannelLabel = "V1"
    with pytest.raises(ValueError, match="a channel is named as two leads, I and V1"):
        read_groups(tmp_path, group)


@pytest.mark.parametrize("unit", ["uV", "uV{peak}", "u[V]", "4275", "4:4275", "MDC_DIM_MICRO_VOLT",
                                  "µV", ""])  # fmt: skip
def test_microvolts_in_any_code(tmp_path: Path, unit: str):
    group = dicom_group(ecg(), FS)
    for lead, channel in zip(LEADS, group.ChannelDefinitionSequence, strict=True):
        code = channel.ChannelSensitivityUnitsSequence[0]
        if lead != "V1":
            code.CodeValue, code.CodeMeaning = unit, "" if unit else "microvolt"
    content = dicom(ecg(), groups=[group], charset="ISO_IR 192")
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())


def test_a_channel_in_two_units_is_refused(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    group.ChannelDefinitionSequence[1].ChannelSensitivityUnitsSequence[0].CodeMeaning = "millivolt"
    with pytest.raises(ValueError, match="lead II has two units"):
        read_groups(tmp_path, group)


def test_channels_without_sensitivity_are_counts(tmp_path: Path):
    uv = ecg()
    group = dicom_group(uv, FS)
    group.WaveformData = uv.T.astype("<i2").tobytes()
    for channel in group.ChannelDefinitionSequence:
        del channel.ChannelSensitivity
    with pytest.raises(ValueError, match="read.gain"):
        read_groups(tmp_path, group)
    np.testing.assert_array_equal(prepared_uv(read_groups(tmp_path, group, gain=1000)), uv)


def test_the_status_of_a_channel_is_a_warning(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    group.ChannelDefinitionSequence[8].ChannelStatus = "QUESTIONABLE"
    group.ChannelDefinitionSequence[9].ChannelStatus = "OK"
    assert read_groups(tmp_path, group).warnings == ("lead V3 is marked as QUESTIONABLE",)


# Encodings


@pytest.mark.parametrize("kind", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("bits", [32, 64])
def test_implicit_and_explicit_value_representations(tmp_path: Path, kind: str, bits: int):
    path = write(tmp_path, dicom(ecg(), syntax=kind))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
    group = dicom_group(ecg(), FS)
    group.WaveformBitsAllocated = bits
    group.WaveformSampleInterpretation = {32: "SL", 64: "SV"}[bits]
    stored = np.frombuffer(group.WaveformData, "<i2")
    group.WaveformData = stored.astype(f"<i{bits // 8}").tobytes()
    path = write(tmp_path, dicom(ecg(), groups=[group], syntax=kind))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())


def test_files_without_preamble_or_meta_information(tmp_path: Path):
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"):
        content = dicom(ecg(), syntax=syntax)
        path = write(tmp_path, content[132:])
        np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
        body = content[content.index(b"\x08\0\x05\0") :]
        np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, body))), ecg())


def test_deflated_files_are_unpacked_up_to_a_limit(tmp_path: Path):
    deflated = dicom(ecg(), syntax="1.2.840.10008.1.2.1.99")
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, deflated))), ecg())
    start = deflated.index(b"1.2.840.10008.1.2.1.99") + 22
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(80)) + packer.flush()
    assert_refused(write(tmp_path, deflated[:start] + bomb), "DICOM")


def test_compressed_and_companded_waveforms_are_refused(tmp_path: Path):
    content = dicom(ecg()).replace(EXPLICIT, b"1.2.840.10008.1.2.5\0")
    assert_refused(write(tmp_path, content), "uncompressed transfer syntax, got RLE")
    group = dicom_group(ecg(), FS)
    group.WaveformSampleInterpretation, group.WaveformBitsAllocated = "MB", 8
    with pytest.raises(ValueError, match=r"linear samples .* got 8 bits MB \(mu-law\)"):
        read_groups(tmp_path, group)


def other(sop_class: str, **elements: object) -> bytes:
    """Return a DICOM file without a waveform."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(ecg(), sop_class=sop_class)))
    del dataset.WaveformSequence
    for name, value in elements.items():
        setattr(dataset, name, value)
        if name == "PixelData":
            dataset[name].VR = "OW"
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: other("7"), "SOP class Secondary Capture Image Storage with no waveform"),
        (lambda: other("7", PixelData=bytes(2)), "Storage with an image: export the waveform"),
        (lambda: other("104.1", EncapsulatedDocument=b"%PDF",
                       MIMETypeOfEncapsulatedDocument="application/pdf"),
         "got the SOP class Encapsulated PDF Storage with a document (application/pdf)"),
        (lambda: dicom(ecg()).replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0" * 100_001, 1),
         "DICOM"),
    ],
)  # fmt: skip
def test_other_content_is_named_and_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)


def test_a_group_that_is_not_as_long_as_stated_is_refused(tmp_path: Path):
    group = dicom_group(ecg(), FS)
    group.NumberOfWaveformSamples += 1
    with pytest.raises(ValueError, match="expected 12 leads of 5001 samples, got 12 leads in"):
        read_groups(tmp_path, group)


# Independent readers


def assert_same_as_pydicom(path: Path, i_group: int = 0) -> None:
    """Check the samples, rates and names of a file against pydicom, in mV."""
    group = pydicom.dcmread(path).WaveformSequence[i_group]
    reference = pydicom.dcmread(path).waveform_array(i_group).T / 1000
    record = read_record(path)
    assert record.fs == group.SamplingFrequency
    meanings = [c.ChannelSourceSequence[0].CodeMeaning for c in group.ChannelDefinitionSequence]
    assert [m.removeprefix("Lead ").partition(" (")[0] for m in meanings] == list(record.leads)
    np.testing.assert_allclose(record.signal, reference, atol=1e-6)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs shared/cases")
@pytest.mark.parametrize("name", ["derived_only", "ecgtoolkit_Example", "padding0"])
def test_files_of_users_are_read(name: str):
    assert_same_as_pydicom(CASES / f"{name}.dcm")
    assert ("derived" in "".join(read_record(CASES / f"{name}.dcm").warnings)) == (
        name == "derived_only"
    )


@pytest.mark.skipif(not CASES.is_dir(), reason="needs shared/cases")
def test_three_leads_in_each_group_of_a_users_file():
    path = CASES / "groups_of3_full.dcm"
    record = read_record(path)
    dataset = pydicom.dcmread(path)
    reference = np.hstack([dataset.waveform_array(i) for i in range(4)]).T / 1000
    assert (record.leads, record.fs) == (LEADS, 1000)
    np.testing.assert_allclose(record.signal, reference, atol=1e-6)


def test_a_file_of_a_library_is_read():
    path = pydicom.data.get_testdata_file("waveform_ecg.dcm", download=False)
    if path is None:
        pytest.skip("pydicom without its test files")
    assert_same_as_pydicom(Path(path))
