"""Score the runs of `make official` on fold 10, for docs/how-to/official-folds.md.

    python results/official.py runs       # runs/official_TASK_sSEED, evaluated on fold 10

Writes ``results/official/TASK.json``, which ``build.py --pages`` turns into the tables of the page.
Runs on other records than those of PTB-XL 1.0.3, such as simulated ones, and runs with other
settings than those of ``experiment=best`` are scored and printed, but nothing is written.
"""

from __future__ import annotations

import json
import operator
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ecg_siglip.config import TrainConfig
from ecg_siglip.core.command_line import CONF_DIR
from ecg_siglip.core.settings import setting_names
from ecg_siglip.evaluation.compared_runs import Run, check_same_records, read_run
from ecg_siglip.evaluation.comparison import group_runs, table
from ecg_siglip.metrics import multilabel, paired_tests
from ecg_siglip.metrics.paired_tests import ModelOutput
from ecg_siglip.training.checks import with_language
from ecg_siglip.vocabulary.vocabulary_file import ptbxl

ROOT = Path(__file__).resolve().parents[1]
OFFICIAL = ROOT / "results" / "official"
FOLD = 10
FOLDS = ([1, 2, 3, 4, 5, 6, 7, 8], 9)  # to train on and to tune on
N_RECORDS = 2198  # of fold 10 of PTB-XL 1.0.3
# Of these, the records with a finding of the task: the others are not scored.
N_LABELLED = {
    "all": 2198,
    "diagnostic": 2158,
    "subdiagnostic": 2158,
    "superdiagnostic": 2158,
    "form": 880,
    "rhythm": 2098,
}
# Macro AUROC, the half width of its 95 % interval in the last digits: the authors' leaderboard,
# github.com/helme/ecg_ptbxl_benchmarking. Their ensemble is not on it.
STRODTHOFF = {
    "xresnet1d101": "0.925(07) 0.937(08) 0.929(14) 0.928(05) 0.896(12) 0.957(19)",
    "inception1d": "0.925(08) 0.931(09) 0.930(10) 0.921(06) 0.899(22) 0.953(13)",
    "resnet1d_wang": "0.919(08) 0.936(08) 0.928(10) 0.930(05) 0.880(15) 0.946(10)",
    "fcn_wang": "0.918(08) 0.926(10) 0.927(11) 0.925(06) 0.869(12) 0.931(08)",
    "lstm_bidir": "0.914(08) 0.932(07) 0.923(12) 0.921(06) 0.876(15) 0.949(11)",
    "lstm": "0.907(08) 0.927(08) 0.928(10) 0.927(05) 0.851(15) 0.953(09)",
    "Wavelet+NN": "0.849(13) 0.855(15) 0.859(16) 0.874(07) 0.757(29) 0.890(24)",
}
# The same programs on PTB-XL 1.0.3: github.com/Bsingstad/Strodthoff-2021.
REPLICATION = {
    "xresnet1d101, repeated": "0.925 0.934 0.926 0.929 0.898 0.959",
    "inception1d, repeated": "0.926 0.930 0.930 0.918 0.891 0.953",
    "ensemble of their models, repeated": "0.927 0.937 0.935 0.934 0.901 0.966",
}
# Rows of the page: key of the stored scores -> name.
OURS = {
    "mean": "**ecg_siglip**, a model per task",
    "ensemble": "**ecg_siglip**, the seeds of a task averaged",
    "from_all": "**ecg_siglip**, one model, of `all`",
}
NOT_RUN = "not run yet"
DETAILS = {
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AP",
    "prevalence/macro_f1_min5": "macro F1",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
}


def read_task(runs: Path, task: str) -> list[Run]:
    """Read the runs of a task, one per seed; none is an empty list.

    Raises
    ------
    ValueError
        If a run has another task or other folds than its place in the table, or the runs differ in
        more than the seed.
    """
    folders = sorted(runs.glob(f"official_{task}_s*/evaluate/fold{FOLD}"))
    members = [read_run(runs, folder.parents[1].name, FOLD) for folder in folders]
    for run in members:
        data = run.settings.data
        if data.task != task or data.train_share < 1 or data.held_out:
            raise ValueError(f"{run.name}: expected all findings and records of task {task}")
        if (sorted(data.train_folds), data.tune_fold) != FOLDS:
            raise ValueError(f"{run.name}: expected training on folds 1-8 and tuning on fold 9")
    if len(members) > 1 and len(group_runs(members)) > 1:
        raise ValueError(f"official_{task}_s*: the runs differ in more than the seed")
    return members


def other_settings(run: Run) -> list[str]:
    """Return the settings in which a run differs from ``experiment=best`` of its task and seed."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    stored = run.settings
    chosen = [f"run.name={run.name}", f"data.task={stored.data.task}", f"seed={stored.seed}"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        best = OmegaConf.to_object(compose("train", ["experiment=best", *chosen]))
    expected = with_language(best)
    return [
        name
        for name in setting_names(TrainConfig)
        if name not in ("data.root", *TrainConfig.FREE)
        and operator.attrgetter(name)(stored) != operator.attrgetter(name)(expected)
    ]


def labelled(run: Run) -> Run:
    """Return a run with the records that have a finding of its task, as the benchmark does."""
    return run.take(np.flatnonzero(run.y_true.any(axis=1)))


def as_task(run: Run, task: str) -> Run:
    """Return a run of task `all` with the findings of another task.

    A class is present if one of its findings is; its probability is that of at least one of them,
    as if they were independent.
    """
    classes = ptbxl().task(task)
    columns = [[run.codes.index(code) for code in members] for members in classes.values()]
    y_prob = [1 - (1 - run.output.y_prob[:, some]).prod(axis=1) for some in columns]
    y_true = [run.y_true[:, some].any(axis=1) for some in columns]
    return replace(
        run,
        codes=tuple(classes),
        y_true=np.stack(y_true, axis=1),
        output=ModelOutput(np.stack(y_prob, axis=1), {}),
    )


def averaged(members: list[Run]) -> Run:
    """Return a run with the mean of the probabilities of several."""
    y_prob = np.mean([run.output.y_prob for run in members], axis=0)
    return replace(members[0], output=ModelOutput(y_prob, {}))


def task_scores(members: list[Run], of_all: list[Run], n_resamples: int = 1000) -> dict[str, Any]:
    """Return the scores of a task, the content of ``results/official/TASK.json``.

    Parameters
    ----------
    members : list of Run
        Of the task, one per seed.
    of_all : list of Run
        Of the task `all`, for the row of one model for all tasks; may be empty.
    n_resamples : int
        Bootstrap resamples of the records.

    Raises
    ------
    ValueError
        If the records or labels of two runs differ.
    """
    task = members[0].settings.data.task
    one_model = [labelled(as_task(run, task)) for run in of_all]
    chosen = [labelled(run) for run in members]
    for run in (*chosen, *one_model):
        check_same_records(run, chosen[0])
    scores = _scores(chosen, n_resamples)
    about = [run.provenance for run in members]
    return {
        "seeds": [run.settings.seed for run in members],
        "n_findings": len(members[0].codes),
        "n_records": len(members[0].ecg_id),
        "n_labelled": len(chosen[0].ecg_id),
        "mean": scores["macro_auroc"],
        "ensemble": _scores([averaged(chosen)], n_resamples)["macro_auroc"] if chosen[1:] else None,
        "from_all": _scores(one_model, n_resamples)["macro_auroc"] if one_model else None,
        "by_seed": [multilabel.macro_auroc(run.y_true, run.output.y_prob) for run in chosen],
        "all_records": _scores(members, 0)["macro_auroc"]["mean"],
        "scores": {key: scores[key] for key in DETAILS},
        "minutes": float(np.mean([each.train_seconds / 60 for each in about])),
        "machine": sorted({each.machine for each in about}),
        "commit": sorted({each.commit for each in about}),
    }


def _scores(members: list[Run], n_resamples: int) -> dict[str, Any]:
    outputs = [run.output for run in members]
    scores = paired_tests.mean_scores(members[0].y_true, outputs, n_resamples)
    return {name: multilabel.without_nan(values) for name, values in scores.items()}


def obstacles(task: str, members: list[Run], result: dict[str, Any]) -> list[str]:
    """Return why the scores of a task do not belong on the page; empty if they do."""
    counts, expected = (result["n_records"], result["n_labelled"]), (N_RECORDS, N_LABELLED[task])
    reasons = []
    if counts != expected:
        reasons.append(
            f"{task}: fold {FOLD} has {counts[0]} records, {counts[1]} of them with a finding; "
            f"that of PTB-XL 1.0.3 has {expected[0]} and {expected[1]}"
        )
    if names := other_settings(members[0]):
        reasons.append(f"{task}: other settings than experiment=best: {', '.join(names)}")
    return reasons


def stored(folder: Path = OFFICIAL) -> dict[str, dict[str, Any]]:
    """Return the scores of each task that has been run."""
    paths = {task: folder / f"{task}.json" for task in N_LABELLED}
    return {task: json.loads(path.read_text()) for task, path in paths.items() if path.exists()}


def page_blocks(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the content of the blocks of the page, by name."""
    return {"official": auroc_table(results), "official_details": detail_table(results)}


def auroc_table(results: dict[str, dict[str, Any]]) -> str:
    """Return published macro AUROCs and ours, one line per model, one column per task."""
    lines = [["model", *N_LABELLED], ["---"] * (1 + len(N_LABELLED))]
    lines += [[name, *cells.split()] for name, cells in (STRODTHOFF | REPLICATION).items()]
    for key, name in OURS.items():
        cells = [results.get(task, {}).get(key) for task in N_LABELLED]
        lines.append([name, *(_with_interval(cell) for cell in cells)])
    return table(lines)


def _with_interval(score: dict[str, float] | None) -> str:
    if score is None:
        return NOT_RUN
    return f"{score['mean']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def detail_table(results: dict[str, dict[str, Any]]) -> str:
    """Return our scores in detail, one line per task, and where they were computed."""
    head = ["task", "records", "seeds", *DETAILS.values(), "macro AUROC by seed"]
    head += ["on all 2,198 records", "minutes"]
    lines = [head, ["---"] * len(head)]
    for task, n_records in N_LABELLED.items():
        result = results.get(task)
        if result is None:
            lines.append([task, f"{n_records:,}", NOT_RUN, *[""] * (len(head) - 3)])
            continue
        cells = [task, f"{result['n_labelled']:,}", ", ".join(map(str, result["seeds"]))]
        cells += [f"{result['scores'][key]['mean']:.3f}" for key in DETAILS]
        cells += [" ".join(f"{value:.3f}" for value in result["by_seed"])]
        lines.append([*cells, f"{result['all_records']:.3f}", f"{result['minutes']:.1f}"])
    machines = sorted({name for result in results.values() for name in result["machine"]})
    commits = sorted({name for result in results.values() for name in result["commit"]})
    origin = f"\n\n{', '.join(machines)}; commit {', '.join(commits)}." if results else ""
    return table(lines) + origin


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    runs = Path(sys.argv[1])
    try:
        members = {task: read_task(runs, task) for task in N_LABELLED}
        results = {
            task: task_scores(some, members["all"]) for task, some in members.items() if some
        }
    except ValueError as error:
        raise SystemExit(f"official: {error}") from None
    if not results:
        raise SystemExit(f"official: no run {runs}/official_TASK_sSEED is evaluated on fold {FOLD}")
    print(auroc_table(results))
    reasons = [
        reason for task in results for reason in obstacles(task, members[task], results[task])
    ]
    if reasons:
        print("official: the page is not changed:", *reasons, sep="\n  ")
        return
    OFFICIAL.mkdir(exist_ok=True)
    for task, result in results.items():
        (OFFICIAL / f"{task}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
