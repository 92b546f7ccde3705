"""Helpers of the readers: optional libraries, rows of equal length, groups of leads."""

import sys

import numpy as np
import pytest
from writers import FS, WRITERS, assert_refused, ecg, write

from ecg_siglip.readers.stated import DeviceStated, longest_group, stack_rows


@pytest.mark.parametrize(
    ("kind", "package"),
    [("edf", "edfio"), ("dcm", "pydicom"), ("aecg.xml", "defusedxml"), ("muse.xml", "defusedxml")],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, kind: str, package: str):
    for name in (package, f"{package}.ElementTree"):
        monkeypatch.setitem(sys.modules, name, None)
    path = write(tmp_path, WRITERS[kind](ecg(), FS))
    assert_refused(path, f"needs the package {package}: pip install 'ecg_siglip[formats]'")


def test_rows_of_equal_length_are_stacked():
    assert stack_rows([np.zeros(4), np.ones(4)]).tolist() == [[0] * 4, [1] * 4]
    with pytest.raises(ValueError, match="leads of 3 to 4 samples: a print layout"):
        stack_rows([np.zeros(4), np.ones(3)])
    for rows in ([], [np.zeros(0)]):
        with pytest.raises(ValueError, match="expected leads with samples, got none"):
            stack_rows(rows)


def group(n_samples: int, *leads: str) -> DeviceStated:
    units = ["mV"] * len(leads)
    return DeviceStated(np.zeros((len(leads), n_samples)), 500.0, units, list(leads), [])


def test_the_longest_group_is_taken_if_it_has_all_leads():
    beat, rhythm = group(600, "I", "II"), group(5000, "I", "II")
    assert longest_group([beat, rhythm]) is rhythm
    with pytest.raises(ValueError, match="the longest recording has 1 of 2 leads"):
        longest_group([beat, group(5000, "I")])
    with pytest.raises(ValueError, match="expected an original rhythm recording, got none"):
        longest_group([])
