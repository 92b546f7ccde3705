"""Samples of WFDB records: every format against wfdb and against what was written."""

import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb
from writers import assert_refused, ecg, write_wfdb

from ecg_siglip.readers import wfdb_format, wfdb_samples
from ecg_siglip.readers.record import open_record, read_record

NAMES = ["I", "II", "III"]


def pack(counts: np.ndarray, fmt: str) -> bytes:
    """Write samples in a format that wfdb only reads, as signal(5) describes it."""
    flat = counts.reshape(-1).astype(np.int64)
    if fmt == "8":
        return np.diff(counts, axis=0, prepend=counts[:1]).astype("i1").tobytes()
    if fmt == "61":
        return flat.astype(">i2").tobytes()
    if fmt == "160":
        return (flat + 32768).astype("<u2").tobytes()
    a, b, c = np.pad(flat, (0, -len(flat) % 3)).reshape(-1, 3).T & 0x3FF
    if fmt == "311":
        return (a | b << 10 | c << 20).astype("<u4").tobytes()
    pairs = np.stack([a << 1 | (c & 31) << 11, b << 1 | (c >> 5) << 11], axis=1)  # 310
    return pairs.astype("<u2").tobytes()


RANGE = {"80": 120, "508": 120, "310": 500, "311": 500, "212": 2000, "24": 8_000_000,
         "32": 2_000_000_000, "524": 8_000_000}  # fmt: skip


@pytest.mark.parametrize("n", [6100, 6101])
@pytest.mark.parametrize(
    "fmt", ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"]
)
def test_every_format_whole_and_in_pieces(tmp_path: Path, fmt: str, n: int):
    rng = np.random.default_rng(0)
    counts = rng.integers(-RANGE.get(fmt, 30_000), RANGE.get(fmt, 30_000), (n, 3))
    if fmt == "8":
        counts = 1000 + np.cumsum(rng.integers(-100, 100, (n, 3)), axis=0)
    if fmt in ("8", "61", "160", "310", "311"):
        (tmp_path / "rec.dat").write_bytes(pack(counts, fmt))
        lines = [f"rec 3 100 {n}"]
        for lead, row in zip(NAMES, counts.T, strict=True):
            lines.append(f"rec.dat {fmt} 1000(0)/mV 16 0 {row[0]} {row.sum() % 65536} 0 {lead}")
        (tmp_path / "rec.hea").write_text("\n".join(lines) + "\n")
    else:
        wfdb.wrsamp(
            "rec", fs=100, units=["mV"] * 3, sig_name=NAMES, d_signal=counts, fmt=[fmt] * 3,
            adc_gain=[1000.0] * 3, baseline=[0] * 3, write_dir=str(tmp_path),
        )  # fmt: skip
    whole = read_record(tmp_path / "rec")
    theirs = wfdb.rdrecord(str(tmp_path / "rec")).p_signal.T.astype(np.float32)
    np.testing.assert_array_equal(whole.signal, theirs)
    np.testing.assert_array_equal(whole.signal, (counts.T / 1000).astype(np.float32))
    source = open_record(tmp_path / "rec")
    assert (source.fs, source.n_samples) == (100.0, n)
    for first, last in ((0, 7), (1, 8), (2, 10), (3, 500), (4097, 4999), (n - 5, n)):
        np.testing.assert_array_equal(source.piece(first, last).signal, whole.signal[:, first:last])


@pytest.mark.parametrize("fmt", ["80", "160", "212", "24", "32", "310"])
def test_invalid_samples_of_every_format(tmp_path: Path, fmt: str):
    bits = {"80": 8, "160": 16, "212": 12, "24": 24, "32": 32, "310": 10}[fmt]
    counts = np.arange(30).reshape(10, 3)
    counts[4, 1] = -(2 ** (bits - 1))
    if fmt in ("160", "310"):
        (tmp_path / "rec.dat").write_bytes(pack(counts, fmt))
        lines = [f"rec.dat {fmt} 1/mV 0 0 0 0 0 {name}" for name in NAMES]
        (tmp_path / "rec.hea").write_text("\n".join(["rec 3 100 10", *lines]))
    else:
        wfdb.wrsamp("rec", fs=100, units=["mV"] * 3, sig_name=NAMES, d_signal=counts,
                    fmt=[fmt] * 3, adc_gain=[1.0] * 3, baseline=[0] * 3,
                    write_dir=str(tmp_path))  # fmt: skip
    assert np.argwhere(np.isnan(read_record(tmp_path / "rec").signal)).tolist() == [[1, 4]]


def test_flac_that_is_none_or_too_short_or_without_its_package(tmp_path: Path, monkeypatch):
    header = write_wfdb(tmp_path, ecg(), fmt="516")
    text = header.read_text()
    header.write_text(text.replace("500 5000", "500 6000"))
    assert_refused(header, "truncated, expected 6000 samples for 8 lead(s), got 5000")
    header.write_text(text)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "soundfile", None)
        assert_refused(header, "FLAC needs the package soundfile")
    data = header.with_name("rec_1.dat")
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    assert_refused(header)
    data.write_bytes(b"fLaC" + bytes(1000))
    assert_refused(header, "malformed FLAC")
    data.write_bytes(bytes(1000))
    assert_refused(header, "is no FLAC file")


@pytest.mark.parametrize(
    "line",
    [
        "16 1000.0(0)/mV 16 0",
        "16 204.8(-37)/uV 16 0",
        "16 200 16 512",  # no baseline: that of the converter
        "16 1.5e3(0)/mV 16 0",
        "16 -7.5e2(3)/mV 16 0",
        "16x1 1000.0(0)/mV 16 0",
        "16+6 1000.0(0)/mV 16 0",
    ],
)
def test_numpy_and_wfdb_read_the_same(tmp_path: Path, monkeypatch, line: str):
    counts = np.random.default_rng(0).integers(-3000, 3000, (501, 3)).astype("<i2")
    counts[7, 1] = -32768
    n = 500 if "+6" in line else 501
    counts.tofile(tmp_path / "rec.dat")
    lines = [f"rec 3 100 {n}", *(f"rec.dat {line} 0 0 0 {name}" for name in NAMES)]
    (tmp_path / "rec.hea").write_text("\n".join(lines))
    ours, theirs = read_record(tmp_path / "rec"), wfdb.rdrecord(str(tmp_path / "rec"))
    assert np.isnan(ours.signal).sum() == 1
    scale = 1e-3 if theirs.units[0] == "uV" else 1.0
    np.testing.assert_array_equal(ours.signal, (theirs.p_signal.T * scale).astype(np.float32))
    monkeypatch.setattr(wfdb_format, "read_samples", wfdb_samples._read_by_wfdb)
    np.testing.assert_array_equal(read_record(tmp_path / "rec").signal, ours.signal)


def test_a_long_record_in_format_8_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each piece needs all samples before it."""
    n = 6100
    (tmp_path / "rec.dat").write_bytes(bytes(3 * n))
    lines = [f"rec 3 100 {n}", *(f"rec.dat 8 1000/mV 16 0 0 0 0 {name}" for name in NAMES)]
    (tmp_path / "rec.hea").write_text("\n".join(lines))
    monkeypatch.setattr(wfdb_samples, "MAX_BYTES", 8 * 3 * 5000)
    source = open_record(tmp_path / "rec")
    assert source.piece(4900, 5000).signal.shape == (3, 100)
    with pytest.raises(ValueError, match="record rec: .*format 8 is too long"):
        source.piece(5000, 5100)
