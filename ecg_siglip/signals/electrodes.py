"""Warnings about exchanged electrodes, inverted leads, and limb leads that contradict each other.

The limits were set on PTB-XL, folds 1-7, with electrodes exchanged in the records themselves
(docs/LOG.md).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from ecg_siglip.signals.leads import LEADS, LIMBS
from ecg_siglip.signals.small_arrays import quantiles

FS = 100.0  # Hz, of the signals
LAG = 2  # samples of a slope: cancels mains hum of 50 Hz, which is at half of ``FS``
CONTRADICTION_MV = 0.1
NEARLY_FLAT = 0.08  # slope of a limb lead, of that of the largest
OPPOSED = -0.4  # correlation of the slopes of I and V6
UPSIDE_DOWN = -1.5  # sum of the three polarities, each from -1 to 1
INVERTED_MV = -0.03  # means of T and, twice, P: diseases invert T more often than P
MIN_BEATS = 3
P_WAVE, T_WAVE = slice(8, 20), slice(42, 70)  # samples of the median beat
AVR, AVL, AVF, V1, V6 = 3, 4, 5, 6, 11
FLAT_LIMB_LEAD = (
    "lead I is nearly flat: electrodes of both arms exchanged with those of the legs?",
    "lead II is nearly flat: electrodes of right arm and right leg exchanged?",
    "lead III is nearly flat: electrodes of left arm and right leg exchanged?",
)


class Arrangement(NamedTuple):
    """Leads in the order in which they view the heart, if an electrode is exchanged.

    Attributes
    ----------
    warning : str
    leads, signs : tuple of int
        Numbers of eight leads, and -1 for a lead that is inverted.
    limit : float
        Length of the order in proportion to the stated one, below which it is more plausible.
    upright, inverted : tuple of int
        Leads whose QRS points upwards and downwards as recorded in that case.
    inverted_p_t : int, optional
        Lead in which P and T together point downwards as recorded in that case.
    """

    warning: str
    leads: tuple[int, ...]
    signs: tuple[int, ...]
    limit: float
    upright: tuple[int, ...] = ()
    inverted: tuple[int, ...] = ()
    inverted_p_t: int | None = None


def _arrangements() -> list[Arrangement]:
    """Return the stated order of the leads, then those of each error that can be recognized."""
    chest = tuple(range(V1, V6 + 1))
    plain = (1,) * 7 + (-1,)
    stated = Arrangement("", (AVR, *chest, AVR), plain, 1.0)
    arrangements = [stated]
    for a, b in combinations(range(1, 7), 2):
        order = list(stated.leads)
        order[a], order[b] = order[b], order[a]
        warning = f"V{a} and V{b} seem to be exchanged"
        arrangements.append(Arrangement(warning, tuple(order), plain, 0.82))
    for a in range(1, 7):
        signs = tuple(-1 if i in (a, 7) else 1 for i in range(8))
        warning = f"lead V{a} seems to be upside down"
        arrangements.append(Arrangement(warning, stated.leads, signs, 0.9))
    reverse = "V1 to V6 seem to be in reverse order"
    arrangements.append(Arrangement(reverse, (AVR, *chest[::-1], AVR), plain, 0.95, (1,)))
    arms = "arm electrodes exchanged, or dextrocardia?"
    arrangements.append(Arrangement(arms, (AVL, *chest, AVL), plain, 0.9, (), (0,)))
    # A left anterior fascicular block inverts the QRS complex in II, but neither P nor T.
    leg = "electrodes of right arm and left leg exchanged?"
    arrangements.append(Arrangement(leg, (AVF, *chest, AVF), plain, 0.9, inverted_p_t=1))
    return arrangements


ARRANGEMENTS = _arrangements()
ORDERS = np.array([arrangement.leads for arrangement in ARRANGEMENTS])
SIGNS = np.array([arrangement.signs for arrangement in ARRANGEMENTS])
LIMITS = np.array([arrangement.limit for arrangement in ARRANGEMENTS])


def electrode_warnings(
    signal: np.ndarray, available: np.ndarray, is_clear: np.ndarray
) -> list[str]:
    """Return warnings about electrodes and about leads that contradict each other.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), float64, mV, at ``FS``
        Leads in the order of ``leads.LEADS``; the median of each is zero.
    available : ndarray of shape (12,), bool
        Leads that the record has, see ``leads.available_leads``.
    is_clear : ndarray of shape (12,), bool
        Leads without noise and the like, which can be compared with others.

    Returns
    -------
    list of str
        At most one sentence about limb leads that contradict each other and one about electrodes.

    Notes
    -----
    Limb leads: the laws of Einthoven and Goldberger. Chest leads: aVR, V1 ... V6 and the inverse
    of aVR view the heart from the right shoulder around the chest to the left, so that neighbors
    are alike. The length of that order is the sum of the distances of neighbors, with slopes
    scaled to one, ``sqrt(2 - 2 correlation)``. An electrode that is somewhere else makes it longer
    than the order in which the leads really are. Electrodes of left arm and left leg that are
    exchanged, or those of the two legs, are not recognized.
    """
    is_clear = is_clear & available
    if not is_clear[:3].all():
        return []
    warnings = _contradiction(signal)
    slopes = signal[:, LAG:] - signal[:, :-LAG]
    slopes -= slopes.mean(axis=1, keepdims=True)
    covariance = slopes @ slopes.T / slopes.shape[1]
    size = np.sqrt(covariance.diagonal())
    if warnings or not size[:3].any():
        return warnings
    relative = size[:3] / size[:3].max()
    if relative.min() < NEARLY_FLAT:
        return [FLAT_LIMB_LEAD[relative.argmin()]]
    # A lead without a signal is like no other.
    correlation = covariance / np.outer(size, size).clip(1e-12)
    polarity = _polarity(signal)
    if is_clear.all() and size.all():
        warnings = _misplaced(signal, correlation, polarity)
        if not warnings and _is_upside_down(signal, polarity):
            warnings = ["all leads seem to be upside down"]
    if not warnings and correlation[0, V6] < OPPOSED and polarity[0] < 0:
        return ["lead I runs against V6: arm electrodes exchanged, or dextrocardia?"]
    return warnings


def _contradiction(signal: np.ndarray) -> list[str]:
    """Return a warning if the limb leads do not fit each other, with the lead that may be wrong."""

    def error_mv(limb: np.ndarray) -> float:
        """Return how much III, aVR, aVL, aVF differ from what follows from I and II."""
        error = np.abs(limb[2:] - LIMBS[2:, 1:] @ limb[:2])
        # A quantile is not above the largest value, which is found sooner.
        largest = float(error.max())
        return largest if largest <= CONTRADICTION_MV else float(quantiles(error, (0.95,)).max())

    limb = signal[:6]
    error = error_mv(limb)
    if error <= CONTRADICTION_MV:
        return []
    for i in range(6):
        signs = np.where(np.arange(6) == i, -1.0, 1.0)[:, None]
        if error_mv(limb * signs) <= CONTRADICTION_MV:
            return [f"lead {LEADS[i]} contradicts the other limb leads: upside down?"]
    sum_mv = np.percentile(np.abs(limb[0] + limb[2] - limb[1]), 95)
    law = "I + III is not II" if sum_mv > CONTRADICTION_MV else "aVR is not -(I + II) / 2"
    return [f"limb leads contradict each other: {law} (off by {error:.1f} mV): wrong lead names?"]


def _misplaced(signal: np.ndarray, correlation: np.ndarray, polarity: np.ndarray) -> list[str]:
    """Return a warning of the arrangement of the leads that is more plausible than the stated."""
    alike = SIGNS[:, :-1] * SIGNS[:, 1:] * correlation[ORDERS[:, :-1], ORDERS[:, 1:]]
    lengths = np.sqrt(np.maximum(0.0, 2 - 2 * alike)).sum(axis=1)
    shorter = np.flatnonzero(lengths < LIMITS * lengths[0]).tolist()  # never the stated one
    found = [
        (float(lengths[i]), arrangement.warning)
        for i, arrangement in ((i, ARRANGEMENTS[i]) for i in shorter)
        if (polarity[list(arrangement.upright)] > 0).all()
        and (polarity[list(arrangement.inverted)] < 0).all()
        and (arrangement.inverted_p_t is None or _inverts_p_t(signal, arrangement.inverted_p_t))
    ]
    return [min(found)[1]] if found else []


def _inverts_p_t(signal: np.ndarray, lead: int) -> bool:
    """Return whether P and T together point downwards in a lead; without P, T decides."""
    beat = _median_beat(signal, n_min=1)
    if beat is None:
        return False
    return bool(2 * beat[lead, P_WAVE].mean() + beat[lead, T_WAVE].mean() < INVERTED_MV)


def _polarity(signal: np.ndarray) -> np.ndarray:
    """Return the largest upward and downward deflection together, (12,), mV; median removed."""
    return quantiles(signal, (0.005, 0.995)).sum(axis=1)


def _is_upside_down(signal: np.ndarray, polarity: np.ndarray) -> bool:
    """Return whether QRS, T and P point away from the left side of the body.

    The left side is I, II, V4, V5, V6 and the inverse of aVR. One of the three waves is often
    inverted by disease, and QRS and T together in a block or with a pacemaker, hardly ever all.
    """

    def sum_of(wave: np.ndarray) -> float:
        return float((wave[left] * signs).sum() / max(np.abs(wave[left]).sum(), 1e-9))

    left, signs = [0, 1, 9, 10, 11, AVR], np.array([1, 1, 1, 1, 1, -1])
    # The other two sums are at least -1: of most records no median beat is needed.
    if sum_of(polarity) - 2 > UPSIDE_DOWN or (beat := _median_beat(signal)) is None:
        return False
    waves = [polarity, beat[:, T_WAVE].mean(axis=1), beat[:, P_WAVE].mean(axis=1)]
    return sum(map(sum_of, waves)) < UPSIDE_DOWN


def _median_beat(signal: np.ndarray, n_min: int = MIN_BEATS) -> np.ndarray | None:
    """Return the median beat, (12, 72), from 0.3 s before to 0.42 s after the steepest slope.

    Zero is the level before the QRS complex. None with fewer than ``n_min``.
    """
    steepness = np.sqrt((np.diff(signal, axis=1) ** 2).sum(axis=0))
    steepness = np.convolve(steepness, np.hanning(9)[1:-1], "same")
    inner = steepness[1:-1]
    is_peak = (inner >= steepness[:-2]) & (inner > steepness[2:])
    is_peak &= inner > 0.5 * np.percentile(steepness, 98)
    peaks = np.flatnonzero(is_peak) + 1
    beats: list[int] = []
    for peak in peaks[np.argsort(-steepness[peaks])].tolist():
        if all(abs(peak - other) > 25 for other in beats):
            beats.append(peak)
    whole = [at for at in beats if 30 <= at <= signal.shape[1] - 42]
    if len(whole) < n_min:
        return None
    beat = np.median([signal[:, at - 30 : at + 42] for at in whole], axis=0)
    return np.asarray(beat - beat[:, 22:24].mean(axis=1, keepdims=True))
