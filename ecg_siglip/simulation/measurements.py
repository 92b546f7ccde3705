"""Measurements on one beat of a heart: QRS peaks, axis and voltages, and changes to reach them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.heart import (
    DOWER,
    Array,
    Heart,
    conducted,
    shift_waves,
    sum_waves,
    twelve_leads,
)


def one_beat(heart: Heart, fs: float = 1000.0) -> Array:
    """Compute one conducted beat at the heart's rate: P, QRS, ST and T.

    Returns
    -------
    ndarray of shape (12, n_samples), mV
        QRS onset is at 0.4 s.
    """
    times = np.arange(round(1.1 * fs)) / fs
    waves = shift_waves(heart.p, 0.4 - heart.pr) + shift_waves(
        conducted(heart, 60 / heart.rate), 0.4
    )
    return twelve_leads(heart.leads @ sum_waves(waves, times))


def qrs_peaks(heart: Heart) -> tuple[Array, Array]:
    """Measure the highest R and the deepest Q or S of each lead, (12,), mV, from the PR segment."""
    beat = qrs_of(heart)
    return beat.max(axis=1), beat.min(axis=1)


def axis_degrees(x: Array) -> float:
    """Measure the axis of a QRS (12, n) by its areas in I and aVF, degrees from -180 to 180."""
    return float(np.degrees(np.arctan2(2 / np.sqrt(3) * x[5].sum(), x[0].sum())))


def rotate(vec: Array, degrees: float) -> Array:
    """Rotate a vector clockwise (towards the feet) in the frontal plane of the limb leads."""
    to_leads = np.array([DOWER[0, :2], 2 / np.sqrt(3) * (DOWER[1, :2] - DOWER[0, :2] / 2)])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.append(np.linalg.solve(to_leads, turn @ to_leads @ vec[:2]), vec[2])


def qrs_of(heart: Heart) -> Array:
    """Compute the QRS of one beat without the other waves, (12, n_samples), mV."""
    return one_beat(replace(heart, p=(), st=0 * heart.st, t=0 * heart.t, u=0 * heart.u))


def turn_axis(heart: Heart, degrees: float) -> None:
    """Rotate the QRS forces but the early ones in the frontal plane to an axis in degrees."""
    for _ in range(6):
        current = axis_degrees(qrs_of(heart))
        change = (degrees - current + 180) % 360 - 180
        for name, force in heart.forces.items():
            if name not in ("septal", "scar", "delta"):
                heart.forces[name] = replace(force, vector=rotate(force.vector, change))


def scale_qrs(heart: Heart, factor: float) -> None:
    """Multiply all QRS forces by a factor."""
    for name, force in heart.forces.items():
        heart.forces[name] = replace(force, vector=factor * force.vector)


def sokolow_lyon(heart: Heart) -> float:
    """Measure S in V1 plus the taller R of V5 and V6, mV (Sokolow & Lyon 1949)."""
    high, low = qrs_peaks(heart)
    return float(-low[6] + max(high[10], high[11]))
