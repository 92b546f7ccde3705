"""Tables of a comparison for papers: LaTeX and CSV, mean and standard deviation over the seeds."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ecg_siglip.metrics.summary import HEADLINE_F1, HEADLINE_TEXT

# Scores of the printed table and their headings.
HEADINGS = {
    HEADLINE_F1: "macro F1",
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AP",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "ece": "ECE",
}
LEVEL = 0.05  # of the test by which the best score of a column is marked
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {character: "\\" + character for character in "&%$#_{}"}


def headings(n_findings_min5: int) -> dict[str, str]:
    """Return the scores of a table and their headings.

    Without any finding of 5 positives the macro scores are those of all findings, as in a report.
    """
    if n_findings_min5:
        return HEADINGS
    return {key.removesuffix("_min5"): name for key, name in HEADINGS.items()}


def escaped(text: str) -> str:
    """Return a text for LaTeX, in which its special characters are printed.

    Examples
    --------
    >>> print(escaped("bank_s* & 50 %"))
    bank\\_s* \\& 50 \\%
    """
    return "".join(SPECIAL.get(character, character) for character in text)


def csv_rows(result: dict[str, Any]) -> pd.DataFrame:
    """Return one row per recipe with every score.

    Parameters
    ----------
    result : dict, as ``comparison.summary`` returns it

    Returns
    -------
    DataFrame
        ``recipe``, ``n_runs``, ``seeds``; for each score ``S``: ``S/mean``, ``S/sd`` (over the
        runs; empty for one), ``S/low``, ``S/high`` (95 %), and against the baseline
        ``S/difference`` and ``S/p``.
    """
    rows = []
    for row in result["rows"]:
        line = {
            "recipe": row["name"],
            "n_runs": len(row["runs"]),
            "seeds": " ".join(map(str, row["seeds"])),
        }
        for name, score in row["scores"].items():
            line |= {f"{name}/{key}": score[key] for key in ("mean", "sd", "low", "high")}
            difference = row["differences"].get(name, {})
            line |= {f"{name}/{key}": difference.get(key) for key in ("difference", "p")}
        rows.append(line)
    return pd.DataFrame(rows)


def latex(result: dict[str, Any]) -> str:
    """Return the table of the scores for LaTeX, with the rules of the package ``booktabs``.

    Parameters
    ----------
    result : dict
        As ``comparison.summary`` returns it; ``best`` has the test of each best score.

    Returns
    -------
    str
        One line per recipe: mean and standard deviation over its runs. The best score of a column
        is bold if it differs from the second best with p below ``LEVEL``.
    """
    shown = headings(result["n_findings_min5"])
    which = f"the {result['n_findings_min5']} findings with 5 or more positives"
    comments = [
        f"{result['n_records']} records; macro scores over "
        + (which if result["n_findings_min5"] else "all findings with a positive"),
        HEADLINE_TEXT,
        "Mean and standard deviation over the runs, one per seed. Bold: the best score, if it "
        f"differs from the second best with p < {LEVEL} (paired permutation test of records).",
        f"p: macro F1 against {result['baseline']}, by the same test.",
        r"Needs \usepackage{booktabs}.",
    ]
    columns = ["recipe", "runs", *shown.values(), "$p$"]
    lines = [f"% {comment}" for comment in comments]
    lines += [rf"\begin{{tabular}}{{lr{'c' * (len(shown) + 1)}}}", r"\toprule"]
    lines += [" & ".join(columns) + r" \\", r"\midrule"]
    for row in result["rows"]:
        cells = [escaped(row["name"]), str(len(row["runs"]))]
        cells += [_cell(row, key, result.get("best", {}).get(key, {})) for key in shown]
        p = row["differences"].get(next(iter(shown)), {}).get("p")
        cells.append("" if p is None or math.isnan(p) else f"{p:.3f}")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(row: dict[str, Any], key: str, best: dict[str, Any]) -> str:
    """Return mean and standard deviation of a score; bold if it is the best by the test."""
    score, digits = row["scores"][key], 4 if key == "ece" else 3
    if math.isnan(score["mean"]):
        return "--"
    mean = f"{score['mean']:.{digits}f}"
    if best.get("name") == row["name"] and best["p"] < LEVEL:
        mean = rf"\textbf{{{mean}}}"
    return mean if math.isnan(score["sd"]) else rf"{mean} $\pm$ {score['sd']:.{digits}f}"
