"""The content of a file decides its format; damaged and oversized files are refused."""

import gzip
import re
from pathlib import Path

import pytest
from writers import FS, GIVEN, WRITERS, assert_refused, ecg, write

from ecg_siglip.readers import file_format
from ecg_siglip.readers.file_format import MAX_BYTES, detect_format, is_record
from ecg_siglip.readers.record import read_record


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("edf", "EDF"), ("dcm", "DICOM"), ("aecg.xml", "XML"), ("muse.xml", "XML")],
        *[("csv", "table"), ("tsv", "table"), ("parquet", "Parquet")],
        *[("npz", "NumPy archive"), ("npy", "NumPy"), ("txt", "table"), ("rows.csv", "table")],
        *[("xlsx", "Excel workbook"), ("hdf5", "HDF5"), ("mat", "MATLAB"), ("json", "JSON")],
    ],
)
def test_formats_are_detected_by_content(tmp_path: Path, kind: str, name: str):
    content = WRITERS[kind](ecg(), FS)
    assert detect_format(content[: file_format.HEAD_BYTES])[0] == name
    assert is_record(write(tmp_path, content))
    assert is_record(write(tmp_path, gzip.compress(content, 1)))


@pytest.mark.parametrize(
    "content", [b"id,age\n1,56\n", b"<html/>", b"", b"\x1f\x8b", b"%PDF\0", b"All, about it\n"]
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
    else:
        assert_refused(path, **GIVEN.get(kind, {}))
    assert_refused(write(tmp_path, gzip.compress(content)[:-100]), **GIVEN.get(kind, {}))
    assert_refused(write(tmp_path, b""), "empty")


def test_an_error_does_not_quote_the_content_at_length(tmp_path: Path):
    content = WRITERS["aecg.xml"](ecg(), FS)
    head, digits, tail = re.split(rb"(<digits>[^<]*)", content, maxsplit=1)
    path = write(tmp_path, head + digits.replace(b" ", b",") + tail)
    with pytest.raises(ValueError, match="^record rec: XML: could not convert string") as error:
        read_record(path)
    assert len(str(error.value)) < file_format.MAX_MESSAGE + 40


def test_a_file_above_the_limit_is_not_read(tmp_path: Path):
    with (tmp_path / "rec.npy").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert_refused(tmp_path / "rec.npy", "larger than 256 MiB")


def test_unzipping_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_format, "MAX_BYTES", 1 << 20)
    assert_refused(write(tmp_path, gzip.compress(bytes(1 << 21))), "larger than 1 MiB")
