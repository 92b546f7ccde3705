"""From probabilities to findings: what is reported, what else is possible, what is not excluded.

Shape letters: N records, windows or stretches; F findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg_siglip.inference.prediction import Finding
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.consistency import consistent, evidence, strongest_exclusion
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.likelihood import LIKELIHOODS
from ecg_siglip.metrics.operating_points import with_minimum
from ecg_siglip.models.artifact import Artifact, Tuning
from ecg_siglip.vocabulary.relations import critical_findings, implied_pairs

NOT_EXCLUDED = LIKELIHOODS["unlikely"]  # from this probability up; below, it is very unlikely
CRITICAL = 0.01  # the same for critical findings


@dataclass(frozen=True, eq=False)
class Decision:
    """Rule by which probabilities become findings, for records with the same leads.

    Attributes
    ----------
    codes, names : sequence of str, length F
    thresholds : ndarray of shape (F,)
        A finding whose probability reaches its threshold is present, unless another one that is
        present excludes it.
    default_thresholds : ndarray of shape (F,)
        Of the model's default rule, see ``consistency.evidence``.
    reportable, assessable : ndarray of shape (F,), bool
        Which findings can be present, and which have the leads that they need.
    listed_from : ndarray of shape (F,)
        A finding that is not present is not excluded from this probability up, and named as an
        alternative if another one is reported in its place.
    exclusive, implied : ndarray of shape (F, F), bool
        See ``Vocabulary.exclusive_pairs`` and ``relations.implied_pairs``.
    """

    codes: tuple[str, ...]
    names: tuple[str, ...]
    thresholds: np.ndarray
    default_thresholds: np.ndarray
    reportable: np.ndarray
    assessable: np.ndarray
    listed_from: np.ndarray
    exclusive: np.ndarray
    implied: np.ndarray

    def reached(self, y_prob: np.ndarray) -> np.ndarray:
        """Return which probabilities (N, F) reach the threshold of a reportable finding."""
        return np.asarray(multilabel.apply_thresholds(y_prob, self.thresholds) & self.reportable)

    def present(self, y_prob: np.ndarray) -> np.ndarray:
        """Return which findings are present, (N, F) bool: the most probable consistent set."""
        return self._consistent(self.reached(y_prob), evidence(y_prob, self.default_thresholds))

    def findings(self, y_prob: np.ndarray, present: np.ndarray | None = None) -> list[Finding]:
        """Return all findings of one record, in the order of the model.

        Parameters
        ----------
        y_prob : ndarray of shape (F,), float in [0, 1]
        present : ndarray of shape (F,), bool, optional
            Of a record with several windows; null: as ``present`` decides.
        """
        return self.findings_of(y_prob[None], None if present is None else present[None])[0]

    def findings_of(
        self, y_prob: np.ndarray, present: np.ndarray | None = None
    ) -> list[list[Finding]]:
        """Return all findings of each of N records.

        Parameters
        ----------
        y_prob : ndarray of shape (N, F), float in [0, 1]
        present : ndarray of shape (N, F), bool, optional
        """
        weights, reached = evidence(y_prob, self.default_thresholds), self.reached(y_prob)
        if present is None:
            present = self._consistent(reached, weights)
        winner = np.full(y_prob.shape, -1)
        # Most records have no finding that reaches its threshold and is not present.
        for i in np.flatnonzero((reached & ~present).any(axis=1)):
            winner[i] = strongest_exclusion(present[i], weights[i], self.exclusive)
        is_excluded = reached & ~present & (winner >= 0)
        is_other = is_excluded & (y_prob >= np.minimum(self.listed_from, NOT_EXCLUDED))
        is_listed = self.assessable & ~present & ~is_excluded & (y_prob >= self.listed_from)
        # Reading one number of an array takes several times as long as one of a list.
        winner = np.where(is_other, winner, -1)
        of_finding = (self.codes, self.names, self.thresholds.tolist(), self.assessable.tolist())
        of_record = (y_prob.tolist(), present.tolist(), is_listed.tolist(), winner.tolist())
        return [
            [
                Finding(code, name, p, threshold, is_present, assessable, listed, self._code(other))
                for code, name, threshold, assessable, p, is_present, listed, other in zip(
                    *of_finding, *values, strict=True
                )
            ]
            for values in zip(*of_record, strict=True)
        ]

    def _consistent(self, reached: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return ``present`` of findings that reach their thresholds with these weights."""
        return consistent(reached, weights, self.exclusive, self.implied) & self.assessable

    def _code(self, finding: int) -> str:
        """Return the code of a finding; "" for -1."""
        return self.codes[finding] if finding >= 0 else ""


def make_decision(
    artifact: Artifact,
    tuning: Tuning,
    available: np.ndarray,
    rule: str = DEFAULT_RULE,
    sensitivity: float | None = None,
) -> Decision:
    """Make the decision rule of a model for records with certain leads.

    Parameters
    ----------
    artifact : Artifact
    tuning : Tuning
        Of the model for these leads.
    available : ndarray of shape (12,), bool
        See ``leads.available_leads``.
    rule : str
        A threshold rule, or ``sensitivity_0.9`` or ``precision_0.8``, see
        ``metrics.operating_points``, whose ``with_minimum`` is applied.
    sensitivity : float, optional
        Not excluded is also what would be reported at this sensitivity: the full list.

    Raises
    ------
    ValueError
        If the model was saved without thresholds of that rule or sensitivity.
    """
    codes, vocabulary = artifact.codes, artifact.vocabulary
    known = tuning.thresholds | tuning.operating
    full = None if sensitivity is None else f"sensitivity_{sensitivity:g}"
    for name in (rule, full):
        if name is not None and name not in known:
            raise ValueError(
                f"{name}: this model has thresholds for {', '.join(known)}; expected one of them"
            )
    assessable = ~vocabulary.not_assessable(codes, available)
    # Neither a sensitivity nor a low probability has a meaning where there was no positive.
    never = np.isin(codes, artifact.provenance.never_present)
    listed_from = np.where(critical_findings(vocabulary, codes), CRITICAL, NOT_EXCLUDED)
    if full is not None:
        listed_from = np.minimum(listed_from, known[full])
    return Decision(
        codes,
        tuple(artifact.names),
        with_minimum(rule, known[rule]),
        tuning.thresholds[artifact.default_rule],
        assessable & ~(never & rule.startswith("sensitivity_")),
        assessable,
        np.where(never, np.inf, listed_from),
        vocabulary.exclusive_pairs(codes),
        implied_pairs(vocabulary, codes),
    )
