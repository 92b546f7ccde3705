"""Refuse leads that were cut into strips for printing: each lead in its own part of the time."""

from __future__ import annotations

import numpy as np

from ecg_siglip.signals.signal_checks import FLAT_MV

# A lead with a signal in at most this share of the record is a strip of a print layout.
STRIP = 0.35
N_STRIPS = 6
N_SAMPLES = 1 << 20  # that are searched at one time
STRIPS_ERROR = "a print layout of short strips, expected every lead over the whole length"


def check_layout(signal: np.ndarray) -> None:
    """Refuse print layouts: four times 2.5 s in 10 s, each lead in its own quarter.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_samples), mV

    Raises
    ------
    ValueError
        If many leads have a signal only in a part of the record, each in its own.

    Notes
    -----
    Time is divided into 40 pieces; a lead lasts from the first to the last piece in which it has a
    signal. Leads that all end at the same time are a short record: in a print layout, another lead
    has a signal elsewhere.
    """
    n_pieces = min(40, signal.shape[1] // 2)
    if n_pieces < 8 or len(signal) < N_STRIPS:
        return
    # A lead with a signal in the first and in the last piece is no strip: nearly every lead.
    size = signal.shape[1] // n_pieces
    ends = signal[:, :size], signal[:, (n_pieces - 1) * size : n_pieces * size]
    is_whole = np.logical_and(*(_pieces_with_signal(end, 1)[:, 0] for end in ends))
    if np.count_nonzero(~is_whole) < N_STRIPS:
        return
    n_rows = max(1, N_SAMPLES // signal.shape[1])
    has_signal = np.concatenate(
        [
            _pieces_with_signal(signal[first : first + n_rows], n_pieces)
            for first in range(0, len(signal), n_rows)
        ]
    )
    first = has_signal.argmax(axis=1)
    stop = n_pieces - has_signal[:, ::-1].argmax(axis=1)
    is_strip = has_signal.any(axis=1) & (stop - first <= STRIP * n_pieces)
    in_any_lead = np.flatnonzero(has_signal.any(axis=0))
    if is_strip.sum() >= N_STRIPS and np.ptp(in_any_lead) > n_pieces / 2:
        raise ValueError(
            f"{is_strip.sum()} of {len(signal)} leads have signal in a third of the record or "
            f"less: {STRIPS_ERROR}"
        )


def _pieces_with_signal(signal: np.ndarray, n_pieces: int) -> np.ndarray:
    """Return which pieces of leads have a signal, (n_leads, n_pieces)."""
    n_leads, n_samples = signal.shape
    whole = signal[:, : n_samples // n_pieces * n_pieces]
    pieces = whole.reshape(n_leads, n_pieces, -1)
    low, high, finite = pieces, pieces, np.isfinite(pieces)
    if not finite.all():
        low, high = np.where(finite, pieces, np.inf), np.where(finite, pieces, -np.inf)
    return np.asarray(high.max(axis=2) - low.min(axis=2) >= FLAT_MV)
