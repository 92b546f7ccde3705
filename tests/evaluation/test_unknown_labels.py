"""Runs on data with unknown labels are joined, evaluated and compared on the known pairs alone."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, configured, with_unknown

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation import zero_shot
from ecg_siglip.evaluation.compared_runs import read_run
from ecg_siglip.evaluation.comparison import compare_runs
from ecg_siglip.evaluation.fold import evaluate_fold, labels_of_table
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.train import train
from ecg_siglip.training.ensembling import join_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patched():
    """`load_ptbxl` with 30 % of the labels unknown, and one finding unknown in the tuning fold."""
    load = ptbxl.load_ptbxl

    def load_unknown(*args, **settings):
        data = with_unknown(load(*args, **settings))
        data.known[data.strat_fold == 9, 3] = False
        data.y_true &= data.known
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptbxl, "load_ptbxl", load_unknown)
        yield load_unknown


@pytest.fixture(scope="module")
def runs(patched, simulated, tmp_path_factory):
    """Two runs, their ensemble, and its evaluation with a report."""
    root = tmp_path_factory.mktemp("unknown")
    settings = {"run.root": str(root), "data.root": str(simulated), "data.n_workers": 1}
    settings |= TINY | {"augment.fewer_leads": 0.5, "optim.n_epochs": 1}
    for seed in (0, 1):
        base = {"run.name": f"u_s{seed}", "seed": seed}
        train(configured(config.TrainConfig, base | settings))
    names = {"run.name": "both", "run.root": str(root), "runs": ["u_s0", "u_s1"]}
    join_runs(configured(config.EnsembleConfig, names))
    base = {"run.name": "both", "run.root": str(root), "n_bootstrap": 10}
    evaluate_fold(configured(config.EvaluateConfig, base))
    return root


def test_scores_and_tables_are_those_of_the_known_labels(runs, patched, simulated):
    folder = runs / "both" / "evaluate" / "fold10"
    data = patched(simulated, signals=False)
    rows = data.fold(10)
    table = pd.read_parquet(folder / "predictions.parquet")
    findings = pd.read_csv(folder / "findings.csv", keep_default_na=False, na_values=[""])
    assert {str(table[f"true/{code}"].dtype) for code in data.codes} == {"boolean"}
    y_true = labels_of_table(table, data.codes)
    np.testing.assert_array_equal(y_true, data.labels(rows))
    assert findings["n_known"].tolist() == data.known[rows].sum(axis=0).tolist()
    y_prob = table[[f"probability/{code}" for code in data.codes]].to_numpy()
    thresholds = {rule: findings[f"{rule}/threshold"].to_numpy() for rule in THRESHOLD_RULES}
    expected = multilabel.scores(data.labels(rows), y_prob, thresholds, 10)
    stored = json.loads((folder / "metrics.json").read_text())
    for name, value in multilabel.without_nan(expected).items():
        assert stored[name] == pytest.approx(value), name
    # Without a known label in the tuning fold a finding is not calibrated.
    assert findings.loc[3, "calibration/slope"] == 1
    assert findings.loc[3, "calibration/intercept"] == 0
    assert (findings["calibration/slope"] != 1).sum() > 60


def test_the_report_counts_the_known_labels_and_has_no_nan(runs):
    page = (runs / "both" / "evaluate" / "fold10" / "report.html").read_text()
    assert "<button>known</button>" in page
    assert "only these are scored" in page
    assert ">nan<" not in page.lower()
    leads = json.loads((runs / "both" / "evaluate" / "fold10" / "leads.json").read_text())
    assert all(row["fixed_0.5/micro_f1"] is not None for row in leads)


def test_runs_with_unknown_labels_are_compared(runs, tmp_path):
    base = {"runs": ["u_s0", "both"], "root": str(runs), "out": str(tmp_path / "out")}
    settings = configured(config.CompareConfig, base | {"fold": 10, "n_resamples": 10})
    result = compare_runs(settings)
    assert np.isnan(read_run(runs, "u_s0", 10).y_true).mean() == pytest.approx(0.3, abs=0.05)
    (row,) = [row for row in result["rows"] if row["differences"]]
    difference = row["differences"]["macro_auroc"]
    assert np.isfinite([difference[key] for key in ("difference", "low", "high", "p")]).all()


def test_held_out_findings_are_scored_on_the_records_where_they_are_known(patched, simulated):
    data = patched(simulated, signals=False)
    code = data.codes[int(data.y_true.sum(axis=0).argmax())]
    column = data.codes.index(code)
    folds = {"train": data.fold(*range(1, 9)), "tune": data.fold(9), "report": data.fold(10)}
    rng = np.random.default_rng(0)
    embedding, seen = rng.normal(size=(len(data), 6)), []

    def embed(rows):
        seen.append(rows)
        return embedding[rows]

    def encode(texts):
        return np.stack([np.resize(list(text.encode()), 6) / 100 - 1 for text in texts])

    (row,) = zero_shot.zero_shot_scores(data, [code], folds, embed, encode)
    assert row["n_positive"] == data.y_true[folds["report"], column].sum()
    known = {name: rows[data.known[rows, column]] for name, rows in folds.items()}
    data.known = None
    (plain,) = zero_shot.zero_shot_scores(data, [code], known, embed, encode)
    assert row["auroc"] == pytest.approx(plain["auroc"])
    assert row["f1"] == pytest.approx(plain["f1"])
