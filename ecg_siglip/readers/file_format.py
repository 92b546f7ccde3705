"""Detect the format of a file by its content and read what the file states."""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

from ecg_siglip.core.files import one_line
from ecg_siglip.readers import (
    arrays,
    dicom_format,
    edf_format,
    excel_format,
    hdf5_format,
    isolated,
    json_exports,
    matlab_format,
    text_tables,
    xml_formats,
)
from ecg_siglip.readers.channels import Stated

# Size limit of a file, before and after it is unzipped.
MAX_BYTES = 1 << 28
HEAD_BYTES = 4096
MAX_MESSAGE = 300  # characters of an error of a reader
GZIP = b"\x1f\x8b"
# UTF-16, with or without byte order mark; otherwise no control characters but white space.
TEXT = (
    rb"\xff\xfe|\xfe\xff|(?:[\t\n\r -~]\0){8}|(?:\0[\t\n\r -~]){8}|"
    rb"[^\x00-\x08\x0e-\x1f]+[\0\x1a]*\Z"
)
# A ZIP file with one of the parts of a workbook among its first files.
EXCEL = rb"(?s)PK\x03\x04.{26}(?:.*?xl/|\[Content_Types\]\.xml(?!.*?(?:word|ppt)/))"
# Level 5, or level 4, whose header has a type, two sizes, a flag and the length of a name.
MATLAB = (
    rb"(?s)MATLAB 5\.0 MAT-file|[\0\x0a\x14\x1e\x28\x32]\0\0\0.{8}[\0\1]\0\0\0[\2-\x40]\0\0\0"
    rb"[A-Za-z]\w*\0|\0\0\x03[\xe8\xf2\xfc].{8}\0\0\0[\0\1]\0\0\0[\2-\x40][A-Za-z]\w*\0"
)
# Name, pattern at the beginning of the content, reader.
Reader = Callable[[bytes], Stated]
FORMATS: tuple[tuple[str, bytes, Reader], ...] = (
    ("EDF", rb"0 {7}", edf_format.read_edf),
    ("DICOM", rb"(?s).{128}DICM", dicom_format.read_dicom),
    ("NumPy", rb"\x93NUMPY", arrays.read_npy),
    ("Excel workbook", EXCEL, excel_format.read_xlsx),
    ("NumPy archive", rb"PK\x03\x04", arrays.read_npz),
    ("Parquet", rb"PAR1", isolated.isolated_parquet),
    ("Feather", rb"ARROW1", isolated.isolated_feather),
    ("HDF5", rb"(?s)(?:MATLAB 7\.3.{505}|.{512})?\x89HDF\r\n\x1a\n", hdf5_format.read_hdf5),
    ("MATLAB", MATLAB, isolated.isolated_mat),
    ("XML", rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*<", xml_formats.read_xml),
    ("JSON", rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*[{\[]", json_exports.read_json),
    ("table", TEXT, text_tables.read_text),
)


def read_content(path: Path) -> bytes:
    """Read a file, unzipped if it is a gzip file.

    Raises
    ------
    ValueError
        If it is empty, a malformed gzip file, or larger than ``MAX_BYTES``, zipped or unzipped.
    """
    size = path.stat().st_size
    content = b""
    if size <= MAX_BYTES:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
    if content.startswith(GZIP):
        try:
            with gzip.open(io.BytesIO(content)) as unzipped:
                content = unzipped.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"malformed gzip ({one_line(error)})") from error
    if max(size, len(content)) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB, which is the most that is read")
    if not content:
        raise ValueError("the file is empty")
    return content


def detect_format(head: bytes) -> tuple[str, Reader | None]:
    """Return the name and the reader of a format by the beginning of a file.

    The reader of an unknown format is None.
    """
    for name, pattern, reader in FORMATS:
        if re.match(pattern, head):
            return name, reader
    return "file", None


def run_reader(reader: Reader, content: bytes, kind: str) -> Stated:
    """Run a reader on the content of a file.

    Raises
    ------
    ValueError
        For every error that the reader or its library raises; the message names the format and
        quotes the content only in short.
    """
    try:
        with warnings.catch_warnings():
            # Libraries warn of damage that they can repair and raise errors for all other damage.
            warnings.simplefilter("ignore")
            return reader(content)
    except ValueError as error:
        raise ValueError(f"{kind}: {_shortened(one_line(error))}") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {_shortened(one_line(error))}"
        raise ValueError(f"malformed {kind} ({cause})") from error


def _shortened(message: str) -> str:
    """Return a message without its middle if it is long: float() quotes all of a bad number."""
    n_half = MAX_MESSAGE // 2
    return message if len(message) <= MAX_MESSAGE else f"{message[:n_half]} ... {message[-n_half:]}"


def is_record(path: Path) -> bool:
    """Return whether a file is a record, by the beginning of its content."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(GZIP):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False
    kind, reader = detect_format(head)
    if kind == "XML":
        root = rb"<(\w+:)?(AnnotatedECG|RestingECG)\b"
        return re.search(root, head.replace(b"\0", b"")) is not None
    if kind == "HDF5":
        return hdf5_format.is_ecg_hdf5(path)
    if kind == "JSON":
        return json_exports.is_ecg_json(head)
    if kind in ("Excel workbook", "MATLAB") and reader is not None:
        content = read_content(path)
        return (excel_format.is_ecg_xlsx if kind != "MATLAB" else matlab_format.is_ecg_mat)(content)
    if kind == "NumPy archive":
        return b".npy" in head
    if kind == "table":
        return text_tables.is_ecg_table(head)
    return reader is not None
