"""Clean the reports of PTB-XL: keep the clinician's words, remove labels and the recorder's stamps.

PTB-XL's reports are German, English and Swedish, were written by people or by the recorder, and
have been through several encodings. Some contain the labels themselves.
"""

from __future__ import annotations

import re

# Followed by a second reader's codes, or the codes that both agreed on: labels, not words.
_LABELS = re.compile(r"\bEdit:.*|consensus label derived from:.*", re.DOTALL)
# The recorder's version and "unbestätigter bericht" (unconfirmed report), often cut off.
_STAMP = re.compile(r"\s4\.4\d?\b[\s\w]{0,60}$")
_NO_REPORT = re.compile(r"trace only( requested)?\.?")
_HEADER = re.compile(r"\bnr:\s*\d+.*?\bmed:")  # number, age, height, weight, blood pressure
_ESCAPE = re.compile(r"ó[¬½©¿]")  # control codes for the recorder's printer
# Code page 437 read as Latin-1, and the Swedish letters of ISO 646.
_LETTERS = str.maketrans({"#": "ü", "á": "ß", "{": "ä", "|": "ö", "}": "å"})
# German words that also occur without umlauts; English "ischaemia" is not changed.
_WITHOUT_UMLAUT = re.compile(
    r"ueber|ueck|\bfuer\b|moeglich|stoerung|verzoeg|hoeh|foermig|vorhoefe|"
    r"veraend|schaedig|staendig|kulaer|ischaemie\b"
)
_UMLAUT = {"ae": "ä", "oe": "ö", "ue": "ü"}
_ABBREVIATIONS = {
    "ant.": "anteriorer",
    "chron.": "chronischer",
    "es": "extrasystolen",
    "fragl.": "fraglich",
    "inkompl.": "inkompletter",
    "intraventr.": "intraventrikuläre",
    "kompl.": "kompletter",
    "lah": "linksanteriorer hemiblock",
    "lahb": "linksanteriorer hemiblock",
    "llt": "linkslagetyp",
    "lphb": "linksposteriorer hemiblock",
    "lsb": "linksschenkelblock",
    "mlt": "mittellagetyp",
    "mögl.": "möglich",
    "part.": "partieller",
    "path.": "pathologisches",
    "rlt": "rechtslagetyp",
    "rsb": "rechtsschenkelblock",
    "slt": "steillagetyp",
    "sr": "sinusrhythmus",
    "supraventr.": "supraventrikuläre",
    "sves": "supraventrikuläre extrasystolen",
    "unbest.": "unbestimmt",
    "ventr.": "ventrikuläre",
    "ves": "ventrikuläre extrasystolen",
    "vhf": "vorhofflimmern",
    "vw": "vorderwand",
}
_ABBREVIATED_WORD = re.compile(
    r"(?<!\w)("
    + "|".join(re.escape(s) for s in sorted(_ABBREVIATIONS, key=len, reverse=True))
    + r")(?!\w)"
)


def clean_report(report: str) -> str:
    """Clean a report: lower case, abbreviations spelled out, letters repaired, no labels.

    Parameters
    ----------
    report : str
        As stored in PTB-XL.

    Returns
    -------
    str
        Empty if the report contains nothing about the ECG. Cleaning it again changes nothing.

    Notes
    -----
    Removed: the codes after ``Edit:`` and ``consensus label derived from:`` (they are the labels,
    and a model could learn from them instead of from the words), the recorder's stamp, the
    patient's number and age, "trace only requested". Letters damaged by encodings are repaired;
    abbreviations with a single meaning are spelled out.

    Examples
    --------
    >>> clean_report("sinusrhythmus unvollstÄndiger rsb 4.46    unbestÄtigter ber")
    'sinusrhythmus unvollständiger rechtsschenkelblock'
    >>> clean_report("sinus rhythm. normal ecg. Edit: INJIN, IRBBB, (m,19)")
    'sinus rhythm. normal ecg.'
    """
    text = _STAMP.sub("", _LABELS.sub("", report).rstrip())
    text = _HEADER.sub("", _ESCAPE.sub("", text).lower().translate(_LETTERS))
    text = " ".join(_NO_REPORT.sub("", text).split()).rstrip("\\").strip()
    text = _WITHOUT_UMLAUT.sub(lambda match: _with_umlauts(match[0]), text)
    return _ABBREVIATED_WORD.sub(lambda match: _ABBREVIATIONS[match[0]], text)


def is_machine_report(report: str) -> bool:
    """Return whether the recorder wrote the report and nobody has confirmed it.

    Examples
    --------
    >>> is_machine_report("schrittmacher ekg 4.46                          unbestÄtigter bericht")
    True
    """
    return _STAMP.search(_LABELS.sub("", report).rstrip()) is not None


def _with_umlauts(word: str) -> str:
    for two_letters, umlaut in _UMLAUT.items():
        word = word.replace(two_letters, umlaut)
    return word
