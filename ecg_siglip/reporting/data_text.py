"""Summary of a check of data sets as text that fits a screen."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
MAX_LINES = 3  # of one issue
N_FINDINGS = 10


def data_text(check: Mapping[str, Any]) -> str:
    """Return the summary of a check: what it is, problems first, then what is there.

    Parameters
    ----------
    check : mapping
        Content of check.json.
    """
    records = check["records"]
    stated = [each for each in check["findings"] if each["n_positive"]]
    places = [f"{each['name']}: {each['where']}" for each in check["sources"]]
    lines = [
        *(places if len(places) > 1 else [check["sources"][0]["where"]]),
        f"{records['n_records']:,} records of {records['n_patients']:,} patients, "
        f"{len(stated):,} of {len(check['findings']):,} findings present; "
        f"{_number(check['n_errors'], 'error')}, {_number(check['n_warnings'], 'warning')}",
    ]
    for level, title in (("error", "ERRORS (training stops)"), ("warning", "WARNINGS")):
        issues = [issue for issue in check["issues"] if issue["level"] == level]
        if issues:
            lines += ["", title, *(line for issue in issues for line in _issue_lines(issue, check))]
    lines += ["", *_finding_lines(stated, records["n_records"])] if stated else []
    lines += ["", *_fold_lines(check), *_file_lines(check["files"])]
    return "\n".join(lines)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _issue_lines(issue: Mapping[str, Any], check: Mapping[str, Any]) -> list[str]:
    """Return an issue in a few lines."""
    source = f"{issue['source']}: " if len(check["sources"]) > 1 and issue["source"] else ""
    text = f"{issue['n']:,} x {source}{issue['kind']}: {issue['message']}"
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="      ", max_lines=MAX_LINES,
        placeholder=" ...", break_on_hyphens=False,
    )  # fmt: skip


def _finding_lines(stated: Sequence[Mapping[str, Any]], n_records: int) -> list[str]:
    """Return the most frequent findings as a table."""
    top = sorted(stated, key=lambda each: -each["n_positive"])[:N_FINDINGS]
    width = max(8, *(len(each["code"]) for each in top))
    width = min(width, 24)
    rows = [f"  {'FINDING':{width}}  {'records':>9}  {'share':>7}  {'unknown':>7}  name"]
    rows += [
        f"  {each['code'][:width]:{width}}  {each['n_positive']:>9,}  "
        f"{each['prevalence'] or 0:>7.1%}  {each['n_unknown'] / n_records:>7.0%}  "
        f"{each['name'][:48]}"
        for each in top
    ]
    if len(stated) > len(top):
        rows.append(f"  and {len(stated) - len(top):,} more")
    return rows


def _fold_lines(check: Mapping[str, Any]) -> list[str]:
    """Return how the records are divided."""
    n_of = {
        use: sum(fold["n_records"] for fold in check["folds"] if fold["use"] == use)
        for use in ("training", "tuning", "other")
    }
    made = [each["name"] for each in check["sources"] if not each["has_folds"]]
    how = " (made here: there is no column fold)" if made else ""
    uses = ", ".join(f"{n:,} for {use}" for use, n in n_of.items() if use != "other")
    return [f"Folds{how}: {uses}, {n_of['other']:,} in other folds"]


def _file_lines(files: Mapping[str, Any] | None) -> list[str]:
    """Return what is in the files."""
    if files is None:
        return ["Files: not opened"]
    if not files["formats"]:
        return [f"Files: none of {files['n_opened']:,} can be read"]

    def listed(counts: Mapping[str, int], unit: str = "") -> str:
        some = [f"{name}{unit} ({n:,})" for name, n in list(counts.items())[:4]]
        return ", ".join(some) + (", ..." if len(counts) > 4 else "")

    mv = files["amplitude_mv"]
    return [
        f"Files: {files['n_usable']:,} of {files['n_opened']:,} usable; {listed(files['formats'])}",
        f"       {listed(files['fs'], ' Hz')}; {listed(files['duration_s'], ' s')}",
        f"       amplitude of a typical lead {mv['p50']:.3g} mV (99 %: {mv['p1']:.3g} to "
        f"{mv['p99']:.3g} mV)",
    ]
