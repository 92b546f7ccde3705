"""Hearts of ``difficulty=realistic``: wide variation between people and findings of any severity.

The rules of the findings are those of ``finding_rules``. Each is applied at a severity: the heart
is moved from its state before the rule in the direction of the state after it, for intervals from
just beyond the limit of the criterion on. A finding that is less certain is less severe. Some
hearts are moved a little in the direction of a finding that they do not have.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.finding_rules import RULES, person
from ecg_siglip.simulation.heart import Array, Force, Heart, Wave, make_vector
from ecg_siglip.simulation.measurements import turn_axis
from ecg_siglip.simulation.waveform_rules import WALLS, point_t_away

Rng = np.random.Generator
# Severity: 0 is the heart before the rule, 1 after it. Infarctions and voltages of PTB-XL are
# mostly weaker than the criteria; a pattern of conduction is present or not.
SEVERITY = (0.3, 1.1)
SEVERITIES = {
    **dict.fromkeys(("CLBBB", "WPW", "PACE", "LAFB", "LPFB"), (0.8, 1.1)),
    **dict.fromkeys(("AFIB", "AFLT", "SVTAC", "PSVT", "3AVB"), (1.0, 1.0)),
    **dict.fromkeys(("CRBBB", "ILBBB"), (0.55, 1.05)),
    **dict.fromkeys(("QWAVE", "HVOLT", "VCLVH", "IRBBB", "RAO/RAE"), (0.2, 0.9)),
    **dict.fromkeys(("STD_", "NST_", "ISCAL", "INJAL", "INJIN", "INJIL", "INJLA"), (0.2, 1.0)),
    "RVH": (0.6, 1.5),
}  # fmt: skip
INFARCTION, UNCERTAIN = (0.12, 0.85), 0.6  # factor on the upper limit if the likelihood is <= 50
MILD = (0.03, 0.15)  # of a finding that is not stated
MILD_SHARE = 0.3  # of the records
# Interval, its limit in s, and the severities of the part beyond the limit.
LIMITS = {
    "1AVB": ("pr", 0.200), "LPR": ("pr", 0.200), "CLBBB": ("qrs", 0.120), "CRBBB": ("qrs", 0.120),
    "IVCD": ("qrs", 0.110), "PACE": ("qrs", 0.120), "LNGQT": ("qtc", 0.455),
    "SBRAD": ("rate", 60.0), "STACH": ("rate", 100.0),
}  # fmt: skip
BEYOND = (0.1, 1.5)
INTERVALS = ("pr", "qrs", "qtc", "rate", "t_rise", "t_fall")
# Findings that a heart may have a little of without a label, in its waves.
GRADUAL = [
    "LVH", "VCLVH", "RVH", "LAO/LAE", "RAO/RAE", "IMI", "ASMI", "LMI", "QWAVE", "ABQRS", "NDT",
    "NST_", "STD_", "STE_", "ISC_", "ISCAL", "ISCIN", "ISCAS", "DIG", "LOWT", "EL", "IVCD",
]  # fmt: skip
ACUTE_SHARE = 0.2  # of the infarctions have ST elevation
INFARCTS = {
    "IMI": "inferior", "ASMI": "anteroseptal", "AMI": "anterior", "ALMI": "anterolateral",
    "LMI": "lateral", "ILMI": "inferolateral", "PMI": "posterior", "IPMI": "posterior",
    "IPLMI": "inferolateral",
}  # fmt: skip


def varied_person(rng: Rng, age: float, is_woman: bool) -> Heart:
    """Draw a person without findings, with a wide variation of all waves.

    Notes
    -----
    The spread was set so that amplitudes, axis, T, ST and the spectrum of simulated records have
    the percentiles of PTB-XL (docs/LOG.md).
    """
    heart = person(rng, age, is_woman)
    heart.pr = float(np.clip(rng.normal(0.155, 0.02), 0.115, 0.199))
    heart.qtc = float(np.clip(heart.qtc + rng.normal(0, 0.012), 0.355, 0.447))
    heart.hrv = float(np.clip(rng.lognormal(np.log(0.022), 0.6), 0.004, 0.07))
    heart.respiration = float(rng.uniform(9, 24))
    heart.breath = float(rng.lognormal(np.log(0.035), 0.5))
    heart.beat_variation = float(rng.lognormal(np.log(0.012), 0.5))
    heart.regularity = float(rng.lognormal(np.log(20), 0.4))
    heart.spike = float(rng.lognormal(np.log(0.12), 0.8))
    vary_qrs(heart, rng)
    turn_axis(heart, float(np.clip(rng.normal(70 - 0.6 * age, 30), -29, 100)))
    size = (0.8 if is_woman else 1.05) * (1.25 - age / 250) * rng.lognormal(0, 0.35)
    heart.t = size * 1.15 * make_vector(0.30, 0.15, -0.28) + rng.normal(0, 0.04, 3)
    heart.t[:2] = np.maximum(heart.t[:2], [0.10, 0.07])
    heart.t_rise *= rng.lognormal(0, 0.15)
    heart.t_fall *= rng.lognormal(0, 0.15)
    forward = (0.035 if is_woman else 0.085) * rng.lognormal(0, 0.5)
    heart.st = rng.normal([0.008, 0.005, -forward], [0.015, 0.015, 0.0])
    heart.u = heart.u * rng.lognormal(0, 0.6)
    turn, height, width = rotation(rng, 15), rng.lognormal(0.1, 0.28), rng.lognormal(0, 0.1)
    heart.p = tuple(
        Wave(
            wave.at * width,
            wave.rise * width,
            wave.fall * width,
            height * rng.normal(1, 0.15) * (turn @ wave.vector),
        )
        for wave in heart.p
    )
    return heart


def vary_qrs(heart: Heart, rng: Rng) -> None:
    """Change time, width and direction of the QRS forces, and add small fast ones."""
    size = rng.lognormal(-0.05, 0.2)
    for name, force in heart.forces.items():
        heart.forces[name] = Force(
            0.45 + 0.82 * (force.at - 0.45) + rng.normal(0, 0.015),
            0.70 * force.width * rng.lognormal(0, 0.12),
            1.16 * size * rng.lognormal(0, 0.15) * (rotation(rng, 9) @ force.vector),
        )
    for i in range(int(rng.integers(2, 6))):
        vector = rng.normal(0, 0.09, 3) * rng.lognormal(0, 0.5)
        at, width = rng.normal(0.48, 0.15), rng.uniform(0.025, 0.06)
        heart.forces[f"detail {i}"] = Force(at, width, vector)


def rotation(rng: Rng, degrees: float) -> Array:
    """Draw a small rotation, (3, 3), about a random axis with a normal distribution of angles."""
    x, y, z = np.radians(rng.normal(0, degrees / np.sqrt(3), 3))
    angle = np.sqrt(x * x + y * y + z * z) + 1e-12
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def with_varied_findings(heart: Heart, codes: dict[str, float], rng: Rng) -> Heart:
    """Change a heart by the rules of findings, each at a severity, and a little by another one.

    Parameters
    ----------
    heart : Heart
        Changed and returned.
    codes : dict of str to float
        Findings with their likelihoods, as of ``patients.draw_findings``.
    rng : numpy.random.Generator
    """
    mild = str(rng.choice(GRADUAL)) if rng.random() < MILD_SHARE else ""
    for code, rule in RULES.items():
        if code not in codes and code != mild:
            continue
        before = replace(heart, forces=dict(heart.forces))
        rule(heart, rng)
        as_in_ptbxl(code, before, heart, rng)
        if code not in codes:
            heart = blend(before, heart, float(rng.uniform(*MILD)))
            for name in INTERVALS:
                setattr(heart, name, getattr(before, name))
            continue
        low, high = INFARCTION if code in INFARCTS else SEVERITIES.get(code, SEVERITY)
        if 0 < codes[code] <= 50:
            high = max(low, UNCERTAIN * high)
        heart = blend(before, heart, float(rng.uniform(low, high)))
        if code in LIMITS:
            name, limit = LIMITS[code]
            beyond = float(rng.uniform(*BEYOND))
            setattr(heart, name, limit + (getattr(heart, name) - limit) * beyond)
        if code in INFARCTS and rng.random() < ACUTE_SHARE:
            heart.st = heart.st + rng.uniform(0.05, 0.30) * WALLS[INFARCTS[code]]
    return vary_rhythm(heart, codes, rng)


def as_in_ptbxl(code: str, before: Heart, heart: Heart, rng: Rng) -> None:
    """Change a heart after a rule, in place, where PTB-XL's records differ from the criteria.

    Notes
    -----
    Medians of waves of the records with each finding, folds 1-7, against those of normal records.
    """
    if code in ("NDT", "NT_", "LOWT", "INVT", "NST_", "DIG", "ISC_"):
        if code == "NST_":
            heart.t = heart.t * rng.uniform(0.2, 0.9)
        # T becomes flat in the lateral leads, and less so in the inferior ones.
        kept = rng.uniform(0.2, 0.9)
        heart.t[1] = kept * before.t[1] + (1 - kept) * heart.t[1]
    elif code in ("INJAS", "INJAL", "ISCAS"):
        if code == "INJAS":
            heart.st = before.st - rng.uniform(0.05, 0.25) * WALLS["anterolateral"]
        point_t_away(heart, WALLS["lateral"], rng.uniform(0.05, 0.35))
    elif code in ("CLBBB", "ILBBB"):
        # rS or QS as far as V3, and a T upright there.
        back = make_vector(0.9, 1.0, rng.uniform(1.1, 1.8))
        for name, force in heart.forces.items():
            heart.forces[name] = replace(force, vector=force.vector * back)
        heart.st, heart.t = heart.st * back, heart.t * back
    elif code == "LAFB" and "basal" in heart.forces:
        # S as far as V6.
        late = make_vector(-rng.uniform(0.1, 0.5), -0.05, rng.uniform(0, 0.3))
        basal = heart.forces["basal"]
        heart.forces["basal"] = replace(basal, vector=basal.vector + late)
    elif code == "AFLT":
        heart.rate = heart.atrial_rate / int(rng.choice([2, 2, 2, 3, 4]))


def blend(before: Heart, after: Heart, severity: float) -> Heart:
    """Return a heart whose waves are between two states (0 to 1) or beyond the second one.

    Intervals, rates and the rhythm are those of the second one; so is P if the number of its waves
    changes.
    """

    def between(one: Array, other: Array) -> Array:
        return (1 - severity) * one + severity * other

    forces = {}
    for name in before.forces | after.forces:
        old, new = before.forces.get(name), after.forces.get(name)
        if old is new and old is not None:
            forces[name] = old
            continue
        shape = new or old
        assert shape is not None
        vectors = [force.vector if force else np.zeros(3) for force in (old, new)]
        forces[name] = Force(shape.at, shape.width, between(*vectors))
    p = after.p
    if len(before.p) == len(after.p):
        p = tuple(
            replace(new, vector=between(old.vector, new.vector))
            for old, new in zip(before.p, after.p, strict=True)
        )
    st, t, u = (between(getattr(before, k), getattr(after, k)) for k in ("st", "t", "u"))
    return replace(after, forces=forces, p=p, st=st, t=t, u=u)


def vary_rhythm(heart: Heart, codes: dict[str, float], rng: Rng) -> Heart:
    """Widen the rates and the shapes of ectopic beats and atrial waves."""
    if "SR" in codes and not {"SBRAD", "STACH", "2AVB", "3AVB"} & set(codes):
        heart.rate = float(np.clip(rng.normal(71, 12), 52, 101))
    if "AFIB" in codes:
        heart.rate = float(np.clip(rng.lognormal(np.log(85), 0.27), 42, 180))
    heart.atrial = rotation(rng, 20) @ heart.atrial * rng.lognormal(0, 0.3)
    if heart.premature:
        turn, width = rotation(rng, 40), rng.lognormal(0, 0.15)
        heart.ectopic = {
            name: Force(force.at, force.width * width, turn @ force.vector)
            for name, force in heart.ectopic.items()
        }
        heart.ectopic_qrs = float(rng.uniform(0.12, 0.19))
    return heart
