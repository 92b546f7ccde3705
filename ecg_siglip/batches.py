"""What a training step sees: signals on the device, texts, and which of them belong together.

Shape letters: B records of the batch, L leads, S samples, T texts, F findings.
"""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import augmentation, concepts, config, findings, ptbxl, waveform
from ecg_siglip.losses import BlendedTargets, PairTargets, Term, finding_weights

# Samples in uV and what is to be done to them; None where there is nothing.
Read = tuple[Tensor | None, dict[str, Tensor] | None]
N_RATE = 16  # batches from which the positive rate is measured


@dataclass(frozen=True)
class Blend:
    """Partner and share of each record of a batch, see ``TrainingData.blend``.

    Attributes
    ----------
    partners : ndarray of shape (B,), int64
        Rows of the records that are mixed in.
    share_B : ndarray of shape (B,), float32 in [0, 1]
        Part that the record itself keeps.
    """

    partners: np.ndarray
    share_B: np.ndarray

    def part(self, here: slice) -> Blend:
        """That of a part of the batch."""
        return Blend(self.partners[here], self.share_B[here])


def share_of(rows: np.ndarray, ecg_id: np.ndarray, share: float) -> np.ndarray:
    """A share of the rows, for learning curves; a smaller share is part of a larger one.

    Which rows is a function of their ``ecg_id`` alone, not of the seed of the run: runs that
    differ in the seed learn from the same records.
    """
    if share == 1.0:
        return rows
    drawn = [np.random.default_rng([0, int(number)]).random() for number in ecg_id[rows]]
    kept = np.argsort(drawn, kind="stable")[: max(1, round(share * len(rows)))]
    return rows[np.sort(kept)]


class TrainingData:
    """The records that a run learns from, as its device wants them.

    Parameters
    ----------
    data : ptbxl.PtbXl
    settings : config.TrainConfig
    device : torch.device

    Notes
    -----
    PTB-XL at 100 Hz is 0.52 GB as int16: where that fits into half of the device's free memory
    the whole set lives there and a batch is one indexing; else batches come from the memory map,
    the next one read by a thread while the device computes.
    """

    def __init__(self, data: ptbxl.PtbXl, settings: config.TrainConfig, device: torch.device):
        assert data.signals is not None
        self.ecg_id, self.codes, self.fs = data.ecg_id, data.codes, data.fs
        self.reports = data.reports
        language = settings.text.language
        spoken = findings.LANGUAGES if language == "mixed" else (language,)
        self.languages = list(spoken)
        self.prompts_in = [findings.prompts(data.codes, one) for one in spoken]
        self.prompts = self.prompts_in[0]  # what the model will be asked
        self.device, self.settings = device, settings
        self.y_true = data.y_true  # for the host, which shall not wait for the device to say it
        self.labels = torch.from_numpy(data.y_true.astype(np.float32)).to(device)
        self.train_rows = share_of(
            data.fold(*settings.data.train_folds), data.ecg_id, settings.data.train_share
        )
        smallest = len(self.train_rows) // math.ceil(
            len(self.train_rows) / settings.optim.batch_size
        )
        if smallest < 2:
            raise ValueError(
                f"optim.batch_size={settings.optim.batch_size}: {len(self.train_rows)} training "
                "records leave a step of one, and batch normalisation needs two; expected another"
            )
        excluded = [self.column(code) for code in settings.objective.exclude]
        self.weights = finding_weights(self.labels[self.here(self.train_rows)], excluded)
        self.mapped, self.version = data.signals, data.version
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self.ahead: dict[tuple[int, bytes], Future[Read]] = {}
        self.resident: Tensor | None = None
        self.features: Tensor | None = None  # (n_records, F), of a locked ECG encoder
        augment = settings.augment
        self.as_they_are = not any(getattr(augment, f.name) for f in dataclasses.fields(augment))
        if device.type == "cuda" and data.signals.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
            self.resident = torch.from_numpy(np.array(data.signals)).to(device)

    def column(self, code: str) -> int:
        if code not in self.codes:
            raise ValueError(f"objective.exclude: {code} is no finding of this task")
        return self.codes.index(code)

    def here(self, values: np.ndarray) -> Tensor:
        """On the device, without waiting for what the device is doing."""
        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The rows of each step: every training record once an epoch, in steps of equal size."""
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.train_rows)
        n_steps = math.ceil(len(order) / self.settings.optim.batch_size)
        return np.array_split(order, n_steps)

    def signals(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Signals (B, 12, S) float32 mV on the device, augmented as the epoch asks."""
        microvolts, params = self._taken(rows, epoch)
        if self.resident is not None:
            microvolts = self.resident[self.here(rows)]
        assert microvolts is not None
        # From pinned memory a copy does not hold up the host.
        signal_BLS = microvolts.to(self.device, non_blocking=True).float() / waveform.UV_PER_MV
        if params is None:
            return signal_BLS
        on_device = {name: p.to(self.device, non_blocking=True) for name, p in params.items()}
        return augmentation.apply(signal_BLS, on_device)

    def read_ahead(self, rows: np.ndarray, epoch: int) -> None:
        """Begin to read what ``signals(rows, epoch)`` will need, while the device computes."""
        self.ahead[epoch, rows.tobytes()] = self.reader.submit(self._read, rows, epoch)

    def _taken(self, rows: np.ndarray, epoch: int | None) -> Read:
        """What ``_read`` gives, read ahead or now."""
        future = None if epoch is None else self.ahead.pop((epoch, rows.tobytes()), None)
        return self._read(rows, epoch) if future is None else future.result()

    def _read(self, rows: np.ndarray, epoch: int | None) -> Read:
        """Samples in uV, if they do not lie on the device, and what is to be done to them."""
        microvolts = None if self.resident is not None else torch.from_numpy(self.mapped[rows])
        params = None if epoch is None else self._augmentation(rows, epoch)
        if self.device.type == "cuda":
            microvolts = None if microvolts is None else microvolts.pin_memory()
            params = params and {name: p.pin_memory() for name, p in params.items()}
        return microvolts, params

    def _augmentation(self, rows: np.ndarray, epoch: int) -> dict[str, Tensor]:
        knobs = dataclasses.asdict(self.settings.augment)
        del knobs["mixup"]  # it takes two records: see blend
        params = augmentation.draw(
            self.settings.seed,
            epoch,
            self.ecg_id[rows],
            **knobs,
            fs=self.fs,
            n_samples=self.mapped.shape[2],
        )
        return {name: torch.from_numpy(p) for name, p in params.items()}

    def blend(self, batch: np.ndarray, epoch: int) -> Blend | None:
        """With which other record of the batch each is blended, if ``augment.mixup`` is on."""
        alpha = self.settings.augment.mixup
        if not alpha:
            return None
        # The number at the end keeps this draw apart from the others of the epoch.
        rng = np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[batch[0]]), 2])
        partners = batch[rng.permutation(len(batch))]
        return Blend(partners, rng.beta(alpha, alpha, len(batch)).astype(np.float32))

    def blended_signals(self, rows: np.ndarray, blend: Blend | None, epoch: int) -> Tensor:
        """``signals``, blended: (B, 12, S) float32 mV on the device."""
        signal_BLS = self.signals(rows, epoch)
        if blend is None:
            return signal_BLS
        share_B = self.here(blend.share_B).to(signal_BLS.dtype)
        order = np.argsort(rows)
        place = order[np.searchsorted(rows, blend.partners, sorter=order).clip(max=len(rows) - 1)]
        if np.array_equal(rows[place], blend.partners):
            # The partners are of this very batch, and augmented alike: nothing is read again.
            other_BLS = signal_BLS[self.here(place)]
        else:
            other_BLS = self.signals(blend.partners, epoch)
        return torch.lerp(other_BLS, signal_BLS, share_B[:, None, None])

    def spoken(self, batch: np.ndarray, epoch: int) -> list[str]:
        """The prompts in the language of a step; of several, each step has one of its own."""
        if len(self.prompts_in) == 1:
            return self.prompts
        # The number at the end keeps this draw apart from the others of the epoch.
        rng = np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[batch[0]]), 4])
        return self.prompts_in[rng.integers(len(self.prompts_in))]

    def texts(
        self, kind: str, rows: np.ndarray, epoch: int
    ) -> tuple[list[str], np.ndarray, Tensor]:
        """The text side of a batch.

        Returns
        -------
        texts : list of str, T of them
        own : ndarray of shape (T,), int64
            The row that each text belongs to; -1 for bank and concepts, which belong to none.
        labels : Tensor of shape (T, F), float32
            The findings that each text names.

        Notes
        -----
        A record without a finding has no finding to be put in words: it is a negative for the
        other texts of the batch and brings none of its own. So is one with an empty report.
        """
        n_findings = len(self.codes)
        prompts = self.spoken(rows, epoch)
        if kind == "bank":
            everything = torch.eye(n_findings, device=self.device)
            return prompts, np.full(n_findings, -1), everything
        if kind == "concept":
            language = self.languages[self.prompts_in.index(prompts)]
            texts, members_CF = concepts.prompts(self.codes, language)
            members = torch.from_numpy(members_CF.astype(np.float32))
            return texts, np.full(len(texts), -1), members.to(self.device)
        if kind == "report":
            told = np.array([row for row in rows if self.reports[row].strip()], np.int64)
            return [self.reports[row] for row in told], told, self.labels[self.here(told)]
        texts, own, named = [], [], []
        for row, present in zip(rows, self.y_true[rows], strict=True):
            columns = np.flatnonzero(present)
            if not len(columns):
                continue
            # The number after the seed keeps this draw apart from the order of the epoch.
            rng = np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[row]), 1])
            chosen = rng.permutation(columns)[: 1 if kind == "finding" else None]
            texts.append("; ".join(prompts[column] for column in chosen))
            own.append(row)
            named.append(np.isin(np.arange(n_findings), chosen))
        labels = np.array(named, np.float32).reshape(-1, n_findings)
        return texts, np.array(own, np.int64), self.here(labels)

    def blended_targets(
        self, term: Term, rows: np.ndarray, blend: Blend | None, own: np.ndarray, named: Tensor
    ) -> PairTargets | BlendedTargets:
        """``targets``, blended as the signals are."""
        first = self.targets(term, rows, own, named)
        if blend is None:
            return first
        second = self.targets(term, blend.partners, own, named)
        return BlendedTargets(first, second, self.here(blend.share_B).to(self.labels.dtype))

    def targets(self, term: Term, rows: np.ndarray, own: np.ndarray, named: Tensor) -> PairTargets:
        """What the pairs of the ECGs ``rows`` and the texts of ``texts`` should be."""
        index, own_index = self.here(rows), self.here(own)
        return PairTargets(term.targets, self.labels[index], named, index, own_index, self.weights)

    def prior_logits(self) -> Tensor:
        """Log-odds of each finding in the training folds, (F,) float32.

        Half a record is added to either side, so that a finding never seen has some, too.
        """
        n_positive = self.labels[self.here(self.train_rows)].sum(0)
        return torch.log((n_positive + 0.5) / (len(self.train_rows) - n_positive + 0.5)).cpu()

    def positive_rate(self, term: Term) -> float:
        """Share of positive pairs in the first batches of the run.

        Raises
        ------
        ValueError
            If no record has a text of that kind.
        """
        return self.pair_shares(term)["positive"]

    def pair_shares(self, term: Term) -> dict[str, float]:
        """How the targets of the first batches of the run stand to what is true of the records.

        Returns
        -------
        dict of str to float
            ``positive``: mean target of a pair. ``false_negative``: share of the true pairs (all
            findings that the text names are in the record) that the targets call less than half
            true. ``records_with_false_negative``: share of the records that have such a pair in
            their batch.

        Raises
        ------
        ValueError
            If no record has a text of that kind.
        """
        n_pairs = n_true = n_rows = 0
        positive = missed = rows_missed = 0.0
        for rows in self.batches(0)[:N_RATE]:
            _, own, named = self.texts(term.text, rows, 0)
            targets = self.targets(term, rows, own, named)
            matrix_BT = targets.matrix()
            true_BT = replace(targets, rule="present").matrix() > 0
            missed_BT = true_BT & (matrix_BT < 0.5)
            n_pairs, n_rows = n_pairs + matrix_BT.numel(), n_rows + len(rows)
            positive += matrix_BT.sum().item()
            n_true += int(true_BT.sum())
            missed += missed_BT.sum().item()
            rows_missed += missed_BT.any(1).sum().item()
        if not n_pairs:
            raise ValueError(f"objective {term.name}: no record of the training folds has a text")
        return {
            "positive": positive / n_pairs,
            "false_negative": missed / max(1, n_true),
            "records_with_false_negative": rows_missed / n_rows,
        }
