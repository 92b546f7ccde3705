"""What is wrong with a recording, in sentences for whoever holds it: noise, drift, electrodes.

The limits were set on PTB-XL's own notes on signal quality, folds 1-7 (docs/LOG.md): about every
second record warned of there is one that the people who read it noted as noisy or drifting.
"""

from __future__ import annotations

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import resample

FS = 100.0  # the rate that the limits were set at, Hz
NOISE_MV = 0.04  # of the noisiest second, standard deviation
DRIFT_MV = 2.0  # range of the medians of each second
FLAT_S = 0.5
CLIPPED_S = 0.03  # at the largest or smallest value of the lead
CLIPPED_MV = 1.0  # below that an amplifier does not clip
CONTRADICTION_MV = 0.1
SWAPPED = -0.4  # correlation of the slopes of I and V6
LIMBS = ("I", "II", "III")


def quality_warnings(
    signal: np.ndarray, fs: float, available: np.ndarray | None = None
) -> list[str]:
    """What is suspicious about a record, a sentence each; empty where nothing is.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), float, mV
        Leads in the order of ``leads.LEADS``, as recorded, at least a second, without NaN.
    fs : float, Hz
    available : ndarray of shape (12,), bool, optional
        Leads that the record has, see ``leads.available_leads``; null: all. Nothing is said of others.

    Returns
    -------
    list of str

    Notes
    -----
    Noise: median absolute second difference of each second, which the QRS does not move. Arms: an
    exchange of the arm electrodes turns lead I upside down; it then runs against V6, which looks
    from the same side and is not touched by it. Limb leads: Einthoven's law, I + III = II.
    """
    signal = np.asarray(signal, np.float64)
    there = np.ones(len(signal), bool) if available is None else np.asarray(available)
    found = [*_flat(signal, fs, there), *_clipped(signal, fs)]
    at_fs = resample(signal, fs, FS)
    found += _noisy(at_fs) + _drifting(at_fs)
    # With fewer than three limb leads there is no law for them to break.
    return found + (_electrodes(at_fs) if there[:3].all() else [])


def _flat(signal: np.ndarray, fs: float, there: np.ndarray) -> list[str]:
    still_s = (_longest_run(np.diff(signal, axis=1) == 0) + 1) / fs
    return [
        f"lead {lead} does not move for {taken:.1f} s: a loose electrode?"
        for lead, taken, here in zip(LEADS, still_s, there, strict=True)
        if here and taken >= FLAT_S
    ]


def _clipped(signal: np.ndarray, fs: float) -> list[str]:
    found, n_clipped = [], max(3, round(CLIPPED_S * fs))
    for lead, row in zip(LEADS, signal, strict=True):
        for extreme in (row.max(), row.min()):
            long = _longest_run((row == extreme)[None])[0]
            if abs(extreme) >= CLIPPED_MV and long >= n_clipped and np.ptp(row):
                found.append(f"lead {lead} is cut off at {extreme:.1f} mV")
    return found


def _noisy(signal: np.ndarray) -> list[str]:
    bend = np.abs(np.diff(_seconds(signal), n=2, axis=2))
    # 1.4826: standard deviation from the median; 6: the variance that second differences add.
    noise_mv = (1.4826 * np.median(bend, axis=2) / np.sqrt(6)).max(axis=1)
    return _leads("noise", noise_mv, NOISE_MV)


def _drifting(signal: np.ndarray) -> list[str]:
    return _leads(
        "a moving baseline", np.ptp(np.median(_seconds(signal), axis=2), axis=1), DRIFT_MV
    )


def _electrodes(signal: np.ndarray) -> list[str]:
    lead = dict(zip(LEADS, signal, strict=True))
    found = []
    off_mv = np.percentile(np.abs(lead["I"] + lead["III"] - lead["II"]), 95)
    if off_mv > CONTRADICTION_MV:
        found.append(
            f"limb leads contradict each other: I + III is not II (off by {off_mv:.1f} mV): wrong "
            "lead names?"
        )
    slope_1, slope_6 = np.diff(lead["I"]), np.diff(lead["V6"])
    if slope_1.std() > 0 and slope_6.std() > 0:
        middle = np.median(lead["I"])
        downwards = np.percentile(lead["I"], 99.5) + np.percentile(lead["I"], 0.5) < 2 * middle
        if np.corrcoef(slope_1, slope_6)[0, 1] < SWAPPED and downwards:
            found.append("lead I runs against V6: arm electrodes exchanged?")
    return found


def _leads(what: str, value_mv: np.ndarray, limit_mv: float) -> list[str]:
    leads = [lead for lead, value in zip(LEADS, value_mv, strict=True) if value > limit_mv]
    if not leads:
        return []
    named = "all leads" if len(leads) == len(LEADS) else f"{', '.join(leads)}"
    return [f"{what} in {named} ({value_mv.max():.2g} mV)"]


def _seconds(signal: np.ndarray) -> np.ndarray:
    """(12, n_samples) at ``FS`` -> (12, n_seconds, samples of a second); what is over is left."""
    size = min(int(FS), signal.shape[1])
    n = signal.shape[1] // size
    return signal[:, : n * size].reshape(len(signal), n, size)


def _longest_run(flags: np.ndarray) -> np.ndarray:
    """Of True in each row."""
    padded = np.pad(flags, ((0, 0), (1, 1))).astype(np.int8)
    longest = []
    for row in np.diff(padded, axis=1):
        starts, stops = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        longest.append((stops - starts).max(initial=0))
    return np.array(longest)
