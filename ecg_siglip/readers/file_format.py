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
    device_formats,
    dicom_format,
    edf_format,
    json_formats,
    tabular_formats,
    xml_formats,
)
from ecg_siglip.readers.channels import Stated
from ecg_siglip.signals.leads import LEADS, lead_name

# Size limit of a file, before and after it is unzipped.
MAX_BYTES = 1 << 28
HEAD_BYTES = 4096
MAX_MESSAGE = 300  # characters of an error of a reader
GZIP = b"\x1f\x8b"
# With a preamble; or from group 2, the meta information; or, as sent over a network, from group 8
# with a short first element.
DICOM = (
    rb"(?s).{128}DICM|\x02\x00[\x00-\x02]\x00[A-Z]{2}|"
    rb"\x08\x00[\x00-\x18]\x00(?:[A-Z]{2}|.\x00{3})"
)
# With a byte order mark or in EBCDIC.
XML = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00\xfe\xff]*<|\x4c\x6f\xa7\x94"
# Name, pattern at the beginning of the content, reader.
Reader = Callable[[bytes], Stated]
FORMATS: tuple[tuple[str, bytes, Reader], ...] = (
    # With the number of signals, which a table of numbers with blanks between them has not there.
    ("EDF", rb"0[ \x00]{7}[^\n]{244}[\d \x00]{4}", edf_format.read_edf),
    ("BDF", rb"\xffBIOSEMI", edf_format.read_edf),
    ("DICOM", DICOM, dicom_format.read_dicom),
    ("NumPy", rb"\x93NUMPY", tabular_formats.read_npy),
    ("NumPy archive", rb"PK\x03\x04", tabular_formats.read_npz),
    ("Parquet", rb"PAR1", tabular_formats.read_parquet),
    ("SCP-ECG", rb"(?s).{8}\0\0.{12}\0\0.{4}\x07\0\0\0", device_formats.read_scp),
    ("ISHNE Holter", rb"(?:ISHNE|ANN  )1\.0", device_formats.read_ishne),
    ("MFER", rb"(?s)@.MFR |\x01\x01[\x00\x01]\x02\x03", device_formats.read_mfer),
    ("XML", XML, xml_formats.read_xml),
    ("JSON", rb"(?:\xef\xbb\xbf)?\s*(?:\{|\[\s*\{)", json_formats.read_json),
    ("table", rb"[^\x00-\x08\x0e-\x1f]+\Z", tabular_formats.read_text),
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
        return xml_formats.is_ecg_xml(head)
    if kind == "JSON":
        return json_formats.is_ecg_json(head)
    if kind == "table":
        cells = tabular_formats.first_row(head)
        names = {lead_name(tabular_formats.split_unit(cell)[0]) for cell in cells}
        is_numeric = len(cells) > 1 and all(map(tabular_formats.is_number, cells))
        return is_numeric or not names.isdisjoint(LEADS)
    return reader is not None and not head.startswith(device_formats.ISHNE_ANNOTATIONS)
