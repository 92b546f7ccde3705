"""NumPy arrays and archives: the same numbers as written, or an error."""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from writers import FS, GIVEN, assert_refused, ecg, npy, npz, prepared_uv, write

from ecg_siglip.readers import arrays
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS


def saved(*args: object, **named: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, *args, **named)
    return file.getvalue()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<f4", "<f8"])
def test_numpy_arrays_of_any_layout(tmp_path: Path, order: str, dtype: str):
    for oriented in (ecg(), ecg().T, ecg()[None], ecg().T[:, :, None]):
        file = io.BytesIO()
        np.save(file, np.array(oriented, dtype, order=order))
        record = read_record(write(tmp_path, file.getvalue()), fs=FS, units="uV", leads=LEADS)
        np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_a_single_lead(tmp_path: Path):
    file = io.BytesIO()
    np.save(file, ecg()[1])
    record = read_record(write(tmp_path, file.getvalue()), fs=FS, units="uV", leads=["II"])
    np.testing.assert_allclose(record.signal, ecg()[1:2] / 1000, atol=1e-6)


@pytest.mark.parametrize(
    "named",
    [
        {"signal": ecg(), "fs": FS, "units": "uV", "leads": LEADS},
        {"ecg": ecg().T, "sampling_rate": [FS], "unit": "uV", "lead_names": LEADS},
        {"p_signal": ecg().T / 1000, "fs": FS, "units": ["mV"] * 12, "sig_name": LEADS},
        {"fs": float(FS), "units": "uV", **dict(zip(LEADS, ecg(), strict=True))},
    ],
)
def test_archives_with_other_names(tmp_path: Path, named: dict):
    record = read_record(write(tmp_path, saved(**named)))
    np.testing.assert_array_equal(prepared_uv(record), ecg())


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ({"gain": 1000}, "a gain of 1000 and the unit mV"),
        ({"adc_gain": [200.0] * 12}, "adc_gain of 200.0"),
        ({"gain": 1.0, "baseline": -5}, "a baseline of -5"),
    ],
)
def test_a_gain_next_to_a_unit_is_refused(tmp_path: Path, scale: dict, words: str):
    stated = {"signal": ecg(), "fs": FS, "leads": LEADS}
    assert_refused(write(tmp_path, saved(**stated, units="mV", **scale)), words)
    record = read_record(write(tmp_path, saved(**stated, **scale)), units="uV")
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    path = write(tmp_path, saved(**stated, units="uV", gain=1, baseline=[0.0]))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())


@pytest.mark.parametrize("key", ["conversion", "lsb_uv", "calibration", "uV_per_bit", "scaling"])
def test_a_size_of_a_step_by_any_name_is_refused_or_given(tmp_path: Path, key: str):
    path = write(tmp_path, npz(2 * ecg(), **{key: 0.5}))
    assert_refused(path, f"a {key.lower()} of 0.5 and the unit uV", "read.gain=")
    np.testing.assert_array_equal(prepared_uv(read_record(path, gain=2000)), ecg())


def test_other_arrays_of_an_archive_do_not_matter(tmp_path: Path):
    more = {"original_fs": 1000, "adc_fs": 8000, "age": 50, "beats": np.arange(20_000.0)}
    for names in ({}, {"fs": np.full(12, FS)}):
        record = read_record(write(tmp_path, npz(ecg(), **more, **names)))
        np.testing.assert_array_equal(prepared_uv(record), ecg())
    by_lead = {f"{lead}_uV": row for lead, row in zip(LEADS, ecg(), strict=True)}
    record = read_record(write(tmp_path, saved(fs=f"{FS} Hz", **by_lead)))
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    content = saved(anything=ecg(), fs=FS, units="uV", leads=LEADS)
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())
    assert_refused(write(tmp_path, npz(ecg(), units=["uV"] * 12, unit="mV")), "contradicts")


def test_the_only_array_of_an_archive_is_the_signal(tmp_path: Path):
    record = read_record(write(tmp_path, saved(ecg())), fs=FS, units="uV", leads=LEADS)
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert_refused(write(tmp_path, saved(ecg(), ecg())), "such as `signal`, got arr_0, arr_1")


@pytest.mark.parametrize(
    "names", [np.array(LEADS, "S3"), ", ".join(LEADS), " ".join(LEADS), ",".join(LEADS).encode()]
)
@pytest.mark.parametrize("key", ["leads", "lead_order", "labels"])
def test_names_as_bytes_or_one_string(tmp_path: Path, names: object, key: str):
    content = saved(signal=ecg(), fs=FS, units=b"uV", **{key: names})
    np.testing.assert_array_equal(prepared_uv(read_record(write(tmp_path, content))), ecg())


def test_labels_that_are_findings_do_not_matter(tmp_path: Path):
    for labels in (np.array(["NORM"]), np.array(["NORM"], object), np.zeros(71)):
        record = read_record(write(tmp_path, npz(ecg(), labels=labels)))
        np.testing.assert_array_equal(prepared_uv(record), ecg())


def test_the_name_of_one_lead_is_not_split(tmp_path: Path):
    content = saved(signal=ecg()[1], fs=FS, units="uV", leads="Lead II")
    assert read_record(write(tmp_path, content)).leads == ("Lead II",)


def test_signals_are_oriented_by_the_number_of_leads():
    signal = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(arrays.orient_signal(signal, 2), signal)
    np.testing.assert_array_equal(arrays.orient_signal(signal, 3), signal.T)
    with pytest.raises(ValueError, match="expected 4 leads as named"):
        arrays.orient_signal(signal, 4)


def test_bytes_after_an_array_are_refused(tmp_path: Path):
    assert_refused(write(tmp_path, npy(ecg()) + b"\0" * 24), "bytes", **GIVEN["npy"])


def test_arrays_that_promise_more_than_the_file_has_are_refused(tmp_path: Path):
    header = npy(ecg())[:128].replace(b"(12, 5000)", b"(1200000000, 5000)".ljust(10))
    assert_refused(write(tmp_path, header), "Unable to allocate", **GIVEN["npy"])


def test_archives_that_are_large_when_unpacked_are_refused(tmp_path: Path):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("signal.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))
    assert_refused(write(tmp_path, file.getvalue()), "NumPy archive")


def test_pickled_arrays_are_not_opened(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (sys.exit, (7,))

    trap = np.array([[Trap()]], dtype=object)
    file = io.BytesIO()
    np.save(file, trap, allow_pickle=True)
    assert_refused(write(tmp_path, file.getvalue()), "array of numbers", **GIVEN["npy"])
    assert_refused(write(tmp_path, npz(ecg(), signal=trap)), "array of numbers")
    assert_refused(write(tmp_path, npz(ecg(), leads=trap)), "save names as strings (dtype=str)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: npz(ecg(), fs=[1, 2]), "expected one number as fs"),
        (lambda: npz(ecg(), fs=1e12), "expected a sampling rate of 50 to 20000 Hz"),
        (lambda: npz(ecg(), fs=np.nan), "expected a sampling rate"),
        (lambda: npz(ecg(), sampling_rate=250), "two sampling rates: 500, 250 Hz"),
        (lambda: npz(ecg(), leads=LEADS[:5]), "expected 5 leads as named, got shape (5000, 12)"),
        (lambda: npz(ecg()[:, :12]), "shape (12, 12) does not distinguish leads from samples"),
        (lambda: npz(ecg(), signal=ecg().astype(complex)), "array of numbers"),
        (lambda: npz(ecg(), signal=np.zeros((3, 12, 50))), "expected numbers of shape"),
        (lambda: npz(ecg(), units=["mV"] * 3), "expected a unit for each of 12 leads, got 3"),
        (lambda: npz(ecg()[:, :0]), "0 s of signal"),
        (lambda: npz(ecg(), leads=np.array(["I"] * 2000)), "expected at most 1000 strings"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, make: Callable, message: str):
    assert_refused(write(tmp_path, make()), message)
