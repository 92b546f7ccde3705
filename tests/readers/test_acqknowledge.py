"""Text exports of AcqKnowledge: names, units and rate as in the lines before the numbers."""

from pathlib import Path

import numpy as np
import pytest
from writers import FS, acqknowledge, assert_refused, ecg, write

from ecg_siglip.readers.acqknowledge import with_names
from ecg_siglip.readers.file_format import is_record
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS, lead_name

UV = ecg(600)


@pytest.mark.parametrize("n", [1, 2, 12])
@pytest.mark.parametrize("has_time", [True, False])
@pytest.mark.parametrize(("delimiter", "end"), [("\t", ""), ("\t", "\t"), (",", ""), (",", ",")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_samples_are_as_written(
    tmp_path: Path, n: int, has_time: bool, delimiter: str, end: str, line_end: str
):
    content = acqknowledge(UV[:n], FS, delimiter, end, has_time).replace(b"\n", line_end.encode())
    path = write(tmp_path, content, "txt")
    assert is_record(path)
    record = read_record(path)
    assert tuple(map(lead_name, record.leads)) == LEADS[:n]
    assert record.fs == FS
    np.testing.assert_allclose(1000 * record.signal, UV[:n], atol=0.01)


@pytest.mark.parametrize(
    ("old", "new", "fs"),
    [
        ("2 msec/sample", "500 samples/second", 500),
        ("2 msec/sample", "0.002 sec/sample", 500),
        ("\nII\nmV", "\nResp, left\nmmHg", 500),
        ("\nI\nmV", "\nECG Lead I\nmV", 500),
        ("min\t", "sec\t", None),
    ],
)
def test_variants(tmp_path: Path, old: str, new: str, fs: float | None):
    path = write(tmp_path, acqknowledge(UV).decode().replace(old, new).encode(), "txt")
    if fs is None:
        assert_refused(path, "but the file states 500")
        return
    record = read_record(path)
    assert record.fs == fs
    np.testing.assert_allclose(1000 * record.signal[0], UV[0], atol=0.01)


def test_another_number_of_columns_is_refused(tmp_path: Path):
    content = acqknowledge(UV).replace(b"\tCH11\tCH12", b"")
    assert is_record(write(tmp_path, content, "txt"))
    assert_refused(
        write(tmp_path, content, "txt"), "expected 12 channels and the time, got columns min, CH1"
    )


def test_lines_keep_their_numbers(tmp_path: Path):
    lines = acqknowledge(UV).decode().split("\n")
    assert with_names("\n".join(lines)).split("\n")[29:] == lines[29:]
    lines[200] = lines[200].replace("\t", "\tx", 1)
    path = write(tmp_path, "\n".join(lines).encode(), "txt")
    assert_refused(path, "line 201, column I (mV): not a number: 'x")


@pytest.mark.parametrize(
    "text", ["", "a\nb\nc", "a\n2 ms/sample\n3 channels\nI\nmV", "1,2\n3,4\n5,6\n7,8\n9,0\n"]
)
def test_other_texts_stay_as_they_are(text: str):
    assert with_names(text) == text
