"""Training batches: augmented signals, texts and pair targets on the device.

Shape letters: B records of the batch, L leads, S samples, T texts, F findings.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.training.prompt_banks import PromptBanks
from ecg_siglip.training.sampling import draw_epoch, row_weights, select_share
from ecg_siglip.training.signals import Mixup, SignalReader
from ecg_siglip.training.targets import (
    NO_RECORDS,
    MixedTargets,
    PairTargets,
    Term,
    finding_weights,
    parse_terms,
)
from ecg_siglip.vocabulary.report_text import clean_report

N_RATE = 16  # batches from which the positive rate is measured


@dataclass(frozen=True)
class TextTerm:
    """Texts of one term of the objective, with the targets of a batch.

    Attributes
    ----------
    term : Term
    texts : list of str
        Texts that this process encodes; may be empty.
    sizes : list of int
        Number of texts per process, in the order of the ranks; a single number if every process
        encodes all texts.
    targets : PairTargets or MixedTargets, (B, T)
        T are the texts of all processes. B are the ECGs of this process, or with the softmax loss
        those of all processes.
    """

    term: Term
    texts: list[str]
    sizes: list[int]
    targets: PairTargets | MixedTargets


@dataclass(frozen=True)
class Batch:
    """What one process needs for one training step.

    Attributes
    ----------
    signals : Tensor of shape (B, 12, S), float32, mV, optional
        ECGs of this process; None if ``features`` is set.
    features : Tensor of shape (B, n_features), float32, optional
        Output of a frozen ECG encoder, in place of the signals.
    text_terms : list of TextTerm
        One entry for each term of the objective that has a text in this batch.
    sizes : list of int
        Number of ECGs per process, in the order of the ranks.
    """

    signals: Tensor | None
    features: Tensor | None
    text_terms: list[TextTerm]
    sizes: list[int]


class TrainingData:
    """Records of a training run, turned into batches on its device.

    Parameters
    ----------
    data : LabelledRecords
    settings : config.TrainConfig
    device : torch.device
    soft_labels : ndarray of shape (n_records, n_findings), float32 in [0, 1], optional
        Labels that the targets are made from, see ``distillation.soft_labels``; None: the labels
        of the data.
    distributed : Distributed, optional
        The processes that share each batch; None: this process alone.

    Raises
    ------
    ValueError
        If a step would have a single record, a finding of ``objective.exclude`` is unknown, or no
        training record has a known label of a finding.
    """

    def __init__(
        self,
        data: LabelledRecords,
        settings: config.TrainConfig,
        device: torch.device,
        soft_labels: np.ndarray | None = None,
        distributed: Distributed | None = None,
    ):
        self.device, self.settings = device, settings
        self.distributed = distributed or Distributed()
        self.reader = SignalReader(data, settings, device)
        self.to_device = self.reader.to_device
        self.terms = parse_terms(settings.objective.terms)
        self.ecg_id, self.strat_fold, self.codes = data.ecg_id, data.strat_fold, data.codes
        self.version, self.names, self.patient_id = data.version, data.names, data.patient_id
        self.is_simulated = bool(data.is_simulated.all())
        self.reports = usable_reports(data, settings.data.reports)
        self.vocabulary = data.vocabulary
        language = settings.text.language or data.vocabulary.language
        self.banks = PromptBanks(self.vocabulary, data.codes, language)
        self.prompts = self.banks.prompts[0]  # used for predictions
        # A copy for the host, so that it does not wait for the device.
        self.y_true = data.y_true
        self.labels = torch.from_numpy(data.y_true.astype(np.float32)).to(device)
        # (n_records, F) bool; None: all labels are known.
        self.known: Tensor | None = None
        if data.known is not None and not data.known.all():
            self.known = torch.from_numpy(data.known).to(device)
        self.soft_labels = None if soft_labels is None else torch.from_numpy(soft_labels).to(device)
        self.train_rows = select_share(
            data.fold(*settings.data.train_folds), data.ecg_id, settings.data.train_share
        )
        self.row_weights = row_weights(data, self.train_rows, settings.data.temperature)
        self.tune_rows = data.fold(settings.data.tune_fold)
        self.tune_true = data.labels(self.tune_rows)  # NaN where unknown
        self._check_step_size()
        self._check_known(data)
        excluded = [self.column(code) for code in settings.objective.exclude]
        train_rows = self.to_device(self.train_rows)
        self.weights = finding_weights(self.labels[train_rows], excluded, self._known(train_rows))
        augment = settings.augment
        self.is_augmented = any(getattr(augment, f.name) for f in dataclasses.fields(augment))
        # (n_records, n_features) of a frozen ECG encoder, see ``Trainer.cache_ecg_features``.
        self.features: Tensor | None = None

    def _check_step_size(self) -> None:
        n_records, batch_size = len(self.train_rows), self.settings.optim.batch_size
        if n_records // math.ceil(n_records / batch_size) < 2:
            raise ValueError(
                f"optim.batch_size={batch_size}: {n_records} training records leave a step of one, "
                "and batch normalisation needs two; expected another batch size"
            )

    def _check_known(self, data: LabelledRecords) -> None:
        if data.known is None or all(term.targets == "diagonal" for term in self.terms):
            return  # the diagonal needs no label
        is_known_F = data.known[self.train_rows].any(axis=0)
        if not is_known_F.any():
            raise ValueError(
                "no training record has a known label; expected a column findings, or columns that "
                "are named after codes; to learn reports alone: objective=report_diagonal"
            )
        if unknown := [
            code for code, known in zip(self.codes, is_known_F, strict=True) if not known
        ]:
            raise ValueError(
                f"no training record has a known label of {first_of(unknown)}; expected labels of "
                f"every finding, or data.held_out=[{','.join(unknown)}] to leave them out"
            )

    def _known(self, index: Tensor) -> Tensor | None:
        """Return which labels of some records are known; None if all of the data are."""
        return None if self.known is None else self.known[index]

    def column(self, code: str) -> int:
        """Return the column of a finding.

        Raises
        ------
        ValueError
            If it is none of the task's findings.
        """
        if code not in self.codes:
            raise ValueError(f"objective.exclude: {code} is no finding of this task")
        return self.codes.index(code)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each step, see ``sampling.draw_epoch``, in steps of equal size."""
        order = draw_epoch(self.train_rows, self.row_weights, [self.settings.seed, epoch])
        n_steps = math.ceil(len(order) / self.settings.optim.batch_size)
        return np.array_split(order, n_steps)

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return what this process needs for a step.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows of the whole batch, the same on every process.
        epoch : int
        """
        parts = self.distributed.parts(rows)
        own_rows = parts[self.distributed.rank]
        start = sum(len(part) for part in parts[: self.distributed.rank])
        mixup = self.mixup_pairs(rows, epoch)
        own_mixup = mixup and mixup.part(slice(start, start + len(own_rows)))
        signals = features = None
        if self.features is None:
            signals = self.reader.mixed_signals(own_rows, own_mixup, epoch)
        else:
            features = self.features[self.to_device(own_rows)]
        # A softmax over ECGs needs all of them: every process computes the whole loss.
        softmax = self.settings.objective.loss == "softmax"
        target_rows, target_mixup = (rows, mixup) if softmax else (own_rows, own_mixup)
        text_terms = []
        for term in self.terms:
            # All languages in each step: a step of one alone would pull the ECGs towards it.
            in_languages: list[list[str]] | list[None] = [None]
            if term.text == "bank":
                in_languages = self.banks.draw_per_language(self._prompt_rng(rows, epoch))
            part_of_term = replace(term, weight=term.weight / len(in_languages))
            for prompts in in_languages:
                texts, owners, labels = self.texts(term.text, rows, epoch, prompts)
                if texts:
                    own_texts, sizes = self._own_texts(term, texts, owners, parts)
                    targets = self.mixed_targets(term, target_rows, target_mixup, owners, labels)
                    text_terms.append(TextTerm(part_of_term, own_texts, sizes, targets))
        return Batch(signals, features, text_terms, [len(part) for part in parts])

    def _own_texts(
        self, term: Term, texts: list[str], owners: np.ndarray, parts: list[np.ndarray]
    ) -> tuple[list[str], list[int]]:
        """Return the texts that this process encodes, and the number of texts per process."""
        if term.text in NO_RECORDS or self.distributed.n == 1:
            return texts, [len(texts)]
        sizes = [int(np.isin(part, owners).sum()) for part in parts]
        rank = self.distributed.rank
        start = sum(sizes[:rank])
        return texts[start : start + sizes[rank]], sizes

    def read_ahead(self, rows: np.ndarray, epoch: int) -> None:
        """Start to read what ``batch(rows, epoch)`` will need, while the device computes."""
        if self.features is None:
            self.reader.read_ahead(self.distributed.parts(rows)[self.distributed.rank], epoch)

    def mixup_pairs(self, rows: np.ndarray, epoch: int) -> Mixup | None:
        """Draw the partner and the share of each record; None if ``augment.mixup`` is 0.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows of the whole batch; the partners are a permutation of them.
        epoch : int
        """
        alpha = self.settings.augment.mixup
        if not alpha:
            return None
        # The last number separates this draw from the other draws of the epoch.
        rng = np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[rows[0]]), 2])
        partners = rows[rng.permutation(len(rows))]
        return Mixup(partners, rng.beta(alpha, alpha, len(rows)).astype(np.float32))

    def _prompt_rng(self, rows: np.ndarray, epoch: int) -> np.random.Generator:
        # The last number separates this draw from the other draws of the epoch.
        return np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[rows[0]]), 4])

    def texts(
        self, kind: str, rows: np.ndarray, epoch: int, prompts: list[str] | None = None
    ) -> tuple[list[str], np.ndarray, Tensor]:
        """Return the texts of a batch.

        Parameters
        ----------
        kind : {"bank", "concept", "finding", "findings", "report"}
            See ``targets.TEXTS``.
        rows : ndarray of shape (n,), int64
            Rows of the whole batch.
        epoch : int
        prompts : list of str, optional
            Prompts of the findings; None: those of a language and wording drawn for the step.

        Returns
        -------
        texts : list of str, T of them
        owners : ndarray of shape (T,), int64
            The row that each text belongs to; -1 for bank and concepts, which belong to none.
        labels : Tensor of shape (T, F), float32
            The findings that each text names.

        Notes
        -----
        A record without a finding brings no text of its own and is a negative for the other texts
        of the batch. The same holds for a record with an empty report. A finding whose label is
        unknown is not named by the text of findings.
        """
        n_findings = len(self.codes)
        if prompts is None:
            prompts = self.banks.draw(self._prompt_rng(rows, epoch))
        if kind == "bank":
            return prompts, np.full(n_findings, -1), torch.eye(n_findings, device=self.device)
        if kind == "concept":
            language = self.banks.language_of(prompts)
            texts, members_CF = self.vocabulary.concept_prompts(self.codes, language)
            members = torch.from_numpy(members_CF.astype(np.float32))
            return texts, np.full(len(texts), -1), members.to(self.device)
        if kind == "report":
            with_report = np.array([row for row in rows if self.reports[row]], np.int64)
            reports = [self.reports[row] for row in with_report]
            return reports, with_report, self.labels[self.to_device(with_report)]
        return self._finding_texts(prompts, rows, epoch, 1 if kind == "finding" else None)

    def _finding_texts(
        self, prompts: list[str], rows: np.ndarray, epoch: int, n_most: int | None
    ) -> tuple[list[str], np.ndarray, Tensor]:
        """Return one text per record: its findings in random order, at most ``n_most``."""
        n_findings = len(self.codes)
        texts, owners, labels = [], [], []
        for row, present in zip(rows, self.y_true[rows], strict=True):
            columns = np.flatnonzero(present)
            if not len(columns):
                continue
            # The last number separates this draw from the other draws of the epoch.
            rng = np.random.default_rng([self.settings.seed, epoch, int(self.ecg_id[row]), 1])
            chosen = rng.permutation(columns)[:n_most]
            texts.append("; ".join(prompts[column] for column in chosen))
            owners.append(row)
            labels.append(np.isin(np.arange(n_findings), chosen))
        labels_TF = np.array(labels, np.float32).reshape(-1, n_findings)
        return texts, np.array(owners, np.int64), self.to_device(labels_TF)

    def mixed_targets(
        self, term: Term, rows: np.ndarray, mixup: Mixup | None, owners: np.ndarray, labels: Tensor
    ) -> PairTargets | MixedTargets:
        """Return ``targets``, mixed as the signals are."""
        first = self.targets(term, rows, owners, labels)
        if mixup is None:
            return first
        second = self.targets(term, mixup.partners, owners, labels)
        return MixedTargets(first, second, self.to_device(mixup.share_B).to(self.labels.dtype))

    def targets(
        self, term: Term, rows: np.ndarray, owners: np.ndarray, labels: Tensor
    ) -> PairTargets:
        """Return the targets of ECGs and texts.

        Parameters
        ----------
        term : Term
        rows : ndarray of shape (B,), int64
            Rows of the ECGs.
        owners, labels
            As ``texts`` returns them.
        """
        index, owner_index = self.to_device(rows), self.to_device(owners)
        ecg_labels = self.labels if self.soft_labels is None else self.soft_labels
        return PairTargets(
            term.targets,
            ecg_labels[index],
            labels,
            index,
            owner_index,
            self.weights,
            self._known(index),
            # A report has the labels of its record; other texts name their findings.
            self._known(owner_index) if term.text == "report" else None,
        )

    def prior_logits(self) -> Tensor:
        """Return the log-odds of each finding in the training folds, (F,) float32.

        They are those of the records whose label is known.
        Half a record is added to both classes, so that a finding without positives has finite
        log-odds, too.
        """
        train_rows = self.to_device(self.train_rows)
        n_positive, known = self.labels[train_rows].sum(0), self._known(train_rows)
        n = len(train_rows) if known is None else known.sum(0)
        return torch.log((n_positive + 0.5) / (n - n_positive + 0.5)).cpu()

    def positive_rate(self, term: Term) -> float:
        """Return the mean target of a pair in the first batches of the run.

        Raises
        ------
        ValueError
            If no record has a text of that kind.
        """
        return self.pair_shares(term)["positive"]

    def pair_shares(self, term: Term) -> dict[str, float]:
        """Compare the targets of the first batches with the labels.

        Returns
        -------
        dict of str to float
            ``positive``: mean target of a pair. ``false_negative``: share of the pairs that are
            positive by the labels (all findings that the text names are present) and have a target
            below 0.5. ``records_with_false_negative``: share of the records that have such a pair
            in their batch. Pairs whose target is unknown are left out.

        Raises
        ------
        ValueError
            If no record has a text of that kind, or no target is known.
        """
        n_pairs = n_true = n_rows = 0
        positive = missed = rows_missed = 0.0
        for rows in self.batches(0)[:N_RATE]:
            _, owners, text_labels = self.texts(term.text, rows, 0)
            targets = self.targets(term, rows, owners, text_labels)
            matrix_BT, known_BT = targets.values_and_known()
            labels = self.labels[self.to_device(rows)]
            present = replace(targets, rule="present", ecg_labels=labels, text_known=None)
            true_BT = present.matrix() > 0
            if known_BT is not None:
                true_BT = true_BT & known_BT
            missed_BT = true_BT & (matrix_BT < 0.5)
            n_pairs += matrix_BT.numel() if known_BT is None else int(known_BT.sum())
            n_rows += len(rows)
            positive += matrix_BT.sum().item()
            n_true += int(true_BT.sum())
            missed += missed_BT.sum().item()
            rows_missed += missed_BT.any(1).sum().item()
        if not n_pairs:
            what = "text" if self.known is None else "text with a known target"
            raise ValueError(f"objective {term.name}: no record of the training folds has a {what}")
        return {
            "positive": positive / n_pairs,
            "false_negative": missed / max(1, n_true),
            "records_with_false_negative": rows_missed / n_rows,
        }


def usable_reports(data: LabelledRecords, which: str) -> list[str]:
    """Return the cleaned report of each record; empty if ``data.reports`` excludes it."""
    selected = {
        "all": np.ones(len(data), bool),
        "validated": data.validated,
        "written": ~data.autogenerated,
    }[which]
    return [
        clean_report(report) if use else ""
        for report, use in zip(data.reports, selected, strict=True)
    ]
