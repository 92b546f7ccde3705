"""What a clinician wrote about an ECG, without what a machine or a labeller put beside it.

PTB-XL's reports are German, English and Swedish, written by people and by the recorder, and have
been through several encodings. What may stand in them that is no report: the labels themselves.
"""

from __future__ import annotations

import re

# From here on a second reader's codes, or the codes that both agreed on: the labels, not words.
_LABELS = re.compile(r"\bEdit:.*|consensus label derived from:.*", re.DOTALL)
# The recorder's version and "unbestätigter bericht" (unconfirmed report), often cut off.
_STAMP = re.compile(r"\s4\.4\d?\b[\s\w]{0,60}$")
_UNSAID = re.compile(r"trace only( requested)?\.?")
_HEADER = re.compile(r"\bnr:\s*\d+.*?\bmed:")  # number, age, height, weight, blood pressure
_ESCAPE = re.compile(r"ó[¬½©¿]")  # what the recorder sent its printer
# Code page 437 read as Latin-1, and the Swedish letters of ISO 646.
_LETTERS = str.maketrans({"#": "ü", "á": "ß", "{": "ä", "|": "ö", "}": "å"})
# German words that are also found written without umlauts; English ischaemia stays as it is.
_SPELLED = re.compile(
    r"ueber|ueck|\bfuer\b|moeglich|stoerung|verzoeg|hoeh|foermig|vorhoefe|"
    r"veraend|schaedig|staendig|kulaer|ischaemie\b"
)
_UMLAUT = {"ae": "ä", "oe": "ö", "ue": "ü"}
_SHORT = {
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
_ABBREVIATION = re.compile(
    r"(?<!\w)(" + "|".join(re.escape(s) for s in sorted(_SHORT, key=len, reverse=True)) + r")(?!\w)"
)


def clean_report(report: str) -> str:
    """A report as it would have been written: lower case, whole words, no labels.

    Parameters
    ----------
    report : str
        As PTB-XL has it.

    Returns
    -------
    str
        Empty where nothing was said of the ECG. Cleaned again it stays as it is.

    Notes
    -----
    What is left out: the codes after ``Edit:`` and ``consensus label derived from:`` (they are the
    labels, and whoever learns from them learns nothing of the words), the recorder's stamp, the
    patient's number and age, "trace only requested". Letters that encodings have damaged are
    mended, abbreviations that mean one thing only are spelled out.

    Examples
    --------
    >>> clean_report("sinusrhythmus unvollstÄndiger rsb 4.46    unbestÄtigter ber")
    'sinusrhythmus unvollständiger rechtsschenkelblock'
    >>> clean_report("sinus rhythm. normal ecg. Edit: INJIN, IRBBB, (m,19)")
    'sinus rhythm. normal ecg.'
    """
    text = _STAMP.sub("", _LABELS.sub("", report).rstrip())
    text = _HEADER.sub("", _ESCAPE.sub("", text).lower().translate(_LETTERS))
    text = " ".join(_UNSAID.sub("", text).split()).rstrip("\\").strip()
    text = _SPELLED.sub(lambda found: _with_umlauts(found[0]), text)
    return _ABBREVIATION.sub(lambda found: _SHORT[found[0]], text)


def is_machine_report(report: str) -> bool:
    """Whether the recorder wrote the report and nobody has confirmed it.

    Examples
    --------
    >>> is_machine_report("schrittmacher ekg 4.46                          unbestÄtigter bericht")
    True
    """
    return _STAMP.search(_LABELS.sub("", report).rstrip()) is not None


def _with_umlauts(word: str) -> str:
    for two, one in _UMLAUT.items():
        word = word.replace(two, one)
    return word
