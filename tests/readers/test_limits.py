"""Limits: no special file is opened, no record is longer than allowed."""

import os
from pathlib import Path

import numpy as np
import pytest
from writers import assert_refused, csv, ecg, write, write_wfdb

from ecg_siglip.readers import record
from ecg_siglip.readers.limits import check_duration, check_regular
from ecg_siglip.readers.record import open_record, read_record


def test_files_and_folders_are_regular_and_other_things_are_not(tmp_path: Path):
    assert check_regular(write(tmp_path, b"abc")).st_size == 3
    check_regular(tmp_path)
    os.mkfifo(tmp_path / "p\x1b")
    (tmp_path / "link").symlink_to("p\x1b")
    for path in (tmp_path / "p\x1b", tmp_path / "link"):
        with pytest.raises(ValueError, match="a pipe, expected a file") as error:
            check_regular(path)
        assert str(error.value).isprintable()
    with pytest.raises(ValueError, match="/dev/zero: a device"):
        check_regular("/dev/zero")
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "nothing")


def test_a_record_may_last_a_day_and_two_hours():
    check_duration(26 * 3600 * 100, 100, 26.0)
    with pytest.raises(ValueError, match=r"30\.5 h of signal, expected at most 26 h; windows\.max"):
        check_duration(round(30.5 * 3600 * 100), 100, 26.0)


@pytest.mark.parametrize("kind", ["csv", "wfdb"])
def test_a_longer_record_is_refused_unless_allowed(tmp_path: Path, kind: str):
    uv = ecg(40 * 100, 100)
    path = write_wfdb(tmp_path, uv, 100) if kind == "wfdb" else write(tmp_path, csv(uv, 100))
    assert read_record(path, max_hours=40 / 3600).signal.shape[1] == 4000
    with pytest.raises(ValueError, match=r"record rec: 0\.0111111 h of signal, expected at most"):
        open_record(path, max_hours=39 / 3600)
    assert_refused(path, "windows.max_hours", max_hours=39 / 3600)


def test_a_long_wfdb_record_is_refused_before_its_samples_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    n = 30 * 3600 * 50
    (tmp_path / "rec.hea").write_text(
        f"rec 1 50 {n}\nrec.dat 16 200/mV 16 0 0 0 0 II\n"
    )  # fmt: skip
    np.zeros(n, "<i2").tofile(tmp_path / "rec.dat")
    with monkeypatch.context() as patch:
        patch.setattr(record.wfdb_format, "read_wfdb", pytest.fail)
        with pytest.raises(ValueError, match="record rec: 30 h of signal, expected at most 26 h"):
            open_record(tmp_path / "rec")
    source = open_record(tmp_path / "rec", max_hours=31)
    assert source.piece(n - 500, n).signal.shape == (1, 500)
