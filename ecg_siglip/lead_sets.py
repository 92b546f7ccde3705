"""Fewer than twelve leads: the sets that devices record, and what cannot be seen in them.

A record comes to the model with twelve leads all the same: those that follow from others by the
geometry of the limb leads are computed (``waveform.order_leads``), the rest are 0 mV, as in
training with ``augment.fewer_leads``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ecg_siglip.waveform import LEADS, available, lead_name

# Largest first. Eight leads (I, II, V1 to V6) are twelve, two (I, II) are six: the others follow.
SETS = {
    "12": LEADS,
    "3": (*LEADS[:6], "V2"),
    "6": LEADS[:6],
    "II": ("II",),
    "I": ("I",),
}
TITLES = {
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
_NEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
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


def kept(signals: np.ndarray, name: str) -> np.ndarray:
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
    if name not in SETS:
        raise ValueError(f"leads {name}: expected one of {', '.join(SETS)}")
    there = np.isin(LEADS, SETS[name])
    return np.where(there[None, :, None], signals, np.zeros((), signals.dtype))


def nearest(there: np.ndarray) -> str:
    """The largest of ``SETS`` that is there: whose calibration and thresholds hold best.

    Parameters
    ----------
    there : ndarray of shape (12,), bool
        See ``waveform.available``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If none is: no model has learned of chest leads alone.

    Examples
    --------
    >>> from ecg_siglip import waveform
    >>> [nearest(waveform.available(leads)) for leads in (("I", "II", "V1", "V2"), ("II",))]
    ['3', 'II']
    """
    names = set(np.array(LEADS)[there])
    for name, leads in SETS.items():
        if names >= set(leads):
            return name
    raise ValueError(
        f"leads {', '.join(lead for lead in LEADS if lead in names) or 'none'}: expected at least "
        "lead I or II"
    )


def unseen(codes: Sequence[str], there: Iterable[bool]) -> np.ndarray:
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
    >>> from ecg_siglip import waveform
    >>> unseen(["AFIB", "IMI", "AMI"], waveform.available(["I", "II"])).tolist()
    [False, False, True]
    """
    names = {lead for lead, yes in zip(LEADS, there, strict=True) if yes}
    return np.array([any(names.isdisjoint(group) for group in _NEEDS.get(c, ())) for c in codes])


def warnings(names: Sequence[str]) -> list[str]:
    """Which leads a record lacks, and what was done about it, a sentence each; empty for twelve.

    Parameters
    ----------
    names : sequence of str
        As devices spell them.

    Examples
    --------
    >>> warnings(["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    ['leads III, aVR, aVL, aVF computed from the other limb leads']
    """
    keys = [lead_name(name) for name in names]
    there = available(names)
    derived = [lead for lead, yes in zip(LEADS, there, strict=True) if yes and lead not in keys]
    absent = [lead for lead, yes in zip(LEADS, there, strict=True) if not yes]
    found = []
    if derived:
        found.append(f"leads {', '.join(derived)} computed from the other limb leads")
    if absent and names:
        leads = f"lead{'s' if len(absent) > 1 else ''} {', '.join(absent)}"
        found.append(
            f"without {leads}: calibrated for {TITLES[nearest(there)]}; findings whose criteria "
            "lie in leads that are not there get no answer"
        )
    return found
