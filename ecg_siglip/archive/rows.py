"""Rows of an archive job: one per record or window, as JSON objects and as columns of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ecg_siglip.core.files import visible
from ecg_siglip.inference.prediction import Prediction, json_line
from ecg_siglip.inference.timeline import Timeline
from ecg_siglip.signals.measurements import COLUMNS as MEASUREMENT_COLUMNS
from ecg_siglip.signals.measurements import PER_LEAD, UNITS

SCHEMA_VERSION = 1
PREDICTED, UNREADABLE, UNUSABLE_WINDOW = "predicted", "unreadable", "unusable window"
# A JSON object: what ``predict`` prints, with schema_version, status and reason.
Row = dict[str, Any]
# Keys of a row with a column of their own, or with columns for what they contain.
PLAIN = (
    "schema_version", "record", "status", "reason", "window", "start_s", "end_s", "model",
    "model_simulated", "not_excluded", "not_assessable", "warnings", "novelty",
)  # fmt: skip
SURROGATES = re.compile("[\ud800-\udfff]")
IDS = ("patient_id", "record_id", "age", "sex")  # with show_ids


class Column(NamedTuple):
    """A column of a table of rows.

    Attributes
    ----------
    name : str
    kind : {"int", "float", "bool", "text", "texts"}
    doc : str
        What it holds, with its unit.
    """

    name: str
    kind: str
    doc: str


def prediction_rows(prediction: Prediction, model: str, rows: str = "record") -> list[Row]:
    """Return the rows of a record that was predicted.

    Parameters
    ----------
    prediction : Prediction
    model : str
        Its title.
    rows : {"record", "window"}
        window: one row for each window of a long record.
    """
    first: Row = {"schema_version": SCHEMA_VERSION, "record": prediction.record}
    first |= {"status": PREDICTED, "reason": None}
    row = first | prediction.to_dict(model)
    if rows == "record":
        return [row]
    if prediction.timeline is None:
        return [first | {"window": 0, "start_s": None, "end_s": None} | row]
    row.pop("windows", None)
    return _window_rows(row, prediction.timeline, {f.code: f.name for f in prediction.findings})


def _window_rows(row: Row, timeline: Timeline, names: dict[str, str]) -> list[Row]:
    """Return a row per window of a long record, in the order of time.

    Measurements, novelty and similar ECGs are those of the window that represents the record.
    """
    windows = timeline.windows
    of_one = ("measurements", "novelty", "novelty_parts", "similar", "not_excluded", "questions")
    common = {key: value for key, value in row.items() if key not in of_one}
    unassessable = set(row["not_assessable"])
    starts = {start: i for i, start in enumerate(windows.starts_s.tolist())}
    reasons = dict(windows.skipped)
    rows = []
    for number, start in enumerate(sorted([*starts, *reasons])):
        one = common | {"window": number, "start_s": round(start, 3)}
        one["end_s"] = round(start + windows.window_s, 3)
        if start in reasons:
            one |= {"status": UNUSABLE_WINDOW, "reason": reasons[start], "findings": []}
            one["probabilities"] = {}
            rows.append(one)
            continue
        i = starts[start]
        probabilities = {
            code: None if code in unassessable else round(p, 6)
            for code, p in zip(timeline.codes, windows.probabilities[i].tolist(), strict=True)
        }
        present = [c for c, yes in zip(timeline.codes, timeline.present[i], strict=True) if yes]
        present.sort(key=lambda code: -(probabilities[code] or 0.0))
        one["findings"] = [
            {"code": code, "name": names[code], "probability": probabilities[code]}
            for code in present
        ]
        one["probabilities"] = probabilities
        if i == timeline.shown:
            one |= {key: row[key] for key in of_one if key in row}
        rows.append(one)
    return rows


def error_row(record: str, reason: str) -> Row:
    """Return the row of a record that could not be read or used."""
    row: Row = {"schema_version": SCHEMA_VERSION, "record": record, "status": UNREADABLE}
    return row | {"reason": reason}


def count_records(rows: Iterable[tuple[str, int | None]]) -> Counter[str]:
    """Return the number of records that were predicted, and that were unreadable.

    Parameters
    ----------
    rows : iterable of (status, window)
        Of each row; no window: the row is of a record.
    """
    return Counter(
        UNREADABLE if status == UNREADABLE else PREDICTED
        for status, window in rows
        if window in (None, 0)
    )


def table_columns(
    codes: Sequence[str], rows: str = "record", measured: bool = True, show_ids: bool = False
) -> list[Column]:
    """Return the columns of a table of rows.

    Parameters
    ----------
    codes : sequence of str
        Findings of the model.
    rows : {"record", "window"}
    measured, show_ids : bool
        With measurements; with what identifies the patient.
    """
    columns = [
        Column("schema_version", "int", f"Version of these columns: {SCHEMA_VERSION}."),
        Column("record", "text", "Path of the record, as it was given or found."),
        Column(
            "status", "text", f"{PREDICTED} or {UNREADABLE}; of a window also {UNUSABLE_WINDOW}."
        ),
        Column("reason", "text", "Why the record was not predicted; empty otherwise."),
    ]
    if rows == "window":
        columns += [
            Column("window", "int", "Number of the window in the record, from 0."),
            Column("start_s", "float", "Start of the window, s; empty if it is the only one."),
            Column("end_s", "float", "End of the window, s; empty if it is the only one."),
        ]
    columns += [
        Column("model", "text", "Run, version and date of the model."),
        Column("model_simulated", "bool", "The model was trained on simulated ECGs only."),
        Column("recorded_at", "text", "Time of the recording (ISO 8601), as the file states it."),
    ]
    if show_ids:
        columns += [Column(name, "text", "As the file states it.") for name in IDS]
    columns += [
        Column("findings", "texts", "Codes of the findings that are present, likeliest first."),
        Column("not_excluded", "texts", "Codes of the findings that are not excluded."),
        Column("not_assessable", "texts", "Codes whose criteria need leads that are missing."),
        *(
            Column(f"probability/{code}", "float", f"Probability of {code}; empty: not assessable.")
            for code in codes
        ),
        Column("novelty", "float", "How unlike the training ECGs the record is, 0 to 1."),
        Column("warnings", "texts", "What to know about the recording."),
    ]
    if measured:
        columns += [
            Column(name, "float", "Measurement; empty: not measurable.")
            for name in MEASUREMENT_COLUMNS
        ]
    details = "All else that the JSON lines have, as JSON: names, thresholds, device and others."
    return [*columns, Column("details", "text", details)]


def table_row(row: Row, columns: Sequence[Column]) -> list[Any]:
    """Return the cells of a row in the order of the columns; None where it has nothing."""
    cells: dict[str, Any] = {key: row.get(key) for key in PLAIN}
    recording = row.get("recording") or {}
    cells |= {key: recording.get(key) for key in ("recorded_at", *IDS)}
    cells["findings"] = [finding["code"] for finding in row.get("findings", ())]
    cells |= {f"probability/{code}": p for code, p in row.get("probabilities", {}).items()}
    measured = row.get("measurements") or {}
    for name, unit in UNITS.items() if measured else ():
        cells[f"{name} [{unit}]"] = measured[name]["value"]
    for name in PER_LEAD if measured else ():
        for lead, one in measured[name].items():
            cells[f"{name} {lead} [mV]"] = one["value"]
    rest = {
        key: value
        for key, value in row.items()
        if key not in PLAIN and key != "probabilities" and value
    }
    cells["details"] = json_line(rest) if rest else None
    for key in ("record", "reason"):
        # Bytes of a name that are not UTF-8 are visible: a table has text only.
        cells[key] = cells[key] and SURROGATES.sub(lambda match: visible(match[0]), cells[key])
    return [cells.get(column.name) for column in columns]
