"""Pieces of a record, read without the rest of it."""

import numpy as np
import pytest
from helpers import rewritten
from writers import FS, ecg, write_wfdb

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers import wfdb_format
from ecg_siglip.readers.record import open_record, read_record
from ecg_siglip.simulation import dataset


@pytest.fixture(scope="module")
def parts(simulated):
    """Paths of three records."""
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]]


@pytest.mark.parametrize("fmt", ["16", "212", "32"])
def test_a_piece_equals_that_part_of_the_whole_record(parts, tmp_path, fmt):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal, fmt=[fmt] * 12)
    whole, source = read_record(long), open_record(long)
    assert (source.name, source.fs, source.n_samples) == ("long", 100.0, 7000)
    for first, last in ((0, 1000), (1234, 2345), (6000, 7000)):
        piece = source.piece(first, last)
        assert (piece.name, piece.fs, piece.leads) == (whole.name, whole.fs, whole.leads)
        assert np.array_equal(piece.signal, whole.signal[:, first:last])


@pytest.mark.parametrize("fmt", ["16", "212", "24"])
def test_the_checksums_of_a_record_in_pieces_are_compared(tmp_path, monkeypatch, fmt):
    header = write_wfdb(tmp_path, np.tile(ecg(), 7), fmt=fmt)
    monkeypatch.setattr(wfdb_format, "BLOCK", 12 * 999)
    assert open_record(header).n_samples == 35_000
    text = header.read_text()
    last = text.splitlines()[-1].split()
    wrong = [*last[:6], str(int(last[6]) % 65535 + 1), *last[7:]]
    header.write_text(text.replace(" ".join(last), " ".join(wrong)))
    with pytest.raises(ValueError, match=r"record rec: rec.dat or its .* checksum of lead V6 is"):
        open_record(header)
    segments = header.with_name("ms.hea")
    segments.write_text(f"ms/2 12 {FS} 70000\nrec 35000\nrec 35000\n")
    with pytest.raises(ValueError, match=r"record ms: rec.dat or its .* checksum of lead V6 is"):
        open_record(segments)


def test_pieces_of_records_that_are_read_whole(parts, tmp_path):
    record = read_record(parts[0])
    path = tmp_path / "a.npz"
    np.savez(path, signal=record.signal, fs=record.fs, leads=record.leads, units="mV")
    for source in (open_record(parts[0]), open_record(path)):
        assert source.duration_s == 10.0
        assert np.array_equal(source.piece(100, 300).signal, record.signal[:, 100:300])


def test_a_record_that_is_too_large_to_be_read_whole_is_read_in_pieces(tmp_path):
    """A day of 500 Hz: 1 GB, which takes no space on the disk as a file of zeros."""
    signal = np.arange(12_000).reshape(12, 1000).astype(np.int16)
    dataset.write_wfdb(tmp_path / "day", signal, 500)
    n_samples, first = 24 * 3600 * 500, 20_000_000
    header, data = tmp_path / "day.hea", tmp_path / "day.dat"
    header.write_text(header.read_text().replace("12 500 1000", f"12 500 {n_samples}"))
    samples = data.read_bytes()
    with data.open("wb") as file:
        file.truncate(24 * n_samples)
        file.seek(24 * first)
        file.write(samples)
    with pytest.raises(ValueError, match="record day: the header promises"):
        read_record(tmp_path / "day")
    source = open_record(tmp_path / "day")
    assert source.duration_s == 24 * 3600
    piece = source.piece(first, first + 1000)
    assert np.array_equal(np.rint(1000 * piece.signal), signal)
    data.write_bytes(samples)
    with pytest.raises(ValueError, match=r"record day: day\.dat is truncated"):
        open_record(tmp_path / "day")


def test_a_contradiction_to_the_file_is_an_error_for_pieces_too(parts, tmp_path):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal)
    with pytest.raises(ValueError, match=r"record long: .*contradicts read\.fs=500"):
        open_record(long, fs=500)
    with pytest.raises(ValueError, match=r"record long: .*contradicts read\.units=V"):
        open_record(long, units="V").piece(0, 1000)


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_channels_are_named_by_the_caller_in_pieces_too(parts, tmp_path, suffix):
    """As in the MIT-BIH data sets, whose channels are ECG1 and ECG2."""
    signal = np.tile(read_record(parts[0]).signal[1:3], 7).T.astype(float)
    names = {"sig_name": ["ECG1", "ECG2"], "units": ["mV"] * 2, "fmt": ["212"] * 2}
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal, **names)
    path, given = f"{long}{suffix}", {"leads": ["II", "V1"]}
    whole, source = read_record(path, **given), open_record(path, **given)
    assert whole.leads == ("II", "V1")
    piece = source.piece(1000, 3000)
    assert piece.leads == ("II", "V1")
    assert np.array_equal(piece.signal, whole.signal[:, 1000:3000])
    assert open_record(path, leads=["II", "-"]).piece(0, 10).leads == ("II",)
    with pytest.raises(ValueError, match=r"record long: 1 names in read.leads for 2 channels"):
        open_record(path, leads=["II"])


def test_counts_get_their_size_from_the_caller_in_pieces_too(parts, tmp_path):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal)
    header = long.with_suffix(".hea")
    lines = [line.split(" ", 3) for line in header.read_text().splitlines()]
    for fields in lines[1:]:
        fields[2] = "0"
    header.write_text("\n".join(map(" ".join, lines)))
    with pytest.raises(ValueError, match=r"record long: .*read\.gain"):
        open_record(long)
    whole, source = read_record(long, gain=1000), open_record(long, gain=1000)
    assert np.array_equal(source.piece(10, 90).signal, whole.signal[:, 10:90])


def test_the_rate_is_given_by_the_caller_in_pieces_too(parts, tmp_path):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    header = rewritten(parts[0], tmp_path, "long", p_signal=signal).with_suffix(".hea")
    header.write_text(header.read_text().replace("long 12 100 7000", "long 12"))
    with pytest.raises(ValueError, match=r"record long: .*read\.fs"):
        open_record(header)
    source = open_record(header, fs=100)
    assert (source.fs, source.duration_s, source.piece(5, 9).fs) == (100.0, 70.0, 100.0)
