"""Findings that training never hears of, to see whether words alone can ask for them.

Shape letters: N records, T texts, D embedding, H findings held out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ecg_siglip import concepts, findings
from ecg_siglip.neighbours import unit
from ecg_siglip.ptbxl import PtbXl

SHOTS = (1, 5, 20)
N_DRAWS = 10
N_DIRECTIONS = 300
N_NEGATIVES = 200
# What may tell of a finding in a report, German, Swedish or English, in lower case. Wider than
# need be: a misspelt word may still slip through. Other findings: all reports are left out.
_MENTIONS = {
    **dict.fromkeys(("IMI", "ILMI", "IPMI", "IPLMI", "ISCIN", "ISCIL", "INJIN", "INJIL"),
                    r"inferi|hinterwand|diaphragm|\biii\b|avf"),
    **dict.fromkeys(("AMI", "ASMI", "ALMI", "ISCAN", "ISCAS", "ISCAL", "INJAS", "INJAL", "ANEUR"),
                    r"anteri|antero|vorderwand|sept|v[1-6]|chest leads"),
    **dict.fromkeys(("LMI", "ISCLA", "INJLA"), r"later|seitenwand|avl|v[56]"),
    "PMI": r"posterio|hinterwand",
    "ISC_": r"isch|koronar|coronar",
    **dict.fromkeys(("CLBBB", "ILBBB"), r"left bundle|linksschenkel|vänster\w* skänkel|lsb|lbbb"),
    **dict.fromkeys(("CRBBB", "IRBBB"), r"right bundle|rechtsschenkel|höger\w* skänkel|rsb|rbbb"),
    **dict.fromkeys(("LAFB", "LPFB"), r"fascicul|hemibl|lahb|lphb|lafb|lpfb"),
    **dict.fromkeys(("AFIB", "AFLT"), r"fibrill|fl+im+er|flutter|flattern|fladder|absolute arr"),
    **dict.fromkeys(("STACH", "SVTAC", "PSVT"), r"ta[ck]h?[iy]|rapid"),
    "SBRAD": r"brad[iy]|slow",
    "SARRH": r"sinus ?arr|arr[h]?ythm",
    "PACE": r"pace|schrittmacher|stimul",
}  # fmt: skip


def known(data: PtbXl, held_out: Sequence[str]) -> PtbXl:
    """The data with the labels of the other findings alone.

    Raises
    ------
    ValueError
        If a finding is none of the data's, or none is left.
    """
    for code in held_out:
        if code not in data.codes:
            raise ValueError(f"data.held_out: {code} is no finding of this task")
    keep = [i for i, code in enumerate(data.codes) if code not in held_out]
    if not keep:
        raise ValueError("data.held_out: no finding is left to learn; expected some")
    return replace(
        data,
        codes=tuple(data.codes[i] for i in keep),
        y_true=data.y_true[:, keep],
        likelihood=data.likelihood[:, keep],
    )


def hidden(data: PtbXl, held_out: Sequence[str]) -> PtbXl:
    """The data as it is shown to a training that shall not know some findings.

    Parameters
    ----------
    data : PtbXl
    held_out : sequence of str

    Returns
    -------
    PtbXl
        Without these findings. Records that have one belong to fold 0, which nobody trains or
        tunes on; reports that may tell of one are empty.

    Raises
    ------
    ValueError
        As ``known``.
    """
    if not held_out:
        return data
    rest = known(data, held_out)
    has_one = data.y_true[:, [data.codes.index(code) for code in held_out]].any(axis=1)
    patterns = [_MENTIONS.get(code, "") for code in held_out]
    tells = re.compile("|".join(patterns) if all(patterns) else "")
    reports = ["" if tells.search(report.lower()) else report for report in data.reports]
    return replace(rest, reports=reports, strat_fold=np.where(has_one, 0, data.strat_fold))


def scores(
    data: PtbXl,
    held_out: Sequence[str],
    folds: dict[str, np.ndarray],
    embed: Callable[[np.ndarray], np.ndarray],
    ask: Callable[[list[str]], np.ndarray],
    language: str = "en",
) -> list[dict[str, Any]]:
    """How well findings are found that training never heard of, a row a finding.

    Parameters
    ----------
    data : PtbXl
        With the labels of all findings.
    held_out : sequence of str
    folds : dict
        Rows ``train``, ``tune``, ``report``, all records of these folds.
    embed : function
        Rows to embeddings (N, D).
    ask : function
        Texts to embeddings (T, D), unit norm.
    language : {"en", "de", "ja"}

    Returns
    -------
    list of dict
        ``code``, ``n_positive``; AUROC of the finding's prompt (``auroc``), of its concepts
        together (``composed``), of ``both``; ``nearest``, the trained finding whose prompt lies
        nearest, and its AUROC; ``random_high``, what 95 of 100 random directions of the embedding
        stay below; ``probe_1``, ``probe_5``, ``probe_20``: a linear model that has seen so many
        positives of the training folds, mean of 10 draws; ``f1`` of the prompt's answers, cut where
        as many are called as the tuning fold has, and ``f1_chance``, of as many called at random.
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import

    rest = known(data, held_out)
    embedding = {name: unit(embed(rows)) for name, rows in folds.items()}
    prompts = findings.prompts(rest.codes, language)
    prompt_TD = ask(prompts)
    here = embedding["report"]
    rng = np.random.default_rng(0)
    random_TD = rng.normal(size=(N_DIRECTIONS, here.shape[1]))
    found = []
    for code in held_out:
        truth = {name: data.y_true[rows, data.codes.index(code)] for name, rows in folds.items()}
        row: dict[str, Any] = {
            "code": code,
            "name": findings.names([code])[0],
            "n_positive": int(truth["report"].sum()),
        }
        found.append(row)
        if not 0 < row["n_positive"] < len(here):
            continue

        def auroc(text_D: np.ndarray, y: np.ndarray = truth["report"]) -> float:
            return float(roc_auc_score(y, here @ text_D))

        own_D = ask(findings.prompts([code], language))[0]
        row["auroc"], row["composed"], row["both"] = auroc(own_D), np.nan, np.nan
        if words := concepts.of(code, language, rest.codes):
            shared_D = unit(ask(words).mean(axis=0, keepdims=True))[0]
            row["composed"], row["both"] = auroc(shared_D), auroc(own_D + shared_D)
        nearest = int((prompt_TD @ own_D).argmax())
        row["nearest"] = rest.codes[nearest]
        row["nearest_auroc"] = auroc(prompt_TD[nearest])
        row["random_high"] = float(np.quantile([auroc(one) for one in random_TD], 0.95))
        for n_shots in SHOTS:
            row[f"probe_{n_shots}"] = _probe(embedding, truth, n_shots, rng)
        row |= _f1(embedding, truth, own_D)
    return found


def _probe(
    embedding: dict[str, np.ndarray], truth: dict[str, np.ndarray], n_shots: int, rng: Any
) -> float:
    """AUROC of a linear model on a few positives; NaN where there are not so many."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    positives, negatives = np.flatnonzero(truth["train"]), np.flatnonzero(~truth["train"])
    if len(positives) < n_shots:
        return float("nan")
    reached = []
    for _ in range(N_DRAWS):
        chosen = rng.choice(positives, n_shots, replace=False)
        others = rng.choice(negatives, min(N_NEGATIVES, len(negatives)), replace=False)
        x = embedding["train"][np.r_[chosen, others]]
        y = np.r_[np.ones(len(chosen)), np.zeros(len(others))]
        probe = LogisticRegression(class_weight="balanced", max_iter=1000).fit(x, y)
        reached.append(roc_auc_score(truth["report"], probe.decision_function(embedding["report"])))
    return float(np.mean(reached))


def _f1(
    embedding: dict[str, np.ndarray], truth: dict[str, np.ndarray], text_D: np.ndarray
) -> dict[str, float]:
    """F1 of as many calls as the tuning fold has positives, and of as many at random."""
    n_tune = max(1, int(truth["tune"].sum()))
    limit = np.sort(embedding["tune"] @ text_D)[-n_tune]
    called = embedding["report"] @ text_D >= limit
    n_true, n_called = int(truth["report"].sum()), int(called.sum())
    right = int((called & truth["report"]).sum())
    at_random = n_called * n_true / len(called)
    return {
        "f1": 2 * right / max(1, n_true + n_called),
        "f1_chance": 2 * at_random / max(1, n_true + n_called),
    }
