"""Read records in one process and predict them in another: what goes between them, as bytes.

Processes that only read import this module, which loads neither torch nor Hydra. What they send is
samples and JSON, never pickled objects: a reader parses files of unknown origin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ecg_siglip import config
from ecg_siglip.archive.remote import as_local
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.preparation import LongRecord, Preparation
from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.signals.measurements import Measurements


@dataclass(frozen=True)
class LongPath:
    """A record longer than the model's window, which the process with the model reads."""

    record: str


@dataclass(frozen=True)
class Unreadable:
    """A record that could not be read or used, with the reason on one line."""

    record: str
    reason: str


Item = PreparedRecord | LongPath | Unreadable


@dataclass(frozen=True)
class Reading:
    """How the records of a job are read and prepared.

    Attributes
    ----------
    preparation : Preparation
        Of the model.
    waveform : PredictWaveform
    read : ReadConfig
    max_hours : float, h
        A longer record is refused.
    measured : bool
        With measurements.
    """

    preparation: Preparation
    waveform: config.PredictWaveform
    read: config.ReadConfig
    max_hours: float
    measured: bool

    @classmethod
    def of(cls, preparation: Preparation, settings: config.PredictConfig) -> Reading:
        """Return how records are read with the settings of ``predict``."""
        max_hours, measured = settings.windows.max_hours, settings.measurements
        return cls(preparation, settings.waveform, settings.read, max_hours, measured)

    def to_json(self) -> str:
        """Return it as JSON, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """Return what ``to_json`` wrote."""
        content = json.loads(text)
        preparation = content["preparation"]
        preparation["fewer_leads"] = tuple(preparation["fewer_leads"])
        return cls(
            Preparation(**preparation),
            config.PredictWaveform(**content["waveform"]),
            config.ReadConfig(**content["read"]),
            content["max_hours"],
            content["measured"],
        )

    def item(self, path: str) -> Item:
        """Read and prepare one record."""
        try:
            with as_local(path) as local:
                record = self.preparation.read(
                    local, self.waveform, self.read, self.max_hours, self.measured, drawn=False
                )
        except (ValueError, OSError) as error:
            return Unreadable(path, one_line(error))
        except MemoryError:
            return Unreadable(path, f"{path}: too large for the memory of this machine")
        return LongPath(path) if isinstance(record, LongRecord) else replace(record, record=path)

    def items(self, paths: Iterable[str]) -> bytes:
        """Read and prepare records, as ``encode`` writes them."""
        return encode([self.item(path) for path in paths])


def encode(items: Sequence[Item]) -> bytes:
    """Return items as bytes: the samples of all signals, then a line of JSON with all else."""
    header: list[dict[str, Any]] = []
    signals = []
    for item in items:
        if isinstance(item, PreparedRecord):
            signals.append(np.ascontiguousarray(item.signal, np.int16).data)
            measured = item.measurements
            header.append(
                {
                    "record": item.record,
                    "n_samples": item.signal.shape[1],
                    "available": item.available.tolist(),
                    "duration_s": item.duration_s,
                    "warnings": list(item.warnings),
                    "measurements": None if measured is None else measured.to_values(),
                    "identity": vars(item.identity),
                    "device": item.device.to_dict(),
                }
            )
        else:
            header.append(asdict(item))
    return b"".join([*signals, b"\n", json.dumps(header).encode()])


def decode(content: bytes) -> list[Item]:
    """Return the items that ``encode`` wrote; of prepared records without what is only drawn."""
    items: list[Item] = []
    at = 0
    for one in json.loads(content[content.rindex(b"\n") + 1 :]):
        if "n_samples" not in one:
            items.append(Unreadable(**one) if "reason" in one else LongPath(**one))
            continue
        n = 12 * one["n_samples"]
        signal = np.frombuffer(content, np.int16, n, at).reshape(12, -1)
        at += signal.nbytes
        values = one["measurements"]
        items.append(
            PreparedRecord(
                one["record"],
                signal,
                np.array(one["available"]),
                one["duration_s"],
                one["warnings"],
                None if values is None else Measurements.from_values(values),
                identity=Identity(**one["identity"]),
                device=DeviceResults.from_dict(one["device"]),
            )
        )
    return items
