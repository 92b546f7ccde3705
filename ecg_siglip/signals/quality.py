"""Warnings about the quality of a recording: noise, baseline drift, loose or exchanged electrodes.

The limits were set on PTB-XL's own notes on signal quality, folds 1-7 (docs/LOG.md): about half of
the records with a warning are records that its annotators noted as noisy or drifting.
"""

from __future__ import annotations

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import resample

FS = 100.0  # Hz, the sampling rate at which the limits were set
NOISE_MV = 0.04  # standard deviation in the noisiest second
DRIFT_MV = 2.0  # range of the medians of all seconds
FLAT_S = 0.5
CLIPPED_S = 0.03  # at the largest or smallest value of the lead
CLIPPED_MV = 1.0  # amplifiers do not clip below it
CONTRADICTION_MV = 0.1
SWAPPED = -0.4  # correlation of the slopes of I and V6


def quality_warnings(
    signal: np.ndarray, fs: float, available: np.ndarray | None = None
) -> list[str]:
    """Return warnings about the quality of a record, one sentence each; empty for a clean one.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), float, mV
        Leads in the order of ``leads.LEADS``, as recorded, at least a second, without NaN.
    fs : float, Hz
    available : ndarray of shape (12,), bool, optional
        Leads that the record has, see ``leads.available_leads`` (None: all); there are no
        warnings about others.

    Returns
    -------
    list of str

    Notes
    -----
    Noise: median absolute second difference in each second, which the QRS complex hardly changes.
    Arm electrodes: exchanging them inverts lead I, which is then negatively correlated with V6;
    V6 looks at the heart from the same side and is not affected. Limb leads: Einthoven's law,
    I + III = II.
    """
    signal = np.asarray(signal, np.float64)
    is_available = np.ones(len(signal), bool) if available is None else np.asarray(available)
    warnings = [*_flat(signal, fs, is_available), *_clipped(signal, fs)]
    at_fs = resample(signal, fs, FS)
    warnings += _noisy(at_fs) + _drifting(at_fs)
    # Einthoven's law can only be checked with three limb leads.
    return warnings + (_electrodes(at_fs) if is_available[:3].all() else [])


def _flat(signal: np.ndarray, fs: float, is_available: np.ndarray) -> list[str]:
    """Return warnings of available leads that are constant for ``FLAT_S`` or longer."""
    constant_s = (_longest_run(np.diff(signal, axis=1) == 0) + 1) / fs
    return [
        f"lead {LEADS[i]} does not move for {constant_s[i]:.1f} s: a loose electrode?"
        for i in np.flatnonzero(is_available)
        if constant_s[i] >= FLAT_S
    ]


def _clipped(signal: np.ndarray, fs: float) -> list[str]:
    """Return warnings of leads that stay at their largest or smallest value."""
    warnings, min_run = [], max(3, round(CLIPPED_S * fs))
    for lead, row in zip(LEADS, signal, strict=True):
        for extreme in (row.max(), row.min()):
            run = _longest_run((row == extreme)[None])[0]
            if abs(extreme) >= CLIPPED_MV and run >= min_run and np.ptp(row):
                warnings.append(f"lead {lead} is cut off at {extreme:.1f} mV")
    return warnings


def _noisy(signal: np.ndarray) -> list[str]:
    """Return at most one warning that lists the leads with noise."""
    second_difference = np.abs(np.diff(_seconds(signal), n=2, axis=2))
    # 1.4826: standard deviation from the median; 6: the variance that second differences add.
    noise_mv = (1.4826 * np.median(second_difference, axis=2) / np.sqrt(6)).max(axis=1)
    return _above_limit("noise", noise_mv, NOISE_MV)


def _drifting(signal: np.ndarray) -> list[str]:
    """Return at most one warning that lists the leads with a moving baseline."""
    drift_mv = np.ptp(np.median(_seconds(signal), axis=2), axis=1)
    return _above_limit("a moving baseline", drift_mv, DRIFT_MV)


def _electrodes(signal: np.ndarray) -> list[str]:
    """Return warnings of limb leads that contradict each other and of exchanged arm electrodes."""
    lead = dict(zip(LEADS, signal, strict=True))
    warnings = []
    error_mv = np.percentile(np.abs(lead["I"] + lead["III"] - lead["II"]), 95)
    if error_mv > CONTRADICTION_MV:
        warnings.append(
            f"limb leads contradict each other: I + III is not II (off by {error_mv:.1f} mV): "
            "wrong lead names?"
        )
    slope_1, slope_6 = np.diff(lead["I"]), np.diff(lead["V6"])
    if slope_1.std() > 0 and slope_6.std() > 0:
        baseline = np.median(lead["I"])
        is_negative = np.percentile(lead["I"], 99.5) + np.percentile(lead["I"], 0.5) < 2 * baseline
        if np.corrcoef(slope_1, slope_6)[0, 1] < SWAPPED and is_negative:
            warnings.append("lead I runs against V6: arm electrodes exchanged?")
    return warnings


def _above_limit(quantity: str, value_mv: np.ndarray, limit_mv: float) -> list[str]:
    """Return at most one warning that lists the leads above a limit, with the largest value."""
    leads = [lead for lead, value in zip(LEADS, value_mv, strict=True) if value > limit_mv]
    if not leads:
        return []
    which = "all leads" if len(leads) == len(LEADS) else ", ".join(leads)
    return [f"{quantity} in {which} ({value_mv.max():.2g} mV)"]


def _seconds(signal: np.ndarray) -> np.ndarray:
    """Split (12, n_samples) at ``FS`` into whole seconds, (12, n_seconds, samples per second)."""
    size = min(int(FS), signal.shape[1])
    n = signal.shape[1] // size
    return signal[:, : n * size].reshape(len(signal), n, size)


def _longest_run(flags: np.ndarray) -> np.ndarray:
    """Return the length of the longest run of True in each row."""
    padded = np.pad(flags, ((0, 0), (1, 1))).astype(np.int8)
    lengths = []
    for row in np.diff(padded, axis=1):
        starts, stops = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        lengths.append((stops - starts).max(initial=0))
    return np.array(lengths)
