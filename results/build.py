"""Write every number of README.md and docs/ from the published runs.

    python results/build.py data/ptbxl    # compare the published runs, then write the pages
    python results/build.py --pages       # only the pages, from results/*/*.json

A page has blocks ``<!-- results: NAME --> ... <!-- /results -->``; their content is written by this
program and never by hand.
"""

from __future__ import annotations

import fnmatch
import json
import math
import multiprocessing
import re
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import official
import pandas as pd
import published
import words
from scipy.special import expit, logit

from ecg_siglip import config
from ecg_siglip.evaluation.compared_runs import Run, read_run
from ecg_siglip.evaluation.comparison import compare_runs, markdown, table
from ecg_siglip.metrics import multilabel
from ecg_siglip.reporting import charts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "results.md",
    ROOT / "docs" / "explanation" / "robustness.md",
    ROOT / "docs" / "how-to" / "official-folds.md",
)
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- /results -->)", re.S)
FOLD = 9
ALL_RECORDS = 17418  # of folds 1-8 of all of PTB-XL

# Group -> which runs, against which recipe, along which setting.
GROUPS: dict[str, dict[str, Any]] = {
    "targets": {
        "runs": [
            f"{row}_s*"
            for row in (
                *("bank", "finding", "diagonal", "shared", "shared_rare", "jaccard"),
                *("idf_jaccard", "report_diagonal", "report", "clip"),
                *("bank_report_003", "bank_report_01", "bank_report_03"),
            )
        ],
        "baseline": "bank",
    },
    "baselines": {
        "runs": ["bank_s*", "bce_s*", "xresnet1d101_s*", "random_s*"],
        "baseline": "bank",
    },
    "recipes": {
        "runs": [
            *("best_s*", "best_ensemble", "best_bce_s*", "best_wide_s*"),
            *("distilled_s*", "distilled_ensemble", "distilled_bce_s*"),
            *("bank_s*", "xresnet1d101_s*"),
        ],
        "baseline": "best",
    },
    # Preparation since 0.3, with the high-pass filter, against that of all other rows.
    "filter": {
        "runs": ["bank_s*", "bank_filtered_s*"],
        "baseline": "bank",
        "required": "bank_filtered_s*",
    },
    "filter_best": {
        "runs": ["best_s*", "best_filtered_s*"],
        "baseline": "best",
        "required": "best_filtered_s*",
    },
    # Trained on three data sets, by the recipes since 0.3.
    "three": {
        "runs": [
            *("three_best_s*", "three_best_bce_s*", "three_xresnet1d101_s*", "three_default_s*"),
            "best_filtered_s*",
        ],
        "baseline": "three_best",
    },
    "towers": {
        "runs": ["bank_s*", "minilm_s*", "minilm_locked_s*"],
        "baseline": "minilm",
        "required": "minilm_s*",
    },
    "batch_size": {
        "runs": [
            "b[0-9]*_bank_s*",
            "b[0-9]*_diagonal_s*",
            "b[0-9]*_shared_s*",
            "b[0-9]*_jaccard_s*",
            *("bank_s*", "diagonal_s*", "shared_s*", "jaccard_s*"),  # of 128 records
        ],
        "x": "optim.batch_size",
        "required": "b[0-9]*_s*",
    },
    # The largest batch, trained for more epochs.
    "batch_steps": {
        "runs": ["steps2048_bank_s*", "steps2048_diagonal_s*"],
        "baseline": "steps2048_bank",
    },
    "learning_curve": {
        "runs": ["share0*_s*", "best_s*"],
        "x": "data.train_share",
        "required": "share0*_s*",
    },
}
BLOCK_PREFIXES = (*GROUPS, *words.TABLES, "calibration", "robustness", "official")


def required_runs(group: dict[str, Any]) -> str:
    """Return the pattern that a published run must match for the group to be built.

    A curve shares some of its points with other groups, so not every run of it is enough.
    """
    return str(group.get("required", f"{group.get('baseline', '')}*"))


def build_group(name: str, runs: Path) -> bool:
    """Write ``results/<name>/``; return False if no run of the group is published."""
    group = GROUPS[name]
    published_runs = [path.name for path in runs.iterdir()]
    patterns = [pattern for pattern in group["runs"] if fnmatch.filter(published_runs, pattern)]
    if not fnmatch.filter(published_runs, required_runs(group)):
        return False
    compare_runs(
        config.CompareConfig(
            runs=patterns,
            root=str(runs),
            baseline=group.get("baseline"),
            fold=FOLD,
            x=group.get("x"),
            out=str(RESULTS / name),
        )
    )
    return True


def calibration_errors(runs: Path) -> dict[str, Any]:
    """Compute the calibration errors of the runs of ``bank``, before and after calibration."""
    folders = sorted(runs.glob("bank_s*"))
    return {
        folder.name: _calibration_errors(read_run(runs, folder.name, FOLD), runs)
        for folder in folders
    }


def _calibration_errors(run: Run, runs: Path) -> dict[str, float]:
    findings = pd.read_csv(
        runs / run.name / "evaluate" / f"fold{FOLD}" / "findings.csv",
        keep_default_na=False,
        na_values=[""],
    )
    slope, shift = (
        findings["calibration/slope"].to_numpy(),
        findings["calibration/intercept"].to_numpy(),
    )
    after = np.clip(run.output.y_prob, 1e-12, 1 - 1e-12)
    before = expit((logit(after) - shift) / slope)
    enough = run.y_true.sum(axis=0) >= multilabel.MIN_POSITIVES

    def mean_over_findings(y_prob: np.ndarray) -> float:
        rows = multilabel.per_finding(run.y_true, y_prob, {})
        return float(np.mean([row["ece"] for row, keep in zip(rows, enough, strict=True) if keep]))

    return {
        "ece_before": multilabel.expected_calibration_error(run.y_true, before),
        "ece_after": multilabel.expected_calibration_error(run.y_true, after),
        "finding_ece_before": mean_over_findings(before),
        "finding_ece_after": mean_over_findings(after),
        "brier_before": float(((before - run.y_true) ** 2).mean()),
        "brier_after": float(((after - run.y_true) ** 2).mean()),
    }


def write_figures(runs: Path) -> None:
    """Write the figures of docs/results.md."""
    out, page = ROOT / "docs" / "figures", (ROOT / "docs" / "results.md").read_text("utf-8")
    out.mkdir(parents=True, exist_ok=True)
    for name, group in GROUPS.items():
        path = RESULTS / name / ("curve.svg" if "x" in group else "macro_F1.svg")
        if path.exists() and f"{name}_{path.name}" in page:
            shutil.copy(path, out / f"{name}_{path.name}")
    first = sorted(runs.glob("bank_s*"))
    if first:
        run = read_run(runs, first[0].name, FOLD)
        for kind in ("finding_reliability", "decision"):
            draw = getattr(charts, f"{kind}_figure")
            figure = draw(run.y_true, run.output.y_prob, run.codes)
            charts.save_svg(figure, out / f"{kind}.svg")


def page_blocks() -> dict[str, str]:
    """Return the content of each block of the pages, by its name."""
    text: dict[str, str] = {}
    for name in GROUPS:
        path = RESULTS / name / "comparison.json"
        if path.exists():
            result = _with_nan(json.loads(path.read_text()))
            text[name] = markdown(result)
            text[f"{name}_short"] = short_table(result)
            text[f"{name}_pairs"] = pair_table(result)
            if name in ("batch_size", "batch_steps"):
                text[f"{name}_curve"] = batch_size_table(result)
            if name == "learning_curve" and len(result["rows"]) > 2:
                text[f"{name}_law"] = learning_curve_table(result)
    path = RESULTS / "calibration.json"
    if path.exists():
        text["calibration"] = calibration_table(json.loads(path.read_text()))
    before, after = (RESULTS / "robustness" / f"{name}.json" for name in ("bank", "bank_filtered"))
    if before.exists() and after.exists():
        text["robustness"] = robustness_table(
            json.loads(before.read_text()), json.loads(after.read_text())
        )
    text |= official.page_blocks(official.stored(RESULTS / "official"))
    return text | words.page_blocks(RESULTS / "words")


def robustness_table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return what disturbances change without and with the filter, one line per disturbance.

    Parameters
    ----------
    before, after : dict
        What ``robustness.py`` wrote for a run without and a run with the high-pass filter.
    """
    lines = [
        [
            *("disturbance", "size", "changed, no filter", "macro F1, no filter"),
            *("changed, filter", "macro F1, filter", "named"),
        ],
        ["---"] * 7,
    ]
    for old, new in zip(before["rows"], after["rows"], strict=True):
        cells = [
            cell
            for row in (old, new)
            for cell in (
                ("refused", "")
                if row["changed"] is None
                else (f"{100 * row['changed']:.1f} %", f"{row['macro_f1_min5']:.3f}")
            )
        ]
        lines.append([new["kind"], new["size"], *cells, f"{100 * new['named']:.0f} %"])
    return table(lines)


def short_table(result: dict[str, Any]) -> str:
    """Return the table of the README, one line per recipe."""
    lines = [["recipe", "macro AUROC", "macro AP", "macro F1", "micro F1 at 0.5", "p"], ["---"] * 6]
    for row in result["rows"]:
        scores = [
            f"{row['scores'][key]['mean']:.3f}"
            for key in (
                "macro_auroc_min5",
                "macro_auprc_min5",
                "prevalence/macro_f1_min5",
                "fixed_0.5/micro_f1",
            )
        ]
        difference = row["differences"].get("prevalence/macro_f1_min5")
        p = difference["p"] if difference else math.nan
        lines.append([row["name"], *scores, "" if math.isnan(p) else f"{p:.3f}"])
    return table(lines)


def batch_size_table(result: dict[str, Any]) -> str:
    """Return scores by batch size, one column per recipe, and the errors of the diagonal."""
    of_size: dict[int, dict[str, dict[str, Any]]] = {}
    for row in result["rows"]:
        recipe = re.sub(r"^(b|steps)\d+_", "", row["name"])
        of_size.setdefault(row["batch_size"], {})[recipe] = row
    recipes = list(dict.fromkeys(name for rows in of_size.values() for name in rows))
    scores = {"macro AUROC": "macro_auroc_min5", "macro F1": "prevalence/macro_f1_min5"}
    head = ["batch", "steps", *(f"{score}, {name}" for score in scores for name in recipes)]
    head += ["diagonal: true pairs labelled negative", "records with such a pair"]
    lines = [head, ["---"] * len(head)]
    for size, rows in sorted(of_size.items()):
        (n_steps,) = {row["n_steps"] for row in rows.values()}
        cells = [f"{size:,}", f"{n_steps:,}"]
        for key in scores.values():
            cells += [
                f"{rows[name]['scores'][key]['mean']:.3f}" if name in rows else ""
                for name in recipes
            ]
        (wrong,) = rows["diagonal"]["pairs"].values() if "diagonal" in rows else ({},)
        keys = ("false_negative", "records_with_false_negative")
        cells += [f"{100 * wrong[key]:.0f} %" if wrong else "" for key in keys]
        lines.append(cells)
    return table(lines)


def learning_curve_table(result: dict[str, Any]) -> str:
    """Return scores by the number of training records, and their extrapolation by a power law.

    The law is ``score = top - b n^-c`` (Hestness et al. 2017, arXiv:1712.00409), fitted by least
    squares; the range is that of the fits that leave out one of the points.
    """
    keys = {
        "macro_auroc_min5": "macro AUROC",
        "macro_auprc_min5": "macro AP",
        "prevalence/macro_f1_min5": "macro F1",
        "fixed_0.5/micro_f1": "micro F1 at 0.5",
    }
    rows = sorted(result["rows"], key=lambda row: row["n_train_records"])
    lines = [["training records", "seeds", *keys.values()], ["---"] * (2 + len(keys))]
    for row in rows:
        scores = [f"{row['scores'][key]['mean']:.3f}" for key in keys]
        lines.append([f"{row['n_train_records']:,}", str(len(row["seeds"])), *scores])
    n = np.array([row["n_train_records"] for row in rows], float)
    cells = []
    for key in keys:
        score = np.array([row["scores"][key]["mean"] for row in rows])
        cell = f"{_power_law(n, score):.3f}"
        if (
            len(n) > 3
        ):  # a law of three parameters fits any three points, and two points do not fix it
            without_one = [_power_law(np.delete(n, i), np.delete(score, i)) for i in range(len(n))]
            cell += f" ({min(without_one):.3f}-{max(without_one):.3f})"
        cells.append(cell)
    lines.append([f"{ALL_RECORDS:,}, extrapolated", "", *cells])
    return table(lines)


def _power_law(n: np.ndarray, score: np.ndarray) -> float:
    """Return the score at ``ALL_RECORDS`` by the power law that fits the points best."""

    def error_and_score(exponent: float) -> tuple[float, float]:
        design = np.stack([np.ones_like(n), -(n**-exponent)], axis=1)
        (top, b), *_ = np.linalg.lstsq(design, score, rcond=None)
        if top > 1:  # no score is above 1
            top, b = 1.0, float((1 - score) @ n**-exponent / (n ** (-2 * exponent)).sum())
        error = float(((top - b * n**-exponent - score) ** 2).sum())
        return error, float(top - b * ALL_RECORDS**-exponent)

    return min(error_and_score(exponent) for exponent in np.linspace(0.05, 1.5, 146))[1]


def pair_table(result: dict[str, Any]) -> str:
    """Return the errors of the targets of each recipe in its batches, one line per term."""
    lines = [["recipe", "mean target", "true pairs labelled negative", "records with such a pair"]]
    lines.append(["---"] * 4)
    for row in result["rows"]:
        for term, shares in (row.get("pairs") or {}).items():
            label = row["name"] if len(row["pairs"]) == 1 else f"{row['name']}, {term}"
            missed = (shares["false_negative"], shares["records_with_false_negative"])
            cells = [f"{shares['positive']:.3f}", *(f"{100 * share:.1f} %" for share in missed)]
            lines.append([label, *cells])
    return table(lines)


def calibration_table(errors: dict[str, dict[str, float]]) -> str:
    """Return the calibration errors before and after calibration, one line per run."""
    lines = [["run", "ECE", "ECE per finding, mean", "Brier score"], ["---"] * 4]
    for name, row in errors.items():
        cells = [
            f"{row[f'{key}_before']:.4f} -> {row[f'{key}_after']:.4f}"
            for key in ("ece", "finding_ece", "brier")
        ]
        lines.append([name, *cells])
    return table(lines)


def _with_nan(value: Any) -> Any:
    """Return a value read from JSON with NaN in place of null."""
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return float("nan") if value is None else value


def write_pages(check: bool = False) -> list[str]:
    """Fill the blocks of the pages; return the names of the pages that were not up to date.

    With ``check`` no page is written.
    """
    text, stale = page_blocks(), []
    for page in PAGES:
        if not page.exists():
            continue
        old = page.read_text(encoding="utf-8")

        def fill(match: re.Match[str]) -> str:
            name = match[2]
            if name not in text and not name.startswith(BLOCK_PREFIXES):
                raise SystemExit(f"no block of results has the name {name}")
            return f"{match[1]}{text.get(name, 'No run is published yet.')}\n{match[3]}"

        new = BLOCK.sub(fill, old)
        if new != old:
            stale.append(page.name)
            if not check:
                page.write_text(new, encoding="utf-8")
    return stale


def main() -> None:
    if sys.argv[1:] == ["--pages"]:
        print("rewrote", write_pages() or "nothing")
        return
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    data_root = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for path in sorted(published.RUNS.glob("*.npz")):
            published.unpack(path, data_root, runs)
        # Spawned, not forked: libraries that have started threads do not survive a fork.
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            for name, built in zip(
                GROUPS, pool.map(build_group, GROUPS, repeat(runs)), strict=True
            ):
                print(f"== {name}" if built else f"== {name}: nothing published")
        written = words.write_tables(runs, FOLD, RESULTS / "words")
        print(f"== words: {', '.join(written) or 'nothing published'}")
        (RESULTS / "calibration.json").write_text(
            json.dumps(calibration_errors(runs), indent=1) + "\n"
        )
        write_figures(runs)
    print("rewrote", write_pages() or "nothing")


if __name__ == "__main__":
    main()
