"""A heart as a moving dipole: its parameters, the waves of its beats, and the leads.

Every wave (P, the forces of the QRS, ST, T, U, a pacing spike) is a bell in time times a vector
in space, as in McSharry et al. 2003 (doi:10.1109/TBME.2003.808805) and, in three dimensions,
Sameni et al. 2007 (doi:10.1155/2007/43407). A lead matrix projects the dipole on eight leads,
Einthoven and Goldberger give the other four. Axes are those of the body: x to the left, y to the
feet, z to the back. ``rhythms`` places the beats in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

# Dower, Machado, Osborne 1980, Clin Cardiol 3:87: rows as INDEPENDENT, columns x, y, z.
DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)


def twelve_leads(independent: Array) -> Array:
    """Compute the twelve standard leads from the eight independent ones.

    Parameters
    ----------
    independent : ndarray of shape (8, n_samples), mV
        I, II, V1 to V6.

    Returns
    -------
    ndarray of shape (12, n_samples), mV
        In the order of ``signals.leads.LEADS``.

    Notes
    -----
    Einthoven: III = II - I. Goldberger: aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
    """
    one, two = independent[0], independent[1]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([np.stack(limb), independent[2:]])


@dataclass(frozen=True)
class Wave:
    """A bell in time, possibly flat at the top, times a vector in space.

    Parameters
    ----------
    at : float, s
        Centre, from the onset of its beat.
    rise, fall : float, s
        Standard deviations before and after the top.
    vector : ndarray of shape (3,), mV
        Left, feet, back.
    top : float, s
        Length of the flat top.
    """

    at: float
    rise: float
    fall: float
    vector: Array
    top: float = 0.0


@dataclass(frozen=True)
class Force:
    """One force of the QRS, its time and width as fractions of the QRS duration."""

    at: float
    width: float
    vector: Array


def make_vector(x: float, y: float, z: float) -> Array:
    """Return a dipole, (3,), mV: left, feet, back."""
    return np.array([x, y, z], dtype=float)


def normal_forces() -> dict[str, Force]:
    """Return the forces of a normal QRS: septum (right, forward), apex, free wall, base."""
    return {
        "septal": Force(0.20, 0.080, make_vector(-0.11, 0.02, -0.21)),
        "apical": Force(0.36, 0.095, make_vector(0.36, 0.30, -0.20)),
        "main": Force(0.50, 0.105, make_vector(0.80, 0.62, 0.58)),
        "basal": Force(0.74, 0.100, make_vector(-0.14, -0.08, 0.38)),
    }


@dataclass
class Heart:
    """One heart: the parameters of its rhythm and of its waves.

    Times in s, rates per minute, vectors in mV, ``hrv`` as a fraction of the RR interval.
    ``leads`` is the person's own lead matrix. The ventricular beat is ``forces`` stretched over
    ``qrs``; ``st`` lasts from the J point to the T wave; ``qtc`` is corrected after Fridericia.
    ``breath`` and ``beat_variation`` are relative changes of amplitude with respiration and from
    beat to beat, ``spike`` is that of pacing spikes, ``regularity`` the shape of the gamma
    distribution of RR in fibrillation.
    """

    rhythm: str = "sinus"
    rate: float = 70.0
    hrv: float = 0.02
    respiration: float = 15.0
    breath: float = 0.03
    beat_variation: float = 0.0
    regularity: float = 22.0
    atrial_rate: float = 75.0
    atrial: Array = field(default_factory=lambda: make_vector(-0.02, 0.03, -0.06))
    av: str = "1:1"
    pr: float = 0.16
    p: tuple[Wave, ...] = (
        Wave(0.038, 0.015, 0.017, make_vector(0.030, 0.080, -0.032)),
        Wave(0.072, 0.017, 0.015, make_vector(0.062, 0.055, 0.026)),
    )
    p_wanders: float = 0.0
    qrs: float = 0.090
    forces: dict[str, Force] = field(default_factory=normal_forces)
    st: Array = field(default_factory=lambda: make_vector(0.0, 0.0, -0.03))
    t: Array = field(default_factory=lambda: make_vector(0.25, 0.16, -0.20))
    t_rise: float = 0.055
    t_fall: float = 0.034
    u: Array = field(default_factory=lambda: make_vector(0.010, 0.008, -0.012))
    qtc: float = 0.410
    premature: str = ""
    premature_every: int = 0
    n_premature: int = 0
    ectopic: dict[str, Force] = field(default_factory=normal_forces)
    ectopic_qrs: float = 0.150
    spikes: str = ""
    spike: float = 1.0
    leads: Array = field(default_factory=lambda: DOWER.copy())


def discordant(forces: dict[str, Force], share: float) -> Array:
    """Return a vector opposite to the sum of the QRS forces, as in secondary repolarisation."""
    total = np.sum([force.width * force.vector for force in forces.values()], axis=0)
    return -share * total / 0.1


def ventricle(forces: dict[str, Force], qrs: float) -> list[Wave]:
    """Return the waves of a QRS complex, with times from its onset."""
    return [Wave(f.at * qrs, f.width * qrs, f.width * qrs, f.vector) for f in forces.values()]


def recovery(heart: Heart, rr: float, qrs: float, st: Array, t: Array, u: Array) -> list[Wave]:
    """Return ST, T and U after a QRS, with QT by Fridericia: QT = QTc * RR^(1/3)."""
    qt = heart.qtc * float(np.clip(rr, 0.3, 1.6)) ** (1 / 3)
    short = min(1.0, max(0.45, (qt - qrs) / 0.30))
    rise, fall = heart.t_rise * short, heart.t_fall * short
    peak = qt - 2.2 * fall
    end = max(peak - 1.2 * rise, qrs + 0.02)
    return [
        Wave((qrs + end) / 2, 0.012, 0.5 * rise, st, max(end - qrs - 0.02, 0.0)),
        Wave(peak, rise, fall, t),
        Wave(qt + 0.075 * short, 0.03 * short, 0.035 * short, u),
    ]


def conducted(heart: Heart, rr: float) -> list[Wave]:
    """Return the waves of a beat conducted by the AV node, with times from QRS onset."""
    waves = ventricle(heart.forces, heart.qrs)
    return waves + recovery(heart, rr, heart.qrs, heart.st, heart.t, heart.u)


def ectopic(heart: Heart, rr: float) -> list[Wave]:
    """Return the waves of a ventricular ectopic beat: wide, with ST and T opposite to the QRS."""
    against = discordant(heart.ectopic, 0.30)
    slow = replace(heart, qtc=heart.qtc + 0.6 * (heart.ectopic_qrs - 0.09))
    waves = ventricle(heart.ectopic, heart.ectopic_qrs)
    return waves + recovery(slow, rr, heart.ectopic_qrs, 0.25 * against, against, 0 * against)


def shift_waves(waves: tuple[Wave, ...] | list[Wave], shift: float) -> list[Wave]:
    """Return the waves later by ``shift`` seconds."""
    return [replace(wave, at=wave.at + shift) for wave in waves]


def sum_waves(waves: list[Wave], times: Array) -> Array:
    """Compute the sum of waves at evenly spaced times, (3, n_samples), mV."""
    total = np.zeros((3, times.size))
    start, step = times[0], times[1] - times[0]
    for wave in waves:
        left, right = wave.at - wave.top / 2, wave.at + wave.top / 2
        low = max(int((left - 4.5 * wave.rise - start) / step), 0)
        high = min(int((right + 4.5 * wave.fall - start) / step) + 2, times.size)
        if low >= high:
            continue
        window = times[low:high]
        z = np.minimum(window - left, 0) / wave.rise + np.maximum(window - right, 0) / wave.fall
        total[:, low:high] += wave.vector[:, None] * np.exp(-0.5 * z * z)
    return total
