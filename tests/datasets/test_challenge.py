"""Challenge collections: labels, collections by folder, records left out, preparation."""

import math
from pathlib import Path

import numpy as np
import pytest
from helpers import ecg_uv
from helpers import write_challenge_record as write

from ecg_siglip.datasets import challenge
from ecg_siglip.readers import wfdb_format, wfdb_samples
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

SPEC = {
    "to_fs": 100, "duration_s": 10.0, "low_hz": None, "high_hz": None,
    "allow_short": False, "allow_flat": False,
}  # fmt: skip


def labels(tmp_path: Path, comments: str) -> challenge.Labels:
    return challenge.read_labels(write(tmp_path, "A0001", comments))


def test_signal_and_labels_of_a_record_are_read(tmp_path):
    path = write(tmp_path, "E00001", first="E00001.mat")  # Georgia's first line names the file
    record = read_record(path)
    assert record.leads == LEADS and record.fs == 500
    assert np.allclose(record.signal, ecg_uv(500, 10) / 1000)
    assert challenge.read_labels(path) == challenge.Labels(frozenset({426783006}), 60.0, "male")


def test_the_fast_reader_equals_wfdb(tmp_path, monkeypatch):
    uv = ecg_uv(500, 10)
    uv[3, 7] = -32768
    for path in (
        write(tmp_path, "E00001", first="E00001.mat", uv=uv),
        write(tmp_path, "A1", uv=uv),
    ):
        ours = read_record(path)
        with monkeypatch.context() as patch:
            patch.setattr(wfdb_format, "read_samples", wfdb_samples._read_by_wfdb)
            theirs = read_record(path)
        assert np.array_equal(ours.signal, theirs.signal, equal_nan=True)
        assert np.isnan(ours.signal[3, 7])
        assert (ours.fs, ours.leads, ours.comments) == (theirs.fs, theirs.leads, theirs.comments)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("#Dx: 164889003,59118001", {164889003, 59118001}),
        ("# Dx: 164889003, 59118001", {164889003, 59118001}),
        ("#Dx:164889003,164889003,", {164889003}),
        ("#DX: 164889003,Unknown", {164889003}),
        ("#Dx: 999", {999}),  # a code that the table lacks
    ],
)
def test_spellings_of_the_diagnoses(tmp_path, line, expected):
    assert labels(tmp_path, f"{line}\r\n").dx == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("57", 57), ("57.5", 57.5), ("300", 90), ("NaN", None), ("Unknown", None), ("", None),
     ("-1", None), ("211", None), ("inf", None)],
)  # fmt: skip
def test_spellings_of_the_age(tmp_path, text, expected):
    age = labels(tmp_path, f"#Age: {text}\n#Dx: 1\n").age
    assert math.isnan(age) if expected is None else age == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Male", "male"), ("M", "male"), ("Female", "female"), ("F", "female"), ("FEMALE", "female"),
     ("Unknown", ""), ("NaN", ""), ("", "")],
)  # fmt: skip
def test_spellings_of_the_sex(tmp_path, text, expected):
    assert labels(tmp_path, f"#Sex: {text}\n#Dx: 1\n").sex == expected


def test_a_header_without_age_and_sex_is_read(tmp_path):
    unknown = labels(tmp_path, "#Dx: 1\n")
    assert math.isnan(unknown.age) and unknown.sex == ""


@pytest.mark.parametrize(
    ("comments", "reason"),
    [
        ("#Age: 60\n", "no #Dx line"),
        ("#Dx: Unknown\n", "#Dx is Unknown"),
        ("#Dx:\n#Rx: 1\n", "#Dx is empty"),
        ("#Dx: atrial fibrillation\n", "expected SNOMED CT codes, got 'atrial'"),
    ],
)
def test_a_record_without_labels_is_left_out_by_name(tmp_path, comments, reason):
    paths = [write(tmp_path, "A0001", comments), write(tmp_path, "A0002")]
    collection = challenge.collect("a", paths)
    assert [path.stem for path in collection.paths] == ["A0002"] and len(collection.labels) == 1
    assert list(collection.left_out) == ["A0001"] and reason in collection.left_out["A0001"]


def test_collections_are_folders_of_any_depth(tmp_path):
    write(tmp_path / "georgia" / "g1", "E00001")
    write(tmp_path / "georgia" / "g2", "E01001")
    write(tmp_path / "cpsc", "A0001")
    (tmp_path / "empty").mkdir()
    (tmp_path / "RECORDS").write_text("E00001\n")
    sets = challenge.find_sets(tmp_path)
    assert {name: [path.stem for path in paths] for name, paths in sets.items()} == {
        "cpsc": ["A0001"],
        "georgia": ["E00001", "E01001"],
    }
    assert list(challenge.find_sets(tmp_path / "cpsc")) == ["cpsc"]


def test_a_root_without_a_record_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no record"):
        challenge.find_sets(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        challenge.find_sets(tmp_path / "nowhere")


def test_ecg_ids_are_read_from_the_names_of_ptbxl_only():
    names = ["HR00001.hea", "HR21837.hea", "E00001.hea", "HR1.hea", "XHR00001.hea"]
    assert challenge.ecg_ids([Path(name) for name in names]).tolist() == [1, 21837, 0, 0, 0]


@pytest.mark.parametrize("fs", [257, 500, 1000])
def test_any_sampling_rate_is_resampled_to_that_of_the_model(tmp_path, fs):
    got = challenge.prepare(write(tmp_path, "I0001", fs=fs), SPEC)
    assert not isinstance(got, str) and got.duration_s == pytest.approx(10, abs=0.01)
    assert got.signal.shape == (12, 1000)
    # One beat per second, at the full second, within the length of the resampling filter.
    peaks = got.signal[-1].reshape(10, 100).argmax(axis=1)
    assert set(peaks[1:]) <= {0, 1, 99}
    assert got.signal[-1].max() == pytest.approx(1500, rel=0.1)


def test_a_short_record_is_padded_and_a_long_one_is_cropped_to_its_middle(tmp_path):
    short = challenge.prepare(write(tmp_path, "A0001", duration_s=6), SPEC)
    assert short.duration_s == 6 and not short.signal[:, 620:].any() and short.signal[:, :600].any()
    uv = ecg_uv(500, 60)
    uv[:, : 500 * 25] = uv[:, 500 * 35 :] = 0
    uv[:, ::50] += 20  # no flat ends
    long = challenge.prepare(write(tmp_path, "A0002", uv=uv), SPEC)
    assert long.duration_s == 60
    assert (long.signal[-1].reshape(10, 100).max(axis=1) > 1000).all()


def test_a_broken_record_yields_an_error_and_the_others_are_prepared(tmp_path):
    good = write(tmp_path, "A0001")
    flat = ecg_uv(500, 10)
    flat[3] = 0
    paths = [
        good,
        write(tmp_path, "A0002", uv=flat),
        write(tmp_path, "A0003"),
        write(tmp_path, "A0004"),
        write(tmp_path, "A0005"),
    ]
    cut = tmp_path / "A0003.mat"
    cut.write_bytes(cut.read_bytes()[:-1200])
    (tmp_path / "A0004.mat").unlink()
    paths[4].write_text(paths[4].read_text().replace(" 12 500 ", " 12 0 "))
    results = list(challenge.prepare_all(paths, SPEC))
    assert not isinstance(results[0], str)
    for error, reason in zip(
        results[1:], ["flat lead aVR", "truncated", "names A0004.mat", "sampling rate"], strict=True
    ):
        assert reason in error and "\n" not in error


@pytest.mark.slow
def test_several_processes_return_the_same_in_the_same_order(tmp_path):
    paths = [write(tmp_path, f"A{i:04}", fs=500 if i % 2 else 257) for i in range(5)]
    one, two = (list(challenge.prepare_all(paths, SPEC, n)) for n in (1, 2))
    assert all((a.signal == b.signal).all() for a, b in zip(one, two, strict=True))


def test_each_half_has_half_of_the_names_and_does_not_change():
    names = [f"JS{i:05}" for i in range(2000)]
    first = [challenge.in_tuning_half(name) for name in names]
    assert 0.45 < np.mean(first) < 0.55
    assert first == [challenge.in_tuning_half(name) for name in names]


def test_all_real_records_are_read_and_prepared(shared_challenge):
    sets = challenge.find_sets(shared_challenge)
    assert {name: len(paths) for name, paths in sets.items()} == {
        "chapman_ningbo": 12, "cpsc2018": 2, "cpsc2018_extra": 6, "georgia": 12, "ptbxl": 6,
    }  # fmt: skip
    for name, paths in sets.items():
        collection = challenge.collect(name, paths)
        assert not collection.left_out
        assert all(label.sex and label.age > 0 for label in collection.labels)
        prepared = challenge.prepare_all(collection.paths, SPEC)
        assert not any(isinstance(record, str) for record in prepared)
