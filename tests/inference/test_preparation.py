"""Preparation without the model: what is cut, cropped and padded, and what it loads."""

import subprocess
import sys

import pytest

from ecg_siglip.inference.preparation import is_long, length_warnings


def test_a_record_is_cut_into_windows_from_a_fifth_more_than_a_window():
    assert not is_long(11.9, 10.0)
    assert is_long(12.0, 10.0)


@pytest.mark.parametrize(
    ("duration_s", "warnings"),
    [
        (10.04, []),
        (11.0, ["only the middle 10 s of 11 s were used"]),
        (4.0, ["4 s of signal, padded to 10 s"]),
    ],
)
def test_what_was_done_to_the_length_is_a_warning(duration_s, warnings):
    assert length_warnings(duration_s, 10.0) == warnings


def test_a_process_that_reads_loads_no_torch():
    code = "import sys, ecg_siglip.inference.preparation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
