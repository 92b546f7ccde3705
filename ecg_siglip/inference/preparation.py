"""Records as the model sees them, with warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.sliding_window import is_long
from ecg_siglip.readers.record import Record, Source, open_record
from ecg_siglip.signals.leads import available_leads, lead_warnings, order_leads
from ecg_siglip.signals.preprocessing import nonflat_leads
from ecg_siglip.signals.quality import quality_warnings


@dataclass(frozen=True)
class PreparedRecord:
    """A record as the model sees it.

    Attributes
    ----------
    record : str
        Its path.
    signal : ndarray of shape (12, n_samples), int16, uV
    available : ndarray of shape (12,), bool
        Leads that the record has, see ``leads.available_leads``.
    warnings : list of str
    """

    record: str
    signal: np.ndarray
    available: np.ndarray
    warnings: list[str]


@dataclass(frozen=True)
class LongRecord:
    """A record longer than the model's window, to be read piece by piece."""

    record: str
    source: Source


OnError = Callable[[Path, Exception], None]


def print_error(path: Path, error: Exception) -> None:
    print(f"predict: {one_line(error)}", file=sys.stderr)


def prepare_records(
    predictor: Predictor,
    paths: list[Path],
    allowed: config.PredictWaveform,
    read: config.ReadConfig | None = None,
    refused: OnError = print_error,
) -> Iterator[PreparedRecord | LongRecord]:
    """Each record that can be read, in its place; ``refused`` is told the errors of the others."""
    stated = read or config.ReadConfig()
    spec = predictor.artifact.waveform
    for path in paths:
        try:
            source = open_record(path, stated.fs, stated.units, stated.leads)
            if is_long(source.duration_s, spec["duration_s"]):
                yield LongRecord(str(path), source)
                continue
            record = source.piece(0, source.n_samples)
            signal = predictor.prepare(record, **vars(allowed))
        except (ValueError, OSError) as error:
            refused(path, error)
            continue
        leads = record.leads
        if allowed.allow_flat:
            leads = tuple(leads[i] for i in nonflat_leads(record.signal, leads))
        available = available_leads(leads)
        duration_s = record.signal.shape[1] / record.fs
        warnings = []
        if duration_s > spec["duration_s"] + 0.05:
            warnings.append(
                f"only the middle {spec['duration_s']:g} s of {duration_s:g} s were looked at"
            )
        if duration_s < spec["duration_s"] - 0.05:
            warnings.append(f"{duration_s:g} s of signal, padded to {spec['duration_s']:g} s")
        warnings += lead_warnings(leads) + window_warnings(record, spec["duration_s"])
        yield PreparedRecord(str(path), signal, available, warnings)


def window_warnings(record: Record, duration_s: float) -> list[str]:
    """What is suspicious about the part of a record that the model looks at."""
    n_spare = max(0, record.signal.shape[1] - round(duration_s * record.fs))
    seen = slice(n_spare // 2, record.signal.shape[1] - (n_spare - n_spare // 2))
    ordered = order_leads(record.signal[:, seen], record.leads, record.name, True)
    return quality_warnings(ordered, record.fs, available_leads(record.leads))
