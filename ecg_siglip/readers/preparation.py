"""Prepare a record for a model: the single path from a ``Record`` to the model's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import available_leads, order_leads
from ecg_siglip.signals.measurements import Measurements
from ecg_siglip.signals.preprocessing import prepare_signal, to_int16
from ecg_siglip.signals.resampling import resample


@dataclass(frozen=True, eq=False)
class RecordedSignal:
    """The part of a recording that a model sees, as the file has it: not filtered or resampled.

    Attributes
    ----------
    signal : ndarray of shape (12, n_samples), mV
        NaN where the file marks a sample as invalid, and in leads that the record does not have.
    fs : float, Hz
    """

    signal: np.ndarray
    fs: float


@dataclass(frozen=True, eq=False)
class PreparedRecord:
    """A record as the input of a model.

    Attributes
    ----------
    record : str
        Name or path of the record.
    signal : ndarray of shape (12, n_samples), int16, uV
    available : ndarray of shape (12,), bool
        Leads that the record has, see ``leads.available_leads``.
    duration_s : float, s
        Length of the recording, before it was cropped or padded.
    warnings : list of str
    measurements : Measurements, optional
        Of the recording at its own sampling rate, see ``measurements.measure_ecg``.
    recorded : RecordedSignal, optional
        The same part of the record, as recorded.
    identity, device
        As of the ``Record``.
    """

    record: str
    signal: np.ndarray
    available: np.ndarray
    duration_s: float
    warnings: list[str] = field(default_factory=list)
    measurements: Measurements | None = None
    recorded: RecordedSignal | None = None
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()


def prepare_record(
    record: Record,
    spec: Mapping[str, Any],
    resampler: Callable[[np.ndarray, float, float, bool], np.ndarray] = resample,
    drawn: bool = True,
) -> PreparedRecord:
    """Prepare a record for a model.

    Parameters
    ----------
    record : Record
    spec : mapping
        Keyword arguments of ``preprocessing.prepare_signal``, as stored with a model.
    resampler : callable
        ``resampling.resample``, or one that shares its results.
    drawn : bool
        With the signal as recorded.

    Returns
    -------
    PreparedRecord
        Without warnings.

    Raises
    ------
    ValueError
        As ``preprocessing.prepare_signal``: a missing or flat lead, NaN, wrong units, too short.
    """
    signal = prepare_signal(
        record.signal, record.fs, record.leads, record=record.name, resampler=resampler, **spec
    )
    return PreparedRecord(
        record.name,
        to_int16(signal),
        available_leads(record.leads),
        record.signal.shape[1] / record.fs,
        recorded=recorded_signal(record, float(spec["duration_s"])) if drawn else None,
        identity=record.identity,
        device=record.device,
    )


def recorded_signal(record: Record, duration_s: float) -> RecordedSignal:
    """Return the middle ``duration_s`` of a record, or all of a shorter one, as recorded.

    Leads that the record lacks, and that others do not give, are NaN.
    """
    ordered = order_leads(record.signal, record.leads, record.name, allow_missing=True)
    is_absent = ~available_leads(record.leads) & ~ordered.any(axis=1)
    ordered = np.where(is_absent[:, None], np.nan, ordered)
    n_samples = round(duration_s * record.fs)
    start = max(0, (ordered.shape[1] - n_samples) // 2)
    return RecordedSignal(ordered[:, start : start + n_samples], record.fs)
