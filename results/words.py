"""Average the tables that ``evaluate`` wrote in addition to the scores over the published seeds.

``write_tables`` writes ``results/words/<name>.json``, ``page_blocks`` turns these files into the
blocks of the pages. A score that does not exist is null in a file and empty on a page.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import published

from ecg_siglip.evaluation.comparison import table
from ecg_siglip.metrics import multilabel

SPLITS = ("infarction", "block", "ischemia", "rhythm")  # conf/experiment/zeroshot_<split>.yaml
# The same, from a model that knows the findings from simulated ECGs.
SIMULATED = "simulated_zeroshot"
RANDOM_ENCODER = "zeroshot_{}_random"  # the same, with an ECG encoder that is not trained
# Recipes with a table of retrieval.
REPORT_RECIPES = (
    *("report_diagonal", "report", "bank_report_003", "bank_report_01", "bank_report_03"),
    *("minilm", "minilm_locked"),
)
LANGUAGES = {"en": "English", "de": "German", "ja": "Japanese"}
F1 = "prevalence/macro_f1_min5"

# Scores of each table, and their headings.
HELD_OUT_SCORES = {
    "auroc": "AUROC",
    "composed": "concepts",
    "both": "both",
    "random_encoder": "random encoder",
    "random_high": "random direction",
    "nearest_auroc": "its AUROC",
    "probe_1": "1 example",
    "probe_5": "5",
    "probe_20": "20",
    "f1": "F1",
    "f1_chance": "F1 by chance",
}
LANGUAGE_SCORES = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AP",
    F1: "macro F1",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "mean_change": "mean change",
    "same_calls": "same decisions",
}
RETRIEVAL_SCORES = {
    "recall_1": "R@1",
    "recall_5": "R@5",
    "recall_10": "R@10",
    "median_rank": "median rank",
}


def rows_by_seed(runs: Path, recipe: str, name: str, fold: int) -> dict[int, list[dict[str, Any]]]:
    """Read a table of all runs of a recipe that have it: seed -> rows."""
    of_seed = {}
    for run in runs.iterdir():
        seed = re.fullmatch(rf"{re.escape(recipe)}_s(\d+)", run.name)
        path = run / "evaluate" / f"fold{fold}" / f"{name}.json"
        if seed and path.exists():
            of_seed[int(seed[1])] = json.loads(path.read_text(encoding="utf-8"))
    return dict(sorted(of_seed.items()))


def mean_scores(rows: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, float | None]:
    """Return the mean of each score over the rows that have it; None if no row has it."""
    return _reduce(rows, keys, np.mean)


def _reduce(
    rows: Sequence[Mapping[str, Any]], keys: Iterable[str], reduce: Callable[[list[float]], Any]
) -> dict[str, float | None]:
    values = {key: [row[key] for row in rows if row.get(key) is not None] for key in keys}
    return {key: float(reduce(some)) if some else None for key, some in values.items()}


def held_out_scores(runs: Path, fold: int, recipe: str = "zeroshot") -> dict[str, Any] | None:
    """Return the scores of held-out findings by split; None if no run is published.

    Runs are named ``<recipe>_<split>_s<seed>``.

    Returns
    -------
    dict
        ``splits``: for each split its ``findings`` (mean over the seeds), their ``mean``,
        ``mean_min5`` (without those with fewer than 5 positives), and ``by_seed``, the mean over
        the findings. ``mean`` and ``mean_min5`` over the splits. ``low`` and ``high`` over
        ``seeds``, the seeds that all splits have.

    Raises
    ------
    ValueError
        If the seeds of a split differ in a finding's positives.
    """
    splits = [
        _split(
            name,
            _with_random_encoder(
                of_seed, rows_by_seed(runs, RANDOM_ENCODER.format(name), "held_out", fold)
            ),
        )
        for name in SPLITS
        if (of_seed := rows_by_seed(runs, f"{recipe}_{name}", "held_out", fold))
    ]
    if not splits:
        return None
    seeds = sorted(set.intersection(*(set(split["seeds"]) for split in splits)))
    by_seed = [
        mean_scores(
            [split["by_seed"][split["seeds"].index(seed)] for split in splits], HELD_OUT_SCORES
        )
        for seed in seeds
    ]
    return {
        "splits": splits,
        "mean": mean_scores([split["mean"] for split in splits], HELD_OUT_SCORES),
        "mean_min5": mean_scores([split["mean_min5"] for split in splits], HELD_OUT_SCORES),
        "seeds": seeds,
        "low": _reduce(by_seed, HELD_OUT_SCORES, min),
        "high": _reduce(by_seed, HELD_OUT_SCORES, max),
    }


def _with_random_encoder(
    of_seed: dict[int, list[dict[str, Any]]], of_random: dict[int, list[dict[str, Any]]]
) -> dict[int, list[dict[str, Any]]]:
    """Add ``random_encoder`` to each row: the AUROC of the random encoder of the same seed."""
    auroc = {
        (seed, row["code"]): row.get("auroc") for seed, rows in of_random.items() for row in rows
    }
    return {
        seed: [row | {"random_encoder": auroc.get((seed, row["code"]))} for row in rows]
        for seed, rows in of_seed.items()
    }


def _split(name: str, of_seed: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Average the rows of one split over seeds, and over its findings."""
    by_code: dict[str, list[dict[str, Any]]] = {}
    for rows in of_seed.values():
        for row in rows:
            by_code.setdefault(row["code"], []).append(row)
    findings = [_finding(rows) for rows in by_code.values()]
    enough = [row for row in findings if row["n_positive"] >= multilabel.MIN_POSITIVES]
    return {
        "split": name,
        "seeds": list(of_seed),
        "findings": findings,
        "mean": mean_scores(findings, HELD_OUT_SCORES),
        "mean_min5": mean_scores(enough, HELD_OUT_SCORES),
        "by_seed": [mean_scores(rows, HELD_OUT_SCORES) for rows in of_seed.values()],
    }


def _finding(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Average the rows of one finding, one row per seed; the nearest finding differs by seed."""
    first = rows[0]
    if any(row["n_positive"] != first["n_positive"] for row in rows):
        raise ValueError(f"{first['code']}: seeds differ in positives; expected the same records")
    nearest = Counter(row["nearest"] for row in rows if row.get("nearest"))
    comparable = [row for row in rows if None not in (row.get("auroc"), row["random_encoder"])]
    return {
        **{key: first[key] for key in ("code", "name", "n_positive")},
        **mean_scores(rows, HELD_OUT_SCORES),
        "nearest": dict(nearest.most_common()),
        "n_above_floor": sum(row["auroc"] > row["random_encoder"] for row in comparable),
        "n_seeds": len(comparable),
    }


def language_scores(runs: Path, fold: int) -> dict[str, Any] | None:
    """Return the scores of the same records in each language; None if no run is published.

    Returns
    -------
    dict
        ``seeds``; ``rows``, one per language: means over the seeds, and the ``difference`` of
        macro F1 from English with its lowest (``low``) and highest (``high``) value of a seed.
    """
    of_seed = rows_by_seed(runs, "mixed", "languages", fold)
    if not of_seed:
        return None
    by_language: dict[str, list[dict[str, Any]]] = {}
    for rows in of_seed.values():
        (english,) = (row for row in rows if row["language"] == "en")
        for row in rows:
            by_language.setdefault(row["language"], []).append(
                row | {"difference": row[F1] - english[F1]}
            )
    return {
        "seeds": list(of_seed),
        "rows": [
            {
                "language": language,
                **mean_scores(rows, [*LANGUAGE_SCORES, "difference"]),
                "low": min(row["difference"] for row in rows),
                "high": max(row["difference"] for row in rows),
            }
            for language, rows in by_language.items()
        ],
    }


def retrieval_scores(runs: Path, fold: int) -> dict[str, Any] | None:
    """Return how well ECGs and reports retrieve each other; None if no run is published.

    Returns
    -------
    dict
        ``directions``: for each ``n_queries``, ``n_candidates``, the scores by ``chance``, and
        ``rows``, one per recipe.

    Raises
    ------
    ValueError
        If two runs have different queries or candidates.
    """
    directions: dict[str, dict[str, Any]] = {}
    for recipe in REPORT_RECIPES:
        of_seed = rows_by_seed(runs, recipe, "retrieval", fold)
        all_reports = [row for rows in of_seed.values() for row in rows if row["whose"] == "all"]
        for name in dict.fromkeys(row["direction"] for row in all_reports):
            rows = [row for row in all_reports if row["direction"] == name]
            direction = directions.setdefault(name, _task_of(rows[0]) | {"rows": []})
            if any(direction | _task_of(row) != direction for row in rows):
                raise ValueError(f"{recipe}: other reports than those of the first recipe")
            direction["rows"].append(
                {"recipe": recipe, "seeds": list(of_seed), **mean_scores(rows, RETRIEVAL_SCORES)}
            )
    return {"directions": list(directions.values())} if directions else None


def _task_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a row that depends on the records alone and not on the model."""
    task = {key: row[key] for key in ("direction", "n_queries", "n_candidates")}
    return task | {"chance": {key: row[f"{key}/chance"] for key in RETRIEVAL_SCORES}}


def held_out_table(result: dict[str, Any]) -> str:
    """Return a summary and a table: one line per finding, per split, and for all splits."""
    keys = [key for key in HELD_OUT_SCORES if result["mean"][key] is not None]
    at = keys.index("nearest_auroc")
    head = [HELD_OUT_SCORES[key] for key in keys]
    lines = [["held out", "finding", "positives", *head[:at], "nearest", *head[at:]]]
    lines.append(["---"] * len(lines[0]))

    def add(split: str, finding: str, n: str, cells: list[str], nearest: str = "") -> None:
        lines.append([split, finding, n, *cells[:at], nearest, *cells[at:]])

    def scores(row: dict[str, Any]) -> list[str]:
        return [_cell(row[key]) for key in keys]

    for split in result["splits"]:
        for row in split["findings"]:
            n = str(row["n_positive"])
            n_seeds = row["nearest"]
            nearest = ", ".join(f"{code} {n}" for code, n in n_seeds.items())
            nearest = nearest if len(n_seeds) > 1 else "".join(n_seeds)
            add(split["split"], row["code"], n, scores(row), nearest)
        add(split["split"], "mean", "", scores(split["mean"]))
    n_splits = len(result["splits"])
    all_splits = f"{n_splits} split{'s' * (n_splits > 1)}"
    add(all_splits, "mean", "", scores(result["mean"]))
    if len(result["seeds"]) > 1:
        low, high = scores(result["low"]), scores(result["high"])
        ranges = [f"{a}-{b}" if a else "" for a, b in zip(low, high, strict=True)]
        add(all_splits, "seeds, min-max", "", ranges)
    return f"{_held_out_summary(result)}\n\n{table(lines)}"


def _held_out_summary(result: dict[str, Any]) -> str:
    """Return sentences on the runs and on how many findings are above each reference."""
    n_runs = ", ".join(f"{split['split']} {len(split['seeds'])}" for split in result["splits"])
    rows = [row for split in result["splits"] for row in split["findings"]]
    rows = [row for row in rows if row["auroc"] is not None]

    def above(other: str) -> int:
        return sum(row[other] is not None and row["auroc"] > row[other] for row in rows)

    few = [row["code"] for row in rows if row["n_positive"] < multilabel.MIN_POSITIVES]
    without = ""
    if few:
        cells = {
            key: _cell(result["mean_min5"][key])
            for key in ("auroc", "random_encoder", "random_high", "nearest_auroc")
        }
        means = [f"{HELD_OUT_SCORES[key]} {cell}" for key, cell in cells.items() if cell]
        without = (
            f" Without {', '.join(few)} (fewer than {multilabel.MIN_POSITIVES} positives) the mean "
            f"of the splits: {', '.join(means)} (nearest)."
        )
    counts = [
        (above("random_high"), "above 95 of 100 random directions"),
        (above("nearest_auroc"), "above the nearest trained finding"),
    ]
    if result["mean"]["random_encoder"] is not None:
        each = sum(0 < row["n_seeds"] == row["n_above_floor"] for row in rows)
        text = f"above the random encoder ({each} with every seed)"
        counts.insert(0, (above("random_encoder"), text))
    (n, first), *others = counts
    rest = "".join(f", {n} {text}" for n, text in others)
    return (
        f"Mean over the runs (one per seed: {n_runs}). Of {len(rows)} findings {n} are {first}"
        f"{rest}.{without}"
    )


def language_table(result: dict[str, Any]) -> str:
    """Return a table with one line per language."""
    head = ["language", *LANGUAGE_SCORES.values()]
    at = head.index(LANGUAGE_SCORES[F1]) + 1
    lines = [[*head[:at], "difference from English", *head[at:]], ["---"] * (len(head) + 1)]
    for row in result["rows"]:
        cells = [LANGUAGES[row["language"]]]
        cells += [_cell(row[key], 4 if key == "mean_change" else 3) for key in LANGUAGE_SCORES]
        spread = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append([*cells[:at], "" if row["language"] == "en" else spread, *cells[at:]])
    return f"Mean over the runs (one per seed: {len(result['seeds'])}).\n\n{table(lines)}"


def retrieval_table(result: dict[str, Any]) -> str:
    """Return one table per direction, with one line per recipe and one for chance."""
    parts = []
    for part in result["directions"]:
        head = ["recipe", "runs", *RETRIEVAL_SCORES.values()]
        lines = [head, ["---"] * len(head)]
        for row in part["rows"]:
            lines.append([row["recipe"], str(len(row["seeds"])), *_retrieval_cells(row)])
        lines.append(["chance", "", *_retrieval_cells(part["chance"])])
        sizes = f"{part['n_queries']} queries, {part['n_candidates']} candidates"
        parts.append(f"{part['direction']}, {sizes}:\n\n{table(lines)}")
    return "\n\n".join(parts)


def _retrieval_cells(row: dict[str, Any]) -> list[str]:
    return [_cell(row[key], 0 if key == "median_rank" else 3) for key in RETRIEVAL_SCORES]


def _cell(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


# Block -> how its scores come from the runs, and its text from the scores.
TABLES: dict[str, tuple[Callable[..., dict[str, Any] | None], Callable[..., str]]] = {
    "zeroshot": (held_out_scores, held_out_table),
    "zeroshot_simulated": (partial(held_out_scores, recipe=SIMULATED), held_out_table),
    "languages": (language_scores, language_table),
    "retrieval": (retrieval_scores, retrieval_table),
}


def write_tables(runs: Path, fold: int, out: Path) -> list[str]:
    """Write ``out/<name>.json`` for each table that has runs; return the names of those written."""
    written = []
    for name, (collect, _) in TABLES.items():
        result = collect(runs, fold)
        if result is not None:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(published.few_digits(result), indent=1, ensure_ascii=False)
            (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            written.append(name)
    return written


def page_blocks(folder: Path) -> dict[str, str]:
    """Return block -> text for the tables that ``write_tables`` has written."""
    return {
        name: to_text(json.loads(path.read_text(encoding="utf-8")))
        for name, (_, to_text) in TABLES.items()
        if (path := folder / f"{name}.json").exists()
    }
