"""What words buy: tables that ``evaluate`` wrote beside the scores, mean over the published seeds.

``write`` leaves each as ``results/words/<name>.json``, ``blocks`` makes of these files what stands
in the pages. A score that cannot be said is null in a file and empty on a page.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import published

from ecg_siglip.evaluation.comparison import table
from ecg_siglip.metrics import multilabel

SPLITS = ("infarction", "block", "ischemia", "rhythm")  # conf/experiment/zeroshot_<split>.yaml
FLOOR = "zeroshot_{}_random"  # the same, of an ECG encoder that has learned nothing
# Recipes asked for reports.
REPORTS = (
    *("report_diagonal", "report", "bank_report_003", "bank_report_01", "bank_report_03"),
    *("minilm", "minilm_locked"),
)
LANGUAGES = {"en": "English", "de": "German", "ja": "Japanese"}
F1 = "prevalence/macro_f1_min5"

# Scores of each table and what stands above them.
HELD_OUT = {
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
ASKED = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AP",
    F1: "macro F1",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "mean_change": "mean change",
    "same_calls": "same calls",
}
FOUND = {"recall_1": "R@1", "recall_5": "R@5", "recall_10": "R@10", "median_rank": "median rank"}


def tables(runs: Path, recipe: str, name: str, fold: int) -> dict[int, list[dict[str, Any]]]:
    """Rows of the table of each run of a recipe that has it: seed -> rows."""
    found = {}
    for run in runs.iterdir():
        seed = re.fullmatch(rf"{re.escape(recipe)}_s(\d+)", run.name)
        path = run / "evaluate" / f"fold{fold}" / f"{name}.json"
        if seed and path.exists():
            found[int(seed[1])] = json.loads(path.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def mean(rows: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, float | None]:
    """Mean of each score over the rows that have it; None where none has."""
    return _over(rows, keys, np.mean)


def _over(
    rows: Sequence[Mapping[str, Any]], keys: Iterable[str], of: Callable[[list[float]], Any]
) -> dict[str, float | None]:
    values = {key: [row[key] for row in rows if row.get(key) is not None] for key in keys}
    return {key: float(of(some)) if some else None for key, some in values.items()}


def zeroshot(runs: Path, fold: int) -> dict[str, Any] | None:
    """Findings that training never heard of, split by split; None where no run is published.

    Returns
    -------
    dict
        ``splits``: of each its ``findings`` (mean over the seeds), their ``mean``, ``mean_min5``
        (without those of fewer than 5 positives), and ``by_seed`` the mean over the findings.
        ``mean`` and ``mean_min5`` over the splits; ``low`` and ``high`` of ``seeds``, those that
        all splits have.

    Raises
    ------
    ValueError
        If the seeds of a split differ in a finding's positives.
    """
    splits = [
        _split(name, _with_floor(of_seed, tables(runs, FLOOR.format(name), "held_out", fold)))
        for name in SPLITS
        if (of_seed := tables(runs, f"zeroshot_{name}", "held_out", fold))
    ]
    if not splits:
        return None
    seeds = sorted(set.intersection(*(set(split["seeds"]) for split in splits)))
    by_seed = [
        mean([split["by_seed"][split["seeds"].index(seed)] for split in splits], HELD_OUT)
        for seed in seeds
    ]
    return {
        "splits": splits,
        "mean": mean([split["mean"] for split in splits], HELD_OUT),
        "mean_min5": mean([split["mean_min5"] for split in splits], HELD_OUT),
        "seeds": seeds,
        "low": _over(by_seed, HELD_OUT, min),
        "high": _over(by_seed, HELD_OUT, max),
    }


def _with_floor(
    of_seed: dict[int, list[dict[str, Any]]], of_random: dict[int, list[dict[str, Any]]]
) -> dict[int, list[dict[str, Any]]]:
    """Each row with ``random_encoder``, the same question to the random encoder of its seed."""
    reached = {
        (seed, row["code"]): row.get("auroc") for seed, rows in of_random.items() for row in rows
    }
    return {
        seed: [row | {"random_encoder": reached.get((seed, row["code"]))} for row in rows]
        for seed, rows in of_seed.items()
    }


def _split(name: str, of_seed: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
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
        "mean": mean(findings, HELD_OUT),
        "mean_min5": mean(enough, HELD_OUT),
        "by_seed": [mean(rows, HELD_OUT) for rows in of_seed.values()],
    }


def _finding(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A finding, mean over its rows, one a seed; each seed has a nearest finding of its own."""
    first = rows[0]
    if any(row["n_positive"] != first["n_positive"] for row in rows):
        raise ValueError(f"{first['code']}: seeds differ in positives; expected the same records")
    named = Counter(row["nearest"] for row in rows if row.get("nearest"))
    held = [row for row in rows if None not in (row.get("auroc"), row["random_encoder"])]
    return {
        **{key: first[key] for key in ("code", "name", "n_positive")},
        **mean(rows, HELD_OUT),
        "nearest": dict(named.most_common()),
        "n_above_floor": sum(row["auroc"] > row["random_encoder"] for row in held),
        "n_seeds": len(held),
    }


def languages(runs: Path, fold: int) -> dict[str, Any] | None:
    """The same records asked in each language; None where no run is published.

    Returns
    -------
    dict
        ``seeds``; ``rows``, one a language: means over the seeds, and ``difference`` of macro F1
        from English with the ``low`` and the ``high`` of the seeds.
    """
    of_seed = tables(runs, "mixed", "languages", fold)
    if not of_seed:
        return None
    by_language: dict[str, list[dict[str, Any]]] = {}
    for rows in of_seed.values():
        (english,) = (row for row in rows if row["language"] == "en")
        for row in rows:
            told = row | {"difference": row[F1] - english[F1]}
            by_language.setdefault(row["language"], []).append(told)
    return {
        "seeds": list(of_seed),
        "rows": [
            {
                "language": language,
                **mean(rows, [*ASKED, "difference"]),
                "low": min(row["difference"] for row in rows),
                "high": max(row["difference"] for row in rows),
            }
            for language, rows in by_language.items()
        ],
    }


def retrieval(runs: Path, fold: int) -> dict[str, Any] | None:
    """ECGs and reports found by each other, all reports; None where no run is published.

    Returns
    -------
    dict
        ``directions``: of each ``n_queries``, ``n_candidates``, what ``chance`` reaches, and
        ``rows``, one a recipe.

    Raises
    ------
    ValueError
        If two runs were asked for different reports.
    """
    found: dict[str, dict[str, Any]] = {}
    for recipe in REPORTS:
        of_seed = tables(runs, recipe, "retrieval", fold)
        every = [row for rows in of_seed.values() for row in rows if row["whose"] == "all"]
        for name in dict.fromkeys(row["direction"] for row in every):
            rows = [row for row in every if row["direction"] == name]
            direction = found.setdefault(name, _asked(rows[0]) | {"rows": []})
            if any(direction | _asked(row) != direction for row in rows):
                raise ValueError(f"{recipe}: asked for other reports than the first recipe")
            direction["rows"].append(
                {"recipe": recipe, "seeds": list(of_seed), **mean(rows, FOUND)}
            )
    return {"directions": list(found.values())} if found else None


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row the records say, and not the model."""
    asked = {key: row[key] for key in ("direction", "n_queries", "n_candidates")}
    return asked | {"chance": {key: row[f"{key}/chance"] for key in FOUND}}


def zeroshot_table(found: dict[str, Any]) -> str:
    """A line a finding, a split, and all splits together."""
    keys = list(HELD_OUT)
    at = keys.index("nearest_auroc")
    head = list(HELD_OUT.values())
    lines = [["held out", "finding", "positives", *head[:at], "nearest", *head[at:]]]
    lines.append(["---"] * len(lines[0]))

    def add(split: str, finding: str, n: str, cells: list[str], nearest: str = "") -> None:
        lines.append([split, finding, n, *cells[:at], nearest, *cells[at:]])

    def scores(row: dict[str, Any]) -> list[str]:
        return [_cell(row[key]) for key in keys]

    for split in found["splits"]:
        for row in split["findings"]:
            n = str(row["n_positive"])
            names = row["nearest"]
            nearest = ", ".join(f"{code} {n}" for code, n in names.items())
            nearest = nearest if len(names) > 1 else "".join(names)
            add(split["split"], row["code"], n, scores(row), nearest)
        add(split["split"], "mean", "", scores(split["mean"]))
    n_splits = len(found["splits"])
    together = f"{n_splits} split{'s' * (n_splits > 1)}"
    add(together, "mean", "", scores(found["mean"]))
    if len(found["seeds"]) > 1:
        low, high = scores(found["low"]), scores(found["high"])
        ranges = [f"{a}-{b}" if a else "" for a, b in zip(low, high, strict=True)]
        add(together, "seeds, min-max", "", ranges)
    return f"{_zeroshot_about(found)}\n\n{table(lines)}"


def _zeroshot_about(found: dict[str, Any]) -> str:
    n_runs = ", ".join(f"{split['split']} {len(split['seeds'])}" for split in found["splits"])
    rows = [row for split in found["splits"] for row in split["findings"]]
    rows = [row for row in rows if row["auroc"] is not None]

    def above(other: str) -> int:
        return sum(row[other] is not None and row["auroc"] > row[other] for row in rows)

    few = [row["code"] for row in rows if row["n_positive"] < multilabel.MIN_POSITIVES]
    without = ""
    if few:
        keys = ("auroc", "random_encoder", "random_high", "nearest_auroc")
        told = [f"{HELD_OUT[key]} {_cell(found['mean_min5'][key]) or '-'}" for key in keys]
        without = (
            f" Without {', '.join(few)} (fewer than {multilabel.MIN_POSITIVES} positives) the mean of "
            f"the splits: {', '.join(told)} (nearest)."
        )
    each = sum(0 < row["n_seeds"] == row["n_above_floor"] for row in rows)
    return (
        f"Mean over the runs (one a seed: {n_runs}). Of {len(rows)} findings "
        f"{above('random_encoder')} are above the random encoder ({each} with every seed), "
        f"{above('random_high')} above 95 of 100 random directions, {above('nearest_auroc')} above "
        f"the nearest trained finding.{without}"
    )


def languages_table(found: dict[str, Any]) -> str:
    """A line a language."""
    head = ["language", *ASKED.values()]
    at = head.index(ASKED[F1]) + 1
    lines = [[*head[:at], "difference from English", *head[at:]], ["---"] * (len(head) + 1)]
    for row in found["rows"]:
        cells = [LANGUAGES[row["language"]]]
        cells += [_cell(row[key], 4 if key == "mean_change" else 3) for key in ASKED]
        spread = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append([*cells[:at], "" if row["language"] == "en" else spread, *cells[at:]])
    return f"Mean over the runs (one a seed: {len(found['seeds'])}).\n\n{table(lines)}"


def retrieval_table(found: dict[str, Any]) -> str:
    """A table a direction: a line a recipe, one for chance."""
    parts = []
    for part in found["directions"]:
        lines = [["recipe", "runs", *FOUND.values()], ["---"] * (2 + len(FOUND))]
        for row in part["rows"]:
            lines.append([row["recipe"], str(len(row["seeds"])), *_places(row)])
        lines.append(["chance", "", *_places(part["chance"])])
        asked = f"{part['n_queries']} queries, {part['n_candidates']} candidates"
        parts.append(f"{part['direction']}, {asked}:\n\n{table(lines)}")
    return "\n\n".join(parts)


def _places(row: dict[str, Any]) -> list[str]:
    return [_cell(row[key], 0 if key == "median_rank" else 3) for key in FOUND]


def _cell(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


# Block -> its table from the runs, and the text of it.
TABLES: dict[str, tuple[Callable[..., dict[str, Any] | None], Callable[..., str]]] = {
    "zeroshot": (zeroshot, zeroshot_table),
    "languages": (languages, languages_table),
    "retrieval": (retrieval, retrieval_table),
}


def write(runs: Path, fold: int, out: Path) -> list[str]:
    """Write ``out/<name>.json`` for each table that has runs; names of those written."""
    written = []
    for name, (collect, _) in TABLES.items():
        found = collect(runs, fold)
        if found is not None:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(published.few_digits(found), indent=1, ensure_ascii=False)
            (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            written.append(name)
    return written


def blocks(folder: Path) -> dict[str, str]:
    """Block -> text, of the tables that ``write`` has left."""
    return {
        name: say(json.loads(path.read_text(encoding="utf-8")))
        for name, (_, say) in TABLES.items()
        if (path := folder / f"{name}.json").exists()
    }
