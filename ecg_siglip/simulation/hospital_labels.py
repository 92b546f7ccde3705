"""Labels of a synthetic hospital: 98 findings with codes of its own, and who assesses which.

71 of the findings are those of PTB-XL by other codes and names. The other 27 are finer: rates,
degrees, sites and combinations. Each of them follows from measurements on the simulated heart and
the beats of the record, not from a random number. ``hospital.yaml`` has the names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation.heart import Array, Heart, twelve_leads
from ecg_siglip.simulation.measurements import axis_degrees, qrs_of, qrs_peaks
from ecg_siglip.simulation.rhythms import Strip
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import load_vocabulary

VOCABULARY_FILE = Path(__file__).with_name("hospital.yaml")
# Code of the hospital by that of PTB-XL.
OWN_CODES = {
    "NORM": "R01", "SR": "R02", "SBRAD": "R03", "STACH": "R04", "SARRH": "R05", "AFIB": "R06",
    "AFLT": "R07", "SVTAC": "R08", "PSVT": "R09", "SVARR": "R10", "PACE": "R11", "PVC": "R12",
    "PAC": "R13", "PRC(S)": "R14", "BIGU": "R15", "TRIGU": "R16",
    "1AVB": "C01", "LPR": "C02", "2AVB": "C03", "3AVB": "C04", "CRBBB": "C05", "IRBBB": "C06",
    "CLBBB": "C07", "ILBBB": "C08", "IVCD": "C09", "LAFB": "C10", "LPFB": "C11", "WPW": "C12",
    "IMI": "M01", "ASMI": "M02", "AMI": "M03", "ALMI": "M04", "LMI": "M05", "ILMI": "M06",
    "PMI": "M07", "IPMI": "M08", "IPLMI": "M09", "ANEUR": "M10", "QWAVE": "M11", "ABQRS": "M12",
    "LVH": "H01", "VCLVH": "H02", "RVH": "H03", "SEHYP": "H04", "LAO/LAE": "H05",
    "RAO/RAE": "H06", "LVOLT": "H07", "HVOLT": "H08",
    "NDT": "T01", "NST_": "T02", "STD_": "T03", "STE_": "T04", "NT_": "T05", "LOWT": "T06",
    "INVT": "T07", "TAB_": "T08", "ISC_": "T09", "ISCAL": "T10", "ISCAS": "T11", "ISCAN": "T12",
    "ISCLA": "T13", "ISCIN": "T14", "ISCIL": "T15", "INJAS": "T16", "INJAL": "T17",
    "INJLA": "T18", "INJIN": "T19", "INJIL": "T20", "DIG": "T21", "LNGQT": "T22", "EL": "T23",
}  # fmt: skip
# Departments: share of the records, and the groups of findings that they do not assess.
DEPARTMENTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "循環器内科": (0.45, ()),  # cardiology
    "健診センター": (0.30, ("axis", "quality")),  # check-ups
    "救急外来": (0.25, ("hypertrophy", "axis", "quality")),  # emergencies
}
NORMAL_IN_CHECKUP = 0.6  # share of the normal ECGs that are from check-ups
UNREAD = 0.03  # share of the records in which one more group was not assessed


@functools.cache
def hospital_vocabulary() -> Vocabulary:
    """Return the vocabulary of the hospital, 98 findings with Japanese names."""
    return load_vocabulary(VOCABULARY_FILE)


@dataclass(frozen=True)
class Measured:
    """What a device would measure in a record, if it measured without error.

    Attributes
    ----------
    codes : frozenset of str
        Findings by the codes of PTB-XL.
    rate : float, 1/min
        Mean ventricular rate of the record.
    axis : float, degrees, -180 to 180
    qrs, qtc : float, s
    pr : float, s, or None
        None where P waves do not conduct one by one.
    flutter_ratio : int
        Flutter waves per beat, as far as it is constant; 0 without flutter.
    av : str
        ``wenckebach``, ``mobitz``, ``2:1``, or ``1:1``.
    n_ventricular, n_atrial : int
        Premature beats.
    t, st, r : ndarray of shape (12,), mV
        Amplitudes of the T wave, the ST segment and the highest R of a conducted beat.
    is_noisy : bool
    """

    codes: frozenset[str]
    rate: float
    axis: float
    qrs: float
    qtc: float
    pr: float | None
    flutter_ratio: int
    av: str
    n_ventricular: int
    n_atrial: int
    t: Array
    st: Array
    r: Array
    is_noisy: bool


def measure(codes: Collection[str], heart: Heart, strip: Strip, is_noisy: bool) -> Measured:
    """Measure a heart and the beats of a record.

    Parameters
    ----------
    codes : collection of str
        Findings by the codes of PTB-XL.
    heart : Heart
    strip : Strip
        The beats of the record.
    is_noisy : bool
        Whether drift, noise or a loose electrode was noted.
    """
    onsets = [time for time in strip.qrs_onsets if 0 <= time < strip.duration]
    intervals = np.diff(np.sort(onsets))
    starts = [(kind, time) for kind, time, _ in strip.spans if 0 <= time < strip.duration]
    is_sinus = heart.rhythm == "sinus"
    amplitudes = (twelve_leads((heart.leads @ each)[:, None])[:, 0] for each in (heart.t, heart.st))
    t, st = amplitudes
    is_flutter = heart.rhythm == "flutter"
    return Measured(
        codes=frozenset(codes),
        rate=float(60 / intervals.mean()) if len(intervals) else 0.0,
        axis=axis_degrees(qrs_of(heart)),
        qrs=heart.qrs,
        qtc=heart.qtc,
        pr=heart.pr if is_sinus and heart.av == "1:1" else None,
        flutter_ratio=round(heart.atrial_rate / heart.rate) if is_flutter else 0,
        av=heart.av,
        n_ventricular=sum(kind == "ectopic QRS" for kind, _ in starts),
        n_atrial=sum(kind == "early P" for kind, _ in starts) if is_sinus else 0,
        t=t,
        st=st,
        r=qrs_peaks(heart)[0],
        is_noisy=is_noisy,
    )


def _highest(amplitude: Array, leads: str) -> float:
    """Return the highest amplitude of some leads, mV; all of them are below a limit if it is."""
    return float(max(amplitude[LEADS.index(lead)] for lead in leads.split()))


# What the findings that PTB-XL does not have follow from.
RULES: Mapping[str, Callable[[Measured], bool]] = {
    "R17": lambda m: m.rate < 50,
    "R18": lambda m: m.rate >= 100,
    "R19": lambda m: m.rate >= 130,
    "R20": lambda m: "AFIB" in m.codes and m.rate >= 100,
    "R21": lambda m: "AFIB" in m.codes and m.rate < 60,
    "R22": lambda m: m.flutter_ratio == 2,
    "R23": lambda m: m.n_ventricular >= 2,
    "R24": lambda m: m.n_atrial >= 2,
    "R25": lambda m: "BIGU" in m.codes and m.n_ventricular >= 2,
    "C13": lambda m: m.av == "wenckebach",
    "C14": lambda m: m.av in ("mobitz", "2:1"),
    "C15": lambda m: m.pr is not None and m.pr >= 0.26,
    "C16": lambda m: m.qrs >= 0.12,
    "C17": lambda m: m.qrs >= 0.15,
    "C18": lambda m: "CRBBB" in m.codes and not m.codes.isdisjoint({"LAFB", "LPFB"}),
    "M13": lambda m: _highest(m.r, "V3") <= 0.3,
    "H09": lambda m: "LVH" in m.codes and _highest(m.t, "V5 V6") <= -0.1,
    "T24": lambda m: m.qtc >= 0.5,
    "T25": lambda m: m.qtc < 0.36,
    "T26": lambda m: _highest(m.t, "V3 V4") <= -0.1,
    "T27": lambda m: _highest(m.t, "II aVF") <= -0.1,
    "T28": lambda m: _highest(m.t, "V5 V6") <= -0.1,
    "T29": lambda m: _highest(m.st, "V5 V6") <= -0.1,
    "A01": lambda m: -90 <= m.axis < -30,
    "A02": lambda m: -30 <= m.axis < 0,
    "A03": lambda m: m.axis >= 90,
    "N01": lambda m: m.is_noisy,
}


def own_findings(measured: Measured) -> list[str]:
    """Return the findings of a record by the codes of the hospital, in the vocabulary's order."""
    vocabulary = hospital_vocabulary()
    stated = {OWN_CODES[code] for code in measured.codes}
    stated |= {code for code, rule in RULES.items() if rule(measured)}
    present = {implied for code in stated for implied in vocabulary.implied(code)}
    return [code for code in vocabulary.codes if code in present]


def draw_department(codes: Collection[str], rng: np.random.Generator) -> tuple[str, list[str]]:
    """Draw the department of a record, and return the codes that were not assessed in it.

    Parameters
    ----------
    codes : collection of str
        Findings of the record by the codes of PTB-XL; a normal ECG is often from a check-up.
    rng : numpy.random.Generator

    Returns
    -------
    department : str
    unknown : list of str
        Codes of the hospital, in the vocabulary's order.
    """
    vocabulary = hospital_vocabulary()
    names = [*DEPARTMENTS]
    shares = np.array([share for share, _ in DEPARTMENTS.values()])
    if "NORM" in codes:
        others = 1 - shares[1]
        shares = np.array([NORMAL_IN_CHECKUP if i == 1 else s for i, s in enumerate(shares)])
        shares[[0, 2]] *= (1 - NORMAL_IN_CHECKUP) / others
    department = names[int(rng.choice(len(names), p=shares))]
    groups = {*DEPARTMENTS[department][1]}
    if rng.random() < UNREAD:
        groups.add(str(rng.choice([task for task in vocabulary.tasks if task != "all"])))
    unknown = {code for group in groups for code in vocabulary.task_codes(group)}
    return department, [code for code in vocabulary.codes if code in unknown]
