"""Formats of devices: as written, as independent readers read them, with bounded work."""

import base64
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import (
    FS,
    assert_refused,
    ecg,
    ishne,
    mfer,
    mortara,
    scp,
    sierra,
    write,
)

from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, lead_name, order_leads

CASES = SHARED / "cases"
LONG = b'DATA="' + b"A" * (1 << 20)
WAV = b"\x1e\x04\0\0\0\0"  # a waveform of MFER


def read_uv(path: Path, **stated: object) -> np.ndarray:
    record = read_record(path, **stated)
    return 1000 * order_leads(record.signal, record.leads)


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new, 1)


def sierra_with(*pairs: str) -> bytes:
    """Return a Sierra export in UTF-8 with the first of two strings replaced by the second."""
    content = sierra(ecg()).decode("utf-16")
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in content
        content = content.replace(old, new)
    return content.encode()


@pytest.mark.parametrize("name", ["129DYPRG.XML", "ad4d_orig.xml"])
def test_sierra_as_sierraecg_reads_it(name: str):
    path = CASES / "philips" / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    sierraecg = pytest.importorskip("sierraecg", reason="the independent reader")
    record, other = read_record(path), sierraecg.read_file(str(path))
    assert record.fs == 500
    assert record.leads == LEADS
    for row, lead, name in zip(record.signal, other.leads, record.leads, strict=True):
        assert (lead.label, lead.sampling_freq) == (name, record.fs)
        # Both files state 5 uV per count, which sierraecg does not read.
        np.testing.assert_allclose(row, 0.005 * lead.samples, atol=1e-6)
    assert record.comments[0].lower() == "sinus bradycardia"


def test_a_written_sierra_file_as_sierraecg_reads_it(tmp_path: Path):
    sierraecg = pytest.importorskip("sierraecg", reason="the independent reader")
    path = write(tmp_path, sierra(ecg()), "xml")
    record, other = read_record(path), sierraecg.read_file(str(path))
    for row, lead in zip(record.signal, other.leads, strict=True):
        np.testing.assert_allclose(1000 * row, 0.5 * lead.samples, atol=1e-3)


def test_scp_as_written_and_the_case_as_its_dicom_copy():
    paths = CASES / "scp" / "Example.scp", CASES / "dicom" / "ecgtoolkit_Example.dcm"
    if not paths[0].is_file():
        pytest.skip(f"needs {paths[0]}")
    pydicom = pytest.importorskip("pydicom")
    record = read_record(paths[0])
    assert record.fs == 500
    assert record.signal.shape == (12, 5000)
    assert not record.warnings
    group = pydicom.dcmread(paths[1]).WaveformSequence[0]
    data = np.frombuffer(group.WaveformData, "<i2").reshape(-1, group.NumberOfWaveformChannels)
    channels = [
        (c.ChannelSourceSequence[0].CodeMeaning, float(c.ChannelSensitivity))
        for c in group.ChannelDefinitionSequence
    ]
    ours = {lead_name(name): row for name, row in zip(record.leads, record.signal, strict=True)}
    assert len(channels) == 12
    for (name, step), column in zip(channels, data.T, strict=True):
        np.testing.assert_allclose(1000 * ours[lead_name(name)], step * column, atol=1e-3)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(("writer", "kind"), [(scp, "scp"), (sierra, "xml")])
def test_both_ways_of_storing_are_the_same_signal(
    tmp_path: Path, writer: Callable, kind: str, compressed: bool
):
    path = write(tmp_path, writer(ecg(), FS, compressed), kind)
    np.testing.assert_allclose(read_uv(path), ecg(), atol=1e-3)


@pytest.mark.parametrize("writer", [scp, mfer])
def test_the_rate_is_not_rounded_to_whole_hz(tmp_path: Path, writer: Callable):
    record = read_record(write(tmp_path, writer(ecg(), 1e6 / 3900)))
    assert record.fs == pytest.approx(1e6 / 3900, rel=1e-8)
    content = mortara(ecg()).replace(b'SAMPLE_FREQ="500"', b'SAMPLE_FREQ="488.28"')
    assert read_record(write(tmp_path, content)).fs == 488.28


def test_leads_of_scp_begin_where_they_state(tmp_path: Path):
    content = scp(ecg(), FS, False)
    at = content.index(struct.pack("<IIB", 1, ecg().shape[1], 61))
    moved = struct.pack("<II", 1251, 1250 + ecg().shape[1])
    path = write(tmp_path, content[:at] + moved + content[at + 8 :])
    assert_refused(path, "print layout")
    message = "CRC mismatch in: record, Section 3"
    moved = struct.pack("<II", 2, 1 + ecg().shape[1])
    record = read_record(write(tmp_path, content[:at] + moved + content[at + 8 :]))
    assert message in record.warnings[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: replaced(scp(ecg()), struct.pack("<I", 5000), struct.pack("<I", 1 << 31)),
            "too large when unpacked",
        ),
        (lambda: replaced(scp(ecg()), b"\xf4\x01\xd0\x07\x02", b"\xf4\x01\0\0\2"), "interval is 0"),
        (lambda: scp(ecg())[:5000], "declares"),
        (lambda: sierra_with('second="500"', 'second="250"'), "samplespersecond, got 250 and 500"),
        (lambda: sierra_with(">500<", ">9.5<", 'second="500"', 'second=""'), "whole Hz, got 9.5"),
        (lambda: sierra_with("1.04", "9.99"), "PhilipsECG 9.99"),
        (lambda: sierra_with('resolution="', 'r="'), "read.gain"),
        (lambda: sierra_with('"10000"', '"20000"'), "5000 samples, 10000"),
        (lambda: sierra_with('"10000"', '"1e9"'), "5000 samples, 500000000 expected"),
        (lambda: b"<restingecgdata/>", "one element parsedwaveforms, got 0"),
        (lambda: mortara(ecg()).replace(b'OFFSET="0"', b'OFFSET="5"'), "an OFFSET other than 0"),
        (lambda: mortara(ecg()).replace(b'UNITS_PER_MV="2000"', b""), "read.gain"),
        (lambda: mortara(ecg()).replace(b'SAMPLE_FREQ="500"', b""), "invalid SAMPLE_FREQ"),
        (lambda: mortara(ecg()).replace(b'DURATION="5000"', b'DURATION="4000"'), "DURATION=4000"),
        (lambda: mortara(ecg()).replace(b'DATA="', LONG, 1), "DATA holds"),
        (lambda: b"<ECG>" + b"<CHANNEL/>" * 65 + b"</ECG>", "1 to 64 CHANNEL, got 65"),
        (lambda: mfer(ecg())[:3000], "declares"),
        (lambda: replaced(mfer(ecg()), b"\x05\x01\x0c", b"\x05\x02\0\x0c"), "far larger than"),
        (lambda: b"@\x04MFR \x67\x06\x05\x04\x01\0\0\0" + WAV, "16777216 channels"),
        (lambda: b"@\x04MFR " + b"\x02\0" * 140_000, "no waveform data"),
        (lambda: b"@\x04MFR " + b"\x67\x80" * 100, "End-of-Contents"),
        (lambda: b"@\x04MFR \x67\x84\0\x01\0\x01" + bytes(70_000), "no waveform data"),
        (lambda: b"@\x04MFR \x16\x84\0\x45\0\0" + bytes(1 << 23), "no waveform data"),
        (lambda: b"@\x04MFR \x03\x08punycode" + WAV, "no units"),
        (lambda: b"@\x04MFR " + WAV, "no units"),
        (lambda: b"@\x04MFR \x16\x01a", "no waveform data"),
        (lambda: ishne(ecg())[:400], "a header of 522 bytes"),
        (lambda: ishne(ecg())[:530], "the file is cut off"),
        (lambda: replaced(ishne(ecg()), b"\x0c\0\5", b"\x63\0\5"), "1 to 12 leads"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)
    with pytest.raises(ValueError, match="rec") as error:
        read_record(tmp_path / "rec.bin")
    assert str(tmp_path) not in str(error.value)
    assert "/record" not in str(error.value)
    assert len(str(error.value)) < 250


def test_too_many_beats_to_add_are_refused(tmp_path: Path):
    content = scp(ecg(), FS, False)
    beats = struct.pack("<HHH", 600, 300, 60_000)
    section = struct.pack("<HHIBB6x", 0, 4, 16 + len(beats), 20, 20) + beats
    at = 7 + 16 + 10  # the pointer to section 1
    pointer = struct.pack("<HII", 4, len(section), len(content) + 1)
    path = write(tmp_path, content[:at] + pointer + content[at + 10 :] + section)
    assert_refused(path, "lies outside")


def test_compressed_samples_do_not_become_more_than_stated(tmp_path: Path):
    # Each code adds a string one byte longer than the last: 60 KB would become 30 MB.
    codes = [0, *range(256, 1023)] + [1022] * 48_000
    bits = "".join(f"{code:010b}" for code in codes)
    chunk = int(bits, 2).to_bytes(len(bits) // 8, "big")
    data = base64.b64encode(struct.pack("<ihh", len(chunk), 0, 0) + chunk).decode()
    content = re.sub(r">[\w+/=]{99,}<", f">{data}<", sierra_with().decode())
    path = write(tmp_path, content.encode())
    assert_refused(path, "XML: damaged")


def test_channels_of_mfer_with_other_units_are_no_counts(tmp_path: Path):
    # Of the last lead: 10 counts per mmHg.
    pressure = b"\x3f\x0b\x0a\x09\x02\x8f\x00\x0c\x04\x01\xff\x01\x00"
    content = replaced(mfer(ecg()), b"\x3f\x0b\x04\x09\x02\x08\x00", pressure)
    record = read_record(write(tmp_path, content))
    assert [lead_name(name) for name in record.leads] == list(LEADS[:11])
    np.testing.assert_allclose(1000 * record.signal, ecg()[:11], atol=1e-3)


def test_frames_of_mfer_that_do_not_follow_each_other_are_refused(tmp_path: Path):
    content = mfer(ecg())
    frame = content[content.index(b"\x1e\x84") : -2]
    path = write(tmp_path, content[:-2] + frame + b"\x80\0")
    assert read_record(path).signal.shape == (12, 2 * ecg().shape[1])
    path = write(tmp_path, content[:-2] + b"\x07\x04" + struct.pack("<i", 9999) + frame + b"\x80\0")
    assert_refused(path, "the signal has gaps")


def test_leads_of_ishne_without_a_name_can_be_named(tmp_path: Path):
    path = write(tmp_path, ishne(ecg(), FS, codes=(0, 1, 0)))
    assert_refused(path, "does not name its 3 leads", "read.leads")
    record = read_record(path, leads=["V1", "V5", "II"])
    assert record.leads == ("V1", "V5", "II")
    np.testing.assert_allclose(1000 * record.signal, ecg()[:3], atol=1e-3)


def test_ishne_as_ecgdatakit_reads_it(tmp_path: Path):
    from ecgdatakit.parsing.parsers.ishne_holter import ISHNEHolterParser

    path = write(tmp_path, ishne(ecg()), "ecg")
    record, other = read_record(path), ISHNEHolterParser().parse(path)
    assert record.leads == tuple(lead.label for lead in other.leads)
    assert record.fs == other.leads[0].sampling_rate
    for row, lead in zip(record.signal, other.leads, strict=True):
        np.testing.assert_allclose(1000 * row, lead.to_physical().samples, atol=1e-3)


def test_what_an_ishne_header_states_wrongly_is_named(tmp_path: Path):
    content = bytearray(ishne(ecg()))
    struct.pack_into("<h", content, 522 + 24 * 100, -32768)  # lead I, the mark of a lead fault
    content[300] ^= 1
    record = read_record(write(tmp_path, bytes(content[: 522 + 24 * 4000])))
    assert np.isnan(record.signal[0, 100])
    assert np.isfinite(record.signal).sum() == 12 * 4000 - 1
    assert [warning.split(":")[0] for warning in record.warnings] == [
        "ISHNE checksum mismatch",
        "the header states 5000 samples, the file has 4000",
    ]


def test_warnings_of_the_library_reach_the_user_and_no_other(tmp_path: Path):
    content = bytearray(scp(ecg()))
    content[0] ^= 1
    path = write(tmp_path, bytes(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = read_record(path)
    assert record.warnings == ("SCP-ECG CRC mismatch in: record",)
    assert not caught


@pytest.mark.parametrize("compressed", [False, True])
def test_a_sierra_file_that_names_fewer_leads_than_it_has_is_refused(tmp_path, compressed):
    text = sierra(ecg(), compressed=compressed).decode("utf-16").replace("V2 V3 V4", "V2 V4")
    assert_refused(write(tmp_path, text.encode("utf-16")), "names 11 leads, and states 12")


def test_a_sierra_file_with_more_samples_than_stated_is_refused(tmp_path):
    text = sierra(ecg(), compressed=False).decode("utf-16")
    text = text.replace('durationperchannel="10000"', 'durationperchannel="5000"')
    path = write(tmp_path, text.encode("utf-16"))
    assert_refused(path, "expected 60000 bytes of samples, got 120000")
