"""HDF5: one recording or exams in the layout of CODE-15; no other file, no filter is loaded."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from writers import FS, assert_refused, ecg, hdf5, prepared_uv, write

from ecg_siglip.readers import hdf5_format, isolated
from ecg_siglip.readers.folders import expand_paths, find_records
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

h5py = pytest.importorskip("h5py", reason="needs the extra [formats]")
MV = ecg() / 1000
GIVEN = {"fs": FS, "units": "mV", "leads": LEADS}


def saved(tmp_path: Path, fill, name: str = "rec.hdf5") -> Path:
    """Write a file that a function fills."""
    path = tmp_path / name
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def code15(tmp_path: Path, ids: object = (123, 7, 99), **options: object) -> Path:
    """Write a file of three exams as CODE-15 does; the second is the ECG of the other tests."""

    def fill(file: h5py.File) -> None:
        exams = np.stack([0.5 * MV.T, MV.T, 2 * MV.T]).astype("f4")
        file.create_dataset("tracings", data=exams, **options)
        if ids is not None:
            file["exam_id"] = ids

    return saved(tmp_path, fill, "exams_part0.hdf5")


@pytest.mark.parametrize("ids", [(123, 7, 99), (b"a", b"7", b"c"), None])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": (1, 500, 12)}])
def test_an_exam_is_named_as_a_file_in_a_folder(tmp_path: Path, ids: object, options: dict):
    path = code15(tmp_path, ids, **options)
    exam = path / ("1" if ids is None else "7")
    record = read_record(exam, **GIVEN)
    assert record.name == exam.name
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    listed = [f"{path}/{name}" for name in {None: "012", 123: ("123", "7", "99")}.get(
        ids and ids[0], ("a", "7", "c"))]  # fmt: skip
    assert find_records(tmp_path) == expand_paths([str(path)]).paths == listed
    assert expand_paths([str(exam)]).paths == [str(exam)]


def test_a_file_of_several_exams_names_one_of_them(tmp_path: Path):
    path = code15(tmp_path)
    for wrong in (path, path / "8"):
        with pytest.raises(ValueError, match=r"3 exams.* records=\[file.hdf5/123\].*123, 7, 99"):
            read_record(wrong, **GIVEN)
    for key, word in (("fs", "read.fs"), ("units", "read.units"), ("leads", "read.leads")):
        given = {name: value for name, value in GIVEN.items() if name != key}
        with pytest.raises(ValueError, match=word):
            read_record(path / "7", **given)


def test_one_exam_of_a_file_above_the_limit_is_read(tmp_path: Path):
    def fill(file: h5py.File) -> None:
        data = file.create_dataset("tracings", (30_000, 5000, 12), "f4", chunks=(1, 5000, 12))
        data[20_000] = MV.T

    path = saved(tmp_path, fill)
    np.testing.assert_array_equal(prepared_uv(read_record(path / "20000", **GIVEN)), ecg())


def group(file: h5py.File) -> None:
    file.create_group("a/b")["ecg"] = MV
    file["a/b/ecg"].attrs["sampling_rate"] = FS
    file.attrs["units"] = np.bytes_(b"mV")
    file["a/b"]["lead_names"] = [lead.encode() for lead in LEADS]


def by_lead(file: h5py.File) -> None:
    for lead, row in zip(LEADS, MV, strict=True):
        file[lead] = row
    file["fs"], file["units"] = FS, "mV"


def one_dataset(file: h5py.File) -> None:
    file["anything"] = MV.T
    file["anything"].attrs.update({"fs": float(FS), "units": "mV", "leads": LEADS})


@pytest.mark.parametrize("fill", [group, by_lead, one_dataset])
def test_other_layouts(tmp_path: Path, fill):
    np.testing.assert_array_equal(prepared_uv(read_record(saved(tmp_path, fill))), ecg())


def group_states(file: h5py.File) -> None:
    file["a/b/ecg"], file["a/b/x"] = MV, np.arange(9.0)
    file["a"].attrs.update({"fs": FS, "units": "mV"})
    file["a/b"].attrs["leads"] = LEADS
    file["a/b/x"].attrs["units"] = "s"


def test_attributes_of_groups_count(tmp_path: Path):
    np.testing.assert_array_equal(prepared_uv(read_record(saved(tmp_path, group_states))), ecg())


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (("p1/ecg", "p2/ecg"), "p1, p2"),
        (("raw/ecg", "filtered/signal"), "filtered, raw"),
        (("a/I", "b/I"), "a/I, b/I"),
        (("I", "Lead I"), "I, Lead I"),
    ],
)
def test_several_recordings_in_groups_are_refused(
    tmp_path: Path, names: tuple[str, str], groups: str
):
    def fill(file: h5py.File) -> None:
        for name in names:
            file[name] = MV

    assert_refused(saved(tmp_path, fill), f"one recording: {groups}")


def test_rates_of_leads_that_contradict_each_other_are_refused(tmp_path: Path):
    def fill(file: h5py.File) -> None:
        for lead, fs in (("I", 500), ("II", 250)):
            file[lead] = MV[0]
            file[lead].attrs["fs"] = fs

    assert_refused(saved(tmp_path, fill), "two sampling rates: 500, 250 Hz")


def with_scale(file: h5py.File) -> None:
    one_dataset(file)
    file["anything"].attrs.update({"scale_factor": 1e-3, "add_offset": 0.0})


def with_gain(file: h5py.File) -> None:
    by_lead(file)
    file["gain"] = np.full(12, 200)


@pytest.mark.parametrize("fill", [with_scale, with_gain])
def test_a_gain_next_to_a_unit_is_refused(tmp_path: Path, fill):
    assert_refused(saved(tmp_path, fill), "and the unit mV: it is not clear")


@pytest.mark.parametrize("key", ["conversion", "lsb_uv", "sensitivity", "uV/bit"])
def test_a_size_of_a_step_by_any_name_is_refused_or_given(tmp_path: Path, key: str):
    path = write(tmp_path, hdf5(2 * ecg(), **{key: 0.5, "original_sampling_rate": 1000}))
    assert_refused(path, "of 0.5 and the unit mV", "read.gain=")
    np.testing.assert_array_equal(prepared_uv(read_record(path, gain=2)), ecg())


def test_a_conversion_of_1_as_of_nwb_does_not_matter(tmp_path: Path):
    path = write(tmp_path, hdf5(ecg(), conversion=1.0, offset=0.0, resolution=-1.0))
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())


def test_zipped_files_and_headers_of_matlab(tmp_path: Path):
    content = hdf5(ecg())
    path = write(tmp_path, gzip.compress(content), "h5.gz")
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
    with h5py.File(tmp_path / "rec.mat", "w", userblock_size=512) as file:
        file["val"] = ecg().T
        file["val"].attrs["MATLAB_class"] = b"double"
    content = (tmp_path / "rec.mat").read_bytes()
    path = write(tmp_path, b"MATLAB 7.3 MAT-file".ljust(512) + content[512:], "mat")
    record = read_record(path, fs=FS, gain=1000.0, leads=LEADS)
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    assert find_records(tmp_path) == sorted(map(str, [path, tmp_path / "rec.h5.gz"]))


def test_other_files_are_not_opened(tmp_path: Path):
    secret = saved(tmp_path, one_dataset, "secret.hdf5")

    def link(file: h5py.File) -> None:
        file["ecg"] = h5py.ExternalLink(secret.name, "/anything")
        file["data"] = h5py.SoftLink("/ecg")

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((5000, 12), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "anything", (5000, 12))
        file.create_virtual_dataset("ecg", layout)

    def external(file: h5py.File) -> None:
        raw = [(str(tmp_path / "raw"), 0, 5000 * 12 * 8)]
        file.create_dataset("ecg", (5000, 12), "f8", external=raw)

    (tmp_path / "raw").write_bytes(bytes(5000 * 12 * 8))
    assert_refused(saved(tmp_path, link), "such as `signal`, got none")
    assert_refused(saved(tmp_path, virtual), "in another file, which is not opened")
    assert_refused(saved(tmp_path, external), "in another file, which is not opened")


def test_other_filters_are_not_loaded(tmp_path: Path):
    def scaled(file: h5py.File) -> None:
        file.create_dataset("ecg", data=ecg().T, scaleoffset=0)

    assert_refused(saved(tmp_path, scaled), "stored with scaleoffset, expected gzip")


def test_files_on_which_the_library_hangs_or_ends_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(isolated.HELPER, "limit_s", 2.0)
    content = bytearray(hdf5(ecg()))
    at = content.index(b"GCOL") + 24  # size of the first object of a heap
    content[at : at + 8] = b"\xf0" + b"\xff" * 7
    assert_refused(write(tmp_path, bytes(content)), "took too long: it is damaged")
    monkeypatch.setattr(isolated.HELPER, "module", "ecg_siglip.readers.hdf5_format")
    assert_refused(write(tmp_path, hdf5(ecg())), "ended the process: it is damaged")
    monkeypatch.undo()
    np.testing.assert_array_equal(prepared_uv(read_record(tmp_path / "rec.bin")), ecg())


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda file: file.create_dataset("ecg", (40_000_000, 12), "f8", chunks=True), "samples"),
        (lambda file: file.create_dataset("ecg", (10**6, 12), "i2", chunks=(1, 1)), "HDF5"),
        (
            lambda file: file.create_dataset("ecg", (10**8, 3), "i1", chunks=(10**8, 1)),
            "at most 33554432 samples",
        ),
        (lambda file: file.create_dataset("a", data=MV), "read.leads"),
        (lambda file: file.update({"a": MV, "b": MV}), "such as `signal`, got a, b"),
        (lambda file: file.create_dataset("ecg", data=MV.astype(complex)), "expected numbers"),
        (lambda file: file.create_dataset("ecg", data=h5py.Empty("f8")), "got none"),
        (lambda file: [file.create_group(f"g{i}") for i in range(3000)], "got none"),
        (lambda file: None, "got none"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, fill, message: str):
    assert_refused(saved(tmp_path, fill), message)


def test_a_name_of_an_exam_in_a_file_of_one_recording_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="expected no name of an exam, got 5"):
        read_record(saved(tmp_path, one_dataset) / "5")


def test_other_files_of_a_folder_are_no_records(tmp_path: Path):
    saved(tmp_path, lambda file: file.create_group("layer").update({"kernel": np.zeros((3, 4))}))
    assert find_records(tmp_path) == []


def test_paths_of_other_files(tmp_path: Path):
    assert hdf5_format.exam_paths(tmp_path / "none.csv") == [str(tmp_path / "none.csv")]
    assert hdf5_format.find_exam(tmp_path / "none.csv") is None
    broken = write(tmp_path, hdf5(ecg())[:3000], "hdf5")
    assert hdf5_format.exam_paths(broken) == [str(broken)]
    assert io.BytesIO(hdf5(ecg())).read(8) == hdf5_format.SIGNATURE


def matlab_text(file: h5py.File, name: str, text: str) -> h5py.Dataset:
    """Write a row of characters as MATLAB 7.3 does."""
    data = file.create_dataset(name, data=np.array([[ord(letter)] for letter in text], "u2"))
    data.attrs["MATLAB_class"] = np.bytes_("char")
    return data


@pytest.mark.parametrize("as_cells", [True, False])
def test_text_of_matlab(tmp_path: Path, as_cells: bool):
    def fill(file: h5py.File) -> None:
        file["val"], file["fs"] = MV.T, [[FS]]
        matlab_text(file, "units", "mV")
        if as_cells:
            cells = [matlab_text(file, f"#refs#/{name}", name).ref for name in LEADS]
            file.create_dataset("leads", (12, 1), h5py.ref_dtype)[:, 0] = cells
            file["leads"].attrs["MATLAB_class"] = np.bytes_("cell")
        else:
            matlab_text(file, "leads", ",".join(LEADS))

    path = saved(tmp_path, fill)
    np.testing.assert_array_equal(prepared_uv(read_record(path)), ecg())
    assert_refused(path, "contradicts read.leads", leads=LEADS[::-1])


def test_cells_that_are_no_text_are_refused(tmp_path: Path):
    def fill(file: h5py.File) -> None:
        file["val"], file["other"] = MV.T, [1.0]
        file.create_dataset("leads", (2, 1), h5py.ref_dtype)[:, 0] = [file["other"].ref, file.ref]
        file["leads"].attrs["MATLAB_class"] = np.bytes_("cell")

    assert_refused(saved(tmp_path, fill), "expected short strings in the cells", **GIVEN)
