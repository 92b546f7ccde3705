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
from ecg_siglip.simulation.device_files import muse_xml


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


def test_a_helper_reads_text_of_limited_size_itself(monkeypatch: pytest.MonkeyPatch):
    def is_started(*_: object) -> bytes:
        raise ChildProcessError("another process was started")

    content = muse_xml(ecg(500), 1, "1", 60.0, True)
    expected = run_isolated(b"xml", content)
    with pytest.raises(ValueError, match="Rhythm") as error:
        run_isolated(b"xml", b"<RestingECG/>")
    monkeypatch.setattr(isolated.HELPER, "request", is_started)
    monkeypatch.setattr(isolated, "is_helper", lambda: True)
    stated = run_isolated(b"xml", content)
    for one, other in zip(stated.channels, expected.channels, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one._replace(samples=None) == other._replace(samples=None)
    assert (stated.identity, stated.device) == (expected.identity, expected.device)
    assert [*stated.warnings, *stated.comments] == [*expected.warnings, *expected.comments]
    with pytest.raises(ValueError, match=str(error.value)):
        run_isolated(b"xml", b"<RestingECG/>")
    definition = b"<!DOCTYPE RestingECG [<!ATTLIST b x CDATA 'long'>]>"
    others = [(b"xml", definition + content), (b"mat", b""), (b"xml", content + bytes(1 << 22))]
    for kind, other in others:
        with pytest.raises(ValueError, match="another process was started"):
            run_isolated(kind, other)
