"""Rules of scars, chambers, ST-T and voltages: what these findings change in a heart.

The sources are listed in ``finding_rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.heart import Array, Force, Heart, Wave, discordant, make_vector
from ecg_siglip.simulation.measurements import qrs_peaks, scale_qrs, sokolow_lyon, turn_axis

Rng = np.random.Generator
Rule = Callable[[Heart, Rng], None]

# Directions of the walls in the names of the findings: left, feet, back.
WALLS = {
    "inferior": make_vector(0.0, 1.0, 0.0),
    "anteroseptal": make_vector(-0.35, 0.0, -0.94),
    "anterior": make_vector(0.45, 0.05, -0.89),
    "anterolateral": make_vector(0.80, -0.10, -0.60),
    "lateral": make_vector(0.98, -0.20, 0.05),
    "inferolateral": make_vector(0.62, 0.78, 0.05),
    "posterior": make_vector(0.10, 0.05, 0.99),
}


def infarction(*walls: str) -> Rule:
    """Make a rule for Q >= 0.03 s over walls, loss of their forces, often negative T (UDMI4)."""
    directions = [WALLS[wall] for wall in walls]

    def rule(heart: Heart, rng: Rng) -> None:
        for wall in directions:
            for name, force in heart.forces.items():
                remaining = rng.uniform(0.25, 0.55)
                along = max(float(force.vector @ wall), 0.0)
                lost = (1 - remaining) * along * wall
                heart.forces[name] = replace(force, vector=force.vector - lost)
        away = -np.sum(directions, axis=0)
        away = away / np.linalg.norm(away)
        heart.forces["scar"] = Force(0.24, 0.105, rng.uniform(0.40, 0.70) * away)
        if rng.random() < 0.6:
            point_t_away(heart, -away, rng.uniform(0.05, 0.22))

    return rule


def point_t_away(heart: Heart, wall: Array, size: float) -> None:
    """Set the component of T in the direction of a wall to a negative size, mV."""
    heart.t = heart.t - (float(heart.t @ wall) + size) * wall


def injury(wall: str) -> Rule:
    """Make a rule for ST depression >= 0.1 mV over a wall (subendocardial, AHA-VI)."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.st = heart.st - rng.uniform(0.16, 0.28) * WALLS[wall]
        point_t_away(heart, WALLS[wall], rng.uniform(0.0, 0.1))

    return rule


def ischaemia(wall: str) -> Rule:
    """Make a rule for a negative T over a wall, with or without ST depression (AHA-IV)."""

    def rule(heart: Heart, rng: Rng) -> None:
        point_t_away(heart, WALLS[wall], rng.uniform(0.24, 0.42))
        heart.st = heart.st - rng.uniform(0.02, 0.10) * WALLS[wall]

    return rule


def aneurysm(heart: Heart, rng: Rng) -> None:
    """Add persistent ST elevation over an anterior scar."""
    infarction("anterior")(heart, rng)
    heart.st = heart.st + rng.uniform(0.15, 0.3) * WALLS["anterior"]


def q_waves(heart: Heart, rng: Rng) -> None:
    """Add Q >= 0.03 s in two neighbouring leads (Minnesota 1-2)."""
    wall = WALLS[str(rng.choice(["inferior", "lateral", "anteroseptal"]))]
    heart.forces["scar"] = Force(0.20, 0.095, -rng.uniform(0.35, 0.55) * wall)


def abnormal_qrs(heart: Heart, rng: Rng) -> None:
    """Notch or slur the QRS, or let R waves not grow from V1 to V4."""
    if rng.random() < 0.5:
        notch = rng.normal(0, 1, 3)
        notch = 0.38 * notch / np.linalg.norm(notch)
        heart.forces["notch"] = Force(0.44, 0.045, notch)
        heart.forces["notch again"] = Force(0.60, 0.045, -notch)
    else:
        for name in {"septal", "apical"} & set(heart.forces):
            force = heart.forces[name]
            heart.forces[name] = replace(force, vector=force.vector * [1.0, 1.0, -0.5])


def left_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Set Sokolow-Lyon >= 3.5 mV, often with strain: ST-T opposite to the QRS (AHA-V)."""
    left_voltage(heart, rng)
    if rng.random() < 0.6:
        heart.st = heart.st + discordant(heart.forces, 0.025)
        heart.t = heart.t * 0.3 + discordant(heart.forces, 0.10)


def left_voltage(heart: Heart, rng: Rng) -> None:
    """Set the voltage criterion alone: S in V1 + R in V5 or V6 >= 3.5 mV."""
    target = rng.uniform(3.8, 5.2)
    main = heart.forces["main"]
    heart.forces["main"] = replace(main, vector=main.vector + make_vector(0.15, 0.0, 0.25))
    scale_qrs(heart, target / max(sokolow_lyon(heart), 0.5))


def septal_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Set a deep narrow q in the lateral and inferior leads, a tall R in V1 and V2."""
    size = rng.uniform(0.45, 0.7)
    heart.forces["septal"] = Force(0.20, 0.07, size * make_vector(-0.7, -0.45, -0.75))


def right_hypertrophy(heart: Heart, rng: Rng) -> None:
    """Set an axis above 90 degrees, R larger than S in V1, negative T there (AHA-V)."""
    for name in {"apical", "main", "basal"} & set(heart.forces):
        force = heart.forces[name]
        heart.forces[name] = replace(force, vector=force.vector * [0.6, 1.0, 0.35])
    heart.forces["right"] = Force(
        0.58, 0.12, rng.uniform(0.7, 1.1) * make_vector(-0.55, 0.2, -0.85)
    )
    turn_axis(heart, float(rng.uniform(98, 135)))
    point_t_away(heart, make_vector(-0.4, 0.1, -0.9), rng.uniform(0.05, 0.2))


def left_atrium(heart: Heart, rng: Rng) -> None:
    """Set a notched P >= 0.12 s with a negative end in V1 (AHA-V)."""
    size = rng.uniform(1.0, 1.5)
    heart.p = (
        Wave(0.040, 0.016, 0.017, make_vector(0.035, 0.080, -0.030)),
        Wave(0.102, 0.019, 0.018, size * make_vector(0.085, 0.055, 0.105)),
    )
    heart.pr = max(heart.pr, 0.17)


def right_atrium(heart: Heart, rng: Rng) -> None:
    """Set a peaked P above 0.25 mV in II, III, aVF (AHA-V)."""
    size = rng.uniform(1.0, 1.3)
    heart.p = (
        Wave(0.048, 0.017, 0.017, size * make_vector(0.04, 0.26, -0.09)),
        Wave(0.075, 0.014, 0.013, make_vector(0.04, 0.05, 0.02)),
    )


def scaled_t(low: float, high: float) -> Rule:
    """Make a rule that multiplies T by a factor between two limits."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.t = heart.t * rng.uniform(low, high)

    return rule


def abnormal_t(heart: Heart, rng: Rng) -> None:
    """Set broad T waves of another direction."""
    heart.t = heart.t * 0.6 + rng.normal(0, 0.10, 3)
    heart.t_rise, heart.t_fall = heart.t_rise * 1.5, heart.t_fall * 1.5


def st_shift(low: float, high: float) -> Rule:
    """Make a rule for ST elevation (positive) or depression in the anterolateral leads, mV."""

    def rule(heart: Heart, rng: Rng) -> None:
        wall = WALLS["anterolateral"] + 0.4 * WALLS["inferior"]
        heart.st = heart.st + rng.uniform(low, high) * wall

    return rule


def digitalis(heart: Heart, rng: Rng) -> None:
    """Set a sagging ST opposite to the QRS, a flat T, a short QT (AHA-IV)."""
    heart.st = heart.st + discordant(heart.forces, 0.045)
    heart.t, heart.qtc = heart.t * 0.25, float(rng.uniform(0.34, 0.37))


def long_qt(heart: Heart, rng: Rng) -> None:
    """Set QTc >= 0.46 s in women, >= 0.45 s in men (AHA-IV)."""
    heart.qtc = float(rng.uniform(0.485, 0.56))
    heart.t_rise = heart.t_rise * 1.2


def electrolytes(heart: Heart, rng: Rng) -> None:
    """Set a tall narrow T (high potassium) or a flat T and a large U (low potassium) (AHA-IV)."""
    if rng.random() < 0.5:
        heart.t = heart.t * rng.uniform(2.2, 3.2)
        heart.t_rise, heart.t_fall = heart.t_rise * 0.6, heart.t_fall * 0.7
    else:
        heart.t = heart.t * rng.uniform(0.1, 0.3)
        heart.u = heart.u * rng.uniform(9, 14)


def low_voltage(heart: Heart, rng: Rng) -> None:
    """Set every limb lead below 0.5 mV from peak to peak (Minnesota 9-1)."""
    scale_qrs(heart, 0.75)
    high, low = qrs_peaks(heart)
    factor = rng.uniform(0.28, 0.42) / float((high - low)[:6].max())
    shrink = make_vector(min(factor, 1.0), min(factor, 1.0), 0.7)
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, vector=force.vector * shrink)
    # Lateral and posterior forces also add up in the limb leads: measure again.
    high, low = qrs_peaks(heart)
    scale_qrs(heart, min(1.0, 0.44 / float((high - low)[:6].max())))


def high_voltage(heart: Heart, rng: Rng) -> None:
    """Set a QRS above 3.5 mV from peak to peak in some lead."""
    high, low = qrs_peaks(heart)
    scale_qrs(heart, max(1.0, rng.uniform(3.8, 5.0) / float((high - low).max())))
