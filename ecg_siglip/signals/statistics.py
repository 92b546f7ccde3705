"""Statistics of prepared signals that differ where ECGs differ: frequencies, rate, leads."""

from __future__ import annotations

import itertools

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.signals.small_arrays import quantiles

# Limits of the frequency bands, Hz.
BANDS_HZ = (0.3, 0.6, 1, 2, 3, 5, 7, 10, 14, 20, 25, 30, 35, 40, 45, 50.1)
SLOPE_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
# Leads that a device does not compute from others.
MEASURED = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
LEAST_MV = 1e-3  # of a standard deviation: below it there is no signal


def frequency_statistics(signals: np.ndarray, fs: float) -> np.ndarray:
    """Compute spectrum and slopes of signals.

    Parameters
    ----------
    signals : ndarray of shape (n, 12, n_samples), int16, uV
        Prepared signals.
    fs : float, Hz

    Returns
    -------
    ndarray of shape (n, n_statistics), float32
        Logarithms: mean power of the measured leads in each of ``BANDS_HZ``, and quantiles over
        time of the slopes of all leads, which depend on the heart rate, QRS width and noise.
    """
    x = _centred(signals)
    n_samples = x.shape[2]
    windowed = x[:, MEASURED] * np.hanning(n_samples).astype(np.float32)
    power = np.abs(np.fft.rfft(windowed, axis=2)) ** 2
    hz = np.fft.rfftfreq(n_samples, 1 / fs)
    bands = [(hz >= low) & (hz < high) for low, high in itertools.pairwise(BANDS_HZ)]
    columns = [
        np.log(power[:, :, band].sum(axis=2) / max(1, band.sum()) + 1e-6).mean(axis=1)
        for band in bands
    ]
    slope = np.abs(np.diff(x, axis=2)).sum(axis=1) * (fs / 100)
    columns += list(np.log(quantiles(slope, SLOPE_QUANTILES).T + 1e-3))
    return np.stack(columns, axis=1).astype(np.float32)


def lead_statistics(signals: np.ndarray) -> np.ndarray:
    """Compute relations of leads, and which way up each lead is.

    Parameters
    ----------
    signals : ndarray of shape (n, 12, n_samples), int16, uV

    Returns
    -------
    ndarray of shape (n, n_statistics), float32
        Correlations of the measured leads (their inverse hyperbolic tangent), and the skewness of
        all leads.
    """
    x = _centred(signals)
    deviation = x.std(axis=2, keepdims=True) + LEAST_MV
    unit = x / deviation
    measured = unit[:, MEASURED]
    correlation = measured @ measured.transpose(0, 2, 1) / x.shape[2]
    first, second = np.triu_indices(len(MEASURED), 1)
    relations = np.arctanh(correlation[:, first, second].clip(-0.99, 0.99))
    return np.concatenate([relations, (unit * unit * unit).mean(axis=2)], axis=1).astype(np.float32)


def _centred(signals: np.ndarray) -> np.ndarray:
    """Return signals in mV with a mean of 0, float32."""
    x = from_int16(np.asarray(signals))
    return np.asarray(x - x.mean(axis=2, keepdims=True), np.float32)
