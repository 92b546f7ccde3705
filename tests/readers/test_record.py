"""Records: the same ECG is the same signal in every format, or is refused in one line."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from writers import (
    FS,
    GIVEN,
    WRITERS,
    assert_refused,
    csv,
    dicom,
    ecg,
    npy,
    npz,
    prepared_uv,
    write,
    write_wfdb,
)

from ecg_siglip.readers.folders import expand_paths, find_records
from ecg_siglip.readers.record import open_record, read_record
from ecg_siglip.signals.leads import LEADS


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_ecg_in_every_format(tmp_path: Path, kind: str, zipped: bool):
    """The format is detected by content. MUSE's computed leads are exact for this signal."""
    uv = ecg()
    content = WRITERS[kind](uv, FS)
    path = write(tmp_path, gzip.compress(content, 1) if zipped else content)
    record = read_record(path, **GIVEN.get(kind, {}))
    assert (record.name, record.fs, record.signal.dtype) == ("rec", FS, np.float32)
    np.testing.assert_array_equal(prepared_uv(record), uv)
    by_wfdb = read_record(write_wfdb(tmp_path, uv))
    np.testing.assert_array_equal(prepared_uv(by_wfdb), uv)


def test_properties_that_the_file_does_not_state_have_to_be_given(tmp_path: Path):
    path = write(tmp_path, npy(ecg()), "npy")
    given = dict(GIVEN["npy"])
    for key, word in (("fs", "read.fs"), ("units", "read.units"), ("leads", "read.leads")):
        assert_refused(path, word, **{name: value for name, value in given.items() if name != key})
    bare = pd.DataFrame(ecg().T).to_csv(index=False, header=False).encode()
    record = read_record(write(tmp_path, bare), **given)
    np.testing.assert_array_equal(prepared_uv(record), ecg())
    unnamed_time = pd.DataFrame(ecg().T, columns=list(LEADS))
    unnamed_time.insert(0, "time", np.arange(len(unnamed_time)))
    path = write(tmp_path, unnamed_time.to_csv(index=False).encode())
    assert_refused(path, "read.fs", units="uV")
    np.testing.assert_array_equal(prepared_uv(read_record(path, fs=FS, units="uV")), ecg())


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in GIVEN])
def test_properties_that_the_file_states_are_not_overruled(tmp_path: Path, kind: str):
    path = write(tmp_path, WRITERS[kind](ecg(), FS))
    stated = read_record(path)
    agreeing = read_record(path, fs=FS, leads=[lead.upper() for lead in stated.leads])
    np.testing.assert_array_equal(agreeing.signal, stated.signal)
    assert_refused(path, "contradicts read.fs=250", fs=250)
    assert_refused(path, "contradicts read.units=V", units="V")
    assert_refused(path, "contradicts read.leads=[II,", leads=["II", "I", *stated.leads[2:]])


def test_wfdb_is_not_overruled_either(tmp_path: Path):
    path = write_wfdb(tmp_path, ecg())
    assert read_record(path, fs=FS, units="mV", leads=LEADS).fs == FS
    assert_refused(path, "contradicts read.fs=100", fs=100)


def strips(uv: np.ndarray, fill: float, with_rhythm: bool) -> np.ndarray:
    """Four columns of three leads, 2.5 s each, in 10 s; lead II over the whole length or not."""
    cut, quarter = np.full(uv.shape, fill, np.float64), uv.shape[1] // 4
    for i in range(12):
        part = slice(i // 3 * quarter, (i // 3 + 1) * quarter)
        cut[i, part] = uv[i, part]
    if with_rhythm:
        cut[1] = uv[1]
    return cut


@pytest.mark.parametrize("with_rhythm", [False, True])
@pytest.mark.parametrize("fill", [0.0, np.nan, -250.0])
def test_strips_of_a_print_layout_are_refused(tmp_path: Path, fill: float, with_rhythm: bool):
    content = npz(ecg(), signal=strips(ecg(), fill, with_rhythm))
    assert_refused(write(tmp_path, content), f"{12 - with_rhythm} of 12 leads", "print layout")


def test_short_leads_and_a_rhythm_strip_are_a_print_layout(tmp_path: Path):
    signal = ecg().astype(float)
    signal[np.arange(12) != 1, len(signal.T) // 4 :] = 0
    path = write(tmp_path, npz(ecg(), signal=signal))
    assert_refused(path, "11 of 12 leads", "print layout")


def test_infinite_samples_are_left_to_the_check(tmp_path: Path):
    signal = ecg().astype(float)
    signal[:, 100:200] = np.inf
    assert np.isinf(read_record(write(tmp_path, npz(ecg(), signal=signal))).signal).any()


def test_a_short_record_padded_with_zeros_is_no_layout(tmp_path: Path):
    uv = ecg()
    uv[:, 1000:] = 0
    assert read_record(write(tmp_path, npz(uv))).signal.shape == uv.shape


def test_no_real_ecg_is_a_layout(shared_ptbxl: Path, shared_challenge: Path):
    for header in [*sorted(shared_ptbxl.glob("records100/*/*.hea"))[::20],
                   *shared_challenge.glob("*/*.hea")]:  # fmt: skip
        read_record(header)


def test_each_record_of_a_folder_is_found_once(tmp_path: Path):
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    write_wfdb(deeper, ecg())
    expected = {"rec.hea"}
    for kind in WRITERS:
        (deeper / f"a.{kind}").write_bytes(WRITERS[kind](ecg(), FS))
        expected.add(f"a.{kind}")
    (deeper / "1.2.840.7").write_bytes(dicom(ecg()))
    (deeper / "z.csv.gz").write_bytes(gzip.compress(csv(ecg())))
    for name, text in {
        "README.md": "All, about it\n", "RECORDS": "rec\n", "patients.csv": "id,age\n1,56\n",
        "page.xml": "<html/>", "empty": "", "broken.gz": "\x1f",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.pdf").write_bytes(b"%PDF\0")
    paths = find_records(tmp_path)
    assert {Path(path).name for path in paths} == expected | {"1.2.840.7", "z.csv.gz"}
    assert paths == sorted(paths)
    assert find_records(tmp_path / "none") == []


def test_folders_are_replaced_by_their_records(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg())
    other = str(tmp_path / "other.csv")
    assert expand_paths([str(tmp_path), other]).paths == [str(header), other]
    (tmp_path / "empty").mkdir()
    assert expand_paths([str(tmp_path / "empty")]).paths == [str(tmp_path / "empty")]
    with pytest.raises(ValueError, match="no record named"):
        expand_paths([])


@pytest.mark.parametrize("duration_s", [10, 61])
def test_pieces_are_parts_of_the_whole_record(tmp_path: Path, duration_s: int):
    path = write_wfdb(tmp_path, ecg(100 * duration_s, 100), 100)
    source, whole = open_record(path), read_record(path)
    assert (source.name, source.fs, source.duration_s) == ("rec", 100, duration_s)
    piece = source.piece(200, 700)
    np.testing.assert_array_equal(piece.signal, whole.signal[:, 200:700])
    assert (piece.fs, piece.leads) == (whole.fs, whole.leads)


def test_unknown_content_lists_the_known_formats(tmp_path: Path):
    (tmp_path / "rec.xyz").write_bytes(bytes(range(256)))
    assert_refused(tmp_path / "rec.xyz", "WFDB, EDF, BDF, DICOM, NumPy")
    assert_refused(tmp_path / "rec.abc", "no such file", error=FileNotFoundError)


def test_import_stays_light():
    code = (
        "import sys, ecg_siglip.readers.record, ecg_siglip.signals.preprocessing;"
        "heavy = ('wfdb', 'pandas', 'scipy.signal', 'torch', 'hydra', 'edfio', 'pydicom',"
        "'defusedxml', 'pyarrow', 'xml.etree');"
        "print([module for module in heavy if module in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
