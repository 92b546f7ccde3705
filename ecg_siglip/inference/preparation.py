"""Read and prepare records for a model, without the model itself.

Processes that only read import this module, which loads neither torch nor Hydra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.readers.limits import MAX_HOURS
from ecg_siglip.readers.preparation import PreparedRecord, prepare_record
from ecg_siglip.readers.record import Record, Source, open_record
from ecg_siglip.signals.leads import (
    NO_TUNING,
    available_leads,
    lead_warnings,
    nearest_lead_set,
    order_leads,
)
from ecg_siglip.signals.measurements import measure_ecg
from ecg_siglip.signals.quality import quality_warnings
from ecg_siglip.signals.resampling import SharedResampling, resample
from ecg_siglip.signals.signal_checks import nonflat_leads

LONG = 1.2  # times the model's window; a shorter record is cropped to its middle


@dataclass(frozen=True)
class LongRecord:
    """A record longer than the model's window, to be read piece by piece."""

    record: str
    source: Source


@dataclass(frozen=True)
class Preparation:
    """How a model wants its records.

    Attributes
    ----------
    waveform : mapping
        Keyword arguments of ``preprocessing.prepare_signal``.
    run : str
        Name of the model's run, for errors.
    fewer_leads : tuple of str
        Sets of leads that the model was trained with, see ``Artifact.fewer_leads``.
    states_leads : bool
        Whether the model's vocabulary states which leads a finding needs.
    """

    waveform: Mapping[str, Any]
    run: str = ""
    fewer_leads: tuple[str, ...] = ()
    states_leads: bool = True

    @property
    def window_s(self) -> float:
        """Length of the signal that the model sees, s."""
        return float(self.waveform["duration_s"])

    def prepare(
        self,
        record: Record,
        allow_short: bool = False,
        allow_flat: bool = False,
        allow_gaps: bool = False,
        allow_missing_leads: bool | None = False,
        resampler: Callable[[np.ndarray, float, float, bool], np.ndarray] = resample,
        drawn: bool = True,
    ) -> PreparedRecord:
        """Prepare a record, see ``Predictor.prepare_record`` and ``prepare_record``."""
        spec = dict(self.waveform)
        spec["allow_short"] |= allow_short
        spec["allow_flat"] |= allow_flat
        spec["allow_gaps"] = allow_gaps or spec.get("allow_gaps", False)
        if allow_missing_leads is None:
            allow_missing_leads = bool(self.fewer_leads)
        spec["allow_missing_leads"] = allow_missing_leads
        nonflat = nonflat_leads(record.signal, record.leads) if spec["allow_flat"] else []
        leads = tuple(record.leads[i] for i in nonflat)
        stated = record.leads
        if self.fewer_leads and nonflat:
            # For a model trained with fewer leads, a lead without signal is a missing lead.
            record = replace(record, signal=record.signal[nonflat], leads=leads)
            spec["allow_missing_leads"] = True
        if spec["allow_missing_leads"]:
            self._check_lead_set(record)
        prepared = prepare_record(record, spec, resampler, drawn)
        if prepared.recorded is not None:
            # Drawn as a lead without signal, not as one that was not recorded.
            lost = available_leads(stated) & np.isnan(prepared.recorded.signal).all(axis=1)
            prepared.recorded.signal[lost] = 0.0
        return replace(prepared, available=available_leads(leads)) if allow_flat else prepared

    def _check_lead_set(self, record: Record) -> None:
        """Check that the model is calibrated for the leads of a record.

        Raises
        ------
        ValueError
            If it is not.
        """
        available = available_leads(record.leads)
        if not available.any():
            order_leads(record.signal, record.leads, record.name)  # its error lists the channels
        lead_set = nearest_lead_set(available, record.name)
        if lead_set not in ("12", *self.fewer_leads):
            raise ValueError(f"record {record.name}: {self.run}: {NO_TUNING}")

    def read(
        self,
        path: str | Path,
        allowed: config.PredictWaveform,
        stated: config.ReadConfig,
        max_hours: float = MAX_HOURS,
        measured: bool = False,
        drawn: bool = True,
    ) -> PreparedRecord | LongRecord:
        """Read and prepare a record; one that is longer than a window is only opened.

        Parameters
        ----------
        path : str or Path
        allowed : PredictWaveform
        stated : ReadConfig
        max_hours : float, h
            A longer record is refused.
        measured, drawn : bool
            With measurements; with the signal as recorded.

        Raises
        ------
        ValueError, OSError
            As ``readers.open_record`` and ``Predictor.prepare_record``.
        """
        source = open_record(path, stated.fs, stated.units, stated.leads, stated.gain, max_hours)
        if is_long(source.duration_s, self.window_s):
            return LongRecord(str(path), source)
        record = source.piece(0, source.n_samples)
        resampling = SharedResampling()
        prepared = self.prepare(record, **vars(allowed), resampler=resampling, drawn=drawn)
        leads = record.leads
        if allowed.allow_flat:
            leads = tuple(leads[i] for i in nonflat_leads(record.signal, leads))
        about_leads = lead_warnings(leads, record.name, self.states_leads)
        warnings = length_warnings(prepared.duration_s, self.window_s)
        warnings += [*record.warnings, *about_leads]
        warnings += window_warnings(
            record, self.window_s, removes_offset(self.waveform), resampling
        )
        values = measure_ecg(record.signal, record.fs, record.leads) if measured else None
        return replace(prepared, record=str(path), warnings=warnings, measurements=values)


def is_long(duration_s: float, window_s: float) -> bool:
    """Return whether a record is cut into windows; otherwise only its middle is used."""
    return duration_s >= LONG * window_s


def length_warnings(duration_s: float, window_s: float) -> list[str]:
    """Return what was done to a record that is longer or shorter than the model's window."""
    if duration_s > window_s + 0.05:
        return [f"only the middle {window_s:g} s of {duration_s:g} s were used"]
    if duration_s < window_s - 0.05:
        return [f"{duration_s:g} s of signal, padded to {window_s:g} s"]
    return []


def removes_offset(waveform: Mapping[str, Any]) -> bool:
    """Return whether the preparation of a model takes a constant offset off the signal."""
    return waveform["low_hz"] is not None


def window_warnings(
    record: Record,
    duration_s: float,
    offset_removed: bool = False,
    resampler: Callable[[np.ndarray, float, float], np.ndarray] = resample,
) -> list[str]:
    """Return the quality warnings of the part of a record that the model sees."""
    n_spare = max(0, record.signal.shape[1] - round(duration_s * record.fs))
    window = slice(n_spare // 2, record.signal.shape[1] - (n_spare - n_spare // 2))
    ordered = order_leads(record.signal[:, window], record.leads, record.name, True)
    available = available_leads(record.leads)
    return quality_warnings(ordered, record.fs, available, offset_removed, resampler)
