"""What is published can be read again, and the pages say what it says."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ecg_siglip import compare, metrics

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "results"))

import build  # noqa: E402
import published  # noqa: E402


def test_a_packed_run_gives_the_scores_of_the_run(evaluated, simulated, tmp_path):
    run = evaluated.parents[1]
    published.pack(run, 10, tmp_path / "packed")
    path = tmp_path / "packed" / f"{run.name}.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert not any("true" in name for name in stored.files), "labels stay with the data"
    published.unpack(path, simulated, tmp_path / "again")
    before = compare.read_run(run.parent, run.name, 10)
    after = compare.read_run(tmp_path / "again", run.name, 10)
    assert (after.ecg_id == before.ecg_id).all()
    assert (after.y_true == before.y_true).all()
    assert after.codes == before.codes
    np.testing.assert_allclose(after.answers.y_prob, before.answers.y_prob, atol=3e-4)
    for rule, values in before.answers.thresholds.items():
        np.testing.assert_array_equal(after.answers.thresholds[rule], values)
    auroc = metrics.macro_auroc(after.y_true, after.answers.y_prob)
    assert auroc == pytest.approx(
        # The answers of this small model hardly differ: some are the same after rounding.
        metrics.macro_auroc(before.y_true, before.answers.y_prob),
        abs=0.01,
    )


def test_a_packed_run_names_no_place_of_the_machine(evaluated, simulated, tmp_path):
    run = evaluated.parents[1]
    published.pack(run, 10, tmp_path / "packed")
    path = tmp_path / "packed" / f"{run.name}.npz"
    again = published.unpack(path, simulated, tmp_path / "again")
    text = "".join(path.read_text() for path in again.rglob("*.*") if path.suffix != ".parquet")
    assert str(tmp_path.parent) not in text
    assert "data/ptbxl" in (again / "config.yaml").read_text()


@pytest.mark.parametrize("path", sorted(published.RUNS.glob("*.npz")), ids=lambda p: p.stem)
def test_every_published_run_is_whole_and_small(path, shared_ptbxl, tmp_path):
    assert path.stat().st_size < 100_000
    run = published.unpack(path, shared_ptbxl, tmp_path)
    read = compare.read_run(tmp_path, run.name, build.FOLD)
    assert read.settings.run.name == path.stem
    assert read.settings.data.train_folds == [1, 2, 3, 4, 5, 6, 7]
    stored = json.loads((run / f"evaluate/fold{build.FOLD}/metrics.json").read_text())
    auroc = np.nanmean(metrics.auroc_scores(read.y_true, read.answers.y_prob))
    assert auroc == pytest.approx(stored["macro_auroc"], abs=1e-3)
    text = "".join(p.read_text() for p in run.rglob("*.*") if p.suffix != ".parquet")
    assert not re.search(r"(/home|/root|/tmp|/mnt|/Users|/work)/", text)


def test_some_runs_are_published():
    assert any(published.RUNS.glob("*.npz"))


def test_the_pages_say_what_the_results_say():
    assert build.write_pages(check=True) == []


def test_every_figure_of_the_results_page_is_there():
    page = ROOT / "docs" / "results.md"
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
    assert figures
    assert [name for name in figures if not (page.parent / name).is_file()] == []
