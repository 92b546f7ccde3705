"""Uploaded files: safe names, the records among them, and the table of predictions."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ecg_siglip.core.files import one_line
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.readers.record import WFDB_SUFFIXES

PREFIX = "ecg_siglip_"  # of every folder made here
MAX_NAME = 150  # bytes of a file's name


@dataclass(frozen=True)
class UploadResult:
    """What became of an upload.

    Attributes
    ----------
    answers : list of Answer
        Named as the files were, without a folder.
    refused : list of (record, error)
        What could not be read, and why, in a line that names no folder of this machine.
    """

    answers: list[Prediction]
    refused: list[tuple[str, str]]


# ------------------------------------------------------------------------------ uploaded files


def save_uploads(files: Iterable[tuple[str, IO[bytes]]], folder: Path) -> None:
    """Write uploaded files to a folder, under the last part of their names.

    Parameters
    ----------
    files : iterable of (name, file open for reading)
    folder : Path

    Raises
    ------
    ValueError
        If a name is none, or two are the same.
    """
    for given, source in files:
        path = folder / safe_name(given)
        if path.exists():
            raise ValueError(f"two files are named {path.name}; expected each name once")
        with path.open("xb") as target:
            shutil.copyfileobj(source, target)


def safe_name(given: str) -> str:
    """A file's name without any folder, fit to be written and to be shown.

    Raises
    ------
    ValueError
        If nothing is left of it, or it is too long.

    Examples
    --------
    >>> safe_name("..\\\\..\\\\etc/00001_lr.hea")
    '00001_lr.hea'
    """
    name = re.split(r"[/\\]", given)[-1]
    # What a WFDB header writes of its files is kept as it is.
    name = re.sub(r"[^\w .,+()@~=-]", "_", name).strip()
    if not name.strip("."):
        raise ValueError(f"a file without a name: {given[-60:]!r}")
    if len(name.encode()) > MAX_NAME:
        raise ValueError(f"a name of {len(name.encode())} bytes; expected {MAX_NAME} at most")
    return name


def records_among(folder: Path) -> list[Path]:
    """The records in a folder of uploads; whatever is no part of another is one by itself.

    Notes
    -----
    Other than ``record.find_records`` it passes over nothing: who uploads a file is told what became of
    it.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    parts = set()
    for header in paths:
        if header.suffix.lower() == ".hea":
            stems = {header.with_suffix(suffix).name for suffix in (".dat", ".mat")}
            said = header.read_bytes()[: 1 << 20].decode("latin-1").splitlines()
            parts |= stems | {line.split()[0] for line in said[1:] if line.strip()}
    return [path for path in paths if path.suffix.lower() == ".hea" or path.name not in parts]


def hide_path(folder: Path, error: BaseException) -> str:
    """The message of an error on one line, without the folder that the upload lies in."""
    message = one_line(error)
    for path in {str(folder), str(folder.resolve())}:
        message = message.replace(f"{path}/", "").replace(path, "the upload")
    return message


def record_name(path: Path) -> str:
    return path.stem if path.suffix.lower() in WFDB_SUFFIXES else path.name


# ------------------------------------------------------------------------------------ as a table


def to_csv(read: UploadResult) -> str:
    """What became of an upload as CSV: one row a record, one column a finding.

    Notes
    -----
    Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    codes = [finding.code for finding in read.answers[0].findings] if read.answers else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["record", "findings", "not_excluded", "not_assessable", "warnings", "error"]
    writer.writerow([*head, *(f"probability/{code}" for code in codes)])
    for answer in read.answers:
        said = [
            answer.record,
            " ".join(f.code for f in answer.findings if f.present),
            " ".join(f.code for f in answer.findings if f.certainty == "possible"),
            " ".join(f.code for f in answer.findings if not f.assessable),
            "; ".join(answer.warnings),
            "",
        ]
        row = [f"{f.probability:.6f}" if f.assessable else "" for f in answer.findings]
        writer.writerow([*map(_no_formula, said), *row])
    for record, error in read.refused:
        said = [record, "", "", "", "", error]
        writer.writerow([*map(_no_formula, said), *[""] * len(codes)])
    return out.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
