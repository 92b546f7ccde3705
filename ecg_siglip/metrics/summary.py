"""Short summaries of scores: for comparing epochs, and for the output of commands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import HEADLINE_RULE

# The macro F1 of the project: in reports, comparisons, the README and sweeps.
HEADLINE_F1 = f"{HEADLINE_RULE}/macro_f1_min{multilabel.MIN_POSITIVES}"
HEADLINE_TEXT = (
    "Macro F1 is the mean F1 of the findings with 5 or more positives, by the threshold rule "
    f"`{HEADLINE_RULE}`: on the tuning fold as many records are predicted positive as have the "
    "finding."
)


def headline_f1(scores: Mapping[str, float | None]) -> str:
    """Return the key of the headline macro F1.

    It is ``HEADLINE_F1``, in a small fold without any finding of 5 positives that of all findings
    with a positive.
    """
    end = f"_min{multilabel.MIN_POSITIVES}"
    return HEADLINE_F1 if scores.get(f"n_findings{end}", 1) else HEADLINE_F1.removesuffix(end)


def epoch_scores(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """Compute the few scores that epochs are compared by; none needs a tuned threshold."""
    fixed = {"fixed_0.5": multilabel.tune_thresholds(y_true, y_prob, "fixed_0.5")}
    scores = multilabel.scores(y_true, y_prob, fixed, n_bootstrap=0)
    has_min5 = scores["n_findings_min5"] > 0
    return {
        "macro_auroc": scores["macro_auroc_min5" if has_min5 else "macro_auroc"],
        "macro_auprc": scores["macro_auprc_min5" if has_min5 else "macro_auprc"],
        "micro_f1": scores["fixed_0.5/micro_f1"],
    }


def headline(scores: dict[str, float]) -> str:
    """Format the main scores on a few lines."""
    keys = ["macro_auroc_min5", "macro_auprc_min5", headline_f1(scores)]
    keys += ["expected_f1/macro_f1_min5", "expected_f1/micro_f1", "fixed_0.5/micro_f1", "ece"]
    lines = []
    for key in (key for key in keys if key in scores):
        low, high = scores.get(f"{key}/low", math.nan), scores.get(f"{key}/high", math.nan)
        interval = "" if math.isnan(low) else f"  [{low:.3f}, {high:.3f}]"
        lines.append(f"{key:<26}{scores[key]:.3f}{interval}")
    counts = f"{scores['n_records']} records, {scores['n_findings_min5']} findings with 5 or more"
    return "\n".join([*lines, counts])
