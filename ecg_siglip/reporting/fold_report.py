"""The report of a fold: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.core.files import write_file
from ecg_siglip.reporting import charts
from ecg_siglip.reporting.charts import RULES
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.html import format_number, inline_figure, load_template


def _headline(scores: Mapping[str, float], rule: str) -> list[dict[str, str]]:
    # Of a small set, where no finding has as many, the others are better than nothing.
    end = "_min5" if scores.get("n_findings_min5", 1) else ""
    which = "findings with at least 5 positives" if end else "findings with a positive"
    cards = (
        (f"{rule}/macro_f1{end}", "Macro F1", which),
        (f"{rule}/micro_f1", "Micro F1", "all record-finding pairs"),
        (f"{rule}/samples_f1", "F1 of a record", "mean over the records"),
        (f"macro_auroc{end}", "Macro AUROC", which),
        (f"macro_auprc{end}", "Macro AUPRC", which),
        ("ece", "Calibration error", "15 equal-width bins; lower is better"),
    )
    return [
        {
            "label": label,
            "what": what,
            "value": format_number(scores[key]),
            "low": format_number(scores.get(f"{key}/low")),
            "high": format_number(scores.get(f"{key}/high")),
        }
        for key, label, what in cards
        if key in scores
    ]


def _answers(case: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, str]]:
    """What is present or called in a record, the missed first."""
    true, called = set(case["true"]), set(case["findings"])
    verdicts = {"missed": true - called, "false alarm": called - true, "right": true & called}
    probability = case["probabilities"]
    return [
        {
            "verdict": verdict,
            "code": code,
            "name": names.get(code, code),
            "probability": format_number(probability.get(code)),
        }
        for verdict, group in verdicts.items()
        for code in sorted(group, key=lambda code: -probability.get(code, 0.0))
    ]


def surprising(
    names: Sequence[str],
    codes: Sequence[str],
    y_true: np.ndarray,
    y_prob: np.ndarray,
    called: np.ndarray,
    n: int,
) -> list[tuple[int, dict[str, Any]]]:
    """The records whose findings surprised the model most (largest cross-entropy), as cases.

    Parameters
    ----------
    names : sequence of str, length n_records
    codes : sequence of str, length n_findings
    y_true, y_prob, called : arrays of shape (n_records, n_findings)
    n : int
        Most that are wanted.

    Returns
    -------
    list of (int, dict)
        Row and what ``write`` wants to know of a record, but for its ``signal`` and ``fs``.
    """
    inside = np.clip(y_prob, 1e-7, 1 - 1e-7)
    surprise = -np.where(y_true, np.log(inside), np.log1p(-inside))
    words = np.array(codes)
    cases = []
    for i in np.argsort(-surprise.sum(axis=1))[:n].tolist():
        top = surprise[i].argmax()
        wrong = "missed" if y_true[i, top] else "called without a label"
        case = {
            "record": names[i],
            "probabilities": dict(zip(codes, y_prob[i].tolist(), strict=True)),
            "findings": words[called[i]].tolist(),
            "true": words[y_true[i]].tolist(),
            "why": f"{codes[top]} {wrong}: probability {y_prob[i, top]:.2f}",
        }
        cases.append((i, case))
    return cases


def write_fold_report(
    path: str | Path,
    *,
    title: str,
    scores: Mapping[str, float],
    rows: Sequence[Mapping[str, float]],
    codes: Sequence[str],
    names: Sequence[str],
    y_true: ArrayLike,
    y_prob: ArrayLike,
    thresholds: Mapping[str, ArrayLike],
    tune: tuple[ArrayLike, ArrayLike] | None,
    worst: Sequence[Mapping[str, Any]],
    context: Mapping[str, str],
    rule: str = "expected_f1",
    tables: Sequence[Mapping[str, Any]] = (),
    drills: Sequence[Any] = (),
) -> None:
    """Write the report of a fold: one HTML file with everything in it.

    Parameters
    ----------
    path : path of the file
        Appears whole or not at all.
    title : str
    scores : mapping of str -> float
        What ``multilabel.scores`` returns.
    rows : sequence of mapping
        What ``multilabel.per_finding`` returns, one row a finding.
    codes, names : sequences of str
        Of the findings, in the order of the columns.
    y_true, y_prob : arrays of shape (n_records, n_findings)
        Of the fold reported on.
    thresholds : mapping of rule -> array of shape (n_findings,)
    tune : (y_true, y_prob) of the tuning fold
        Only drawn, to show where the thresholds come from; None leaves that out.
    worst : sequence of mapping
        Records called worst: ``record`` (name), ``signal`` (12, n_samples) in mV, ``fs`` in Hz,
        ``probabilities`` (code -> float), ``findings`` (codes called), ``true`` (codes present),
        ``why`` (a sentence).
    context : mapping of str -> str
        What a reader must know: run, data, fold, model, commit.
    rule : str
        Threshold rule of the headline.
    tables : sequence of mapping
        Further sections: ``title``, ``about`` (a sentence), ``head`` (words), ``rows`` (lists of
        words and numbers).
    drills : sequence of finding_details.FindingDetails
        Of every finding, or none: then there is no page of details.

    Raises
    ------
    ValueError
        If rows, codes, names and columns are not equally many, or the rule has no thresholds.
    OSError
        If the file cannot be written.
    """
    y_true, y_prob = np.asarray(y_true, dtype=bool), np.asarray(y_prob, dtype=float)
    sizes = {len(rows), len(codes), len(names), y_true.shape[1], y_prob.shape[1]}
    if len(sizes) > 1:
        raise ValueError(
            f"expected one row, code, name and column a finding, got {len(rows)} rows, "
            f"{len(codes)} codes, {len(names)} names, {y_true.shape[1]} and {y_prob.shape[1]} "
            "columns"
        )
    if rule not in thresholds:
        raise ValueError(f"threshold rule {rule}: expected one of {', '.join(thresholds)}")
    name_of = dict(zip(codes, names, strict=True))
    drawn = {
        "rules": (charts.rules_figure(scores), "F1 by threshold rule"),
        "f1": (charts.f1_figure(rows, codes, rule), "F1 of each finding"),
        "pr": (charts.pr_figure(y_true, y_prob, codes, thresholds[rule]), "Precision and recall"),
        "reliability": (charts.reliability_figure(y_true, y_prob), "Reliability diagram"),
        "finding_reliability": (
            charts.finding_reliability_figure(y_true, y_prob, codes),
            "Reliability of each finding",
        ),
        "decision": (charts.decision_figure(y_true, y_prob, codes), "Decision curves"),
    }
    if tune is not None:
        figure = charts.threshold_figure(*tune, codes, thresholds)
        drawn["thresholds"] = (figure, "F1 against threshold")
    figures = {name: inline_figure(figure, "png", alt) for name, (figure, alt) in drawn.items()}
    cases = [
        {
            "record": case["record"],
            "why": case["why"],
            "answers": _answers(case, name_of),
            "figure": inline_figure(
                ecg_figure(case["signal"], case["fs"], title=f"Record {case['record']}"),
                "svg",
                f"12-lead ECG of record {case['record']}",
            ),
        }
        for case in worst
    ]
    page = load_template("fold_report.html.j2").render(
        title=title,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=_headline(scores, rule),
        scores=scores,
        rows=[
            {"code": code, "name": name, **row}
            for code, name, row in zip(codes, names, rows, strict=True)
        ],
        rules={r: RULES[r] for r in RULES if r in thresholds},
        rule=rule,
        figures=figures,
        cases=cases,
        context=context,
        tables=tables,
        drills={drill.code: drill for drill in drills},
    )
    write_file(Path(path), page)
