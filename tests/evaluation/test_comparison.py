"""Runs of one recipe stand in one row; what is compared is the same records; files are whole."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.core.run_folder import find_runs, from_yaml, to_yaml
from ecg_siglip.evaluation.comparison import along, compare_runs, group_runs, read_run, summary
from ecg_siglip.metrics import multilabel


def seeded(evaluated, root, name: str, seed: int, noise: float, **knobs) -> None:
    """A copy of an evaluated run as another seed of it would be: other probabilities."""
    run = root / name
    shutil.copytree(evaluated.parents[1], run, ignore=shutil.ignore_patterns("model", "state.pt"))
    settings = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.seed, settings.run.name = seed, name
    for group, values in knobs.items():
        for knob, value in values.items():
            setattr(getattr(settings, group), knob, value)
    (run / "config.yaml").write_text(to_yaml(settings))
    path = run / "evaluate" / "fold10" / "predictions.parquet"
    table = pd.read_parquet(path)
    columns = [column for column in table if column.startswith("probability/")]
    logits = np.log(table[columns]) - np.log1p(-table[columns])
    truth = table[[column.replace("probability", "true") for column in columns]].to_numpy()
    wiggle = np.random.default_rng([seed, len(name)]).normal(size=logits.shape)
    table[columns] = 1 / (1 + np.exp(-(logits + 3 * (1 - noise) * truth + noise * wiggle)))
    table.to_parquet(path)


@pytest.fixture
def runs(evaluated, tmp_path):
    """Two recipes of two seeds each, the first far better."""
    root = tmp_path / "runs"
    for seed in (0, 1):
        seeded(evaluated, root, f"good_s{seed}", seed, 0.1)
        seeded(evaluated, root, f"bad_s{seed}", seed, 1.0, optim={"lr": 0.5, "batch_size": 64})
    return root


def asked(root, tmp_path, **knobs):
    base = {"root": str(root), "out": str(tmp_path / "out"), "n_resamples": 40}
    return configured(config.CompareConfig, base | {"runs": ["good_s*", "bad_s*"]} | knobs)


def test_the_table_says_means_over_seeds_differences_and_p(runs, tmp_path, capsys):
    compare_runs(asked(runs, tmp_path, baseline="bad"))
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    good, bad = result["rows"]
    assert (good["name"], bad["name"], result["baseline"]) == ("good", "bad", "bad")
    assert good["runs"] == ["good_s0", "good_s1"]
    each = []
    for name in good["runs"]:
        run = read_run(runs, name, 10)
        called = multilabel.apply_thresholds(run.answers.y_prob, run.answers.thresholds["f1"])
        each.append(multilabel.macro_f1(run.y_true, called))
    assert good["scores"]["f1/macro_f1"]["mean"] == pytest.approx(np.mean(each))
    difference = good["differences"]["macro_auroc"]
    assert difference["low"] > 0
    assert difference["p"] == pytest.approx(1 / 41)
    assert bad["differences"] == {}
    printed = capsys.readouterr().out
    assert "| good " in printed
    p = good["differences"]["prevalence/macro_f1_min5"]["p"]
    assert f"| {p:.3f} |" in printed
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"comparison.json", "comparison.md", "findings.csv", "macro_F1.svg"} <= files
    table = pd.read_csv(tmp_path / "out" / "findings.csv", keep_default_na=False)
    assert set(table["recipe"]) == {"good"}
    assert len(table) == 71


def test_a_knob_on_the_axis_draws_a_curve(runs, tmp_path):
    compare_runs(asked(runs, tmp_path, x="optim.batch_size"))
    assert "<svg" in (tmp_path / "out" / "curve.svg").read_text()
    for knob, message in (("optim.speed", "no knob of train"), ("data.root", "expected a number")):
        with pytest.raises(ValueError, match=f"x={knob}.*{message}"):
            compare_runs(asked(runs, tmp_path, x=knob))


def test_only_a_former_comparison_is_replaced(runs, tmp_path):
    for _ in range(2):
        compare_runs(asked(runs, tmp_path))
    (tmp_path / "precious").mkdir()
    with pytest.raises(ValueError, match="out=.*precious: holds something else"):
        compare_runs(asked(runs, tmp_path, out=str(tmp_path / "precious")))
    with pytest.raises(ValueError, match="holds something else"):
        compare_runs(asked(runs, tmp_path, out=str(runs)))
    assert (runs / "good_s0" / "config.yaml").exists()


def test_a_run_that_is_not_evaluated_is_evaluated_first(trained, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(trained, root / trained.name)
    compare_runs(asked(root, tmp_path, runs=[trained.name]))
    assert "not evaluated on fold 10 yet" in capsys.readouterr().err
    assert (root / trained.name / "evaluate" / "fold10" / "predictions.parquet").exists()


def test_names_and_patterns_are_found_and_unknown_ones_refused(runs):
    assert find_runs(runs, ["good_s1", "good_s*"]) == ["good_s1", "good_s0"]
    with pytest.raises(ValueError, match=r"fine_s\* fits no run.*bad_s0, bad_s1"):
        find_runs(runs, ["fine_s*"])
    with pytest.raises(ValueError, match="no run named"):
        find_runs(runs, [])


def test_runs_of_other_records_or_of_their_own_training_fold_are_refused(runs, tmp_path):
    path = runs / "bad_s0" / "evaluate" / "fold10" / "predictions.parquet"
    whole = pd.read_parquet(path)
    whole[:-1].to_parquet(path)
    with pytest.raises(ValueError, match=r"bad_s0: answers for \d+ records that are not the"):
        compare_runs(asked(runs, tmp_path))
    whole.assign(**{"true/NORM": ~whole["true/NORM"]}).to_parquet(path)
    with pytest.raises(ValueError, match="bad_s0: other findings or labels than good_s0"):
        compare_runs(asked(runs, tmp_path))
    path.write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"bad_s0.*not what evaluate writes"):
        compare_runs(asked(runs, tmp_path))
    with pytest.raises(ValueError, match="trained on fold 3"):
        read_run(runs, "good_s0", 3)
    with pytest.raises(ValueError, match="baseline=best: expected one of good"):
        compare_runs(asked(runs, tmp_path, runs=["good_s*"], baseline="best"))
    assert not (tmp_path / "out").exists()


def test_recipes_of_the_same_name_keep_their_runs_apart(evaluated, tmp_path):
    for name, seed, lr in (("a_s0", 0, 0.1), ("a_s1", 1, 0.2)):
        seeded(evaluated, tmp_path, name, seed, 0.5, optim={"lr": lr})
    rows = group_runs([read_run(tmp_path, name, 10) for name in ("a_s0", "a_s1")])
    assert [row.name for row in rows] == ["a_s0", "a_s1"]


def test_lines_of_a_curve_are_recipes_and_not_only_objectives(evaluated, tmp_path):
    for size in (32, 64):
        for name, lr in (("low", 0.1), ("high", 0.2)):
            knobs = {"lr": lr, "batch_size": size}
            seeded(evaluated, tmp_path, f"{name}{size}_s0", 0, 0.5, optim=knobs)
    rows = group_runs(
        [read_run(tmp_path, f"{n}{b}_s0", 10) for n in ("low", "high") for b in (32, 64)]
    )
    result = summary(rows, rows[0], n_resamples=5)
    panels = along(rows, result, "optim.batch_size")
    lines = panels["macro AUROC"]
    assert {name: [x for x, _ in points] for name, points in lines.items()} == {
        "low32": [32.0, 64.0],
        "high32": [32.0, 64.0],
    }
    # What the targets call wrong depends on the batch, and stands beside the scores.
    missed = rows[0].runs[0].provenance.pairs["bank/present"]["false_negative"]
    points = [(32.0, {"mean": missed}), (64.0, {"mean": missed})]
    assert panels["true pairs called negative"] == {"low32": points, "high32": points}
    assert "true pairs called negative" not in along(rows, result, "optim.lr")


def test_what_goes_with_the_axis_does_not_part_a_line(evaluated, tmp_path):
    for size, lr in ((32, 0.1), (64, 0.2)):
        for name, terms in (("a", "bank"), ("b", "findings/shared")):
            knobs = {"optim": {"lr": lr, "batch_size": size}, "objective": {"terms": terms}}
            seeded(evaluated, tmp_path, f"{name}{size}_s0", 0, 0.5, **knobs)
    rows = group_runs([read_run(tmp_path, f"{n}{b}_s0", 10) for n in "ab" for b in (32, 64)])
    lines = along(rows, summary(rows, rows[0], n_resamples=5), "optim.batch_size")["macro AUROC"]
    assert {name: [x for x, _ in points] for name, points in lines.items()} == {
        "a32": [32.0, 64.0],
        "b32": [32.0, 64.0],
    }


def test_recipes_with_a_point_each_are_not_one_line(evaluated, tmp_path):
    for size, terms in ((32, "bank"), (64, "findings/shared")):
        knobs = {"optim": {"batch_size": size, "lr": size / 1e4}, "objective": {"terms": terms}}
        seeded(evaluated, tmp_path, f"r{size}_s0", 0, 0.5, **knobs)
    rows = group_runs([read_run(tmp_path, f"r{b}_s0", 10) for b in (32, 64)])
    lines = along(rows, summary(rows, rows[0], n_resamples=5), "optim.batch_size")["macro AUROC"]
    assert len(lines) == 2


def test_the_same_seed_twice_is_no_second_seed(evaluated, tmp_path):
    for name in ("a_s0", "copy_s0"):
        seeded(evaluated, tmp_path, name, 0, 0.5)
    with pytest.raises(ValueError, match="copy_s0: the same recipe and seed as a_s0"):
        group_runs([read_run(tmp_path, name, 10) for name in ("a_s0", "copy_s0")])


def test_a_run_tuned_on_the_fold_is_refused(runs):
    with pytest.raises(ValueError, match="good_s0: tuned on fold 9"):
        read_run(runs, "good_s0", 9)


def test_an_evaluation_of_an_earlier_version_is_compared_by_the_rules_it_has(runs, tmp_path):
    path = runs / "bad_s0" / "evaluate" / "fold10" / "findings.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table[[c for c in table if not c.startswith("expected_f1/")]].to_csv(path, index=False)
    compare_runs(asked(runs, tmp_path))
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert "expected_f1/macro_f1" not in result["rows"][0]["scores"]
    assert "prevalence/macro_f1" in result["rows"][1]["scores"]


@pytest.mark.parametrize(
    ("name", "seed", "row"),
    [("bank_s0", 0, "bank"), ("bank-1", 1, "bank"), ("bank10", 0, "bank10"), ("s2", 2, "s2")],
)
def test_a_row_has_the_name_of_its_runs_without_the_seed(evaluated, tmp_path, name, seed, row):
    seeded(evaluated, tmp_path, name, seed, 0.5)
    assert group_runs([read_run(tmp_path, name, 10)])[0].name == row
