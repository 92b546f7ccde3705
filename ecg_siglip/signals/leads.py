"""Fewer than twelve leads: the sets that devices record, and what cannot be seen in them.

A record comes to the model with twelve leads all the same: those that follow from others by the
geometry of the limb leads are computed (``leads.order_leads``), the rest are 0 mV, as in
training with ``augment.fewer_leads``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# What devices write before the name proper: "Lead I", "ECG II", "EKG_V1", "MDC_ECG_LEAD_aVR".
PREFIX = re.compile(r"(?:mdc_ecg_lead_|(?:lead|ecg|ekg)[\s_.:-]*)*")
# ML: limb electrodes on the torso (Holter, MIT-BIH); D: derivation, in the Romance languages.
SPELLINGS = {
    **{lead.lower(): lead for lead in LEADS},
    **{f"{mark}{lead.lower()}": lead for mark in ("ml", "d") for lead in ("I", "II", "III")},
    **{f"d{i}": lead for i, lead in enumerate(("I", "II", "III"), 1)},
}

# Each lead as what it is made of: potentials of RA, LA, LL, V1 ... V6.
LIMBS = 0.5 * np.array([[-2, 2, 0], [-2, 0, 2], [0, -2, 2], [2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
LEADS_FROM_ELECTRODES = np.vstack(
    [np.hstack([LIMBS, np.zeros((6, 6))]), np.hstack([np.full((6, 3), -1 / 3), np.eye(6)])]
).astype(np.float32)
MISSING_HINT = "; `predict` goes on without them with waveform.allow_missing_leads=true"


def lead_name(name: str) -> str:
    """A lead's name as in ``LEADS``, whatever device wrote it.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        One of ``LEADS``, or the name itself, without spaces around it, if it is none of them.

    Examples
    --------
    >>> [lead_name(name) for name in ("AVR", "Lead I", "EKG II", "MDC_ECG_LEAD_V1", "MLII", "X")]
    ['aVR', 'I', 'II', 'V1', 'II', 'X']
    """
    key = name.strip().lower()
    return SPELLINGS.get(PREFIX.sub("", key, count=1), name.strip())


def available_leads(names: Sequence[str]) -> np.ndarray:
    """Which of the twelve leads are there, or follow from those that are.

    Parameters
    ----------
    names : sequence of str
        As devices spell them.

    Returns
    -------
    ndarray of shape (12,), bool
        In the order of ``LEADS``.

    Notes
    -----
    Any two of the six limb leads give the other four: all are differences of three potentials.
    """
    keys = {lead_name(name) for name in names}
    there = np.array([lead in keys for lead in LEADS])
    there[:6] |= there[:6].sum() >= 2
    return there


def order_leads(
    signal: np.ndarray, names: Sequence[str], record: str = "", allow_missing: bool = False
) -> np.ndarray:
    """The twelve leads in the order of ``LEADS``, found by name.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples)
    names : sequence of str, length n_leads
        In any order and in the spelling of any device (``lead_name``). Leads beyond the twelve
        (X, Y, Z, V7 ...) are left out.
    record : str
        Name of the record, for messages.
    allow_missing : bool
        Compute limb leads that are missing from two that are there; let other leads that are
        missing be 0.

    Returns
    -------
    ndarray of shape (12, n_samples)

    Raises
    ------
    ValueError
        If one of the twelve is there twice, or missing and not allowed to, or all are; or if names
        and signal differ in number.
    """
    if signal.ndim != 2 or signal.shape[0] != len(names):
        raise ValueError(
            f"{record_prefix(record)}expected a signal (n_leads, n_samples) with {len(names)} leads as "
            f"named, got shape {signal.shape}"
        )
    keys = [lead_name(name) for name in names]
    doubled = [lead for lead in LEADS if keys.count(lead) > 1]
    missing = [lead for lead in LEADS if lead not in keys]
    if doubled or len(missing) == 12 or (missing and not allow_missing):
        faults = [
            f"{word} {', '.join(leads)}"
            for word, leads in (("missing", missing), ("more than once", doubled))
            if leads
        ]
        hint = "" if doubled or len(missing) == 12 else MISSING_HINT
        raise ValueError(
            f"{record_prefix(record)}expected each of the 12 leads once, got {'; '.join(faults)} "
            f"(leads: {', '.join(map(str, names)) or 'none'}){hint}"
        )
    if not missing:
        return signal[[keys.index(lead) for lead in LEADS]]
    ordered = np.zeros((12, signal.shape[1]), signal.dtype)
    there = np.flatnonzero([lead in keys for lead in LEADS])
    ordered[there] = signal[[keys.index(LEADS[i]) for i in there]]
    limb = there[there < 6]
    if 2 <= len(limb) < 6:
        derived = np.setdiff1d(np.arange(6), limb)
        ordered[derived] = LIMBS[derived] @ np.linalg.pinv(LIMBS[limb]) @ ordered[limb]
    return ordered


def record_prefix(record: str) -> str:
    return f"record {record}: " if record else ""


# Largest first. Eight leads (I, II, V1 to V6) are twelve, two (I, II) are six: the others follow.
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
# Of each group at least one lead must be there, or the criteria of the finding lie elsewhere.
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
    # Without some lead of each wall neither an infarction nor a disease can be excluded.
    **dict.fromkeys(("NORM", "MI"), (_INFERIOR, _CHEST["anterior"], _LATERAL)),
    # The axis in the frontal plane.
    **dict.fromkeys(("LAFB", "LPFB", "LAFB/LPFB"), (_HIGH, _INFERIOR)),
    **dict.fromkeys(("IRBBB", "RVH"), (_CHEST["right"],)),
    **dict.fromkeys(("CLBBB", "CRBBB", "ILBBB", "IVCD"), (_SIDES,)),
    "LAO/LAE": (("II", "V1"),),
    "RAO/RAE": ((*_INFERIOR, "V1", "V2"),),
}


def mask_leads(signals: np.ndarray, name: str) -> np.ndarray:
    """Records as they would be with a smaller set of leads.

    Parameters
    ----------
    signals : ndarray of shape (n_records, 12, n_samples)
    name : str
        One of ``SETS``.

    Returns
    -------
    ndarray of the same shape and type
        With zeros in the leads that are not of the set.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    if name not in LEAD_SETS:
        raise ValueError(f"leads {name}: expected one of {', '.join(LEAD_SETS)}")
    there = np.isin(LEADS, LEAD_SETS[name])
    return np.where(there[None, :, None], signals, np.zeros((), signals.dtype))


def nearest_lead_set(there: np.ndarray) -> str:
    """The largest of ``SETS`` that is there: whose calibration and thresholds hold best.

    Parameters
    ----------
    there : ndarray of shape (12,), bool
        See ``leads.available_leads``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If none is: no model has learned of chest leads alone.

    Examples
    --------
    >>> [nearest_lead_set(available_leads(names)) for names in (["I", "II", "V2"], ["II"])]
    ['3', 'II']
    """
    names = set(np.array(LEADS)[there])
    for name, leads in LEAD_SETS.items():
        if names >= set(leads):
            return name
    raise ValueError(
        f"leads {', '.join(lead for lead in LEADS if lead in names) or 'none'}: expected at least "
        "lead I or II"
    )


def not_assessable(codes: Sequence[str], there: Iterable[bool]) -> np.ndarray:
    """Which findings cannot be seen, because their criteria lie in leads that are not there.

    Parameters
    ----------
    codes : sequence of str, n_findings of them
    there : sequence of bool, 12 of them

    Returns
    -------
    ndarray of shape (n_findings,), bool

    Examples
    --------
    >>> not_assessable(["AFIB", "IMI", "AMI"], available_leads(["I", "II"])).tolist()
    [False, False, True]
    """
    names = {lead for lead, yes in zip(LEADS, there, strict=True) if yes}
    return np.array(
        [any(names.isdisjoint(group) for group in _REQUIRED_LEADS.get(c, ())) for c in codes]
    )


def lead_warnings(names: Sequence[str]) -> list[str]:
    """Which leads a record lacks, and what was done about it, a sentence each; empty for twelve.

    Parameters
    ----------
    names : sequence of str
        As devices spell them.

    Examples
    --------
    >>> lead_warnings(["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    ['leads III, aVR, aVL, aVF computed from the other limb leads']
    """
    keys = [lead_name(name) for name in names]
    there = available_leads(names)
    derived = [lead for lead, yes in zip(LEADS, there, strict=True) if yes and lead not in keys]
    absent = [lead for lead, yes in zip(LEADS, there, strict=True) if not yes]
    found = []
    if derived:
        found.append(f"leads {', '.join(derived)} computed from the other limb leads")
    if absent and names:
        leads = f"lead{'s' if len(absent) > 1 else ''} {', '.join(absent)}"
        found.append(
            f"without {leads}: calibrated for {LEAD_SET_TITLES[nearest_lead_set(there)]}; findings whose criteria "
            "lie in leads that are not there get no answer"
        )
    return found
