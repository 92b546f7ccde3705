"""CSV, TSV, Parquet and NumPy files: the same numbers as written, or an error."""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from writers import (
    FS,
    GIVEN,
    assert_refused,
    csv,
    ecg,
    npy,
    npz,
    parquet,
    prepared_uv,
    tsv,
    write,
)

from ecg_siglip.readers import tabular_formats
from ecg_siglip.readers.folders import find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, lead_name


@pytest.mark.parametrize("fs", [100, 250, 1000])
def test_the_sampling_rate_is_that_of_the_time_column(tmp_path: Path, fs: int):
    uv = ecg(3 * fs, fs)
    table = pd.DataFrame(uv.T, columns=[f"{lead} [uV]" for lead in LEADS])
    table.insert(0, "Time (s)", np.round(np.arange(3 * fs) / fs, 3))
    record = read_record(write(tmp_path, table.to_csv(index=False, sep=";").encode(), "csv"))
    assert record.fs == fs
    np.testing.assert_array_equal(record.signal, (uv / 1000).astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<f4", "<f8"])
def test_numpy_arrays_of_any_layout(tmp_path: Path, order: str, dtype: str):
    for oriented in (ecg(), ecg().T):
        file = io.BytesIO()
        np.save(file, np.array(oriented, dtype, order=order))
        record = read_record(write(tmp_path, file.getvalue()), fs=FS, units="uV", leads=LEADS)
        np.testing.assert_array_equal(prepared_uv(record), ecg())


@pytest.mark.parametrize("name", ["II (mV)", "MLII_mV"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_table_of_a_single_lead(tmp_path: Path, name: str, decimal: str):
    table = pd.DataFrame({name: ecg()[1] / 1000})
    content = b"# fs: 500\n" + table.to_csv(index=False, sep=";", decimal=decimal).encode()
    record = read_record(write(tmp_path, content, "csv"))
    assert find_records(tmp_path) == [str(tmp_path / "rec.csv")]
    assert lead_name(record.leads[0]) == "II"
    np.testing.assert_allclose(record.signal[0], ecg()[1] / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [("II (mV)", "II", "mV"), ("II [uV]", "II", "uV"), ("MLII_mV", "MLII", "mV"), ("V1", "V1", "")],
)
def test_units_in_names_of_columns(column: str, name: str, unit: str):
    assert tabular_formats.split_unit(column) == (name, unit)


@pytest.mark.parametrize(
    ("cell", "is_number"),
    [("1.5", True), ("-1,5", True), ("", True), ("1e-3", True), ("II", False)],
)
def test_cells_that_are_numbers(cell: str, is_number: bool):
    assert tabular_formats.is_number(cell) == is_number


def test_the_first_row_comes_after_comments():
    assert tabular_formats.first_row(b"# fs: 500\n\nI;II\n1;2\n") == ["I", "II"]
    assert tabular_formats.first_row(b"# fs: 500\n") == []


def test_signals_are_oriented_by_the_number_of_leads():
    signal = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(tabular_formats.orient_signal(signal, 2), signal)
    np.testing.assert_array_equal(tabular_formats.orient_signal(signal, 3), signal.T)
    with pytest.raises(ValueError, match="expected 4 leads as named"):
        tabular_formats.orient_signal(signal, 4)


def test_bytes_after_an_array_are_refused(tmp_path: Path):
    assert_refused(write(tmp_path, npy(ecg()) + b"\0" * 24), "bytes", **GIVEN["npy"])


def test_arrays_that_promise_more_than_the_file_has_are_refused(tmp_path: Path):
    header = npy(ecg())[:128].replace(b"(12, 5000)", b"(1200000000, 5000)".ljust(10))
    assert_refused(write(tmp_path, header), "promises 12000000000000 bytes", **GIVEN["npy"])


def test_archives_that_are_large_when_unpacked_are_refused(tmp_path: Path):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("signal.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))
    assert_refused(write(tmp_path, file.getvalue()), "when unpacked, expected at most")


def test_tables_with_too_many_cells_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tabular_formats, "MAX_BYTES", 1 << 18)
    assert_refused(write(tmp_path, csv(ecg())), "more than 32768 cells")
    assert_refused(write(tmp_path, parquet(ecg())), "expected at most 262144")


def test_parquet_of_a_constant_is_small_on_disk_only(tmp_path: Path):
    file, column = io.BytesIO(), pa.array(np.zeros(1 << 20))
    with pq.ParquetWriter(file, pa.schema([("I", pa.float64())]), compression="zstd") as writer:
        for _ in range(33):
            writer.write_table(pa.table({"I": column}))
    assert len(file.getvalue()) < 1 << 18
    assert_refused(write(tmp_path, file.getvalue()), "promises", fs=FS, units="mV")


def test_pickled_arrays_are_not_opened(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (sys.exit, (7,))

    trap = np.array([[Trap()]], dtype=object)
    file = io.BytesIO()
    np.save(file, trap, allow_pickle=True)
    assert_refused(write(tmp_path, file.getvalue()), "array of numbers", **GIVEN["npy"])
    assert_refused(write(tmp_path, npz(ecg(), signal=trap)), "array of numbers")
    assert_refused(write(tmp_path, npz(ecg(), leads=trap)), "array of numbers")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: npz(ecg(), fs=[1, 2]), "expected one number as fs"),
        (lambda: npz(ecg(), fs=1e12), "expected a sampling rate of 50 to 20000 Hz"),
        (lambda: npz(ecg(), fs=np.nan), "expected a sampling rate"),
        (lambda: npz(ecg(), leads=LEADS[:5]), "expected 5 leads as named, got shape (5000, 12)"),
        (lambda: npz(ecg()[:, :12]), "shape (12, 12) does not distinguish leads from samples"),
        (lambda: npz(ecg(), signal=ecg().astype(complex)), "array of numbers"),
        (lambda: npz(ecg(), units=["mV"] * 3), "expected a unit for each of 12 leads, got 3"),
        (lambda: npz(ecg()[:, :0]), "0 s of signal"),
        (lambda: csv(ecg()).replace(b"fs: 500 Hz", b"fs: fast"), "expected a sampling rate in Hz"),
        (lambda: csv(ecg()).replace(b"V6", b"V6 (uV)"), "contradicts the file's unit mV"),
        (lambda: b"# fs: 250\n" + tsv(ecg()), "goes at 500 Hz, but the file states 250"),
        (lambda: csv(ecg()) + b"a,b,c\n", "could not convert"),
        (lambda: tsv(ecg()).replace(b"9998,0", b"99980,0"), "even steps"),
        (lambda: b"I,II\nx,y\n", "could not convert"),
        (lambda: pd.DataFrame(ecg().T).to_csv(index=False).encode(), "numbers the columns"),
        (lambda: b"hello world", "expected a table of up to 1000 columns"),
        (lambda: b"," * 5000 + b"\n1,2\n", "expected a table of up to 1000 columns"),
        (lambda: b"I,a" + b" " * 100_000 + b"b\n1,2\n", "expected a table of up to 1000 columns"),
        (lambda: csv(ecg()) + b"1" + b",1" * 12 + b"\n", "expected 12 columns"),
        (lambda: csv(ecg()).replace(b"V6\n", b"V6,\n").replace(b"\n0", b"\n0,0"), "no name"),
        (lambda: npz(ecg(), leads=np.array(["I"] * 2000)), "expected at most 1000 strings"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)
