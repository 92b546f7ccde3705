"""Signals of training batches: read, augmented, mixed and brought to the device.

Shape letters: B records of the batch, L leads, S samples.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import config
from ecg_siglip.core.distributed import widest_float
from ecg_siglip.datasets.records import LabelledRecords
from ecg_siglip.signals import augmentation
from ecg_siglip.signals.preprocessing import UV_PER_MV

# Samples in uV and augmentation parameters; None where there are none.
ReadBatch = tuple[Tensor | None, dict[str, Tensor] | None]


@dataclass(frozen=True)
class Mixup:
    """Partner and share of each record of a batch, see ``TrainingData.mixup_pairs``.

    Attributes
    ----------
    partners : ndarray of shape (B,), int64
        Rows of the records that are mixed in.
    share_B : ndarray of shape (B,), float32 in [0, 1]
        Weight of the record itself; its partner has the rest.
    """

    partners: np.ndarray
    share_B: np.ndarray

    def part(self, records: slice) -> Mixup:
        """Return the entries of a part of the batch."""
        return Mixup(self.partners[records], self.share_B[records])


class SignalReader:
    """Signals of the records of a training run, by their rows.

    Parameters
    ----------
    data : LabelledRecords
        With signals.
    settings : config.TrainConfig
    device : torch.device

    Notes
    -----
    PTB-XL at 100 Hz takes 0.52 GB as int16. If the signals fit into half of the free memory of a
    GPU, all of them are kept there and a batch is one indexing operation. Otherwise batches come
    from the memory map, and a thread reads the next one while the device computes.
    """

    def __init__(self, data: LabelledRecords, settings: config.TrainConfig, device: torch.device):
        assert data.signals is not None
        self.device, self.settings = device, settings
        self.ecg_id, self.fs, self.mapped = data.ecg_id, data.fs, data.signals
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self.ahead: dict[tuple[int, bytes], Future[ReadBatch]] = {}
        self.resident: Tensor | None = None
        if device.type == "cuda" and data.signals.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
            self.resident = torch.from_numpy(np.array(data.signals)).to(device)

    def signals(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Return signals on the device, (B, 12, S) float32 mV.

        They are augmented as drawn for the epoch; with ``epoch=None`` not at all.
        """
        microvolts, params = self._read_or_take(rows, epoch)
        if self.resident is not None:
            microvolts = self.resident[self.to_device(rows)]
        assert microvolts is not None
        # From pinned memory a copy does not hold up the host.
        signal_BLS = microvolts.to(self.device, non_blocking=True).float() / UV_PER_MV
        if params is None:
            return signal_BLS
        on_device = {name: p.to(self.device, non_blocking=True) for name, p in params.items()}
        return augmentation.apply(signal_BLS, on_device)

    def mixed_signals(self, rows: np.ndarray, mixup: Mixup | None, epoch: int) -> Tensor:
        """Return ``signals(rows, epoch)`` mixed with those of the partners, (B, 12, S)."""
        signal_BLS = self.signals(rows, epoch)
        if mixup is None:
            return signal_BLS
        share_B = self.to_device(mixup.share_B).to(signal_BLS.dtype)
        order = np.argsort(rows)
        place = order[np.searchsorted(rows, mixup.partners, sorter=order).clip(max=len(rows) - 1)]
        if np.array_equal(rows[place], mixup.partners):
            # All partners are among these rows, with the same augmentation: read nothing again.
            partner_BLS = signal_BLS[self.to_device(place)]
        else:
            partner_BLS = self.signals(mixup.partners, epoch)
        return torch.lerp(partner_BLS, signal_BLS, share_B[:, None, None])

    def read_ahead(self, rows: np.ndarray, epoch: int) -> None:
        """Start to read what ``signals(rows, epoch)`` will need, while the device computes."""
        self.ahead[epoch, rows.tobytes()] = self.thread.submit(self._read, rows, epoch)

    def _read_or_take(self, rows: np.ndarray, epoch: int | None) -> ReadBatch:
        """Return the result of ``_read``, from the thread that reads ahead if it has the rows."""
        future = None if epoch is None else self.ahead.pop((epoch, rows.tobytes()), None)
        return self._read(rows, epoch) if future is None else future.result()

    def _read(self, rows: np.ndarray, epoch: int | None) -> ReadBatch:
        """Return samples in uV, unless they are on the device, and augmentation parameters."""
        microvolts = None if self.resident is not None else torch.from_numpy(self.mapped[rows])
        params = None if epoch is None else self._augmentation(rows, epoch)
        if self.device.type == "cuda":
            microvolts = None if microvolts is None else microvolts.pin_memory()
            params = params and {name: p.pin_memory() for name, p in params.items()}
        return microvolts, params

    def _augmentation(self, rows: np.ndarray, epoch: int) -> dict[str, Tensor]:
        settings = dataclasses.asdict(self.settings.augment)
        del settings["mixup"]  # needs two records, see mixup_pairs
        params = augmentation.draw(
            self.settings.seed,
            epoch,
            self.ecg_id[rows],
            **settings,
            fs=self.fs,
            n_samples=self.mapped.shape[2],
        )
        return {name: torch.from_numpy(p) for name, p in params.items()}

    def to_device(self, values: np.ndarray) -> Tensor:
        """Copy an array to the device without waiting for the device's current work."""
        tensor = torch.from_numpy(values)
        if tensor.dtype == torch.float64:
            tensor = tensor.to(widest_float(self.device))
        return tensor.to(self.device, non_blocking=True)
