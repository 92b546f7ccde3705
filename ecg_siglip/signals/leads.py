"""Lead names, lead order and lead sets, and which findings a set of leads can show.

The input of a model always has twelve leads: missing limb leads are computed from two others
(``leads.order_leads``), all other missing leads are 0 mV, as in training with
``augment.fewer_leads``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# What devices write before the name proper: "Lead I", "ECG II", "EKG_V1", "MDC_ECG_LEAD_aVR". The
# hyphen of "ECG-II" separates, that of "Lead -aVR" is the sign of another lead.
PREFIX = re.compile(r"(?:mdc_ecg_lead_|(?:lead|ecg|ekg)(?:[\s_.:]|(?<=\w)-|-(?!\w))*)*")
# ML: limb electrodes on the torso (Holter, MIT-BIH); D: derivation, in the Romance languages.
SPELLINGS = {
    **{lead.lower(): lead for lead in LEADS},
    **{f"{mark}{lead.lower()}": lead for mark in ("ml", "d") for lead in ("I", "II", "III")},
    **{f"d{i}": lead for i, lead in enumerate(("I", "II", "III"), 1)},
}

# Each lead as a sum of the potentials at the electrodes RA, LA, LL, V1 ... V6.
LIMBS = 0.5 * np.array([[-2, 2, 0], [-2, 0, 2], [0, -2, 2], [2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
LEADS_FROM_ELECTRODES = np.vstack(
    [np.hstack([LIMBS, np.zeros((6, 6))]), np.hstack([np.full((6, 3), -1 / 3), np.eye(6)])]
).astype(np.float32)
MISSING_HINT = "; `predict` accepts that with waveform.allow_missing_leads=true"


def lead_name(name: str) -> str:
    """Return a lead's name as in ``LEADS``, whichever device wrote it.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        One of ``LEADS``; any other name is returned as it is, without spaces around it.

    Examples
    --------
    >>> [lead_name(name) for name in ("AVR", "Lead I", "EKG II", "MDC_ECG_LEAD_V1", "MLII", "X")]
    ['aVR', 'I', 'II', 'V1', 'II', 'X']
    """
    key = name.strip().lower()
    return SPELLINGS.get(PREFIX.sub("", key, count=1), name.strip())


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
    if doubled or len(missing) == 12 or (missing and not allow_missing):
        errors = [
            f"{error} {', '.join(leads)}"
            for error, leads in (("missing", missing), ("more than once", doubled))
            if leads
        ]
        hint = "" if doubled or len(missing) == 12 else MISSING_HINT
        raise ValueError(
            f"{record_prefix(record)}expected each of the 12 leads once, got {'; '.join(errors)} "
            f"(leads: {', '.join(map(str, names)) or 'none'}){hint}"
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


def record_prefix(record: str) -> str:
    """Return the beginning of an error message about a record; "" if it has no name."""
    return f"record {record}: " if record else ""


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

_CHEST = {
    "septal": ("V1", "V2", "V3"),
    "anterior": ("V1", "V2", "V3", "V4"),
    "right": ("V1", "V2"),
}
_ANTEROLATERAL = ("V3", "V4", "V5", "V6", "I", "aVL")
# A wide QRS whose end points to the right or to the left.
_SIDES = ("V1", "V2", "V5", "V6", "I", "aVL")
_LATERAL, _INFERIOR, _HIGH = ("I", "aVL", "V5", "V6"), ("II", "III", "aVF"), ("I", "aVL")
# A finding can be assessed if the record has at least one lead of each of its groups.
# Infarction and ischaemia by region: Wagner et al. 2009, doi:10.1161/CIRCULATIONAHA.108.191098;
# conduction: Surawicz et al. 2009, doi:10.1161/CIRCULATIONAHA.108.191095; hypertrophy: Hancock et
# al. 2009, doi:10.1161/CIRCULATIONAHA.108.191097.
_REQUIRED_LEADS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("ASMI", "INJAS", "ISCAS", "SEHYP"), (_CHEST["septal"],)),
    **dict.fromkeys(("AMI", "ISCAN", "ISCA", "ANEUR"), (_CHEST["anterior"],)),
    **dict.fromkeys(("ALMI", "INJAL", "ISCAL"), (_ANTEROLATERAL,)),
    **dict.fromkeys(("LMI", "INJLA", "ISCLA", "LVH", "VCLVH"), (_LATERAL,)),
    **dict.fromkeys(("IMI", "INJIN", "ISCIN", "ISCI"), (_INFERIOR,)),
    **dict.fromkeys(("ILMI", "INJIL", "ISCIL"), (_INFERIOR, _LATERAL)),
    "IPMI": (_INFERIOR, _CHEST["septal"]),
    "IPLMI": (_INFERIOR, _CHEST["septal"], _LATERAL),
    "PMI": (_CHEST["septal"],),
    # Without a lead of each wall neither an infarction nor a disease can be excluded.
    **dict.fromkeys(("NORM", "MI"), (_INFERIOR, _CHEST["anterior"], _LATERAL)),
    # The axis in the frontal plane.
    **dict.fromkeys(("LAFB", "LPFB", "LAFB/LPFB"), (_HIGH, _INFERIOR)),
    **dict.fromkeys(("IRBBB", "RVH"), (_CHEST["right"],)),
    **dict.fromkeys(("CLBBB", "CRBBB", "ILBBB", "IVCD"), (_SIDES,)),
    "LAO/LAE": (("II", "V1"),),
    "RAO/RAE": ((*_INFERIOR, "V1", "V2"),),
}


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


def not_assessable(codes: Sequence[str], available: Iterable[bool]) -> np.ndarray:
    """Return which findings cannot be assessed because leads that they need are missing.

    Parameters
    ----------
    codes : sequence of str, length n_findings
    available : iterable of bool, length 12
        See ``leads.available_leads``.

    Returns
    -------
    ndarray of shape (n_findings,), bool

    Examples
    --------
    >>> not_assessable(["AFIB", "IMI", "AMI"], available_leads(["I", "II"])).tolist()
    [False, False, True]
    """
    names = {lead for lead, is_available in zip(LEADS, available, strict=True) if is_available}
    return np.array(
        [any(names.isdisjoint(group) for group in _REQUIRED_LEADS.get(code, ())) for code in codes]
    )


def lead_warnings(names: Sequence[str]) -> list[str]:
    """Return warnings of missing leads and of what was done about them; empty for twelve leads.

    Parameters
    ----------
    names : sequence of str
        Leads of the record, in the spelling of any device.

    Returns
    -------
    list of str
        One sentence per warning.

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
        lead_set = LEAD_SET_TITLES[nearest_lead_set(available)]
        warnings.append(
            f"without {leads}: calibrated for {lead_set}; findings that need other leads are not "
            "assessed"
        )
    return warnings
