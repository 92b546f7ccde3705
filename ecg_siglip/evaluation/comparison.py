"""Compare recipes on the same records: which is better, by how much, and with what p-value.

A recipe is what its runs have in common, all settings but the seed; it is scored by the mean of its
runs. Reads ``config.yaml`` and ``evaluate/fold<n>/`` of each run, and evaluates a run first if
that is missing.
"""

from __future__ import annotations

import json
import math
import operator
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.config import TrainConfig
from ecg_siglip.core.files import one_line, replace_folder
from ecg_siglip.core.run_folder import find_runs, from_yaml
from ecg_siglip.core.settings import setting_names
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.metrics import paired_tests
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.reporting import charts

# Scores of the printed table and their headings.
HEADINGS = {
    "prevalence/macro_f1_min5": "macro F1",
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AP",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "ece": "ECE",
}
FALSE_NEGATIVES = "true pairs labelled negative"


@dataclass(frozen=True)
class Run:
    """A run: its configuration, its predictions, its provenance."""

    name: str
    settings: TrainConfig
    ecg_id: np.ndarray
    codes: tuple[str, ...]
    y_true: np.ndarray
    output: ModelOutput
    provenance: Provenance


@dataclass(frozen=True)
class Recipe:
    """A recipe: its name and its runs, one per seed."""

    name: str
    runs: list[Run]

    @property
    def outputs(self) -> list[ModelOutput]:
        return [run.output for run in self.runs]


def read_run(root: Path, name: str, fold: int) -> Run:
    """Read the predictions of a run for a fold.

    Raises
    ------
    ValueError
        If the run was trained or tuned on the fold, or its files are incomplete.
    """
    settings = from_yaml(TrainConfig, root / name / "config.yaml")
    folder = root / name / "evaluate" / f"fold{fold}"
    if fold in [*settings.data.train_folds, settings.data.tune_fold]:
        action = "trained" if fold in settings.data.train_folds else "tuned"
        raise ValueError(
            f"{root / name}: {action} on fold {fold}; expected a fold that it has not seen"
        )
    try:
        table = pd.read_parquet(folder / "predictions.parquet")
        findings = pd.read_csv(folder / "findings.csv", keep_default_na=False, na_values=[""])
        provenance = Provenance.from_json(json.loads((folder / "about.json").read_text()))
        codes = tuple(findings["code"])
        y_true = table[[f"true/{code}" for code in codes]].to_numpy()
        y_prob = table[[f"probability/{code}" for code in codes]].to_numpy()
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{folder}: not what evaluate writes ({one_line(error)}); evaluate it again"
        ) from error
    thresholds = {
        rule: findings[f"{rule}/threshold"].to_numpy(float)
        for rule in THRESHOLD_RULES
        if f"{rule}/threshold" in findings
    }
    ecg_id = table["ecg_id"].to_numpy()
    return Run(name, settings, ecg_id, codes, y_true, ModelOutput(y_prob, thresholds), provenance)


def group_runs(runs: list[Run]) -> list[Recipe]:
    """Group runs by recipe, in the order in which the recipes are first named.

    Raises
    ------
    ValueError
        If two runs are not of the same records, findings and labels, or of the same seed.
    """
    first = runs[0]
    # An evaluation by an earlier version may lack a rule.
    rules = set.intersection(*(set(run.output.thresholds) for run in runs))
    rows: dict[str, list[Run]] = {}
    for run in runs:
        if not np.array_equal(run.ecg_id, first.ecg_id):
            raise ValueError(
                f"{run.name}: has predictions of {len(run.ecg_id)} records that are not the "
                f"{len(first.ecg_id)} of {first.name}; expected the same"
            )
        if run.codes != first.codes or not np.array_equal(run.y_true, first.y_true):
            raise ValueError(f"{run.name}: other findings or labels than {first.name}")
        shared = {rule: t for rule, t in run.output.thresholds.items() if rule in rules}
        members = rows.setdefault(_recipe(run), [])
        for other in members:
            if other.settings.seed == run.settings.seed:
                raise ValueError(
                    f"{run.name}: the same recipe and seed as {other.name}; expected another seed"
                )
        members.append(replace(run, output=ModelOutput(run.output.y_prob, shared)))
    named = [Recipe(_row_name(members), members) for members in rows.values()]
    names = [row.name for row in named]
    return [
        row if names.count(row.name) == 1 else Recipe("+".join(r.name for r in row.runs), row.runs)
        for row in named
    ]


def _recipe(run: Run, without: tuple[str, ...] = ()) -> str:
    own = ("run.name", "run.root", "data.root", "seed", *without, *TrainConfig.FREE)
    names = [name for name in setting_names(TrainConfig) if name not in own]
    values = {name: operator.attrgetter(name)(run.settings) for name in names}
    return json.dumps([values, run.provenance.members or None])


def _row_name(runs: list[Run]) -> str:
    """Return the name of the runs without their seed: bank_s0, bank_s1 -> bank."""
    run = runs[0]
    return re.sub(rf"(?:[_-]s?|s){run.settings.seed}$", "", run.name) or run.name


def summary(rows: list[Recipe], baseline: Recipe, n_resamples: int) -> dict[str, Any]:
    """Return the scores of each recipe and its differences from the baseline."""
    y_true = rows[0].runs[0].y_true
    table = []
    for row in tqdm(rows, "recipes", disable=None, leave=False):
        is_baseline = row is baseline
        differences = (
            {}
            if is_baseline
            else paired_tests.compare_recipes(y_true, row.outputs, baseline.outputs, n_resamples)
        )
        minutes = [run.provenance.train_seconds / 60 for run in row.runs]
        first, optim = row.runs[0], row.runs[0].settings.optim
        n_records = first.provenance.n_train_records
        table.append(
            {
                "name": row.name,
                "runs": [run.name for run in row.runs],
                "seeds": [run.settings.seed for run in row.runs],
                "objective": first.provenance.objective,
                "machine": sorted({run.provenance.machine for run in row.runs}),
                "commit": sorted({run.provenance.commit for run in row.runs}),
                "minutes": float(np.mean(minutes)),
                "n_train_records": n_records,
                "batch_size": optim.batch_size,
                "n_steps": math.ceil(n_records / optim.batch_size) * optim.n_epochs,
                "pairs": first.provenance.pairs,
                "scores": paired_tests.mean_scores(y_true, row.outputs, n_resamples),
                "differences": differences,
            }
        )
    return {
        "baseline": baseline.name,
        "n_records": len(y_true),
        "n_findings_min5": int((y_true.sum(axis=0) >= 5).sum()),
        "n_resamples": n_resamples,
        "rows": table,
    }


def by_finding(rows: list[Recipe], baseline: Recipe, rule: str = "prevalence") -> pd.DataFrame:
    """Return F1 and AUROC by recipe and finding, with those of the baseline and the differences."""
    y_true, codes = rows[0].runs[0].y_true, rows[0].runs[0].codes
    tables = []
    for row in rows:
        found = paired_tests.finding_differences(y_true, row.outputs, baseline.outputs, rule)
        table = pd.DataFrame(found)
        table.insert(0, "code", codes)
        table.insert(0, "recipe", row.name)
        # No rows for the baseline against itself; a table without any row still needs its columns.
        tables.append(table[:0] if row is baseline else table)
    return pd.concat(tables, ignore_index=True)


def markdown(result: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    head = ["recipe", "runs", *HEADINGS.values(), "macro F1 against baseline", "p", "minutes"]
    lines = [head, ["---"] * len(head)]
    for row in result["rows"]:
        cells = [row["name"], str(len(row["runs"]))]
        cells += [_with_interval(row["scores"][name], name) for name in HEADINGS]
        difference = row["differences"].get("prevalence/macro_f1_min5")
        cells += _difference(difference) if difference else ["baseline", ""]
        lines.append([*cells, f"{row['minutes']:.0f}"])
    rules = [
        rule for rule in THRESHOLD_RULES if f"{rule}/macro_f1_min5" in result["rows"][0]["scores"]
    ]
    kinds = {"macro_f1_min5": "macro", "micro_f1": "micro"}
    by_rule = [["recipe", *(f"{rule} {kind}" for rule in rules for kind in kinds.values())]]
    by_rule += [["---"] * len(by_rule[0])]
    for row in result["rows"]:
        keys = [f"{rule}/{kind}" for rule in rules for kind in kinds]
        by_rule.append([row["name"], *(f"{row['scores'][key]['mean']:.3f}" for key in keys)])
    about = (
        f"{result['n_records']} records; macro scores over the {result['n_findings_min5']} "
        "findings with 5 or more positives, macro F1 by the rule `prevalence`; mean over the "
        "runs (one per seed), 95 % intervals over records and runs; p by permutation of records, "
        "for these runs only."
    )
    where = [
        f"- {row['name']}: {', '.join(row['machine'])}; commit {', '.join(row['commit'])}"
        for row in result["rows"]
    ]
    return "\n\n".join(
        [about, table(lines), "F1 by threshold rule:", table(by_rule), "\n".join(where)]
    )


def table(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    filled = [
        [
            "-" * width if cell == "---" else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in filled)


def _with_interval(score: dict[str, float], name: str) -> str:
    if name == "ece":
        return f"{score['mean']:.4f}"
    return f"{score['mean']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def _difference(difference: dict[str, float]) -> list[str]:
    p = difference["p"]
    text = (
        f"{difference['difference']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"
    )
    return [text, "" if math.isnan(p) else f"{p:.3f}"]


def along(rows: list[Recipe], result: dict[str, Any], setting: str) -> dict[str, Any]:
    """Return the points of the curves along a setting: score -> recipe without it -> points.

    If the setting is the batch size, the share of wrong targets is a further panel.

    Raises
    ------
    ValueError
        If the setting is unknown or no number.
    """
    if setting not in setting_names(TrainConfig):
        raise ValueError(f"x={setting}: no setting of train; expected one like optim.batch_size")
    recipes = [_recipe(row.runs[0], without=(setting, *_following(rows, setting))) for row in rows]
    # A line is named after its objective, unless another line has the same.
    labels = dict(zip(recipes, (line["objective"] for line in result["rows"]), strict=True))
    used = list(labels.values())
    names = dict(zip(recipes[::-1], (row.name for row in rows[::-1]), strict=True))
    labels = {key: names[key] if used.count(value) > 1 else value for key, value in labels.items()}
    panels: dict[str, dict[str, list[tuple[float, dict[str, float]]]]] = {}
    for recipe, row, line in zip(recipes, rows, result["rows"], strict=True):
        value = operator.attrgetter(setting)(row.runs[0].settings)
        if not isinstance(value, int | float):
            raise ValueError(f"x={setting}: {row.name} has {value}; expected a number")
        for score, heading in HEADINGS.items():
            if score != "ece":
                points = panels.setdefault(heading, {}).setdefault(labels[recipe], [])
                points.append((float(value), line["scores"][score]))
        if setting == "optim.batch_size" and line["pairs"]:
            worst = max(shares["false_negative"] for shares in line["pairs"].values())
            points = panels.setdefault(FALSE_NEGATIVES, {}).setdefault(labels[recipe], [])
            points.append((float(value), {"mean": worst}))
    return panels


def _following(rows: list[Recipe], setting: str) -> tuple[str, ...]:
    """Return settings of the optimizer that depend on another one, as a learning rate on the batch
    size: for each value of the other setting they have one value in all rows."""
    found = []
    for name in (setting for setting in setting_names(TrainConfig) if setting.startswith("optim.")):
        values: dict[str, set[str]] = {}
        for row in rows:
            at, value = (operator.attrgetter(k)(row.runs[0].settings) for k in (setting, name))
            values.setdefault(str(at), set()).add(str(value))
        if all(len(seen) == 1 for seen in values.values()):
            found.append(name)
    return tuple(found)


def compare_runs(settings: config.CompareConfig) -> None:
    """Compare runs; print the table, write ``out`` whole or not at all."""
    root, out = Path(settings.root), Path(settings.out)
    if out.is_symlink() or (out.exists() and not (out / "comparison.json").is_file()):
        raise ValueError(
            f"out={out}: contains something other than a comparison; expected a new name"
        )
    names = find_runs(root, settings.runs)
    for name in names:
        if not (root / name / "evaluate" / f"fold{settings.fold}").is_dir():
            print(f"compare: {name} is not evaluated on fold {settings.fold} yet", file=sys.stderr)
            evaluate_fold(
                config.EvaluateConfig(
                    run=config.RunConfig(name=name, root=settings.root),
                    data=config.EvaluatedData(**vars(settings.data)),
                    fold=settings.fold,
                    device=settings.device,
                )
            )
    rows = group_runs([read_run(root, name, settings.fold) for name in names])
    baselines = [row for row in rows if row.name == (settings.baseline or rows[0].name)]
    if not baselines:
        raise ValueError(
            f"baseline={settings.baseline}: expected one of {', '.join(row.name for row in rows)}"
        )
    result = summary(rows, baselines[0], settings.n_resamples)
    panels = along(rows, result, settings.x) if settings.x else {}

    with replace_folder(out) as partial:
        text = json.dumps(_plain(result), indent=1)
        (partial / "comparison.json").write_text(text)
        (partial / "comparison.md").write_text(markdown(result) + "\n")
        by_finding(rows, baselines[0]).to_csv(partial / "findings.csv", index=False)
        for score, heading in HEADINGS.items():
            figure = charts.forest_figure(
                {row["name"]: row["scores"][score] for row in result["rows"]},
                f"{heading} on fold {settings.fold}",
                result["baseline"],
            )
            charts.save_svg(figure, partial / f"{heading.replace(' ', '_')}.svg")
        if panels:
            charts.save_svg(charts.curve_figure(panels, settings.x or ""), partial / "curve.svg")
    print(markdown(result))
    print(f"\nwrote {out}/")


def _plain(value: Any) -> Any:
    """Return the same without NaN, which JSON does not have."""
    if isinstance(value, dict):
        return without_nan({key: _plain(inner) for key, inner in value.items()})
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
