"""MATLAB files without a WFDB header: matrices and structures of numbers, nothing else."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers import SHARED, write_challenge_record
from writers import FS, GIVEN, assert_refused, ecg, mat, prepared_uv, write

from ecg_siglip.readers import matlab_format
from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.folders import find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

CASE = SHARED / "cases" / "tables" / "val_only.mat"


def saved(version: str = "5", **variables: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables, format=version, do_compression=version == "5")
    return file.getvalue()


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("name", ["val", "data", "anything"])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_matrices_of_any_version_and_type(tmp_path: Path, version: str, name: str, dtype: str):
    content = saved(version, **{name: ecg().astype(dtype)})
    record = read_record(write(tmp_path, content, "mat"), **GIVEN["mat"])
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_what_variables_state(tmp_path: Path):
    content = saved(ecg=ecg().T, fs=FS, units="uV", leads=list(LEADS), note="Doe", age=50)
    record = read_record(write(tmp_path, content, "mat"))
    np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_a_gain_next_to_a_unit_is_refused(tmp_path: Path):
    stated = {"ecg": ecg().T, "fs": FS, "units": "mV", "leads": list(LEADS), "gain": 1000.0}
    for content in (saved(**stated), saved(record=stated)):
        assert_refused(write(tmp_path, content, "mat"), "a gain of 1000.0 and the unit mV")


def test_a_size_of_a_step_by_any_name_is_refused_or_given(tmp_path: Path):
    stated = {"ecg": 2 * ecg().T, "fs": FS, "units": "uV", "leads": list(LEADS), "origfs": 1000}
    for scale in ({"uV_per_bit": 0.5}, {"sensitivity": "0.5 uV/bit"}):
        for content in (saved(**stated, **scale), saved(record=stated | scale)):
            path = write(tmp_path, content, "mat")
            assert_refused(path, "and the unit uV: it is not clear", "read.gain=")
            np.testing.assert_array_equal(prepared_uv(read_record(path, gain=2000)), ecg())


def test_the_matrix_in_a_structure(tmp_path: Path):
    content = saved(ECG={"sex": "Male", "age": 50, "data": ecg()})
    path = write(tmp_path, content, "mat")
    record = read_record(path, **GIVEN["mat"])
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert is_record(path)


@pytest.mark.parametrize("key", ["leads", "lead_order", "channels", "labels"])
@pytest.mark.parametrize(
    "names", [np.array(LEADS, object), np.array(LEADS), ",".join(LEADS), " ".join(LEADS)]
)
def test_names_of_leads_are_cells_or_characters(tmp_path: Path, key: str, names: object):
    variables = {"signal": ecg(), "fs": FS, "units": np.array(["uV"], object), key: names}
    for content in (saved(**variables), saved(ECG=variables)):
        path = write(tmp_path, content, "mat")
        np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
        assert_refused(path, "contradicts read.leads", leads=LEADS[::-1])


def test_cells_and_labels_that_are_no_names_of_leads(tmp_path: Path):
    for labels in (np.array([1, "a"], object), np.array(["NORM"], object), np.arange(3), "NORM"):
        path = write(tmp_path, saved(val=ecg(), labels=labels), "mat")
        np.testing.assert_array_equal(prepared_uv(read_record(path, **GIVEN["mat"])), ecg())


def test_what_a_matrix_does_not_state_has_to_be_given(tmp_path: Path):
    path = write(tmp_path, mat(ecg()), "mat")
    for key, word in (("fs", "read.fs"), ("gain", "read.gain"), ("leads", "read.leads")):
        given = {name: value for name, value in GIVEN["mat"].items() if name != key}
        assert_refused(path, word, **given)


def test_a_file_with_a_header_is_wfdb(tmp_path: Path):
    header = write_challenge_record(tmp_path, "A0001")
    assert read_record(header.with_suffix(".mat")).leads == LEADS
    content = header.with_suffix(".mat").read_bytes()
    alone = read_record(write(tmp_path, content, "mat"), **GIVEN["mat"])
    np.testing.assert_array_equal(alone.signal, read_record(header).signal)
    assert find_records(tmp_path) == sorted(map(str, [header, tmp_path / "rec.mat"]))


@pytest.mark.skipif(not CASE.is_file(), reason=f"needs {CASE}")
def test_a_real_matrix(shared_ptbxl: Path):
    record = read_record(CASE, **GIVEN["mat"])
    wfdb = read_record(shared_ptbxl / "records500" / "00000" / "00001_hr")
    np.testing.assert_allclose(record.signal, wfdb.signal, atol=1e-6)


def test_large_elements_are_not_unpacked(tmp_path: Path):
    packer = zlib.compressobj(1)
    element = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    content = mat(ecg())[:128] + struct.pack("<II", 15, len(element)) + element
    assert_refused(write(tmp_path, content, "mat"), "MATLAB")


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, content: bytes, name: bytes = b"") -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, struct.pack("<ii", 1, 1)) + element(1, name) + content)


def test_cells_within_each_other_do_not_overflow_the_stack(tmp_path: Path):
    nested = matrix(6, element(9, struct.pack("<d", 1)))
    for _ in range(20_000):
        nested = matrix(1, nested)
    fields = element(5, struct.pack("<i", 8)) + element(1, b"data".ljust(8, b"\0"))
    content = mat(ecg())[:128] + matrix(2, fields + nested, b"ECG")
    assert_refused(write(tmp_path, content, "mat"), "ended the process")


def test_many_elements_are_refused(tmp_path: Path):
    content = mat(ecg())[:128] + struct.pack("<II", 1, 0) * 100_000
    assert_refused(write(tmp_path, content, "mat"), "MATLAB")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(text="Doe"), "expected an array of samples such as `signal`, got none"),
        (saved(cells=np.array([1, "a"], object)), "expected an array of samples"),
        (saved(a=ecg(), b=ecg()), "such as `signal`, got a, b"),
        (saved(val=ecg().astype(complex)), "expected numbers of shape"),
        (saved(val=np.zeros((4, 12, 100))), "expected numbers of shape"),
        (mat(ecg())[:-1000], "MATLAB: damaged"),
        (b"MATLAB 5.0 MAT-file" + b" " * 300, "MATLAB"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, content: bytes, message: str):
    assert_refused(write(tmp_path, content, "mat"), message, **GIVEN["mat"])


def test_other_files_of_a_folder_are_no_records(tmp_path: Path):
    assert not is_record(write(tmp_path, saved(weights=np.zeros((3, 4))), "mat"))
    assert not matlab_format.is_ecg_mat(b"MATLAB 5.0 MAT-file")
