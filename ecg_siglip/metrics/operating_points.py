"""How sure to be before a finding is called: thresholds by rule, wanted sensitivity or precision.

Those for a wanted sensitivity or precision are found on the tuning fold by what the calibrated
probabilities lead one to expect, not by counting: a rare finding has two or three positives there,
too few to count, and as many probabilities as any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import PRECISIONS, SENSITIVITIES


def operating_thresholds(y_prob: ArrayLike) -> dict[str, np.ndarray]:
    """Thresholds of each finding for every wanted sensitivity and precision.

    Parameters
    ----------
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
        Calibrated probabilities of the tuning fold.

    Returns
    -------
    dict of str to ndarray of shape (n_findings,)
        ``sensitivity_0.95``: the highest threshold with which no more than a twentieth of the
        records that have the finding are expected below it. ``precision_0.8``: the lowest at which
        four fifths of those called are expected to have it; 0.8 where no record comes that far.

    Raises
    ------
    ValueError
        If there is no record, or a value is no probability.
    """
    p_NF = np.asarray(y_prob, np.float64)
    if p_NF.ndim != 2 or not len(p_NF):
        raise ValueError(f"y_prob: expected (n_records, n_findings), got {p_NF.shape}")
    if not ((p_NF >= 0) & (p_NF <= 1)).all():
        raise ValueError("y_prob: expected probabilities from 0 to 1")
    # From the record most likely to have the finding to the least: those called at a threshold.
    sorted_NF = -np.sort(-p_NF, axis=0)
    expected_NF = np.cumsum(sorted_NF, axis=0)
    precision_NF = expected_NF / np.arange(1, len(p_NF) + 1)[:, None]
    sensitivity_NF = expected_NF / np.maximum(expected_NF[-1:], 1e-300)
    last_NF = np.diff(sorted_NF, axis=0, append=-1.0) != 0
    columns = np.arange(p_NF.shape[1])
    found = {}
    for wanted in SENSITIVITIES:
        first_F = np.argmax(sensitivity_NF >= wanted - 1e-12, axis=0)
        found[f"sensitivity_{wanted:g}"] = sorted_NF[first_F, columns]
    for wanted in PRECISIONS:
        # Expected precision only falls with every further record: the last one still above it, of
        # several with the same probability all or none.
        n_called_F = ((precision_NF >= wanted) & last_NF).cumsum(axis=0).argmax(axis=0) + 1
        n_called_F *= ((precision_NF >= wanted) & last_NF).any(axis=0)
        cut_F = sorted_NF[np.maximum(n_called_F - 1, 0), columns]
        found[f"precision_{wanted:g}"] = np.where(n_called_F > 0, cut_F, wanted)
    return found


def sensitivity_and_precision(
    y_true: ArrayLike, called: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and precision of each finding, (n_findings,) each; NaN over nothing.

    Parameters
    ----------
    y_true, called : array of shape (n_records, n_findings), bool
    """
    truth, said = multilabel.binary("y_true", y_true), multilabel.binary("called", called)
    both = (truth & said).sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return both / truth.sum(axis=0), both / said.sum(axis=0)
