"""Compare the words for probabilities with the labels, and findings with their consistent set.

    python results/words_of_probability.py data/ptbxl results/words_of_probability [MODEL] [TABLE]

Written are ``evidence.json`` and ``evidence.md``: for the tuning and the report fold how often each
word was true, at each operating point; contradictory records and F1 before and after the consistent
set is chosen; what the smallest probability that `confirm` reports changes; how many findings are
not excluded; and of each pair of findings that exclude each other how often both were stated in
folds 1 to 7 of TABLE, a ``ptbxl_database.csv`` (that of data/ptbxl if none is given). Scale,
exclusions, their rule and the smallest probability were chosen on the tuning fold.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta

from ecg_siglip.core.run_folder import PRETRAINED
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.timeline import Windows
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.consistency import contradictory
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE, MIN_CONFIRMED, PRECISIONS
from ecg_siglip.metrics.likelihood import LIKELIHOODS, likelihood_range
from ecg_siglip.readers.record import read_record
from ecg_siglip.vocabulary import Vocabulary

TUNE_FOLD, REPORT_FOLD, LABELLED = 8, 9, range(1, 8)
OPERATING_POINTS = {
    "screening": "sensitivity_0.9",
    "balanced": DEFAULT_RULE,
    "confirm": "precision_0.8",
}
F1_SCORES, N_RESAMPLES = ("macro_f1_min5", "macro_f1", "micro_f1", "samples_f1"), 1000
F1_RULES = ("prevalence", DEFAULT_RULE, "fixed_0.5", "sensitivity_0.9", "precision_0.8")
LENGTHS_S, MIN_POSITIVES = (10, 30, 60, 300, 3600), 10  # of long records
PARTS = ("all", "not reported", *OPERATING_POINTS)


def interval(n_true: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934)."""
    low = float(beta.ppf(0.025, n_true, n - n_true + 1)) if n_true else 0.0
    high = float(beta.ppf(0.975, n_true + 1, n - n_true)) if n_true < n else 1.0
    return low, high


def share(is_true: np.ndarray) -> dict[str, Any]:
    """Return how many of some predictions were true, with the interval of the share."""
    n, n_true = len(is_true), int(is_true.sum())
    if not n:
        return {"n": 0, "n_true": 0, "share": None, "low": None, "high": None}
    low, high = interval(n_true, n)
    return {"n": n, "n_true": n_true, "share": n_true / n, "low": low, "high": high}


def words(predictor: Predictor, y_prob: np.ndarray, y_true: np.ndarray) -> list[dict[str, Any]]:
    """Return how often each word was true: of all findings, and of those that are reported."""
    present = {
        point: predictor.decision(rule).present(y_prob) for point, rule in OPERATING_POINTS.items()
    }
    masks = {
        "all": np.ones(y_prob.shape, bool),
        "not reported": ~present["balanced"],
        **present,
    }
    rows = []
    for word in LIKELIHOODS:
        low, high = likelihood_range(word)
        has_word = (y_prob >= low) & ((y_prob < high) | (high == 1))
        for part in PARTS:
            found = share(y_true[has_word & masks[part]])
            is_inside = found["n"] == 0 or low <= found["share"] <= high
            overlaps = found["n"] == 0 or (found["low"] <= high and found["high"] >= low)
            rows.append({"word": word, "part": part, "from": low, "to": high, **found})
            rows[-1] |= {"inside": bool(is_inside), "interval_overlaps": bool(overlaps)}
    return rows


def f1_change(
    y_true: np.ndarray, y_prob: np.ndarray, sets: dict[str, np.ndarray]
) -> dict[str, float]:
    """Return the F1 scores of two sets of reported findings, and the interval of their change."""
    curves = multilabel.resampled_scores(y_true, y_prob, sets, N_RESAMPLES, 0)
    row: dict[str, float] = {}
    for score in F1_SCORES:
        first, second = (curves[f"{name}/{score}"] for name in sets)
        row |= {f"{name}/{score}": float(curves[f"{name}/{score}"][0]) for name in sets}
        low, high = multilabel.interval(second[1:] - first[1:])
        row |= {f"change/{score}/low": low, f"change/{score}/high": high}
    return row


def consistency(
    predictor: Predictor, y_prob: np.ndarray, y_true: np.ndarray
) -> list[dict[str, Any]]:
    """Return contradictory records and F1 before and after, and the difference, by rule."""
    rows = []
    for rule in F1_RULES:
        decision = predictor.decision(rule)
        sets = {"before": decision.reached(y_prob), "after": decision.present(y_prob)}
        row: dict[str, Any] = {"rule": rule}
        for name, y_pred in sets.items():
            row[f"{name}/contradictory"] = int(contradictory(y_pred, decision.exclusive).sum())
            row[f"{name}/per_record"] = float(y_pred.sum(axis=1).mean())
        rows.append(row | f1_change(y_true, y_prob, sets))
    return rows


def confirmed(predictor: Predictor, y_prob: np.ndarray, y_true: np.ndarray) -> list[dict[str, Any]]:
    """Return what the smallest probability that a precision reports changes, by target."""
    rows = []
    for precision in PRECISIONS:
        rule = f"precision_{precision:g}"
        decision = predictor.decision(rule)
        stored = predictor.artifact.operating[rule]
        decisions = {"without": replace(decision, thresholds=stored), "with": decision}
        sets = {name: each.present(y_prob) for name, each in decisions.items()}
        row: dict[str, Any] = {"rule": rule}
        for name, y_pred in sets.items():
            row[f"{name}/reported"] = int(y_pred.sum())
            row[f"{name}/precision"] = share(y_true[y_pred])
            row[f"{name}/sensitivity"] = float(y_pred[y_true].mean())
            row[f"{name}/unlikely"] = share(y_true[y_pred & (y_prob < MIN_CONFIRMED)])
        rows.append(row | f1_change(y_true, y_prob, sets))
    return rows


def listed(predictor: Predictor, y_prob: np.ndarray, y_true: np.ndarray) -> list[dict[str, Any]]:
    """Return the length of ``not_excluded``, short and full, and what positives it has."""
    rows = []
    for point, rule in OPERATING_POINTS.items():
        for name, sensitivity in (("short", None), ("full", 0.9)):
            decision = predictor.decision(rule, sensitivity=sensitivity)
            found = [decision.findings(row) for row in y_prob]
            is_listed = np.array([[f.not_excluded for f in record] for record in found])
            is_present = np.array([[f.present for f in record] for record in found])
            is_other = np.array([[bool(f.alternative_to) for f in record] for record in found])
            counts = is_listed.sum(axis=1)
            rows.append(
                {
                    "point": point,
                    "list": name,
                    "mean": float(counts.mean()),
                    "median": float(np.median(counts)),
                    "most": int(counts.max()),
                    "alternatives": float(is_other.sum(axis=1).mean()),
                    "not_reported": int((y_true & ~is_present).sum()),
                    "of_these_listed": int((y_true & is_listed).sum()),
                    "of_these_alternatives": int((y_true & is_other).sum()),
                }
            )
    return rows


def long_records(y_prob: np.ndarray, y_true: np.ndarray) -> list[dict[str, Any]]:
    """Return how often each word of the best half minute is true, by the length of a record.

    The windows of a record are records of different people who all have a finding or all lack it,
    in the frequency of the fold: their errors are independent, as those of one person are not.
    """
    rng, rows = np.random.default_rng(0), []
    findings = np.flatnonzero(y_true.sum(axis=0) >= MIN_POSITIVES)
    for length_s in LENGTHS_S:
        n_windows, p, y = length_s // 10, [], []
        for f in findings:
            for is_true in (False, True):
                pool = y_prob[y_true[:, f] == is_true, f].clip(1e-9, 1 - 1e-9)
                for windows in rng.choice(pool, (len(pool), n_windows)):
                    starts_s = 10.0 * np.arange(n_windows)
                    p.append(Windows(starts_s, 10.0, windows[:, None]).overall()[0][0])
                    y.append(is_true)
        long_prob, long_true = np.array(p), np.array(y)
        for word in LIKELIHOODS:
            low, high = likelihood_range(word)
            has_word = (long_prob >= low) & ((long_prob < high) | (high == 1))
            rows.append({"word": word, "length_s": length_s, "from": low, "to": high})
            rows[-1] |= share(long_true[has_word])
    return rows


def stated_pairs(path: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return how often both of a pair were stated, in the folds of the training."""
    table = pd.read_csv(path)
    table = table[table["strat_fold"].isin(LABELLED)]
    stated = [ast.literal_eval(codes) for codes in table["scp_codes"]]
    codes = vocabulary.codes
    y_true = np.array([[code in record for code in codes] for record in stated])
    counts, both = y_true.sum(axis=0), y_true.T.astype(int) @ y_true
    rows = [
        {
            "pair": f"{codes[a]}, {codes[b]}",
            "both": int(both[a, b]),
            "of": [int(counts[a]), int(counts[b])],
            "by_chance": float(counts[a] * counts[b] / len(stated)),
        }
        for a, b in zip(*np.triu(vocabulary.exclusive_pairs(codes)).nonzero(), strict=True)
    ]
    return {"n_records": len(stated), "pairs": rows}


def predicted(predictor: Predictor, root: Path, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels of the records of a fold, (n_records, n_findings) each."""
    data = ptbxl.load_ptbxl(root, signals=False)
    rows = data.fold(fold)
    columns = [data.codes.index(code) for code in predictor.artifact.codes]
    signals = np.stack([predictor.prepare(read_record(data.paths[row])) for row in rows])
    return predictor.probabilities(signals), data.y_true[rows][:, columns]


def markdown(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Format rows as a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def words_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of ``words``: one line per word, one column per part."""

    def cell(row: dict[str, Any]) -> str:
        if not row["n"]:
            return "none"
        numbers = [100 * row[key] for key in ("share", "low", "high")]
        return "{:.1f} % [{:.1f}, {:.1f}] of {:,}".format(*numbers, row["n"])

    by_word = {word: [row for row in rows if row["word"] == word] for word in LIKELIHOODS}
    return markdown(
        ("word", "range", *PARTS),
        (
            (word, f"{100 * each[0]['from']:g} to {100 * each[0]['to']:g} %", *map(cell, each))
            for word, each in by_word.items()
        ),
    )


def long_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of ``long_records``: one line per word, one column per length."""
    return markdown(
        ("word", "range", *(f"{length_s} s" for length_s in LENGTHS_S)),
        (
            (
                *(word, f"{100 * each[0]['from']:g} to {100 * each[0]['to']:g} %"),
                *(f"{100 * r['share']:.1f} % of {r['n']:,}" if r["n"] else "none" for r in each),
            )
            for word in LIKELIHOODS
            for each in [[row for row in rows if row["word"] == word]]
        ),
    )


def consistency_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of ``consistency``."""

    def change(row: dict[str, Any], score: str) -> str:
        values = [row[f"before/{score}"], row[f"after/{score}"]]
        values += [values[1] - values[0], *(row[f"change/{score}/{e}"] for e in ("low", "high"))]
        return "{:.3f} to {:.3f}: {:+.4f} [{:+.4f}, {:+.4f}]".format(*values)

    def both(row: dict[str, Any], key: str, digits: int) -> str:
        return f"{row[f'before/{key}']:.{digits}f} to {row[f'after/{key}']:.{digits}f}"

    return markdown(
        (
            *("threshold rule", "contradictory records", "findings per record"),
            *("macro F1, 5 or more positives", "micro F1"),
        ),
        (
            (
                *(f"`{row['rule']}`", both(row, "contradictory", 0), both(row, "per_record", 2)),
                *(change(row, "macro_f1_min5"), change(row, "micro_f1")),
            )
            for row in rows
        ),
    )


def confirmed_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of ``confirmed``."""

    def change(row: dict[str, Any], score: str) -> str:
        values = [row[f"{name}/{score}"] for name in ("without", "with")]
        values += [values[1] - values[0], *(row[f"change/{score}/{e}"] for e in ("low", "high"))]
        return "{:.3f} to {:.3f}: {:+.4f} [{:+.4f}, {:+.4f}]".format(*values)

    return markdown(
        (
            *("threshold rule", "reported", "of these unlikely (true)", "precision"),
            *("sensitivity", "macro F1, 5 or more positives", "micro F1"),
        ),
        (
            (
                f"`{row['rule']}`",
                f"{row['without/reported']} to {row['with/reported']}",
                f"{row['without/unlikely']['n']} ({row['without/unlikely']['n_true']}) to "
                f"{row['with/unlikely']['n']}",
                f"{row['without/precision']['share']:.3f} to {row['with/precision']['share']:.3f}",
                f"{row['without/sensitivity']:.3f} to {row['with/sensitivity']:.3f}",
                *(change(row, "macro_f1_min5"), change(row, "micro_f1")),
            )
            for row in rows
        ),
    )


def listed_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows of ``listed``."""
    return markdown(
        (
            *("operating point", "list", "findings per record", "median", "largest"),
            *("true but not reported", "of these listed", "of these alternatives"),
        ),
        (
            (
                *(row["point"], row["list"], f"{row['mean']:.1f}", f"{row['median']:g}"),
                *(f"{row[key]}" for key in ("most", "not_reported", "of_these_listed")),
                f"{row['of_these_alternatives']}",
            )
            for row in rows
        ),
    )


def pairs_table(pairs: dict[str, Any]) -> str:
    """Format the pairs of which both were stated at least once, and count the others."""
    rows = [row for row in pairs["pairs"] if row["both"]]
    table = markdown(
        ("pair", "both stated", "records of each", "both expected by chance"),
        (
            (
                *(row["pair"], f"{row['both']}", " and ".join(map("{:,}".format, row["of"]))),
                f"{row['by_chance']:.1f}",
            )
            for row in sorted(rows, key=lambda row: -row["both"])
        ),
    )
    n_never = len(pairs["pairs"]) - len(rows)
    return f"{table}\n\nThe other {n_never} pairs are never stated together."


def main(root: Path, out: Path, model: Path = PRETRAINED, table: Path | None = None) -> None:
    """Measure a model on both folds, and write ``evidence.json`` and ``evidence.md``."""
    predictor = Predictor.load(model, "cpu")
    pairs = stated_pairs(table or root / "ptbxl_database.csv", predictor.artifact.vocabulary)
    evidence: dict[str, Any] = {"model": predictor.artifact.title, "folds": {}, "stated": pairs}
    parts = []
    for name, fold in (("tuning", TUNE_FOLD), ("report", REPORT_FOLD)):
        y_prob, y_true = predicted(predictor, root, fold)
        tables = {
            "words": words(predictor, y_prob, y_true),
            "consistency": consistency(predictor, y_prob, y_true),
            "not_excluded": listed(predictor, y_prob, y_true),
            "confirmed": confirmed(predictor, y_prob, y_true),
            "long_records": long_records(y_prob, y_true),
        }
        evidence["folds"][name] = {"fold": fold, "n_records": len(y_true), **tables}
        parts += [f"## Fold {fold}, {name}, {len(y_true)} records"]
        parts += [words_table(tables["words"]), consistency_table(tables["consistency"])]
        parts += [confirmed_table(tables["confirmed"]), listed_table(tables["not_excluded"])]
        parts += [long_table(tables["long_records"])]
    parts += [f"## Stated pairs, {pairs['n_records']:,} records", pairs_table(pairs)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "evidence.json").write_text(json.dumps(evidence, indent=1) + "\n")
    (out / "evidence.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
