"""PTB-XL: the published counts of its own metadata, labels and signals of small data sets."""

import numpy as np
import pandas as pd
import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.checking import check_data
from tests.helpers import configured

SPEC = {
    "to_fs": 100,
    "duration_s": 10.0,
    "low_hz": 0.5,
    "high_hz": None,
    "allow_short": False,
    "allow_flat": False,
}
AS_STORED = SPEC | {"low_hz": None}


def write_table(root, table):
    table.to_csv(root / "ptbxl_database.csv", index=False)


def read_table(root):
    return pd.read_csv(root / "ptbxl_database.csv")


def load(root, **settings):
    return ptbxl.load_ptbxl(
        root, **({"waveform": AS_STORED, "n_workers": 1, "progress": False} | settings)
    )


def digital(path):
    return np.fromfile(f"{path}.dat", "<i2").reshape(-1, 12).T


def assert_equals_files(data):
    expected = {path: digital(path) for path in set(data.paths)}
    for path, got in zip(data.paths, data.signals, strict=True):
        np.testing.assert_array_equal(got, expected[path], err_msg=str(path))


@pytest.fixture(scope="module")
def all_records(shared_metadata):
    return ptbxl.load_ptbxl(shared_metadata, signals=False)


def test_the_folds_have_the_published_sizes(all_records):
    data = all_records
    assert len(data) == 21_799
    sizes = [len(data.fold(*range(1, 9))), len(data.fold(9)), len(data.fold(10))]
    assert sizes == [17_418, 2_183, 2_198]
    assert (np.diff(data.ecg_id) > 0).all()
    folds = pd.Series(data.strat_fold).groupby(data.patient_id).nunique()
    assert folds.max() == 1
    assert data.signals is None
    assert data.n_missing == 0


@pytest.mark.parametrize(
    ("task", "n_findings", "n_labelled"),
    [
        ("all", 71, 2_198),
        ("diagnostic", 44, 2_158),
        ("subdiagnostic", 23, 2_158),
        ("superdiagnostic", 5, 2_158),
        ("form", 19, 880),
        ("rhythm", 12, 2_098),
    ],
)
def test_each_task_has_the_published_number_of_findings(
    shared_metadata, task, n_findings, n_labelled
):
    data = ptbxl.load_ptbxl(shared_metadata, task=task, signals=False)
    assert data.y_true.shape == data.likelihood.shape == (21_799, n_findings)
    assert len(data.codes) == len(set(data.codes)) == n_findings
    assert int(data.y_true[data.fold(10)].any(1).sum()) == n_labelled
    assert data.y_true.any(0).all()


def test_a_likelihood_of_0_means_present(all_records):
    data, column = all_records, all_records.codes.index
    assert data.y_true[0, column("LVOLT")]
    assert data.likelihood[0, column("LVOLT")] == 0
    assert data.y_true[0, column("NORM")]
    assert data.likelihood[0, column("NORM")] == 100
    assert not data.y_true[0, column("AFIB")]
    assert np.isnan(data.likelihood[0, column("AFIB")])
    np.testing.assert_array_equal(data.y_true, ~np.isnan(data.likelihood))
    assert set(np.unique(data.likelihood[data.y_true])) >= {0, 15, 35, 50, 80, 100}


def test_the_metadata_keep_every_column(shared_metadata):
    table = ptbxl.read_metadata(shared_metadata)
    assert table.shape == (21_799, 27)
    assert table.index.name == "ecg_id"
    assert table["scp_codes"][1] == {"NORM": 100.0, "LVOLT": 0.0, "SR": 0.0}
    assert table["report"].map(type).eq(str).all()


def test_signals_equal_the_samples_of_the_files(root):
    data = load(root)
    assert data.signals.shape == (6, 12, 1000)
    assert data.signals.dtype == np.int16
    assert not data.signals.flags.writeable
    assert data.fs == 100
    assert data.ecg_id.tolist() == [1, 2, 3, 7, 5, 6]
    assert_equals_files(data)
    assert data.fold(3, 1).tolist() == [0, 1, 4, 5]
    with pytest.raises(ValueError, match=r"no record of fold 10: the data has folds \[1, 2, 3\]"):
        data.fold(1, 10)


@pytest.mark.parametrize("fs", [100, 500])
def test_real_records_equal_wfdb(shared_ptbxl, tmp_path, fs):
    import wfdb

    table = read_table(shared_ptbxl)
    name = ptbxl.FILENAMES[fs]
    table = table[[(shared_ptbxl / f"{file}.hea").is_file() for file in table[name]]]
    table = table.iloc[:: len(table) // 40][:40]
    write_table(tmp_path, table)
    folder = f"records{fs}"
    (tmp_path / folder).symlink_to(shared_ptbxl / folder)
    spec = AS_STORED | {"to_fs": fs}
    data = load(tmp_path, fs=fs, waveform=spec, cache_dir=tmp_path / "elsewhere")
    assert len(data) == 40
    assert data.fs == fs
    for path, got in zip(data.paths, data.signals, strict=True):
        expected = wfdb.rdrecord(str(path), physical=False).d_signal.T
        np.testing.assert_array_equal(got, expected, err_msg=str(path))


def test_absent_records_are_refused_or_counted(root, capsys):
    (root / "records100/00000/00002_lr.dat").unlink()
    (root / "records100/00000/00007_lr.hea").unlink()
    with pytest.raises(ValueError, match=r"2 of 6 records listed are absent .*00002_lr.*allow"):
        load(root)
    data = load(root, allow_missing=True)
    assert "2 of 6 records listed are absent" in capsys.readouterr().err
    assert data.n_missing == 2
    assert data.ecg_id.tolist() == [1, 3, 5, 6]
    assert len(data.y_true) == len(data.reports) == len(data.paths) == len(data.signals) == 4
    np.testing.assert_array_equal(data.signals[2], digital(data.paths[2]))
    with pytest.raises(ValueError, match=r"6 of 6 .* none is left"):
        load(root, fs=500, allow_missing=True)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scp_codes", "{'NORM': 100.0", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "['NORM']", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "{'NORM': 'high'}", r"ecg_id 3: expected scp_codes like"),
        ("scp_codes", "{'NROM': 100.0}", r"ecg_id 3: unknown code 'NROM'"),
        ("strat_fold", 11, r"ecg_id 3: expected a strat_fold of 1 to 10"),
        ("strat_fold", 2.5, r"row 4, column .*ecg_id 3: expected an integer strat_fold, got 2.5"),
        ("strat_fold", 1, "patient_id 101 has records in several folds"),
        ("patient_id", None, r"row 4, column .*ecg_id 3: expected an integer patient_id, got nan"),
        ("ecg_id", 1, "ecg_id 1 occurs more than once"),
        ("filename_lr", None, r"ecg_id 3: expected a file in filename_lr, got nan"),
    ],
)
def test_a_wrong_row_is_named(root, column, value, message):
    table = read_table(root).astype({column: object})
    table.loc[2, column] = value
    write_table(root, table)
    with pytest.raises(ValueError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_a_missing_or_unusable_table_is_an_error(root, tmp_path):
    with pytest.raises(ValueError, match=r"is missing: download .*simulate"):
        load(tmp_path)
    write_table(root, read_table(root).drop(columns=["report", "strat_fold"]))
    with pytest.raises(ValueError, match=r"missing: report, strat_fold"):
        load(root)
    for content in (b"", b"ecg_id\n1,2,3\n1\n1,2,3,4,5", bytes(range(256))):
        (root / "ptbxl_database.csv").write_bytes(content)
        with pytest.raises(ValueError, match=r"ptbxl_database.csv"):
            load(root)
    with pytest.raises(ValueError, match=r"data.fs=250: PTB-XL has 100 and 500 Hz"):
        load(root, fs=250)


def test_the_default_settings_are_arguments_of_prepare_signal():
    spec = ptbxl.waveform_spec(config.WaveformConfig())
    assert spec == SPEC | {"allow_gaps": False, "version": 2}


def test_a_check_finds_every_wrong_row(root):
    """Rows after an empty line and with line breaks have the numbers of a spreadsheet."""
    table = read_table(root).astype(object)
    table.loc[0, "report"] = "two\nlines"
    table.loc[1, "strat_fold"] = 11
    table.loc[2, "scp_codes"] = "['NORM']"
    table.loc[3, "scp_codes"] = "{'NROM': 100.0, 'NORM': 0}"
    table.loc[4, "patient_id"] = "x"
    table.loc[5, "filename_lr"] = None
    write_table(root, table)
    path = root / "ptbxl_database.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "\n", *lines[1:], "7,8\n"]))
    settings = {"data.kind": "ptbxl", "data.root": str(root), "files": False}
    result = check_data(configured(config.CheckConfig, settings), progress=False)
    errors = [issue for issue in result.issues if issue.level == "error" and issue.examples]
    assert {issue.kind: issue.examples[0]["row"] for issue in errors} == {
        "wrong number of cells": 9,
        "wrong fold": 4,
        "wrong scp_codes": 5,
        "code without a vocabulary entry": 6,
        "wrong patient_id": 7,
        "wrong strat_fold": 9,
        "wrong filename_lr": 8,
    }
