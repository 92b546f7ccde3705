"""Noise and faults of the nine electrodes, as they appear in the twelve leads."""

from __future__ import annotations

import numpy as np

from ecg_siglip.simulation.heart import Array, twelve_leads

FS = 500  # of the simulated signals, Hz
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
# Column of PTB-XL that notes each kind of fault.
NOISE_COLUMNS = {
    "wander": "baseline_drift",
    "mains": "static_noise",
    "muscle": "static_noise",
    "motion": "burst_noise",
    "loose": "electrodes_problems",
}
# Share of records with a noted fault, and its size, mV.
FAULTS = {
    "wander": (0.073, 0.20),
    "mains": (0.075, 0.03),
    "muscle": (0.075, 0.035),
    "motion": (0.028, 0.15),
    "loose": (0.003, 0.5),
}
# Every record has a little of these, mV.
FAINT = {"wander": 0.025, "mains": 0.003, "muscle": 0.007}


def with_faults(
    independent: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """Compute the twelve leads with the noise of their electrodes, and the columns that note it.

    Parameters
    ----------
    independent : ndarray of shape (8, n_samples), mV, 500 Hz
        As returned by ``rhythms.simulate_ecg``.
    rng : numpy.random.Generator

    Returns
    -------
    signal : ndarray of shape (12, n_samples), mV
    columns : dict
    """
    electrodes = at_electrodes(independent)
    columns: dict[str, str] = {}
    for kind, (share, size) in FAULTS.items():
        is_noted = rng.random() < share
        level = np.full(9, FAINT.get(kind, 0.0))
        if is_noted:
            chosen = rng.choice(9, size=int(rng.integers(1, 5)), replace=False)
            level[chosen] += size * rng.uniform(0.6, 1.6)
            names = [ELECTRODES[i] for i in sorted(chosen)]
            columns[NOISE_COLUMNS[kind]] = f" , {','.join(names)}"
        for i in np.flatnonzero(level):
            electrodes[i] += level[i] * draw_noise(kind, electrodes.shape[1], FS, rng)
    return twelve_leads(at_leads(electrodes)), columns


def at_electrodes(independent: Array) -> Array:
    """Compute the potentials of the nine electrodes, from Wilson's terminal, (9, n_samples), mV."""
    one, two = independent[0], independent[1]
    right = -(one + two) / 3
    return np.concatenate([np.stack([right, right + one, right + two]), independent[2:]])


def at_leads(electrodes: Array) -> Array:
    """Compute the eight independent leads from the potentials of the nine electrodes."""
    right, left, foot = electrodes[:3]
    wilson = (right + left + foot) / 3
    return np.concatenate([np.stack([left - right, foot - right]), electrodes[3:] - wilson])


def draw_noise(kind: str, n_samples: int, fs: float, rng: np.random.Generator) -> Array:
    """Draw the noise of one electrode, (n_samples,), with a standard deviation of about 1.

    Parameters
    ----------
    kind : {"wander", "mains", "muscle", "motion", "loose"}
        Skin potentials and respiration below 0.5 Hz; 50 Hz hum; broadband muscle potentials of
        varying amplitude; a decaying movement artefact; a temporary loss of contact.
    """
    times = np.arange(n_samples) / fs
    if kind == "wander":
        total = rng.normal(0, 0.6) * (times / times[-1] - 0.5) * 2
        for hz, weight in ((0.08, 0.7), (0.17, 0.6), (0.27, 0.6), (0.42, 0.3)):
            hz = hz * rng.uniform(0.75, 1.25)
            total = total + weight * np.sin(2 * np.pi * hz * times + rng.uniform(0, 6.28))
        return total
    if kind == "mains":
        phase = 2 * np.pi * 50 * times + rng.uniform(0, 6.28)
        return np.sqrt(2) * (np.sin(phase) + 0.15 * np.sin(3 * phase))
    if kind == "muscle":
        white = rng.normal(size=n_samples)
        white[1:] -= 0.4 * white[:-1]
        envelope = 1 + 0.5 * np.sin(
            2 * np.pi * rng.uniform(0.05, 0.4) * times + rng.uniform(0, 6.28)
        )
        return white * envelope
    centre = rng.uniform(0.1, 0.9) * times[-1]
    if kind == "motion":
        after = np.maximum(times - centre, 0)
        swing = np.sin(2 * np.pi * rng.uniform(1.0, 4.0) * after)
        return 3 * rng.choice([-1, 1]) * swing * np.exp(-after / rng.uniform(0.2, 0.6))
    if kind == "loose":
        lost = np.abs(times - centre) < rng.uniform(0.1, 0.8)
        level = np.where(lost, rng.normal(0, 3), 0.0)
        return level + np.where(lost, rng.normal(size=n_samples), 0.0)
    raise ValueError(f"noise {kind!r}: expected wander, mains, muscle, motion or loose")
