"""Measurements of an ECG: rate, intervals, axes, amplitudes and ST levels, from median beats.

For research. Each measurement has a spread, or the reason why it is not measurable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ecg_siglip.signals import wave_bounds
from ecg_siglip.signals.gaps import interpolate_gaps, recorded_span
from ecg_siglip.signals.leads import LEADS, available_leads, order_leads
from ecg_siglip.signals.median_beats import (
    FS,
    Beats,
    cut_beats,
    find_qrs,
    median_beat,
    to_fs,
    without_hum,
)
from ecg_siglip.signals.preprocessing import FLAT_MV

MIN_S, MAX_S = 2.0, 60.0  # length of what is measured
MAX_GAP_SHARE = 0.3  # of a lead that is measured
LONG_GAP_S = 0.06  # in all leads; there may be a QRS complex in it
MIN_BEATS = 2  # alike, for a median beat
MIN_ALIKE = 0.3  # of all beats
N_HALVES = 12
MIN_QRS_MS = 40.0
MAX_FAILED = 0.25  # of the halves
NOISY_LEAD = 3.0  # times the noise of the other leads
ST_S = 0.06  # after the end of QRS
LEVEL_S = 0.016  # before the onset of QRS: the level from which amplitudes are measured
P_SPREAD = 0.22  # of the size of the P wave from beat to beat, of its mean
P_MV = 0.02  # the smallest P wave, from peak to peak in the lead with most of it
T_MV = 0.06
MAX_P_RATE = 135.0  # 1/min; above it P is on the T wave before
FAST_RATE = 100.0  # 1/min; above it a P wave without axis may be a wave of flutter
SINUS_P_AXIS = (-30.0, 100.0)
P_S, HALF_P_S = 0.12, 0.05  # of a P wave, and from its peak to its end at least
# Larger standard deviations over halves of the beats: not measurable.
MAX_SPREAD = {"pr": 12.0, "qrs": 10.0, "qt": 15.0, "axis": 15.0, "r": 0.15, "s": 0.15, "st": 0.05}
UNITS = {
    "rate": "1/min", "rr_sd": "ms", "pr": "ms", "qrs": "ms", "qt": "ms", "qtc_bazett": "ms",
    "qtc_fridericia": "ms", "p_axis": "degrees", "qrs_axis": "degrees", "t_axis": "degrees",
}  # fmt: skip
PER_LEAD = ("r", "s", "st")
NAMES = {
    "rate": "Heart rate", "rr_sd": "RR variability (SD)", "pr": "PR", "qrs": "QRS duration",
    "qt": "QT", "qtc_bazett": "QTc (Bazett)", "qtc_fridericia": "QTc (Fridericia)",
    "p_axis": "P axis", "qrs_axis": "QRS axis", "t_axis": "T axis",
    "r": "R", "s": "S", "st": "ST at J + 60 ms",
}  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes
    ----------
    value : float or None
        None if it is not measurable.
    unit : str
    spread : float or None
        In the same unit. Rate: interquartile range over the beats. All others: standard deviation
        of the measurement over random halves of the beats (interquartile range / 1.349), which
        estimates its standard error.
    reason : str
        Why it is not measurable; empty otherwise.
    """

    value: float | None
    unit: str
    spread: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Measurements:
    """Measurements of a recording.

    Attributes
    ----------
    rate : Measurement, 1/min
        60 s / mean RR interval, over all QRS complexes.
    rr_sd : Measurement, ms
        Standard deviation of the RR intervals, premature beats included.
    pr, qrs, qt : Measurement, ms
        From the earliest onset to the latest end in all leads together, of the median beat.
    qtc_bazett, qtc_fridericia : Measurement, ms
        QT / RR^(1/2) (Bazett 1920) and QT / RR^(1/3) (Fridericia 1920), with the mean RR in s.
    p_axis, qrs_axis, t_axis : Measurement, degrees, -180 to 180
        In the frontal plane, from I and aVF: areas of P and QRS, height of T.
    r, s, st : dict of str to Measurement, mV
        By lead: highest R, deepest Q or S, and the level 60 ms after the end of QRS, from the level
        before the onset of QRS.
    n_beats : int
        Beats in the median beat.
    """

    rate: Measurement
    rr_sd: Measurement
    pr: Measurement
    qrs: Measurement
    qt: Measurement
    qtc_bazett: Measurement
    qtc_fridericia: Measurement
    p_axis: Measurement
    qrs_axis: Measurement
    t_axis: Measurement
    r: Mapping[str, Measurement] = field(default_factory=dict)
    s: Mapping[str, Measurement] = field(default_factory=dict)
    st: Mapping[str, Measurement] = field(default_factory=dict)
    n_beats: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements as a JSON object, rounded to what is meaningful."""
        content: dict[str, Any] = {name: _json(getattr(self, name)) for name in UNITS}
        for name in PER_LEAD:
            content[name] = {lead: _json(each) for lead, each in getattr(self, name).items()}
        return content | {"n_beats": self.n_beats}


def _json(one: Measurement) -> dict[str, Any]:
    digits = 3 if one.unit == "mV" else 1 if one.unit == "1/min" else 0
    if one.value is None:
        return {"value": None, "unit": one.unit, "reason": one.reason}

    def rounded(value: float) -> float:
        return round(value, digits) if digits else round(value)

    content: dict[str, Any] = {"value": rounded(one.value), "unit": one.unit}
    if one.spread is not None:
        content["spread"] = round(one.spread, max(digits, 1))
    return content


class _Wave(NamedTuple):
    """What is read off a median beat: values by name, and reasons of those that are missing."""

    values: dict[str, float]
    reasons: dict[str, str]


def measure_ecg(signal: np.ndarray, fs: float, leads: Sequence[str]) -> Measurements:
    """Measure a recording.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV
        NaN where a sample is invalid. Leads of zeros count as missing. Of more than a minute, the
        middle minute is measured.
    fs : float, Hz
    leads : sequence of str, length n_leads
        In the spelling of any device; missing limb leads are computed from two others.

    Returns
    -------
    Measurements

    Raises
    ------
    ValueError
        If no lead has a known name, a lead occurs twice, the number of names is not that of the
        rows, or the sampling rate is not above 0 Hz.
    """
    if not fs > 0:
        raise ValueError(f"expected a sampling rate above 0 Hz, got {fs:g}")
    signal = np.asarray(signal, np.float64)
    signal = order_leads(np.where(np.isfinite(signal), signal, np.nan), leads, allow_missing=True)
    n_spare = max(0, signal.shape[1] - round(MAX_S * fs))
    signal = signal[:, n_spare // 2 : signal.shape[1] - (n_spare - n_spare // 2)]
    if not signal.shape[1]:
        return _nothing(f"less than {MIN_S:g} s of signal")
    is_gap = np.isnan(signal)
    filled = interpolate_gaps(signal)
    usable = available_leads(leads) & (is_gap.mean(axis=1) <= MAX_GAP_SHARE)
    usable &= np.ptp(filled, axis=1) >= FLAT_MV
    names = [lead for lead, is_usable in zip(LEADS, usable, strict=True) if is_usable]
    if not names:
        return _nothing("no lead has a signal")
    span = recorded_span(filled[usable], fs)
    filled, is_gap = filled[usable, span], is_gap[usable, span]
    if filled.shape[1] < MIN_S * fs:
        return _nothing(f"less than {MIN_S:g} s of signal")
    at_fs = without_hum(to_fs(filled, fs))
    rows = np.minimum((np.arange(at_fs.shape[1]) * fs / FS).astype(int), is_gap.shape[1] - 1)
    return _measure(at_fs, is_gap[:, rows], names)


def _nothing(reason: str) -> Measurements:
    """Return measurements of which none is measurable, for one reason."""
    return _assemble({name: Measurement(None, unit, reason=reason) for name, unit in UNITS.items()})


def _assemble(
    single: Mapping[str, Measurement],
    per_lead: Mapping[str, Mapping[str, Measurement]] | None = None,
    n_beats: int = 0,
) -> Measurements:
    """Return measurements by name, and by name and lead."""
    content: dict[str, Any] = {**single, **(per_lead or {}), "n_beats": n_beats}
    return Measurements(**content)


def _measure(signal: np.ndarray, is_gap: np.ndarray, names: Sequence[str]) -> Measurements:
    """Measure leads (n_leads, n_samples) at ``FS`` with gaps interpolated."""
    at = find_qrs(signal)
    if len(at) < MIN_BEATS:
        found = "one QRS complex" if len(at) else "no QRS complex that stands out"
        return _nothing(f"{found} in the recording")
    beats = cut_beats(signal, is_gap, at)
    n_alike = len(beats.cut)
    if n_alike < MIN_BEATS or n_alike < MIN_ALIKE * len(at):
        return _nothing("no two beats are alike: noise, or a different origin of each beat")
    rhythm = _rhythm(beats, is_gap)
    rr_s = 60 / rhythm["rate"].value if rhythm["rate"].value else float(np.median(np.diff(at))) / FS
    quiet = _quiet_leads(beats.cut)
    width_s = wave_bounds.noise_width(median_beat(beats.cut)[quiet])

    def read(cut: np.ndarray) -> _Wave:
        return _read_beat(cut, quiet, width_s, names, rr_s)

    whole = read(beats.cut)
    if whole.values.get("qrs", MIN_QRS_MS) < MIN_QRS_MS:
        return _nothing("pulses that are narrower than a QRS complex")
    if reason := _p_reason(beats.cut, whole, rr_s):
        for name in ("pr", "p_axis"):
            whole.values.pop(name, None)
            whole.reasons[name] = reason
    halves = [read(half).values for half in _halves(beats.cut)]
    single = {
        name: _with_spread(name, whole, halves, UNITS[name])
        for name in ("pr", "qrs", "qt", "p_axis", "qrs_axis", "t_axis")
    }
    for name, power in (("qtc_bazett", 1 / 2), ("qtc_fridericia", 1 / 3)):
        single[name] = _corrected(single["qt"], rhythm["rate"], power)
    per_lead = {
        name: {lead: _with_spread(f"{name} {lead}", whole, halves, "mV") for lead in names}
        for name in PER_LEAD
    }
    return _assemble({**rhythm, **single}, per_lead, n_alike)


def _rhythm(beats: Beats, is_gap: np.ndarray) -> dict[str, Measurement]:
    """Measure rate and RR variability over the intervals without a long gap."""
    lost = np.asarray(is_gap.all(axis=0))
    parts = [lost[first:last] for first, last in zip(beats.at[:-1], beats.at[1:], strict=True)]
    whole = np.array([int(part.sum()) < LONG_GAP_S * FS for part in parts])
    rr_s = np.diff(beats.at)[np.flatnonzero(whole)] / FS
    if not len(rr_s):
        reason = "a gap in each interval between beats"
        return {name: Measurement(None, UNITS[name], reason=reason) for name in ("rate", "rr_sd")}
    quartiles = np.percentile(60 / rr_s, [25, 75])
    spread = float(quartiles[1] - quartiles[0]) if len(rr_s) > 2 else None
    rate = Measurement(60 / float(rr_s.mean()), UNITS["rate"], spread)
    if len(rr_s) < 3:
        return {"rate": rate, "rr_sd": Measurement(None, "ms", reason="fewer than 3 intervals")}
    halves = [part.std() for part in _halves(rr_s)]
    return {
        "rate": rate,
        "rr_sd": Measurement(1000 * float(rr_s.std()), "ms", 1000 * _deviation(np.array(halves))),
    }


def _quiet_leads(cut: np.ndarray) -> np.ndarray:
    """Return which leads are not much noisier than the others, (n_leads,) bool."""
    fast = np.diff(cut - median_beat(cut), axis=2)
    noise = np.sqrt(np.nanmean(np.square(fast), axis=(0, 2)))
    return np.asarray(noise <= max(NOISY_LEAD * float(np.median(noise)), 0.002))


def _halves(items: np.ndarray) -> list[np.ndarray]:
    """Draw random halves of the items along the first axis, the same ones each time."""
    rng = np.random.default_rng(0)
    size = max(1, len(items) // 2)
    return [items[rng.permutation(len(items))[:size]] for _ in range(N_HALVES)]


def _read_beat(
    cut: np.ndarray, quiet: np.ndarray, width_s: float, names: Sequence[str], rr_s: float
) -> _Wave:
    """Read intervals, axes and amplitudes off the median of beats."""
    beat = median_beat(cut)
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    bounds = wave_bounds.qrs_bounds(beat[quiet], width_s)
    if bounds is None:
        return _Wave(values, {"": "the QRS complex has no clear onset or end"})
    onset, end = bounds
    values["qrs"] = 1000 * (end - onset) / FS
    first = round(onset)
    level = np.nanmean(beat[:, first - round(LEVEL_S * FS) : first + 1], axis=1, keepdims=True)
    beat = beat - level
    qrs = beat[:, first : round(end) + 1]
    at_st = round(end + ST_S * FS)
    st = beat[:, at_st - 2 : at_st + 3].mean(axis=1)
    for row, lead in enumerate(names):
        values[f"r {lead}"] = _highest_peak(qrs[row])
        values[f"s {lead}"] = -_highest_peak(-qrs[row])
        values[f"st {lead}"] = float(st[row])
    axis = _axis(names)
    if axis is None:
        no_limbs = "limb leads are missing"
        reasons |= dict.fromkeys(("p_axis", "qrs_axis", "t_axis"), no_limbs)
    else:
        values["qrs_axis"] = axis(qrs.sum(axis=1))
    _add_t_and_p(beat, quiet, (onset, end), rr_s, axis, values, reasons)
    if len(names) < 3 and "II" not in names:
        for name in ("pr", "p_axis"):
            values.pop(name, None)
            reasons[name] = "lead II, or three leads, are needed"
    return _Wave({name: value for name, value in values.items() if np.isfinite(value)}, reasons)


def _highest_peak(wave: np.ndarray) -> float:
    """Return the highest local maximum of a wave above 0; at its end it may only pass to ST."""
    inner = wave[1:-1]
    tops = inner[(inner >= wave[:-2]) & (inner > wave[2:])]
    return max(float(tops.max()), 0.0) if len(tops) else 0.0


def _add_t_and_p(
    beat: np.ndarray,
    quiet: np.ndarray,
    qrs: tuple[float, float],
    rr_s: float,
    axis: Callable[[np.ndarray], float] | None,
    values: dict[str, float],
    reasons: dict[str, str],
) -> None:
    """Add QT, PR and the axes of T and P, or the reasons why they are not measurable."""
    onset, end = qrs
    latest = onset + FS * min(0.62 * np.sqrt(rr_s), rr_s - 0.1)
    t_wave = wave_bounds.t_bounds(beat[quiet], end, latest)
    if t_wave is None or t_wave[2] < T_MV:
        t_wave = None
        reasons |= {"qt": "no T wave with a clear end", "t_axis": "no clear T wave"}
    else:
        values["qt"] = 1000 * (t_wave[1] - onset) / FS
        if axis is not None:
            at = round(t_wave[0])
            values["t_axis"] = axis(beat[:, at - 5 : at + 6].mean(axis=1))
    if (t_wave is None and rr_s < 0.6) or rr_s < 60 / MAX_P_RATE:
        reasons |= dict.fromkeys(("pr", "p_axis"), "the P wave cannot be separated from the T wave")
        return
    earliest = max(0.0, t_wave[1] - rr_s * FS) if t_wave else 0.0
    p_wave = wave_bounds.p_bounds(beat[quiet], onset, earliest)
    if p_wave is None:
        reasons |= dict.fromkeys(("pr", "p_axis"), "no single P wave before the QRS complexes")
        return
    values["pr"] = 1000 * (onset - p_wave[0]) / FS
    first = max(round(p_wave[0]), 0)
    last = min(round(p_wave[1] + max(p_wave[1] - p_wave[0], HALF_P_S * FS)), round(onset) - 2)
    if axis is not None and last - first > 10:
        part = beat[:, first:last]
        line = np.linspace(part[:, 0], part[:, -1], part.shape[1], axis=1)
        values["p_axis"] = axis((part - line).sum(axis=1))


def _axis(names: Sequence[str]) -> Callable[[np.ndarray], float] | None:
    """Return a function from sizes in the leads to degrees; None without I and aVF."""
    if not {"I", "aVF"} <= set(names):
        return None
    one, foot = names.index("I"), names.index("aVF")

    def axis(sizes: np.ndarray) -> float:
        return float(np.degrees(np.arctan2(2 / np.sqrt(3) * sizes[foot], sizes[one])))

    return axis


def _p_reason(cut: np.ndarray, whole: _Wave, rr_s: float) -> str:
    """Return why the P waves of the median beat are none of the single beats; empty if they are."""
    if "pr" not in whole.values:
        return ""
    onset = wave_bounds.CENTER  # the QRS complex begins before it
    beat = median_beat(cut)
    bounds = wave_bounds.qrs_bounds(beat)
    onset = round(bounds[0]) if bounds else onset
    part = slice(max(onset - round(whole.values["pr"] * FS / 1000) - 5, 0), onset)
    template = beat[:, part] - beat[:, part].mean(axis=1, keepdims=True)
    single = cut[:, :, part]
    single = single[np.isfinite(single).all(axis=(1, 2))]
    if len(single) < MIN_BEATS or not np.ptp(template, axis=1).max() >= P_MV:
        return "no P wave before each QRS complex"
    single = single - single.mean(axis=2, keepdims=True)
    sizes = (single * template).sum(axis=(1, 2)) / float(np.square(template).sum())
    if sizes.std() > P_SPREAD:
        return "no constant P wave before each QRS complex: atrial fibrillation, AV block or noise"
    if wave_bounds.has_copy(beat, slice(part.start, min(part.start + round(P_S * FS), onset))):
        return "waves like the P wave elsewhere, too: atrial flutter, or a T wave"
    axis = whole.values.get("p_axis")
    if axis is None and rr_s < 60 / FAST_RATE:
        return "fast, and without the axis of P: sinus rhythm or flutter"
    if axis is not None and not SINUS_P_AXIS[0] <= axis <= SINUS_P_AXIS[1]:
        return f"no P wave of a sinus rhythm (axis {axis:.0f} degrees): flutter or another origin"
    return ""


def _with_spread(
    name: str, whole: _Wave, halves: Sequence[Mapping[str, float]], unit: str
) -> Measurement:
    """Return a measurement with its standard deviation over the halves, if that is small enough."""
    if name not in whole.values:
        reason = whole.reasons.get(name) or whole.reasons.get("") or "no clear wave"
        return Measurement(None, unit, reason=reason)
    value = float(whole.values[name])
    others = np.array([half[name] for half in halves if name in half])
    if len(others) < (1 - MAX_FAILED) * len(halves):
        return Measurement(None, unit, reason="not found in each half of the beats: noise")
    change = others - value
    if unit == "degrees":
        change = (change + 180) % 360 - 180
    spread = _deviation(change)
    limit = MAX_SPREAD["axis" if unit == "degrees" else name.split()[0]]
    if spread > limit:
        reason = f"halves of the beats differ by {spread:.2g} {unit} (noise)"
        return Measurement(None, unit, reason=reason)
    return Measurement(value, unit, spread)


def _deviation(values: np.ndarray) -> float:
    """Return the standard deviation by the interquartile range, which single failures leave."""
    quartiles = np.percentile(values, [25, 75])
    return float(quartiles[1] - quartiles[0]) / 1.349


def _corrected(qt: Measurement, rate: Measurement, power: float) -> Measurement:
    """Correct QT by a power of the mean RR interval in s."""
    if qt.value is None or rate.value is None:
        return Measurement(None, "ms", reason=qt.reason or rate.reason)
    factor = (rate.value / 60) ** power
    return Measurement(qt.value * factor, "ms", (qt.spread or 0.0) * factor)
