"""WFDB headers: what decides about the samples is checked, and nothing else stops the reader."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED

from ecg_siglip.readers import wfdb_header
from ecg_siglip.readers.wfdb_header import Header, Signal, read_header

LINE = "rec.dat 16 1000(5)/mV 16 0 -119 1508 0 I"


def parse(folder: Path, content: str | bytes, name: str = "rec") -> Header:
    path = folder / f"{name}.hea"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_header(path)


def one(folder: Path, line: str, first: str = "rec 1 500 5000") -> Signal:
    """Return the signal of a header with one."""
    return parse(folder, f"{first}\n{line}\n").signals[0]


def test_every_field_of_a_signal(tmp_path: Path):
    line = "rec.dat 212x4:2+24 1.5e3(-7)/uV 12 1024 -119 -28 0 ECG lead I"
    assert one(tmp_path, line) == Signal(
        "ECG lead I", "rec.dat", "212", 4, 2, 24, 1500.0, -7.0, "uV", -119, 65508
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("16", (None, 0.0, "", 0, None, "")),
        ("16 0", (None, 0.0, "", 0, None, "")),
        ("16 0(3)/mV 16 9 1 2 0 I", (None, 3.0, "", 1, 2, "I")),
        ("16 200", (200.0, 0.0, "mV", 0, None, "")),
        ("16 200 12 1024", (200.0, 1024.0, "mV", 1024, None, "")),
        ("16 200 12 1024 995 -22131 0 MLII", (200.0, 1024.0, "mV", 995, 43405, "MLII")),
        ("16 200/mV 12 0 0 0 0", (200.0, 0.0, "mV", 0, None, "")),
        ("16 -200/mV 12 0 0 0 0 I", (-200.0, 0.0, "mV", 0, None, "I")),
        ("16 1000.(0.0)/mV 16 0 24.0 15.0 0 I", (1000.0, 0.0, "mV", 24, 15, "I")),
        ("16 .5/\u00b5V 16 0 0 0 0 I", (0.5, 0.0, "\u00b5V", 0, None, "I")),
        ("16 1000/mV I", (1000.0, 0.0, "mV", 0, None, "I")),
        ("16 1000/mV 16 0 0 0 0 12", (1000.0, 0.0, "mV", 0, None, "12")),
        ("16 1000/ 16 0 0 0 0 II", (1000.0, 0.0, "mV", 0, None, "II")),
    ],
)
def test_fields_that_are_missing_or_unusual(tmp_path: Path, fields: str, expected: tuple):
    signal = one(tmp_path, f"rec.dat {fields}")
    got = (signal.gain, signal.baseline, signal.unit, signal.first, signal.checksum, signal.name)
    assert got == expected


@pytest.mark.parametrize(
    "rest",
    [
        "500 5000", "500 5000 10:00:00 01/01/199", "500 5000 2020-01-02 10:00:00",
        "500 5000 24:00:00", "500 5000 25:61:00", "500 5000 10:00:00.123456789 29/02/2021",
        "500 5000 10:0:0", "500 5000 23-Mar-2021 20:59:55", "500 5000 01.02.2020", "500 5000.0",
        "500.000 5000", "5e2 5000", "500/1000 5000", "500/999.56(20.5) 5000", "+500. 5000 tomorrow",
    ],
)  # fmt: skip
def test_date_time_and_counter_do_not_matter(tmp_path: Path, rest: str):
    header = parse(tmp_path, f"rec 1 {rest}\n{LINE}\n")
    assert (header.fs, header.n_frames) == (500.0, 5000)


@pytest.mark.parametrize(
    ("rest", "fs", "n_frames"),
    [("", None, None), (" 360", 360.0, None), (" 360 0", 360.0, None), (" 0 100", None, 100),
     (" 360 10:00:00 01/02/2020", 360.0, None), (" 360 2020-01-02", 360.0, None)],
)  # fmt: skip
def test_rate_and_length_may_be_missing(tmp_path: Path, rest: str, fs, n_frames):
    header = parse(tmp_path, f"rec 1{rest}\n{LINE}\n")
    assert (header.fs, header.n_frames) == (fs, n_frames)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"rec 1 500 5000\r\n{LINE}  \r\n\r\n# a\r\n", "rec"),
        (f"rec 1 500 5000\r{LINE}\r# a\r", "rec"),
        (f"\ufeffrec 1 500 5000\n{LINE}\n# a\n", "rec"),
        (f"rec 1 500 5000\n{LINE}\n# a\n".encode("utf-16"), "rec"),
        (f"# a\n\n  rec\t1  500   5000 \n  # b\n{LINE}\n#c\n", "rec"),
        (f"rec 1 500 5000\n{LINE}\n# \x85 and \xe4\n".encode("latin-1"), "rec"),
        (f"rec.dat 1 500 5000\n{LINE}\n", "rec"),
        (f"rec.mat 1 500 5000\n{LINE}\n", "rec"),
        (f"other 1 500 5000\n{LINE}\n", "rec"),
        (f"Jane 2 Doe 1 500 5000\n{LINE}\n", "Jane 2 Doe"),
    ],
)
def test_line_ends_encodings_comments_and_names(tmp_path: Path, content, name: str):
    header = parse(tmp_path, content, name)
    assert (header.n_signals, header.fs, header.n_frames) == (1, 500.0, 5000)
    assert header.signals == [one(tmp_path, LINE)]


def test_comments_keep_their_order(tmp_path: Path):
    header = parse(tmp_path, f"# Age: 56\nrec 1 500 5000\n#Dx: 1\n{LINE}\n  ## last #\n")
    assert header.comments == ["Age: 56", "Dx: 1", "last"]


def test_a_file_name_with_blanks(tmp_path: Path):
    assert one(tmp_path, "Jane 2 Doe.dat 16 1000/mV 16 0 0 0 0 I").file == "Jane 2 Doe.dat"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("rec.dat 16 1.2.3/mV 16 0 0 0 0 I", "malformed header, expected a line as"),
        ("rec.dat 16 I", "malformed header, expected a line as"),
        ("rec.dat 16 1e999/mV 16 0 0 0 0 I", "expected a gain"),
        ("rec.dat 16 1000 /mV 16 0 0 0 0 I", "malformed header, expected a line as"),
        ("rec.dat", "malformed header, expected a line as"),
        ("rec.dat sixteen 1000/mV 16 0 0 0 0 I", "malformed header, expected a line as"),
        ("rec.dat 16:-1 1000/mV 16 0 0 0 0 I", "malformed header, expected a line as"),
        ("rec.dat 99 1000/mV 16 0 0 0 0 I", "format 99 of lead I is no WFDB format"),
        ("rec.dat 16x0 1000/mV 16 0 0 0 0 I", "expected samples in a frame of lead I, got 0"),
        ("../o/rec.dat 16 1000/mV", "got the path ../o/rec.dat"),
        ("/etc/hostname 16 1000/mV", "got the path /etc/hostname"),
        ("..\\rec.dat 16 1000/mV", "got the path"),
        (".. 16 1000/mV", "got the path"),
        ("rec.dat.gz 16 1000/mV 16 0 0 0 0 I", "packed file rec.dat.gz"),
    ],
)
def test_malformed_signal(tmp_path: Path, line: str, word: str):
    with pytest.raises(ValueError, match=re.escape(word)):
        one(tmp_path, line)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "malformed header"),
        (bytes(range(256)), "malformed header"),
        ("# only a comment\n", "malformed header"),
        ("rec\n", "malformed header"),
        ("rec three 500 5000\n", "malformed header"),
        ("rec -1 500 5000\n", "malformed header"),
        ("rec 0 500 5000\n", "expected 1 to 1000 leads"),
        ("rec 1001 500 5000\n", "expected 1 to 1000 leads"),
        ("rec 1 62,5 5000\nx", "malformed header"),
        ("rec 1 -500 5000\nx", "malformed header"),
        ("rec 1 500 1e5\nx", "malformed header"),
        ("rec 1 500 -5\nx", "malformed header"),
        (f"rec 2 500 5000\n{LINE}\n", "states 2 lead(s) but describes 1"),
        (f"rec 1 500 5000\n{LINE}\n{LINE}\n", "states 1 lead(s) but describes 2"),
        (f"rec 1 500 5000\n{LINE}{'x' * 1000}\n", "lines of at most 1000 characters"),
        ("rec/0 1 500 5000\n", "expected 1 to 10000 segments"),
        ("rec/10001 1 500 5000\n", "expected 1 to 10000 segments"),
        ("rec/2 1 500 5000\na 2500\n", "states 2 segment(s) but lists 1"),
        ("rec/2 1 500 5000\na 2500\nb 2499\n", "states 5000 samples, its segments have 4999"),
        ("rec/1 1 500 5000\na\n", "expected 'name n_samples' of a segment, got 'a'"),
        ("rec/1 1 500 5000\n../a 5000\n", "got the path ../a"),
    ],
)
def test_malformed_record(tmp_path: Path, content, word: str):
    with pytest.raises(ValueError, match=re.escape(word)) as caught:
        parse(tmp_path, content)
    assert len(str(caught.value)) < 200


def test_segments(tmp_path: Path):
    header = parse(tmp_path, "rec/3 2 500 5000\n a  2500\n~ 100\n b c 2400\n")
    assert header.segments == [("a", 2500), ("~", 100), ("b c", 2400)]
    assert (header.n_signals, header.n_frames, header.signals) == (2, 5000, [])
    assert parse(tmp_path, "rec/1 2 500\na 2500\n").n_frames == 2500


def test_no_line_takes_long(tmp_path: Path):
    """A line of the greatest length that matches almost to its end."""
    rng = np.random.default_rng(0)
    words = ["1", "16", "x", "9" * 50, "1.", "0(", "16x2", "/", "e5", "a" * 50]
    for _ in range(300):
        line = " ".join(rng.choice(words, 300))[: wfdb_header.MAX_LINE]
        assert (wfdb_header.SIGNAL.fullmatch(f"{line}\n")) is None


def test_size_limit(tmp_path: Path):
    with pytest.raises(ValueError, match="expected a header of at most"):
        parse(tmp_path, "# \n" * 400_000)


def test_every_real_header_is_parsed(shared_ptbxl: Path, shared_challenge: Path):
    headers = [*sorted(shared_ptbxl.glob("records?00/*/*.hea"))[::40],
               *shared_challenge.glob("*/*.hea"), *SHARED.glob("cases/w*/*.hea")]  # fmt: skip
    for path in headers:
        header = read_header(path)
        assert header.n_frames
        assert len(header.signals) == (0 if header.segments else header.n_signals)
