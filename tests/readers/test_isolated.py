"""Readers in a process of their own: the same result, the same errors, limited memory and time."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
import scipy.io
from writers import FS, assert_refused, ecg, mat, parquet, write

from ecg_siglip.readers import isolated
from ecg_siglip.readers.isolated import run_isolated
from ecg_siglip.readers.matlab_format import read_mat
from ecg_siglip.readers.parquet_format import read_parquet


@pytest.mark.parametrize(
    ("kind", "same", "content"),
    [
        (b"parquet", read_parquet, parquet(ecg(500))),
        (b"mat", read_mat, mat(ecg(500))),
    ],
)
def test_the_result_is_that_of_the_reader(kind: bytes, same, content: bytes):
    for one, other in zip(
        run_isolated(kind, content).channels, same(content).channels, strict=True
    ):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one._replace(samples=None) == other._replace(samples=None)


def test_errors_are_those_of_the_reader():
    file = io.BytesIO()
    scipy.io.savemat(file, {"text": "Doe"})
    with pytest.raises(ValueError, match="expected an array of samples"):
        run_isolated(b"mat", file.getvalue())
    with pytest.raises(ValueError, match="Parquet magic bytes"):
        run_isolated(b"parquet", parquet(ecg(500))[:-100])


def test_memory_is_limited(tmp_path: Path):
    file = io.BytesIO()
    column = pa.array(np.zeros(300_000_000, np.int8))
    pyarrow.feather.write_feather(
        pa.table({f"c{i}": column for i in range(10)}), file, "zstd", chunksize=300_000_000
    )
    assert len(file.getvalue()) < 1 << 20
    assert_refused(write(tmp_path, file.getvalue()), "Feather", fs=FS, units="mV")


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch):
    isolated.HELPER.close()
    monkeypatch.setattr(isolated.HELPER, "limit_s", 0.01)
    with pytest.raises(ValueError, match="took too long: it is damaged or too large"):
        run_isolated(b"mat", mat(ecg(500)))
    monkeypatch.undo()
    assert len(run_isolated(b"mat", mat(ecg(500))).channels) == 12
