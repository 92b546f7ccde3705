"""Rules of rhythm and conduction: what these findings change in a heart.

The sources are listed in ``finding_rules``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.heart import Force, Heart, discordant, make_vector
from ecg_siglip.simulation.measurements import turn_axis
from ecg_siglip.simulation.waveform_rules import Rng, Rule


def rate_between(low: float, high: float) -> Rule:
    """Make a rule for sinus rhythm at a rate between two limits, per minute."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.rhythm, heart.rate = "sinus", float(rng.uniform(low, high))

    return rule


def sinus_rhythm(heart: Heart, rng: Rng) -> None:
    """Set a rate of 60 to 98/min."""
    heart.rate = float(np.clip(rng.normal(72, 10), 60, 98))


def sinus_arrhythmia(heart: Heart, rng: Rng) -> None:
    """Let the intervals vary by more than 0.12 s with respiration."""
    heart.rate = float(np.clip(rng.normal(68, 9), 52, 90))
    heart.hrv, heart.respiration = float(rng.uniform(0.11, 0.16)), float(rng.uniform(11, 16))


def atrial_fibrillation(heart: Heart, rng: Rng) -> None:
    """Replace the P waves by f waves, at irregular intervals (ESC-SVT)."""
    heart.rhythm, heart.p = "fibrillation", ()
    heart.rate = float(np.clip(rng.normal(88, 20), 50, 150))
    heart.atrial_rate = float(rng.uniform(350, 500))
    heart.atrial = make_vector(-0.02, 0.03, -0.06) * rng.uniform(0.4, 1.5)


def atrial_flutter(heart: Heart, rng: Rng) -> None:
    """Replace P by a sawtooth of 250-330/min, negative in II, III, aVF; conduct each 2nd to 4th."""
    heart.rhythm, heart.p = "flutter", ()
    heart.atrial_rate = float(rng.uniform(250, 330))
    heart.rate = heart.atrial_rate / int(rng.choice([2, 3, 4]))
    heart.atrial = make_vector(0.01, -0.10, -0.04) * rng.uniform(0.8, 1.5)


def supraventricular_tachycardia(heart: Heart, rng: Rng) -> None:
    """Set a regular rate of 140 to 210/min without P waves."""
    heart.rhythm, heart.rate, heart.p = "supraventricular", float(rng.uniform(140, 210)), ()


def paroxysmal_tachycardia(heart: Heart, rng: Rng) -> None:
    """Set a rate of 140 to 200/min for the paroxysm."""
    heart.rhythm, heart.rate = "paroxysm", float(rng.uniform(140, 200))


def supraventricular_arrhythmia(heart: Heart, rng: Rng) -> None:
    """Let the atrial site change, at 65 to 105/min."""
    heart.rhythm, heart.rate = "wandering", float(rng.uniform(65, 105))


def pacemaker(heart: Heart, rng: Rng) -> None:
    """Add a spike before a wide QRS as in left bundle branch block, with a superior axis."""
    heart.rhythm, heart.rate, heart.spikes = "ventricular pacing", float(rng.uniform(60, 75)), "V"
    left_bundle_branch_block(heart, rng)
    heart.qrs = float(rng.uniform(0.145, 0.18))
    turn_axis(heart, float(rng.uniform(-85, -60)))
    heart.st, heart.t = discordant(heart.forces, 0.08), discordant(heart.forces, 0.30)


def premature(kind: str, every: int = 0) -> Rule:
    """Make a rule for some premature complexes, or for one in every second or third beat."""

    def rule(heart: Heart, rng: Rng) -> None:
        heart.premature = kind or str(rng.choice(["ventricular", "atrial"]))
        heart.premature_every = every
        heart.n_premature = int(rng.integers(1, 4))
        direction = make_vector(
            *rng.choice([[-1.0, 1.0, -0.8], [1.0, -0.6, -0.6], [1.0, 1.0, 0.8]])
        )
        size = rng.uniform(0.9, 1.5)
        heart.ectopic = {
            "main": Force(0.42, 0.17, size * direction),
            "late": Force(0.68, 0.16, 0.7 * size * rng.normal(1, 0.3, 3) * direction),
        }
        heart.ectopic_qrs = float(rng.uniform(0.13, 0.17))

    return rule


def first_degree_block(heart: Heart, rng: Rng) -> None:
    """Set a constant PR above 0.20 s."""
    heart.pr = float(rng.uniform(0.215, 0.30))


def second_degree_block(heart: Heart, rng: Rng) -> None:
    """Block some beats: Wenckebach, Mobitz II or 2:1."""
    heart.av = str(rng.choice(["wenckebach", "mobitz", "2:1"]))
    heart.rate = max(heart.rate, 75.0)


def third_degree_block(heart: Heart, rng: Rng) -> None:
    """Set separate rates of P waves and QRS complexes, with a slow escape rhythm."""
    heart.rhythm, heart.rate = "dissociated", float(rng.uniform(30, 45))
    heart.atrial_rate = float(rng.uniform(70, 100))


def left_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """Set QRS >= 0.12 s, broad notched R in I and V6 without q, discordant ST-T (AHA-III)."""
    heart.qrs = float(rng.uniform(0.128, 0.165))
    size = rng.uniform(0.9, 1.35)
    heart.forces = {
        "septal": Force(0.22, 0.12, size * make_vector(0.35, 0.12, 0.30)),
        "main": Force(0.48, 0.14, size * make_vector(0.75, 0.15, 0.75)),
        "basal": Force(0.72, 0.11, size * make_vector(0.70, -0.05, 0.50)),
    }
    heart.st, heart.t = discordant(heart.forces, 0.06), discordant(heart.forces, 0.26)


def incomplete_left_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """Set a QRS of 0.11 to 0.119 s without q in I, V5, V6 (AHA-III)."""
    heart.qrs = float(rng.uniform(0.110, 0.119))
    septal = heart.forces["septal"]
    heart.forces["septal"] = replace(septal, vector=make_vector(0.20, 0.05, 0.10))
    heart.t = heart.t * 0.4


def late_right_force(heart: Heart, size: float) -> None:
    """Add a late force of the right ventricle, to the right and forward."""
    heart.forces["terminal"] = Force(0.80, 0.095, size * make_vector(-0.62, -0.02, -0.62))


def right_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """Set QRS >= 0.12 s, rsR' in V1, broad S in I and V6, negative T in V1 (AHA-III)."""
    qrs_before = heart.qrs
    heart.qrs = float(rng.uniform(0.125, 0.155))
    for name, force in heart.forces.items():
        # The left ventricle is activated as before; only the late force is new.
        share = 0.9 * qrs_before / heart.qrs
        heart.forces[name] = replace(force, at=force.at * share, width=force.width * share)
    late_right_force(heart, float(rng.uniform(0.9, 1.5)))
    heart.t = heart.t + make_vector(0.08, 0.0, 0.28)


def incomplete_right_bundle_branch_block(heart: Heart, rng: Rng) -> None:
    """Set rSr' in V1 with a QRS of 0.11 to 0.119 s (AHA-III)."""
    heart.qrs = float(rng.uniform(0.108, 0.119))
    late_right_force(heart, float(rng.uniform(0.42, 0.75)))


def intraventricular_delay(heart: Heart, rng: Rng) -> None:
    """Set a QRS above 0.11 s without the pattern of either bundle (AHA-III)."""
    heart.qrs = float(rng.uniform(0.118, 0.145))
    slur = rng.normal(0, 0.35, 3)
    heart.forces["slur"] = Force(0.66, 0.10, slur * [1.0, 1.0, 0.8])


def left_anterior_block(heart: Heart, rng: Rng) -> None:
    """Set an axis of -45 to -90 degrees, qR in aVL, rS in II, III, aVF (AHA-III)."""
    heart.forces["septal"] = Force(0.20, 0.080, make_vector(-0.14, 0.24, -0.21))
    heart.qrs = min(heart.qrs + 0.012, max(heart.qrs, 0.115))
    turn_axis(heart, float(rng.uniform(-72, -48)))


def left_posterior_block(heart: Heart, rng: Rng) -> None:
    """Set an axis of 90 to 180 degrees, rS in I and aVL, qR in III and aVF (AHA-III)."""
    heart.forces["septal"] = Force(0.20, 0.080, make_vector(0.18, -0.18, -0.20))
    turn_axis(heart, float(rng.uniform(98, 125)))


def preexcitation(heart: Heart, rng: Rng) -> None:
    """Set PR < 0.12 s, a delta wave, QRS >= 0.11 s, ST-T opposite to the wave (AHA-III)."""
    heart.pr, heart.qrs = float(rng.uniform(0.085, 0.112)), float(rng.uniform(0.138, 0.165))
    pathway = make_vector(*rng.choice([[0.5, 0.45, -0.5], [0.55, -0.35, -0.3], [-0.2, 0.6, -0.5]]))
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, at=0.34 + 0.62 * force.at, width=0.66 * force.width)
    heart.forces["delta"] = Force(0.28, 0.115, 0.85 * pathway)
    heart.t = heart.t * 0.5 - 0.35 * pathway
