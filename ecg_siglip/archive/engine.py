"""Engines: what turns blocks of records into rows, and the half of it that needs the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ecg_siglip import config
from ecg_siglip.archive.reading import Item, LongPath, Unreadable
from ecg_siglip.archive.rows import Row, error_row, prediction_rows
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.pipeline import predict_prepared
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.preparation import LongRecord
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.readers.record import open_record


@dataclass(frozen=True)
class Block:
    """Records that are predicted and stored together.

    Attributes
    ----------
    index : int
        Number of the block in the job, from 0.
    paths : tuple of str
    """

    index: int
    paths: tuple[str, ...]


class Engine(Protocol):
    """What predicts the blocks of a job, on one machine or on many."""

    def run(self, blocks: Iterable[Block]) -> Iterator[tuple[int, list[Row]]]:
        """Yield the number and the rows of each block when it is finished, in any order.

        A record that cannot be read or used has a row with the reason. The rows of a block depend
        on its paths and the settings only, whatever was predicted before it.
        """
        ...


class BlockPredictor:
    """Rows of records that are read and prepared.

    Parameters
    ----------
    predictor : Predictor
    settings : PredictConfig
    reported : list of Prediction, optional
        Gets every prediction, for a report.
    """

    def __init__(
        self,
        predictor: Predictor,
        settings: config.PredictConfig,
        reported: list[Prediction] | None = None,
    ):
        self.predictor = predictor
        self.settings = settings
        self.reported = reported

    def rows(self, items: Sequence[Item]) -> list[Row]:
        """Return the rows of a block, in the order of its records.

        Parameters
        ----------
        items : sequence of Item
            From ``reading.decode``.
        """
        rows: list[Row] = []
        for start in range(0, len(items), self.settings.batch_size):
            rows += self._batch_rows(items[start : start + self.settings.batch_size])
        return rows

    def _batch_rows(self, items: Sequence[Item]) -> list[Row]:
        """Return the rows of records that go through the model together."""
        errors = {item.record: item.reason for item in items if isinstance(item, Unreadable)}
        usable = [item for item in items if not isinstance(item, Unreadable)]

        def records() -> Iterator[PreparedRecord | LongRecord]:
            for item in usable:
                try:
                    record = self._open(item.record) if isinstance(item, LongPath) else item
                except (ValueError, OSError) as error:
                    errors[item.record] = one_line(error)
                    continue
                opened.append(item.record)
                yield record

        def on_error(_: Path, error: Exception) -> None:
            errors[opened[-1]] = one_line(error)

        opened: list[str] = []
        predicted = predict_prepared(self.predictor, records(), self.settings, on_error)
        predictions: dict[str, Prediction | None] = dict(zip(opened, predicted, strict=True))
        if self.reported is not None:
            self.reported += [each for each in predicted if each]
        title = self.predictor.artifact.title
        rows: list[Row] = []
        for item in items:
            prediction = predictions.get(item.record)
            if prediction is None:
                rows.append(error_row(item.record, errors[item.record]))
            else:
                rows += prediction_rows(prediction, title, self.settings.rows)
        return rows

    def _open(self, path: str) -> LongRecord:
        """Open a long record, to be read piece by piece."""
        read = self.settings.read
        hours = self.settings.windows.max_hours
        source = open_record(path, read.fs, read.units, read.leads, read.gain, hours)
        return LongRecord(path, source)
