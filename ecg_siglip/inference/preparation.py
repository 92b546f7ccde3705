"""Records as the model sees them, with warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.sliding_window import is_long
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.readers.record import Record, Source, open_record
from ecg_siglip.signals.leads import available_leads, lead_warnings, order_leads
from ecg_siglip.signals.preprocessing import nonflat_leads
from ecg_siglip.signals.quality import quality_warnings


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
    on_error: OnError = print_error,
) -> Iterator[PreparedRecord | LongRecord]:
    """Read and prepare records in order; ``on_error`` gets the errors of those that fail."""
    stated = read or config.ReadConfig()
    window_s = predictor.artifact.waveform["duration_s"]
    for path in paths:
        try:
            source = open_record(path, stated.fs, stated.units, stated.leads)
            if is_long(source.duration_s, window_s):
                yield LongRecord(str(path), source)
                continue
            record = source.piece(0, source.n_samples)
            prepared = predictor.prepare_record(record, **vars(allowed))
        except (ValueError, OSError) as error:
            on_error(path, error)
            continue
        leads = record.leads
        if allowed.allow_flat:
            leads = tuple(leads[i] for i in nonflat_leads(record.signal, leads))
        warnings = length_warnings(prepared.duration_s, window_s)
        warnings += lead_warnings(leads) + window_warnings(record, window_s)
        yield replace(prepared, record=str(path), warnings=warnings)


def length_warnings(duration_s: float, window_s: float) -> list[str]:
    """Return what was done about a record that is longer or shorter than the model's window."""
    if duration_s > window_s + 0.05:
        return [f"only the middle {window_s:g} s of {duration_s:g} s were looked at"]
    if duration_s < window_s - 0.05:
        return [f"{duration_s:g} s of signal, padded to {window_s:g} s"]
    return []


def window_warnings(record: Record, duration_s: float) -> list[str]:
    """What is suspicious about the part of a record that the model looks at."""
    n_spare = max(0, record.signal.shape[1] - round(duration_s * record.fs))
    seen = slice(n_spare // 2, record.signal.shape[1] - (n_spare - n_spare // 2))
    ordered = order_leads(record.signal[:, seen], record.leads, record.name, True)
    return quality_warnings(ordered, record.fs, available_leads(record.leads))
