"""Pair targets: which ECG-text pairs are positive."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TEXTS = ("bank", "concept", "finding", "findings", "report")
NO_RECORDS = ("bank", "concept")  # the same texts in every step, which belong to no record
TARGETS = ("diagonal", "shared", "jaccard", "idf_jaccard", "present")
LOSSES = ("sigmoid", "softmax")


@dataclass(frozen=True)
class Term:
    """One summand of the objective: the kind of text, the rule of its targets, its weight.

    Attributes
    ----------
    text : str
        One of ``TEXTS``.
    targets : str
        One of ``TARGETS``, see ``PairTargets``.
    weight : float, above 0
    """

    text: str
    targets: str
    weight: float

    @property
    def name(self) -> str:
        """Text and targets, without the weight."""
        return f"{self.text}/{self.targets}"


def parse_terms(terms: str) -> list[Term]:
    """Parse ``text/targets:weight + ...``; ``bank`` alone means ``bank/present:1``.

    Raises
    ------
    ValueError
        If a text or rule is unknown, a weight is not a positive number, a rule is not defined for
        its text, or there is no term.

    Examples
    --------
    >>> [(t.name, t.weight) for t in parse_terms("bank:1.0 + report/idf_jaccard:0.1")]
    [('bank/present', 1.0), ('report/idf_jaccard', 0.1)]
    """
    parsed = []
    for part in terms.split("+"):
        name, _, weight = part.strip().partition(":")
        text, _, targets = name.strip().partition("/")
        targets = targets or ("present" if text == "bank" else "")
        where = f"objective.terms={terms!r}: {part.strip()!r}"
        if text not in TEXTS:
            raise ValueError(f"{where}: expected a text of {', '.join(TEXTS)}")
        if targets not in TARGETS:
            raise ValueError(f"{where}: expected targets of {', '.join(TARGETS)}")
        if text in NO_RECORDS and targets == "diagonal":
            raise ValueError(f"{where}: a bank of texts has no diagonal; expected bank/present")
        if text == "concept" and targets == "present":
            raise ValueError(
                f"{where}: no record has all findings of a concept; expected concept/shared"
            )
        try:
            value = float(weight or 1.0)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ValueError(f"{where}: expected a weight above 0")
        parsed.append(Term(text, targets, value))
    return parsed


@dataclass(frozen=True)
class PairTargets:
    """The target matrix of a batch, stored as the labels that it is computed from.

    Parameters
    ----------
    rule : {"diagonal", "shared", "jaccard", "idf_jaccard", "present"}
        diagonal: the text belongs to the ECG. shared: they share a finding. jaccard: number of
        shared findings / number of findings in either. idf_jaccard: the same, with each finding
        weighted by ``weight``. present: every finding of the text is present in the record; with
        labels between 0 and 1, the label of a single finding, and for n findings
        ``max(0, sum of their labels - (n - 1))``.
    ecg_labels : Tensor of shape (B, F), float32 in [0, 1]
    text_labels : Tensor of shape (T, F), float32, 0 or 1
        The findings that the text names.
    ecg_index, text_index : Tensor of shape (B,) and (T,), int64
        The record that an ECG is, or that a text belongs to, for the diagonal.
    weight : Tensor of shape (F,), float32
        Weight of each finding in the set-valued rules; 0 leaves it out.
    ecg_known : Tensor of shape (B, F), bool, optional
        Whether it is known if the finding is present; `ecg_labels` are 0 where it is not. None: all
        labels and all targets are known.
    text_known : Tensor of shape (T, F), bool, optional
        The same of `text_labels`, for texts that have the labels of their record. None: the text
        names its findings itself, so that all are known.

    Notes
    -----
    A target is unknown where the unknown labels leave it open; such a pair contributes to neither
    loss nor gradient. diagonal: always known. present: 0 as soon as one finding of the text is
    known to be absent; otherwise unknown if one of them is unknown, or if the text may name a
    further finding that is not known to be present. The own text of a record is present in it.
    shared: 1 as soon as one shared finding is known; otherwise unknown if a finding could still be
    shared, else 0. jaccard and idf_jaccard: computed over the findings that are known on both
    sides, which estimates the value over all findings without bias if labels are unknown at random;
    unknown where none of these findings is present on either side (0/0) and one could still be
    shared.

    A set-valued rule on two empty sets is 0/0, which is defined as 0 here: two records without
    findings are not similar for that reason. Jaccard targets: arXiv:2602.10553.
    """

    rule: str
    ecg_labels: Tensor
    text_labels: Tensor
    ecg_index: Tensor
    text_index: Tensor
    weight: Tensor
    ecg_known: Tensor | None = None
    text_known: Tensor | None = None

    def chunk(self, start: int, stop: int) -> PairTargets:
        """Return the targets of the texts ``start`` to ``stop - 1``."""
        texts = slice(start, stop)
        return replace(
            self,
            text_labels=self.text_labels[texts],
            text_index=self.text_index[texts],
            text_known=None if self.text_known is None else self.text_known[texts],
        )

    def matrix(self) -> Tensor:
        """Compute the target matrix, (B, T) float32 in [0, 1]; 0 where a target is unknown."""
        return self.values_and_known()[0]

    def values_and_known(self) -> tuple[Tensor, Tensor | None]:
        """Compute ``matrix`` and which targets are known, (B, T) bool; None: all are."""
        if self.ecg_known is None or self.rule == "diagonal":
            return self._values(), None
        values_BT, known_BT = (
            self._present_and_known() if self.rule == "present" else self._sets_and_known()
        )
        return values_BT * known_BT, known_BT

    def _own(self) -> Tensor:
        """Return which text belongs to which ECG, (B, T) bool."""
        return self.ecg_index[:, None] == self.text_index[None, :]

    def _planes(self) -> tuple[Tensor, Tensor]:
        """Return which labels of ECGs and of texts are known, (B, F) and (T, F), 0 or 1."""
        assert self.ecg_known is not None
        if self.text_known is None:
            return self.ecg_known.to(self.ecg_labels), torch.ones_like(self.text_labels)
        return self.ecg_known.to(self.ecg_labels), self.text_known.to(self.text_labels)

    def _present_and_known(self) -> tuple[Tensor, Tensor]:
        """Compute targets and known pairs of the rule ``present``."""
        ecg_known_BF, text_known_TF = self._planes()
        n_named_T, n_maybe_named_T = self.text_labels.sum(1), (1 - text_known_TF).sum(1)
        n_unknown_BT = (1 - ecg_known_BF) @ self.text_labels.T
        # The target if all findings of the text that are unknown in the record were present.
        highest_BT = self.ecg_labels @ self.text_labels.T + n_unknown_BT - (n_named_T - 1)
        n_open_BT = n_unknown_BT + (1 - self.ecg_labels) @ (1 - text_known_TF).T
        known_BT = (highest_BT <= 0) | (n_open_BT == 0) | self._own()
        return self._values(), known_BT & ((n_named_T > 0) | (n_maybe_named_T == 0))

    def _sets_and_known(self) -> tuple[Tensor, Tensor]:
        """Compute targets and known pairs of the set-valued rules."""
        ecg_known_BF, text_known_TF = self._planes()
        weight = self.weight if self.rule == "idf_jaccard" else (self.weight > 0).to(self.weight)
        ecg_BF, text_TF = self.ecg_labels * weight, self.text_labels
        shared_BT = ecg_BF @ text_TF.T
        could_share_BT = ((self.ecg_labels + 1 - ecg_known_BF) * weight) @ (
            text_TF + 1 - text_known_TF
        ).T
        if self.rule == "shared":
            is_shared_BT = shared_BT > 0
            return is_shared_BT.to(self.ecg_labels), is_shared_BT | (could_share_BT == 0)
        either_BT = ecg_BF @ text_known_TF.T + (ecg_known_BF * weight) @ text_TF.T - shared_BT
        values_BT = torch.where(either_BT > 0, shared_BT / either_BT.clamp(min=1e-12), 0.0)
        return values_BT, (either_BT > 0) | (could_share_BT == 0)

    def _values(self) -> Tensor:
        """Compute the targets of known labels, (B, T)."""
        if self.rule == "diagonal":
            return self._own().to(self.ecg_labels)
        if self.rule == "present":
            n_named_T = self.text_labels.sum(1)
            n_present_BT = self.ecg_labels @ self.text_labels.T
            return (n_present_BT - (n_named_T - 1)).clamp(min=0) * (n_named_T > 0)
        weight = self.weight if self.rule == "idf_jaccard" else (self.weight > 0).to(self.weight)
        shared_BT = (self.ecg_labels * weight) @ self.text_labels.T
        if self.rule == "shared":
            return (shared_BT > 0).to(self.ecg_labels)
        either_BT = (self.ecg_labels @ weight)[:, None] + (self.text_labels @ weight)[None, :]
        either_BT = either_BT - shared_BT
        return torch.where(either_BT > 0, shared_BT / either_BT.clamp(min=1e-12), 0.0)


@dataclass(frozen=True)
class MixedTargets:
    """The target matrix of a batch with mixup: the weighted mean of two target matrices.

    Parameters
    ----------
    first, second : PairTargets
        Targets of the two records that each ECG is mixed from, for the same texts.
    share_B : Tensor of shape (B,), float32 in [0, 1]
        Weight of the first.

    Notes
    -----
    A target is known if both are. Mixup, Zhang et al. 2018 (arXiv:1710.09412).
    """

    first: PairTargets
    second: PairTargets
    share_B: Tensor

    def chunk(self, start: int, stop: int) -> MixedTargets:
        """Return the targets of the texts ``start`` to ``stop - 1``."""
        return replace(
            self, first=self.first.chunk(start, stop), second=self.second.chunk(start, stop)
        )

    def matrix(self) -> Tensor:
        """Compute the target matrix, (B, T) float32 in [0, 1]; 0 where a target is unknown."""
        return self.values_and_known()[0]

    def values_and_known(self) -> tuple[Tensor, Tensor | None]:
        """Compute ``matrix`` and which targets are known, (B, T) bool; None: all are."""
        first_BT, first_known_BT = self.first.values_and_known()
        second_BT, second_known_BT = self.second.values_and_known()
        values_BT = torch.lerp(second_BT, first_BT, self.share_B[:, None])
        if first_known_BT is None or second_known_BT is None:
            return values_BT, None
        known_BT = first_known_BT & second_known_BT
        return values_BT * known_BT, known_BT


def finding_weights(labels: Tensor, excluded: list[int], known: Tensor | None = None) -> Tensor:
    """Compute the inverse document frequency of each finding, ``log(n / n_positive)``.

    Parameters
    ----------
    labels : Tensor of shape (N, F), float32, 0 or 1
        Of the training records.
    excluded : list of int
        Columns that the set-valued rules leave out.
    known : Tensor of shape (N, F), bool, optional
        Which labels are known; n is the number of records whose label is. None: all.

    Returns
    -------
    Tensor of shape (F,), float32
        0 for excluded findings, at least 1e-6 for the others.
    """
    n = len(labels) if known is None else known.sum(0)
    weight_F = torch.log(n / labels.sum(0).clamp(min=1.0)).clamp(min=1e-6)
    weight_F[excluded] = 0.0
    return weight_F


def bias_from_rate(rate: float) -> float:
    """Return the initial logit bias: the log-odds of a positive pair, ``log(p / (1 - p))``.

    Notes
    -----
    SigLIP starts at -10, which fits one positive in 22,000 pairs; with another rate the first
    steps would mostly change the bias. The rate is clipped to [1e-6, 1 - 1e-6].
    """
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate))
