"""The table of the official folds takes the runs of PTB-XL, and no others."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.datasets.ptbxl import load_ptbxl
from ecg_siglip.evaluation.compared_runs import Run
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.vocabulary.vocabulary_file import ptbxl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "results"))

import build  # noqa: E402
import official  # noqa: E402

PAGE = (ROOT / "docs" / "how-to" / "official-folds.md").read_text("utf-8")


def fake_run(task: str = "all", seed: int = 0, n_records: int = 300) -> Run:
    """Make a run with labels that are the same for every seed, some of them without a finding."""
    rng = np.random.default_rng(7)
    codes = ptbxl().task_codes(task)
    y_true = rng.random((n_records, len(codes))) < 1.5 / len(codes)
    noise = np.random.default_rng(seed).random(y_true.shape)
    settings = config.TrainConfig(
        run=config.RunConfig(name=f"official_{task}_s{seed}"),
        data=config.DataConfig(task=task),
        seed=seed,
    )
    thresholds = {rule: np.full(len(codes), 0.5) for rule in ("fixed_0.5", "prevalence")}
    output = ModelOutput(0.3 * y_true + 0.7 * noise, thresholds)
    about = Provenance(
        run=settings.run.name, train_seconds=120.0, machine="a machine", commit="abc"
    )
    ecg_id = np.arange(n_records)
    records = tuple(map(str, ecg_id))
    return Run(settings.run.name, settings, ecg_id, codes, y_true, output, about, records)


@pytest.fixture
def runs(evaluated, tmp_path) -> Path:
    """A folder of two finished runs of a task, as `make official` leaves them."""
    for seed in (0, 1):
        run = shutil.copytree(evaluated.parents[1], tmp_path / "runs" / f"official_all_s{seed}")
        settings = from_yaml(config.TrainConfig, run / "config.yaml")
        settings.run.name, settings.seed = run.name, seed
        (run / "config.yaml").write_text(to_yaml(settings))
    return tmp_path / "runs"


def test_records_without_a_finding_of_the_task_are_not_scored():
    run = fake_run("rhythm")
    has_finding = run.y_true.any(axis=1)
    assert 0 < has_finding.sum() < len(has_finding)
    result = official.task_scores([run], [], n_resamples=20)
    expected = roc_auc_score(
        run.y_true[has_finding], run.output.y_prob[has_finding], average="macro"
    )
    assert result["mean"]["mean"] == pytest.approx(expected)
    assert result["n_labelled"] == has_finding.sum()
    on_all = roc_auc_score(run.y_true, run.output.y_prob, average="macro")
    assert result["all_records"] == pytest.approx(on_all)
    assert on_all != pytest.approx(expected)


def test_the_score_of_a_task_is_the_mean_of_its_seeds():
    members = [fake_run("form", seed) for seed in (0, 1, 2)]
    result = official.task_scores(members, [], n_resamples=20)
    assert result["seeds"] == [0, 1, 2]
    assert result["mean"]["mean"] == pytest.approx(np.mean(result["by_seed"]))
    assert result["mean"]["low"] < result["mean"]["mean"] < result["mean"]["high"]
    assert result["ensemble"]["mean"] > max(result["by_seed"]), "the noise averages out"
    assert result["from_all"] is None
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("task", ["superdiagnostic", "form"])
def test_a_model_of_all_findings_has_the_labels_of_every_task(task):
    run = fake_run("all")
    as_task = official.as_task(run, task)
    vocabulary = ptbxl()
    assert as_task.codes == vocabulary.task_codes(task)
    for row in range(40):
        stated = {run.codes[i]: 100.0 for i in np.flatnonzero(run.y_true[row])}
        present = {as_task.codes[i] for i in np.flatnonzero(as_task.y_true[row])}
        assert present == set(vocabulary.to_task(stated, task))
    members = {code: list(some) for code, some in vocabulary.task(task).items()}
    column = as_task.output.y_prob[:, 0]
    some = [run.codes.index(code) for code in members[as_task.codes[0]]]
    assert (column >= run.output.y_prob[:, some].max(axis=1) - 1e-12).all()
    assert (column <= 1).all()


def test_the_counts_of_the_page_are_those_of_ptbxl(shared_metadata):
    for task, n_labelled in official.N_LABELLED.items():
        data = load_ptbxl(shared_metadata, task=task, signals=False)
        rows = data.fold(official.FOLD)
        assert len(rows) == official.N_RECORDS
        assert data.y_true[rows].any(axis=1).sum() == n_labelled
        assert data.y_true[rows].any(axis=0).all(), "every finding has an AUROC"


def test_finished_runs_are_read_and_printed_but_are_not_those_of_the_page(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(official, "OFFICIAL", tmp_path / "official")
    monkeypatch.setattr(sys, "argv", ["official.py", str(runs)])
    official.main()
    printed = capsys.readouterr().out
    assert "| **ecg_siglip**, a model per task" in printed
    assert "that of PTB-XL 1.0.3 has 2198 and 2198" in printed
    assert re.search("other settings than experiment=best: .*optim.n_epochs", printed)
    assert not (tmp_path / "official").exists()


def test_runs_on_ptbxl_with_the_settings_of_best_fill_the_page(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "OFFICIAL", tmp_path / "official")
    monkeypatch.setattr(sys, "argv", ["official.py", str(runs)])
    n_records = len(official.read_task(runs, "all")[0].ecg_id)
    n_labelled = len(official.labelled(official.read_task(runs, "all")[0]).ecg_id)
    monkeypatch.setattr(official, "N_RECORDS", n_records)
    monkeypatch.setitem(official.N_LABELLED, "all", n_labelled)
    monkeypatch.setattr(official, "other_settings", lambda run: [])
    official.main()
    results = official.stored(tmp_path / "official")
    assert list(results) == ["all"]
    blocks = official.page_blocks(results)
    (row,) = [line for line in blocks["official"].splitlines() if "a model per task" in line]
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3}-0\.\d{3}\)", cells[0])
    assert cells[1:] == [official.NOT_RUN] * 5
    assert "commit" in blocks["official_details"]


def test_the_settings_of_best_are_those_that_a_run_of_best_has():
    run = fake_run("form", seed=2)
    assert "optim.n_epochs" in official.other_settings(run)
    settings = replace(run.settings, precision="bfloat16")
    settings.init, settings.optim.n_epochs, settings.text.language = "pretrain", 28, "en"
    settings.data.root, settings.device = "/elsewhere", "cuda"
    assert official.other_settings(replace(run, settings=settings)) == []
    settings.optim.lr = 1.0
    assert official.other_settings(replace(run, settings=settings)) == ["optim.lr"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.task": "form"}, "expected all findings and records of task all"),
        ({"data.train_share": 0.5}, "expected all findings and records"),
        ({"data.train_folds": [1, 2]}, "expected training on folds 1-8"),
        ({"optim.lr": 0.5}, "differ in more than the seed"),
        ({"seed": 0}, "the same recipe and seed"),
    ],
)
def test_a_run_that_does_not_belong_in_the_table_is_refused(runs, change, message):
    path = runs / "official_all_s1" / "config.yaml"
    settings = from_yaml(config.TrainConfig, path)
    for name, value in change.items():
        *groups, last = name.split(".")
        target = settings
        for group in groups:
            target = getattr(target, group)
        setattr(target, last, value)
    path.write_text(to_yaml(settings))
    with pytest.raises(ValueError, match=message):
        official.read_task(runs, "all")


def test_without_runs_nothing_is_printed(tmp_path, monkeypatch):
    assert official.read_task(tmp_path, "all") == []
    monkeypatch.setattr(sys, "argv", ["official.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="is evaluated on fold 10"):
        official.main()


def test_the_page_has_the_blocks_and_the_tasks_of_the_makefile():
    for name in official.page_blocks({}):
        assert f"<!-- results: {name} -->" in PAGE
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (tasks,) = re.findall(r"^TASKS \?= (.*)$", makefile, re.M)
    assert tuple(tasks.split(",")) == tuple(official.N_LABELLED)
    assert "runs/official_$(task)_s$(seed)/evaluate/fold10/metrics.json" in makefile


def test_every_published_model_has_a_score_for_each_task():
    for cells in (official.STRODTHOFF | official.REPLICATION).values():
        assert len(cells.split()) == len(official.N_LABELLED)
    table = official.auroc_table({})
    assert table.count(official.NOT_RUN) == len(official.OURS) * len(official.N_LABELLED)
    assert build.page_blocks()["official"]
