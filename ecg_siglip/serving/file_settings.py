"""Fields of the web page for what a file does not state: their names, and errors with these."""

from __future__ import annotations

import re
from typing import Any

from ecg_siglip import config
from ecg_siglip.core.translation import Translate
from ecg_siglip.serving.json_api import split_leads
from ecg_siglip.serving.prediction_service import PredictionService

NUMBERS = ("read.fs", "read.gain", "windows.sustained_s")
ALLOWED = ("short", "flat", "gaps", "missing_leads")
# Settings with a field, in the order of the page.
SETTINGS = (
    *("read.fs", "read.units", "read.gain", "read.leads"),
    *(f"waveform.allow_{name}" for name in ALLOWED),
    "windows.sustained_s",
)
# A setting in an error, with its value: read.fs=250, read.leads=[I,II,...].
SETTING = re.compile(rf"\b({'|'.join(map(re.escape, SETTINGS))})\b(?:=(\[[^\]]*\]|[^\s,;:]+))?")


def field_names(_: Translate) -> dict[str, str]:
    """Return the name of each field on the page, by setting."""
    return {
        "read.fs": _("Sampling rate of the file (Hz)"),
        "read.units": _("Unit of the samples"),
        "read.gain": _("Counts per millivolt"),
        "read.leads": _("Leads, in the order of the file"),
        "waveform.allow_short": _("Pad a record that is too short"),
        "waveform.allow_flat": _("Accept a lead without any signal"),
        "waveform.allow_gaps": _("Interpolate a few invalid samples"),
        "waveform.allow_missing_leads": _("Accept missing leads, if the model was trained so"),
        "windows.sustained_s": _("Shortest finding in a long record (s)"),
    }


def with_field_names(message: str, _: Translate) -> str:
    """Return an error with the names of the page's fields in place of the settings.

    Examples
    --------
    >>> from ecg_siglip.core.translation import translator
    >>> with_field_names("the file states no sampling rate: give read.fs=... in Hz", translator())
    'the file states no sampling rate: give “Sampling rate of the file (Hz)” in Hz'
    """
    names = field_names(_)

    def name(match: re.Match[str]) -> str:
        value = match[2] or ""
        has_value = bool(value.strip(".")) and not value.endswith(("true", "...]"))
        quoted = _("“%(name)s”") % {"name": names[match[1]]}
        return f"{quoted} = {value}" if has_value else quoted

    return SETTING.sub(name, message)


def request_settings(
    service: PredictionService, point: str, is_full: bool, *values: Any
) -> config.PredictConfig:
    """Return the settings of ``predict`` from the fields of the page.

    Parameters
    ----------
    service : PredictionService
    point : str
        The operating point.
    is_full : bool
        List all findings that are not excluded.
    values : str or bool
        Of the fields, in the order of ``SETTINGS``.

    Raises
    ------
    ValueError
        As ``parse_number`` and ``PredictionService.settings_for``.
    """
    fields = dict(zip(SETTINGS, values, strict=True))
    fields |= {name: parse_number(name, fields[name]) for name in NUMBERS}
    fields["read.leads"] = split_leads(fields["read.leads"])
    # Not checked: as the model was trained.
    fields |= {
        f"waveform.allow_{name}": fields[f"waveform.allow_{name}"] or None for name in ALLOWED
    }
    return service.settings_for(fields | decision_settings(point, is_full))


def decision_settings(point: str, is_full: bool) -> dict[str, Any]:
    """Return the settings of what is reported and listed, from the fields of the page."""
    return {"operating_point": point, "not_excluded": "full" if is_full else "short"}


def parse_number(setting: str, text: str) -> float | None:
    """Return the number in a text field, None if it is empty.

    Raises
    ------
    ValueError
        If it contains something else, naming the setting.
    """
    try:
        return float(text) if text.strip() else None
    except ValueError as error:
        raise ValueError(f"{setting}={text[:20]}: expected a number") from error
