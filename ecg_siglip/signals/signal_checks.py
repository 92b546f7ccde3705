"""Check that a signal can be an ECG: finite samples, no flat lead, the amplitude of an ECG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_siglip.signals.gaps import GAPS_ALLOWED, gap_error
from ecg_siglip.signals.leads import lead_list, record_prefix
from ecg_siglip.signals.small_arrays import row_medians

# Range of the amplitude (`amplitude_mv`) of anything that can be a 12-lead ECG in mV.
PLAUSIBLE_MV = (0.02, 10.0)
# An electrocardiograph must resolve 5 uV: a lead with a smaller range has no signal.
FLAT_MV = 0.005
PEAK = 0.99  # quantile of the distance from the median that is the height of the peaks


def nonflat_leads(signal: np.ndarray, names: Sequence[str]) -> list[int]:
    """Return the rows of the leads that have a signal; NaN is left to ``check_signal``.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV
    names : sequence of str, length n_leads

    Returns
    -------
    list of int
        Empty if the shape of the signal does not match the names.
    """
    if signal.ndim != 2 or len(signal) != len(names) or not signal.shape[1]:
        return []
    return np.flatnonzero(~(np.ptp(signal, axis=1) < FLAT_MV)).tolist()


def amplitude_mv(signal: np.ndarray) -> float:
    """Return the amplitude of a typical lead: how far its peaks are from its median.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV

    Returns
    -------
    float, mV
        Median over the leads of the 99th percentile over time of ``|x - median|``, without
        constant leads; 0 if all are constant.

    Notes
    -----
    The QRS complex takes up about 5 to 15 % of the time, so the 99th percentile is at its height,
    and artefacts in 1 % of the time do not change it. The median over leads ignores up to five
    leads that have fallen off or saturate.
    """
    nonconstant = signal[np.ptp(signal, axis=1) > 0]
    if not len(nonconstant):
        return 0.0
    deviation = np.abs(nonconstant - row_medians(nonconstant)[:, None])
    return float(np.median(np.quantile(deviation, PEAK, axis=1)))


def _is_plausible(signal: np.ndarray, range_mv: np.ndarray) -> bool:
    """Return whether the amplitude of a signal, with these ranges, is within ``PLAUSIBLE_MV``.

    Of nearly all records this is clear without the amplitude. If that of a lead were below the
    lower limit, all but the peaks, 1 % of its samples, would be closer to its median than the
    limit. So would the median of every eighth sample, and only the peaks could be twice the limit
    away from that one.
    """
    low, high = PLAUSIBLE_MV
    n_samples = signal.shape[1]
    n_peak = n_samples - int(PEAK * (n_samples - 1))  # from the quantile upwards
    median_mv = row_medians(signal[:, ::8])
    is_far = np.abs(signal - median_mv[:, None]) >= 2 * low
    is_clear = (np.count_nonzero(is_far, axis=1) >= n_peak) & (range_mv <= high)
    if 2 * is_clear.sum() > np.count_nonzero(range_mv):
        return True
    return low <= amplitude_mv(signal) <= high


def check_finite(signal: np.ndarray, record: str = "") -> None:
    """Check that a signal has no invalid sample.

    Raises
    ------
    ValueError
        If there is a NaN or infinite sample.
    """
    is_gap = ~np.isfinite(signal)
    if is_gap.any():
        raise ValueError(
            f"{gap_error(is_gap, record)}; waveform.allow_gaps=true interpolates {GAPS_ALLOWED}"
        )


def check_signal(
    signal: np.ndarray,
    record: str = "",
    allow_flat: bool = False,
    available: np.ndarray | None = None,
) -> None:
    """Check that a signal can be a 12-lead ECG in mV.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), mV
        Leads in the order of ``LEADS``.
    record : str
        Name of the record, for messages.
    allow_flat : bool
        Accept leads without any signal, as long as one lead has some.
    available : ndarray of shape (12,), bool, optional
        Leads that the record has (None: all); the others may be flat.

    Raises
    ------
    ValueError
        If there are no samples, a NaN or infinite sample, a flat lead, or if the amplitude shows
        that units or gain are wrong.

    Notes
    -----
    Wrong units mean a factor of 1000. A QRS complex below 0.5 mV in every limb lead already counts
    as low voltage, and electrocardiographs are built for at most 5 mV in either direction
    (IEC 60601-2-25), so an amplitude (``amplitude_mv``) below 0.02 mV, a fifth of a millimetre on
    paper, or above 10 mV is not that of an ECG in mV. Smaller errors of gain (a factor of 2 or 5)
    look like low or high voltage and cannot be distinguished from them.
    """
    if signal.shape[-1] == 0:
        raise ValueError(f"{record_prefix(record)}0 s of signal, expected at least one sample")
    check_finite(signal, record)
    range_mv = np.ptp(signal, axis=1)
    if range_mv.any() and not _is_plausible(signal, range_mv):
        low, high = PLAUSIBLE_MV
        raise ValueError(
            f"{record_prefix(record)}expected a typical lead to have an amplitude of {low:g} to "
            f"{high:g} mV, got {amplitude_mv(signal):.3g} mV: wrong units or gain?"
        )
    flat = range_mv < FLAT_MV
    if available is not None and not flat[available].all():
        flat &= available
    if flat.all() or (flat.any() and not allow_flat):
        hint = "" if flat.all() else "; accept with waveform.allow_flat=true"
        raise ValueError(
            f"{record_prefix(record)}flat {lead_list(flat)}, expected a signal in each{hint}"
        )
