"""WFDB records: read as wfdb reads them, or refused in one line that names the record."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import wfdb
from helpers import SHARED
from writers import (
    assert_refused,
    ecg,
    write_wfdb,
    write_wfdb_frames,
    write_wfdb_segments,
)

from ecg_siglip.readers import wfdb_format
from ecg_siglip.readers.record import open_record, read_record
from ecg_siglip.readers.wfdb_format import open_wfdb, read_wfdb
from ecg_siglip.signals.leads import LEADS

NAMES = ["I", "II", "III"]
N_SAMPLES = 500
LEAD = "rec.dat 16 1000.0(0)/mV 16 0"
FRAMES_S = 64


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


def test_header_promises_more_than_memory(base: Path, monkeypatch: pytest.MonkeyPatch):
    edit(base, "100 500", "100 50000000000000")
    assert_refused(base, "truncated, expected 50000000000000 samples")
    edit(base, "100 50000000000000", "100 500")
    monkeypatch.setattr(wfdb_format, "MAX_BYTES", 8 * 1499)
    assert_refused(base, "promises 1500 samples", "expected at most 1499")


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
        ("/mV", "/mmHg", "expected units nV, uV, mV or V, got mmHg for lead I"),
        ("1000.0(0)/mV", "0", "read.gain"),
        ("1000.0(0)/mV", "0.0(0)/mV", "read.gain"),
        ("1000.0(0)/mV", "1.2.3/mV", "malformed header"),
        ("rec 3 100 500", "rec 3", "read.fs"),
        ("rec 3 100 500", "rec 3 0 500", "read.fs"),
        ("rec 3 100 500", "rec/2 3 100 500", "states 2 segment(s) but lists 3"),
        ("rec 3 100 500", "rec three 100 500", "malformed header"),
        ("rec.dat", "../other/rec.dat", "got the path ../other/rec.dat"),
        ("rec.dat 16", "rec.dat 99", "no WFDB format"),
        ("rec.dat 16", "rec.dat 16x1000000000", "malformed header"),
        ("rec.dat 16", "rec.dat 16x100000000", "truncated"),
        ("rec.dat 16", "rec.dat 16:100000000", "skewed by 100000000 of 500 samples"),
        ("rec.dat 16", "rec.dat sixteen", "malformed header"),
    ],
)
def test_malformed_header(base: Path, old: str, new: str, word: str):
    edit(base, old, new)
    assert_refused(base, word)


@pytest.mark.parametrize("fields", ["rec.dat 16", "rec.dat 16 0 16 0 0 0 0 NAME"])
def test_without_a_gain_the_counts_have_no_unit(base: Path, microvolts: np.ndarray, fields: str):
    lines = base.with_suffix(".hea").read_text().splitlines()
    base.with_suffix(".hea").write_text(
        "\n".join([lines[0], *[fields.replace("NAME", name) for name in NAMES]])
    )
    stated = read_wfdb(base.with_suffix(".hea"))
    assert [channel.unit for channel in stated.channels] == [""] * 3
    np.testing.assert_array_equal([c.samples for c in stated.channels], microvolts.T)
    record = read_record(base, gain=200.0, leads=NAMES)
    np.testing.assert_array_equal(record.signal, (microvolts.T / 200).astype(np.float32))
    assert_refused(base, "read.", leads=NAMES)


def test_a_negative_gain_turns_the_signal(base: Path, microvolts: np.ndarray):
    edit(base, "1000.0(0)/mV", "-1000(0)/mV")
    signal = read_record(base).signal
    np.testing.assert_array_equal(signal, (-microvolts.T / 1000).astype(np.float32))


def test_leads_without_names_are_named_by_the_caller(base: Path, microvolts: np.ndarray):
    header = base.with_suffix(".hea")
    header.write_text("".join(
        f"{line.rpartition(' ')[0]}\n" if line.startswith("rec.dat") else f"{line}\n"
        for line in header.read_text().splitlines()
    ))  # fmt: skip
    assert_refused(base, "does not name its 3 leads", "read.leads")
    assert read_record(base, leads=NAMES).leads == ("I", "II", "III")


def test_the_rate_that_a_header_lacks_is_given_by_the_caller(base: Path, microvolts: np.ndarray):
    edit(base, "rec 3 100 500", "rec 3")
    record = read_record(base, fs=100)
    assert (record.fs, record.signal.shape) == (100, (3, N_SAMPLES))


@pytest.mark.parametrize("stated", ["rec 3 100", "rec 3 100 0", "rec 3 100 10:00:00"])
def test_without_a_length_the_files_have_it_and_checksums_are_not_compared(base: Path, stated: str):
    edit(base, "rec 3 100 500", stated)
    edit(base, " 0 I\n", "1 0 I\n")
    assert read_record(base).signal.shape == (3, N_SAMPLES)
    base.with_suffix(".dat").write_bytes(b"")
    assert_refused(base, "0 s of signal")


# ---- names and encodings of files


@pytest.mark.parametrize("name", ["REC.DAT", "Rec.dat"])
def test_the_case_of_file_names_does_not_matter(base: Path, microvolts: np.ndarray, name: str):
    base.with_suffix(".dat").rename(base.with_name(name))
    base.with_suffix(".hea").rename(base.with_name("rec.HEA"))
    for path in (base, base.with_name("rec.HEA"), base.with_name("rec.dat")):
        np.testing.assert_array_equal(
            read_record(path).signal, (microvolts.T / 1000).astype(np.float32)
        )
    shutil.copy(base.with_name(name), base.with_name("reC.dat"))
    assert_refused(base, "rec.dat", "which is not in", error=FileNotFoundError)


def test_a_pipe_is_not_opened(base: Path):
    base.with_suffix(".dat").unlink()
    os.mkfifo(base.with_suffix(".dat"))
    assert_refused(base, "rec.dat, which is no file")


def test_packed_samples_are_named(base: Path):
    base.with_suffix(".dat").rename(base.with_name("rec.dat.gz"))
    assert_refused(base, "the header names rec.dat, which is packed: unpack rec.dat.gz")


def test_links_and_names_with_blanks(base: Path, microvolts: np.ndarray):
    base.with_suffix(".dat").rename(base.with_name("a b 1"))
    base.with_name("rec 7.x.dat").symlink_to(base.with_name("a b 1"))
    edit(base, "rec.dat", "rec 7.x.dat")
    np.testing.assert_array_equal(read_record(base).signal, np.float32(microvolts.T / 1000))


def test_leads_in_several_files(base: Path, microvolts: np.ndarray):
    """As in the PTB database: the Frank leads are in a file .xyz."""
    base.with_suffix(".dat").write_bytes(microvolts[:, :2].tobytes())
    base.with_suffix(".xyz").write_bytes(microvolts[:, 2:].tobytes())
    header = base.with_suffix(".hea")
    *lines, last = header.read_text().splitlines()[:-1]
    header.write_text("\n".join([*lines, last.replace("rec.dat", "rec.xyz")]) + "\n")
    expected = (microvolts.T / 1000).astype(np.float32)
    np.testing.assert_array_equal(read_record(base).signal, expected)
    theirs = wfdb.rdrecord(str(base)).p_signal
    np.testing.assert_array_equal(expected, theirs.T.astype(np.float32))
    base.with_suffix(".xyz").write_bytes(microvolts[:400, 2:].tobytes())
    assert_refused(base, "rec.xyz is truncated", "got 400")
    edit(base, "rec 3 100 500", "rec 3 100")
    assert_refused(base, "files of different numbers of samples: rec.dat 500, rec.xyz 400")


@pytest.mark.parametrize(
    ("names", "formats", "word"),
    [
        (["a", "b", "a"], ["16", "16", "16"], "leads of a one after another"),
        (["a", "a", "a"], ["16", "16", "80"], "one format and offset for all leads of a"),
        (["a", "a", "a"], ["16", "16", "16+2"], "one format and offset for all leads of a"),
    ],
)
def test_leads_of_a_file_that_contradict_each_other(base: Path, names, formats, word: str):
    lines = [f"{n} {f} 1000/mV 16 0 0 0 0 I" for n, f in zip(names, formats, strict=True)]
    base.with_suffix(".hea").write_text("\n".join(["rec 3 100 500", *lines]))
    for name in names:
        base.with_name(name).write_bytes(base.with_suffix(".dat").read_bytes())
    assert_refused(base, word)


def test_a_matrix_without_its_offset_is_refused(base: Path):
    """Its header has the size of one sample of twelve leads: nothing else would show the shift."""
    shutil.copy(base.with_suffix(".dat"), base.with_suffix(".mat"))
    edit(base, "rec.dat", "rec.mat")
    assert_refused(base, "begins with a header of MATLAB", "16+24")


# ---- checksums


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_a_damaged_sample_is_found(tmp_path: Path, fmt: str):
    header = write_wfdb(tmp_path, ecg(), fmt=fmt)
    data = header.with_suffix(".dat")
    content = bytearray(data.read_bytes())
    content[int(12 * (2 if fmt == "16" else 1.5)) * 100] ^= 4  # lead I
    data.write_bytes(content)
    assert_refused(header, "damaged: the checksum of lead I is")
    lines = header.read_text().splitlines()
    fields = lines[1].split()
    fields[6] = "0"
    header.write_text("\n".join([lines[0], " ".join(fields), *lines[2:]]))
    assert read_record(header).signal.shape == (12, 5000)


def test_checksums_are_signed_or_not(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg())
    lines = [line.split() for line in header.read_text().splitlines()]
    for fields in lines[1:]:
        fields[6] = str(int(fields[6]) - 65536)
    header.write_text("\n".join(map(" ".join, lines)))
    assert read_record(header).signal.shape == (12, 5000)
    lines[12][6] = str(int(lines[12][6]) + 1)
    header.write_text("\n".join(map(" ".join, lines)))
    assert_refused(header, "checksum of lead V6")


def test_checksums_of_all_real_headers_are_right(shared_ptbxl: Path, shared_challenge: Path):
    """Those that state any: 0 is the placeholder of MIMIC-IV-ECG and of most of the cases."""
    headers = [*sorted(shared_ptbxl.glob("records?00/*/*.hea"))[::20],
               *shared_challenge.glob("*/*.hea")]  # fmt: skip
    for header in headers:
        record = open_wfdb(header)
        assert all(signal.checksum for signal in record.signals) or "ptbxl" in str(header)
        record.read(0, record.n_frames)


def test_each_lead_has_its_own_skew(base: Path, microvolts: np.ndarray):
    """wfdb fails where leads of a file are skewed differently."""
    lines = base.with_suffix(".hea").read_text().splitlines()
    for i, skew in ((1, 3), (3, 1)):
        lines[i] = lines[i].replace(" 16 ", f" 16:{skew} ", 1)
    base.with_suffix(".hea").write_text("\n".join(lines))
    signal = read_record(base).signal
    for row, lead, skew in zip(signal, microvolts.T / 1000, (3, 0, 1), strict=True):
        np.testing.assert_array_equal(row[: N_SAMPLES - skew], np.float32(lead[skew:]))
        assert np.isnan(row[N_SAMPLES - skew :]).all()
    record = open_wfdb(base.with_suffix(".hea"))
    for first, stop in ((0, 10), (100, 200), (490, 500), (498, 500)):
        piece = [channel.samples for channel in record.read(first, stop).channels]
        np.testing.assert_array_equal(np.float32(piece), signal[:, first:stop])


# ---- several samples per frame


@pytest.mark.parametrize("per_frame", [2, 4, 8])
def test_leads_have_their_own_rate(tmp_path: Path, per_frame: int):
    uv = ecg(FRAMES_S * 500)
    header = write_wfdb_frames(tmp_path, uv, per_frame=per_frame)
    record = read_record(header)
    assert (record.fs, record.leads) == (500.0, LEADS)
    np.testing.assert_array_equal(record.signal, (uv / 1000).astype(np.float32))
    theirs = wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    np.testing.assert_array_equal(record.signal, np.float32(theirs.e_p_signal[:12]))
    channels = read_wfdb(header).channels
    assert [channel.fs for channel in channels[11:]] == [500.0, 500 / per_frame]
    assert channels[12].samples.tolist() == [0.7] * (len(uv.T) // per_frame)
    source = open_record(header)
    assert (source.fs, source.n_samples, source.duration_s) == (500.0, len(uv.T), FRAMES_S)
    for first, last in ((0, 1), (3, 4), (5, 5000), (12_345, 17_345), (len(uv.T) - 7, len(uv.T))):
        piece = source.piece(first, last)
        assert (piece.fs, piece.leads) == (500.0, LEADS)
        np.testing.assert_array_equal(piece.signal, record.signal[:, first:last])


def test_frames_need_a_rate(tmp_path: Path):
    header = write_wfdb_frames(tmp_path, ecg())
    header.write_text(header.read_text().replace("rec 13 125 1250", "rec 13"))
    assert_refused(header, "expected a sampling rate", "several samples per frame", fs=500)


# ---- segments


def test_segments_are_one_record(tmp_path: Path):
    uv = ecg()
    header = write_wfdb_segments(tmp_path, uv)
    np.testing.assert_array_equal(read_record(header).signal, (uv / 1000).astype(np.float32))
    theirs = wfdb.rdrecord(str(tmp_path / "rec")).p_signal
    np.testing.assert_array_equal(theirs.T.astype(np.float32), read_record(header).signal)


@pytest.mark.parametrize("n_seconds", [10, 64])
def test_gaps_and_repeated_segments(tmp_path: Path, n_seconds: int):
    uv = ecg(n_seconds * 500)
    half = len(uv.T) // 2
    header = write_wfdb_segments(tmp_path, uv)
    lines = [f"rec_1 {half}", "~ 300", f"rec_2 {half}", f"rec_1 {half}", "rec_2 0"]
    header.write_text("\n".join([f"rec/5 12 500 {3 * half + 300}", *lines]))
    gap = np.full((12, 300), np.nan)
    expected = np.hstack([uv[:, :half], gap, uv[:, half:], uv[:, :half]]) / 1000
    record, source = read_record(header), open_record(header)
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert source.n_samples == 3 * half + 300
    for first, last in ((half - 3, half + 500), (half, half + 300), (0, 3 * half + 300)):
        piece = source.piece(first, last).signal
        np.testing.assert_array_equal(piece, record.signal[:, first:last])


def write_layout(folder: Path, per_frame: int = 1) -> Path:
    """Write a record as in MIMIC: a layout, and leads, gains and formats that change."""
    rng = np.random.default_rng(0)
    x = f"x{per_frame}"
    (folder / "rec_layout.hea").write_text(
        "rec_layout 3 125 0\n"
        f"~ 0{x} 200/mV 8 0 0 0 0 II\n~ 0{x} 1/mV 8 0 0 0 0 V\n~ 0 1/mmHg 8 0 0 0 0 ABP\n"
    )
    for name, leads, fmt, gain in (
        ("rec_0001", ("II", "ABP"), "80", 50.0), ("rec_0002", ("V", "II"), "16", 400.0)
    ):  # fmt: skip
        n = [1 if lead == "ABP" else per_frame for lead in leads]
        counts = [rng.integers(-99, 99, 1000 * k).astype(np.int64) for k in n]
        units = ["mmHg" if lead == "ABP" else "mV" for lead in leads]
        record = wfdb.Record(
            record_name=name, n_sig=2, fs=125, sig_len=1000, file_name=[f"{name}.dat"] * 2,
            fmt=[fmt] * 2, adc_gain=[gain] * 2, baseline=[3] * 2, units=units, adc_res=[8] * 2,
            adc_zero=[0] * 2, init_value=[int(c[0]) for c in counts],
            checksum=[int(c.sum()) % 65536 for c in counts], block_size=[0] * 2,
            sig_name=list(leads), e_d_signal=counts, samps_per_frame=n,
            byte_offset=[None] * 2, skew=[None] * 2, comments=["Location: ICU"],
        )  # fmt: skip
        record.wrsamp(expanded=True, write_dir=str(folder))
    lines = ["rec_layout 0", "rec_0001 1000", "~ 250", "rec_0002 1000"]
    (folder / "rec.hea").write_text("\n".join(["rec/4 3 125 2250 10:00:00", *lines]) + "\n")
    return folder / "rec.hea"


@pytest.mark.parametrize("per_frame", [1, 4])
def test_a_layout_with_leads_in_some_segments_only(tmp_path: Path, per_frame: int):
    header = write_layout(tmp_path, per_frame)
    channels = read_wfdb(header).channels
    theirs = wfdb.rdrecord(str(tmp_path / "rec"), smooth_frames=False)
    assert [channel.name for channel in channels] == theirs.sig_name == ["II", "V", "ABP"]
    assert [channel.unit for channel in channels] == ["mV", "mV", "mmHg"]
    assert [channel.fs for channel in channels] == [125.0 * per_frame] * 2 + [125.0]
    for channel, row in zip(channels, theirs.e_p_signal, strict=True):
        np.testing.assert_array_equal(channel.samples, row)
        assert 0.1 < np.isnan(row).mean() < 0.6
    record = open_wfdb(header)
    assert record.n_frames == 2250
    for first, stop in ((0, 10), (990, 1300), (1249, 1251), (2200, 2250)):
        for piece, channel in zip(record.read(first, stop).channels, channels, strict=True):
            k = len(channel.samples) // 2250
            np.testing.assert_array_equal(piece.samples, channel.samples[first * k : stop * k])
    assert read_record(header).leads == ("II", "V")


def change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / f"{name}.hea"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("rec", "rec_2 2500", "rec_3 2500", "names rec_3.hea"),
        ("rec", "12 500 5000", "11 500 5000", "states 11 lead(s), its first segment 12"),
        ("rec", "12 500 5000", "12 250 5000", "segment rec_1 has 500 Hz, the record 250 Hz"),
        ("rec_2", "12 500 2500", "12 500.5 2500", "segment rec_2 has 500.5 Hz"),
        ("rec_2", "12 500 2500", "12 500 2400", "segment rec_2: rec_2.dat is longer"),
        ("rec", "rec_2 2500", "rec_2 2501", "states 5000 samples, its segments have 5001"),
        ("rec_2", " V6", " V5", "segment rec_2 has leads"),
        ("rec_2", "/mV", "/uV", "lead I has the units mV and uV in different segments"),
        ("rec_2", "rec_2 12", "rec_2/12 12", "segment rec_2: "),
        ("rec_2", " 16 1000", " 16x2 1000", "segment rec_2: rec_2.dat is truncated"),
        ("rec_2", "1000.0(0)/mV", "a/mV", "segment rec_2: malformed header"),
    ],
)
def test_segments_that_contradict_the_record(tmp_path: Path, name: str, old, new, word: str):
    header = write_wfdb_segments(tmp_path, ecg())
    change(tmp_path, name, old, new)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_record(header)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("rec_layout", "ABP", "ART", "segment rec_0001 has lead ABP, the layout has others"),
        ("rec_layout", " V\n", " II\n", "has lead II, the layout has others"),
        ("rec_layout", "0x1 200/mV", "0x2 200/mV", "samples per frame in segment rec_0001"),
        ("rec_0002", " 1000", " 999", "rec_0002"),
    ],
)
def test_segments_that_contradict_the_layout(tmp_path: Path, name: str, old, new, word: str):
    header = write_layout(tmp_path)
    change(tmp_path, name, old, new)
    assert_refused(header, word)


def test_segments_inside_segments_and_only_gaps(tmp_path: Path):
    header = write_wfdb_segments(tmp_path, ecg())
    change(tmp_path, "rec", "rec_2 2500", "rec 2500")
    assert_refused(header, "segment rec: expected signals, got segments of a segment")
    header.write_text("rec/2 12 500 5000\n~ 2500\n~ 2500\n")
    assert_refused(header, "only gaps")
    header.write_text("rec/1 12 500 0\nrec_1 0\n")
    assert_refused(header, "0 s of signal")


def test_a_damaged_segment_is_found(tmp_path: Path):
    header = write_wfdb_segments(tmp_path, ecg())
    data = tmp_path / "rec_2.dat"
    data.write_bytes(data.read_bytes()[:-1] + b"\x55")
    assert_refused(header, "rec_2.dat or its header is damaged", "lead V6")


def test_limits_of_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    header = write_wfdb_segments(tmp_path, ecg())
    with monkeypatch.context() as patch:
        patch.setattr(wfdb_format, "MAX_SEGMENT_HEADER_BYTES", 1000)
        assert_refused(header, "segments with headers of at most 1000 bytes")
    header.write_text("rec/2 12 500\n~ 100000000000000\nrec_1 2500\n")
    assert_refused(header, "the header promises")


def test_ten_thousand_segments_are_opened_in_seconds(tmp_path: Path):
    write_wfdb_segments(tmp_path, ecg())
    lines = ["rec_1 2500", "rec_2 2500"] * 5000
    (tmp_path / "rec.hea").write_text("\n".join(["rec/10000 12 500", *lines]))
    source = open_record(tmp_path / "rec")
    assert source.duration_s == 50_000
    assert source.piece(2000, 3000).signal.shape == (12, 1000)


# ---- real files


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("frames/bedside", {}), ("wfdb/ms", {}), ("wfdb/iso_date", {}), ("wfdb/year199", {}),
        ("wfdb/upper.HEA", {}), ("wfdb/names_chan", {"leads": LEADS}),
        ("wfdb/nogain", {"gain": 1000}), ("wfdb/neg", {}),
    ],
)  # fmt: skip
def test_cases_are_the_first_record_of_ptbxl(path: str, given: dict):
    if not SHARED.is_dir():
        pytest.skip("needs real ECGs in ../shared")
    record = read_record(SHARED / "cases" / path, **given)
    expected = read_record(SHARED / "ptbxl/records500/00000/00001_hr").signal
    if path == "wfdb/neg":
        expected[3] *= -1
    assert record.fs == 500
    assert record.leads == LEADS
    np.testing.assert_array_equal(record.signal, expected)


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
