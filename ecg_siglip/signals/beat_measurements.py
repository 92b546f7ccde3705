"""Intervals, axes and amplitudes of one median beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecg_siglip.signals import wave_bounds
from ecg_siglip.signals.median_beats import FS, MIN_BEATS

ST_S = 0.06  # after the end of QRS
LEVEL_S = 0.016  # before the onset of QRS: the level from which amplitudes are measured
P_SPREAD = 0.22  # of the size of the P wave from beat to beat, of its mean
P_MV = 0.02  # the smallest P wave, from peak to peak in the lead with most of it
T_MV = 0.06
MAX_P_RATE = 135.0  # 1/min; above it P is on the T wave before
FAST_RATE = 100.0  # 1/min; above it a P wave without axis may be a wave of flutter
SINUS_P_AXIS = (-30.0, 95.0)
P_S, HALF_P_S = 0.12, 0.05  # of a P wave, and from its peak to its end at least


class BeatReading(NamedTuple):
    """What is read off a median beat.

    Attributes
    ----------
    values : dict of str to float
        By name, and for each lead by name and lead (``r V5``).
    reasons : dict of str to str
        Why values are missing; of all of them under the empty name.
    marks : dict of str to float
        Samples of the beat at which waves begin and end: ``p_onset``, ``qrs_onset``, ``qrs_end``
        and ``t_end``.
    """

    values: dict[str, float]
    reasons: dict[str, str]
    marks: dict[str, float]


def read_beat(
    beat: np.ndarray, quiet: np.ndarray, width_s: float, names: Sequence[str], rr_s: float
) -> BeatReading:
    """Read intervals, axes and amplitudes off a median beat.

    Parameters
    ----------
    beat : ndarray of shape (n_leads, n_samples), mV
        See ``median_beats.median_beat``.
    quiet : ndarray of shape (n_leads,), bool
        Leads in which the waves are found.
    width_s : float, s
        See ``wave_bounds.noise_width``.
    names : sequence of str, length n_leads
    rr_s : float, s
        Mean interval between beats.
    """
    reading = BeatReading({}, {}, {})
    values, reasons, marks = reading
    bounds = wave_bounds.qrs_bounds(beat[quiet], width_s)
    if bounds is None:
        reasons[""] = "the QRS complex has no clear onset or end"
        return reading
    onset, end = marks["qrs_onset"], marks["qrs_end"] = bounds
    values["qrs"] = 1000 * (end - onset) / FS
    first = round(onset)
    beat = beat - _level(beat[:, first - round(LEVEL_S * FS) : first + 1])
    qrs = beat[:, first : round(end) + 1]
    at_st = round(end + ST_S * FS)
    st = beat[:, at_st - 2 : at_st + 3].mean(axis=1)
    per_lead = {"r": _highest_peaks(qrs), "s": -_highest_peaks(-qrs), "st": st}
    for name, row in per_lead.items():
        values |= zip([f"{name} {lead}" for lead in names], row.tolist(), strict=True)
    frontal = [names.index(lead) for lead in ("I", "aVF") if lead in names]
    if len(frontal) < 2:
        no_limbs = "limb leads are missing"
        reasons |= dict.fromkeys(("p_axis", "qrs_axis", "t_axis"), no_limbs)
    else:
        values["qrs_axis"] = _axis(qrs[frontal].sum(axis=1))
    _add_t_and_p(beat, quiet, rr_s, frontal, reading)
    if len(names) < 3 and "II" not in names:
        for name in ("pr", "p_axis"):
            values.pop(name, None)
            reasons[name] = "lead II, or three leads, are needed"
    return reading._replace(values={name: x for name, x in values.items() if math.isfinite(x)})


def _level(part: np.ndarray) -> np.ndarray:
    """Return the mean of each lead without NaN, (n_leads, 1); NaN of a lead without any value."""
    is_missing = np.isnan(part)
    if not is_missing.any():
        return np.asarray(part.mean(axis=1, keepdims=True))
    return np.asarray(np.nanmean(part, axis=1, keepdims=True))


def _highest_peaks(waves: np.ndarray) -> np.ndarray:
    """Return the highest local maximum above 0 of each wave, or 0.

    The largest value may be at the end, where QRS only passes to the ST segment: that is no peak.
    """
    inner = waves[:, 1:-1]
    is_top = (inner >= waves[:, :-2]) & (inner > waves[:, 2:])
    return np.asarray(np.where(is_top, inner, 0.0).max(axis=1, initial=0.0))


def _add_t_and_p(
    beat: np.ndarray,
    quiet: np.ndarray,
    rr_s: float,
    frontal: Sequence[int],
    reading: BeatReading,
) -> None:
    """Add QT, PR and the axes of T and P, or the reasons why they are not measurable.

    ``frontal`` are the rows of I and aVF; with fewer there are no axes.
    """
    values, reasons, marks = reading
    onset, end = marks["qrs_onset"], marks["qrs_end"]
    latest = onset + FS * min(0.62 * np.sqrt(rr_s), rr_s - 0.1)
    clear = beat[quiet]
    t_wave = wave_bounds.t_bounds(clear, end, latest)
    if t_wave is None or t_wave[2] < T_MV:
        t_wave = None
        reasons |= {"qt": "no T wave with a clear end", "t_axis": "no clear T wave"}
    else:
        marks["t_end"] = t_wave[1]
        values["qt"] = 1000 * (t_wave[1] - onset) / FS
        if len(frontal) == 2:
            at = round(t_wave[0])
            values["t_axis"] = _axis(beat[frontal, at - 5 : at + 6].mean(axis=1))
    if (t_wave is None and rr_s < 0.6) or rr_s < 60 / MAX_P_RATE:
        reasons |= dict.fromkeys(("pr", "p_axis"), "the P wave cannot be separated from the T wave")
        return
    earliest = max(0.0, t_wave[1] - rr_s * FS) if t_wave else 0.0
    p_wave = wave_bounds.p_bounds(clear, onset, earliest)
    if p_wave is None:
        reasons |= dict.fromkeys(("pr", "p_axis"), "no P wave measured reliably: none stands out")
        return
    marks["p_onset"] = p_wave[0]
    values["pr"] = 1000 * (onset - p_wave[0]) / FS
    first = max(round(p_wave[0]), 0)
    last = min(round(p_wave[1] + max(p_wave[1] - p_wave[0], HALF_P_S * FS)), round(onset) - 2)
    if len(frontal) == 2 and last - first > 10:
        part = beat[frontal, first:last]
        line = np.linspace(part[:, 0], part[:, -1], part.shape[1], axis=1)
        values["p_axis"] = _axis((part - line).sum(axis=1))


def _axis(sizes: np.ndarray) -> float:
    """Return the axis of a wave in the frontal plane by its sizes in I and aVF, degrees."""
    return float(np.degrees(np.arctan2(2 / np.sqrt(3) * sizes[1], sizes[0])))


def p_reason(cut: np.ndarray, beat: np.ndarray, whole: BeatReading, rr_s: float) -> str:
    """Return why the P waves of a median beat are none of its beats; empty if they are.

    Parameters
    ----------
    cut : ndarray of shape (n_beats, n_leads, n_samples), mV
        See ``median_beats.Beats``.
    beat : ndarray of shape (n_leads, n_samples), mV
        Their median.
    whole : BeatReading
        What was read off the median.
    rr_s : float, s
        Mean interval between beats.
    """
    if "pr" not in whole.values:
        return ""
    onset = round(whole.marks["qrs_onset"])
    part = slice(max(round(whole.marks["p_onset"]) - 5, 0), onset)
    template = beat[:, part] - beat[:, part].mean(axis=1, keepdims=True)
    single = cut[:, :, part]
    single = single[np.isfinite(single).all(axis=(1, 2))]
    if len(single) < MIN_BEATS or not np.ptp(template, axis=1).max() >= P_MV:
        return "no P wave measured reliably: not seen in the single beats"
    single = single - single.mean(axis=2, keepdims=True)
    sizes = (single * template).sum(axis=(1, 2)) / float(np.square(template).sum())
    if sizes.std() > P_SPREAD:
        return "no P wave measured reliably: it differs from beat to beat"
    if wave_bounds.has_copy(beat, slice(part.start, min(part.start + round(P_S * FS), onset))):
        return "no P wave measured reliably: there are waves like it elsewhere in the beat"
    axis = whole.values.get("p_axis")
    if axis is None and rr_s < 60 / FAST_RATE:
        return "no P wave measured reliably: a fast rate, and the axis of P is not known"
    if axis is not None and not SINUS_P_AXIS[0] <= axis <= SINUS_P_AXIS[1]:
        return f"no P wave measured reliably: its axis would be {axis:.0f} degrees"
    return ""
