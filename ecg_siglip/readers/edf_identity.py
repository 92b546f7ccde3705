"""Identity in the header of an EDF, EDF+, BDF or BDF+ file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ecg_siglip.readers.columns import is_lead
from ecg_siglip.readers.identity import Identity, hertz, moment, number_in, sex_in

# Code, sex, date of birth and name of the patient; recording, number of the investigation,
# technician and equipment. Blanks within are underscores, X is not known.
PATIENT = re.compile(r"(\S+) ([MFX]) (?:\d\d?-[A-Z]{3}-\d{4}|X)(?: .*)?", re.I)
RECORDING = re.compile(r"Startdate (\S+)(?: (\S+))?(?: (\S+))?(?: (.+))?", re.I)
DAY = re.compile(r"(\d\d?)-([A-Z]{3})-(\d{4})", re.I)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SHORT_DAY = re.compile(r"(\d\d)[.:/-](\d\d)[.:/-](\d\d)")
FIRST_YEAR = 85  # of two digits: 1985 to 2084
ANONYMOUS_DAY = "1985-01-01"  # of the standard, where the date is withheld
FILTERS = {"high_pass": "HP", "low_pass": "LP", "notch": "N(?:otch)?"}


def read_identity(head: bytes, labels: Sequence[bytes], filters: Sequence[bytes]) -> Identity:
    """Return the identity that a header states.

    Parameters
    ----------
    head : bytes
        The first 256 bytes.
    labels, filters : sequence of bytes
        Of each signal; the filters of the leads count if all have the same.

    Notes
    -----
    Subfields as of EDF+ (Kemp and Olivan 2003). The patient of plain EDF is free text, often a
    name, and is not read.
    """
    patient = PATIENT.fullmatch(_text(head[8:88]))
    recording = RECORDING.fullmatch(_text(head[88:168]))
    day = _long_day(recording[1]) if recording else _short_day(_text(head[168:176]))
    at = SHORT_DAY.fullmatch(_text(head[176:184]))
    time = f" {at[1]}:{at[2]}:{at[3]}" if at else ""
    day = "" if day == ANONYMOUS_DAY else day
    return Identity(
        patient_id=patient[1].replace("_", " ") if patient else "",
        sex=sex_in(patient[2]) if patient else "",
        record_id=(recording[2] or "").replace("_", " ") if recording else "",
        model=(recording[4] or "").replace("_", " ") if recording else "",
        recorded_at=moment(day + time) or moment(day),
        **_filters(labels, filters),
    )


def _text(field: bytes) -> str:
    """Return a field as text: ASCII by the standard, but some writers use Latin-1 or UTF-8."""
    try:
        return field.strip(b" \0").decode("utf-8")
    except UnicodeDecodeError:
        return field.strip(b" \0").decode("latin-1")


def _long_day(text: str) -> str:
    """Return a day as 02-MAR-2002 in ISO 8601; "" if it is none, as where it is withheld."""
    match = DAY.fullmatch(text)
    if match is None or match[2].upper() not in MONTHS:
        return ""
    return f"{match[3]}-{MONTHS.index(match[2].upper()) + 1:02d}-{int(match[1]):02d}"


def _short_day(text: str) -> str:
    """Return a day as 02.03.02 in ISO 8601; "" if it is none."""
    match = SHORT_DAY.fullmatch(text)
    if match is None:
        return ""
    century = 19 if int(match[3]) >= FIRST_YEAR else 20
    return f"{century}{match[3]}-{match[2]}-{match[1]}"


def _filters(labels: Sequence[bytes], filters: Sequence[bytes]) -> dict[str, str]:
    """Return the filters that the leads share."""
    texts = [
        _text(field) for label, field in zip(labels, filters, strict=True) if is_lead(_text(label))
    ]
    found = {}
    for name, key in FILTERS.items():
        pattern = re.compile(rf"(?<![A-Z]){key}\s*[:=]?\s*([\d.,]+)\s*(m?)Hz", re.I)
        values = {match.groups() if match else None for match in map(pattern.search, texts)}
        shared = values.pop() if len(values) == 1 else None
        if shared and (number := number_in(shared[0])) is not None:
            found[name] = hertz(number / 1000 if shared[1] else number)
    return found
