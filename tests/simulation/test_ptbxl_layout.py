"""Files and tables are those of PTB-XL, byte for byte and column by column."""

import numpy as np
import pandas as pd
import wfdb

from ecg_siglip.simulation import ptbxl_layout


def test_the_path_of_a_record_is_that_of_ptbxl():
    assert ptbxl_layout.file_name(7, 100, "lr") == "records100/00000/00007_lr"
    assert ptbxl_layout.file_name(21837, 500, "hr") == "records500/21000/21837_hr"


def test_files_have_the_bytes_that_wfdb_writes(tmp_path):
    microvolts = np.random.default_rng(0).integers(-3000, 3000, (12, 200)).astype(np.int16)
    (tmp_path / "ours").mkdir()
    (tmp_path / "reference").mkdir()
    ptbxl_layout.write_wfdb(tmp_path / "ours" / "00001_lr", microvolts, 100)
    wfdb.wrsamp(
        "00001_lr",
        fs=100,
        units=["mV"] * 12,
        sig_name=ptbxl_layout.LEAD_NAMES,
        d_signal=microvolts.T.astype(np.int64),
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(tmp_path / "reference"),
    )
    for suffix in ("hea", "dat"):
        ours = (tmp_path / "ours" / f"00001_lr.{suffix}").read_bytes()
        assert ours == (tmp_path / "reference" / f"00001_lr.{suffix}").read_bytes()


def test_columns_and_header_are_those_of_ptbxl(simulated, shared_ptbxl):
    simulated_table = pd.read_csv(simulated / "ptbxl_database.csv", nrows=5)
    real = pd.read_csv(shared_ptbxl / "ptbxl_database.csv", nrows=5)
    assert list(simulated_table.columns) == list(real.columns)
    simulated_table = pd.read_csv(simulated / "scp_statements.csv", index_col=0)
    real = pd.read_csv(shared_ptbxl / "scp_statements.csv", index_col=0)
    assert list(simulated_table.columns) == list(real.columns)
    assert list(simulated_table.index) == list(real.index)
    for column in ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"):
        pd.testing.assert_series_equal(simulated_table[column], real[column], check_dtype=False)
    header = "records100/00000/00001_lr.hea"
    first = [
        (root / header).read_text().splitlines()[1].split() for root in (simulated, shared_ptbxl)
    ]
    assert first[0][:5] == first[1][:5]
    assert first[0][-1] == first[1][-1] == "I"
