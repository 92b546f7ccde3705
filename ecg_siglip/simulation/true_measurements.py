"""True measurements of a simulated record, from the waves of its heart and the times of its beats.

They follow the definitions of ``signals.measurements``, applied to waves without noise and without
their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg_siglip.simulation.heart import (
    Array,
    Heart,
    Wave,
    recovery,
    sum_waves,
    twelve_leads,
    ventricle,
)
from ecg_siglip.simulation.measurements import axis_degrees, one_beat, qrs_of, qrs_peaks
from ecg_siglip.simulation.rhythms import Strip

FS = 2000.0  # of the waves that are measured, Hz
QRS_MV, P_MV = 0.02, 0.01  # a wave is present where a lead has more
T_MV = 0.05  # a T wave that is smaller in every lead has no end
WHOLE_S = 0.16  # from an end of the recording to the middle of a QRS complex that counts
ST_S = 0.06  # after the end of QRS
P_CONDUCTED = ("sinus", "wandering")


@dataclass(frozen=True)
class TrueMeasurements:
    """What a device would measure in a simulated record without any error.

    Attributes
    ----------
    values : dict of str to float
        By the names of ``signals.measurements.Measurements``: 1/min, ms, degrees; without those
        that do not exist.
    absent : frozenset of str
        Names of measurements that do not exist in the record: PR without P waves that conduct one
        by one, P axis without P waves, QT without T wave. A name that is neither there nor in
        ``values`` has no single true value (PR in Wenckebach block).
    r, s, st : ndarray of shape (12,), mV
        Highest R, deepest Q or S, and level 60 ms after the end of QRS, from the onset of QRS.
    """

    values: dict[str, float]
    absent: frozenset[str]
    r: Array
    s: Array
    st: Array


def true_measurements(heart: Heart, strip: Strip) -> TrueMeasurements:
    """Compute the true measurements of a record.

    Parameters
    ----------
    heart : Heart
    strip : rhythms.Strip
        The beats of the record, see ``rhythms.draw_strip``.

    Notes
    -----
    Rate and RR: of the QRS complexes whose middle is 0.16 s or more from the ends of the record.
    Onset and end of P and QRS: where the first or last lead has 0.01 mV of P, or 0.02 mV of QRS.
    End of T: where the tangent at its steepest descent reaches zero. Intervals and amplitudes are
    those of the conducted beats.
    """
    spans = [span for span in strip.spans if span[0].endswith("QRS")]
    last = strip.duration - WHOLE_S
    onsets = np.sort([start for _, start, end in spans if WHOLE_S <= (start + end) / 2 <= last])
    values: dict[str, float] = {}
    if len(onsets) > 1:
        rr_ms = 1000 * np.diff(onsets)
        values |= {"rate": 60_000 / rr_ms.mean(), "rr_sd": rr_ms.std()}
    start, end = _extent(ventricle(heart.forces, heart.qrs), heart, QRS_MV)
    values["qrs"] = 1000 * (end - start)
    values["qrs_axis"] = axis_degrees(qrs_of(heart))
    absent = _add_t(values, heart, start) | _add_p(values, heart, start)
    if "rate" in values and "qt" in values:
        rr_s = 60 / values["rate"]
        values["qtc_bazett"] = values["qt"] / rr_s**0.5
        values["qtc_fridericia"] = values["qt"] / rr_s ** (1 / 3)
    beat = one_beat(heart, FS)
    zero = beat[:, round((0.4 + start) * FS)]
    r, s = qrs_peaks(heart)
    st = beat[:, round((0.4 + end + ST_S) * FS)] - zero
    return TrueMeasurements(values, frozenset(absent), r, s, st)


def _extent(waves: list[Wave], heart: Heart, limit_mv: float) -> tuple[float, float]:
    """Return the first and the last time at which waves exceed a limit in some lead, s."""
    times = np.arange(-0.2, 0.6, 1 / FS)
    size = np.abs(twelve_leads(heart.leads @ sum_waves(waves, times))).max(axis=0)
    above = np.flatnonzero(size > min(limit_mv, 0.5 * size.max()))
    return float(times[above[0]]), float(times[above[-1]])


def _axis(vector: Array, heart: Heart) -> float:
    return axis_degrees(twelve_leads((heart.leads @ vector)[:, None]))


def _add_t(values: dict[str, float], heart: Heart, qrs_onset: float) -> set[str]:
    """Add QT and the axis of T; return the names of those that do not exist."""
    names = {"qt", "t_axis", "qtc_bazett", "qtc_fridericia"}
    if np.abs(twelve_leads((heart.leads @ heart.t)[:, None])).max() < T_MV:
        return names
    t_wave = recovery(heart, 60 / heart.rate, heart.qrs, heart.st, heart.t, heart.u)[1]
    # The tangent at the steepest point of a Gaussian, one deviation after its top, ends at two.
    values["qt"] = 1000 * (t_wave.at + 2 * t_wave.fall - qrs_onset)
    values["t_axis"] = _axis(heart.t, heart)
    return set()


def _add_p(values: dict[str, float], heart: Heart, qrs_onset: float) -> set[str]:
    """Add PR and the axis of P; return the names of those that do not exist."""
    if heart.rhythm == "paroxysm":
        return set()
    if heart.rhythm not in P_CONDUCTED or not heart.p:
        return {"pr", "p_axis"}
    if heart.av != "wenckebach":
        p_onset, _ = _extent(list(heart.p), heart, P_MV)
        values["pr"] = 1000 * (heart.pr + qrs_onset - p_onset)
    if heart.rhythm == "sinus":
        area = np.sum([wave.vector * (wave.rise + wave.fall) for wave in heart.p], axis=0)
        values["p_axis"] = _axis(area, heart)
    return set()
