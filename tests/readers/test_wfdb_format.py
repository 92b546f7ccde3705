"""WFDB records: read as wfdb reads them, or refused in one line that names the record."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from writers import assert_refused, ecg, write_wfdb

from ecg_siglip.readers import wfdb_format
from ecg_siglip.readers.record import read_record

NAMES = ["I", "II", "III"]
N_SAMPLES = 500
LEAD = "rec.dat 16 1000.0(0)/mV 16 0"


@pytest.fixture
def microvolts() -> np.ndarray:
    return np.random.default_rng(0).integers(-3000, 3000, (N_SAMPLES, 3)).astype(np.int16)


@pytest.fixture
def base(tmp_path: Path, microvolts: np.ndarray) -> Path:
    """A valid record of three leads and 5 s, as PTB-XL writes them."""
    write(tmp_path, microvolts, "mV", 1000.0)
    return tmp_path / "rec"


def write(folder: Path, digital: np.ndarray, unit: str, gain: float, baseline: int = 0) -> None:
    n = digital.shape[1]
    wfdb.wrsamp(
        "rec", fs=100, units=[unit] * n, sig_name=NAMES, d_signal=digital, fmt=["16"] * n,
        adc_gain=[gain] * n, baseline=[baseline] * n, comments=["Age: 56"], write_dir=str(folder),
    )  # fmt: skip


def edit(base: Path, old: str, new: str, encoding: str = "utf-8") -> None:
    header = base.with_suffix(".hea")
    text = header.read_text()
    assert old in text
    header.write_bytes(text.replace(old, new).encode(encoding))


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_suffix_does_not_matter(base: Path, microvolts: np.ndarray, suffix: str, kind: type):
    record = read_record(kind(f"{base}{suffix}"))
    assert (record.name, record.fs, record.leads) == ("rec", 100.0, ("I", "II", "III"))
    assert record.comments == ("Age: 56",)
    assert record.signal.dtype == np.float32
    # Exactly the nearest float32 to the whole number of uV, or the cache would not be exact.
    np.testing.assert_array_equal(record.signal, (microvolts.T / 1000).astype(np.float32))


def test_relative_path(base: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(base.parent)
    assert read_record("rec").signal.shape == (3, N_SAMPLES)


def test_double_colon_in_a_path_is_no_address(base: Path, tmp_path: Path):
    folder = tmp_path / "zip::http"
    folder.mkdir()
    for suffix in (".hea", ".dat"):
        (folder / f"rec{suffix}").write_bytes(base.with_suffix(suffix).read_bytes())
    np.testing.assert_array_equal(read_record(folder / "rec").signal, read_record(base).signal)


@pytest.mark.parametrize(
    ("unit", "gain"), [("uV", 1.0), ("UV", 1.0), ("mv", 1000.0), ("V", 1e6), ("v", 1e6)]
)
def test_units_become_millivolts(tmp_path: Path, microvolts: np.ndarray, unit: str, gain: float):
    write(tmp_path, microvolts, unit, gain)
    signal = read_record(tmp_path / "rec").signal
    np.testing.assert_array_equal(signal, (microvolts.T / 1000).astype(np.float32))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_micro_sign_is_not_lost(base: Path, microvolts: np.ndarray, encoding: str):
    """wfdb drops what is not ASCII and would read volts."""
    edit(base, "1000.0(0)/mV", "1.0(0)/\u00b5V", encoding)
    signal = read_record(base).signal
    np.testing.assert_array_equal(signal, (microvolts.T / 1000).astype(np.float32))


def test_baseline_is_subtracted(tmp_path: Path, microvolts: np.ndarray):
    write(tmp_path, microvolts + np.int16(1024), "mV", 1000.0, baseline=1024)
    signal = read_record(tmp_path / "rec").signal
    np.testing.assert_array_equal(signal, (microvolts.T / 1000).astype(np.float32))


def test_invalid_samples_are_nan(tmp_path: Path, microvolts: np.ndarray):
    microvolts[7, 1] = -32768
    write(tmp_path, microvolts, "mV", 1000.0)
    assert np.argwhere(np.isnan(read_record(tmp_path / "rec").signal)).tolist() == [[1, 7]]


def test_comments_keep_their_umlauts(base: Path):
    edit(base, "Age: 56", "Linkstyp, sonst regelm\u00e4\u00dfig")
    assert read_record(base).comments == ("Linkstyp, sonst regelm\u00e4\u00dfig",)


def test_missing_header(base: Path):
    base.with_suffix(".hea").unlink()
    assert_refused(base, str(base.with_suffix(".hea")), error=FileNotFoundError)
    assert_refused(base.with_suffix(".dat"), "no header", error=FileNotFoundError)


def test_missing_samples(base: Path):
    base.with_suffix(".dat").unlink()
    assert_refused(base, "rec.dat", str(base.parent), error=FileNotFoundError)


@pytest.mark.parametrize("n_bytes", [0, 1, 600, 3 * 2 * N_SAMPLES - 6, 3 * 2 * N_SAMPLES - 1])
def test_truncated_samples(base: Path, n_bytes: int):
    data = base.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:n_bytes])
    assert_refused(base, "truncated", "expected 500 samples", f"got {n_bytes // 6}")


def test_no_samples_at_all(base: Path):
    edit(base, "rec 3 100 500", "rec 3 100")
    assert read_record(base).signal.shape == (3, N_SAMPLES)
    base.with_suffix(".dat").write_bytes(b"")
    assert_refused(base, "0 s of signal")


def test_header_promises_more_than_memory(base: Path):
    edit(base, "100 500", "100 50000000000000")
    assert_refused(base, "promises 150000000000000 samples", "expected at most 33554432")


def test_wrong_lead_count(base: Path):
    edit(base, "rec 3 ", "rec 12 ")
    assert_refused(base, "states 12 lead(s) but describes 3")


def test_too_few_leads_for_the_samples(base: Path):
    """Read as two leads, samples of three would be shuffled without any sign of it."""
    lines = base.with_suffix(".hea").read_text().replace("rec 3 ", "rec 2 ").splitlines()
    base.with_suffix(".hea").write_text("\n".join(lines[:3]))
    assert_refused(base, "longer than its header states", "2 lead(s)", "got 750")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("/mV", "/adu", "expected units uV, mV or V, got adu"),
        ("1000.0(0)/mV", "0", "expected a gain"),
        ("1000.0(0)/mV", "0.0(0)/mV", "expected a gain"),
        ("1000.0(0)/mV", "-200/mV", "expected a gain"),
        ("1000.0(0)/mV", "1.2.3/mV", "expected a gain"),
        ("rec 3 100 500", "rec 3", "expected a sampling rate"),
        ("rec 3 100 500", "rec 3 0 500", "expected a sampling rate"),
        ("rec 3 100 500", "rec 3 100 0", "0 s of signal"),
        ("rec 3 100 500", "rec/2 3 100 500", "expected one segment"),
        ("rec 3 100 500", "rec 3 100 500 25:61:00", "malformed header"),
        ("rec 3 100 500", "rec three 100 500", "malformed header"),
        ("rec.dat", "../other/rec.dat", "got the path ../other/rec.dat"),
        ("rec.dat", "/etc/hostname", "got the path /etc/hostname"),
        ("rec.dat", "..\\rec.dat", "got the path"),
        ("rec.dat 16", "rec.dat 99", "wfdb cannot read it"),
        ("rec.dat 16", "rec.dat 16x1000000000", "the header promises"),
        ("rec.dat 16", "rec.dat 16:1000000000", "the header promises"),
        ("rec.dat 16", "rec.dat sixteen", "expected a format as in 16"),
        (" I\n", "\n", "lead 1 has no name"),
    ],
)
def test_malformed_header(base: Path, old: str, new: str, word: str):
    edit(base, old, new)
    assert_refused(base, word)


@pytest.mark.parametrize("fields", ["rec.dat 16", "rec.dat"])
def test_missing_gain(base: Path, fields: str):
    lines = base.with_suffix(".hea").read_text().splitlines()
    base.with_suffix(".hea").write_text("\n".join([lines[0], *[fields] * 3]))
    assert_refused(base, "expected a gain")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "malformed header"),
        (bytes(range(256)), "malformed header"),
        (b"# only a comment\n", "malformed header"),
        (b"rec 0 100 500\n", "expected signals, the header has none"),
    ],
)
def test_header_without_signals(base: Path, content: bytes, word: str):
    base.with_suffix(".hea").write_bytes(content)
    assert_refused(base, word)


@pytest.mark.parametrize(
    ("new", "is_plain"),
    [
        (LEAD, True),
        ("rec.dat 16 204.8(-37)/uV 16 0", True),
        ("rec.dat 16 200 16 512", True),  # no baseline: that of the converter
        ("rec.dat 16 1.5e3(0)/mV 16 0", False),
        ("rec.dat 16x1 1000.0(0)/mV 16 0", False),
        ("rec.dat 16:1 1000.0(0)/mV 16 0", False),
        ("rec.dat 16+0 1000.0(0)/mV 16 0", True),
    ],
)
def test_the_fast_path_reads_what_wfdb_reads(base, microvolts, monkeypatch, new, is_plain):
    microvolts[7, 1] = -32768
    microvolts.tofile(base.with_suffix(".dat"))
    edit(base, LEAD, new)
    is_plain_calls, plain_record = [], wfdb_format._plain_record

    def watched(*args):
        is_plain_calls.append(plain_record(*args) is not None)
        return plain_record(*args)

    monkeypatch.setattr(wfdb_format, "_plain_record", watched)
    ours = read_record(base)
    assert is_plain_calls == [is_plain]
    monkeypatch.setattr(wfdb_format, "_plain_record", lambda *_: None)
    theirs = read_record(base)
    np.testing.assert_array_equal(ours.signal, theirs.signal)
    assert np.isnan(ours.signal).any()
    assert (ours.fs, ours.leads, ours.comments) == (theirs.fs, theirs.leads, theirs.comments)


def test_ptbxl_record_is_what_wfdb_reads(shared_ptbxl: Path):
    for header in sorted(shared_ptbxl.glob("records?00/00000/*.hea"))[::60]:
        record, theirs = read_record(header), wfdb.rdrecord(str(header.with_suffix("")))
        np.testing.assert_array_equal(record.signal, theirs.p_signal.T.astype(np.float32))
        assert record.fs == theirs.fs
        assert record.leads == tuple(theirs.sig_name)


def test_challenge_records_equal_their_matrices(shared_challenge: Path):
    from scipy.io import loadmat

    headers = sorted(shared_challenge.glob("*/*.hea"))
    assert len(headers) == 38
    for header in headers:
        record = read_record(header.with_suffix(".mat"))
        matrix = loadmat(header.with_suffix(".mat"))["val"]
        np.testing.assert_array_equal(record.signal, (matrix / 1000).astype(np.float32))
        assert record.name == header.stem
        assert record.fs == 500
        assert any(comment.startswith("Dx: ") for comment in record.comments)


def test_truncated_challenge_record(shared_challenge: Path, tmp_path: Path):
    """Also where the header is one that wfdb can only read from a repaired copy."""
    for folder in ("georgia", "cpsc2018"):
        header = sorted(shared_challenge.glob(f"{folder}/*.hea"))[0]
        (tmp_path / header.name).write_bytes(header.read_bytes())
        matrix = header.with_suffix(".mat").read_bytes()[:60_024]
        (tmp_path / f"{header.stem}.mat").write_bytes(matrix)
        with pytest.raises(ValueError, match=f"record {header.stem}: .*truncated.*got 2500"):
            read_record(tmp_path / header.stem)


def test_size_limits_of_samples_and_header(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg())
    with header.with_suffix(".dat").open("r+b") as file:
        file.truncate(wfdb_format.MAX_BYTES + 2)
    assert_refused(header, "expected at most 268435456 bytes")
    header.write_text("# \n" * 400_000)
    assert_refused(header, "expected a header of at most")


def test_only_long_records_have_an_extent(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg(6100, 100), 100)
    assert wfdb_format.extent(header, 60.0) == (100.0, 6100)
    assert wfdb_format.extent(header, 61.0) is None
