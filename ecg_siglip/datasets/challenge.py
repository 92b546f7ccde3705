"""The PhysioNet/CinC 2020-2021 collections on disk: ECGs of other hospitals with SNOMED CT codes.

A collection is a folder of WFDB records, at any depth. Each record is a header with ``#Age``,
``#Sex`` and ``#Dx`` and a ``.mat`` file. A root contains one or several collections; each is named
after its folder.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.readers.preparation import PreparedRecord, prepare_record
from ecg_siglip.readers.record import read_record

COMMENT = re.compile(r"^#[ \t]*(Dx|Age|Sex)[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
# Words that headers use for an unknown value.
UNKNOWN = {"", "unknown", "nan", "na", "n/a", "none"}
SEXES = {"male": "male", "m": "male", "female": "female", "f": "female"}
# PTB-XL in challenge form: HRnnnnn is the record with ecg_id nnnnn.
PTBXL_NAME = re.compile(r"HR(\d{5})")
MAX_HEADER_BYTES = 1 << 20
MIN_RECORDS_PER_PROCESS = 200  # starting a process takes about as long as preparing these


@dataclass(frozen=True)
class Labels:
    """Diagnoses, age and sex of the patient, as a header states them.

    Attributes
    ----------
    dx : frozenset of int
        SNOMED CT codes.
    age : float, years
        NaN where unknown; 90 for PTB-XL's 300, which means over 89.
    sex : {"male", "female", ""}
        Empty where unknown.
    """

    dx: frozenset[int]
    age: float
    sex: str


@dataclass(frozen=True)
class Collection:
    """The labelled records of one collection.

    Attributes
    ----------
    name : str
        Name of its folder.
    paths : list of Path
        Headers, sorted.
    labels : list of Labels
        One per path.
    left_out : dict of str to str
        Reason by name, for the records without labels.
    """

    name: str
    paths: list[Path]
    labels: list[Labels]
    left_out: dict[str, str]


def find_sets(root: str | Path) -> dict[str, list[Path]]:
    """Return the headers of every collection below a root, by the name of its folder.

    Parameters
    ----------
    root : path
        Records directly in the root are a collection with the name of the root. Each folder of the
        root with records at any depth is a collection.

    Returns
    -------
    dict of str to list of Path, sorted

    Raises
    ------
    ValueError
        If the root is not a folder, or contains no record.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"data.root={root}: no such folder; expected one with challenge records")
    headers = {root.resolve().name: sorted(root.glob("*.hea"))}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        headers[folder.name] = headers.get(folder.name, []) + sorted(folder.rglob("*.hea"))
    headers = {name: paths for name, paths in headers.items() if paths}
    if not headers:
        raise ValueError(
            f"data.root={root}: no record (.hea) in it; expected one folder per hospital"
        )
    return headers


def read_labels(path: Path) -> Labels:
    """Read diagnoses, age and sex from the header of a record.

    Raises
    ------
    ValueError
        If there is no ``#Dx``, if it is unknown or not a list of SNOMED CT codes, or if the file
        is too large for a header.
    OSError
        If the file cannot be read.
    """
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise ValueError(f"expected a header of at most {MAX_HEADER_BYTES} bytes")
    text = path.read_bytes().decode("utf-8", errors="replace")
    values: dict[str, list[str]] = {}
    for key, value in COMMENT.findall(text):
        values.setdefault(key.lower(), []).append(value.strip())
    if "dx" not in values:
        raise ValueError("no #Dx line")
    words = [word for value in values["dx"] for word in re.split(r"[,;\s]+", value)]
    words = [word for word in words if word.lower() not in UNKNOWN]
    if odd := [word for word in words if not word.isdecimal()]:
        raise ValueError(f"#Dx: expected SNOMED CT codes, got {odd[0]!r:.40}")
    if not words:
        raise ValueError(f"#Dx is {', '.join(filter(None, values['dx'])) or 'empty'}")
    sex = SEXES.get(values.get("sex", [""])[0].lower(), "")
    return Labels(frozenset(map(int, words)), _age(values.get("age", [""])[0]), sex)


def _age(text: str) -> float:
    try:
        age = float(text)
    except ValueError:
        return math.nan
    if age == 300:
        return 90.0
    return age if 0 <= age <= 120 else math.nan


def collect(name: str, paths: Sequence[Path]) -> Collection:
    """Read the labels of a collection; records without labels are listed in ``left_out``."""
    labelled, labels, left_out = [], [], {}
    for path in paths:
        try:
            labels.append(read_labels(path))
            labelled.append(path)
        except (ValueError, OSError) as error:
            left_out[path.stem] = one_line(error)
    return Collection(name, labelled, labels, left_out)


def ecg_ids(paths: Sequence[Path]) -> np.ndarray:
    """Return PTB-XL's ecg_id of each record, 0 for other records; (n_records,) int64."""
    matches = [PTBXL_NAME.fullmatch(path.stem) for path in paths]
    return np.array([int(match[1]) if match else 0 for match in matches], np.int64)


def in_tuning_half(key: str) -> bool:
    """Return whether a record or patient is in the tuning half; the same for every model."""
    return hashlib.sha256(key.encode()).digest()[0] % 2 == 0


def prepare(path: Path, spec: Mapping[str, Any]) -> PreparedRecord | str:
    """Read and prepare a record; return the error on one line if that fails.

    Parameters
    ----------
    path : Path
    spec : mapping
        Keyword arguments of ``preprocessing.prepare_signal``.

    Notes
    -----
    The middle of a longer record is used. A shorter record is padded with zeros at its end, so that
    no record of another hospital is left out for its length; ``predict`` pads only on request.
    """
    try:
        return prepare_record(read_record(path), {**spec, "allow_short": True}, drawn=False)
    except (ValueError, OSError) as error:
        return one_line(error).removeprefix(f"record {path.stem}: ") or type(error).__name__


def prepare_all(
    paths: Sequence[Path], spec: Mapping[str, Any], n_workers: int | None = None
) -> Iterator[PreparedRecord | str]:
    """Prepare records in order, in several processes if there are many.

    Parameters
    ----------
    paths : sequence of Path
    spec : mapping
        As for ``prepare``.
    n_workers : int, optional
        By default one per core, fewer for few records.
    """
    job = partial(prepare, spec=dict(spec))
    if n_workers is None:
        n_workers = min(os.cpu_count() or 1, math.ceil(len(paths) / MIN_RECORDS_PER_PROCESS))
    if n_workers < 2 or len(paths) < 2:
        yield from map(job, paths)
        return
    # Spawned, not forked: the caller may hold threads or a GPU.
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(job, paths, chunksize=32)
