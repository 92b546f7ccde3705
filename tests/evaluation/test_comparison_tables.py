"""Tables of a comparison for papers: LaTeX that compiles as it is, and every score as CSV."""

import numpy as np
import pandas as pd

from ecg_siglip.evaluation.comparison_tables import HEADINGS, csv_rows, escaped, headings, latex


def row(name, mean, sd=0.0125, **differences):
    score = {"mean": mean, "sd": sd, "low": mean - 0.05, "high": mean + 0.05}
    return {
        "name": name,
        "runs": ["a", "b"],
        "seeds": [0, 1],
        "scores": {key: dict(score) for key in HEADINGS},
        "differences": differences,
    }


def result(best_p=0.01):
    first = next(iter(HEADINGS))
    difference = {"difference": 0.25, "low": 0.1, "high": 0.3, "p": 0.012}
    return {
        "baseline": "bce",
        "n_records": 479,
        "n_findings_min5": 38,
        "rows": [row("bank_50%", 0.5, **{first: difference}), row("bce", 0.25, sd=np.nan)],
        "best": {first: {"name": "bank_50%", "second": "bce", "p": best_p}},
    }


def body(text):
    return [line for line in text.splitlines() if not line.startswith("%")]


def test_the_table_has_mean_and_sd_with_the_rules_of_booktabs():
    lines = body(latex(result()))
    assert lines[0] == r"\begin{tabular}{lrcccccc}"
    assert [line for line in lines if line.startswith("\\") and "rule" in line] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert lines[2].startswith("recipe & runs & macro F1 & macro AUROC")
    cells = lines[4].removesuffix(r" \\").split(" & ")
    assert cells[:4] == [
        r"bank\_50\%",
        "2",
        r"\textbf{0.500} $\pm$ 0.013",
        r"0.500 $\pm$ 0.013",
    ]
    assert cells[-2:] == [r"0.5000 $\pm$ 0.0125", "0.012"]
    one_run = lines[5].removesuffix(r" \\").split(" & ")
    assert one_run[2] == "0.250" and one_run[-1] == ""
    assert {line.count("&") for line in lines[2:6] if "&" in line} == {7}


def test_the_best_is_marked_only_if_the_test_holds():
    assert "textbf" not in latex(result(best_p=0.06))
    assert "textbf" not in latex(result(best_p=np.nan))  # different numbers of runs
    without = result()
    del without["best"]
    assert "textbf" not in latex(without)


def test_names_are_escaped():
    assert escaped(r"a_b&50%$#{}~^\<x>") == (
        r"a\_b\&50\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
        r"\textless{}x\textgreater{}"
    )


def test_a_small_fold_is_compared_by_all_findings():
    assert list(headings(0))[:2] == ["prevalence/macro_f1", "macro_auroc"]
    assert headings(3) == HEADINGS


def test_the_rows_have_every_score():
    table = csv_rows(result())
    assert table["recipe"].tolist() == ["bank_50%", "bce"]
    assert table["seeds"].tolist() == ["0 1", "0 1"]
    first = next(iter(HEADINGS))
    assert table[f"{first}/mean"].tolist() == [0.5, 0.25]
    assert table[f"{first}/sd"].isna().tolist() == [False, True]
    assert table.loc[0, f"{first}/p"] == 0.012
    assert isinstance(table, pd.DataFrame) and len(table.columns) == 3 + 6 * len(HEADINGS)
