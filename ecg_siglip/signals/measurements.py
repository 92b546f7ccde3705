"""Measurements of an ECG: rate, intervals, axes, amplitudes and ST levels, from median beats.

For research. Each measurement has a spread, or the reason why it is not measurable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecg_siglip.signals import wave_bounds
from ecg_siglip.signals.beat_measurements import BeatReading, p_reason, read_beat
from ecg_siglip.signals.gaps import interpolate_gaps, recorded_span
from ecg_siglip.signals.leads import LEADS, available_leads, order_leads
from ecg_siglip.signals.median_beats import (
    FS,
    MIN_BEATS,
    Beats,
    MedianBeat,
    cut_beats,
    find_qrs,
    median_beat,
    to_fs,
    without_edges,
    without_hum,
    without_spikes,
)
from ecg_siglip.signals.signal_checks import FLAT_MV
from ecg_siglip.signals.small_arrays import quantiles

MIN_S, MAX_S = 2.0, 60.0  # length of what is measured
MAX_GAP_SHARE = 0.3  # of a lead that is measured
LONG_GAP_S = 0.06  # in all leads; there may be a QRS complex in it
MIN_ALIKE = 0.3  # of all beats
N_HALVES = 12
MIN_QRS_MS = 40.0
# In few leads, the onset and end of QRS may be in none of them: so short is not all of it.
MANY_LEADS, SHORT_QRS_MS = 8, 60.0
MAX_FAILED = 0.25  # of the halves
NOISY_LEAD = 3.0  # times the noise of the other leads
# Larger standard deviations over halves of the beats: not measurable.
MAX_SPREAD = {"pr": 12.0, "qrs": 10.0, "qt": 15.0, "axis": 15.0, "r": 0.15, "s": 0.15, "st": 0.05}
UNITS = {
    "rate": "1/min", "rr_sd": "ms", "pr": "ms", "qrs": "ms", "qt": "ms", "qtc_bazett": "ms",
    "qtc_fridericia": "ms", "p_axis": "degrees", "qrs_axis": "degrees", "t_axis": "degrees",
}  # fmt: skip
PER_LEAD = ("r", "s", "st")
# Marks of the median beat, and the measurements of which one has to be measurable.
MARKED = {
    "p_onset": ("pr",), "qrs_onset": ("pr", "qrs", "qt"), "qrs_end": ("qrs",), "t_end": ("qt",),
}  # fmt: skip
NAMES = {
    "rate": "Heart rate", "rr_sd": "RR variability (SD)", "pr": "PR", "qrs": "QRS duration",
    "qt": "QT", "qtc_bazett": "QTc (Bazett)", "qtc_fridericia": "QTc (Fridericia)",
    "p_axis": "P axis", "qrs_axis": "QRS axis", "t_axis": "T axis",
    "r": "R", "s": "S", "st": "ST at J + 60 ms",
}  # fmt: skip
# Of a table with a row per recording.
COLUMNS = (
    *(f"{name} [{unit}]" for name, unit in UNITS.items()),
    *(f"{name} {lead} [mV]" for name in PER_LEAD for lead in LEADS),
)


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
    beat : MedianBeat, optional
        What was measured, with the marks of what is measurable; None if nothing is. Not in JSON.
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
    beat: MedianBeat | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements as a JSON object, rounded to what is meaningful."""
        content: dict[str, Any] = {name: _json(getattr(self, name)) for name in UNITS}
        for name in PER_LEAD:
            content[name] = {lead: _json(each) for lead, each in getattr(self, name).items()}
        return content | {"n_beats": self.n_beats}

    def to_values(self) -> dict[str, Any]:
        """Return all but the median beat as JSON for another process, not rounded."""
        content: dict[str, Any] = {name: vars(getattr(self, name)) for name in UNITS}
        for name in PER_LEAD:
            content[name] = {lead: vars(one) for lead, one in getattr(self, name).items()}
        return content | {"n_beats": self.n_beats}

    @classmethod
    def from_values(cls, content: Mapping[str, Any]) -> Measurements:
        """Return what ``to_values`` wrote."""
        values: dict[str, Any] = {name: Measurement(**content[name]) for name in UNITS}
        for name in PER_LEAD:
            values[name] = {lead: Measurement(**one) for lead, one in content[name].items()}
        return cls(**values, n_beats=content["n_beats"])

    def to_row(self) -> dict[str, float | None]:
        """Return the values by ``COLUMNS``, rounded as in JSON; None if it is not measurable."""
        row = {f"{name} [{unit}]": _rounded(getattr(self, name)) for name, unit in UNITS.items()}
        row |= {
            f"{name} {lead} [mV]": _rounded(one)
            for name in PER_LEAD
            for lead, one in getattr(self, name).items()
        }
        return {column: row.get(column) for column in COLUMNS}


def _digits(one: Measurement) -> int:
    return 3 if one.unit == "mV" else 1 if one.unit == "1/min" else 0


def _rounded(one: Measurement) -> float | None:
    return None if one.value is None else round(one.value, _digits(one) or None)


def _json(one: Measurement) -> dict[str, Any]:
    digits = _digits(one)
    if one.value is None:
        return {"value": None, "unit": one.unit, "reason": one.reason}
    content: dict[str, Any] = {"value": _rounded(one), "unit": one.unit}
    if one.spread is not None:
        content["spread"] = round(one.spread, max(digits, 1))
    return content


def shown_spread(spread: float, unit: str) -> str:
    """Return a spread as texts show it: rounded up, and never 0, since no value is exact."""
    scale = 1000 if unit == "mV" else 1
    return f"{max(math.ceil(round(scale * spread, 6)), 1) / scale:g}"


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
    at_fs = without_hum(without_spikes(to_fs(filled, fs)))
    rows = np.minimum((np.arange(at_fs.shape[1]) * fs / FS).astype(int), is_gap.shape[1] - 1)
    return _measure(at_fs, is_gap[:, rows], names)


def _nothing(reason: str) -> Measurements:
    """Return measurements of which none is measurable, for one reason."""
    return _assemble({name: Measurement(None, unit, reason=reason) for name, unit in UNITS.items()})


def _assemble(
    single: Mapping[str, Measurement],
    per_lead: Mapping[str, Mapping[str, Measurement]] | None = None,
    beat: MedianBeat | None = None,
) -> Measurements:
    """Return measurements by name, and by name and lead."""
    n_beats = beat.n_beats if beat else 0
    content: dict[str, Any] = {**single, **(per_lead or {}), "n_beats": n_beats, "beat": beat}
    return Measurements(**content)


def _measure(signal: np.ndarray, is_gap: np.ndarray, names: Sequence[str]) -> Measurements:
    """Measure leads (n_leads, n_samples) at ``FS`` with gaps interpolated."""
    at = find_qrs(signal)
    while (span := without_edges(signal, at)) != slice(0, signal.shape[1]):
        signal, is_gap = signal[:, span], is_gap[:, span]
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
    typical = median_beat(beats.cut)
    quiet = _quiet_leads(beats.cut, typical)
    width_s = wave_bounds.noise_width(typical[quiet])

    def read(beat: np.ndarray) -> BeatReading:
        return read_beat(beat, quiet, width_s, names, rr_s)

    whole = read(typical)
    if whole.values.get("qrs", MIN_QRS_MS) < MIN_QRS_MS:
        return _nothing("pulses that are narrower than a QRS complex")
    if reason := p_reason(beats.cut, typical, whole, rr_s):
        for name in ("pr", "p_axis"):
            whole.values.pop(name, None)
            whole.reasons[name] = reason
    if len(names) < MANY_LEADS and whole.values.get("qrs", SHORT_QRS_MS) < SHORT_QRS_MS:
        del whole.values["qrs"]
        whole.reasons["qrs"] = "too few leads"
    halves = [read(median_beat([beats.cut[i] for i in half])).values for half in _halves(n_alike)]
    units = {name: UNITS[name] for name in ("pr", "qrs", "qt", "p_axis", "qrs_axis", "t_axis")}
    units |= {f"{name} {lead}": "mV" for name in PER_LEAD for lead in names}
    single: dict[str, Measurement] = _with_spread(units, whole, halves)
    per_lead = {name: {lead: single.pop(f"{name} {lead}") for lead in names} for name in PER_LEAD}
    for name, power in (("qtc_bazett", 1 / 2), ("qtc_fridericia", 1 / 3)):
        single[name] = _corrected(single["qt"], rhythm["rate"], power)
    marks = {
        name: float(at) / FS
        for name, at in whole.marks.items()
        if any(single[each].value is not None for each in MARKED[name])
    }
    beat = MedianBeat(tuple(names), typical, FS, marks, n_alike)
    return _assemble({**rhythm, **single}, per_lead, beat)


def _rhythm(beats: Beats, is_gap: np.ndarray) -> dict[str, Measurement]:
    """Measure rate and RR variability over the intervals without a long gap."""
    lost = np.asarray(is_gap.all(axis=0))
    parts = [lost[first:last] for first, last in zip(beats.at[:-1], beats.at[1:], strict=True)]
    whole = np.array([int(part.sum()) < LONG_GAP_S * FS for part in parts])
    rr_s = np.diff(beats.at)[np.flatnonzero(whole)] / FS
    if not len(rr_s):
        reason = "a gap in each interval between beats"
        return {name: Measurement(None, UNITS[name], reason=reason) for name in ("rate", "rr_sd")}
    quartiles = quantiles(60 / rr_s, (0.25, 0.75))
    spread = float(quartiles[1] - quartiles[0]) if len(rr_s) > 2 else None
    rate = Measurement(60 / float(rr_s.mean()), UNITS["rate"], spread)
    if len(rr_s) < 3:
        return {"rate": rate, "rr_sd": Measurement(None, "ms", reason="fewer than 3 intervals")}
    deviations = rr_s[np.array(_halves(len(rr_s)))].std(axis=1)
    return {
        "rate": rate,
        "rr_sd": Measurement(
            1000 * float(rr_s.std()), "ms", 1000 * float(_robust_deviation(deviations))
        ),
    }


def _quiet_leads(cut: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Return which leads are not much noisier than the others, (n_leads,) bool."""
    fast = np.diff(cut - typical, axis=2)
    noise = np.sqrt(np.nanmean(np.square(fast), axis=(0, 2)))
    return np.asarray(noise <= max(NOISY_LEAD * float(np.median(noise)), 0.002))


def _halves(n: int) -> list[list[int]]:
    """Draw random halves of n items, the same ones each time."""
    rng = np.random.default_rng(0)
    return [rng.permutation(n)[: max(1, n // 2)].tolist() for _ in range(N_HALVES)]


def _with_spread(
    units: Mapping[str, str], whole: BeatReading, halves: Sequence[Mapping[str, float]]
) -> dict[str, Measurement]:
    """Return measurements with their standard deviations over the halves, if these are small.

    Parameters
    ----------
    units : mapping of str to str
        Unit by name of the measurement.
    whole : BeatReading
    halves : sequence of mapping of str to float
        Values of each half of the beats.
    """
    measured = [name for name in units if name in whole.values]
    others = np.array([[half.get(name, np.nan) for name in measured] for half in halves])
    change = (others - [whole.values[name] for name in measured]).T
    is_angle = np.array([units[name] == "degrees" for name in measured], bool)
    change[is_angle] = (change[is_angle] + 180) % 360 - 180
    spreads = _robust_deviation(change).tolist()
    n_halves = np.isfinite(change).sum(axis=1).tolist()
    found = dict(zip(measured, zip(spreads, n_halves, strict=True), strict=True))
    result: dict[str, Measurement] = {}
    for name, unit in units.items():
        if name not in found:
            reason = whole.reasons.get(name) or whole.reasons.get("") or "no clear wave"
            result[name] = Measurement(None, unit, reason=reason)
            continue
        spread, n = found[name]
        limit = MAX_SPREAD["axis" if unit == "degrees" else name.split()[0]]
        if n < (1 - MAX_FAILED) * len(halves):
            reason = "not found in each half of the beats: noise"
            result[name] = Measurement(None, unit, reason=reason)
        elif spread > limit:
            reason = f"halves of the beats differ by {spread:.2g} {unit} (noise)"
            result[name] = Measurement(None, unit, reason=reason)
        else:
            result[name] = Measurement(float(whole.values[name]), unit, spread)
    return result


def _robust_deviation(values: np.ndarray) -> np.ndarray:
    """Return standard deviations over the last axis by the interquartile range, ignoring NaN.

    Single failures do not change it.
    """
    quartiles = quantiles(values, (0.25, 0.75))
    return np.asarray((quartiles[..., 1] - quartiles[..., 0]) / 1.349)


def _corrected(qt: Measurement, rate: Measurement, power: float) -> Measurement:
    """Correct QT by a power of the mean RR interval in s."""
    if qt.value is None or rate.value is None:
        return Measurement(None, "ms", reason=qt.reason or rate.reason)
    factor = (rate.value / 60) ** power
    return Measurement(qt.value * factor, "ms", (qt.spread or 0.0) * factor)
