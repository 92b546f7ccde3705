"""One finding at a time, for the report of a fold: its curves, its errors, records to look at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from ecg_siglip.reporting import charts

N_EXAMPLES = 3  # of each kind
N_POINTS = 80  # of a curve: more cannot be seen at this size
SIZE = 100  # of a panel, in the units of its drawing


@dataclass(frozen=True)
class ExampleRecord:
    """A record to look at."""

    record: str
    probability: float


@dataclass(frozen=True)
class FindingDetails:
    """What is said of a finding.

    Attributes
    ----------
    code : str
    roc, pr : str
        Points of the curves, ``x,y x,y ...``, from the upper left of a panel of ``SIZE``; empty
        where there is no curve.
    roc_at, pr_at : (x, y) or None
        Where the threshold of the report's rule lies on them.
    bins : list of (x, y, low, high)
        Of the reliability diagram: mean probability, observed frequency, its 95 % interval.
    counts : mapping of rule to dict
        ``threshold``, and ``tp``, ``fp``, ``fn``, ``tn``: records called rightly and wrongly,
        missed, and rightly not called.
    found, false, missed : list of Example
        Most confident true and false positives, least confident of those that have it.
    command : str
        What draws the sheets of these records; empty without any.
    """

    code: str
    roc: str
    pr: str
    roc_at: tuple[float, float] | None
    pr_at: tuple[float, float] | None
    bins: list[tuple[float, float, float, float]]
    counts: Mapping[str, Mapping[str, float]]
    found: list[ExampleRecord]
    false: list[ExampleRecord]
    missed: list[ExampleRecord]
    command: str


def finding_details(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    codes: Sequence[str],
    thresholds: Mapping[str, ArrayLike],
    rule: str,
    records: Sequence[Any],
    paths: Sequence[Any],
    command: str,
) -> list[FindingDetails]:
    """Every finding in detail.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    codes : sequence of str, length n_findings
    thresholds : mapping of rule to array of shape (n_findings,)
    rule : str
        Which of them decides what is called.
    records, paths : sequences of length n_records
        Their names for the reader, and where they lie.
    command : str
        What answers for a record, without ``records=``.

    Returns
    -------
    list of Drill, in the order of ``codes``
    """
    truth_NF, p_NF = np.asarray(y_true, bool), np.asarray(y_prob, float)
    found = []
    for f, code in enumerate(codes):
        truth, p = truth_NF[:, f], p_NF[:, f]
        counts = {r: _counts(truth, p, float(np.asarray(t)[f])) for r, t in thresholds.items()}
        called = p >= counts[rule]["threshold"]
        right, wrong = _examples(called & truth, -p), _examples(called & ~truth, -p)
        missed = _examples(~called & truth, p)
        shown = [str(paths[i]) for i in (*right, *wrong, *missed)]
        roc, pr, bins = _curves(truth, p)
        tp, fp, fn, tn = (counts[rule][key] for key in ("tp", "fp", "fn", "tn"))
        found.append(
            FindingDetails(
                code,
                roc,
                pr,
                _place(fp / (fp + tn), tp / (tp + fn)) if roc else None,
                _place(tp / (tp + fn), tp / (tp + fp)) if pr and tp + fp else None,
                bins,
                counts,
                [ExampleRecord(str(records[i]), float(p[i])) for i in right],
                [ExampleRecord(str(records[i]), float(p[i])) for i in wrong],
                [ExampleRecord(str(records[i]), float(p[i])) for i in missed],
                report_command(shown, code, command) if shown else "",
            )
        )
    return found


def report_command(paths: Sequence[str], code: str, command: str) -> str:
    """The command that draws the sheets of these records, for a shell.

    Examples
    --------
    >>> print(report_command(["a/1_lr", "b c/2_lr"], "LAO/LAE", "predict run.name=r1"))
    predict run.name=r1 'records=[a/1_lr,"b c/2_lr"]' report=LAO_LAE.html
    """
    words = [
        path if re.fullmatch(r"[\w./-]+", path, re.ASCII) else '"' + path.replace('"', '\\"') + '"'
        for path in paths
    ]
    name = re.sub(r"\W", "_", code)
    return f"{command} {shlex.quote('records=[' + ','.join(words) + ']')} report={name}.html"


def _counts(truth: NDArray, p: NDArray, threshold: float) -> dict[str, float]:
    called = p >= threshold
    return {
        "threshold": threshold,
        "tp": int((called & truth).sum()),
        "fp": int((called & ~truth).sum()),
        "fn": int((~called & truth).sum()),
        "tn": int((~called & ~truth).sum()),
    }


def _examples(among: NDArray, order: NDArray) -> list[int]:
    """The first few of some records, by an order."""
    rows = np.flatnonzero(among)
    return [int(i) for i in rows[np.argsort(order[rows], kind="stable")][:N_EXAMPLES]]


def _curves(truth: NDArray, p: NDArray) -> tuple[str, str, list[tuple[float, float, float, float]]]:
    """ROC and precision-recall curve as points, and the bins of the reliability diagram."""
    if truth.all() or not truth.any():
        return "", "", []
    false_rate, true_rate, _ = roc_curve(truth, p)
    precision, recall, _ = precision_recall_curve(truth, p)
    n_bins = int(np.clip(truth.sum() // 5, 1, 6))
    inner = np.quantile(p[truth], np.linspace(0, 1, n_bins + 1)[1:-1])
    edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    said, seen, low, high, _ = charts.binned(truth.astype(float), p, edges)
    bins = [
        (_x(x), _y(y), _y(lower), _y(upper))
        for x, y, lower, upper in zip(said, seen, low, high, strict=True)
    ]
    return _points(false_rate, true_rate), _points(recall[::-1], precision[::-1]), bins


def _points(x: NDArray, y: NDArray) -> str:
    """A curve as text, with no more points than can be seen."""
    # Evenly along the curve's length, not its samples: both ends and every corner stay.
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], N_POINTS)))
    kept = np.unique(np.concatenate([kept, [0, len(x) - 1]]).clip(max=len(x) - 1))
    return " ".join(f"{_x(a):g},{_y(b):g}" for a, b in zip(x[kept], y[kept], strict=True))


def _place(x: float, y: float) -> tuple[float, float]:
    return _x(x), _y(y)


def _x(share: float) -> float:
    return round(SIZE * float(share), 1)


def _y(share: float) -> float:
    return round(SIZE * (1 - min(max(float(share), 0.0), 1.0)), 1)
