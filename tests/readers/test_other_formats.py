"""Files that are not read are named as what they are, with what would help."""

import io
import pickle
import re
import sqlite3
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from helpers import SHARED
from writers import FS, WRITERS, ecg, write

from ecg_siglip.readers.file_format import HEAD_BYTES, detect_format
from ecg_siglip.readers.other_formats import KINDS, Other, count_of, identify
from ecg_siglip.readers.record import read_record


def zipped(*names: str) -> bytes:
    """Return a ZIP archive with files of these names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "x" * 300)
    return file.getvalue()


def picture(suffix: str) -> bytes:
    """Return a picture as matplotlib writes it."""
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.zeros((4, 4)), format=suffix)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setparams((1, 2, 8000, 0, "NONE", ""))
        audio.writeframes(bytes(100))
    return file.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("create table a (b)")
    connection.close()
    return (folder / "a.db").read_bytes()


def torch_file() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file)
    return file.getvalue()


FILES = {
    "a PDF document": lambda _: b"\n%PDF-1.4\n%\xe2\xe3",
    "a PostScript document": lambda _: b"%!PS-Adobe-3.0\n",
    "an RTF document": lambda _: rb"{\rtf1\ansi ECG}",
    "an old Office document": lambda _: bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500),
    "a Word document": lambda _: zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    "an OpenDocument file": lambda _: zipped("mimetype", "content.xml"),
    "an HTML page": lambda _: b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<!DOCTYPE html>\n",
    "a PNG picture": lambda _: picture("png"),
    "a JPEG picture": lambda _: picture("jpg"),
    "a TIFF picture": lambda _: picture("tiff"),
    "a GIF picture": lambda _: picture("gif"),
    "a WebP picture": lambda _: picture("webp"),
    "a BMP picture": lambda _: b"BM" + struct.pack("<IIIIii", 200, 0, 54, 40, 4, 4) + bytes(30),
    "a HEIC picture": lambda _: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "an SVG picture": lambda _: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a WAV audio file": lambda _: wav(),
    "an MP4 video": lambda _: b"\0\0\0\x20ftypisom",
    "a ZIP archive": lambda _: zipped("ecg/rec.hea", "ecg/rec.dat"),
    "a 7z archive": lambda _: b"7z\xbc\xaf\x27\x1c\0\4",
    "a RAR archive": lambda _: b"Rar!\x1a\7\1\0",
    "a TAR archive": lambda _: tar(),
    "a Zstandard compressed file": lambda _: b"\x28\xb5\x2f\xfd\x24",
    "a bzip2 compressed file": lambda _: b"BZh91AY&SY",
    "an xz compressed file": lambda _: b"\xfd7zXZ\0\0\4",
    "a PyTorch file": lambda _: torch_file(),
    "a Python pickle": lambda _: pickle.dumps({"signal": np.zeros(3)}),
    "an SQLite database": database,
    "a NetCDF file": lambda _: b"CDF\1\0\0\0\0",
    "a program": lambda _: b"\x7fELF\2\1\1",
    "a Windows program": lambda _: b"MZ" + bytes(58) + b"\x80\0\0\0",
    "a script": lambda _: b"#!/bin/sh\nrm -rf /\n",
    "a GDF recording": lambda _: b"GDF 2.10",
    "a LabChart (CFWB) recording": lambda _: b"CFWB\1\0\0\0" + bytes(60),
    "a Spike2 recording": lambda _: b"\6\0(C) CED 87",
    "a LabVIEW (TDMS) recording": lambda _: b"TDSm\x0e\0\0\0",
    "a BrainVision header": lambda _: b"Brain Vision Data Exchange Header File Version 1.0\n",
    "an MEG recording": lambda _: bytes.fromhex("000000640000001f00000014"),
    "an ISHNE annotation file": lambda _: b"ANN  1.0" + bytes(500),
    "a NIfTI image": lambda _: bytes(344) + b"n+1\0",
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_are_named_with_what_would_help(tmp_path: Path, name: str):
    content = FILES[name](tmp_path)
    kind = identify(content[:HEAD_BYTES])
    assert kind is not None and kind.name == name
    with pytest.raises(ValueError, match=rf"record rec: {re.escape(name)}[:,] \w+") as error:
        read_record(write(tmp_path, content, "dat"))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("kind", WRITERS)
def test_no_record_is_taken_for_another_kind(kind: str):
    head = WRITERS[kind](ecg(), FS)[:HEAD_BYTES]
    assert detect_format(head)[1] is not None
    assert identify(head) is None or kind in ("npz", "xlsx"), "both are ZIP archives"


def test_a_dicom_file_may_begin_like_a_picture(tmp_path: Path):
    content = b"II*\0" + WRITERS["dcm"](ecg(), FS)[4:]
    assert read_record(write(tmp_path, content)).fs == FS


def test_the_name_counts_where_the_content_has_no_mark(tmp_path: Path):
    (tmp_path / "rec.ATR").write_bytes(b"\x12\x70\0\0")
    with pytest.raises(ValueError, match="record rec: an annotation file, which holds marks"):
        read_record(tmp_path / "rec.ATR")
    assert identify(b"\0\1\2", "x.acq") == Other(
        "an AcqKnowledge recording", "export it as EDF or CSV", True
    )
    assert identify(b"\0\1\2", "x.bin") is None


def test_samples_are_hardly_ever_taken_for_another_kind():
    """Of raw 16-bit samples without a header, by chance."""
    rng = np.random.default_rng(0)
    heads = [rng.normal(0, 400, 200).astype("<i2").tobytes() for _ in range(2000)]
    assert sum(identify(head) is not None for head in heads) <= 1


def test_patterns_end_on_any_content():
    for piece in (b"<!--", b"-->", b"PK\3\4", b"<", b" ", b"%PDF", b"\0", b"<!-- -->", b"xl/"):
        head = (piece * HEAD_BYTES)[:HEAD_BYTES]
        identify(head)


def test_the_words_of_the_table():
    for _, kind in KINDS:
        assert re.match(r"an? \w", kind.name), kind
        assert not re.match("a [aeioAEIO]|an [bcdfgjkptvw]", kind.name), kind
        assert not count_of(kind.name, 2).endswith("ss")
        assert str(kind).startswith(kind.name)


def test_no_real_file_is_taken_for_another_kind():
    cases = SHARED / "cases"
    if not cases.is_dir():
        pytest.skip(f"needs {cases}")
    named = {path.name: kind.name for path in sorted(cases.rglob("*.*"))
             if (kind := identify(path.read_bytes()[:HEAD_BYTES]))}  # fmt: skip
    assert set(named) <= {"report.pdf", "paper.png", "excel.xlsx", "val_only.mat"}
