"""Other hospitals to scores: what a model is worth where it was not trained.

Each set of ``challenge`` is answered by the model as it is, thresholds and calibration included
(zero-shot), and once more with both found anew on one half of the set and counted on the other.
What is asked of a set is in ``snomed``; only what its labels can tell is scored.
"""

from __future__ import annotations

import json
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import replace_folder
from ecg_siglip.datasets import challenge
from ecg_siglip.evaluation.external import (
    ExternalPredictions,
    code_rows,
    predict_collection,
    retuned,
)
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary import snomed

N_WORST = 6
# Settings of `evaluate` that mean something on PTB-XL's folds alone.
UNUSED = ("fold", "labelled_only", "data.allow_missing", "data.cache_dir")
# What the summary shows of each set; the findings of a set are those with enough positives.
SHOWN = ("macro_auroc", "macro_auprc", "expected_f1/macro_f1", "expected_f1/micro_f1", "ece")


def evaluate_external(
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    predictor: Predictor,
    ranks: Distributed,
) -> None:
    """Score a run on other hospitals; writes ``runs/<name>/evaluate/challenge/`` whole or not."""
    if ranks.n > 1:
        raise ValueError("data=challenge: answered by one process; expected no torchrun")
    if settings.data.root is None:
        raise ValueError("data.root is missing: expected the folder with a folder a hospital")
    for name in UNUSED:
        if attrgetter(name)(settings) != attrgetter(name)(config.EvaluateConfig()):
            raise ValueError(f"{name}: means nothing with data=challenge; expected it left out")
    sets = challenge.find_sets(settings.data.root)
    folder = Path(settings.run.root) / settings.run.name / "evaluate" / "challenge"
    rows = []
    with replace_folder(folder) as partial:
        for name, paths in sets.items():
            answered = predict_collection(
                settings, trained, predictor, challenge.collect(name, paths)
            )
            rows.append(write(partial / name, settings, trained, predictor, answered))
        (partial / "summary.json").write_text(json.dumps(rows, indent=1))
        pd.DataFrame(rows).to_csv(partial / "summary.csv", index=False)
    print(summary(rows))
    page = "/<set>/report.html" if settings.report else ""
    print(f"wrote {folder}/" + (f" (open {folder}{page})" if page else ""))


def write(
    folder: Path,
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    predictor: Predictor,
    answered: ExternalPredictions,
) -> dict[str, Any]:
    """Write the files of a set; its row of the summary."""
    artifact, scored = predictor.artifact, answered.scored
    questions = [answered.questions[i] for i in scored]
    y_true, y_prob = answered.said.y_true[:, scored], answered.y_prob[:, scored]
    called = {rule: values[:, scored] for rule, values in answered.called.items()}
    codes = code_rows(answered, artifact.codes)
    nowhere = [row for row in codes if row["outcome"].startswith("no counterpart")]
    folder.mkdir(parents=True)
    pd.DataFrame(codes).to_csv(folder / "codes.csv", index=False)
    about = {
        "set": answered.name,
        "n_records": len(answered.paths) + len(answered.left_out),
        "n_answered": len(answered.paths),
        "left_out": answered.left_out,
        "n_padded": answered.n_padded,
        "n_cut": answered.n_cut,
        "codes_without_counterpart": nowhere,
        "questions_not_scored": answered.unscored,
        "questions_of_several_findings": {
            q.code: list(q.findings) for q in questions if len(q.findings) > 1
        },
        "min_positives": settings.data.min_positives,
        "model": artifact.provenance.to_json(),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    row: dict[str, Any] = {
        "set": answered.name,
        "n_records": len(answered.paths),
        "n_left_out": len(answered.left_out),
        "n_findings": len(questions),
        "n_codes_without_counterpart": len(nowhere),
    }
    log(answered, nowhere, questions)
    if not questions:
        return row
    scores = multilabel.scores(y_true, y_prob, called, settings.n_bootstrap)
    rows = multilabel.per_finding(y_true, y_prob, called, settings.n_bootstrap)
    for rule, values in answered.thresholds.items():
        for line, i in zip(rows, scored, strict=True):
            line[f"{rule}/threshold"] = float(values[i])
    anew = retuned(answered, settings)
    (folder / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
    (folder / "retuned.json").write_text(json.dumps(anew, indent=1))
    table = pd.DataFrame(rows)
    table.insert(0, "n_unclear", answered.said.unclear[:, scored].sum(axis=0))
    table.insert(0, "findings", [" ".join(q.findings) for q in questions])
    table.insert(0, "name", [q.name for q in questions])
    table.insert(0, "code", [q.code for q in questions])
    table.to_csv(folder / "findings.csv", index=False)
    predictions(answered).to_parquet(folder / "predictions.parquet")
    if settings.report:
        # Matplotlib takes a second that nobody else has to wait.
        from ecg_siglip.reporting.fold_report import surprising, write_fold_report

        rule = DEFAULT_RULE if DEFAULT_RULE in called else "prevalence"
        names = [path.stem for path in answered.paths]
        words = [q.code for q in questions]
        worst = []
        for i, case in surprising(names, words, y_true, y_prob, called[rule], N_WORST):
            record = challenge.prepare(answered.paths[i], artifact.waveform)
            if not isinstance(record, str):
                fs = float(artifact.waveform["to_fs"])
                worst.append(case | {"signal": from_int16(record.signal), "fs": fs})
        write_fold_report(
            folder / "report.html",
            title=f"{settings.run.name} on {answered.name}",
            scores=scores,
            rows=rows,
            codes=words,
            names=[q.name for q in questions],
            y_true=y_true,
            y_prob=y_prob,
            thresholds={rule: values[scored] for rule, values in answered.thresholds.items()},
            tune=None,
            worst=worst,
            context=context(settings, trained, artifact, answered),
            rule=rule,
            tables=tables(answered, questions, nowhere, anew),
        )
    for key in SHOWN:
        for end in ("", "/low", "/high"):
            row[key + end] = without_nan({"": scores.get(key + end, np.nan)})[""]
    row |= {"half/n_records": anew["n_reported"], "half/n_findings": len(anew["findings"])}
    for key in SHOWN:
        row[f"half/as_it_is/{key}"] = anew.get("as_it_is", {}).get(key)
        row[f"half/retuned/{key}"] = anew.get("retuned", {}).get(key)
    return row


def log(
    answered: ExternalPredictions, nowhere: list[dict[str, Any]], scored: list[snomed.LabelQuery]
) -> None:
    """What a user must not miss, on stderr: records and codes that the scores do not hold."""

    def say(text: str) -> None:
        print(f"evaluate: {answered.name}: {text}", file=sys.stderr)

    for record, why in list(answered.left_out.items())[:5]:
        say(f"left out {record}: {why}")
    if len(answered.left_out) > 5:
        say(f"left out {len(answered.left_out) - 5} more, see about.json")
    if nowhere:
        listed = ", ".join(
            f"{row['abbreviation'] or row['snomed']} {row['n_records']}" for row in nowhere
        )
        say(f"codes without counterpart, and records: {listed}")
    if not scored:
        say(f"nothing to score in {len(answered.paths)} records, see about.json")


def predictions(answered: ExternalPredictions) -> pd.DataFrame:
    """One row a record: who, which codes and half, probability and truth of what is scored."""
    columns: dict[str, Any] = {
        "record": [path.stem for path in answered.paths],
        "age": [label.age for label in answered.labels],
        "sex": [label.sex for label in answered.labels],
        "dx": [",".join(map(str, sorted(label.dx))) for label in answered.labels],
        "half": np.where(answered.is_tuning, "tuning", "reported"),
    }
    for kind, values in (
        ("probability", answered.y_prob),
        ("true", answered.said.y_true),
        ("unclear", answered.said.unclear),
    ):
        columns |= {f"{kind}/{answered.questions[i].code}": values[:, i] for i in answered.scored}
    return pd.DataFrame(columns)


def context(
    settings: config.EvaluateConfig,
    trained: config.TrainConfig,
    artifact: Artifact,
    answered: ExternalPredictions,
) -> dict[str, str]:
    """What the reader of a report must know to trust it."""
    seconds = f"{artifact.waveform['duration_s']:g} s"
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {artifact.provenance.version}, {trained.ecg.name}",
        "trained on": artifact.provenance.data,
        "set": answered.name,
        "records left out": str(len(answered.left_out)),
        "length": f"{answered.n_padded} shorter than {seconds}, padded; {answered.n_cut} longer, "
        "their middle",
        "thresholds and calibration": "the model's own (zero-shot)",
        "scored": f"findings with {settings.data.min_positives} or more positives that the "
        "labels of the set decide",
    }


def tables(
    answered: ExternalPredictions,
    questions: list[snomed.LabelQuery],
    nowhere: list[dict[str, Any]],
    anew: dict[str, Any],
) -> list[dict[str, Any]]:
    """What a report of other hospitals has beyond that of a fold."""
    halves = (
        f"{anew['n_tuning']} records to find them, {anew['n_reported']} others to count, divided "
        "by a hash of the record's name, of PTB-XL by patient. The challenge's headers name no "
        "patient: one with several records may be in both halves."
    )
    lines = []
    if "too_few" in anew:
        halves = f"Not done: {anew['too_few']}. " + halves
    else:
        halves += f" With enough positives in both halves: {', '.join(anew['findings'])}."
        for key in SHOWN:
            gain, low, high = (anew["difference"].get(key + end) for end in ("", "/low", "/high"))
            interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
            shown = "–" if gain is None else f"{gain:+.3f}{interval}"
            lines.append([key, anew["as_it_is"].get(key), anew["retuned"].get(key), shown])
    several = [[q.code, q.name, ", ".join(q.findings)] for q in questions if len(q.findings) > 1]
    reasons: dict[str, list[str]] = {}
    for code, why in answered.unscored.items():
        reasons.setdefault(why, []).append(code)
    return [
        {
            "title": "Thresholds and calibration found anew",
            "about": halves,
            "head": ["score", "as it is", "found anew", "difference (95 %, paired)"],
            "rows": lines,
        },
        {
            "title": "Asked of several findings together",
            "about": "These codes are broader than any finding of the model. Their probability is "
            "that of any of ours (noisy-or); they are called where one of ours is called.",
            "head": ["code", "name", "ours"],
            "rows": several,
        },
        {
            "title": "Not scored on this set",
            "about": "What the labels do not decide: never or seldom given, or given by a broader "
            "code.",
            "head": ["why", "findings"],
            "rows": [[why, ", ".join(codes)] for why, codes in reasons.items()],
        },
        {
            "title": "Codes without a counterpart",
            "about": "What the hospital wrote and the model has no word for.",
            "head": ["SNOMED CT", "name", "records", "why"],
            "rows": [[str(r["snomed"]), r["name"], r["n_records"], r["outcome"]] for r in nowhere],
        },
        {
            "title": "Records left out",
            "about": f"{len(answered.left_out)} of "
            f"{len(answered.paths) + len(answered.left_out)}; the first hundred by name.",
            "head": ["record", "why"],
            "rows": [list(item) for item in list(answered.left_out.items())[:100]],
        },
    ]


def summary(rows: list[dict[str, Any]]) -> str:
    """The sets one below the other, with the scores to look at first."""
    width = max(len("set"), *(len(row["set"]) for row in rows))
    lines = [f"{'set':<{width}} records findings  " + "  ".join(f"{key:<22}" for key in SHOWN)]
    for row in rows:
        cells = [_cell(row, key) for key in SHOWN]
        lines.append(
            f"{row['set']:<{width}} {row['n_records']:>7} {row['n_findings']:>8}  "
            + "  ".join(f"{cell:<22}" for cell in cells)
        )
        if row.get("half/n_findings"):
            half_cells = [
                f"{_shown(row[f'half/as_it_is/{key}'])} > {_shown(row[f'half/retuned/{key}'])}"
                for key in SHOWN
            ]
            lines.append(
                f"{'  thresholds anew':<{width}} {row['half/n_records']:>7} "
                f"{row['half/n_findings']:>8}  " + "  ".join(f"{cell:<22}" for cell in half_cells)
            )
        elif row["n_findings"]:
            lines.append("  too few positives to find thresholds anew on one half")
    return "\n".join(line.rstrip() for line in lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(row: dict[str, Any], key: str) -> str:
    low, high = row.get(f"{key}/low"), row.get(f"{key}/high")
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return _shown(row.get(key)) + ends
