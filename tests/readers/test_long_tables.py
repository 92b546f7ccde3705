"""Tables with one row per sample and lead: the same leads as in a table with a column for each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from writers import FS, assert_refused, ecg, write

from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

N = 300
MV = ecg(N) / 1000
LONG = pd.DataFrame(
    {
        "lead": np.repeat(LEADS, N),
        "sample": np.tile(np.arange(N), 12),
        "time_s": np.tile(np.arange(N) / FS, 12),
        "mV": MV.ravel(),
    }
)
OF_TIME = LONG[["time_s", "lead", "mV"]]
OF_SAMPLES = LONG[["lead", "sample", "mV"]]


def text(table: pd.DataFrame, **options: object) -> bytes:
    return table.to_csv(index=False, **options).encode()


TABLES = {
    "by lead": text(OF_TIME),
    "by time": text(OF_TIME.sort_values("time_s", kind="stable")),
    "in any order": text(OF_TIME.sample(frac=1, random_state=0)),
    "numbers of rows": OF_TIME.to_csv().encode(),
    "decimal commas": text(OF_TIME, sep=";", decimal=","),
    "one record": text(LONG.assign(record="r1")[["record", "lead", "time_s", "mV"]]),
    "another channel": text(pd.concat([OF_TIME, OF_TIME[:50].assign(lead="Resp")])),
    "samples and a rate": text(OF_SAMPLES.assign(fs=FS)),
    "no time": b"# fs: 500\n" + text(LONG[["lead", "mV"]]),
    "unit in a column": text(OF_TIME.assign(unit="mV").rename(columns={"mV": "value"})),
    "unit in a name": text(OF_TIME.assign(mV=1000 * OF_TIME.mV).rename(columns={"mV": "ecg_uV"})),
    "remarks": text(OF_TIME.assign(note=["beat", *[""] * (12 * N - 1)])),
    "dates": text(
        OF_TIME.assign(time_s=pd.Timestamp("2024-01-01") + pd.to_timedelta(OF_TIME.time_s, "s"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_leads_of_a_long_table(tmp_path: Path, name: str):
    path = write(tmp_path, TABLES[name], "csv")
    record = read_record(path)
    assert is_record(path)
    assert record.fs == FS
    assert sorted(record.leads) == sorted(LEADS)
    signal = [record.signal[record.leads.index(lead)] for lead in LEADS]
    np.testing.assert_allclose(signal, MV, atol=1e-6)


def test_an_empty_cell_is_an_invalid_sample(tmp_path: Path):
    table = OF_TIME.assign(mV=OF_TIME.mV.where(OF_TIME.index != N + 7))
    record = read_record(write(tmp_path, text(table)))
    assert np.argwhere(np.isnan(record.signal)).tolist() == [[1, 7]]


def test_a_column_that_names_the_only_lead(tmp_path: Path):
    record = read_record(write(tmp_path, text(OF_TIME[OF_TIME.lead == "II"])))
    assert (record.leads, record.fs) == (("II",), FS)
    np.testing.assert_allclose(record.signal, MV[1:2], atol=1e-6)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.concat([OF_TIME.assign(record=r) for r in ("a", "b")]), "column record has several"),
        (pd.concat([OF_TIME.assign(record=r) for r in (1, 2)]), "column record has several"),
        (pd.concat([OF_TIME.assign(x=r) for r in (1, 2)]), "columns time_s, mV, x for 12 leads"),
        (pd.concat([OF_TIME, OF_TIME]), "times that each lead has once"),
        (OF_TIME[:-10], "times that each lead has once"),
        (OF_TIME.drop(index=700), "times that each lead has once"),
        (OF_TIME.assign(filtered=0.5 * OF_TIME.mV), "columns mV, filtered for 12 leads"),
        (LONG[["time_s", "lead"]], "columns (none)"),
        (OF_TIME.assign(gain=200), "a gain of 200 and the unit mV"),
        (OF_TIME.assign(fs=250), "goes at 500 Hz, but the file states 250"),
    ],
)
def test_what_is_not_one_recording_is_refused(tmp_path: Path, table: pd.DataFrame, message: str):
    assert_refused(write(tmp_path, text(table), "csv"), message)


def test_leads_with_the_same_number_of_times_in_other_rows(tmp_path: Path):
    table = OF_TIME.copy()
    # Lead I has two rows of one time and none of another, lead II the other way round.
    table.loc[5, "time_s"], table.loc[N + 6, "time_s"] = 6 / FS, 5 / FS
    assert_refused(write(tmp_path, text(table)), "leads have different times in column time_s")
