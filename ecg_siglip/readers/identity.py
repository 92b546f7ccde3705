"""Identity of a recording and results of the device, as a file states them.

What a file states here may be anything. Nothing depends on it: a malformed value is left out or
shown with its control characters visible, in bounded length, and never stops a readable ECG.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from ecg_siglip.core.files import shorten, visible
from ecg_siglip.signals.measurements import NAMES, UNITS

T = TypeVar("T")
MAX_TEXT, MAX_STATEMENT = 80, 300  # characters
MAX_STATEMENTS = 50
# Texts that stand for no value: signs and zeros alone, and words for a missing value.
NO_VALUE = re.compile(
    r"[\W_0]*|x+|(?:un|not )(?:known|specified|stated|defined|available)|n/?a|nan|none|null|nil|"
    r"anonym\w*|unbekannt|inconnue?|de-?identified|removed|redacted|xxx+\w*",
    re.I,
)
# A moment as 20240131235959.123+0100 or 2024-01-31 23:59:59 +01:00, to the day or to the second.
MOMENT = re.compile(
    r"(\d{4})([-/]?)(\d\d)\2(\d\d)(?:[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r" ?(Z|UTC|[+-]\d\d:?(?:\d\d)?)?",
    re.I | re.ASCII,
)
YEARS = range(1901, 3000)  # earlier ones are placeholders; data sets shift dates to later ones
NO_MOMENT = ("1970-01-01T00:00", "1970-01-01T00:00:00")  # zero of the clock of a computer
SEXES = {
    "m": "male", "male": "male", "man": "male", "männlich": "male", "f": "female",
    "female": "female", "woman": "female", "w": "female", "weiblich": "female", "o": "other",
    "other": "other",
}  # fmt: skip
AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s*([a-z]*)\.?", re.I | re.ASCII)
AGE_UNITS = {
    "": "years", "y": "years", "yr": "years", "yrs": "years", "a": "years", "years": "years",
    "year": "years", "m": "months", "mo": "months", "months": "months", "month": "months",
    "w": "weeks", "wk": "weeks", "weeks": "weeks", "week": "weeks", "d": "days", "days": "days",
    "day": "days", "h": "hours", "hours": "hours", "hour": "hours",
}  # fmt: skip
MAX_AGE_YEARS, OVER_89 = 130, 300  # 300: PTB-XL's age of those over 89
# Measurements of devices: those of ours, and two of which the file does not state the formula or
# that ours do not have.
DEVICE_NAMES = {**NAMES, "rr": "RR", "qtc": "QTc"}
DEVICE_UNITS = {**UNITS, "rr": "ms", "qtc": "ms"}
RANGES = {"1/min": (5, 600), "ms": (1, 5000), "degrees": (-360, 360)}
# Whose name comes next.
SIGNED = re.compile(
    r"\b((?:(?:over)?read|reviewed|interpreted|confirmed|signed|edited|approved|"
    r"verified|validated|analy[sz]ed|reported|referred|ordered|requested|acquired|recorded|performed)"
    r"\s+by|(?:befundet|bestätigt|validiert|unterschrieben|erstellt)\s+(?:von|durch)|"
    r"(?:validé|confirmé|signé|lu)\s+par|(?:confirmado|validado|firmado)\s+por|"
    r"(?:technician|operator|physician|cardiologist|reader|doctor|arzt|médecin|patient|name)\s*:|"
    r"(?:dr|prof)\.)\s*\S.*",
    re.I,
)
NAME = "[name]"
MIN_NAME = 3  # characters of a part of a name that is looked for in statements


@dataclass(frozen=True)
class Identity:
    """Whose recording it is, when and how it was made, as the file states it; "" where it does not.

    Attributes
    ----------
    patient_id, record_id : str
        Numbers in the archive of the patient, and of the examination or the record.
    age : str
        With its unit, as ``56 years``.
    sex : str
        ``male``, ``female`` or ``other``.
    recorded_at : str
        Begin of the recording in ISO 8601, to the day or the second; with the time zone only where
        the file states it.
    manufacturer, model, software, serial_number : str
        Of the device.
    high_pass, low_pass, notch : str
        Filters of the device, as ``0.05 Hz``.

    Notes
    -----
    Names, addresses and dates of birth are not read.
    """

    patient_id: str = ""
    record_id: str = ""
    age: str = ""
    sex: str = ""
    recorded_at: str = ""
    manufacturer: str = ""
    model: str = ""
    software: str = ""
    serial_number: str = ""
    high_pass: str = ""
    low_pass: str = ""
    notch: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, clean_text(value))

    def without_ids(self) -> Identity:
        """Return what may be shown without a request: time, device without its number, filters."""
        return replace(self, patient_id="", record_id="", age="", sex="", serial_number="")

    def with_missing(self, other: Identity) -> Identity:
        """Return the identity with the values of another one where it has none."""
        return Identity(
            **{name: value or getattr(other, name) for name, value in vars(self).items()}
        )

    def device(self) -> str:
        """Return manufacturer and model in one text."""
        return " ".join(filter(None, (self.manufacturer, self.model)))

    def to_dict(self) -> dict[str, Any]:
        """Return what is stated as a JSON object; what is not stated has no key."""
        flat = {name: value for name, value in vars(self).items() if value}
        groups = {
            "device": ("manufacturer", "model", "software", "serial_number"),
            "filters": ("high_pass", "low_pass", "notch"),
        }
        for group, names in groups.items():
            inner = {name: flat.pop(name) for name in names if name in flat}
            if inner:
                flat[group] = inner
        return flat


@dataclass(frozen=True)
class DeviceMeasurement:
    """One measurement that the device made.

    Attributes
    ----------
    name : str
        One of ``DEVICE_NAMES``; ``qtc`` where the file does not state the formula.
    value : float
    unit : str
        ``1/min``, ``ms`` or ``degrees``.
    """

    name: str
    value: float
    unit: str

    @property
    def label(self) -> str:
        """English name of the measurement."""
        return DEVICE_NAMES[self.name]


@dataclass(frozen=True)
class DeviceResults:
    """What the device, or a person before, stated about the ECG.

    Attributes
    ----------
    measurements : tuple of DeviceMeasurement
        In the order of ``DEVICE_NAMES``.
    statements : tuple of str
        In the order of the file, without the names of those who signed.
    confirmed : bool
        The file states that a person confirmed or edited the statements.
    """

    measurements: tuple[DeviceMeasurement, ...] = ()
    statements: tuple[str, ...] = ()
    confirmed: bool = False

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return bool(self.measurements or self.statements)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a JSON object."""
        return {
            "measurements": [asdict(each) for each in self.measurements],
            "statements": list(self.statements),
            "confirmed": self.confirmed,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> DeviceResults:
        """Return the results that ``to_dict`` returned."""
        measurements = tuple(DeviceMeasurement(**each) for each in content["measurements"])
        return cls(measurements, tuple(content["statements"]), content["confirmed"])


def device_results(
    measured: Iterable[tuple[str, object]] = (),
    statements: Iterable[object] = (),
    names: Iterable[object] = (),
    confirmed: bool = False,
) -> DeviceResults:
    """Return what a device stated, without values that are none and without names.

    Parameters
    ----------
    measured : iterable of (name, value)
        Names of ``DEVICE_UNITS`` in their units; of several values of a name, the first counts.
    statements : iterable of str
    names : iterable of str
        Names and numbers of the patient, which are replaced in the statements.
    confirmed : bool
        As in ``DeviceResults``, for which there have to be statements.
    """
    found: dict[str, float] = {}
    for name, value in measured:
        number = number_in(value)
        low, high = RANGES[DEVICE_UNITS[name]]
        if number is not None and low <= number <= high:
            found.setdefault(name, number)
    measurements = tuple(
        DeviceMeasurement(name, found[name], unit)
        for name, unit in DEVICE_UNITS.items()
        if name in found
    )
    words = {word for name in names for word in re.findall(r"[^\W_]+", str(name or ""))}
    words = {word for word in words if len(word) >= MIN_NAME and not NO_VALUE.fullmatch(word)}
    hidden = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b", re.I)
    cleaned = []
    for statement in statements:
        text = clean_text(SIGNED.sub(rf"\1 {NAME}", str(statement or "")), MAX_STATEMENT)
        cleaned += [hidden.sub(NAME, text) if words else text] * bool(text)
    if len(cleaned) > MAX_STATEMENTS:
        rest = len(cleaned) - MAX_STATEMENTS
        cleaned = [*cleaned[:MAX_STATEMENTS], f"... and {rest} more statements"]
    return DeviceResults(measurements, tuple(cleaned), bool(confirmed and cleaned))


def clean_text(value: object, n: int = MAX_TEXT) -> str:
    """Return a text of a file on one line, visible, at most ``n`` characters; "" for no value."""
    if value in ("", None):  # most of them
        return ""
    text = " ".join(str("" if value is None else value)[: 10 * n].strip(" \0").split())
    return "" if NO_VALUE.fullmatch(text) else shorten(visible(text), n)


def number_in(value: object) -> float | None:
    """Return the finite number that a field has; None for anything else."""
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def hertz(value: object) -> str:
    """Return a frequency of a filter, as ``0.05 Hz``; "" if it is no number above 0."""
    number = number_in(value)
    return f"{number:g} Hz" if number is not None and 0 < number < 1e5 else ""


def moment(text: object, zone: object = "") -> str:
    """Return a moment in ISO 8601; "" if it is malformed, impossible or a placeholder.

    Parameters
    ----------
    text : str
        As 20240131235959.123+0100 or 2024-01-31 23:59:59, to the day or to the second.
    zone : str
        As +0100, if the text has none.

    Examples
    --------
    >>> moment("20240131235959.120", "+0100")
    '2024-01-31T23:59:59.12+01:00'
    >>> moment("20240230")
    ''
    """
    match = MOMENT.fullmatch(str(text or "").strip())
    if not match:
        return ""
    year, _, month, day, hour, minute, second, fraction, own_zone = match.groups()
    try:
        datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError:
        return ""
    if int(year) not in YEARS:
        return ""
    iso = f"{year}-{month}-{day}"
    if hour:
        iso += f"T{hour}:{minute}{f':{second}' if second else ''}"
        fraction = (fraction or "").rstrip("0")
        iso += f".{fraction}" if fraction else ""
    return "" if iso in NO_MOMENT else iso + (_zone(own_zone or str(zone or "")) if hour else "")


def _zone(text: str) -> str:
    """Return a time zone in ISO 8601; "" if it is none."""
    if text.upper() in ("Z", "UTC"):
        return "Z"
    match = re.fullmatch(r"([+-])(0\d|1[0-4]):?([0-5]\d)?", text.strip())
    return f"{match[1]}{match[2]}:{match[3] or '00'}" if match else ""


def sex_in(text: object) -> str:
    """Return a sex in English; "" if it is not stated."""
    return SEXES.get(str(text or "").strip().lower(), "")


def age_in(text: object, unit: object = "") -> str:
    """Return an age with its unit; "" if it is not stated or impossible.

    Examples
    --------
    >>> age_in("042Y"), age_in(300), age_in("3", "MONTHS")
    ('42 years', 'over 89 years', '3 months')
    """
    match = AGE.fullmatch(str(text if text is not None else "").strip())
    unit_name = AGE_UNITS.get((match[2] or str(unit or "")).lower()) if match else None
    if match is None or unit_name is None:
        return ""
    number = int(match[1])
    if unit_name == "years" and number > MAX_AGE_YEARS:
        return "over 89 years" if number == OVER_89 else ""
    return f"{number} {unit_name}"


def unless_malformed(read: Callable[[], T], default: T) -> T:
    """Return what a function reads; the default if the file is malformed there."""
    try:
        return read()
    except Exception:  # libraries raise anything for damaged fields, which no ECG depends on
        return default
