"""A heart as a moving dipole: parameters of rhythm and waves in, twelve leads in mV out.

Every wave (P, the forces of the QRS, ST, T, U, a pacing spike) is a bell in time times a vector
in space, as in McSharry et al. 2003 (doi:10.1109/TBME.2003.808805) and, in three dimensions,
Sameni et al. 2007 (doi:10.1155/2007/43407). A rhythm lays beats out in time, a lead matrix
projects the dipole on eight leads, Einthoven and Goldberger give the other four. Axes are those
of the body: x to the left, y to the feet, z to the back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

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
    """The twelve standard leads from the eight independent ones.

    Parameters
    ----------
    independent : ndarray of shape (8, n_samples), mV
        I, II, V1 to V6.

    Returns
    -------
    ndarray of shape (12, n_samples), mV
        In the order of ``LEADS``.

    Notes
    -----
    Einthoven: III = II - I. Goldberger: aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
    """
    one, two = independent[0], independent[1]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([np.stack(limb), independent[2:]])


@dataclass(frozen=True)
class Wave:
    """A bell in time, flat at the top if wanted, times a vector in space.

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
    """One of the forces that make up the QRS, its time and width as shares of the QRS duration."""

    at: float
    width: float
    vector: Array


def make_vector(x: float, y: float, z: float) -> Array:
    """A dipole in mV: left, feet, back."""
    return np.array([x, y, z], dtype=float)


def normal_forces() -> dict[str, Force]:
    """Septum (right, forward), apex, free wall (left, down, back), base (back, up)."""
    return {
        "septal": Force(0.20, 0.080, make_vector(-0.11, 0.02, -0.21)),
        "apical": Force(0.36, 0.095, make_vector(0.36, 0.30, -0.20)),
        "main": Force(0.50, 0.105, make_vector(0.80, 0.62, 0.58)),
        "basal": Force(0.74, 0.100, make_vector(-0.14, -0.08, 0.38)),
    }


@dataclass
class Heart:
    """One heart at one time: what its rhythm does and what each of its waves looks like.

    Times in s, rates per minute, vectors in mV, ``hrv`` in shares of the RR interval. ``leads``
    is the person's own lead matrix. The ventricular beat is ``forces`` stretched over ``qrs``;
    ``st`` holds from the J point to the T wave; ``qtc`` is corrected after Fridericia.
    """

    rhythm: str = "sinus"
    rate: float = 70.0
    hrv: float = 0.02
    respiration: float = 15.0
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
    leads: Array = field(default_factory=lambda: DOWER.copy())


def discordant(forces: dict[str, Force], share: float) -> Array:
    """A vector against the sum of the QRS forces, as secondary repolarisation points."""
    total = np.sum([force.width * force.vector for force in forces.values()], axis=0)
    return -share * total / 0.1


def ventricle(forces: dict[str, Force], qrs: float) -> list[Wave]:
    """The waves of a QRS complex, from its onset."""
    return [Wave(f.at * qrs, f.width * qrs, f.width * qrs, f.vector) for f in forces.values()]


def recovery(heart: Heart, rr: float, qrs: float, st: Array, t: Array, u: Array) -> list[Wave]:
    """ST, T and U after a QRS, with QT by Fridericia: QT = QTc * RR^(1/3)."""
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
    """A ventricular beat that came through the AV node, from QRS onset."""
    waves = ventricle(heart.forces, heart.qrs)
    return waves + recovery(heart, rr, heart.qrs, heart.st, heart.t, heart.u)


def ectopic(heart: Heart, rr: float) -> list[Wave]:
    """A beat born in a ventricle: wide, ST and T against the QRS, from QRS onset."""
    against = discordant(heart.ectopic, 0.30)
    slow = replace(heart, qtc=heart.qtc + 0.6 * (heart.ectopic_qrs - 0.09))
    waves = ventricle(heart.ectopic, heart.ectopic_qrs)
    return waves + recovery(slow, rr, heart.ectopic_qrs, 0.25 * against, against, 0 * against)


def shift_waves(waves: tuple[Wave, ...] | list[Wave], shift: float) -> list[Wave]:
    """The same waves, later by ``shift`` seconds."""
    return [replace(wave, at=wave.at + shift) for wave in waves]


SPIKE = Wave(0.0, 0.0008, 0.0008, make_vector(0.6, 1.1, 0.9), 0.001)


class Strip:
    """A strip of paper that a rhythm writes its beats on, in seconds from the start.

    ``spans`` says what stands where, (what, from, to): P, early P, spike, QRS, ST-T, and the last
    two of an ectopic beat.
    """

    def __init__(self, heart: Heart, rng: np.random.Generator, duration: float) -> None:
        self.heart, self.rng, self.duration = heart, rng, duration
        self.waves: list[Wave] = []
        self.phase = rng.uniform(0, 2 * np.pi, 2)
        self.qrs_onsets: list[float] = []
        self.spans: list[tuple[str, float, float]] = []

    def rr(self, time: float) -> float:
        """The sinus interval at a time: respiration, Mayer waves at 0.1 Hz, a little noise."""
        heart = self.heart
        breath = np.sin(2 * np.pi * heart.respiration / 60 * time + self.phase[0])
        mayer = np.sin(2 * np.pi * 0.1 * time + self.phase[1])
        swing = 1.2 * breath + 0.7 * mayer + 0.3 * self.rng.normal()
        return float(60 / heart.rate * (1 + heart.hrv * swing))

    def add_p(self, time: float, early: bool = False) -> None:
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
        self.spans.append(("spike", time - 0.01, time + 0.01))
        self.waves += shift_waves([SPIKE], time)

    def add_qrs(self, time: float, rr: float, born_in_ventricle: bool = False) -> None:
        beat = ectopic if born_in_ventricle else conducted
        breath = 1 + 0.03 * np.sin(2 * np.pi * self.heart.respiration / 60 * time + self.phase[0])
        waves = beat(self.heart, rr)
        self.waves += [replace(w, at=w.at + time, vector=w.vector * breath) for w in waves]
        self.qrs_onsets.append(time)
        kind = "ectopic " if born_in_ventricle else ""
        j_point = time + (self.heart.ectopic_qrs if born_in_ventricle else self.heart.qrs)
        t_wave = waves[-2]  # behind it, U
        t_end = time + t_wave.at + 2.5 * t_wave.fall
        self.spans += [(f"{kind}QRS", time, j_point), (f"{kind}ST-T", j_point, t_end)]


def sinus(strip: Strip) -> None:
    """P before each QRS; AV conduction, premature beats and pacing as the heart says."""
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
            # The sinus node fires on, its next impulse finds the ventricle refractory: full pause.
            strip.add_qrs(time + pr + max(rng.normal(0.62, 0.03) * rr, 0.36), 0.8 * rr, True)
            time += 2 * rr
        else:
            coupling = max(rng.normal(0.66, 0.03) * rr, 0.40)
            strip.add_p(time + coupling, early=True)
            strip.add_qrs(time + coupling + pr + 0.01, coupling)
            time += coupling + 1.08 * rr


def fibrillation(strip: Strip) -> None:
    """No P, f waves of 350 to 600/min that wax and wane, RR intervals without any order."""
    heart, rng = strip.heart, strip.rng
    time = -1.2
    random_at = sorted(rng.uniform(0.5, max(strip.duration - 1.5, 0.6), heart.n_premature))
    while time < strip.duration + 1:
        rr = max(60 / heart.rate * rng.gamma(22, 1 / 22), 0.30)
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
    """Every second to fourth flutter wave is conducted; the waves are laid by ``oscillation``."""
    heart, rng = strip.heart, strip.rng
    cycle = 60 / heart.atrial_rate
    usual = int(np.clip(round(heart.atrial_rate / heart.rate), 2, 4))
    time = -1.2
    while time < strip.duration + 1:
        ratio = usual if rng.random() > 0.15 else int(rng.integers(2, 5))
        strip.add_qrs(time, ratio * cycle)
        time += ratio * cycle


def supraventricular(strip: Strip) -> None:
    """Narrow, regular, fast; the P wave hides in the QRS."""
    time = -1.0
    while time < strip.duration + 1:
        rr = 60 / strip.heart.rate * (1 + 0.004 * strip.rng.normal())
        strip.add_qrs(time, rr)
        time += rr


def paroxysm(strip: Strip) -> None:
    """Sinus rhythm that breaks off into a supraventricular tachycardia."""
    heart, begins = strip.heart, strip.rng.uniform(0.25, 0.6) * strip.duration
    slow = Strip(replace(heart, rate=80.0), strip.rng, begins - 1.0)
    sinus(slow)
    cut = max(slow.qrs_onsets) + 0.42
    strip.waves += slow.waves
    strip.spans += slow.spans
    while cut < strip.duration + 1:
        strip.add_qrs(cut, 60 / heart.rate)
        cut += 60 / heart.rate * (1 + 0.004 * strip.rng.normal())


def wandering(strip: Strip) -> None:
    """Atrial impulses from changing places at changing times."""
    heart, rng = strip.heart, strip.rng
    time = -1.2
    while time < strip.duration + 1:
        rr = 60 / heart.rate * float(np.clip(rng.normal(1, 0.14), 0.6, 1.5))
        strip.add_p(time, early=rng.random() < 0.4)
        strip.add_qrs(time + heart.pr + rng.normal(0, 0.012), rr)
        time += rr


def dissociated(strip: Strip) -> None:
    """Complete AV block: atria and ventricles each at their own pace."""
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
    """A spike before each wide QRS at a fixed rate; P waves go their own way."""
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
    """Fibrillatory or flutter waves of the atria, (3, n_samples), mV."""
    beat = heart.atrial_rate / 60
    if heart.rhythm == "flutter":
        phase = 2 * np.pi * beat * times + rng.uniform(0, 2 * np.pi)
        # A sawtooth with a slow flank: three harmonics of its Fourier series.
        course = sum(np.sin(k * phase) / k**1.3 for k in (1, 2, 3))
        return heart.atrial[:, None] * course
    total = np.zeros((3, times.size))
    for share in (0.55, 0.35, 0.25):
        slow, slower = rng.uniform(0.15, 0.6, 2)
        drift = rng.uniform(0.5, 1.6) * np.sin(2 * np.pi * slow * times + rng.uniform(0, 6.28))
        phase = 2 * np.pi * beat * rng.normal(1, 0.12) * times + drift + rng.uniform(0, 6.28)
        swell = 1 + 0.5 * np.sin(2 * np.pi * slower * times + rng.uniform(0, 6.28))
        turn = heart.atrial * rng.normal(1, 0.3, 3)
        total += turn[:, None] * share * swell * (np.sin(phase) + 0.3 * np.sin(2 * phase))
    return total


def sum_waves(waves: list[Wave], times: Array) -> Array:
    """The sum of waves at evenly spaced times, (3, n_samples), mV."""
    total = np.zeros((3, times.size))
    start, step = times[0], times[1] - times[0]
    for wave in waves:
        left, right = wave.at - wave.top / 2, wave.at + wave.top / 2
        low = max(int((left - 4.5 * wave.rise - start) / step), 0)
        high = min(int((right + 4.5 * wave.fall - start) / step) + 2, times.size)
        if low >= high:
            continue
        window = times[low:high]
        away = np.minimum(window - left, 0) / wave.rise + np.maximum(window - right, 0) / wave.fall
        total[:, low:high] += wave.vector[:, None] * np.exp(-0.5 * away * away)
    return total


def strip_of(heart: Heart, duration: float, rng: np.random.Generator) -> Strip:
    """A strip with the beats of a heart; ``ecg`` draws the same one from the same chance."""
    if heart.rhythm not in RHYTHMS:
        raise ValueError(f"rhythm {heart.rhythm!r}: expected one of {', '.join(RHYTHMS)}")
    strip = Strip(heart, rng, duration)
    RHYTHMS[heart.rhythm](strip)
    return strip


def simulate_ecg(
    heart: Heart, fs: float, duration: float, rng: np.random.Generator
) -> tuple[Array, list[float]]:
    """A noise-free strip of a heart.

    Parameters
    ----------
    heart : Heart
    fs : float, Hz
    duration : float, s
    rng : numpy.random.Generator
        Chance in the rhythm.

    Returns
    -------
    independent : ndarray of shape (8, n_samples), mV
        In the order of ``INDEPENDENT``.
    qrs_onsets : list of float, s
        Of every QRS within the strip.

    Raises
    ------
    ValueError
        If the heart's rhythm is not one of ``RHYTHMS``.
    """
    strip = strip_of(heart, duration, rng)
    times = np.arange(round(duration * fs)) / fs
    dipole = sum_waves(strip.waves, times)
    if heart.rhythm in ("fibrillation", "flutter"):
        dipole += atrial_oscillation(heart, times, rng)
    return heart.leads @ dipole, [t for t in sorted(strip.qrs_onsets) if 0 <= t < duration]


def one_beat(heart: Heart, fs: float = 1000.0) -> Array:
    """P, QRS, ST and T of one conducted beat at the heart's rate, to measure voltages on.

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
    """Highest R and deepest Q or S of each of the twelve leads, mV, against the PR segment."""
    alone = replace(heart, p=(), st=0 * heart.st, t=0 * heart.t, u=0 * heart.u)
    beat = one_beat(alone)
    return beat.max(axis=1), beat.min(axis=1)


def axis_degrees(x: Array) -> float:
    """Electrical axis, degrees from -180 to 180, of a (12, n) QRS, from its areas in I and aVF."""
    return float(np.degrees(np.arctan2(2 / np.sqrt(3) * x[5].sum(), x[0].sum())))


def rotate(vec: Array, degrees: float) -> Array:
    """A vector turned in the frontal plane of the limb leads, clockwise (towards the feet)."""
    to_leads = np.array([DOWER[0, :2], 2 / np.sqrt(3) * (DOWER[1, :2] - DOWER[0, :2] / 2)])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.append(np.linalg.solve(to_leads, turn @ to_leads @ vec[:2]), vec[2])


# ------------------------------------------------------------------ the electrodes and their faults


def at_electrodes(independent: Array) -> Array:
    """Potentials of the nine electrodes against Wilson's central terminal, (9, n_samples), mV."""
    one, two = independent[0], independent[1]
    right = -(one + two) / 3
    return np.concatenate([np.stack([right, right + one, right + two]), independent[2:]])


def at_leads(electrodes: Array) -> Array:
    """The eight independent leads from the potentials of the nine electrodes."""
    right, left, foot = electrodes[:3]
    wilson = (right + left + foot) / 3
    return np.concatenate([np.stack([left - right, foot - right]), electrodes[3:] - wilson])


def draw_noise(kind: str, n_samples: int, fs: float, rng: np.random.Generator) -> Array:
    """One electrode's share of a fault, (n_samples,), standard deviation about 1.

    Parameters
    ----------
    kind : {"wander", "mains", "muscle", "motion", "loose"}
        Skin potentials and breath below 0.5 Hz; 50 Hz hum; broadband muscle potentials that swell
        and fade; a jolt that dies away; contact lost and found again.
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
        swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 0.4) * times + rng.uniform(0, 6.28))
        return white * swell
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
