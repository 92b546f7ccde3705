"""Evaluate a trained model on the records of other hospitals, and write its scores.

Each set of ``challenge`` is predicted by the model as it is, with its own thresholds and
calibration (zero-shot), and a second time with both re-fitted on one half of the set and scored on
the other. ``snomed`` defines what is compared; only what the labels can decide is scored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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
from ecg_siglip.evaluation.trained_run import TrainedRun, load_run
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE, HEADLINE_RULE
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.signals.preprocessing import from_int16
from ecg_siglip.vocabulary.snomed import LabelQuery

N_WORST = 6
# Settings of `evaluate` that have a meaning for folds and tables only.
UNUSED = (
    *("fold", "labelled_only", "data.allow_missing", "data.cache_dir", "data.source", "data.name"),
    *("data.fs", "data.table", "data.query", "data.codes", "data.read", "data.patients"),
)
# Scores of the summary; the findings of a set are those with enough positives.
SHOWN = (
    *("macro_auroc", "macro_auprc"),
    *(f"{HEADLINE_RULE}/macro_f1", f"{DEFAULT_RULE}/micro_f1", "ece"),
)


def evaluate_external(settings: config.EvaluateConfig) -> None:
    """Score a run on other hospitals; write its ``evaluate/challenge/`` whole or not at all.

    Raises
    ------
    ValueError
        As ``trained_run.load_run`` and ``challenge.find_sets``; if a setting has no meaning for
        external data, or several processes were started.
    """
    distributed = Distributed.join(settings.device)
    run = load_run(settings.run, settings.device, settings.model)
    if distributed.n > 1:
        raise ValueError("data=challenge: runs in one process; expected no torchrun")
    if settings.data.root is None:
        raise ValueError("data.root is missing: expected a folder with one folder per hospital")
    for name in UNUSED:
        if attrgetter(name)(settings) != attrgetter(name)(config.EvaluateConfig()):
            raise ValueError(f"{name}: has no meaning with data=challenge; leave it out")
    sets = challenge.find_sets(settings.data.root)
    folder = run.folder / "evaluate" / "challenge"
    rows = []
    with replace_folder(folder) as partial:
        for name, paths in sets.items():
            predictions = predict_collection(settings, run, challenge.collect(name, paths))
            rows.append(write_set(partial / name, settings, run, predictions))
        (partial / "summary.json").write_text(json.dumps(rows, indent=1))
        pd.DataFrame(rows).to_csv(partial / "summary.csv", index=False)
    print(format_summary(rows))
    page = "/<set>/report.html" if settings.report else ""
    print(f"wrote {folder}/" + (f" (open {folder}{page})" if page else ""))


def write_set(
    folder: Path,
    settings: config.EvaluateConfig,
    run: TrainedRun,
    predictions: ExternalPredictions,
) -> dict[str, Any]:
    """Write the files of a set; return its row of the summary."""
    queries = [predictions.queries[i] for i in predictions.scored]
    codes = code_rows(predictions, run.predictor.artifact)
    unmapped = [row for row in codes if row["outcome"].startswith("no counterpart")]
    folder.mkdir(parents=True)
    pd.DataFrame(codes).to_csv(folder / "codes.csv", index=False)
    content = describe_set(predictions, queries, unmapped, settings.data.min_positives)
    content["model"] = run.predictor.artifact.provenance.to_json()
    (folder / "about.json").write_text(json.dumps(content, indent=1))
    print_omissions(predictions, unmapped, queries)
    row: dict[str, Any] = {
        "set": predictions.name,
        "n_records": len(predictions.paths),
        "n_left_out": len(predictions.left_out),
        "n_findings": len(queries),
        "n_codes_without_counterpart": len(unmapped),
    }
    if not queries:
        return row
    scored = predictions.scored
    y_true, y_prob = predictions.labels.y_true[:, scored], predictions.y_prob[:, scored]
    y_pred = {rule: values[:, scored] for rule, values in predictions.y_pred.items()}
    scores = multilabel.scores(y_true, y_prob, y_pred, settings.n_bootstrap)
    per_finding = multilabel.per_finding(y_true, y_prob, y_pred)
    for rule, values in predictions.thresholds.items():
        for line, i in zip(per_finding, scored, strict=True):
            line[f"{rule}/threshold"] = float(values[i])
    refitted = retuned(predictions, settings)
    (folder / "metrics.json").write_text(json.dumps(without_nan(scores), indent=1))
    (folder / "retuned.json").write_text(json.dumps(refitted, indent=1))
    finding_table(predictions, queries, per_finding).to_csv(folder / "findings.csv", index=False)
    prediction_table(predictions).to_parquet(folder / "predictions.parquet")
    if settings.report:
        tables = report_tables(predictions, queries, unmapped, refitted)
        path = folder / "report.html"
        write_report(path, settings, run, predictions, scores, per_finding, tables)
    return row | summary_scores(scores, refitted)


def describe_set(
    predictions: ExternalPredictions,
    queries: list[LabelQuery],
    unmapped: list[dict[str, Any]],
    min_positives: int,
) -> dict[str, Any]:
    """Return the content of ``about.json``: what was predicted, left out and scored."""
    return {
        "set": predictions.name,
        "n_records": len(predictions.paths) + len(predictions.left_out),
        "n_predicted": len(predictions.paths),
        "left_out": predictions.left_out,
        "n_padded": predictions.n_padded,
        "n_cut": predictions.n_cropped,
        "codes_without_counterpart": unmapped,
        "questions_not_scored": predictions.not_scored,
        "questions_of_several_findings": {
            q.code: list(q.findings) for q in queries if len(q.findings) > 1
        },
        "min_positives": min_positives,
    }


def finding_table(
    predictions: ExternalPredictions,
    queries: list[LabelQuery],
    per_finding: list[dict[str, float]],
) -> pd.DataFrame:
    """Return one row per scored query, with the number of records whose labels are unclear."""
    table = pd.DataFrame(per_finding)
    unclear = predictions.labels.unclear[:, predictions.scored]
    table.insert(0, "n_unclear", unclear.sum(axis=0))
    table.insert(0, "findings", [" ".join(q.findings) for q in queries])
    table.insert(0, "name", [q.name for q in queries])
    table.insert(0, "code", [q.code for q in queries])
    return table


def prediction_table(predictions: ExternalPredictions) -> pd.DataFrame:
    """Return one row per record: patient, codes, half, probability and label of what is scored."""
    columns: dict[str, Any] = {
        "record": [path.stem for path in predictions.paths],
        "age": [header.age for header in predictions.headers],
        "sex": [header.sex for header in predictions.headers],
        "dx": [",".join(map(str, sorted(header.dx))) for header in predictions.headers],
        "half": np.where(predictions.is_tuning, "tuning", "reported"),
    }
    for kind, values in (
        ("probability", predictions.y_prob),
        ("true", predictions.labels.y_true),
        ("unclear", predictions.labels.unclear),
    ):
        columns |= {
            f"{kind}/{predictions.queries[i].code}": values[:, i] for i in predictions.scored
        }
    return pd.DataFrame(columns)


def write_report(
    path: Path,
    settings: config.EvaluateConfig,
    run: TrainedRun,
    predictions: ExternalPredictions,
    scores: dict[str, float],
    per_finding: list[dict[str, float]],
    tables: list[dict[str, Any]],
) -> None:
    """Write the report of a set as one HTML file."""
    # Matplotlib takes a second to import: only a report needs it.
    from ecg_siglip.reporting.fold_report import FoldReport, worst_cases, write_fold_report

    scored, waveform = predictions.scored, run.predictor.artifact.waveform
    queries = [predictions.queries[i] for i in scored]
    codes = [q.code for q in queries]
    y_true, y_prob = predictions.labels.y_true[:, scored], predictions.y_prob[:, scored]
    rule = DEFAULT_RULE if DEFAULT_RULE in predictions.y_pred else "prevalence"
    y_pred = predictions.y_pred[rule][:, scored]
    names = [record.stem for record in predictions.paths]
    worst = []
    for i, case in worst_cases(names, codes, y_true, y_prob, y_pred, N_WORST):
        record = challenge.prepare(predictions.paths[i], waveform)
        if not isinstance(record, str):
            fs = float(waveform["to_fs"])
            worst.append(case | {"signal": from_int16(record.signal), "fs": fs})
    report = FoldReport(
        model_simulated=bool(run.predictor.artifact.provenance.simulated),
        title=f"{settings.run.name} on {predictions.name}",
        scores=scores,
        rows=per_finding,
        codes=codes,
        names=[q.name for q in queries],
        y_true=y_true,
        y_prob=y_prob,
        thresholds={name: values[scored] for name, values in predictions.thresholds.items()},
        worst=worst,
        context=context(settings, run, predictions),
        rule=rule,
        tables=tables,
    )
    write_fold_report(path, report)


def summary_scores(scores: Mapping[str, float], refitted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a set in the summary: of the whole set, and of one half."""
    row: dict[str, Any] = {}
    for key in SHOWN:
        for end in ("", "/low", "/high"):
            row[key + end] = without_nan({"": scores.get(key + end, np.nan)})[""]
    row |= {"half/n_records": refitted["n_reported"], "half/n_findings": len(refitted["findings"])}
    for key in SHOWN:
        row[f"half/as_it_is/{key}"] = refitted.get("as_it_is", {}).get(key)
        row[f"half/retuned/{key}"] = refitted.get("retuned", {}).get(key)
    return row


def print_omissions(
    predictions: ExternalPredictions, unmapped: list[dict[str, Any]], queries: list[LabelQuery]
) -> None:
    """Print on stderr which records and codes the scores do not include."""

    def note(text: str) -> None:
        print(f"evaluate: {predictions.name}: {text}", file=sys.stderr)

    for record, reason in list(predictions.left_out.items())[:5]:
        note(f"left out {record}: {reason}")
    if len(predictions.left_out) > 5:
        note(f"left out {len(predictions.left_out) - 5} more, see about.json")
    if unmapped:
        listed = ", ".join(
            f"{row['abbreviation'] or row['snomed']} {row['n_records']}" for row in unmapped
        )
        note(f"codes without counterpart, and records: {listed}")
    if not queries:
        note(f"nothing to score in {len(predictions.paths)} records, see about.json")


def context(
    settings: config.EvaluateConfig, run: TrainedRun, predictions: ExternalPredictions
) -> dict[str, str]:
    """Return what the reader of a report must know to interpret it."""
    artifact = run.predictor.artifact
    seconds = f"{artifact.waveform['duration_s']:g} s"
    return {
        "run": settings.run.name,
        "model": f"ecg_siglip {artifact.provenance.version}, {run.settings.ecg.name}",
        "trained on": artifact.provenance.data,
        "set": predictions.name,
        "records left out": str(len(predictions.left_out)),
        "length": f"{predictions.n_padded} shorter than {seconds}, padded; "
        f"{predictions.n_cropped} longer, their middle",
        "thresholds and calibration": "the model's own (zero-shot)",
        "scored": f"findings with {settings.data.min_positives} or more positives that the "
        "labels of the set decide",
    }


def report_tables(
    predictions: ExternalPredictions,
    queries: list[LabelQuery],
    unmapped: list[dict[str, Any]],
    refitted: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the sections of a report on external data that the report of a fold does not have."""
    several = [[q.code, q.name, ", ".join(q.findings)] for q in queries if len(q.findings) > 1]
    reasons: dict[str, list[str]] = {}
    for code, reason in predictions.not_scored.items():
        reasons.setdefault(reason, []).append(code)
    n_left_out = len(predictions.left_out)
    return [
        _refitted_table(refitted),
        {
            "title": "Codes for several findings",
            "about": "These codes are broader than any finding of the model. Their probability is "
            "that of at least one of the model's findings (noisy-or); they are predicted positive "
            "if one of these findings is.",
            "head": ["code", "name", "the model's findings"],
            "rows": several,
        },
        {
            "title": "Not scored on this set",
            "about": "Findings that the labels do not decide: never or seldom given, or given by a "
            "broader code.",
            "head": ["reason", "findings"],
            "rows": [[reason, ", ".join(codes)] for reason, codes in reasons.items()],
        },
        {
            "title": "Codes without a counterpart",
            "about": "Codes of the hospital for which the model has no finding.",
            "head": ["SNOMED CT", "name", "records", "reason"],
            "rows": [[str(r["snomed"]), r["name"], r["n_records"], r["outcome"]] for r in unmapped],
        },
        {
            "title": "Records left out",
            "about": f"{n_left_out} of {len(predictions.paths) + n_left_out}; the first hundred by "
            "name.",
            "head": ["record", "reason"],
            "rows": [list(item) for item in list(predictions.left_out.items())[:100]],
        },
    ]


def _refitted_table(refitted: dict[str, Any]) -> dict[str, Any]:
    """Return the section that compares the model's own thresholds with re-fitted ones."""
    halves = (
        f"{refitted['n_tuning']} records to fit them, {refitted['n_reported']} others to score, "
        "divided by a hash of the record's name, for PTB-XL by patient. The challenge's headers "
        "name no patient: one with several records may be in both halves."
    )
    lines = []
    if "too_few" in refitted:
        halves = f"Not done: {refitted['too_few']}. " + halves
    else:
        halves += f" With enough positives in both halves: {', '.join(refitted['findings'])}."
        for key in SHOWN:
            gain, low, high = (
                refitted["difference"].get(key + end) for end in ("", "/low", "/high")
            )
            interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
            shown = "–" if gain is None else f"{gain:+.3f}{interval}"
            lines.append([key, refitted["as_it_is"].get(key), refitted["retuned"].get(key), shown])
    return {
        "title": "Re-fitted thresholds and calibration",
        "about": halves,
        "head": ["score", "the model's own", "re-fitted", "difference (95 %, paired)"],
        "rows": lines,
    }


def format_summary(rows: list[dict[str, Any]]) -> str:
    """Format one line per set, with the scores to look at first."""
    width = max(len("  re-fitted"), *(len(row["set"]) for row in rows))
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
                f"{'  re-fitted':<{width}} {row['half/n_records']:>7} "
                f"{row['half/n_findings']:>8}  " + "  ".join(f"{cell:<22}" for cell in half_cells)
            )
        elif row["n_findings"]:
            lines.append("  too few positives to re-fit thresholds on one half")
    return "\n".join(line.rstrip() for line in lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(row: dict[str, Any], key: str) -> str:
    low, high = row.get(f"{key}/low"), row.get(f"{key}/high")
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return _shown(row.get(key)) + ends
