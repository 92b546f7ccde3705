"""Same seed, same bytes; PTB-XL's own layout and prevalences; whole or not at all."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import wfdb

from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.preprocessing import bandpass, resample
from ecg_siglip.simulation import dataset
from ecg_siglip.simulation.heart import draw_noise
from ecg_siglip.vocabulary import findings


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)
    return len(files), hashlib.sha256(content).hexdigest()


def test_same_seed_same_bytes_whatever_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "N_CHUNK", 4)
    one = dataset.simulate_dataset(tmp_path / "one", n_records=12, seed=5, n_workers=1)
    two = dataset.simulate_dataset(tmp_path / "two", n_records=12, seed=5, n_workers=2)
    other = dataset.simulate_dataset(tmp_path / "other", n_records=12, seed=6, n_workers=1)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)
    assert digest(one)[0] == 2 * 12 + 2


def test_a_record_does_not_depend_on_how_many_there_are(tmp_path, simulated):
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


def test_files_are_byte_for_byte_what_wfdb_writes(tmp_path):
    microvolts = np.random.default_rng(0).integers(-3000, 3000, (12, 200)).astype(np.int16)
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    dataset.write_wfdb(tmp_path / "ours" / "00001_lr", microvolts, 100)
    wfdb.wrsamp(
        "00001_lr",
        fs=100,
        units=["mV"] * 12,
        sig_name=dataset.LEAD_NAMES,
        d_signal=microvolts.T.astype(np.int64),
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(tmp_path / "theirs"),
    )
    for suffix in ("hea", "dat"):
        ours = (tmp_path / "ours" / f"00001_lr.{suffix}").read_bytes()
        assert ours == (tmp_path / "theirs" / f"00001_lr.{suffix}").read_bytes()


def test_both_rates_show_the_same_heart(tmp_path):
    root = dataset.simulate_dataset(
        tmp_path / "s", n_records=10, seed=3, records500=True, n_workers=1
    )
    coarse = read_record(root / "records100/00000/00004_lr")
    fine = read_record(root / "records500/00000/00004_hr")
    assert (coarse.fs, fine.fs) == (100, 500)
    again = resample(fine.signal, 500, 100)
    assert np.abs(again - coarse.signal).max() < 0.003


def test_the_loader_of_ptbxl_reads_it(simulated):
    data = ptbxl.load_ptbxl(simulated, signals=False)
    assert len(data) == 150
    assert set(data.strat_fold) == set(range(1, 11))
    by_patient = pd.Series(data.strat_fold).groupby(data.patient_id).nunique()
    assert by_patient.max() == 1
    assert (pd.Series(data.patient_id).value_counts() > 1).any()


def test_columns_and_header_are_those_of_the_real_one(simulated, shared_ptbxl):
    ours = pd.read_csv(simulated / "ptbxl_database.csv", nrows=5)
    real = pd.read_csv(shared_ptbxl / "ptbxl_database.csv", nrows=5)
    assert list(ours.columns) == list(real.columns)
    ours = pd.read_csv(simulated / "scp_statements.csv", index_col=0)
    real = pd.read_csv(shared_ptbxl / "scp_statements.csv", index_col=0)
    assert list(ours.columns) == list(real.columns)
    assert list(ours.index) == list(real.index)
    for column in ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"):
        pd.testing.assert_series_equal(ours[column], real[column], check_dtype=False)
    header = "records100/00000/00001_lr.hea"
    first = [
        (root / header).read_text().splitlines()[1].split() for root in (simulated, shared_ptbxl)
    ]
    assert first[0][:5] == first[1][:5]
    assert first[0][-1] == first[1][-1] == "I"


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    ages = np.clip(rng.normal(60, 17, 6000), 18, 95)
    return [set(dataset.draw_findings(rng, age)) for age in ages]


def test_prevalences_are_near_those_of_ptbxl(drawn):
    expected = dict(dataset.RHYTHM) | {"NORM": dataset.NORMAL}
    for group in dataset.GROUPS:
        expected |= group
    for code, share in expected.items():
        seen = sum(code in codes for codes in drawn) / len(drawn)
        assert seen == pytest.approx(share, rel=0.35, abs=0.006), code
    shown = set().union(*drawn)
    assert {findings.STATEMENTS[code].superclass for code in shown} >= {
        "NORM",
        "MI",
        "STTC",
        "CD",
        "HYP",
    }
    assert len(shown) > 50


def test_findings_that_exclude_each_other_never_meet(drawn):
    for codes in drawn:
        assert len(codes & set(dataset.RHYTHM)) == 1
        if "NORM" in codes:
            assert codes <= {"NORM", "SR", "SBRAD", "STACH", "SARRH", "PVC", "PAC"}
        if codes & {"AFIB", "AFLT"}:
            assert not codes & dataset.NEEDS_P
        for group in dataset.GROUPS:
            assert len(codes & set(group)) <= 1


def test_sick_hearts_have_several_findings_at_once(drawn):
    lvh = [codes for codes in drawn if "LVH" in codes]
    without = [codes for codes in drawn if not codes & {"LVH", "NORM"}]
    share = [sum("ISC_" in codes for codes in some) / len(some) for some in (lvh, without)]
    assert share[0] > 1.5 * share[1]


def test_reports_come_in_german_and_english(simulated):
    reports = pd.read_csv(simulated / "ptbxl_database.csv")["report"]
    assert reports.str.contains("sinusrhythmus").any()
    assert reports.str.contains("sinus rhythm").any()
    assert reports.nunique() > 40


def test_faults_are_noted_in_the_columns_of_ptbxl(tmp_path):
    made = [dataset.make_record(0, ecg_id, 60.0, False) for ecg_id in range(1, 60)]
    noted = [row for _, row in made if "baseline_drift" in row]
    assert noted
    quiet = [x for x, row in made if not set(row) & set(dataset.NOISE_COLUMNS.values())]
    loud = [x for x, row in made if "electrodes_problems" in row or "baseline_drift" in row]

    def drift(x):
        return np.abs(bandpass(x, 500, high_hz=10.0)[:, ::50].mean(axis=1)).max()

    assert np.mean([drift(x) for x in loud]) > np.mean([drift(x) for x in quiet])


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        dataset.simulate_dataset(tmp_path, n_records=10)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_broken_simulation_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "write_wfdb", full)
    with pytest.raises(OSError, match="No space"):
        dataset.simulate_dataset(tmp_path / "s", n_records=10, n_workers=1)
    assert not any(tmp_path.iterdir())


def test_noise_of_every_kind_is_what_it_says():
    rng = np.random.default_rng(0)
    spectrum = {}
    for kind in dataset.FAULTS:
        power = np.abs(np.fft.rfft(draw_noise(kind, 5000, 500, rng))) ** 2
        spectrum[kind] = power[1:] / power[1:].sum()
    hz = np.fft.rfftfreq(5000, 1 / 500)[1:]
    assert spectrum["wander"][hz < 1].sum() > 0.9
    assert spectrum["mains"][np.abs(hz - 50) < 1].sum() > 0.9
    assert spectrum["muscle"][hz > 20].sum() > 0.8
