"""Compare recipes on the same records: which is better, by how much, and with what p-value.

A recipe is what its runs have in common, all settings but the seed; it is scored by the mean of its
runs. ``compared_runs`` reads their predictions.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.config import TrainConfig
from ecg_siglip.core.files import replace_folder
from ecg_siglip.core.settings import setting_names
from ecg_siglip.evaluation.compared_runs import (
    Run,
    as_evaluated,
    check_same_records,
    read_runs,
)
from ecg_siglip.evaluation.comparison_tables import csv_rows, headings, latex
from ecg_siglip.evaluation.evaluated_data import describe_part
from ecg_siglip.metrics import paired_tests
from ecg_siglip.metrics.decision_rules import HEADLINE_RULE, THRESHOLD_RULES
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.reporting import charts

FALSE_NEGATIVES = "true pairs labelled negative"


@dataclass(frozen=True)
class Recipe:
    """A recipe: its name and its runs, one per seed."""

    name: str
    runs: list[Run]

    @property
    def outputs(self) -> list[ModelOutput]:
        """Predictions of each run."""
        return [run.output for run in self.runs]


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
    runs_by_recipe: dict[str, list[Run]] = {}
    for run in runs:
        check_same_records(run, first)
        members = runs_by_recipe.setdefault(_recipe_key(run), [])
        for other in members:
            if other.settings.seed == run.settings.seed:
                raise ValueError(
                    f"{run.name}: the same recipe and seed as {other.name}; expected another seed"
                )
        shared = {rule: t for rule, t in run.output.thresholds.items() if rule in rules}
        members.append(replace(run, output=ModelOutput(run.output.y_prob, shared)))
    recipes = [Recipe(_recipe_name(members), members) for members in runs_by_recipe.values()]
    names = [recipe.name for recipe in recipes]
    # Recipes that would share a name are named after all of their runs.
    full_names = ["+".join(run.name for run in recipe.runs) for recipe in recipes]
    return [
        recipe if names.count(recipe.name) == 1 else replace(recipe, name=full_name)
        for recipe, full_name in zip(recipes, full_names, strict=True)
    ]


def _recipe_key(run: Run, without: Sequence[str] = ()) -> str:
    """Return the settings and members that all runs of a recipe share, as text."""
    ignored = {"run.name", "run.root", "data.root", "seed", *without, *TrainConfig.FREE}
    names = [name for name in setting_names(TrainConfig) if name not in ignored]
    values = {name: _value(run, name) for name in names}
    return json.dumps([values, run.provenance.members or None], default=dataclasses.asdict)


def _value(run: Run, setting: str) -> Any:
    return operator.attrgetter(setting)(run.settings)


def _recipe_name(runs: list[Run]) -> str:
    """Return the name of the runs without their seed: bank_s0, bank_s1 -> bank."""
    run = runs[0]
    return re.sub(rf"(?:[_-]s?|s){run.settings.seed}$", "", run.name) or run.name


def summary(recipes: list[Recipe], baseline: Recipe, n_resamples: int) -> dict[str, Any]:
    """Return the scores of each recipe and its differences from the baseline.

    Parameters
    ----------
    recipes : list of Recipe
    baseline : Recipe
    n_resamples : int
        Of the bootstrap and of the permutation test.

    Returns
    -------
    dict
        Content of ``comparison.json``.
    """
    y_true = recipes[0].runs[0].y_true
    progress = tqdm(recipes, "recipes", disable=None, leave=False)
    return {
        "baseline": baseline.name,
        "n_records": len(y_true),
        "n_findings_min5": int((np.nansum(y_true, axis=0) >= 5).sum()),
        "n_resamples": n_resamples,
        "rows": [_summary_row(recipe, baseline, n_resamples) for recipe in progress],
    }


def best_scores(
    recipes: list[Recipe], result: dict[str, Any], n_resamples: int
) -> dict[str, dict[str, Any]]:
    """Compare the best recipe of each score of the table with the second best.

    Parameters
    ----------
    recipes : list of Recipe
    result : dict
        As ``summary`` returns it for these recipes.
    n_resamples : int
        Of the permutation test.

    Returns
    -------
    dict of str -> dict
        For each score that is tested: ``name`` of the best, ``second`` and ``p``.
    """
    y_true = recipes[0].runs[0].y_true
    of_name = {recipe.name: recipe.outputs for recipe in recipes}
    # The tests against the baseline are there already.
    tested = {
        frozenset((row["name"], result["baseline"])): row["differences"] for row in result["rows"]
    }
    best = {}
    for key in headings(result["n_findings_min5"]):
        means = {row["name"]: row["scores"][key]["mean"] for row in result["rows"]}
        ranked = sorted(means, key=lambda name: -means[name])
        if key == "ece" or len(ranked) < 2 or np.isnan(means[ranked[0]]):
            continue
        pair = frozenset(ranked[:2])
        if pair not in tested:
            first, second = (of_name[name] for name in ranked[:2])
            tested[pair] = paired_tests.compare_recipes(y_true, first, second, n_resamples)
        best[key] = {"name": ranked[0], "second": ranked[1], "p": tested[pair][key]["p"]}
    return best


def _summary_row(recipe: Recipe, baseline: Recipe, n_resamples: int) -> dict[str, Any]:
    """Return provenance, scores and differences of one recipe."""
    first, outputs = recipe.runs[0], recipe.outputs
    y_true, optim = first.y_true, first.settings.optim
    n_records = first.provenance.n_train_records
    differences = {}
    if recipe is not baseline:
        differences = paired_tests.compare_recipes(y_true, outputs, baseline.outputs, n_resamples)
    return {
        "name": recipe.name,
        "runs": [run.name for run in recipe.runs],
        "seeds": [run.settings.seed for run in recipe.runs],
        "objective": first.provenance.objective,
        "machine": sorted({run.provenance.machine for run in recipe.runs}),
        "commit": sorted({run.provenance.commit for run in recipe.runs}),
        "minutes": float(np.mean([run.provenance.train_seconds / 60 for run in recipe.runs])),
        "n_train_records": n_records,
        "batch_size": optim.batch_size,
        "n_steps": math.ceil(n_records / optim.batch_size) * optim.n_epochs,
        "pairs": first.provenance.pairs,
        "scores": paired_tests.mean_scores(y_true, outputs, n_resamples),
        "differences": differences,
    }


def by_finding(recipes: list[Recipe], baseline: Recipe, rule: str = "prevalence") -> pd.DataFrame:
    """Return F1 and AUROC by recipe and finding, with those of the baseline and the differences."""
    y_true, codes = recipes[0].runs[0].y_true, recipes[0].runs[0].codes
    tables = []
    for recipe in recipes:
        table = pd.DataFrame(
            paired_tests.finding_differences(y_true, recipe.outputs, baseline.outputs, rule)
        )
        table.insert(0, "code", codes)
        table.insert(0, "recipe", recipe.name)
        # No rows for the baseline against itself; a table without any row still needs its columns.
        tables.append(table[:0] if recipe is baseline else table)
    return pd.concat(tables, ignore_index=True)


def markdown(result: dict[str, Any]) -> str:
    """Return the tables of a comparison as Markdown.

    Parameters
    ----------
    result : dict, as ``summary`` returns it
    """
    n_findings = result["n_findings_min5"]
    which = f"the {n_findings} findings with 5 or more positives" if n_findings else "all findings"
    explanation = (
        f"{result['n_records']} records; macro scores over {which}, macro F1 by the rule "
        f"`{HEADLINE_RULE}`; mean over the runs (one per seed), 95 % intervals over records and "
        "runs; p by permutation of records, for these runs only."
    )
    machines = [
        f"- {row['name']}: {', '.join(row['machine'])}; commit {', '.join(row['commit'])}"
        for row in result["rows"]
    ]
    scores = table(_score_lines(result["rows"], headings(n_findings)))
    parts = [explanation, scores, "F1 by threshold rule:"]
    return "\n\n".join([*parts, table(_rule_lines(result["rows"])), "\n".join(machines)])


def _score_lines(rows: list[dict[str, Any]], shown: dict[str, str]) -> list[list[str]]:
    """Return the table of the scores: head, rule, one line per recipe."""
    head = ["recipe", "runs", *shown.values(), "macro F1 against baseline", "p", "minutes"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cells = [row["name"], str(len(row["runs"]))]
        cells += [_with_interval(row["scores"][name], name) for name in shown]
        difference = row["differences"].get(next(iter(shown)))
        cells += _difference(difference) if difference else ["baseline", ""]
        lines.append([*cells, f"{row['minutes']:.0f}"])
    return lines


def _rule_lines(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the table of F1 by threshold rule: head, rule, one line per recipe."""
    rules = [rule for rule in THRESHOLD_RULES if f"{rule}/macro_f1_min5" in rows[0]["scores"]]
    kinds = {"macro_f1_min5": "macro", "micro_f1": "micro"}
    head = ["recipe", *(f"{rule} {kind}" for rule in rules for kind in kinds.values())]
    keys = [f"{rule}/{kind}" for rule in rules for kind in kinds]
    return [head, ["---"] * len(head)] + [
        [row["name"], *(f"{row['scores'][key]['mean']:.3f}" for key in keys)] for row in rows
    ]


def table(lines: list[list[str]]) -> str:
    """Return lines of cells as a table in Markdown; a cell ``---`` is filled to its width."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    filled = [
        ["-" * n if cell == "---" else cell.ljust(n) for cell, n in zip(line, widths, strict=True)]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in filled)


def _with_interval(score: dict[str, float], name: str) -> str:
    if name == "ece":
        return f"{score['mean']:.4f}"
    return f"{score['mean']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def _difference(difference: dict[str, float]) -> list[str]:
    gain, low, high, p = (difference[key] for key in ("difference", "low", "high", "p"))
    return [f"{gain:+.3f} ({low:+.3f} to {high:+.3f})", "" if math.isnan(p) else f"{p:.3f}"]


def along(recipes: list[Recipe], result: dict[str, Any], setting: str) -> dict[str, Any]:
    """Return the points of the curves along a setting.

    Parameters
    ----------
    recipes : list of Recipe
    result : dict
        As ``summary`` returns it for these recipes.
    setting : str
        Of train, as ``optim.batch_size``. For the batch size the share of wrong targets is a
        further panel.

    Returns
    -------
    dict
        Heading of a score -> name of a line -> points (value of the setting, score). Recipes that
        differ in nothing but the setting are on one line.

    Raises
    ------
    ValueError
        If the setting is unknown, or one of its values is not a number.
    """
    if setting not in setting_names(TrainConfig):
        raise ValueError(f"x={setting}: not a setting of train; expected one like optim.batch_size")
    panels: dict[str, dict[str, list[tuple[float, dict[str, float]]]]] = {}
    names = _line_names(recipes, result["rows"], setting)
    for line, recipe, row in zip(names, recipes, result["rows"], strict=True):
        value = _value(recipe.runs[0], setting)
        if not isinstance(value, int | float):
            raise ValueError(f"x={setting}: {recipe.name} has {value}; expected a number")
        shown = headings(result["n_findings_min5"])
        scores = {heading: row["scores"][key] for key, heading in shown.items() if key != "ece"}
        if setting == "optim.batch_size" and row["pairs"]:
            highest = max(shares["false_negative"] for shares in row["pairs"].values())
            scores[FALSE_NEGATIVES] = {"mean": highest}
        for heading, score in scores.items():
            points = panels.setdefault(heading, {}).setdefault(line, [])
            points.append((float(value), score))
    return panels


def _line_names(recipes: list[Recipe], rows: list[dict[str, Any]], setting: str) -> list[str]:
    """Return the name of the line that each recipe is a point of.

    A line is named after its objective, or after its first recipe if another line has the same.
    """
    ignored = (setting, *_dependent_settings(recipes, setting))
    keys = [_recipe_key(recipe.runs[0], without=ignored) for recipe in recipes]
    objectives = dict(zip(keys, (row["objective"] for row in rows), strict=True))
    names = [recipe.name for recipe in recipes]
    used = list(objectives.values())
    return [
        objectives[key] if used.count(objectives[key]) == 1 else names[keys.index(key)]
        for key in keys
    ]


def _dependent_settings(recipes: list[Recipe], setting: str) -> list[str]:
    """Return the settings of the optimizer that depend on a setting.

    They have one value for each value of the setting, as a learning rate that is scaled with the
    batch size.
    """
    dependent = []
    for name in (each for each in setting_names(TrainConfig) if each.startswith("optim.")):
        values: dict[str, set[str]] = {}
        for recipe in recipes:
            run = recipe.runs[0]
            values.setdefault(str(_value(run, setting)), set()).add(str(_value(run, name)))
        if all(len(values_of_one) == 1 for values_of_one in values.values()):
            dependent.append(name)
    return dependent


def compare_runs(settings: config.CompareConfig) -> dict[str, Any]:
    """Compare runs and write ``out`` whole or not at all.

    Returns
    -------
    dict
        As ``summary`` returns it.

    Raises
    ------
    ValueError
        If ``out`` exists and is not a comparison, or ``baseline`` or ``x`` is unknown; as
        ``compared_runs.read_runs`` and ``group_runs``.
    """
    out = Path(settings.out)
    if out.is_symlink() or (out.exists() and not (out / "comparison.json").is_file()):
        raise ValueError(f"out={out}: exists and is not a comparison; expected a new name")
    recipes = group_runs(read_runs(settings))
    baseline = _find_baseline(recipes, settings.baseline)
    result = summary(recipes, baseline, settings.n_resamples)
    result["best"] = best_scores(recipes, result, settings.n_resamples)
    panels = along(recipes, result, settings.x) if settings.x else {}
    with replace_folder(out) as partial:
        (partial / "comparison.json").write_text(json.dumps(_plain(result), indent=1))
        (partial / "comparison.md").write_text(markdown(result) + "\n")
        (partial / "comparison.tex").write_text(latex(result) + "\n", encoding="utf-8")
        csv_rows(result).to_csv(partial / "comparison.csv", index=False)
        by_finding(recipes, baseline).to_csv(partial / "findings.csv", index=False)
        _write_figures(partial, result, describe_part(as_evaluated(settings)))
        if panels:
            charts.save_svg(charts.curve_figure(panels, settings.x or ""), partial / "curve.svg")
    return result


def _find_baseline(recipes: list[Recipe], name: str | None) -> Recipe:
    """Return the recipe with this name, or the first recipe if no name is given."""
    for recipe in recipes:
        if recipe.name == (name or recipes[0].name):
            return recipe
    known = ", ".join(recipe.name for recipe in recipes)
    raise ValueError(f"baseline={name}: expected one of {known}")


def _write_figures(folder: Path, result: dict[str, Any], part: str) -> None:
    """Write one figure per score, with all recipes."""
    for score, heading in headings(result["n_findings_min5"]).items():
        figure = charts.forest_figure(
            {row["name"]: row["scores"][score] for row in result["rows"]},
            f"{heading} on {part}",
            result["baseline"],
        )
        charts.save_svg(figure, folder / f"{heading.replace(' ', '_')}.svg")


def _plain(value: Any) -> Any:
    """Return the same without NaN, which JSON does not have."""
    if isinstance(value, dict):
        return without_nan({key: _plain(inner) for key, inner in value.items()})
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
