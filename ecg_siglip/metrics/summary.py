"""Short summaries of scores: for comparing epochs, and for the output of commands."""

from __future__ import annotations

import math

import numpy as np

from ecg_siglip.metrics import multilabel


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
    keys = ["macro_auroc_min5", "macro_auprc_min5", "prevalence/macro_f1_min5"]
    keys += ["expected_f1/macro_f1_min5", "expected_f1/micro_f1", "fixed_0.5/micro_f1", "ece"]
    lines = []
    for key in (key for key in keys if key in scores):
        low, high = scores.get(f"{key}/low", math.nan), scores.get(f"{key}/high", math.nan)
        interval = "" if math.isnan(low) else f"  [{low:.3f}, {high:.3f}]"
        lines.append(f"{key:<26}{scores[key]:.3f}{interval}")
    counts = f"{scores['n_records']} records, {scores['n_findings_min5']} findings with 5 or more"
    return "\n".join([*lines, counts])
