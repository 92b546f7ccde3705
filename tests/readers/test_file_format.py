"""The content of a file decides its format; damaged and oversized files are refused."""

import gzip
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import SHARED
from writers import FS, GIVEN, WRITERS, assert_refused, csv, ecg, write

from ecg_siglip.readers import file_format
from ecg_siglip.readers.file_format import (
    MAX_BYTES,
    MAX_MEMBERS,
    detect_format,
    is_record,
    read_content,
)
from ecg_siglip.readers.other_formats import KINDS
from ecg_siglip.readers.record import read_record


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("edf", "EDF"), ("bdf", "BDF"), ("dcm", "DICOM"), ("groups.dcm", "DICOM")],
        *[("aecg.xml", "XML"), ("muse.xml", "XML")],
        *[("csv", "table"), ("tsv", "table"), ("parquet", "Parquet")],
        *[("npz", "NumPy archive"), ("npy", "NumPy"), ("sierra.xml", "XML"), ("scp", "SCP-ECG")],
        *[("mwf", "MFER"), ("ecg", "ISHNE Holter"), ("json", "JSON"), ("mortara.xml", "XML")],
        *[("txt", "table"), ("rows.csv", "table"), ("xlsx", "Excel workbook"), ("hdf5", "HDF5")],
        *[("mat", "MATLAB"), ("export.json", "JSON")],
    ],
)
def test_formats_are_detected_by_content(tmp_path: Path, kind: str, name: str):
    content = WRITERS[kind](ecg(), FS)
    assert detect_format(content[: file_format.HEAD_BYTES])[0] == name
    assert is_record(write(tmp_path, content))
    assert is_record(write(tmp_path, gzip.compress(content, 1)))


@pytest.mark.parametrize(
    "content",
    [
        *[b"id,age\n1,56\n", b"<html/>", b"", b"\x1f\x8b", b"%PDF\0", b"All, about it\n"],
        *[b'{"name": "package"}', b"ANN  1.0" + bytes(600)],
    ],
)
def test_other_files_are_no_records(tmp_path: Path, content: bytes):
    assert not is_record(write(tmp_path, content))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files(tmp_path: Path, kind: str, share: float):
    content = WRITERS[kind](ecg(), FS)
    path = write(tmp_path, content[: int(share * len(content))])
    if kind in ("csv", "tsv", "txt"):  # a table does not state its length
        assert read_record(path).signal.shape[1] < ecg().shape[1]
    elif kind == "ecg":  # the length that an ISHNE header states is not reliable
        assert "the header states 5000 samples" in read_record(path).warnings[-1]
    else:
        assert_refused(path, **GIVEN.get(kind, {}))
    assert_refused(write(tmp_path, gzip.compress(content)[:-100]), **GIVEN.get(kind, {}))
    assert_refused(write(tmp_path, b""), "empty")


def test_a_table_of_columns_is_no_edf():
    table = b"\n".join(b"0       %7d %7d" % (i, 2 * i) for i in range(100))
    assert detect_format(table)[0] == "table"


LONG = 5000
JUNK = [
    b"", b"\0", bytes(LONG), b"\xff" * LONG, b"a" * LONG, b"\x1b[31m" * 900, b"1," * 3000,
    b"I,II\n" + b"x" * LONG, b"I,II\n1," + b"\x1b]0;title\x07" * 300, b"<a>" * 2000,
    b"<" * LONG, b"<AnnotatedECG>" + b"x" * LONG, b"<" + b"x" * LONG + b"/>",
    b"# fs: " + b"9" * LONG + b"\nI\n1", b"# units: " + b"\xe2\x80\xae" * 900 + b"\nI,II\n1,2\n",
    b'"' + b"x\n" * 3000, b"\x93NUMPY" * 900, b"I (" + b"u" * LONG + b"),II\n1,2\n",
    b"0       " + b"8" * LONG, b"PAR1" * 2000, bytes(128) + b"DICM" * 900,
    b"PK\3\4" + b"signal.npy" * 500, b"\x1f\x8b" + b"x" * LONG,
]  # fmt: skip


def check_message(error: BaseException, content: bytes) -> None:
    """Check that an error is one printable line with little of the content."""
    message = str(error)
    assert message.startswith("record ")
    assert message.isprintable(), message
    assert len(message) < 450, message
    text = content.decode("latin-1")
    run = 200
    pieces = (message[i : i + run] for i in range(len(message) - run + 1))
    assert not any(piece in text for piece in pieces), message


@pytest.mark.parametrize("i", range(len(JUNK)))
@pytest.mark.parametrize("suffix", ["bin", "csv", "hea", "\x1b\n\udcff"])
def test_errors_are_one_line_with_little_of_the_content(tmp_path: Path, i: int, suffix: str):
    path = write(tmp_path, JUNK[i], suffix)
    for given in ({}, {"fs": 500, "units": "mV", "leads": ["I", "II"]}):
        with pytest.raises((ValueError, OSError)) as error:
            read_record(path, **given)
        check_message(error.value, JUNK[i])


@pytest.mark.parametrize("pattern", sorted({pattern for pattern, _ in KINDS}, key=repr))
def test_errors_of_other_kinds_are_one_line(tmp_path: Path, pattern: re.Pattern):
    """Content of each signature, with junk after it."""
    head = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), pattern.pattern[:60])
    for content in (head + b"\x1b" * 5000, head + b"x" * 5000):
        path = write(tmp_path, content)
        with pytest.raises((ValueError, OSError)) as error:
            read_record(path)
        check_message(error.value, content)


def test_errors_of_the_cases_are_one_line():
    cases = SHARED / "cases"
    if not cases.is_dir():
        pytest.skip(f"needs {cases}")
    for path in sorted(each for each in cases.rglob("*") if each.is_file()):
        for given in ({}, {"fs": 33.0}, {"units": "V"}, {"leads": ["x"]}):
            try:
                read_record(path, **given)
            except (ValueError, OSError) as error:
                check_message(error, path.read_bytes())


def test_an_error_does_not_quote_the_content_at_length(tmp_path: Path):
    content = WRITERS["aecg.xml"](ecg(), FS)
    head, digits, tail = re.split(rb"(<digits>[^<]*)", content, maxsplit=1)
    path = write(tmp_path, head + digits.replace(b" ", b"_") + tail)
    with pytest.raises(
        ValueError, match="^record rec: XML: HL7 aECG: the samples of lead"
    ) as error:
        read_record(path)
    assert len(str(error.value)) < 200


def test_a_file_above_the_limit_is_not_read(tmp_path: Path):
    with (tmp_path / "rec.npy").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert_refused(tmp_path / "rec.npy", "larger than 256 MiB")


def test_gzip_files_in_several_members_and_within_another(tmp_path: Path):
    content = csv(ecg(2 * FS))
    half = len(content) // 2
    parts = gzip.compress(content[:half]) + gzip.compress(b"") + gzip.compress(content[half:])
    for packed in (parts, gzip.compress(parts), parts + bytes(1000)):
        path = write(tmp_path, packed)
        assert read_content(path) == (content, [])
        assert is_record(path)
        assert read_record(path).warnings == ()
    assert_refused(write(tmp_path, gzip.compress(gzip.compress(parts))), "gzip within gzip within")


def test_what_follows_the_gzip_content_is_ignored_with_a_warning(tmp_path: Path):
    path = write(tmp_path, gzip.compress(csv(ecg(2 * FS))) + b"\0\0junk")
    (warning,) = read_record(path).warnings
    assert warning == "6 bytes after the end of the gzip content were ignored"


def test_damaged_gzip_files_are_refused(tmp_path: Path):
    packed = gzip.compress(csv(ecg(2 * FS)))
    damaged = packed[:2000] + bytes(100) + packed[2100:]
    assert_refused(write(tmp_path, damaged), "malformed gzip")
    assert_refused(write(tmp_path, packed[:-4] + b"1234"), "malformed gzip", "incorrect length")
    assert_refused(write(tmp_path, packed + packed[:20]), "malformed gzip", "truncated")
    assert_refused(write(tmp_path, gzip.compress(b"")), "empty")


def test_many_empty_gzip_members_are_refused(tmp_path: Path):
    """Each takes its time: a file of 200 MiB would take minutes."""
    path = write(tmp_path, gzip.compress(b"") * (MAX_MEMBERS + 1))
    assert_refused(path, f"more than {MAX_MEMBERS} members")


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path, csv(ecg(2 * FS)))
    n_bytes = path.stat().st_size
    for n_before in (n_bytes - 7, n_bytes + 7):
        monkeypatch.setattr(
            file_format, "check_regular", lambda _, n=n_before: SimpleNamespace(st_size=n)
        )
        assert_refused(path, "changed while it was read")


def test_unzipping_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_format, "MAX_BYTES", 1 << 20)
    assert_refused(write(tmp_path, gzip.compress(bytes(1 << 21))), "larger than 1 MiB")
