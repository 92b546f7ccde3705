"""What each finding does to a heart: clinical definitions as changes of `heart.Heart`.

One rule a finding, with its source. Rules are applied in the order of ``RULES``: rhythm, then
conduction, scars, chambers, ST-T, and last the voltages, which are measured on the result.

Sources, by short name:

- AHA-II, AHA-III, AHA-IV, AHA-V, AHA-VI: AHA/ACCF/HRS recommendations for the standardization and
  interpretation of the electrocardiogram, parts II to VI, 2007-2009
  (doi:10.1161/CIRCULATIONAHA.106.180201, 108.191095, 108.191096, 108.191097, 108.191098).
- UDMI4: Fourth Universal Definition of Myocardial Infarction, 2018
  (doi:10.1161/CIR.0000000000000617).
- Minnesota: Prineas, Crow, Zhang, The Minnesota Code Manual, 2nd ed., 2010.
- ESC-SVT: ESC guidelines on supraventricular tachycardia, 2019 (doi:10.1093/eurheartj/ehz467).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.heart import (
    Array,
    Force,
    Heart,
    Wave,
    axis_degrees,
    discordant,
    make_vector,
    one_beat,
    qrs_peaks,
    rotate,
)

Rng = np.random.Generator
Rule = Callable[[Heart, Rng], None]

# Towards the wall that a code names: left, feet, back.
WALLS = {
    "inferior": make_vector(0.0, 1.0, 0.0),
    "anteroseptal": make_vector(-0.35, 0.0, -0.94),
    "anterior": make_vector(0.45, 0.05, -0.89),
    "anterolateral": make_vector(0.80, -0.10, -0.60),
    "lateral": make_vector(0.98, -0.20, 0.05),
    "inferolateral": make_vector(0.62, 0.78, 0.05),
    "posterior": make_vector(0.10, 0.05, 0.99),
}


# ------------------------------------------------------------------------------------- measures


def qrs_of(heart: Heart) -> Array:
    """The twelve leads of the QRS alone, mV."""
    bare = replace(heart, p=(), st=0 * heart.st, t=0 * heart.t, u=0 * heart.u)
    return one_beat(bare)


def turn_axis(heart: Heart, degrees: float) -> None:
    """Turn the late QRS forces in the frontal plane until the axis is there."""
    for _ in range(6):
        here = axis_degrees(qrs_of(heart))
        away = (degrees - here + 180) % 360 - 180
        for name, force in heart.forces.items():
            if name not in ("septal", "scar", "delta"):
                moved = rotate(force.vector, away)
                heart.forces[name] = replace(force, vector=moved)


def scale_qrs(heart: Heart, factor: float) -> None:
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, vector=factor * force.vector)


def sokolow_lyon(heart: Heart) -> float:
    """S in V1 plus the taller R of V5 and V6, mV (Sokolow & Lyon 1949)."""
    high, low = qrs_peaks(heart)
    return float(-low[6] + max(high[10], high[11]))


def against(heart: Heart, share: float) -> Array:
    """A vector against the QRS, as repolarisation points after abnormal conduction."""
    return discordant(heart.forces, share)


# --------------------------------------------------------------------------------------- rhythm


def rate_between(low: float, high: float) -> Rule:
    """Sinus rhythm at a rate within the limits."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.rhythm, heart.rate = "sinus", float(rng.uniform(low, high))

    return rule


def sinus_rhythm(heart: Heart, rng: Rng) -> None:
    heart.rate = float(np.clip(rng.normal(72, 10), 60, 98))


def sinus_arrhythmia(heart: Heart, rng: Rng) -> None:
    """Intervals that swing by more than 0.12 s with the breath."""
    heart.rate = float(np.clip(rng.normal(68, 9), 52, 90))
    heart.hrv, heart.respiration = float(rng.uniform(0.11, 0.16)), float(rng.uniform(11, 16))


def atrial_fibrillation(heart: Heart, rng: Rng) -> None:
    """No P wave, f waves, intervals without order (ESC-SVT)."""
    heart.rhythm, heart.p = "fibrillation", ()
    heart.rate = float(np.clip(rng.normal(88, 20), 50, 150))
    heart.atrial_rate = float(rng.uniform(350, 500))
    heart.atrial = make_vector(-0.02, 0.03, -0.06) * rng.uniform(0.4, 1.5)


def atrial_flutter(heart: Heart, rng: Rng) -> None:
    """A sawtooth of 250-330/min, negative in II, III and aVF; every 2nd to 4th conducted."""
    heart.rhythm, heart.p = "flutter", ()
    heart.atrial_rate = float(rng.uniform(250, 330))
    heart.rate = heart.atrial_rate / int(rng.choice([2, 3, 4]))
    heart.atrial = make_vector(0.01, -0.10, -0.04) * rng.uniform(0.8, 1.5)


def supraventricular_tachycardia(heart: Heart, rng: Rng) -> None:
    heart.rhythm, heart.rate, heart.p = "supraventricular", float(rng.uniform(140, 210)), ()


def paroxysmal_tachycardia(heart: Heart, rng: Rng) -> None:
    heart.rhythm, heart.rate = "paroxysm", float(rng.uniform(140, 200))


def supraventricular_arrhythmia(heart: Heart, rng: Rng) -> None:
    heart.rhythm, heart.rate = "wandering", float(rng.uniform(65, 105))


def pacemaker(heart: Heart, rng: Rng) -> None:
    """Spike, then a wide QRS like left bundle branch block with a superior axis."""
    heart.rhythm, heart.rate, heart.spikes = "ventricular pacing", float(rng.uniform(60, 75)), "V"
    left_bundle_branch_block(heart, rng)
    heart.qrs = float(rng.uniform(0.145, 0.18))
    turn_axis(heart, float(rng.uniform(-85, -60)))
    heart.st, heart.t = against(heart, 0.08), against(heart, 0.30)


def premature(kind: str, every: int = 0) -> Rule:
    """Premature complexes now and then, or every second or third beat."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.premature = kind or str(rng.choice(["ventricular", "atrial"]))
        heart.premature_every = every
        heart.n_premature = int(rng.integers(1, 4))
        side = make_vector(*rng.choice([[-1.0, 1.0, -0.8], [1.0, -0.6, -0.6], [1.0, 1.0, 0.8]]))
        size = rng.uniform(0.9, 1.5)
        heart.ectopic = {
            "main": Force(0.42, 0.17, size * side),
            "late": Force(0.68, 0.16, 0.7 * size * rng.normal(1, 0.3, 3) * side),
        }
        heart.ectopic_qrs = float(rng.uniform(0.13, 0.17))

    return rule


# ----------------------------------------------------------------------------------- conduction


def first_degree_block(heart: Heart, rng: Rng) -> None:
    """PR above 0.20 s at a constant length."""
    heart.pr = float(rng.uniform(0.215, 0.30))


def second_degree_block(heart: Heart, rng: Rng) -> None:
    heart.av = str(rng.choice(["wenckebach", "mobitz", "2:1"]))
    heart.rate = max(heart.rate, 75.0)


def third_degree_block(heart: Heart, rng: Rng) -> None:
    """P waves and QRS complexes each at their own rate; the escape rhythm is slow."""
    heart.rhythm, heart.rate = "dissociated", float(rng.uniform(30, 45))
    heart.atrial_rate = float(rng.uniform(70, 100))


def left_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """QRS of 0.12 s or more, broad notched R in I and V6, no q there, discordant ST-T (AHA-III)."""
    heart.qrs = float(rng.uniform(0.128, 0.165))
    size = rng.uniform(0.9, 1.35)
    heart.forces = {
        "septal": Force(0.22, 0.12, size * make_vector(0.35, 0.12, 0.30)),
        "main": Force(0.48, 0.14, size * make_vector(0.75, 0.15, 0.75)),
        "basal": Force(0.72, 0.11, size * make_vector(0.70, -0.05, 0.50)),
    }
    heart.st, heart.t = against(heart, 0.06), against(heart, 0.26)


def incomplete_left_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """QRS of 0.11 to 0.119 s, no q in I, V5, V6 (AHA-III)."""
    heart.qrs = float(rng.uniform(0.110, 0.119))
    septal = heart.forces["septal"]
    heart.forces["septal"] = replace(septal, vector=make_vector(0.20, 0.05, 0.10))
    heart.t = heart.t * 0.4


def late_right_force(heart: Heart, size: float) -> None:
    heart.forces["terminal"] = Force(0.80, 0.095, size * make_vector(-0.62, -0.02, -0.62))


def right_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """QRS of 0.12 s or more, rsR' in V1, broad S in I and V6, T negative in V1 (AHA-III)."""
    early = heart.qrs
    heart.qrs = float(rng.uniform(0.125, 0.155))
    for name, force in heart.forces.items():
        # The left ventricle is activated as before; only what follows it is new.
        share = 0.9 * early / heart.qrs
        heart.forces[name] = replace(force, at=force.at * share, width=force.width * share)
    late_right_force(heart, float(rng.uniform(0.9, 1.5)))
    heart.t = heart.t + make_vector(0.08, 0.0, 0.28)


def incomplete_right_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """rSr' in V1 with a QRS of 0.11 to 0.119 s (AHA-III)."""
    heart.qrs = float(rng.uniform(0.108, 0.119))
    late_right_force(heart, float(rng.uniform(0.42, 0.75)))


def intraventricular_delay(heart: Heart, rng: Rng) -> None:
    """QRS above 0.11 s without the pattern of either bundle (AHA-III)."""
    heart.qrs = float(rng.uniform(0.118, 0.145))
    turn = rng.normal(0, 0.35, 3)
    heart.forces["slur"] = Force(0.66, 0.10, turn * [1.0, 1.0, 0.8])


def left_anterior_block(heart: Heart, rng: Rng) -> None:
    """Axis of -45 to -90 degrees, qR in aVL, rS in II, III, aVF (AHA-III)."""
    heart.forces["septal"] = Force(0.20, 0.080, make_vector(-0.14, 0.24, -0.21))
    heart.qrs = min(heart.qrs + 0.012, max(heart.qrs, 0.115))
    turn_axis(heart, float(rng.uniform(-72, -48)))


def left_posterior_block(heart: Heart, rng: Rng) -> None:
    """Axis of 90 to 180 degrees, rS in I and aVL, qR in III and aVF (AHA-III)."""
    heart.forces["septal"] = Force(0.20, 0.080, make_vector(0.18, -0.18, -0.20))
    turn_axis(heart, float(rng.uniform(98, 125)))


def preexcitation(heart: Heart, rng: Rng) -> None:
    """PR below 0.12 s, delta wave, QRS of 0.11 s or more, ST-T against it (AHA-III)."""
    heart.pr, heart.qrs = float(rng.uniform(0.085, 0.112)), float(rng.uniform(0.138, 0.165))
    way = make_vector(*rng.choice([[0.5, 0.45, -0.5], [0.55, -0.35, -0.3], [-0.2, 0.6, -0.5]]))
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, at=0.34 + 0.62 * force.at, width=0.66 * force.width)
    heart.forces["delta"] = Force(0.28, 0.115, 0.85 * way)
    heart.t = heart.t * 0.5 - 0.35 * way


# ---------------------------------------------------------------------------------------- scars


def infarction(*walls: str) -> Rule:
    """Q waves of 0.03 s or more over the wall, loss of its forces, often a negative T (UDMI4)."""
    toward = [WALLS[wall] for wall in walls]

    def rule(heart: Heart, rng: Rng) -> None:
        for wall in toward:
            for name, force in heart.forces.items():
                kept = rng.uniform(0.25, 0.55)
                lost = max(float(force.vector @ wall), 0.0)
                heart.forces[name] = replace(force, vector=force.vector - (1 - kept) * lost * wall)
        away = -np.sum(toward, axis=0)
        away = away / np.linalg.norm(away)
        heart.forces["scar"] = Force(0.24, 0.105, rng.uniform(0.40, 0.70) * away)
        if rng.random() < 0.6:
            point_t_away(heart, -away, rng.uniform(0.05, 0.22))

    return rule


def point_t_away(heart: Heart, wall: Array, size: float) -> None:
    """T of that size, mV, away from a wall, otherwise as it was."""
    heart.t = heart.t - (float(heart.t @ wall) + size) * wall


def injury(wall: str) -> Rule:
    """ST of 0.1 mV or more below the line over the wall (subendocardial, AHA-VI)."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.st = heart.st - rng.uniform(0.16, 0.28) * WALLS[wall]
        point_t_away(heart, WALLS[wall], rng.uniform(0.0, 0.1))

    return rule


def ischaemia(wall: str) -> Rule:
    """T negative over the wall, with or without a depressed ST (AHA-IV)."""

    def rule(heart: Heart, rng: Rng) -> None:
        point_t_away(heart, WALLS[wall], rng.uniform(0.24, 0.42))
        heart.st = heart.st - rng.uniform(0.02, 0.10) * WALLS[wall]

    return rule


def aneurysm(heart: Heart, rng: Rng) -> None:
    """ST that stays raised over an anterior scar."""
    infarction("anterior")(heart, rng)
    heart.st = heart.st + rng.uniform(0.15, 0.3) * WALLS["anterior"]


def q_waves(heart: Heart, rng: Rng) -> None:
    """Q of 0.03 s or more in two neighbouring leads (Minnesota 1-2)."""
    wall = WALLS[str(rng.choice(["inferior", "lateral", "anteroseptal"]))]
    heart.forces["scar"] = Force(0.20, 0.095, -rng.uniform(0.35, 0.55) * wall)


def abnormal_qrs(heart: Heart, rng: Rng) -> None:
    """A notched or slurred QRS, or R waves that do not grow from V1 to V4."""
    if rng.random() < 0.5:
        turn = rng.normal(0, 1, 3)
        turn = 0.38 * turn / np.linalg.norm(turn)
        heart.forces["notch"] = Force(0.44, 0.045, turn)
        heart.forces["notch again"] = Force(0.60, 0.045, -turn)
    else:
        for name in {"septal", "apical"} & set(heart.forces):
            force = heart.forces[name]
            heart.forces[name] = replace(force, vector=force.vector * [1.0, 1.0, -0.5])


# ------------------------------------------------------------------------------------- chambers


def left_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Sokolow-Lyon of 3.5 mV or more, often with strain: ST-T against the QRS (AHA-V)."""
    left_voltage(heart, rng)
    if rng.random() < 0.6:
        heart.st = heart.st + against(heart, 0.025)
        heart.t = heart.t * 0.3 + against(heart, 0.10)


def left_voltage(heart: Heart, rng: Rng) -> None:
    """The voltage criterion alone: S in V1 + R in V5 or V6 of 3.5 mV or more."""
    wanted = rng.uniform(3.8, 5.2)
    main = heart.forces["main"]
    heart.forces["main"] = replace(main, vector=main.vector + make_vector(0.15, 0.0, 0.25))
    scale_qrs(heart, wanted / max(sokolow_lyon(heart), 0.5))


def septal_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Deep narrow q in the lateral and inferior leads, tall R in V1 and V2."""
    size = rng.uniform(0.45, 0.7)
    heart.forces["septal"] = Force(0.20, 0.07, size * make_vector(-0.7, -0.45, -0.75))


def right_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Axis beyond 90 degrees, R above S in V1, T negative there (AHA-V)."""
    for name in {"apical", "main", "basal"} & set(heart.forces):
        force = heart.forces[name]
        heart.forces[name] = replace(force, vector=force.vector * [0.6, 1.0, 0.35])
    heart.forces["right"] = Force(
        0.58, 0.12, rng.uniform(0.7, 1.1) * make_vector(-0.55, 0.2, -0.85)
    )
    turn_axis(heart, float(rng.uniform(98, 135)))
    point_t_away(heart, make_vector(-0.4, 0.1, -0.9), rng.uniform(0.05, 0.2))


def left_atrium(heart: Heart, rng: Rng) -> None:
    """P of 0.12 s or more, notched, its end negative in V1 (AHA-V)."""
    size = rng.uniform(1.0, 1.5)
    heart.p = (
        Wave(0.040, 0.016, 0.017, make_vector(0.035, 0.080, -0.030)),
        Wave(0.102, 0.019, 0.018, size * make_vector(0.085, 0.055, 0.105)),
    )
    heart.pr = max(heart.pr, 0.17)


def right_atrium(heart: Heart, rng: Rng) -> None:
    """P above 0.25 mV and peaked in II, III, aVF (AHA-V)."""
    size = rng.uniform(1.0, 1.3)
    heart.p = (
        Wave(0.048, 0.017, 0.017, size * make_vector(0.04, 0.26, -0.09)),
        Wave(0.075, 0.014, 0.013, make_vector(0.04, 0.05, 0.02)),
    )


# ----------------------------------------------------------------------------------------- ST-T


def t_of(low: float, high: float) -> Rule:
    """T waves multiplied by a number between the limits."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.t = heart.t * rng.uniform(low, high)

    return rule


def odd_t(heart: Heart, rng: Rng) -> None:
    """T waves broad and turned."""
    heart.t = heart.t * 0.6 + rng.normal(0, 0.10, 3)
    heart.t_rise, heart.t_fall = heart.t_rise * 1.5, heart.t_fall * 1.5


def st_shift(low: float, high: float) -> Rule:
    """ST above (positive) or below (negative) the line in the anterolateral leads, mV."""

    def rule(heart: Heart, rng: Rng) -> None:
        wall = WALLS["anterolateral"] + 0.4 * WALLS["inferior"]
        heart.st = heart.st + rng.uniform(low, high) * wall

    return rule


def digitalis(heart: Heart, rng: Rng) -> None:
    """A sagging ST against the QRS, flat T, short QT (AHA-IV)."""
    heart.st = heart.st + against(heart, 0.045)
    heart.t, heart.qtc = heart.t * 0.25, float(rng.uniform(0.34, 0.37))


def long_qt(heart: Heart, rng: Rng) -> None:
    """QTc of 0.46 s or more in women, 0.45 s in men (AHA-IV)."""
    heart.qtc = float(rng.uniform(0.485, 0.56))
    heart.t_rise = heart.t_rise * 1.2


def electrolytes(heart: Heart, rng: Rng) -> None:
    """High potassium: tall narrow T. Low potassium: flat T and a large U (AHA-IV)."""
    if rng.random() < 0.5:
        heart.t = heart.t * rng.uniform(2.2, 3.2)
        heart.t_rise, heart.t_fall = heart.t_rise * 0.6, heart.t_fall * 0.7
    else:
        heart.t = heart.t * rng.uniform(0.1, 0.3)
        heart.u = heart.u * rng.uniform(9, 14)


# -------------------------------------------------------------------------------------- voltage


def low_voltage(heart: Heart, rng: Rng) -> None:
    """Every limb lead below 0.5 mV from peak to peak (Minnesota 9-1)."""
    scale_qrs(heart, 0.75)
    high, low = qrs_peaks(heart)
    factor = rng.uniform(0.28, 0.42) / float((high - low)[:6].max())
    shrink = make_vector(min(factor, 1.0), min(factor, 1.0), 0.7)
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, vector=force.vector * shrink)
    # Lateral and back forces meet in the limb leads too: measure again, once more.
    high, low = qrs_peaks(heart)
    scale_qrs(heart, min(1.0, 0.44 / float((high - low)[:6].max())))


def high_voltage(heart: Heart, rng: Rng) -> None:
    """A QRS above 3.5 mV from peak to peak in some lead."""
    high, low = qrs_peaks(heart)
    scale_qrs(heart, max(1.0, rng.uniform(3.8, 5.0) / float((high - low).max())))


def nothing(heart: Heart, rng: Rng) -> None:
    """Leaves the heart as it is."""


RULES: dict[str, Rule] = {
    "NORM": nothing,
    "SR": sinus_rhythm,
    "SBRAD": rate_between(40, 57),
    "STACH": rate_between(103, 145),
    "SARRH": sinus_arrhythmia,
    "SVARR": supraventricular_arrhythmia,
    "AFIB": atrial_fibrillation,
    "AFLT": atrial_flutter,
    "SVTAC": supraventricular_tachycardia,
    "PSVT": paroxysmal_tachycardia,
    "PAC": premature("atrial"),
    "PVC": premature("ventricular"),
    "PRC(S)": premature(""),
    "BIGU": premature("", every=2),
    "TRIGU": premature("", every=3),
    "LPR": first_degree_block,
    "1AVB": first_degree_block,
    "2AVB": second_degree_block,
    "3AVB": third_degree_block,
    "CLBBB": left_bundle_branch_block,
    "ILBBB": incomplete_left_bundle_branch_block,
    "PACE": pacemaker,
    "IVCD": intraventricular_delay,
    "LVH": left_hypertrophy,
    "VCLVH": left_voltage,
    "SEHYP": septal_hypertrophy,
    "RVH": right_hypertrophy,
    "LAFB": left_anterior_block,
    "LPFB": left_posterior_block,
    "CRBBB": right_bundle_branch_block,
    "IRBBB": incomplete_right_bundle_branch_block,
    "IMI": infarction("inferior"),
    "ASMI": infarction("anteroseptal"),
    "AMI": infarction("anterior"),
    "ALMI": infarction("anterolateral"),
    "LMI": infarction("lateral"),
    "ILMI": infarction("inferior", "lateral"),
    "PMI": infarction("posterior"),
    "IPMI": infarction("inferior", "posterior"),
    "IPLMI": infarction("inferior", "posterior", "lateral"),
    "ANEUR": aneurysm,
    "QWAVE": q_waves,
    "ABQRS": abnormal_qrs,
    "WPW": preexcitation,
    "LAO/LAE": left_atrium,
    "RAO/RAE": right_atrium,
    "NDT": t_of(0.05, 0.30),
    "NT_": t_of(-0.10, 0.30),
    "LOWT": t_of(0.05, 0.25),
    "TAB_": odd_t,
    "INVT": t_of(-1.1, -0.6),
    "NST_": st_shift(-0.09, -0.05),
    "STD_": st_shift(-0.20, -0.10),
    "STE_": st_shift(0.12, 0.25),
    "ISC_": ischaemia("lateral"),
    "ISCAL": ischaemia("anterolateral"),
    "ISCAS": ischaemia("anteroseptal"),
    "ISCAN": ischaemia("anterior"),
    "ISCLA": ischaemia("lateral"),
    "ISCIN": ischaemia("inferior"),
    "ISCIL": ischaemia("inferolateral"),
    "INJAS": injury("anteroseptal"),
    "INJAL": injury("anterolateral"),
    "INJLA": injury("lateral"),
    "INJIN": injury("inferior"),
    "INJIL": injury("inferolateral"),
    "DIG": digitalis,
    "LNGQT": long_qt,
    "EL": electrolytes,
    "LVOLT": low_voltage,
    "HVOLT": high_voltage,
}


def person(rng: Rng, age: float, is_woman: bool) -> Heart:
    """A healthy heart of a person: intervals, axis and voltages vary as they do among people.

    Notes
    -----
    Normal limits by age and sex: Rijnbeek et al. 2014 (doi:10.1016/j.jelectrocard.2014.07.022):
    longer QTc and lower voltages in women, an axis that turns left with age.
    """
    heart = Heart()
    heart.pr = float(np.clip(rng.normal(0.155, 0.017), 0.122, 0.195))
    heart.qrs = float(np.clip(rng.normal(0.088 if is_woman else 0.094, 0.006), 0.072, 0.106))
    heart.qtc = float(np.clip(rng.normal(0.415 if is_woman else 0.405, 0.014), 0.370, 0.442))
    heart.hrv = float(rng.uniform(0.01, 0.045)) * (1.3 - min(age, 90) / 100)
    heart.respiration = float(rng.uniform(11, 19))
    size = (0.88 if is_woman else 1.0) * rng.normal(1.0, 0.12)
    for name, force in heart.forces.items():
        wobble = rng.normal(1.0, 0.12, 3)
        heart.forces[name] = replace(force, vector=size * wobble * force.vector)
    turn_axis(heart, float(np.clip(rng.normal(62 - 0.55 * age, 18), -25, 85)))
    heart.t = heart.t * rng.normal(1.0, 0.18) * rng.normal(1.0, 0.10, 3)
    heart.p = tuple(replace(wave, vector=wave.vector * rng.normal(1, 0.12)) for wave in heart.p)
    heart.leads = heart.leads * rng.normal(1.0, 0.06, heart.leads.shape)
    return heart


def with_findings(heart: Heart, codes: Iterable[str], rng: Rng) -> Heart:
    """The heart with every finding in it.

    Parameters
    ----------
    heart : Heart
        Changed in place and returned.
    codes : iterable of str
        Findings; their order does not matter.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For a finding without a rule.
    """
    codes = set(codes)
    if unknown := codes - set(RULES):
        raise ValueError(
            f"finding {', '.join(sorted(unknown))}: no rule; known: {', '.join(RULES)}"
        )
    for code, rule in RULES.items():
        if code in codes:
            rule(heart, rng)
    return heart
