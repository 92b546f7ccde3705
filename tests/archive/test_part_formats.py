"""Parts: the three formats hold the same rows, and joined they are those of all parts."""

import csv
import json

import pandas as pd
import pytest

from ecg_siglip.archive.part_formats import Csv, JsonLines, Parquet
from ecg_siglip.archive.rows import error_row, table_columns

CODES = ("AFIB", "LAO/LAE")
COLUMNS = table_columns(CODES, "window", measured=False)
FORMS = (Parquet(COLUMNS), Csv(COLUMNS), JsonLines())


def row(record, window=None):
    """A row as the model gives it."""
    return {
        "schema_version": 1,
        "record": record,
        "status": "predicted",
        "reason": None,
        "window": window,
        "model": "m",
        "model_simulated": False,
        "findings": [{"code": "AFIB", "name": "atrial fibrillation", "probability": 0.1 + 0.2}],
        "not_excluded": ["AFIB", "LAO/LAE"],
        "not_assessable": [],
        "probabilities": {"AFIB": 0.123456, "LAO/LAE": None},
        "warnings": ["noise in V1, V2 (0.1 mV)", 'a "warning"\nof two lines'],
    }


ROWS = [row("ä, b", 0), row("ä, b", 1), error_row("x\udcff", "record x\udcff: damaged"), row("c")]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.suffix)
def test_joined_parts_are_the_rows_of_one_part(form, tmp_path):
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    form.write(whole, ROWS)
    for i, part in enumerate((ROWS[:2], [], ROWS[2:])):
        form.write(tmp_path / str(i), part)
    form.join([tmp_path / str(i) for i in range(3)], joined)
    if form.suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(joined), pd.read_parquet(whole))
    else:
        assert joined.read_bytes() == whole.read_bytes()
    assert form.counts(joined) == {"predicted": 2, "unreadable": 1}


def test_the_formats_hold_the_same(tmp_path):
    for form in FORMS:
        form.write(tmp_path / f"x{form.suffix}", ROWS)
    frame = pd.read_parquet(tmp_path / "x.parquet")
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    lines = [
        json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    assert len(frame) == len(cells) == len(lines) == len(ROWS)
    assert lines == ROWS
    assert frame["record"].tolist() == [each["record"] for each in cells]
    assert frame["record"][2] == r"x\udcff"  # a byte that is not UTF-8
    assert cells[0]["findings"] == "AFIB" and cells[0]["not_excluded"] == "AFIB; LAO/LAE"
    assert frame["not_excluded"][0].tolist() == ["AFIB", "LAO/LAE"]
    assert float(cells[0]["probability/AFIB"]) == frame["probability/AFIB"][0] == 0.123456
    assert cells[0]["probability/LAO/LAE"] == "" and pd.isna(frame["probability/LAO/LAE"][0])
    assert json.loads(cells[0]["details"]) == json.loads(frame["details"][0])
