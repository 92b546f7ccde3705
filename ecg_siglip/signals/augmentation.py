"""Augment training signals: time shift, gain, baseline wander, masked leads and time spans.

The parameters are a pure function of (seed, epoch, record) and are drawn in NumPy on the CPU; they
are applied on the device of the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ecg_siglip.signals.leads import LEADS_FROM_ELECTRODES

# Baseline wander: respiration and movement, below the 0.5 Hz where the ECG's own content begins.
WANDER_HZ = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
N_ELECTRODES = 9
N_WANDER = N_ELECTRODES * len(WANDER_HZ)
# Which of a record's uniform numbers each augmentation uses.
SHIFT, GAIN, MASK_LENGTH, MASK_START, UNMASKED_LEAD = range(5)
LEAD_MASK = slice(5, 17)
WANDER_AMPLITUDE = 17
WANDER_SHARES = slice(18, 18 + N_WANDER)
WANDER_PHASES = slice(18 + N_WANDER, 18 + 2 * N_WANDER)
FEWER_LEADS, LEAD_SET, CHEST_LEADS = range(18 + 2 * N_WANDER, 18 + 2 * N_WANDER + 3)
N_UNIFORM = CHEST_LEADS + 1


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
    """Draw the parameters with which ``apply`` augments each record of a batch.

    Parameters
    ----------
    seed, epoch : int, 0 to 2**32 - 1
    records : ndarray of shape (B,), int
        Numbers of the records, such as ecg_id.
    shift_s : float, s
        Largest shift in time, in either direction.
    gain : float, 0 to 0.9
        Largest relative change of amplitude, the same for all leads.
    wander_mv : float, mV
        Bound of the baseline wander in any lead.
    lead_mask : float, 0 to 0.9
        Probability of masking a lead; at least one lead is kept.
    fewer_leads : float, 0 to 1
        Probability of masking leads down to a set that other devices record: the limb leads, these
        and some of V1 to V6, lead I alone, or lead II alone.
    time_mask_s : float, s
        Longest time span that is masked in all leads.
    fs : float, Hz
    n_samples : int

    Returns
    -------
    dict of str to ndarray
        Input of ``apply``, as it is or with each array as a tensor on the device of the signal. An
        augmentation that is off has no entry.

    Raises
    ------
    ValueError
        If the shift or the masked time span is not shorter than the signal.

    Notes
    -----
    A row is a pure function of (seed, epoch, record), whatever batch it is in and whatever else is
    switched on: a Philox counter generator (Salmon et al. 2011, doi:10.1145/2063384.2063405) with
    the three as its key.
    """
    for name, seconds in (("shift_s", shift_s), ("time_mask_s", time_mask_s)):
        if not 0 <= seconds < n_samples / fs:
            raise ValueError(
                f"{name}={seconds:g}: expected 0 or more and less than the {n_samples / fs:g} s "
                "of signal"
            )
    # Every row draws all numbers, used or not: switching one augmentation on or off does not
    # change the numbers of another.
    uniform = _uniform(seed, epoch, records, N_UNIFORM)
    params: dict[str, np.ndarray] = {}
    if shift_s or time_mask_s:
        params["sample"] = np.arange(n_samples)[None, None, :]
    if shift_s:
        params |= _draw_shift(uniform, round(shift_s * fs))
    if gain:
        factor = 1 + gain * (2 * uniform[:, GAIN] - 1)
        params["gain"] = factor.astype(np.float32)[:, None, None]
    if time_mask_s:
        params |= _draw_time_mask(uniform, round(time_mask_s * fs), n_samples)
    if lead_mask or fewer_leads:
        params["lead_kept"] = _draw_kept_leads(uniform, lead_mask, fewer_leads)
    if wander_mv:
        params |= _draw_wander(uniform, wander_mv, fs, n_samples)
    return params


def apply(signal_BLS: Any, params: dict[str, Any]) -> Any:
    """Augment a batch of signals with the parameters from ``draw``.

    Parameters
    ----------
    signal_BLS : ndarray or tensor of shape (B, 12, n_samples), float32, mV
    params : dict of str to ndarray or tensor
        From ``draw`` for the same B and n_samples; tensors on the signal's device.

    Returns
    -------
    ndarray or tensor of shape (B, 12, n_samples), float32, mV
        The same object if nothing is switched on.

    Notes
    -----
    Uses only operators, indexing and ``clip``, so that NumPy arrays and torch tensors run the same
    lines. Samples that a shift brings in from outside the record repeat its first or last value:
    wrapping around would join the end of a record to its beginning, and zeros would be a step where
    the baseline is not at zero. Masked time spans and leads are 0 mV.
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


def _draw_shift(uniform: np.ndarray, max_shift: int) -> dict[str, np.ndarray]:
    """Return the shift of each record in samples, with the indices of rows and leads."""
    shift = _integer(uniform[:, SHIFT], 2 * max_shift + 1)[:, None, None] - max_shift
    return {
        "row": np.arange(len(uniform))[:, None, None],
        "lead": np.arange(12)[None, :, None],
        "shift": shift,
    }


def _draw_time_mask(uniform: np.ndarray, max_length: int, n_samples: int) -> dict[str, np.ndarray]:
    """Return the first masked sample of each record and the first one after the mask."""
    length = _integer(uniform[:, MASK_LENGTH], max_length + 1)
    start = _integer(uniform[:, MASK_START], n_samples - length + 1)
    return {
        "mask_start": start[:, None, None],
        "mask_stop": (start + length)[:, None, None],
    }


def _draw_kept_leads(uniform: np.ndarray, lead_mask: float, fewer_leads: float) -> np.ndarray:
    """Return 1 for each lead that is kept and 0 for each that is masked, (B, 12, 1) float32."""
    lead_kept = uniform[:, LEAD_MASK] >= lead_mask
    all_masked = ~lead_kept.any(axis=1)
    lead_kept[np.arange(len(uniform)), _integer(uniform[:, UNMASKED_LEAD], 12)] |= all_masked
    is_reduced = uniform[:, FEWER_LEADS] < fewer_leads
    lead_kept[is_reduced] = _lead_set(
        uniform[is_reduced, LEAD_SET], uniform[is_reduced, CHEST_LEADS]
    )
    return lead_kept.astype(np.float32)[:, :, None]


def _lead_set(kind: np.ndarray, chest: np.ndarray) -> np.ndarray:
    """Return the leads of a reduced set, (B, 12) bool, from two uniform numbers per record."""
    kind = _integer(kind, 4)
    # As a number of six binary digits: some of V1 to V6, neither none nor all.
    chest_leads = (1 + _integer(chest, 62))[:, None] >> np.arange(6) & 1
    leads = np.zeros((len(kind), 12), bool)
    leads[kind <= 1, :6] = True
    leads[kind == 1, 6:] = chest_leads[kind == 1]
    leads[kind == 2, 0] = True
    leads[kind == 3, 1] = True
    return leads


def _draw_wander(
    uniform: np.ndarray, wander_mv: float, fs: float, n_samples: int
) -> dict[str, np.ndarray]:
    """Return the weights of each lead in mV, (B, 12, 2 * n_tones), and the tones in time.

    The wander is drawn at the nine electrodes, so that III = II - I and the like still hold.
    """
    n_rows, n_tones = len(uniform), len(WANDER_HZ)
    amplitude = uniform[:, WANDER_SHARES].reshape(n_rows, N_ELECTRODES, n_tones)
    amplitude = amplitude / amplitude.sum(axis=2, keepdims=True)
    # Half the bound at each electrode: a lead is a difference of two potentials.
    amplitude = amplitude * (0.5 * wander_mv * uniform[:, WANDER_AMPLITUDE, None, None])
    phase = uniform[:, WANDER_PHASES].reshape(n_rows, N_ELECTRODES, n_tones)
    phase = 2 * np.pi * phase
    weights = np.concatenate([amplitude * np.sin(phase), amplitude * np.cos(phase)], axis=2)
    angle = 2 * np.pi * np.outer(WANDER_HZ, np.arange(n_samples) / fs)
    return {
        "wander": LEADS_FROM_ELECTRODES @ weights.astype(np.float32),
        "tones": np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32),
    }


def _uniform(seed: int, epoch: int, records: np.ndarray, n: int) -> np.ndarray:
    """Return uniform numbers in [0, 1), (B, n) float64, each row from (seed, epoch, record)."""
    assert 0 <= seed < 2**32
    assert 0 <= epoch < 2**32
    raw = np.empty((len(records), n), np.uint64)
    for row, record in enumerate(np.asarray(records, np.int64).astype(np.uint64)):
        key = np.array([seed << 32 | epoch, record], np.uint64)
        raw[row] = np.random.Philox(key=key).random_raw(n)
    return (raw >> np.uint64(11)) * 2.0**-53


def _integer(uniform: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Turn uniform numbers in [0, 1) into integers from 0 to n - 1."""
    return np.floor(uniform * n).astype(np.int64)
