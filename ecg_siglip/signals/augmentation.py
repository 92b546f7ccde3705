"""What training does to a record before each look: shift, gain, baseline wander, blanked parts.

Drawn as a pure function of (seed, epoch, record), done on whatever device the batch lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ecg_siglip.signals.leads import LEADS_FROM_ELECTRODES

# Baseline wander: respiration and movement, below the 0.5 Hz where the ECG's own content begins.
WANDER_HZ = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def draw(
    seed: int,
    epoch: int,
    records: np.ndarray,
    *,
    shift_s: float = 0.0,
    gain: float = 0.0,
    wander_mv: float = 0.0,
    lead_mask: float = 0.0,
    fewer_leads: float = 0.0,
    time_mask_s: float = 0.0,
    fs: float,
    n_samples: int,
) -> dict[str, np.ndarray]:
    """What ``apply`` does to each record of a batch.

    Parameters
    ----------
    seed, epoch : int, 0 to 2**32 - 1
    records : ndarray of shape (B,), int
        Numbers of the records, such as ecg_id.
    shift_s : float, s
        Largest shift in time, either way.
    gain : float, 0 to 0.9
        Largest change of amplitude, as a fraction, the same for all leads.
    wander_mv : float, mV
        Bound of the baseline wander in any lead.
    lead_mask : float, 0 to 0.9
        Chance that a lead is blanked; one always stays.
    fewer_leads : float, 0 to 1
        Chance that the record comes with a smaller set of leads, as other devices record: the
        limb leads alone, these and some of V1 to V6, lead I alone, or lead II alone.
    time_mask_s : float, s
        Longest stretch of time that is blanked in all leads.
    fs : float, Hz
    n_samples : int

    Returns
    -------
    dict of str to ndarray
        To be handed to ``apply`` as it is, or with each array as a tensor on the device of the
        signal. An augmentation that is off has no entry.

    Raises
    ------
    ValueError
        If shift or blanked stretch is not shorter than the signal.

    Notes
    -----
    A row is a pure function of (seed, epoch, record), whatever batch it is in and whatever else
    is switched on: a Philox counter generator (Salmon et al. 2011, doi:10.1145/2063384.2063405)
    keyed by the three.
    The wander is drawn at the nine electrodes, so III = II - I and the like hold as before.
    """
    for name, seconds in (("shift_s", shift_s), ("time_mask_s", time_mask_s)):
        if not 0 <= seconds < n_samples / fs:
            raise ValueError(
                f"{name}={seconds:g}: expected 0 or more and less than the {n_samples / fs:g} s "
                "of signal"
            )
    n_rows, n_tones = len(records), len(WANDER_HZ)
    n_wander = 9 * n_tones
    # Every row draws the same amount, used or not: one switch does not move another's numbers.
    uniform = _uniform(seed, epoch, records, 18 + 2 * n_wander + 3)
    params: dict[str, np.ndarray] = {}
    if shift_s or time_mask_s:
        params["sample"] = np.arange(n_samples)[None, None, :]
    if shift_s:
        largest = round(shift_s * fs)
        params["row"] = np.arange(n_rows)[:, None, None]
        params["lead"] = np.arange(12)[None, :, None]
        params["shift"] = _integer(uniform[:, 0], 2 * largest + 1)[:, None, None] - largest
    if gain:
        factor = 1 + gain * (2 * uniform[:, 1] - 1)
        params["gain"] = factor.astype(np.float32)[:, None, None]
    if time_mask_s:
        length = _integer(uniform[:, 2], round(time_mask_s * fs) + 1)
        start = _integer(uniform[:, 3], n_samples - length + 1)
        params["mask_start"] = start[:, None, None]
        params["mask_stop"] = (start + length)[:, None, None]
    if lead_mask or fewer_leads:
        kept = uniform[:, 5:17] >= lead_mask
        kept[np.arange(n_rows), _integer(uniform[:, 4], 12)] |= ~kept.any(axis=1)
        fewer = uniform[:, -3] < fewer_leads
        kept[fewer] = _lead_set(uniform[fewer, -2], uniform[fewer, -1])
        params["lead_kept"] = kept.astype(np.float32)[:, :, None]
    if wander_mv:
        amplitude = uniform[:, 18 : 18 + n_wander].reshape(n_rows, 9, n_tones)
        amplitude = amplitude / amplitude.sum(axis=2, keepdims=True)
        # Half the bound at each electrode: a lead is a difference of two potentials.
        amplitude = amplitude * (0.5 * wander_mv * uniform[:, 17, None, None])
        phase = uniform[:, 18 + n_wander : 18 + 2 * n_wander].reshape(n_rows, 9, n_tones)
        phase = 2 * np.pi * phase
        weights = np.concatenate([amplitude * np.sin(phase), amplitude * np.cos(phase)], axis=2)
        angle = 2 * np.pi * np.outer(WANDER_HZ, np.arange(n_samples) / fs)
        params["wander"] = LEADS_FROM_ELECTRODES @ weights.astype(np.float32)
        params["tones"] = np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32)
    return params


def apply(signal_BLS: Any, params: dict[str, Any]) -> Any:
    """A batch of signals as ``draw`` drew it.

    Parameters
    ----------
    signal_BLS : ndarray or tensor of shape (B, 12, n_samples), float32, mV
    params : dict of str to ndarray or tensor
        From ``draw`` for the same B and n_samples; tensors on the signal's device.

    Returns
    -------
    ndarray or tensor of shape (B, 12, n_samples), float32, mV
        The very same one if nothing is switched on.

    Notes
    -----
    Only operators, indexing and ``clip``, so that NumPy arrays and torch tensors run the same
    lines. What a shift brings in from outside the record is its first or last value, held: the
    end of a record does not follow its beginning, and zeros would be a step where the baseline
    is off zero. Blanked stretches and leads are 0 mV.
    """
    if "shift" in params:
        source = (params["sample"] - params["shift"]).clip(0, signal_BLS.shape[2] - 1)
        signal_BLS = signal_BLS[params["row"], params["lead"], source]
    if "gain" in params:
        signal_BLS = signal_BLS * params["gain"]
    if "wander" in params:
        signal_BLS = signal_BLS + params["wander"] @ params["tones"]
    if "mask_start" in params:
        before = params["sample"] < params["mask_start"]
        after = params["sample"] >= params["mask_stop"]
        signal_BLS = signal_BLS * (before | after)
    if "lead_kept" in params:
        signal_BLS = signal_BLS * params["lead_kept"]
    return signal_BLS


def _lead_set(kind: np.ndarray, chest: np.ndarray) -> np.ndarray:
    """Which leads there are, (B, 12) bool, from two uniform numbers a record."""
    kind = _integer(kind, 4)
    # As a number of six binary digits: some of V1 to V6, neither none nor all.
    chest_leads = (1 + _integer(chest, 62))[:, None] >> np.arange(6) & 1
    kept = np.zeros((len(kind), 12), bool)
    kept[kind <= 1, :6] = True
    kept[kind == 1, 6:] = chest_leads[kind == 1]
    kept[kind == 2, 0] = True
    kept[kind == 3, 1] = True
    return kept


def _uniform(seed: int, epoch: int, records: np.ndarray, n: int) -> np.ndarray:
    """Uniform numbers in [0, 1), (B, n) float64, each row from (seed, epoch, record) alone."""
    assert 0 <= seed < 2**32
    assert 0 <= epoch < 2**32
    raw = np.empty((len(records), n), np.uint64)
    for row, record in enumerate(np.asarray(records, np.int64).astype(np.uint64)):
        key = np.array([seed << 32 | epoch, record], np.uint64)
        raw[row] = np.random.Philox(key=key).random_raw(n)
    return (raw >> np.uint64(11)) * 2.0**-53


def _integer(uniform: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) as integers 0 to n - 1."""
    return np.floor(uniform * n).astype(np.int64)
