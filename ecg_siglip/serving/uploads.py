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
from ecg_siglip.readers.folders import named_files
from ecg_siglip.readers.record import WFDB_SUFFIXES
from ecg_siglip.signals.measurements import COLUMNS

PREFIX = "ecg_siglip_"  # of every temporary folder
MAX_NAME = 150  # bytes of a file's name
# Columns that the table has if one of its records has a value; the last only with show_ids.
IDENTITY = ("recorded_at", "device", "patient_id")


@dataclass(frozen=True)
class UploadResult:
    """Predictions and errors of an upload.

    Attributes
    ----------
    predictions : list of Prediction
        Records are named as the files, without a folder.
    errors : list of (record, error)
        Records that could not be read, each with one line that names no folder of this machine.
    """

    predictions: list[Prediction]
    errors: list[tuple[str, str]]


def save_uploads(files: Iterable[tuple[str, IO[bytes]]], folder: Path) -> None:
    """Write uploaded files to a folder, under the last part of their names.

    Parameters
    ----------
    files : iterable of (name, file open for reading)
    folder : Path

    Raises
    ------
    ValueError
        If a file has no usable name, or two have the same.
    """
    for name, source in files:
        path = folder / safe_name(name)
        if path.exists():
            raise ValueError(f"two files are named {path.name}; expected each name once")
        with path.open("xb") as target:
            shutil.copyfileobj(source, target)


def safe_name(name: str) -> str:
    """Return a file's name without any folder, safe to be written and displayed.

    Raises
    ------
    ValueError
        If nothing is left of the name, or it is too long.

    Examples
    --------
    >>> safe_name("..\\\\..\\\\etc/00001_lr.hea")
    '00001_lr.hea'
    """
    last = re.split(r"[/\\]", name)[-1]
    # The characters that WFDB headers use in the names of their files are not replaced.
    safe = re.sub(r"[^\w .,+()@~=-]", "_", last).strip()
    if not safe.strip("."):
        raise ValueError(f"a file without a name: {name[-60:]!r}")
    if len(safe.encode()) > MAX_NAME:
        raise ValueError(f"a name of {len(safe.encode())} bytes; expected {MAX_NAME} at most")
    return safe


def records_among(folder: Path) -> list[Path]:
    """Return the records in a folder of uploads; a file that belongs to no other is a record.

    Notes
    -----
    Unlike ``folders.find_records`` it ignores no file: each uploaded file that is no part of a
    WFDB record gets a prediction or an error.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    parts, masters = set[str](), set[str]()
    for header in paths:
        if header.suffix.lower() == ".hea":
            names, has_segments = named_files(header)
            parts |= names | {f"{header.stem}{suffix}".lower() for suffix in (".dat", ".mat")}
            masters |= {header.name.lower()} if has_segments else set()
    parts -= masters
    return [path for path in paths if path.name.lower() not in parts]


def hide_path(folder: Path, error: BaseException) -> str:
    """Return the message of an error on one line, without the folder of the upload."""
    message = str(error) or one_line(error)
    for path in {str(folder), str(folder.resolve())}:
        message = message.replace(f"{path}/", "").replace(path, "the upload")
    return one_line(ValueError(message))


def record_name(path: Path) -> str:
    """Return the name of a record: the stem of a WFDB record, else the file's name."""
    return path.stem if path.suffix.lower() in WFDB_SUFFIXES else path.name


def to_csv(upload: UploadResult) -> str:
    """Return predictions and errors as CSV: one row per record.

    Notes
    -----
    One column per measurement, empty where it is not measurable, and one per finding. Text that a
    spreadsheet would take for a formula gets a leading apostrophe.
    """
    predictions = upload.predictions
    codes = [finding.code for finding in predictions[0].findings] if predictions else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["record", "findings", "not_excluded", "not_assessable", "warnings", "error"]
    stated = [_identity_row(prediction) for prediction in predictions]
    of_identity = [name for name in IDENTITY if any(row[name] for row in stated)]
    columns = COLUMNS if any(prediction.measurements for prediction in predictions) else ()
    head += of_identity
    writer.writerow([*head, *columns, *(f"probability/{code}" for code in codes)])
    for prediction, row_of_identity in zip(predictions, stated, strict=True):
        texts = [
            prediction.record,
            " ".join(f.code for f in prediction.findings if f.present),
            " ".join(f.code for f in prediction.findings if f.not_excluded),
            " ".join(f.code for f in prediction.findings if not f.assessable),
            "; ".join(prediction.warnings),
            "",
            *(row_of_identity[name] for name in of_identity),
        ]
        values = [f"{f.probability:.6f}" if f.assessable else "" for f in prediction.findings]
        row = prediction.measurements.to_row() if prediction.measurements else {}
        writer.writerow([*map(_no_formula, texts), *map(row.get, columns), *values])
    for record, error in upload.errors:
        texts = [record, "", "", "", "", error, *[""] * len(of_identity)]
        writer.writerow([*map(_no_formula, texts), *[""] * (len(columns) + len(codes))])
    return out.getvalue()


def _identity_row(prediction: Prediction) -> dict[str, str]:
    """Return what is stated of the columns ``IDENTITY``."""
    identity = prediction.identity
    return dict(
        zip(IDENTITY, (identity.recorded_at, identity.device(), identity.patient_id), strict=True)
    )


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
