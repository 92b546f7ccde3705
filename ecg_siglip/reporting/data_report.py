"""Page of a check of data sets: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ecg_siglip.core.files import write_file
from ecg_siglip.reporting.charts import ACCENT, INK, plain
from ecg_siglip.reporting.html import inline_figure, load_template

MAX_BARS, MAX_CELLS = 100, 40  # findings in the table, and in the maps
MAX_VALUES = 12  # sampling rates or durations


def write_data_report(path: str | Path, check: Mapping[str, Any]) -> None:
    """Write the page of a check, whole or not at all.

    Parameters
    ----------
    path : path
    check : mapping
        Content of check.json, see docs/reference/check-output.md.

    Raises
    ------
    OSError
        If the file cannot be written.

    Notes
    -----
    Whatever contains codes or names is drawn by the browser, which has the fonts of all languages.
    """
    stated = [each for each in check["findings"] if each["n_positive"]]
    stated.sort(key=lambda each: -each["n_positive"])
    files = check["files"]
    figures = {}
    if files and files["formats"]:
        figures["amplitudes"] = (_amplitude_figure(files), "Amplitudes")
        figures["fs"] = (_bars(files["fs"], "sampling rate, Hz"), "Sampling rates")
        figures["durations"] = (_bars(files["duration_s"], "length, s"), "Lengths")
    page = load_template("data_report.html.j2").render(
        title="Data check",
        check=check,
        records=check["records"],
        files=files,
        stated=stated,
        shown=stated[:MAX_BARS],
        largest=max((each["prevalence"] or 0 for each in stated), default=1) or 1,
        together=_together(check, [each["code"] for each in stated[:MAX_CELLS]]),
        folds=_folds(check, stated[:MAX_CELLS]),
        figures={
            name: inline_figure(figure, "png", alt) for name, (figure, alt) in figures.items()
        },
    )
    write_file(Path(path), page)


def _together(check: Mapping[str, Any], codes: list[str]) -> dict[str, Any]:
    """Return the map of co-occurrence: the share of records with one finding that have another."""
    n = np.array(check["co_occurrence"]["n"], np.int64).reshape(
        -1, len(check["co_occurrence"]["codes"])
    )
    order = [check["co_occurrence"]["codes"].index(code) for code in codes]
    n = n[np.ix_(order, order)]
    share = n / np.maximum(np.diag(n)[:, None], 1) if len(n) else n
    cells = [
        {"x": x, "y": y, "n": int(n[y, x]), "share": round(float(share[y, x]), 3)}
        for y in range(len(codes))
        for x in range(len(codes))
        if x != y and n[y, x]
    ]
    return {"codes": codes, "cells": cells}


def _folds(check: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return records and findings by fold; each shade is relative to the largest in its row."""
    rows = [("records", [fold["n_records"] for fold in check["folds"]])]
    rows += [("patients", [fold["n_patients"] for fold in check["folds"]])]
    rows += [(each["code"], each["by_fold"]) for each in findings]
    return [
        {
            "name": name,
            "cells": [{"n": n, "share": round(n / max(1, *counts), 3)} for n in counts],
        }
        for name, counts in rows
    ]


def _amplitude_figure(files: Mapping[str, Any]) -> Figure:
    """Draw how many files have which amplitude."""
    edges = np.array(files["amplitude_histogram"]["edges_mv"])
    n = np.array(files["amplitude_histogram"]["n"])
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(0.1, 5, color=ACCENT, alpha=0.08, lw=0)
    ax.bar(edges[:-1], n, np.diff(edges), align="edge", color=ACCENT, lw=0)
    used = np.flatnonzero(n)
    ax.set(
        xscale="log",
        xlim=(min(0.05, edges[used[0]]), max(10, edges[used[-1] + 1])),
        xlabel="amplitude of a typical lead, mV",
        ylabel="files",
    )
    plain(ax)
    return figure


def _bars(counts: Mapping[str, int], label: str) -> Figure:
    """Draw how many files have each of the most frequent values."""
    items = sorted(list(counts.items())[:MAX_VALUES], key=lambda item: float(item[0]))
    figure = Figure(figsize=(4.6, 0.9 + 0.24 * len(items)), layout="constrained")
    ax = figure.subplots()
    ax.barh(range(len(items)), [n for _, n in items], color=ACCENT, height=0.7)
    for y, (_, n) in enumerate(items):
        ax.text(n, y, f" {n:,}", va="center", fontsize=8, color=INK)
    ax.set_yticks(range(len(items)), [name for name, _ in items])
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set(xlabel="files", ylabel=label)
    plain(ax)
    return figure
