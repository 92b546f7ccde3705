"""Details of each finding for the report of a fold: its curves, its errors, example records."""

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
    """Curves, counts and example records of one finding.

    Attributes
    ----------
    code : str
    roc, pr : str
        Points of the curves, ``x,y x,y ...``, from the upper left of a panel of ``SIZE``; empty
        where there is no curve.
    roc_at, pr_at : (x, y) or None
        Position of the threshold of the report's rule on them.
    bins : list of (x, y, low, high)
        Of the reliability diagram: mean probability, observed frequency, its 95 % interval.
    counts : mapping of rule to dict
        ``threshold``, and the numbers of true and false positives and negatives ``tp``, ``fp``,
        ``fn``, ``tn``.
    true_positives, false_positives, missed : list of ExampleRecord
        True and false positives with the highest, missed positives with the lowest probability.
    command : str
        Command that writes the reports of these records; empty if there are none.
    """

    code: str
    roc: str
    pr: str
    roc_at: tuple[float, float] | None
    pr_at: tuple[float, float] | None
    bins: list[tuple[float, float, float, float]]
    counts: Mapping[str, Mapping[str, float]]
    true_positives: list[ExampleRecord]
    false_positives: list[ExampleRecord]
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
    """Compute the details of every finding.

    Parameters
    ----------
    y_true : array of shape (n_records, n_findings), bool, or float with NaN where unknown
        Each finding is shown with the records whose label is known.
    y_prob : array of shape (n_records, n_findings), float in [0, 1]
    codes : sequence of str, length n_findings
    thresholds : mapping of rule to array of shape (n_findings,)
    rule : str
        The rule by which a finding is present.
    records, paths : sequences of length n_records
        Names of the records for the reader, and their paths.
    command : str
        Command that predicts a record, without ``records=``.

    Returns
    -------
    list of FindingDetails, in the order of ``codes``
    """
    details = []
    for f, code in enumerate(codes):
        y, p, rows = charts.known_records(y_true, y_prob, f)
        counts = {r: _counts(y, p, float(np.asarray(t)[f])) for r, t in thresholds.items()}
        y_pred = p >= counts[rule]["threshold"]
        right, wrong = _examples(y_pred & y, -p), _examples(y_pred & ~y, -p)
        missed = _examples(~y_pred & y, p)
        shown = [str(paths[rows[i]]) for i in (*right, *wrong, *missed)]
        roc, pr, bins = _curves(y, p)
        tp, fp, fn, tn = (counts[rule][key] for key in ("tp", "fp", "fn", "tn"))
        details.append(
            FindingDetails(
                code,
                roc,
                pr,
                (_x(fp / (fp + tn)), _y(tp / (tp + fn))) if roc else None,
                (_x(tp / (tp + fn)), _y(tp / (tp + fp))) if pr and tp + fp else None,
                bins,
                counts,
                [ExampleRecord(str(records[rows[i]]), float(p[i])) for i in right],
                [ExampleRecord(str(records[rows[i]]), float(p[i])) for i in wrong],
                [ExampleRecord(str(records[rows[i]]), float(p[i])) for i in missed],
                report_command(shown, code, command) if shown else "",
            )
        )
    return details


def report_command(paths: Sequence[str], code: str, command: str) -> str:
    """Return the shell command that writes the reports of these records.

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


def _counts(y: NDArray, p: NDArray, threshold: float) -> dict[str, float]:
    y_pred = p >= threshold
    return {
        "threshold": threshold,
        "tp": int((y_pred & y).sum()),
        "fp": int((y_pred & ~y).sum()),
        "fn": int((~y_pred & y).sum()),
        "tn": int((~y_pred & ~y).sum()),
    }


def _examples(among: NDArray, order: NDArray) -> list[int]:
    """Return the first few of some records, by an order."""
    rows = np.flatnonzero(among)
    return [int(i) for i in rows[np.argsort(order[rows], kind="stable")][:N_EXAMPLES]]


def _curves(y: NDArray, p: NDArray) -> tuple[str, str, list[tuple[float, float, float, float]]]:
    """Return ROC and precision-recall curve as points, and the bins of the reliability diagram."""
    if y.all() or not y.any():
        return "", "", []
    false_rate, true_rate, _ = roc_curve(y, p)
    precision, recall, _ = precision_recall_curve(y, p)
    n_bins = int(np.clip(y.sum() // 5, 1, 6))
    inner = np.quantile(p[y], np.linspace(0, 1, n_bins + 1)[1:-1])
    edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    mean, observed, low, high, _ = charts.binned(y.astype(float), p, edges)
    bins = [
        (_x(x), _y(y), _y(lower), _y(upper))
        for x, y, lower, upper in zip(mean, observed, low, high, strict=True)
    ]
    return _points(false_rate, true_rate), _points(recall[::-1], precision[::-1]), bins


def _points(x: NDArray, y: NDArray) -> str:
    """Return a curve as text, with no more points than can be seen."""
    # Evenly along the curve's length, not its samples: both ends and every corner stay.
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], N_POINTS)))
    chosen = np.unique(np.concatenate([chosen, [0, len(x) - 1]]).clip(max=len(x) - 1))
    return " ".join(f"{_x(a):g},{_y(b):g}" for a, b in zip(x[chosen], y[chosen], strict=True))


def _x(share: float) -> float:
    return round(SIZE * float(share), 1)


def _y(share: float) -> float:
    return round(SIZE * (1 - min(max(float(share), 0.0), 1.0)), 1)
