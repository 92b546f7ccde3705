"""The same seed gives the same bytes; real loaders read the folder; it is complete or absent."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation import dataset


def digest(folder):
    """Return the number of files of a folder and a hash of their names and contents."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)
    return len(files), hashlib.sha256(content).hexdigest()


def test_the_bytes_depend_on_the_seed_and_not_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "N_CHUNK", 4)
    one = dataset.simulate_dataset(tmp_path / "one", n_records=12, seed=5, n_workers=1)
    two = dataset.simulate_dataset(tmp_path / "two", n_records=12, seed=5, n_workers=2)
    other = dataset.simulate_dataset(tmp_path / "other", n_records=12, seed=6, n_workers=1)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)
    assert digest(one)[0] == 2 * 12 + 3


def test_a_record_does_not_depend_on_the_number_of_records(tmp_path, simulated):
    few = dataset.simulate_dataset(tmp_path / "few", n_records=10, seed=1, n_workers=1)
    for name in ("00003_lr.dat", "00003_lr.hea"):
        path = f"records100/00000/{name}"
        assert (few / path).read_bytes() == (simulated / path).read_bytes()


def test_the_leads_obey_einthoven_and_goldberger(simulated):
    for ecg_id in (1, 2, 3):
        record = read_record(simulated / f"records100/00000/{ecg_id:05d}_lr")
        one, two, three, avr, avl, avf = record.signal[:6]
        # Each lead is stored in whole uV.
        assert np.abs(three - (two - one)).max() < 0.0021
        assert np.abs(avr + (one + two) / 2).max() < 0.0021
        assert np.abs(avl - (one - two / 2)).max() < 0.0021
        assert np.abs(avf - (two - one / 2)).max() < 0.0021


def test_both_sampling_rates_have_the_same_signal(tmp_path):
    root = dataset.simulate_dataset(
        tmp_path / "s", n_records=10, seed=3, records500=True, n_workers=1
    )
    coarse = read_record(root / "records100/00000/00004_lr")
    fine = read_record(root / "records500/00000/00004_hr")
    assert (coarse.fs, fine.fs) == (100, 500)
    resampled = resample(fine.signal, 500, 100)
    assert np.abs(resampled - coarse.signal).max() < 0.003


def test_the_loader_of_ptbxl_reads_the_data_set(simulated):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    assert len(data) == 150
    assert set(data.strat_fold) == set(range(1, 11))
    by_patient = pd.Series(data.strat_fold).groupby(data.patient_id).nunique()
    assert by_patient.max() == 1
    assert (pd.Series(data.patient_id).value_counts() > 1).any()


def test_a_folder_that_is_not_empty_is_rejected_and_not_changed(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        dataset.simulate_dataset(tmp_path, n_records=10)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_failed_simulation_leaves_no_files(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "write_wfdb", full)
    with pytest.raises(OSError, match="No space"):
        dataset.simulate_dataset(tmp_path / "s", n_records=10, n_workers=1)
    assert not any(tmp_path.iterdir())


def test_a_record_and_its_row_are_a_function_of_seed_and_number():
    signal, row = dataset.make_record(0, 5, 60.0, False)
    same_signal, same_row = dataset.make_record(0, 5, 60.0, False)
    other_signal, _ = dataset.make_record(0, 6, 60.0, False)
    assert (signal.shape, signal.dtype) == ((12, 5000), np.float32)
    np.testing.assert_array_equal(signal, same_signal)
    assert row == same_row
    assert not np.array_equal(signal, other_signal)
    assert set(row) >= {"scp_codes", "report", "heart_axis", "pacemaker", "extra_beats"}


def test_realistic_records_depend_on_seed_and_number_only(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "N_CHUNK", 4)
    settings = {"seed": 5, "difficulty": "realistic", "balance": 0.5}
    one = dataset.simulate_dataset(tmp_path / "one", n_records=12, n_workers=1, **settings)
    two = dataset.simulate_dataset(tmp_path / "two", n_records=12, n_workers=2, **settings)
    plain = dataset.simulate_dataset(tmp_path / "plain", n_records=12, seed=5, n_workers=1)
    assert digest(one) == digest(two)
    assert digest(one) != digest(plain)
    data = ptbxl.load_ptbxl(one, signals=False)
    assert len(data) == 12
    # PTB-XL numbers its patients up to 21,837: a simulated patient is none of them.
    assert min(data.patient_id) >= dataset.FIRST_PATIENT
