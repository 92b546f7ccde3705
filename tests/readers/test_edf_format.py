"""EDF, EDF+, BDF and BDF+ files: the same signal as written, or an error."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED
from writers import FS, assert_refused, bdf, ecg, edf, edfio, prepared_uv, write

from ecg_siglip.readers import edf_format
from ecg_siglip.readers.edf_format import read_edf
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

CASES = SHARED / "cases" / "edf"
N_RECORDS, DURATION, SIGNAL = slice(236, 244), slice(244, 252), 256


def patched(content: bytes, field: slice, text: bytes) -> bytes:
    """Return a file with another text in a field of its header."""
    return content[: field.start] + text.ljust(field.stop - field.start) + content[field.stop :]


def signal_field(content: bytes, name: str, i: int, text: bytes) -> bytes:
    """Return a file with another text in a field of a signal."""
    n, start = int(content[252:256]), SIGNAL
    for other, width in edf_format.FIELDS.items():
        if other == name:
            start += i * width
            return patched(content, slice(start, start + width), text)
        start += n * width
    raise KeyError(name)


def with_onsets(onsets_s: list[float], kind: bytes, start: bytes = b"0") -> bytes:
    """Return an EDF+ of one lead I, a ramp, with a data record of 1 s for each onset."""
    n = len(onsets_s)
    head = edf(ecg(FS))[:256]
    head = patched(patched(head, N_RECORDS, b"%d" % n), slice(252, 256), b"2")
    head = patched(head, slice(192, 236), kind)
    fields = {
        "label": (b"I", b"EDF Annotations"), "unit": (b"uV", b""), "low": (b"-32768", b"-1"),
        "high": (b"32767", b"1"), "digital_low": (b"-32768",) * 2, "digital_high": (b"32767",) * 2,
        "n_samples": (b"100", b"20"),
    }  # fmt: skip
    for name, width in edf_format.FIELDS.items():
        head += b"".join(text.ljust(width) for text in fields.get(name, (b"", b"")))
    for i, onset in enumerate(onsets_s):
        head += np.arange(100 * i, 100 * (i + 1), dtype="<i2").tobytes()
        head += (b"+%g\x14\x14\0" % onset).ljust(40, b"\0")
    return head


def test_edf_in_millivolts_and_with_other_signals(tmp_path: Path):
    recording = edfio.read_edf(edf(ecg(), unit="mV"))
    breath = edfio.EdfSignal(np.sin(np.arange(100.0)), 10, label="Resp", physical_dimension="L/min")
    recording.append_signals(breath)
    recording.set_annotations([edfio.EdfAnnotation(1.0, None, "a beat")])
    record = read_record(write(tmp_path, recording.to_bytes(), "edf"))
    assert record.leads == tuple(f"ECG {lead}" for lead in LEADS)
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_signals_of_other_rates_do_not_matter_but_leads_have_one(tmp_path: Path):
    recording = edfio.read_edf(edf(ecg()))
    other = edfio.EdfSignal(np.sin(np.arange(1000.0)), 100, label="V7", physical_dimension="mV")
    recording.append_signals(other)
    content = recording.to_bytes()
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())
    content = signal_field(content, "label", 12, b"V6")
    content = signal_field(content, "label", 11, b"V7")
    assert_refused(write(tmp_path, content), "one sampling rate", "V6 100 Hz")


@pytest.mark.parametrize(
    "unit",
    ["uV", "µV".encode(), "μV".encode(), "µV".encode("latin-1"), "µV".encode("cp437"),
     "μV".encode("cp1253"), "μV".encode("shift-jis"), "μV".encode("gbk"), "µ V".encode("latin-1"),
     b"UV", b"uV\0\0", b"?V", b"uVolt", b"microVol", "µVolt".encode("latin-1")],
)  # fmt: skip
def test_microvolts_in_any_encoding(tmp_path: Path, unit: bytes | str):
    content = edf(ecg())
    for i in range(12):
        content = signal_field(content, "unit", i, unit if isinstance(unit, bytes) else b"uV")
    record = read_record(write(tmp_path, content))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert bool(record.warnings) == (unit == b"?V")


@pytest.mark.parametrize("unit", [b"mVolt", b"milliV", b"MilliVol"])
def test_millivolts_in_words(tmp_path: Path, unit: bytes):
    content = edf(ecg(), unit="mV")
    for i in range(12):
        content = signal_field(content, "unit", i, unit)
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())


def test_labels_with_the_reference_of_an_eeg_are_leads(tmp_path: Path):
    content = edf(ecg())
    for i, lead in enumerate(LEADS):
        content = signal_field(content, "label", i, f"ECG {lead}-Ref".encode())
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())


def test_odd_fields_of_the_header_do_not_stop_the_reader(tmp_path: Path):
    content = patched(edf(ecg()), slice(8, 88), "Müller, Jörg".encode("latin-1"))
    content = patched(content, slice(168, 184), b"00/00/0000:00:0")
    content = patched(content, slice(184, 192), b"4096")
    content = content[:1] + bytes(7) + content[8:244] + b"1\0\0\0\0\0\0\0" + content[252:]
    for i in range(12):
        content = signal_field(content, "label", i, LEADS[i].encode() + b"\0\0\0")
        content = signal_field(content, "low", i, b"-32768,0")
        content = signal_field(content, "filters", i, b"\xff\xfe")
    record = read_record(write(tmp_path, content))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert record.leads == LEADS
    assert record.warnings == ("decimal commas in the header, read as points",)


@pytest.mark.parametrize("stated", [b"-1", b"0", b""])
def test_an_unknown_number_of_data_records_follows_from_the_size(tmp_path: Path, stated: bytes):
    content = patched(edf(ecg()), N_RECORDS, stated)
    record = read_record(write(tmp_path, content))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert record.warnings == ("the number of data records is not stated, 10 follow from the size",)
    assert read_record(write(tmp_path, content[:-5])).signal.shape == (12, 9 * FS)


def test_a_last_data_record_that_is_not_whole_is_left_out_with_a_warning(tmp_path: Path):
    record = read_record(write(tmp_path, edf(ecg())[:-5]))
    assert record.signal.shape == (12, 9 * FS)
    assert record.warnings == ("the last of 10 data records is not whole and left out",)
    one_less = edf(ecg())[: -2 * 12 * FS]
    assert_refused(write(tmp_path, one_less), "states 10 data records, the file has 9")


def test_padding_after_the_last_data_record_is_ignored_and_other_bytes_are_refused(tmp_path: Path):
    record = read_record(write(tmp_path, edf(ecg()) + bytes(512)))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    path = write(tmp_path, edf(ecg()) + b"\0\x01" * 12)
    assert_refused(path, "the header states", "bytes, the file has")


def test_bdf_has_24_bits(tmp_path: Path):
    """Counts beyond 16 bits, of both signs, in files of BioSemi's form."""
    uv = ecg().astype(float) * 5 + np.array([[150_000.25, -150_000.25] * 6]).T
    samples = np.array([channel.samples for channel in read_edf(bdf(uv)).channels])
    np.testing.assert_array_equal(samples, uv)


def test_gain_of_signals_with_an_inverted_physical_range(tmp_path: Path):
    """A physical minimum above the maximum is how EDF states a negative gain."""
    content = edf(ecg())
    for name, text in (("low", b"32767"), ("high", b"-32768")):
        content = signal_field(content, name, 0, text)
    signal = read_record(write(tmp_path, content)).signal
    np.testing.assert_allclose(1000 * signal[0], -1.0 - ecg()[0], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text"),
    [("digital_low", b"32767"), ("low", b"32767"), ("high", b""), ("low", b"1_0"), ("low", b"nan")],
)
def test_an_empty_range_matters_only_for_leads(tmp_path: Path, name: str, text: bytes):
    content = edf(ecg())
    lead = signal_field(content, name, 3, text)
    assert_refused(write(tmp_path, lead), "the range is empty for lead ECG aVR")
    other = signal_field(lead, "label", 3, b"-")
    assert len(read_record(write(tmp_path, other)).leads) == 11


def test_signals_without_calibration_are_counts(tmp_path: Path):
    content = edf(ecg())
    for i in range(12):
        for name, text in (("unit", b""), ("low", b"0"), ("high", b"0")):
            content = signal_field(content, name, i, text)
    assert_refused(write(tmp_path, content), "read.gain")
    record = read_record(write(tmp_path, content), gain=1000)
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_the_rate_has_to_be_given_if_the_data_records_have_no_duration(tmp_path: Path):
    path = write(tmp_path, patched(edf(ecg()), DURATION, b"0"))
    assert_refused(path, "give read.fs")
    np.testing.assert_array_equal(prepared_uv(read_record(path, fs=FS)), ecg())


def test_data_records_of_a_fraction_of_a_second(tmp_path: Path):
    record = read_record(write(tmp_path, patched(edf(ecg()), DURATION, b"0.5")))
    assert (record.fs, record.signal.shape) == (2 * FS, (12, 10 * FS))


def test_a_recording_declared_to_have_gaps_but_without_them_is_read_whole():
    stated = read_edf(with_onsets([0, 1, 2, 3], b"EDF+D"))
    assert (len(stated.channels[0].samples), stated.warnings) == (400, [])


@pytest.mark.parametrize("kind", [b"EDF+D", b"EDF+C"])
def test_the_longest_part_without_a_gap_is_read_with_a_warning(kind: bytes):
    stated = read_edf(with_onsets([0, 1, 7, 8, 9, 60], kind))
    np.testing.assert_array_equal(stated.channels[0].samples, np.arange(200, 500))
    assert stated.warnings == [
        "a recording in 3 parts, the first gap at 2 s: only the longest part is read, 7 to 10 s"
    ]


def test_times_that_cannot_be_right_are_ignored_or_refused():
    assert read_edf(with_onsets([0, 0, 0], b"EDF+C")).warnings == []
    with pytest.raises(ValueError, match="data records of 1 s that begin every 2 s"):
        read_edf(with_onsets([0, 2, 4], b"EDF+C"))
    for content in (with_onsets([0, 1], b"EDF+D").replace(b"+1\x14", b"?1\x14"),
                    edf(ecg())[:192] + b"EDF+D" + edf(ecg())[197:]):  # fmt: skip
        with pytest.raises(ValueError, match="does not state where they are"):
            read_edf(content)


def test_large_files_are_read_in_single_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    exact = read_record(write(tmp_path, bdf(ecg()))).signal
    monkeypatch.setattr(edf_format, "LARGE_BYTES", 0)
    np.testing.assert_allclose(read_record(write(tmp_path, bdf(ecg()))).signal, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(edf(ecg()), N_RECORDS, b"99999999"), "the header states 99999999 data records"),
        (patched(edf(ecg()), N_RECORDS, b"1e309"), "a number of data records, got '1e309'"),
        (patched(edf(ecg()), slice(252, 256), b"9999"), "bytes of header for 9999 signals"),
        (patched(edf(ecg()), DURATION, b"-1"), "a number of seconds in a data record"),
        (signal_field(edf(ecg()), "n_samples", 2, b""), "a number of samples in a data record"),
        (edf(ecg()).replace(b"uV", b"kg"), "got kg"),
        (edf(ecg())[: 256 * 13], "states 10 data records, the file has 0"),
        (patched(edf(ecg())[: 256 * 13], N_RECORDS, b"-1"), "no whole data record"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, content: bytes, message: str):
    assert_refused(write(tmp_path, content), message)


@pytest.mark.parametrize("fmt", ["edf", "bdf"])
def test_the_same_as_independent_readers(tmp_path: Path, fmt: str):
    """Amplitudes, rates, names, units and lengths, in EDF+ and BDF+ with signals of two rates."""
    make, library = {"edf": (edf, edfio.read_edf), "bdf": (bdf, edfio.read_bdf)}[fmt]
    recording = library(make(ecg()))
    kind = edfio.EdfSignal if fmt == "edf" else edfio.BdfSignal
    recording.append_signals(kind(np.sin(np.arange(100.0)), 10, label="Resp"))
    recording.set_annotations([edfio.EdfAnnotation(1.0, None, "a beat")])
    assert_same_as_pyedflib(write(tmp_path, recording.to_bytes(), fmt))
    reference = library((tmp_path / f"rec.{fmt}").read_bytes()).signals
    for channel, signal in zip(read_edf(recording.to_bytes()).channels, reference, strict=True):
        assert (channel.name, channel.fs) == (signal.label, signal.sampling_frequency)
        np.testing.assert_allclose(channel.samples, signal.data, atol=1e-9)


def assert_same_as_pyedflib(path: Path) -> None:
    """Check names, units, rates and samples of a file against pyedflib."""
    pyedflib = pytest.importorskip("pyedflib")
    channels = read_edf(path.read_bytes()).channels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pyedflib.EdfReader(str(path)) as reader:
            labels = [name for name in reader.getSignalLabels() if "Annotations" not in name]
            assert [channel.name for channel in channels] == labels
            for i, channel in enumerate(channels):
                assert channel.fs == reader.getSampleFrequency(i)
                assert channel.unit == reader.getPhysicalDimension(i)
                np.testing.assert_allclose(channel.samples, reader.readSignal(i), atol=1e-9)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs shared/cases")
def test_files_of_users_are_read(shared_ptbxl: Path):
    reference = read_record(shared_ptbxl / "records500" / "00000" / "00001_hr")
    for name in ("nrec_minus1", "unit_micro_utf8"):
        record = read_record(CASES / f"{name}.edf")
        assert (record.leads, record.fs) == (LEADS, FS)
        np.testing.assert_allclose(record.signal, reference.signal, atol=5e-5)
    assert_same_as_pyedflib(CASES / "psg.edf")
    record = read_record(CASES / "psg.edf")
    assert (record.leads, record.fs, record.signal.shape) == (("ECG II",), 256, (1, 2560))
    assert_same_as_pyedflib(CASES / "holter3.edf")
    record = read_record(CASES / "holter3.edf", leads=["II", "V1", "V5"])
    assert (record.leads, record.signal.shape) == (("II", "V1", "V5"), (3, 10 * FS))
