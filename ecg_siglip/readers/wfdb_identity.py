"""Identity and statements in a WFDB header, and in the table of PTB-XL next to its records."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ecg_siglip.readers.identity import (
    DeviceResults,
    Identity,
    age_in,
    device_results,
    moment,
    sex_in,
    unless_malformed,
)
from ecg_siglip.vocabulary.snomed import challenge_codes

# Time and date after the numbers of the record line: 10:00:00 31/12/2020, or in ISO 8601.
# `05-May-2020 14:50:55` of the challenges is when the files were converted.
BEGIN = re.compile(
    r" (?:(?P<time>\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?) (?P<day>\d{1,2})/(?P<month>\d{1,2})/"
    r"(?P<year>\d{4})|(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?))$"
)
# `Age: 56`, `subject_id 10000032`, and several on a line as `<age>: 65 <sex>: F`.
PAIR = re.compile(r"<?(?P<key>[A-Za-z][\w /()-]{0,40}?)>?\s*:\s*(?P<value>.*)")
SUBJECT = re.compile(r"(subject_id|patient_id|patient id|subject id)\s+(\S+)", re.I)
ANGLED = re.compile(r"<([\w ]{1,40})>\s*:?\s*([^<]*)")
AGE_AND_SEX = re.compile(r"(\d{1,3}) ([MF])\b.*")  # of the MIT-BIH databases
KEYS = {
    "age": "age", "sex": "sex", "gender": "sex", "subject id": "patient_id",
    "patient id": "patient_id", "patient": "patient_id", "study id": "record_id",
}  # fmt: skip
STATEMENT = re.compile(
    r"dx|.*diagnos[ie]s?|.*interpretation|rhythm|reason for admission|acute infarction.*", re.I
)
CODE = re.compile(r"\d{6,18}")
NOTHING = re.compile(r"(?:no|none|n/a|unknown|not .*|diagnose)?", re.I)

PTBXL_TABLE = "ptbxl_database.csv"
PTBXL_RECORD = re.compile(r"records(?:100|500)/\d{5}/(\d{5})_[lh]r")
MAX_TABLE_BYTES = 1 << 26


def read_identity(path: Path, record_line: str, comments: Sequence[str]) -> Identity:
    """Return the identity that a header, or the table of PTB-XL, states.

    Parameters
    ----------
    path : Path
        The header.
    record_line : str
        Its first line, with one blank between fields.
    comments : sequence of str
        Its lines that begin with ``#``, without it.
    """
    stated: dict[str, str] = {}
    for comment in comments:
        for name, value in _fields(comment):
            stated.setdefault(name, value)
    of_header = Identity(recorded_at=_begin(record_line), **stated)
    return unless_malformed(lambda: _of_ptbxl(path), Identity()).with_missing(of_header)


def read_results(comments: Sequence[str]) -> DeviceResults:
    """Return the diagnoses among the comments of a header; SNOMED CT codes with their names."""
    statements: list[str] = []
    for comment in comments:
        for key, value in _pairs(comment):
            if not STATEMENT.fullmatch(key) or NOTHING.fullmatch(value.strip()):
                continue
            codes = re.split(r"\s*[,;]\s*", value.strip())
            is_codes = all(map(CODE.fullmatch, codes))
            statements += map(_named, codes) if is_codes else [f"{key}: {value}"]
    return device_results(statements=statements)


def _begin(line: str) -> str:
    """Return when a record begins by its first line; "" if there is no time with a date."""
    match = BEGIN.search(line.rstrip())
    if not match:
        return ""
    if match["iso"]:
        return moment(match["iso"])
    day = "-".join([match["year"], match["month"].zfill(2), match["day"].zfill(2)])
    hour, _, rest = match["time"].partition(":")
    return moment(f"{day} {hour.zfill(2)}:{rest}")


def _pairs(comment: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a line; several if the keys are in angle brackets."""
    if angled := ANGLED.findall(comment):
        yield from angled
    elif pair := PAIR.fullmatch(comment):
        yield pair["key"], pair["value"]
    elif subject := SUBJECT.match(comment):
        yield subject[1], subject[2]


def _fields(comment: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of an identity that a line states."""
    if match := AGE_AND_SEX.fullmatch(comment):
        yield "age", age_in(match[1])
        yield "sex", sex_in(match[2])
    for key, value in _pairs(comment):
        name = KEYS.get(re.sub(r"[\W_]+", " ", key).strip().lower())
        if name:
            clean = {"age": age_in, "sex": sex_in}.get(name, str)
            yield name, clean(value.strip())


def _named(code: str) -> str:
    """Return the name of a SNOMED CT code that the challenges have, with the code."""
    known = challenge_codes().get(int(code))
    return f"{known.name} (SNOMED CT {code})" if known else f"SNOMED CT {code}"


def _of_ptbxl(path: Path) -> Identity:
    """Return the identity of a record in the folder of PTB-XL, otherwise an empty one."""
    match = PTBXL_RECORD.fullmatch("/".join(path.with_suffix("").parts[-3:]))
    table = path.parent.parent.parent / PTBXL_TABLE
    if match is None or not table.is_file():
        return Identity()
    row = _ptbxl_rows(table, table.stat().st_mtime_ns).get(int(match[1]))
    if row is None:
        return Identity()
    patient, age, sex, device, recorded_at = row
    return Identity(
        patient_id=re.sub(r"\.0$", "", patient),
        record_id=str(int(match[1])),
        age=age_in(age),
        sex={"0": "male", "1": "female"}.get(sex, ""),
        recorded_at=moment(recorded_at),
        model=device,
    )


@functools.lru_cache(2)
def _ptbxl_rows(table: Path, _changed: int) -> dict[int, tuple[str, ...]]:
    """Return patient, age, sex, device and date of each record in the table of PTB-XL."""
    if table.stat().st_size > MAX_TABLE_BYTES:
        return {}
    names = ("patient_id", "age", "sex", "device", "recording_date")
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        return {
            int(row["ecg_id"]): tuple(row.get(name) or "" for name in names)
            for row in csv.DictReader(file)
        }
