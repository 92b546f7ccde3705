"""The synthetic hospital on disk: deterministic, readable, and labelled as its records are."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip.datasets.code_counts import read_names
from ecg_siglip.datasets.table import parse_table
from ecg_siglip.readers import find_records, read_record
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation.hospital import make_hospital_record, simulate_hospital
from ecg_siglip.vocabulary import load_vocabulary

pytest.importorskip("pydicom", reason="needs the extra [formats]")
pytest.importorskip("defusedxml", reason="needs the extra [formats]")
N = 120


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    return simulate_hospital(tmp_path_factory.mktemp("data") / "hospital", N, seed=2, n_workers=1)


@pytest.fixture(scope="module")
def data(hospital):
    vocabulary = load_vocabulary(hospital / "findings.yaml")
    return parse_table(str(hospital / "ecgs.csv"), vocabulary)


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_number_of_processes_does_not_change_the_files(hospital, tmp_path):
    again = simulate_hospital(tmp_path / "again", N, seed=2, n_workers=2)
    assert hashes(again) == hashes(hospital)
    other = simulate_hospital(tmp_path / "other", 10, seed=3, n_workers=1)
    assert hashes(other)["ecgs.csv"] != hashes(hospital)["ecgs.csv"]


def test_it_has_files_of_three_formats_and_no_other(hospital):
    table = pd.read_csv(hospital / "ecgs.csv")
    assert {Path(path).suffix for path in table["path"]} == {".xml", ".dcm", ".csv"}
    found = {str(path) for path in (hospital / "ecgs").rglob("*") if path.is_file()}
    assert found == {str(hospital / path) for path in table["path"]}
    assert len(find_records(hospital / "ecgs")) == N


def test_it_parses_with_98_findings_some_unknown(data):
    assert len(data) == N
    assert len(data.codes) == 98
    assert not data.has_folds
    assert data.has_patients
    assert 0.01 < 1 - data.known.mean() < 0.2
    assert data.y_true.sum(1).min() >= 1
    cardiology = pd.read_csv(data.table.folder / "ecgs.csv")["department"] == "循環器内科"
    assert data.known[cardiology.to_numpy()].mean() > 0.98
    assert data.known[~cardiology.to_numpy()].mean() < 0.97


def test_reports_are_japanese_and_state_only_what_was_assessed(hospital, data):
    table = pd.read_csv(hospital / "ecgs.csv", keep_default_na=False)
    reported = table["report"] != ""
    assert 0.4 < reported.mean() < 0.8
    assert (table["language"][reported] == "ja").all()
    names = data.vocabulary.names(data.codes)
    for row in np.flatnonzero(reported):
        text = table["report"][row]
        stated = [name for name, there in zip(names, data.y_true[row], strict=True) if there]
        assert all(name in text for name in stated)
        assert not text.isascii()


def test_the_files_have_the_signals(hospital):
    table = pd.read_csv(hospital / "ecgs.csv")
    for row in range(6):
        age, is_woman = float(table["age"][row]), table["sex"][row] == "F"
        record = read_record(hospital / table["path"][row])
        expected, _ = make_hospital_record(2, row + 1, age, is_woman)
        if record.fs != 500:
            expected = resample(expected, 500, round(record.fs))
        lead = record.leads.index("II")
        np.testing.assert_allclose(record.signal[lead], expected[1], atol=0.003)


def test_labels_do_not_depend_on_other_records():
    signal, row = make_hospital_record(5, 3, 70.0, True)
    again, same = make_hospital_record(5, 3, 70.0, True)
    assert row == same
    np.testing.assert_array_equal(signal, again)


def test_the_names_of_the_codes_are_those_of_the_vocabulary(hospital, data):
    names = read_names(hospital / "codes.csv")
    assert [*names] == [*data.vocabulary.codes]
    assert [*names.values()] == data.vocabulary.names(data.codes)


def test_a_folder_in_use_is_refused(hospital):
    with pytest.raises(ValueError, match="is not empty"):
        simulate_hospital(hospital, 10)
