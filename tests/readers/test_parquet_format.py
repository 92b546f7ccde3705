"""Parquet and Feather: columns and lists of samples, limited before they are unpacked."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from writers import FS, assert_refused, ecg, prepared_uv, write

from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

COLUMNS = {f"{lead}_uV": row for lead, row in zip(LEADS, ecg(), strict=True)}


def saved(columns: dict, **metadata: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
    return file.getvalue()


def feather(columns: dict, **metadata: str) -> bytes:
    file = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata(metadata)
    pyarrow.feather.write_feather(table, file, compression="zstd")
    return file.getvalue()


@pytest.mark.parametrize("writer", [saved, feather])
@pytest.mark.parametrize(
    "more",
    [
        {"note": ["x"] * 5000},
        {"ok": [True] * 5000},
        {"none": pa.nulls(5000)},
        {"time": pa.array(np.arange(5000) * 2_000_000, pa.timestamp("ns"))},
        {"timestamp": pa.array(np.arange(5000) * 2000, pa.duration("us"))},
        {"time (s)": np.arange(5000) / FS},
        {"index": np.arange(5000)},
    ],
)
def test_columns_of_time_and_words(tmp_path: Path, writer, more: dict):
    stated = {} if "time" in next(iter(more)) else {"fs": str(FS)}
    path = write(tmp_path, writer(more | COLUMNS, **stated))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
    assert is_record(path)


@pytest.mark.parametrize("kind", [pa.list_(pa.int16()), pa.large_list(pa.float64())])
def test_lists_of_samples(tmp_path: Path, kind: pa.DataType):
    samples = pa.array(list(ecg()), kind)
    content = saved({"lead": LEADS, "samples": samples}, fs=str(FS), units="uV")
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())
    one_row = {lead: pa.array([row], kind) for lead, row in zip(LEADS, ecg(), strict=True)}
    content = saved(one_row | {"patient": ["x"]}, fs=str(FS), units="uV")
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())
    several = saved({"patient": ["a", "b"], "ecg": pa.array(list(ecg()[:2]), kind)})
    assert_refused(write(tmp_path, several), "2 recordings in one file")


def test_a_size_of_a_step_is_refused_or_given(tmp_path: Path):
    counts, stated = 2 * ecg(), {"fs": str(FS), "units": "uV"}
    lists = {"lead": LEADS, "samples": list(counts)}
    columns = dict(zip(LEADS, counts, strict=True))
    for content in (
        saved(columns, **stated, sensitivity="0.5 uV/bit", original_sampling_rate="1000 Hz"),
        saved(columns, **stated, lsb_uv="0.5"),
        saved(lists, **stated, lsb_uv="0.5"),
        saved(lists | {"gain": [2] * 12, "fs": [FS] * 12, "unit": ["uV"] * 12}),
    ):
        path = write(tmp_path, content)
        assert_refused(path, "and the unit uV: it is not clear", "read.gain=")
        np.testing.assert_array_equal(prepared_uv(read_record(path, gain=2000)), ecg())


def test_a_constant_is_small_on_disk_only(tmp_path: Path):
    file, column = io.BytesIO(), pa.array(np.zeros(1 << 20))
    with pq.ParquetWriter(file, pa.schema([("I", pa.float64())]), compression="zstd") as writer:
        for _ in range(33):
            writer.write_table(pa.table({"I": column}))
    assert len(file.getvalue()) < 1 << 18
    assert_refused(write(tmp_path, file.getvalue()), "too large", fs=FS, units="mV")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"I": ["x"] * 100, "II": np.arange(100.0)}, "expected numbers, got string in column I"),
        ({"note": ["x"] * 100}, "expected channels with signals, got none"),
        ({"time (s)": np.r_[0:50, 90:140] / FS, **{"I": np.zeros(100)}}, "gap of"),
        ({str(i): [1.0] for i in range(1001)}, "expected at most 1000 columns"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, columns: dict, message: str):
    for writer in (saved, feather):
        assert_refused(write(tmp_path, writer(columns)), message, fs=FS, units="mV")
