"""Detect the format of a file by its content and read what the file states."""

from __future__ import annotations

import os
import re
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ecg_siglip.core.files import one_line, shorten
from ecg_siglip.readers import (
    arrays,
    device_formats,
    edf_format,
    hdf5_format,
    json_formats,
    matlab_format,
    text_tables,
    xml_formats,
)
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.isolated import run_isolated
from ecg_siglip.readers.limits import HEAD_BYTES, MAX_BYTES, check_regular
from ecg_siglip.readers.other_formats import ECG_SUFFIXES, PICTURE, Other, identify

MAX_MESSAGE = 300  # characters of an error of a reader
MAX_QUOTE = 100  # characters of a word of it, or between quotes
# Text in quotes: not an apostrophe within or at the end of a word.
QUOTED = re.compile(
    rf"""(?<![\w)])b?(?:'[^']{{{MAX_QUOTE},}}'|"[^"]{{{MAX_QUOTE},}}")|\S{{{MAX_QUOTE},}}"""
)
GZIP = b"\x1f\x8b"
# With a preamble; or from group 2, the meta information; or, as sent over a network, from group 8
# with a short first element.
DICOM = (
    rb"(?s).{128}DICM|\x02\x00[\x00-\x02]\x00[A-Z]{2}|"
    rb"\x08\x00[\x00-\x18]\x00(?:[A-Z]{2}|.\x00{3})"
)
# With or without a byte order mark.
XML = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00\xfe\xff]*<"
JSON = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*(?:\{|\[[\s\x00]*\{)"
TOO_LARGE = "larger than {} MiB, which is the most that is read"
GZIP_STEP = 1 << 16  # bytes that are unzipped at a time
MAX_MEMBERS = 1 << 16  # of a gzip file; one written in blocks has one for each 64 KiB
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
    # With the number of signals, which a table of numbers with blanks between them has not there.
    ("EDF", rb"0[ \x00]{7}[^\n]{244}[\d \x00]{4}", edf_format.read_edf),
    ("BDF", rb"\xffBIOSEMI", edf_format.read_edf),
    ("DICOM", DICOM, partial(run_isolated, b"dicom")),
    ("NumPy", rb"\x93NUMPY", arrays.read_npy),
    ("Excel workbook", EXCEL, partial(run_isolated, b"xlsx")),
    ("NumPy archive", rb"(?s)PK\x03\x04.{26}[^\x00]{1,200}?\.npy", partial(run_isolated, b"npz")),
    ("Parquet", rb"PAR1", partial(run_isolated, b"parquet")),
    ("Feather", rb"ARROW1", partial(run_isolated, b"feather")),
    ("HDF5", rb"(?s)(?:MATLAB 7\.3.{505}|.{512})?\x89HDF\r\n\x1a\n", hdf5_format.read_hdf5),
    ("MATLAB", MATLAB, partial(run_isolated, b"mat")),
    ("SCP-ECG", rb"(?s).{8}\0\0.{12}\0\0.{4}\x07\0\0\0", partial(run_isolated, b"scp")),
    ("ISHNE Holter", rb"ISHNE1\.0", device_formats.read_ishne),
    ("MFER", rb"(?s)@.MFR |\x01\x01[\x00\x01]\x02\x03", partial(run_isolated, b"mfer")),
    ("XML", XML, partial(run_isolated, b"xml")),
    ("JSON", JSON, partial(run_isolated, b"json")),
    ("table", TEXT, text_tables.read_text),
)
# Formats with so general a pattern that files of other kinds match it.
GENERAL = ("XML", "JSON", "table")
WFDB_HEADER = Other("a compressed WFDB header", "unpack it and the files that it names", True)
UNKNOWN = Other(
    "a file of unknown content",
    f"expected one of {', '.join(['WFDB', *(name for name, *_ in FORMATS)])}",
)


class UnknownContentError(ValueError):
    """A file whose content has no known format."""


def read_content(path: Path) -> tuple[bytes, list[str]]:
    """Read a file, unzipped if it is a gzip file or one within another.

    Returns
    -------
    content : bytes
    warnings : list of str

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no file, is empty, is a malformed gzip file, changes while it is read, or is
        larger than ``MAX_BYTES``, zipped or unzipped.
    """
    n_bytes = check_regular(path).st_size
    if n_bytes > MAX_BYTES:
        raise ValueError(TOO_LARGE.format(MAX_BYTES >> 20))
    notes: list[str] = []
    content = b""
    if n_bytes:  # otherwise nothing is opened: a file of the kernel may never end
        with path.open("rb") as file:
            content = file.read(n_bytes + 1)
            n_after = os.fstat(file.fileno()).st_size
        if not n_bytes == len(content) == n_after:
            raise ValueError(f"the file had {n_bytes} bytes and changed while it was read")
    for _ in range(2):
        if content.startswith(GZIP):
            content = _unzip(content, notes)
    if content.startswith(GZIP):
        raise ValueError("gzip within gzip within gzip, expected one within another at most")
    if not content:
        raise ValueError("the file is empty")
    return content, notes


def _unzip(content: bytes, notes: list[str]) -> bytes:
    """Return the content of a gzip file; note what follows its last member."""
    view, parts, n_bytes, at = memoryview(content), [], 0, 0
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(31)
        while not member.eof:
            if at >= len(content):
                raise ValueError("malformed gzip (the file is truncated)")
            try:
                parts.append(member.decompress(view[at : at + GZIP_STEP]))
            except zlib.error as error:
                raise ValueError(f"malformed gzip ({one_line(error)})") from error
            at = min(at + GZIP_STEP, len(content)) - len(member.unused_data)
            n_bytes += len(parts[-1])
            if n_bytes > MAX_BYTES:
                raise ValueError(TOO_LARGE.format(MAX_BYTES >> 20))
        if content[at : at + 2] != GZIP:
            break
    else:
        raise ValueError(f"a gzip file of more than {MAX_MEMBERS} members")
    if content.count(0, at) < len(content) - at:  # zeros fill up a block of a tape
        notes.append(f"{len(content) - at} bytes after the end of the gzip content were ignored")
    return b"".join(parts)


def read_head(path: str | os.PathLike[str]) -> bytes:
    """Read the beginning of a file, unzipped as by ``read_content``.

    Raises
    ------
    OSError, ValueError
        If it cannot be read or is no file.
    """
    if check_regular(path).st_size == 0:
        return b""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    for _ in range(2):
        if head.startswith(GZIP):
            try:
                # A truncated file has a beginning, too.
                head = zlib.decompressobj(31).decompress(head, HEAD_BYTES) or head
            except zlib.error:
                break
    return head


def detect_format(head: bytes) -> tuple[str, Reader | None]:
    """Return the name and the reader of a format by the beginning of a file.

    The reader of an unknown format is None.
    """
    for name, pattern, reader in FORMATS:
        if re.match(pattern, head) and not (name in GENERAL and identify(head)):
            return name, reader
    return "file", None


def choose_reader(head: bytes, name: str) -> tuple[str, Reader]:
    """Return the name and the reader of a format by the beginning and the name of a file.

    Raises
    ------
    UnknownContentError
        If it is of no known format.
    ValueError
        If it is of a format that is not read, with what it is and what would help.
    """
    kind, reader = detect_format(head)
    if reader is None or name.lower().endswith(".hea.gz"):
        other = describe_other(head, name)
        error = UnknownContentError if other.name == UNKNOWN.name else ValueError
        raise error(str(other))
    return kind, reader


def describe_other(head: bytes, name: str) -> Other:
    """Return what a file is that is no record, by its beginning and its name."""
    stem = re.sub(r"\.gz\Z", "", name.lower())
    suffix = os.path.splitext(stem)[1]
    if suffix == ".hea" and detect_format(head)[0] == "table":
        return WFDB_HEADER
    return identify(head, stem) or UNKNOWN._replace(is_ecg=suffix in ECG_SUFFIXES)


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture or a document of one, by its content."""
    try:
        kind = identify(read_head(path))
    except (OSError, ValueError):
        return False
    return kind is not None and kind.advice == PICTURE


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
        raise ValueError(f"{kind}: {short_message(error)}") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {short_message(error)}"
        raise ValueError(f"malformed {kind} ({cause})") from error


def short_message(error: BaseException) -> str:
    """Return the message of a reader on one line, with the content of the file quoted in short.

    Libraries quote what they cannot read: float() all of a bad number.
    """
    message = QUOTED.sub(lambda match: shorten(match[0], MAX_QUOTE), one_line(error))
    return shorten(message, MAX_MESSAGE)


def is_record(path: str | os.PathLike[str], head: bytes | None = None) -> bool:
    """Return whether a file in a folder is a record, by the beginning of its content.

    A table is a record if ``text_tables.is_ecg_table`` finds the columns of an ECG, an XML file if
    its root is known.

    Parameters
    ----------
    path : str or path
    head : bytes, optional
        What ``read_head`` returns of it; None: it is read, and a file that cannot be read is no
        record.
    """
    if head is None:
        try:
            head = read_head(path)
        except (OSError, ValueError):
            return False
    kind, reader = detect_format(head)
    if kind == "XML":
        return xml_formats.is_ecg_xml(head)
    if kind == "JSON":
        return json_formats.is_ecg_json(head)
    if kind == "HDF5":
        return hdf5_format.is_ecg_hdf5(Path(path))
    if kind in ("Excel workbook", "MATLAB"):
        return _is_ecg_content(Path(path), kind)
    if kind == "table":
        return text_tables.is_ecg_table(head)
    return reader is not None


def _is_ecg_content(path: Path, kind: str) -> bool:
    """Return whether a file is a record that only more than its beginning shows."""
    try:
        content, _ = read_content(path)
    except (OSError, ValueError):
        return False
    if kind == "MATLAB":
        return matlab_format.is_ecg_mat(content)
    try:
        run_isolated(b"page", content)
    except ValueError:
        return False
    return True
