"""Pair targets: which ECG-text pairs are positive."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TEXTS = ("bank", "concept", "finding", "findings", "report")
NO_RECORDS = ("bank", "concept")  # texts that are there in every step and belong to no record
TARGETS = ("diagonal", "shared", "jaccard", "idf_jaccard", "present")
LOSSES = ("sigmoid", "softmax")


@dataclass(frozen=True)
class Term:
    """One summand of the objective: the kind of text, the rule of its targets, its weight."""

    text: str
    targets: str
    weight: float

    @property
    def name(self) -> str:
        return f"{self.text}/{self.targets}"


def parse_terms(terms: str) -> list[Term]:
    """Read ``text/targets:weight + ...``; ``bank`` alone means ``bank/present:1``.

    Raises
    ------
    ValueError
        For an unknown word, a weight that is no positive number, a rule that its text cannot
        have, or no term at all.

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
            raise ValueError(f"{where}: expected a text out of {', '.join(TEXTS)}")
        if targets not in TARGETS:
            raise ValueError(f"{where}: expected targets out of {', '.join(TARGETS)}")
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
    """The target matrix of a batch, kept as the labels that it follows from.

    Parameters
    ----------
    rule : {"diagonal", "shared", "jaccard", "idf_jaccard", "present"}
        diagonal: the text is the ECG's own. shared: they share a finding. jaccard: shared
        findings / findings of either. idf_jaccard: the same, each finding weighted by ``weight``.
        present: every finding of the text is in the record; of labels between 0 and 1, that of a
        single finding, and of several what their sum leaves above all but one of them.
    ecg_labels : Tensor of shape (B, F), float32 in [0, 1]
    text_labels : Tensor of shape (T, F), float32, 0 or 1
        The findings that the text names.
    ecg_index, text_index : Tensor of shape (B,) and (T,), int64
        Which record it is, for the diagonal.
    weight : Tensor of shape (F,), float32
        Weight of each finding in the set-valued rules; 0 leaves it out.

    Notes
    -----
    A set-valued rule on two empty sets is 0/0; it is taken as 0: two records of which nothing is
    said are not thereby alike. Jaccard targets: arXiv:2602.10553.
    """

    rule: str
    ecg_labels: Tensor
    text_labels: Tensor
    ecg_index: Tensor
    text_index: Tensor
    weight: Tensor

    def chunk(self, start: int, stop: int) -> PairTargets:
        """The same for the texts start..stop only."""
        texts = slice(start, stop)
        return replace(self, text_labels=self.text_labels[texts], text_index=self.text_index[texts])

    def matrix(self) -> Tensor:
        """The targets themselves: (B, T) float32 in [0, 1]."""
        if self.rule == "diagonal":
            return (self.ecg_index[:, None] == self.text_index[None, :]).to(self.ecg_labels)
        if self.rule == "present":
            named_T = self.text_labels.sum(1)
            found_BT = self.ecg_labels @ self.text_labels.T
            return (found_BT - (named_T - 1)).clamp(min=0) * (named_T > 0)
        weight = self.weight if self.rule == "idf_jaccard" else (self.weight > 0).to(self.weight)
        shared_BT = (self.ecg_labels * weight) @ self.text_labels.T
        if self.rule == "shared":
            return (shared_BT > 0).to(self.ecg_labels)
        either_BT = (self.ecg_labels @ weight)[:, None] + (self.text_labels @ weight)[None, :]
        either_BT = either_BT - shared_BT
        return torch.where(either_BT > 0, shared_BT / either_BT.clamp(min=1e-12), 0.0)


@dataclass(frozen=True)
class MixedTargets:
    """The target matrix of a batch whose ECGs are blends of two: the blend of both matrices.

    Parameters
    ----------
    first, second : PairTargets
        Of the two records that each ECG is made of; the texts are the same.
    share_B : Tensor of shape (B,), float32 in [0, 1]
        Part of the first.

    Notes
    -----
    Mixup, Zhang et al. 2018 (arXiv:1710.09412).
    """

    first: PairTargets
    second: PairTargets
    share_B: Tensor

    def chunk(self, start: int, stop: int) -> MixedTargets:
        """The same for the texts start..stop only."""
        return replace(
            self, first=self.first.chunk(start, stop), second=self.second.chunk(start, stop)
        )

    def matrix(self) -> Tensor:
        """The targets themselves: (B, T) float32 in [0, 1]."""
        return torch.lerp(self.second.matrix(), self.first.matrix(), self.share_B[:, None])


def finding_weights(labels: Tensor, excluded: list[int]) -> Tensor:
    """Inverse document frequency of each finding, ``log(n / n_positive)``; 0 where excluded.

    Parameters
    ----------
    labels : Tensor of shape (N, F), float32, 0 or 1
        Of the training records.
    excluded : list of int
        Columns that set-valued rules shall not look at.

    Returns
    -------
    Tensor of shape (F,), float32, > 0 but for the excluded
    """
    weight_F = torch.log(len(labels) / labels.sum(0).clamp(min=1.0)).clamp(min=1e-6)
    weight_F[excluded] = 0.0
    return weight_F


def bias_from_rate(rate: float) -> float:
    """Start of the logit bias: the log-odds of a positive pair, ``log(p / (1 - p))``.

    Notes
    -----
    SigLIP starts at -10, which fits one positive in 22,000 pairs; with another rate the first
    steps would do nothing but move the bias. The rate is held inside [1e-6, 1 - 1e-6].
    """
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate))
