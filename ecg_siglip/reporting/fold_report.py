"""Report of a fold: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecg_siglip.core.files import write_file
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE, HEADLINE_RULE
from ecg_siglip.metrics.summary import HEADLINE_TEXT, headline_f1
from ecg_siglip.metrics.validation import labels
from ecg_siglip.reporting import charts
from ecg_siglip.reporting.charts import RULES
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.finding_details import FindingDetails
from ecg_siglip.reporting.fonts import with_all_letters
from ecg_siglip.reporting.html import format_number, inline_figure, load_template


def _headline(scores: Mapping[str, float], rule: str) -> list[dict[str, str]]:
    """Return the scores at the top of the page; ``rule`` is that of predictions."""
    # In a small set no finding may have 5 positives: then all findings count.
    end = "_min5" if scores.get("n_findings_min5", 1) else ""
    which = "findings with at least 5 positives" if end else "findings with a positive"
    cards = (
        (headline_f1(scores), "Macro F1", f"rule {HEADLINE_RULE}, {which}"),
        (f"{rule}/micro_f1", "Micro F1", f"rule {rule}, all record-finding pairs"),
        (f"{rule}/samples_f1", "F1 of a record", f"rule {rule}, mean over the records"),
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


def _verdicts(case: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the findings of a record that are labelled or predicted, the missed first."""
    labelled, predicted = set(case["true"]), set(case["findings"])
    unknown = set(case.get("unknown", ()))
    verdicts = {
        "missed": labelled - predicted,
        "false positive": predicted - labelled - unknown,
        "right": labelled & predicted,
        "unknown label": predicted & unknown,
    }
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


def worst_cases(
    names: Sequence[str],
    codes: Sequence[str],
    y_true: np.ndarray,
    y_prob: np.ndarray,
    y_pred: np.ndarray,
    n: int,
) -> list[tuple[int, dict[str, Any]]]:
    """Return the records with the largest cross-entropy, as cases of a report.

    Parameters
    ----------
    names : sequence of str, length n_records
    codes : sequence of str, length n_findings
    y_true, y_prob, y_pred : arrays of shape (n_records, n_findings)
        Where `y_true` is NaN, the label is unknown and adds nothing to the cross-entropy.
    n : int
        Largest number of cases.

    Returns
    -------
    list of (int, dict)
        Row, and a case as in ``FoldReport.worst`` without its ``signal`` and ``fs``.
    """
    inside, (y_true, known) = np.clip(y_prob, 1e-7, 1 - 1e-7), labels("y_true", y_true)
    loss = -np.where(y_true, np.log(inside), np.log1p(-inside)) * known
    all_codes = np.array(codes)
    cases = []
    for i in np.argsort(-loss.sum(axis=1))[:n].tolist():
        top = loss[i].argmax()
        error = "missed" if y_true[i, top] else "predicted without a label"
        case = {
            "record": names[i],
            "probabilities": dict(zip(codes, y_prob[i].tolist(), strict=True)),
            "findings": all_codes[y_pred[i]].tolist(),
            "true": all_codes[y_true[i]].tolist(),
            "unknown": all_codes[~known[i]].tolist(),
            "why": f"{codes[top]} {error}: probability {y_prob[i, top]:.2f}",
        }
        cases.append((i, case))
    return cases


@dataclass(frozen=True)
class FoldReport:
    """What the report of a fold shows.

    Attributes
    ----------
    title : str
    scores : mapping of str to float
        As ``multilabel.scores`` returns them.
    rows : sequence of mapping
        As ``multilabel.per_finding`` returns them, one row per finding.
    codes, names : sequences of str
        Of the findings, in the order of the columns.
    y_true, y_prob : arrays of shape (n_records, n_findings)
        Of the fold reported on; `y_true` is NaN where a label is unknown.
    thresholds : mapping of rule to array of shape (n_findings,)
    tune : (y_true, y_prob) of the tuning fold, optional
        Only drawn, to show where the thresholds come from.
    worst : sequence of mapping
        Records with the largest errors: ``record`` (name), ``signal`` (12, n_samples) in mV,
        ``fs`` in Hz, ``probabilities`` (code to float), ``findings`` (codes predicted), ``true``
        (codes labelled), ``unknown`` (codes without a known label, optional), ``why`` (a sentence).
    context : mapping of str to str
        What a reader must know: run, data, fold, model, commit.
    rule : str
        Threshold rule of the headline.
    tables : sequence of mapping
        Further sections: ``title``, ``about`` (a sentence), ``head`` (words), ``rows`` (lists of
        words and numbers).
    details : sequence of FindingDetails
        Of every finding, or empty: then the section of details is left out.
    model_simulated : bool
        The model was trained on simulated ECGs only.

    Raises
    ------
    ValueError
        If rows, codes, names and columns are not equally many, or the rule has no thresholds.
    """

    title: str
    scores: Mapping[str, float]
    rows: Sequence[Mapping[str, float]]
    codes: Sequence[str]
    names: Sequence[str]
    y_true: np.ndarray
    y_prob: np.ndarray
    thresholds: Mapping[str, ArrayLike]
    context: Mapping[str, str]
    tune: tuple[ArrayLike, ArrayLike] | None = None
    worst: Sequence[Mapping[str, Any]] = ()
    rule: str = DEFAULT_RULE
    tables: Sequence[Mapping[str, Any]] = ()
    details: Sequence[FindingDetails] = ()
    model_simulated: bool = False

    def __post_init__(self) -> None:
        n_true, n_prob = self.y_true.shape[1], self.y_prob.shape[1]
        if len({len(self.rows), len(self.codes), len(self.names), n_true, n_prob}) > 1:
            raise ValueError(
                f"expected one row, code, name and column per finding, got {len(self.rows)} rows, "
                f"{len(self.codes)} codes, {len(self.names)} names, {n_true} and {n_prob} columns"
            )
        if self.rule not in self.thresholds:
            known = ", ".join(self.thresholds)
            raise ValueError(f"threshold rule {self.rule}: expected one of {known}")


def write_fold_report(path: str | Path, report: FoldReport) -> None:
    """Write the report of a fold: one HTML file with everything in it, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with with_all_letters():
        figures = _figures(report)
    page = load_template("fold_report.html.j2").render(
        title=report.title,
        headline=_headline(report.scores, report.rule),
        headline_text=HEADLINE_TEXT.replace("`", ""),
        scores=report.scores,
        rows=[
            {"code": code, "name": name, **row}
            for code, name, row in zip(report.codes, report.names, report.rows, strict=True)
        ],
        rules={rule: RULES[rule] for rule in RULES if rule in report.thresholds},
        rule=report.rule,
        figures=figures,
        cases=_cases(report),
        context=report.context,
        model_simulated=report.model_simulated,
        tables=report.tables,
        details={details.code: details for details in report.details},
    )
    write_file(Path(path), page)


def _figures(report: FoldReport) -> dict[str, dict[str, str]]:
    """Draw the figures of the page."""
    y_true, y_prob, codes = report.y_true, report.y_prob, report.codes
    thresholds = report.thresholds[report.rule]
    figures = {
        "rules": (charts.rules_figure(report.scores), "F1 by threshold rule"),
        "f1": (charts.f1_figure(report.rows, codes, report.rule), "F1 of each finding"),
        "pr": (charts.pr_figure(y_true, y_prob, codes, thresholds), "Precision and recall"),
        "reliability": (charts.reliability_figure(y_true, y_prob), "Reliability diagram"),
        "finding_reliability": (
            charts.finding_reliability_figure(y_true, y_prob, codes),
            "Reliability of each finding",
        ),
        "decision": (charts.decision_figure(y_true, y_prob, codes), "Decision curves"),
    }
    if report.tune is not None:
        figure = charts.threshold_figure(*report.tune, codes, report.thresholds)
        figures["thresholds"] = (figure, "F1 against threshold")
    return {name: inline_figure(figure, "png", alt) for name, (figure, alt) in figures.items()}


def _cases(report: FoldReport) -> list[dict[str, Any]]:
    """Draw the records with the largest errors."""
    name_of = dict(zip(report.codes, report.names, strict=True))
    return [
        {
            "record": case["record"],
            "why": case["why"],
            "verdicts": _verdicts(case, name_of),
            "figure": inline_figure(
                ecg_figure(case["signal"], case["fs"], title=f"Record {case['record']}"),
                "svg",
                f"12-lead ECG of record {case['record']}",
            ),
        }
        for case in report.worst
    ]
