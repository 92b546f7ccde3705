"""Lead names, lead order and lead sets.

The input of a model always has twelve leads: missing limb leads are computed from two others
(``leads.order_leads``), all other missing leads are 0 mV, as in training with
``augment.fewer_leads``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ecg_siglip.core.files import shorten

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Last part of the codes of the leads in ISO/IEEE 11073 (MDC) and in SCP-ECG.
LEAD_CODES = {
    "1": "I", "2": "II", "3": "V1", "4": "V2", "5": "V3", "6": "V4", "7": "V5", "8": "V6",
    "61": "III", "62": "aVR", "63": "aVL", "64": "aVF",
}  # fmt: skip
MDC_PARTITION = 2 << 16  # 131073 is code 1 of partition 2
# "lead" in the languages of devices, without accents; what is measured; who described the leads.
LEAD_WORDS = (
    "lead|ecg|ekg|mdc_ecg_lead|ableitung|abl|derivation|derivacion|derivazione|derivacao|deriv|"
    "afleiding|avledning|afledning|odprowadzenie|svod|отведение|derivasyon|einthoven|goldberger|"
    "wilson|第|제"
)
WORD_BEHIND = "lead|ableitung|отведение|誘導|導聯|导联|導程|导程|유도"
# A minus before a name inverts the lead: one hyphen is a separator only if it follows a word.
BEFORE = re.compile(rf"(?:{LEAD_WORDS})(?:-|\s+-\s+|[\s_.:]*)")
# The common reference of an EEG, behind a name that has one of these words before it.
REFERENCE = re.compile(r"\s?-\s?ref(?:erence)?$")
BIPOLAR = {"la-ra": "I", "ll-ra": "II", "ll-la": "III"}  # positive electrode first
BEHIND = re.compile(rf"[\s_.-]*(?:{WORD_BEHIND})$")
# Within a name: "aV R", "V-1", "D II". ML: limb electrodes on the torso (Holter, MIT-BIH); D:
# derivation, in the Romance languages.
GAP = r"[\s_.]?"
PATTERNS = (
    (re.compile(r"(?:(?:ml|d)[\s_.-]?)?(i{1,3})"), str.upper),
    (re.compile(r"d[\s_.-]?([1-3])"), lambda number: "I" * int(number)),
    (re.compile(rf"a{GAP}v{GAP}([rlf])"), lambda letter: f"aV{letter.upper()}"),
    (re.compile(r"(l[al] ?- ?[rl]a)"), lambda pair: BIPOLAR.get(pair.replace(" ", ""), "")),
    (re.compile(r"v[\s_.-]?0?([1-6])"), lambda number: f"V{number}"),
    (re.compile(r"(?:mdc:|2:|5\.6\.3-9-)(\d+)"), lambda code: LEAD_CODES.get(code, "")),
    (re.compile(r"(131\d\d\d)"), lambda code: LEAD_CODES.get(str(int(code) - MDC_PARTITION), "")),
)
# Around a name: quotes, and punctuation that separates the names of a list.
AROUND = " \t\r\n'\"`´‘’“”„«»"
AFTER = AROUND + ",;:."

# Each lead as a sum of the potentials at the electrodes RA, LA, LL, V1 ... V6.
LIMBS = 0.5 * np.array([[-2, 2, 0], [-2, 0, 2], [0, -2, 2], [2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
LEADS_FROM_ELECTRODES = np.vstack(
    [np.hstack([LIMBS, np.zeros((6, 6))]), np.hstack([np.full((6, 3), -1 / 3), np.eye(6)])]
).astype(np.float32)
MAX_NAMES = 160  # characters of the names in a message
MISSING_HINT = "; `predict` accepts that with waveform.allow_missing_leads=true"


@functools.lru_cache(4096)
def lead_name(name: str) -> str:
    """Return a lead's name as in ``LEADS``, whichever device wrote it.

    Parameters
    ----------
    name : str
        The spellings that are recognized are in docs/how-to/file-formats.md.

    Returns
    -------
    str
        One of ``LEADS``; any other name is returned as it is, without spaces around it. An
        inverted lead (``-aVR``), a number of a channel (``ECG1``) and electrodes such as ``C1``
        are no names of leads.

    Examples
    --------
    >>> [lead_name(name) for name in ("AVR", "Lead I", "EKG II", "MDC_ECG_LEAD_V1", "MLII", "X")]
    ['aVR', 'I', 'II', 'V1', 'II', 'X']
    """
    # Full-width letters and Roman numerals as plain letters, and no accents.
    letters = unicodedata.normalize("NFKD", name).casefold()
    key = "".join(letter for letter in letters if not unicodedata.combining(letter))
    key = unicodedata.normalize("NFKC", key).lstrip(AROUND).rstrip(AFTER)
    is_numbered = key.startswith(("第", "제"))
    while (word := BEFORE.match(key)) and word.end() < len(key):
        key = REFERENCE.sub("", key[word.end() :])
    key = BEHIND.sub("", key)
    if is_numbered and key in ("1", "2", "3"):
        return "I" * int(key)
    for pattern, canonical in PATTERNS:
        if match := pattern.fullmatch(key):
            return canonical(match[1]) or name.strip()
    return name.strip()


def available_leads(names: Sequence[str]) -> np.ndarray:
    """Return which of the twelve leads a record has or can be computed from those that it has.

    Parameters
    ----------
    names : sequence of str
        Leads of the record, in the spelling of any device.

    Returns
    -------
    ndarray of shape (12,), bool
        In the order of ``LEADS``.

    Notes
    -----
    Any two of the six limb leads give the other four: all are differences of three potentials.
    """
    keys = {lead_name(name) for name in names}
    available = np.array([lead in keys for lead in LEADS])
    available[:6] |= available[:6].sum() >= 2
    return available


def order_leads(
    signal: np.ndarray, names: Sequence[str], record: str = "", allow_missing: bool = False
) -> np.ndarray:
    """Return the twelve leads in the order of ``LEADS``, selected by name.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)
    names : sequence of str, length n_leads
        In any order and in the spelling of any device (``lead_name``). Leads beyond the twelve
        (X, Y, Z, V7 ...) are left out.
    record : str
        Name of the record, for messages.
    allow_missing : bool
        Compute missing limb leads from two that the record has; set other missing leads to 0.

    Returns
    -------
    ndarray of shape (12, n_samples)

    Raises
    ------
    ValueError
        If one of the twelve occurs twice, one is missing without ``allow_missing``, all are
        missing, or the number of names is not the number of rows.
    """
    if signal.ndim != 2 or signal.shape[0] != len(names):
        raise ValueError(
            f"{record_prefix(record)}expected a signal (n_leads, n_samples) with {len(names)} "
            f"leads as named, got shape {signal.shape}"
        )
    keys = [lead_name(name) for name in names]
    doubled = [lead for lead in LEADS if keys.count(lead) > 1]
    missing = [lead for lead in LEADS if lead not in keys]
    if len(missing) == 12:
        raise ValueError(
            f"{record_prefix(record)}none of the channels has the name of a lead: "
            f"{_shown(names)}; name them with read.leads=[...]"
        )
    if doubled or (missing and not allow_missing):
        errors = [
            f"{error} {', '.join(leads)}"
            for error, leads in (("missing", missing), ("more than once", doubled))
            if leads
        ]
        hint = "" if doubled else MISSING_HINT
        raise ValueError(
            f"{record_prefix(record)}expected each of the 12 leads once, got {'; '.join(errors)} "
            f"(leads: {_shown(names)}){hint}"
        )
    if not missing:
        return signal[[keys.index(lead) for lead in LEADS]]
    ordered = np.zeros((12, signal.shape[1]), signal.dtype)
    given = np.flatnonzero([lead in keys for lead in LEADS])
    ordered[given] = signal[[keys.index(LEADS[i]) for i in given]]
    limb = given[given < 6]
    if 2 <= len(limb) < 6:
        derived = np.setdiff1d(np.arange(6), limb)
        ordered[derived] = LIMBS[derived] @ np.linalg.pinv(LIMBS[limb]) @ ordered[limb]
    return ordered


def _shown(names: Sequence[str]) -> str:
    """Return names for a message, in short."""
    return shorten(", ".join(map(str, names)), MAX_NAMES) or "none"


def record_prefix(record: str) -> str:
    """Return the beginning of an error message about a record; "" if it has no name."""
    return f"record {record}: " if record else ""


def lead_list(is_listed: Iterable[Any]) -> str:
    """Return the names of some of the twelve leads.

    Examples
    --------
    >>> lead_list([True, True, *[False] * 10])
    'leads I, II'
    """
    names = [lead for lead, listed in zip(LEADS, is_listed, strict=True) if listed]
    return f"lead{'s' if len(names) > 1 else ''} {', '.join(names)}"


# Largest first. Eight leads (I, II, V1 to V6) give all twelve, two (I, II) give the six limb leads.
LEAD_SETS = {
    "12": LEADS,
    "3": (*LEADS[:6], "V2"),
    "6": LEADS[:6],
    "II": ("II",),
    "I": ("I",),
}
LEAD_SET_TITLES = {
    "12": "12 leads, or 8: I, II, V1 to V6",
    "3": "3 leads: I, II, V2",
    "6": "6 limb leads, or 2: I, II",
    "II": "lead II alone",
    "I": "lead I alone",
}

# Error of a model that was not trained with fewer leads.
NO_TUNING = (
    "has calibration and thresholds for all 12 leads only; expected a model trained with "
    "augment.fewer_leads above 0"
)


def mask_leads(signals: np.ndarray, name: str) -> np.ndarray:
    """Mask the leads of records that are not in a lead set.

    Parameters
    ----------
    signals : ndarray of shape (n_records, 12, n_samples)
    name : str
        One of ``LEAD_SETS``.

    Returns
    -------
    ndarray of the same shape and dtype
        With zeros in the leads that are not in the set.

    Raises
    ------
    ValueError
        If ``name`` is not in ``LEAD_SETS``.
    """
    if name not in LEAD_SETS:
        raise ValueError(f"leads {name}: expected one of {', '.join(LEAD_SETS)}")
    in_set = np.isin(LEADS, LEAD_SETS[name])
    return np.where(in_set[None, :, None], signals, np.zeros((), signals.dtype))


def nearest_lead_set(available: np.ndarray, record: str = "") -> str:
    """Return the largest of ``LEAD_SETS`` that is available.

    Its calibration and thresholds are those that fit the record best.

    Parameters
    ----------
    available : ndarray of shape (12,), bool
        See ``leads.available_leads``.
    record : str
        Name of the record, for messages.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If none is available: models are not trained on chest leads alone.

    Examples
    --------
    >>> [nearest_lead_set(available_leads(names)) for names in (["I", "II", "V2"], ["II"])]
    ['3', 'II']
    """
    names = set(np.array(LEADS)[available])
    for name, leads in LEAD_SETS.items():
        if names >= set(leads):
            return name
    got = ", ".join(lead for lead in LEADS if lead in names) or "none"
    raise ValueError(f"{record_prefix(record)}leads {got}: expected at least lead I or II")


def lead_warnings(names: Sequence[str], record: str = "", states_leads: bool = True) -> list[str]:
    """Return warnings of missing leads and of what was done about them; empty for twelve leads.

    Parameters
    ----------
    names : sequence of str
        Leads of the record, in the spelling of any device.
    record : str
        Name of the record, for messages.
    states_leads : bool
        Whether the vocabulary states which leads a finding needs.

    Returns
    -------
    list of str
        One sentence per warning.

    Raises
    ------
    ValueError
        If leads are missing, and no lead set is available (``nearest_lead_set``).

    Examples
    --------
    >>> lead_warnings(["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    ['leads III, aVR, aVL, aVF computed from the other limb leads']
    """
    given = {lead_name(name) for name in names}
    available = available_leads(names)
    computed = [lead for lead in np.array(LEADS)[available] if lead not in given]
    missing = list(np.array(LEADS)[~available])
    warnings = []
    if computed:
        warnings.append(f"leads {', '.join(computed)} computed from the other limb leads")
    if missing and names:
        leads = f"lead{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        lead_set, _, _ = LEAD_SET_TITLES[nearest_lead_set(available, record)].partition(", or")
        assessed = (
            "findings that need other leads are not assessed"
            if states_leads
            else "all findings are assessed, since the vocabulary does not state their leads"
        )
        warnings.append(f"without {leads}: calibrated for {lead_set}; {assessed}")
        if others := [name for name in names if lead_name(name) not in LEADS]:
            warnings.append(
                f"not used, since their names are not those of leads: {_shown(others)}; if they "
                "are, name them with read.leads=[...]"
            )
    return warnings
