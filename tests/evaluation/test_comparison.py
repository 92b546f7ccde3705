"""Comparison of recipes: one row per recipe, the same records for all, files written together."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.evaluation.compared_runs import read_run
from ecg_siglip.evaluation.comparison import (
    FALSE_NEGATIVES,
    along,
    by_finding,
    compare_runs,
    group_runs,
    markdown,
    summary,
    table,
)
from ecg_siglip.metrics import multilabel


def write_run(evaluated, root, name: str, seed: int, noise: float, **changes) -> None:
    """Write a copy of an evaluated run with another seed and other probabilities."""
    run = root / name
    shutil.copytree(evaluated.parents[1], run, ignore=shutil.ignore_patterns("model", "state.pt"))
    settings = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.seed, settings.run.name = seed, name
    for group, values in changes.items():
        for setting, value in values.items():
            setattr(getattr(settings, group), setting, value)
    (run / "config.yaml").write_text(to_yaml(settings))
    path = run / "evaluate" / "fold10" / "predictions.parquet"
    table = pd.read_parquet(path)
    columns = [column for column in table if column.startswith("probability/")]
    log_odds = np.log(table[columns]) - np.log1p(-table[columns])
    y_true = table[[column.replace("probability", "true") for column in columns]].to_numpy()
    normal = np.random.default_rng([seed, len(name)]).normal(size=log_odds.shape)
    table[columns] = 1 / (1 + np.exp(-(log_odds + 3 * (1 - noise) * y_true + noise * normal)))
    table.to_parquet(path)


@pytest.fixture
def runs(evaluated, tmp_path):
    """Two recipes of two seeds each, the first far better."""
    root = tmp_path / "runs"
    for seed in (0, 1):
        write_run(evaluated, root, f"good_s{seed}", seed, 0.1)
        write_run(evaluated, root, f"bad_s{seed}", seed, 1.0, optim={"lr": 0.5, "batch_size": 64})
    return root


@pytest.fixture
def settings(runs, tmp_path):
    """Makes the settings to compare the runs."""

    def make(**changes):
        base = {"root": str(runs), "out": str(tmp_path / "out"), "n_resamples": 40}
        return configured(config.CompareConfig, base | {"runs": ["good_s*", "bad_s*"]} | changes)

    return make


def test_recipes_have_mean_scores_and_differences_from_the_baseline(runs, settings):
    result = compare_runs(settings(baseline="bad"))
    good, bad = result["rows"]
    assert (good["name"], bad["name"], result["baseline"]) == ("good", "bad", "bad")
    assert good["runs"] == ["good_s0", "good_s1"]
    f1 = []
    for name in good["runs"]:
        run = read_run(runs, name, 10)
        y_pred = multilabel.apply_thresholds(run.output.y_prob, run.output.thresholds["f1"])
        f1.append(multilabel.macro_f1(run.y_true, y_pred))
    assert good["scores"]["f1/macro_f1"]["mean"] == pytest.approx(np.mean(f1))
    difference = good["differences"]["macro_auroc"]
    assert difference["low"] > 0
    assert difference["p"] == pytest.approx(1 / 41)
    assert bad["differences"] == {}


def test_the_files_have_the_result(settings, tmp_path):
    result = compare_runs(settings())
    out = tmp_path / "out"
    files = {path.name for path in out.iterdir()}
    assert {"comparison.json", "comparison.md", "findings.csv", "macro_F1.svg"} <= files
    assert "curve.svg" not in files
    stored = json.loads((out / "comparison.json").read_text())
    assert list(stored) == list(result)
    assert stored["rows"][1]["scores"]["ece"] == pytest.approx(
        result["rows"][1]["scores"]["ece"], nan_ok=True
    )
    assert (out / "comparison.md").read_text() == markdown(result) + "\n"
    table = pd.read_csv(out / "findings.csv", keep_default_na=False)
    assert set(table["recipe"]) == {"bad"}
    assert len(table) == 71


def test_the_markdown_has_a_line_per_recipe_with_its_p_value(settings):
    result = compare_runs(settings(baseline="bad"))
    lines = markdown(result).splitlines()
    good, bad = (next(x for x in lines if x.startswith(f"| {name} ")) for name in ("good", "bad"))
    p = result["rows"][0]["differences"]["prevalence/macro_f1_min5"]["p"]
    assert f"| {p:.3f} |" in good
    assert "| baseline " in bad
    assert f"{result['rows'][0]['scores']['ece']['mean']:.4f}" in good


def test_cells_of_a_table_have_the_width_of_their_column():
    assert table([["a", "long"], ["---", "---"], ["1.25", "x"]]).splitlines() == [
        "| a    | long |",
        "| ---- | ---- |",
        "| 1.25 | x    |",
    ]


def test_the_scores_along_a_setting_are_a_figure(settings, tmp_path):
    compare_runs(settings(x="optim.batch_size"))
    assert "<svg" in (tmp_path / "out" / "curve.svg").read_text()


@pytest.mark.parametrize(
    ("setting", "message"),
    [("optim.speed", "not a setting of train"), ("data.root", "expected a number")],
)
def test_only_a_setting_with_numbers_can_be_an_axis(settings, tmp_path, setting, message):
    with pytest.raises(ValueError, match=f"x={setting}.*{message}"):
        compare_runs(settings(x=setting))
    assert not (tmp_path / "out").exists()


def test_only_a_former_comparison_is_replaced(runs, settings, tmp_path):
    for _ in range(2):
        compare_runs(settings())
    (tmp_path / "other").mkdir()
    for folder in (tmp_path / "other", runs):
        with pytest.raises(ValueError, match=f"out={folder}: exists and is not a comparison"):
            compare_runs(settings(out=str(folder)))
    assert (runs / "good_s0" / "config.yaml").exists()


def test_a_run_without_an_evaluation_is_evaluated_first(trained, settings, tmp_path, capsys):
    root = tmp_path / "other_runs"
    shutil.copytree(trained, root / trained.name)
    compare_runs(settings(root=str(root), runs=[trained.name]))
    assert "not evaluated on fold 10 yet" in capsys.readouterr().err
    assert (root / trained.name / "evaluate" / "fold10" / "predictions.parquet").exists()


def test_runs_of_other_records_or_labels_are_refused(runs, settings, tmp_path):
    path = runs / "bad_s0" / "evaluate" / "fold10" / "predictions.parquet"
    whole = pd.read_parquet(path)
    whole[:-1].to_parquet(path)
    with pytest.raises(ValueError, match=r"bad_s0: has predictions for \d+ records that are not"):
        compare_runs(settings())
    whole.assign(**{"true/NORM": ~whole["true/NORM"]}).to_parquet(path)
    with pytest.raises(ValueError, match="bad_s0: other findings or labels than good_s0"):
        compare_runs(settings())
    path.write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"bad_s0.*not what evaluate writes"):
        compare_runs(settings())
    assert not (tmp_path / "out").exists()


def test_an_unknown_baseline_is_refused(settings):
    with pytest.raises(ValueError, match="baseline=best: expected one of good, bad"):
        compare_runs(settings(baseline="best"))


@pytest.mark.parametrize(("fold", "action"), [(3, "trained"), (9, "tuned")])
def test_a_fold_that_a_run_has_seen_is_refused(runs, fold, action):
    with pytest.raises(ValueError, match=f"good_s0: {action} on fold {fold}"):
        read_run(runs, "good_s0", fold)


def test_recipes_of_the_same_name_are_named_after_their_runs(evaluated, tmp_path):
    for name, seed, lr in (("a_s0", 0, 0.1), ("a_s1", 1, 0.2)):
        write_run(evaluated, tmp_path, name, seed, 0.5, optim={"lr": lr})
    recipes = group_runs([read_run(tmp_path, name, 10) for name in ("a_s0", "a_s1")])
    assert [recipe.name for recipe in recipes] == ["a_s0", "a_s1"]


def test_the_lines_of_a_curve_are_recipes(evaluated, tmp_path):
    for size in (32, 64):
        for name, lr in (("low", 0.1), ("high", 0.2)):
            optim = {"lr": lr, "batch_size": size}
            write_run(evaluated, tmp_path, f"{name}{size}_s0", 0, 0.5, optim=optim)
    recipes = group_runs(
        [read_run(tmp_path, f"{n}{b}_s0", 10) for n in ("low", "high") for b in (32, 64)]
    )
    result = summary(recipes, recipes[0], n_resamples=5)
    panels = along(recipes, result, "optim.batch_size")
    assert x_values(panels["macro AUROC"]) == {"low32": [32.0, 64.0], "high32": [32.0, 64.0]}
    # The share of wrong targets depends on the batch size and is a panel of its own.
    missed = recipes[0].runs[0].provenance.pairs["bank/present"]["false_negative"]
    points = [(32.0, {"mean": missed}), (64.0, {"mean": missed})]
    assert panels[FALSE_NEGATIVES] == {"low32": points, "high32": points}
    assert FALSE_NEGATIVES not in along(recipes, result, "optim.lr")


def x_values(lines):
    return {name: [x for x, _ in points] for name, points in lines.items()}


def test_a_setting_that_depends_on_the_axis_does_not_divide_a_line(evaluated, tmp_path):
    for size, lr in ((32, 0.1), (64, 0.2)):
        for name, terms in (("a", "bank"), ("b", "findings/shared")):
            changes = {"optim": {"lr": lr, "batch_size": size}, "objective": {"terms": terms}}
            write_run(evaluated, tmp_path, f"{name}{size}_s0", 0, 0.5, **changes)
    recipes = group_runs([read_run(tmp_path, f"{n}{b}_s0", 10) for n in "ab" for b in (32, 64)])
    panels = along(recipes, summary(recipes, recipes[0], n_resamples=5), "optim.batch_size")
    assert x_values(panels["macro AUROC"]) == {"a32": [32.0, 64.0], "b32": [32.0, 64.0]}


def test_recipes_with_other_objectives_are_on_other_lines(evaluated, tmp_path):
    for size, terms in ((32, "bank"), (64, "findings/shared")):
        changes = {"optim": {"batch_size": size, "lr": size / 1e4}, "objective": {"terms": terms}}
        write_run(evaluated, tmp_path, f"r{size}_s0", 0, 0.5, **changes)
    recipes = group_runs([read_run(tmp_path, f"r{b}_s0", 10) for b in (32, 64)])
    panels = along(recipes, summary(recipes, recipes[0], n_resamples=5), "optim.batch_size")
    assert len(panels["macro AUROC"]) == 2


def test_the_same_seed_twice_is_refused(evaluated, tmp_path):
    for name in ("a_s0", "copy_s0"):
        write_run(evaluated, tmp_path, name, 0, 0.5)
    with pytest.raises(ValueError, match="copy_s0: the same recipe and seed as a_s0"):
        group_runs([read_run(tmp_path, name, 10) for name in ("a_s0", "copy_s0")])


def test_the_baseline_has_no_rows_by_finding(runs):
    recipes = group_runs([read_run(runs, name, 10) for name in ("good_s0", "bad_s0")])
    assert set(by_finding(recipes, recipes[0])["recipe"]) == {"bad"}
    assert by_finding(recipes[:1], recipes[0]).empty


def test_an_evaluation_by_an_earlier_version_is_compared_by_its_rules(runs, settings):
    path = runs / "bad_s0" / "evaluate" / "fold10" / "findings.csv"
    thresholds = pd.read_csv(path, keep_default_na=False)
    columns = [column for column in thresholds if not column.startswith("expected_f1/")]
    thresholds[columns].to_csv(path, index=False)
    result = compare_runs(settings())
    assert "expected_f1/macro_f1" not in result["rows"][0]["scores"]
    assert "prevalence/macro_f1" in result["rows"][1]["scores"]


@pytest.mark.parametrize(
    ("name", "seed", "recipe"),
    [("bank_s0", 0, "bank"), ("bank-1", 1, "bank"), ("bank10", 0, "bank10"), ("s2", 2, "s2")],
)
def test_a_recipe_has_the_name_of_its_runs_without_the_seed(
    evaluated, tmp_path, name, seed, recipe
):
    write_run(evaluated, tmp_path, name, seed, 0.5)
    assert group_runs([read_run(tmp_path, name, 10)])[0].name == recipe
