"""Rhythms: the beats of a heart placed in time, and the noise-free ECG that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ecg_siglip.simulation.heart import (
    Array,
    Heart,
    Wave,
    conducted,
    ectopic,
    make_vector,
    shift_waves,
    sum_waves,
)

SPIKE = Wave(0.0, 0.0008, 0.0008, make_vector(0.6, 1.1, 0.9), 0.001)


class Strip:
    """The beats of a rhythm over some seconds, with times in s from the start.

    ``spans`` lists the parts of the beats, (kind, start, end): P, early P, spike, QRS, ST-T, and
    the last two of an ectopic beat.
    """

    def __init__(self, heart: Heart, rng: np.random.Generator, duration: float) -> None:
        self.heart, self.rng, self.duration = heart, rng, duration
        self.waves: list[Wave] = []
        self.phase = rng.uniform(0, 2 * np.pi, 2)
        self.qrs_onsets: list[float] = []
        self.spans: list[tuple[str, float, float]] = []

    def rr(self, time: float) -> float:
        """Draw the sinus interval at a time, s: respiration, Mayer waves at 0.1 Hz, some noise."""
        heart = self.heart
        breath = np.sin(2 * np.pi * heart.respiration / 60 * time + self.phase[0])
        mayer = np.sin(2 * np.pi * 0.1 * time + self.phase[1])
        swing = 1.2 * breath + 0.7 * mayer + 0.3 * self.rng.normal()
        return float(60 / heart.rate * (1 + heart.hrv * swing))

    def add_p(self, time: float, early: bool = False) -> None:
        """Add a P wave; an early one has another direction."""
        waves = self.heart.p
        if early:
            waves = tuple(replace(w, vector=w.vector * make_vector(0.7, -0.5, 1.2)) for w in waves)
        elif self.heart.p_wanders:
            turn = self.rng.normal(1, self.heart.p_wanders, 3)
            waves = tuple(replace(w, vector=w.vector * turn) for w in waves)
        self.waves += shift_waves(waves, time)
        end = max((wave.at + 2.5 * wave.fall for wave in waves), default=0.0)
        self.spans.append(("early P" if early else "P", time, time + end))

    def add_spike(self, time: float) -> None:
        """Add a pacing spike."""
        self.spans.append(("spike", time - 0.01, time + 0.01))
        spike = replace(SPIKE, vector=self.heart.spike * SPIKE.vector)
        self.waves += shift_waves([spike], time)

    def add_qrs(self, time: float, rr: float, is_ectopic: bool = False) -> None:
        """Add a QRS with ST-T after an RR interval, conducted or from a ventricle."""
        beat = ectopic if is_ectopic else conducted
        heart = self.heart
        breath = np.sin(2 * np.pi * heart.respiration / 60 * time + self.phase[0])
        size = 1 + heart.breath * breath
        if heart.beat_variation:
            size = size * self.rng.normal(1, heart.beat_variation, 3)
        waves = beat(heart, rr)
        self.waves += [replace(w, at=w.at + time, vector=w.vector * size) for w in waves]
        self.qrs_onsets.append(time)
        kind = "ectopic " if is_ectopic else ""
        j_point = time + (self.heart.ectopic_qrs if is_ectopic else self.heart.qrs)
        t_wave = waves[-2]  # the last one is U
        t_end = time + t_wave.at + 2.5 * t_wave.fall
        self.spans += [(f"{kind}QRS", time, j_point), (f"{kind}ST-T", j_point, t_end)]


def sinus(strip: Strip) -> None:
    """Add sinus beats, with the AV conduction, premature beats and pacing of the heart."""
    heart, rng = strip.heart, strip.rng
    time = -1.5 + rng.uniform(0, 60 / heart.rate)
    late = strip.duration - 1.5
    random_at = sorted(rng.uniform(0.5, late, heart.n_premature)) if late > 0.5 else []
    count, cycle = 0, int(rng.integers(3, 6))
    while time < strip.duration + 1:
        rr = strip.rr(time)
        pr, dropped = heart.pr, False
        if heart.av == "wenckebach":
            pr += 0.05 * (count % cycle)
            dropped = count % cycle == cycle - 1
        elif heart.av == "mobitz":
            dropped = count % cycle == cycle - 1
        elif heart.av == "2:1":
            dropped = count % 2 == 1
        if "A" in heart.spikes:
            strip.add_spike(time)
        strip.add_p(time)
        count += 1
        if not dropped:
            if "V" in heart.spikes:
                strip.add_spike(time + pr - 0.004)
            strip.add_qrs(time + pr, 60 / heart.rate if heart.av == "1:1" else rr)
        early = bool(random_at) and time >= random_at[0]
        if early:
            random_at = random_at[1:]
        if heart.premature_every:
            early = count % (heart.premature_every - 1) == 0
        if not early or not heart.premature or dropped:
            time += rr
        elif heart.premature == "ventricular":
            # The next sinus impulse finds the ventricle refractory: a fully compensatory pause.
            strip.add_qrs(time + pr + max(rng.normal(0.62, 0.03) * rr, 0.36), 0.8 * rr, True)
            time += 2 * rr
        else:
            coupling = max(rng.normal(0.66, 0.03) * rr, 0.40)
            strip.add_p(time + coupling, early=True)
            strip.add_qrs(time + coupling + pr + 0.01, coupling)
            time += coupling + 1.08 * rr


def fibrillation(strip: Strip) -> None:
    """Add beats at irregular intervals without P; ``atrial_oscillation`` gives the f waves."""
    heart, rng = strip.heart, strip.rng
    time = -1.2
    random_at = sorted(rng.uniform(0.5, max(strip.duration - 1.5, 0.6), heart.n_premature))
    while time < strip.duration + 1:
        rr = max(60 / heart.rate * rng.gamma(heart.regularity, 1 / heart.regularity), 0.30)
        if "V" in heart.spikes:
            rr = 60 / heart.rate
            strip.add_spike(time - 0.004)
        strip.add_qrs(time, (rr + 60 / heart.rate) / 2)
        early = (bool(random_at) and time >= random_at[0]) or heart.premature_every == 2
        if early and heart.premature:
            random_at = random_at[1:]
            strip.add_qrs(time + rng.normal(0.45, 0.02), 0.6, True)
            rr = max(rr, 0.45) + 0.5
        time += rr


def flutter(strip: Strip) -> None:
    """Add a beat at every second to fourth flutter wave; ``atrial_oscillation`` gives the waves."""
    heart, rng = strip.heart, strip.rng
    cycle = 60 / heart.atrial_rate
    usual = int(np.clip(round(heart.atrial_rate / heart.rate), 2, 4))
    time = -1.2
    while time < strip.duration + 1:
        ratio = usual if rng.random() > 0.15 else int(rng.integers(2, 5))
        strip.add_qrs(time, ratio * cycle)
        time += ratio * cycle


def supraventricular(strip: Strip) -> None:
    """Add narrow, regular, fast beats; the P wave is hidden in the QRS."""
    time = -1.0
    while time < strip.duration + 1:
        rr = 60 / strip.heart.rate * (1 + 0.004 * strip.rng.normal())
        strip.add_qrs(time, rr)
        time += rr


def paroxysm(strip: Strip) -> None:
    """Add sinus beats that change abruptly to a supraventricular tachycardia."""
    heart, onset = strip.heart, strip.rng.uniform(0.25, 0.6) * strip.duration
    slow = Strip(replace(heart, rate=80.0), strip.rng, onset - 1.0)
    sinus(slow)
    time = max(slow.qrs_onsets) + 0.42
    strip.waves += slow.waves
    strip.spans += slow.spans
    while time < strip.duration + 1:
        strip.add_qrs(time, 60 / heart.rate)
        time += 60 / heart.rate * (1 + 0.004 * strip.rng.normal())


def wandering(strip: Strip) -> None:
    """Add beats from changing atrial sites at irregular intervals."""
    heart, rng = strip.heart, strip.rng
    time = -1.2
    while time < strip.duration + 1:
        rr = 60 / heart.rate * float(np.clip(rng.normal(1, 0.14), 0.6, 1.5))
        strip.add_p(time, early=rng.random() < 0.4)
        strip.add_qrs(time + heart.pr + rng.normal(0, 0.012), rr)
        time += rr


def dissociated(strip: Strip) -> None:
    """Add P waves and QRS complexes each at their own rate, as in complete AV block."""
    heart, rng = strip.heart, strip.rng
    for rate, add in (
        (heart.atrial_rate, lambda time, rr: strip.add_p(time)),
        (heart.rate, lambda time, rr: strip.add_qrs(time, rr, heart.premature == "escape")),
    ):
        time = -rng.uniform(0.2, 1.4)
        while time < strip.duration + 1:
            rr = 60 / rate * (1 + 0.01 * rng.normal())
            add(time, rr)
            time += rr


def ventricular_pacing(strip: Strip) -> None:
    """Add a spike before each wide QRS at a fixed rate, and independent P waves."""
    heart, rng = strip.heart, strip.rng
    time = -rng.uniform(0.2, 1.0)
    while time < strip.duration + 1:
        strip.add_spike(time - 0.004)
        strip.add_qrs(time, 60 / heart.rate)
        time += 60 / heart.rate
    time = -rng.uniform(0.2, 1.4)
    while time < strip.duration + 1:
        strip.add_p(time)
        time += 60 / heart.atrial_rate


RHYTHMS: dict[str, Callable[[Strip], None]] = {
    "sinus": sinus,
    "fibrillation": fibrillation,
    "flutter": flutter,
    "supraventricular": supraventricular,
    "paroxysm": paroxysm,
    "wandering": wandering,
    "dissociated": dissociated,
    "ventricular pacing": ventricular_pacing,
}


def atrial_oscillation(heart: Heart, times: Array, rng: np.random.Generator) -> Array:
    """Draw the fibrillatory or flutter waves of the atria, (3, n_samples), mV."""
    beat = heart.atrial_rate / 60
    if heart.rhythm == "flutter":
        phase = 2 * np.pi * beat * times + rng.uniform(0, 2 * np.pi)
        # A sawtooth with a slow flank: three harmonics of its Fourier series.
        sawtooth = sum(np.sin(k * phase) / k**1.3 for k in (1, 2, 3))
        return heart.atrial[:, None] * sawtooth
    total = np.zeros((3, times.size))
    for share in (0.55, 0.35, 0.25):
        slow, slower = rng.uniform(0.15, 0.6, 2)
        drift = rng.uniform(0.5, 1.6) * np.sin(2 * np.pi * slow * times + rng.uniform(0, 6.28))
        phase = 2 * np.pi * beat * rng.normal(1, 0.12) * times + drift + rng.uniform(0, 6.28)
        swell = 1 + 0.5 * np.sin(2 * np.pi * slower * times + rng.uniform(0, 6.28))
        turn = heart.atrial * rng.normal(1, 0.3, 3)
        total += turn[:, None] * share * swell * (np.sin(phase) + 0.3 * np.sin(2 * phase))
    return total


def draw_strip(heart: Heart, duration: float, rng: np.random.Generator) -> Strip:
    """Draw the beats of a heart; ``simulate_ecg`` with an equal generator draws the same ones."""
    if heart.rhythm not in RHYTHMS:
        raise ValueError(f"rhythm {heart.rhythm!r}: expected one of {', '.join(RHYTHMS)}")
    strip = Strip(heart, rng, duration)
    RHYTHMS[heart.rhythm](strip)
    return strip


def simulate_ecg(
    heart: Heart, fs: float, duration: float, rng: np.random.Generator
) -> tuple[Array, list[float]]:
    """Simulate the noise-free ECG of a heart.

    Parameters
    ----------
    heart : Heart
    fs : float, Hz
    duration : float, s
    rng : numpy.random.Generator
        Source of the variation in the rhythm.

    Returns
    -------
    independent : ndarray of shape (8, n_samples), mV
        In the order of ``heart.INDEPENDENT``.
    qrs_onsets : list of float, s
        Times of all QRS complexes of the ECG.

    Raises
    ------
    ValueError
        If the heart's rhythm is not one of ``RHYTHMS``.
    """
    strip = draw_strip(heart, duration, rng)
    times = np.arange(round(duration * fs)) / fs
    dipole = sum_waves(strip.waves, times)
    if heart.rhythm in ("fibrillation", "flutter"):
        dipole += atrial_oscillation(heart, times, rng)
    return heart.leads @ dipole, [t for t in sorted(strip.qrs_onsets) if 0 <= t < duration]
