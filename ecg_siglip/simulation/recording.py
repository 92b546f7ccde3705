"""Recording of ``difficulty=realistic``: electrode positions, noise, exchanged electrodes, filters.

Noise and filters are computed in the frequency domain, for all electrodes at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ecg_siglip.simulation.electrode_noise import (
    ELECTRODES,
    FS,
    NOISE_COLUMNS,
    at_electrodes,
    at_leads,
    draw_noise,
)
from ecg_siglip.simulation.heart import Array, twelve_leads

Rng = np.random.Generator
# Median over records of the standard deviation of each noise at an electrode, mV, and the standard
# deviations of its logarithm between records and between the electrodes of a record.
WANDER = (0.03, 0.9, 0.5)  # most of it below 0.5 Hz
SKIN = (0.005, 0.5, 0.4)  # 0.5 to 20 Hz
MUSCLE = (0.0045, 0.6, 0.5)  # 20 to 150 Hz
NOTED = {"wander": 0.12, "muscle": 0.03}  # mV; more than this is noted in the metadata
# Further faults, with the share of records that have them, and their median size, mV.
MAINS = (0.3, 0.006)
MOTION = (0.08, 0.08)
BURST = (0.08, 0.04)
STEP = (0.03, 0.15)
LOOSE = (0.006, 0.4)
EXCHANGED = 0.015
# Corner frequencies of the devices, Hz, with their shares.
HIGH_PASS = ((0.05, 0.15, 0.32, 0.5), (0.55, 0.2, 0.15, 0.1))
LOW_PASS = ((35.0, 40.0, 75.0, 100.0, 150.0), (0.08, 0.07, 0.1, 0.3, 0.45))
NOTCH = 0.3
# Amplitudes of V1 to V6 in PTB-XL, in proportion to those of Dower's leads.
CHEST = np.array([0.88, 1.05, 1.1, 1.0, 0.95, 0.95])


def displaced_leads(leads: Array, rng: Rng) -> Array:
    """Return a lead matrix (8, 3) for another position of the heart and of the chest electrodes.

    Notes
    -----
    Rotations of the heart: about the long axis of the body 15 degrees (standard deviation), about
    the others 5. Chest electrodes: along the chest by a third of the distance between two of them,
    up and down, and a further 12 % in amplitude for the thickness of the chest wall.
    """
    yaw, pitch, roll = np.radians(rng.normal(0, [15, 6, 4]))
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    place = np.clip(0.95 * np.arange(6) - 0.15 + rng.normal(0, 0.25) + rng.normal(0, 0.22, 6), 0, 5)
    chest = np.stack([np.interp(place, np.arange(6), column) for column in leads[2:].T], axis=1)
    length = np.linalg.norm(chest, axis=1)
    chest[:, 1] += length * (rng.normal(0, 0.14) + rng.normal(0, 0.07, 6))
    chest *= CHEST[:, None] * rng.lognormal(rng.normal(0, 0.12), 0.12, (6, 1))
    limbs = leads[:2] * rng.lognormal(0, 0.1)
    return (
        np.concatenate([limbs, chest]) @ np.array(about_y) @ np.array(about_x) @ np.array(about_z)
    )


def record(independent: Array, rng: Rng) -> tuple[Array, dict[str, str]]:
    """Compute the twelve leads as a device records them, and the columns that note their faults.

    Parameters
    ----------
    independent, rng
        As of ``electrode_noise.with_faults``.

    Returns
    -------
    signal, columns
        As of ``electrode_noise.with_faults``.
    """
    electrodes = at_electrodes(independent)
    if rng.random() < EXCHANGED:
        exchange(electrodes, rng)
    n_samples = electrodes.shape[1]
    hz = np.arange(n_samples // 2 + 1) * FS / n_samples
    noise, columns = noise_spectrum(hz, rng)
    add_faults(electrodes, columns, rng)
    response = device_response(hz, rng) * rng.lognormal(0, 0.06)
    spectrum = np.fft.rfft(at_leads(electrodes)) + at_leads(noise)
    return twelve_leads(np.fft.irfft(spectrum * response, n_samples)), columns


def exchange(electrodes: Array, rng: Rng) -> None:
    """Exchange the electrodes of both arms, or two neighbouring ones of the chest, in place."""
    first = 0 if rng.random() < 0.4 else int(rng.integers(3, 8))
    electrodes[[first, first + 1]] = electrodes[[first + 1, first]]


def noise_spectrum(hz: Array, rng: Rng) -> tuple[Array, dict[str, str]]:
    """Draw the spectrum of the noise of the nine electrodes, (9, n_frequencies), complex, mV."""
    n_samples = 2 * (len(hz) - 1)
    shapes = {
        "wander": (WANDER, (hz > 0) / (1 + (hz / rng.uniform(0.15, 0.45)) ** 2)),
        "skin": (SKIN, (hz > 0) / (1 + (hz / 2) ** 1.2)),
        "muscle": (MUSCLE, (hz / 20) / np.sqrt(1 + (hz / 20) ** 2) / (1 + (hz / 110) ** 2)),
    }
    amplitude = np.zeros((9, len(hz)))
    columns: dict[str, str] = {}
    for name, ((median, between, within), shape) in shapes.items():
        level = median * rng.lognormal(0, between) * rng.lognormal(0, within, (9, 1))
        # Of a real signal: the sum over frequencies is half of n_samples**2 times the variance.
        amplitude = np.hypot(amplitude, level * n_samples * shape / np.sqrt(2 * (shape**2).sum()))
        if name in NOTED and (strong := level[:, 0] > NOTED[name]).any():
            columns[NOISE_COLUMNS[name]] = noted(np.flatnonzero(strong))
    normal = rng.standard_normal((9, len(hz), 2), dtype=np.float32)
    return amplitude * (normal[..., 0] + 1j * normal[..., 1]) / np.sqrt(2), columns


def noted(electrodes: Iterable[int]) -> str:
    """Return the numbers of electrodes as PTB-XL notes them."""
    return f" , {','.join(ELECTRODES[i] for i in electrodes)}"


def add_faults(electrodes: Array, columns: dict[str, str], rng: Rng) -> None:
    """Add mains, motion, bursts of muscle potentials, steps and lost contacts, in place."""
    n_samples = electrodes.shape[1]
    times = np.arange(n_samples) / FS
    if rng.random() < MAINS[0]:
        wave = np.exp(2j * np.pi * rng.choice([50, 50, 50, 60]) * times)
        hum = MAINS[1] * rng.lognormal(0, 0.9) * rng.lognormal(0, 0.7, 9)
        phase = np.exp(1j * rng.normal(rng.uniform(0, 6.28), 0.7, 9))
        electrodes += np.sqrt(2) * np.real((hum * phase)[:, None] * wave)
    for kind, (share, size) in {"motion": MOTION, "loose": LOOSE}.items():
        if rng.random() < share:
            chosen = rng.choice(9, int(rng.integers(1, 4)), replace=False)
            for i in chosen:
                level = size * rng.lognormal(0, 0.5)
                electrodes[i] += level * draw_noise(kind, n_samples, FS, rng)
            columns[NOISE_COLUMNS[kind]] = noted(np.sort(chosen))
    if rng.random() < BURST[0]:
        centre, length = rng.uniform(0, times[-1]), rng.uniform(0.2, 2.0)
        envelope = np.exp(-0.5 * ((times - centre) / length) ** 2)
        levels = BURST[1] * rng.lognormal(0, 0.5) * rng.lognormal(0, 1.0, (9, 1))
        electrodes += levels * envelope * rng.standard_normal((9, n_samples), dtype=np.float32)
        columns[NOISE_COLUMNS["motion"]] = noted(np.flatnonzero(levels[:, 0] > BURST[1]))
    if rng.random() < STEP[0]:
        i, start = int(rng.integers(9)), rng.uniform(0.05, 0.95) * times[-1]
        height = STEP[1] * rng.lognormal(0, 0.7) * rng.choice([-1, 1])
        electrodes[i] += height * (times > start)


def device_response(hz: Array, rng: Rng) -> Array:
    """Draw the frequency response of a device, (n_frequencies,), complex.

    Notes
    -----
    High-pass: one pole, with its shift of phase, which tilts ST as in old devices. Low-pass:
    second to fourth order, without a shift of phase. Some devices suppress mains.
    """
    corner = float(rng.choice(HIGH_PASS[0], p=HIGH_PASS[1]))
    response = 1j * hz / (1j * hz + corner)
    corner = float(rng.choice(LOW_PASS[0], p=LOW_PASS[1])) * rng.lognormal(0, 0.05)
    response = response / np.sqrt(1 + (hz / corner) ** (2 * int(rng.integers(2, 5))))
    if rng.random() < NOTCH:
        response = response * (1 - np.exp(-0.5 * (hz - 50) ** 2))
    return response
